"""How the times of training are drawn, measured on the starter: `python -m benchmarks.styles.times`.

LoRA trains on 1, 4 and 12 images of a style with each distribution, three seeds each; the loss and the style distance
on images that were held out are compared with those of uniform times, seed by seed. Rows are kept as they end, so it
can be stopped and goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer

from benchmarks.styles.measure import PERCEPTION
from benchmarks.styles.measure import SEEDS as DRAWN_SEEDS
from benchmarks.styles.rows import SCHEDULE, append_line, base_hash, read_lines
from tools.starter.measure import as_tensor
from tools.starter.networks.perception import load_perception
from trainers.config.build import build_config
from trainers.config.presets import STARTER, find_preset
from trainers.config.tables import overlay
from trainers.data.dataset import CENTRE, Draw, load_dataset, pixels
from trainers.data.sample_sets import SampleSet, read_sets
from trainers.runs.run import Run
from trainers.sampling.sample import draw, drawing_context
from trainers.training.previews import preview_params
from trainers.training.reopen import reopened
from trainers.training.session import Session
from trainers.training.step.denoising import denoising_errors, make_probes
from trainers.training.train import train

UNIFORM = "uniform"
KINDS = (UNIFORM, *(f"style-friendly {mean} 2" for mean in (0, -2, -4, -6)))
COUNTS = (1, 4, 12)
STYLE = "black-line"
SEEDS = (1, 2, 3)
STEPS = 150
HELD_OUT = slice(1, None, 3)
"""Which of a set's concepts are not trained: every third, one or more of each kind."""
PROBED, LOOKS = 32, 15
"""Times at which the loss is measured, and denoising steps of a picture."""
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
        return look_at(found.session, unseen)


def put_images(sample: SampleSet, concepts: Sequence[str], folder: Path) -> Path:
    """A folder with these concepts' images of a set, and their captions."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for concept in concepts:
        for path in sample.folder.glob(f"{concept.replace(' ', '-')}.*"):
            shutil.copy(path, folder)
    return folder


def look_at(session: Session, unseen: Path) -> dict[str, float]:
    """Loss at fixed times with fixed noise, and style distance of what is drawn for the captions, on these images."""
    model, config = session.model, session.config
    dataset = load_dataset(unseen, config.data, 0, config.data.resolution or model.resolution, model.stride)
    errors = denoising_errors(model, session.network, make_probes(model, dataset.items, config, PROBED), config)
    params = preview_params(config, dataset, dataset.items[0].bucket.width, model.starter)  # the held-out captions
    session.network.holder.context = drawing_context(model, params)
    drawn = as_tensor(list(draw(model, replace(params, seeds=DRAWN_SEEDS, steps=LOOKS))))
    truth = torch.stack([pixels(item, Draw(0, False, CENTRE, "")) for item in dataset.items])
    style = load_perception(PERCEPTION, torch.device("cpu")).style_distance(drawn, truth)
    return {"loss": round(float(errors.mean()), 5), "style": round(style, 4)}


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
