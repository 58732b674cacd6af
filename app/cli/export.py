"""What can still be made of a run that has been trained: `velatura export` and `velatura ranks`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import Images, Json, Overwrite, RunFolder
from app.units import readable_size
from trainers.score import TIMES, TOLERANCE

if TYPE_CHECKING:
    from trainers.score.ranks import RankCurve

commands = typer.Typer()


@commands.command(epilog="Example: velatura export outputs/dusk --rank 8 --out dusk-small.safetensors")
def export(
    run: RunFolder,
    rank: Annotated[
        int | None,
        typer.Option("--rank", metavar="N", min=1, help="Cut the file to this rank, of a method that serves several."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file to write; default in the run's folder.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a run's style file anew from its newest checkpoint, without training."""
    from trainers.runs.run import open_run
    from trainers.training.reopen import export_again

    style = export_again(open_run(run), out, rank, overwrite)
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
        typer.Option(
            metavar="SHARE", min=0, max=1, help="Share of the best rank's gain that a smaller one may give up."
        ),
    ] = TOLERANCE,
    times: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Timesteps at which each image is asked for.")
    ] = TIMES,
    images: Images = None,
    json: Json = False,
) -> None:
    """Say which rank of a DyLoRA run is enough: how well each denoises its images, or others given with --images."""
    from trainers.runs.run import open_run
    from trainers.score.ranks import measure_ranks

    def told(done: int, of: int) -> None:
        say(f"measured {done} of {of} ranks")

    found = measure_ranks(open_run(run), tolerance, times, Path(images) if images else None, told)
    if json:
        print_json(asdict(found))
        return
    print_table(("rank", "error", "gain"), [*_rows(found)])
    say("gain is how far a rank takes the mean squared error from that of the bare base to that of the best rank")
    if found.base > min(found.errors):
        say(f"rank {found.enough} is enough: it has at least {1 - tolerance:.0%} of the gain; write its file with:")
    else:
        say(f"no rank denoises better than the bare base; the least bad is {found.enough}; write its file with:")
    say(f"velatura export {run} --rank {found.enough}")


def _rows(found: RankCurve) -> list[tuple[str, str, str]]:
    most = found.base - min(found.errors)
    shares = [f"{(found.base - error) / most:.0%}" if most > 0 else "none" for error in found.errors]
    rows = zip(map(str, found.ranks), (f"{error:.4f}" for error in found.errors), shares, strict=True)
    return [("bare base", f"{found.base:.4f}", ""), *rows]
