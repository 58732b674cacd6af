"""Commands for a trained run: `velatura export` and `velatura ranks`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import Images, Json, Overwrite, RunFolder
from app.units import readable_size
from trainers.score import TIMES, TOLERANCE

if TYPE_CHECKING:
    from trainers.training.ranks import RankCurve

commands = typer.Typer()


@commands.command(epilog="Example: velatura export outputs/dusk --rank 8 --out dusk-small.safetensors")
def export(
    run: RunFolder,
    rank: Annotated[
        int | None,
        typer.Option(
            "--rank", metavar="N", min=1, help="Rank to keep in the exported file (methods that train several)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write; default in the run folder.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Export a run's style file again from its newest checkpoint, without training; with --out its starred step."""
    from app.studio.runs.chosen import copy_starred
    from trainers.runs.run import open_run
    from trainers.training.reopen import export_again

    opened = open_run(run)
    starred = copy_starred(opened.folder, out, overwrite) if out is not None and rank is None else None
    style = starred or export_again(opened, out, rank, overwrite)
    size = style.stat().st_size
    if json:
        print_json({"style": style, "bytes": size})
    else:
        say(("style file", "bold green"), f"    {style} ({readable_size(size)})")


@commands.command(epilog="Example: velatura ranks outputs/dusk")
def ranks(
    run: RunFolder,
    tolerance: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0, max=1, help="Share of the best rank's gain that a smaller rank may lose."),
    ] = TOLERANCE,
    times: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Number of timesteps at which to measure each image.")
    ] = TIMES,
    images: Images = None,
    json: Json = False,
) -> None:
    """Find the smallest sufficient rank of a DyLoRA run: how well each denoises its images, or those in --images."""
    from trainers.runs.run import open_run
    from trainers.training.ranks import measure_ranks

    def on_progress(done: int, of: int) -> None:
        say(f"measured {done} of {of} ranks")

    curve = measure_ranks(open_run(run), tolerance, times, Path(images) if images else None, on_progress)
    if json:
        print_json(asdict(curve))
        return
    print_table(("rank", "error", "gain"), [*_rows(curve)])
    say("gain: how much of the best rank's improvement in mean squared error over the bare base this rank has")
    if curve.base > min(curve.errors):
        say(f"rank {curve.enough} is enough: it has at least {1 - tolerance:.0%} of the gain; export it with:")
    else:
        say(f"no rank denoises better than the bare base; the best is {curve.enough}; export it with:")
    say(f"velatura export {shlex.quote(str(run))} --rank {curve.enough}")


def _rows(curve: RankCurve) -> list[tuple[str, str, str]]:
    most = curve.base - min(curve.errors)
    shares = [f"{(curve.base - error) / most:.0%}" if most > 0 else "none" for error in curve.errors]
    rows = zip(map(str, curve.ranks), (f"{error:.4f}" for error in curve.errors), shares, strict=True)
    return [("bare base", f"{curve.base:.4f}", ""), *rows]
