"""The studio by number of ended runs, and of imported styles, beyond an empty one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from safetensors.torch import save_file

from benchmarks.full_unet import seconds
from benchmarks.growth.series import Axis
from benchmarks.growth.steps import starter
from benchmarks.open_pages import ROOT, Open, fill, studio
from benchmarks.speed import MIB
from benchmarks.styles_batch import random_styles

START, FIRST, AGAIN, MEMORY = "start, s", "first list, s", "list again, s", "memory, MiB"
SIZES = (10, 100, 1000, 3000, 10_000)
STEPS = 10
"""Of each run."""


def beyond_empty(folder: Path, page: str) -> Mapping[str, float]:
    empty = answers(_empty(), page)
    return {what: value - empty[what] for what, value in answers(folder, page).items()}


def answers(folder: Path, page: str) -> dict[str, float]:
    """Seconds until the studio answers at all, until it has given a page's list, and again; its memory after that."""
    begun = perf_counter()
    with studio(ROOT, folder) as (process, port):
        started = perf_counter()
        opened = Open(port, 0, page)
        opened.look()
        listed = perf_counter()
        found = {START: started - begun, FIRST: listed - started, AGAIN: median(seconds(opened.look) for _ in range(5))}
        return found | {MEMORY: process.memory_info().rss / MIB}


def of_runs(count: int, _round: int) -> Mapping[str, float]:
    return beyond_empty(_with_runs(count), "/runs")


def of_styles(count: int, _round: int) -> Mapping[str, float]:
    return beyond_empty(_with_styles(count), "/styles")


@cache
def _scratch() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="velatura-growth-")


@cache
def _empty() -> Path:
    return Path(_scratch().name, "empty")


@cache
def _with_runs(count: int) -> Path:
    folder = Path(_scratch().name, f"runs-{count}")
    fill(ROOT, folder, waiting=0, ended=count, steps=STEPS)
    return folder


@cache
def _with_styles(count: int) -> Path:
    """Styles of one layer, which differ in content."""
    folder = Path(_scratch().name, f"styles-{count}")
    styles = folder / ".studio" / "styles"
    styles.mkdir(parents=True)
    whole = random_styles(starter(), 1)[0][0].tensors
    layer = next(iter(whole)).partition(".")[0]
    tensors = {name: tensor.contiguous() for name, tensor in whole.items() if name.partition(".")[0] == layer}
    for number in range(count):
        changed = {name: tensor + 1e-3 * number for name, tensor in tensors.items() if not name.endswith("alpha")}
        save_file(tensors | changed, styles / f"style-{number}.safetensors")
    return folder


ALLOWED = dict.fromkeys((START, FIRST, AGAIN, MEMORY), 1.0)
AXES = (
    Axis("runs", "ended runs", SIZES, of_runs, ALLOWED, "studio, Runs"),
    Axis("library", "imported styles", SIZES, of_styles, ALLOWED, "studio, Styles"),
)
