"""How the times of training are drawn, measured on the starter: `python -m benchmarks.styles.times`.

LoRA trains on 1, 4 and 12 images of a style with each distribution, three seeds each; the loss and the style distance
on images that were held out are compared with those of uniform times, seed by seed. Rows are kept as they end, so it
can be stopped and goes on where it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.styles.measure import HELD_OUT, look_at, put_images
from benchmarks.styles.rows import SCHEDULE, append_line, base_hash, read_lines
from trainers.config.build import build_config
from trainers.config.presets import STARTER, find_preset
from trainers.config.tables import overlay
from trainers.data.sample_sets import read_sets
from trainers.runs.run import Run
from trainers.training.reopen import reopened
from trainers.training.train import train

UNIFORM = "uniform"
KINDS = (UNIFORM, *(f"style-friendly {mean} 2" for mean in (0, -2, -4, -6)))
COUNTS = (1, 4, 12)
STYLE = "black-line"
SEEDS = (1, 2, 3)
STEPS = 150
RESULTS = Path(__file__).parents[1] / "times.jsonl"
SCRATCH = Path("outputs/times-benchmark")
NICE = 10
ABOUT = """# How times are drawn

The table compares distributions of training times (`loss.timesteps`) with uniform ones on the bundled starter: LoRA,
{steps} steps of 4 images, the style `{style}`, trained on 1, 4 or 12 images. All rows were trained on the starter whose
denoiser has the SHA-256 `{base}…` ([versions](starter.md#earlier-versions)). *Loss* is the mean denoising error on
held-out images at fixed, evenly spread times; *style* is the distance of what is drawn for their captions to these.
Each is a ratio to uniform times with the same seed: the median of {seeds} seeds, with the smallest and largest in
parentheses. Below 1 is better.
"""
LIMITS = """
What it does not show:

* The starter ends in pure noise (zero terminal SNR), whose log-SNR is −∞. Times beyond its last finite step count as
  that step: with `style-friendly -6 2` these are {share} of all.
* The starter draws 128 pixels. The same noise hides less of a larger image, so a useful μ moves by 2 ln of the ratio of
  the sides: between 128 and 1024 pixels by about 4. A μ for a large base is not to be read off this table.
* The loss is measured at evenly spread times, which favours a network that was trained on them.
"""


@dataclass(frozen=True)
class Row:
    """One training: a distribution of times, a number of images and a seed."""

    times: str
    images: int
    seed: int


def rows() -> Iterator[Row]:
    """All trainings, so that the first seed of all is known first."""
    for seed in SEEDS:
        for images in COUNTS:
            yield from (Row(times, images, seed) for times in KINDS)


def measure(row: Row, folder: Path) -> dict[str, float]:
    """Train a row in a folder, and look at what it learned: `loss` and `style` on held-out images."""
    sample = read_sets()[STYLE]
    held_out = set(sample.concepts[HELD_OUT])
    chosen = [concept for concept in sample.concepts if concept not in held_out][: row.images]
    trained = put_images(sample, chosen, folder / "trained")
    unseen = put_images(sample, sample.concepts[HELD_OUT], folder / "unseen")
    table = overlay(find_preset("lora").settings_for(STARTER), {"train": {"steps": STEPS, **SCHEDULE}})
    options: dict[str, Any] = {
        "name": "row",
        "seed": row.seed,
        "data": {"images": str(trained)},
        "loss": {"timesteps": row.times},
        "sample": {"seeds": (1,), "steps": 1, "guidance": 3.0, "every": 0, "subjects": "captions"},
        "save": {"every": 10_000, "keep": 1},
    }
    result = train(build_config(table, options), folder / "runs", overwrite=True)
    with reopened(Run(result.run)) as found:
        session = found.session
        figures = look_at(session.model, session.network, session.config, unseen, folder)
    return {"loss": figures.loss, "style": figures.style}


def main(
    row: Annotated[str, typer.Option(help="Measure this row (JSON) alone, and print what it gave.")] = "",
    results: Annotated[Path, typer.Option(help="File with all rows.")] = RESULTS,
    report: Annotated[bool, typer.Option("--report", help="Only write the page, from existing rows.")] = False,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/times.md"),
) -> None:
    """Train each row that the file lacks and append it there; then write the page."""
    if row:
        print(json.dumps(measure(Row(**json.loads(row)), SCRATCH / "row")))
        return
    base = newest_base(results) if report else base_hash()[:8]
    known = read(results, base)
    for each in () if report else rows():
        if each not in known:
            known[each] = _in_a_process(each)
            append_line(results, {"base": base, **asdict(each), **known[each]})
            print(each, known[each], flush=True)
    out.write_text(page(known, base), encoding="utf-8")


def newest_base(results: Path) -> str:
    """The base of the last row in a file; the present starter if there is none."""
    return next((str(entry["base"]) for entry in reversed([*read_lines(results)])), base_hash()[:8])


def read(results: Path, base: str) -> dict[Row, dict[str, float]]:
    """The rows of a file that were trained on a base, with what they gave."""
    return {
        Row(entry["times"], entry["images"], entry["seed"]): {"loss": entry["loss"], "style": entry["style"]}
        for entry in read_lines(results)
        if entry["base"] == base
    }


def page(known: dict[Row, dict[str, float]], base: str) -> str:
    """The page with the table of ratios to uniform times."""
    import torch

    from trainers.config.sections import Base
    from trainers.config.times import parse_times
    from trainers.models.load import load_model

    lines = ["| times | " + " | ".join(f"{n} image{'s' * (n > 1)}: loss | style" for n in COUNTS) + " |"]
    lines.append("|---|" + "---|" * (2 * len(COUNTS)))
    for times in KINDS[1:]:
        cells = [_ratio(known, times, images, key) for images in COUNTS for key in ("loss", "style")]
        lines.append(f"| `{times}` | " + " | ".join(cells) + " |")
    schedule = load_model(Base(), torch.float32, "cpu").schedule
    _, share = schedule.clamped_share(parse_times(KINDS[-1]))
    text = ABOUT.format(steps=STEPS, style=STYLE, seeds=len(SEEDS), base=base) + "\n" + "\n".join(lines) + "\n"
    return text + LIMITS.format(share=f"{share:.1%}" if share >= 0.001 else "fewer than 0.1%")


def _ratio(known: dict[Row, dict[str, float]], times: str, images: int, key: str) -> str:
    pairs = [(known.get(Row(times, images, seed)), known.get(Row(UNIFORM, images, seed))) for seed in SEEDS]
    ratios = [one[key] / other[key] for one, other in pairs if one and other]
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else "–"


def _in_a_process(row: Row) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.styles.times", "--row", json.dumps(asdict(row))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(NICE)
    typer.run(main)
