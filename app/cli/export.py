"""Commands for a trained run: `velatura export`, `velatura ranks`, `velatura best` and `velatura score`."""

from __future__ import annotations

import csv
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import Images, Json, Overwrite, RunFolder
from app.units import percent, readable_size
from trainers.errors import VelaturaError
from trainers.score import TIMES, TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainers.score.best import Best
    from trainers.score.score import Score
    from trainers.training.ranks import RankCurve

commands = typer.Typer()

COLUMNS = ("step", "distance", "change", "noise", "note")
"""The table of `velatura score`."""


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
    """Export a run's style file again from its newest checkpoint, without training; with --out its chosen step."""
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
        if starred is not None:
            tell_step(run)
        else:
            say(f"of step {opened.checkpoint_steps()[-1]}, the newest checkpoint")


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


@commands.command(epilog="Example: velatura best outputs/dusk")
def best(run: RunFolder, json: Json = False) -> None:
    """Name the step of a run to keep, with its style file, by its scores; exit code 1 if none is better."""
    from app.studio.runs.chosen import snapshots
    from trainers.score.recorded import best_of

    chosen = best_of(_scores_of(run))
    if chosen is None:
        raise VelaturaError(
            "{run} has no step at which every prompt was drawn, so none can be compared with the base", run=run
        )
    if chosen.score is None:
        raise VelaturaError(chosen.reason)
    step = chosen.score.step
    file = snapshots(run).get(step)
    if json:
        print_json({"step": step, "file": file, "reason": chosen.reason})
        return
    say(chosen.reason)
    say(("style file", "bold green"), f"    {file or 'was not kept'}")


@commands.command(epilog="Example: velatura score outputs/dusk")
def score(
    run: RunFolder,
    again: Annotated[
        bool, typer.Option("--again", help="Compute them from the run's pictures, even if it has recorded them.")
    ] = False,
    encoders: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME", help="Add the distance by dinov2 or clip, if it is here; repeatable."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV on standard output.")] = False,
    json: Json = False,
) -> None:
    """Show how near the pictures of each step came to the style of the images, and how much they changed."""
    from trainers.runs.run import open_run
    from trainers.score.recorded import best_of

    opened, names = open_run(run), tuple(dict.fromkeys(encoders or ()))
    if names:
        from trainers.score.encoders import find_encoder

        for name in names:
            find_encoder(name)  # before the minutes that scoring takes
    scores = _scores_of(run, again)
    chosen, columns = best_of(scores), (*COLUMNS, *names)
    rows = _score_rows(scores, chosen)
    if names:
        from trainers.training.scores import encoder_distances

        distances = encoder_distances(opened, names, [score.step for score in scores])
        rows = [(*row, *more) for row, more in zip(rows, distances, strict=True)]
    if json:
        best_step = chosen.score.step if chosen is not None and chosen.score is not None else None
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        print_json({"best": best_step, "reason": chosen and chosen.reason, "scores": records})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        print_table(columns, [*map(_cells, rows)])
        say("distance: from the images' style, as a share of the base's; change: from the base's pictures")
        if names:
            say(f"{', '.join(names)}: mean cosine distance from the images by that encoder; does not choose the step")
        if chosen is not None:
            say(chosen.reason)


def _scores_of(folder: Path, again: bool = False) -> Sequence[Score]:
    """A run's recorded scores, or those of its pictures."""
    from trainers.runs.run import open_run
    from trainers.score.recorded import best_of, recorded_scores

    run = open_run(folder)
    scores: Sequence[Score] = () if again else recorded_scores(folder)
    if best_of(scores) is None:
        from trainers.training.scores import score_run

        scores = score_run(run)
    return scores


def _score_rows(scores: Sequence[Score], best: Best | None) -> list[tuple[Any, ...]]:
    from trainers.score.best import is_alike
    from trainers.score.recorded import base_distance

    base = base_distance(scores)

    def note(score: Score) -> str:
        if best is not None and score == best.score:
            return "best"
        if is_alike(scores[0], score):
            return "almost alike"
        return "as near" if best is not None and score in best.others else ""

    return [
        (s.step, round(s.distance / base, 4), round(s.change, 4), round(s.error / base, 4), note(s)) for s in scores
    ]


def _cells(row: tuple[Any, ...]) -> tuple[str, ...]:
    step, share, change, error, note, *distances = row
    cells = str(step), percent(share), f"{change:.3f}", f"± {error:.1%}", note
    return *cells, *("none" if each is None else f"{each:.4f}" for each in distances)


def tell_step(run: Path) -> None:
    """Say which step of a run is taken."""
    from app.jobs.events.summary import read_summary
    from app.studio.runs.chosen import given_step, read_choice

    choice = read_choice(run)
    kind = "the last one" if choice.step is None else "which is starred" if choice.starred else "the best one"
    say(f"of step {given_step(run, read_summary(run), choice)}, {kind}")
