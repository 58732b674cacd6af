"""Draw the icon sets once, as arrays of `RGBA` pixels with their names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.icons import IconTable, compose_svg, draw_svg, fetch_package, icon_name, read_table
from tools.starter.drawings.sets import IconSet, read_concepts
from trainers.errors import VelaturaError

SIZE = 128
LEFT_OUT = re.compile(r"skin-tone|flag-|keycap|-oclock|-thirty|-light(-|$)|-medium(-|$)|-dark(-|$)")
OUTLINED = ("noto", "twemoji")
"""Sets also drawn as outlines, so that the autoencoder knows thin lines; the held-out line style has other shapes."""


@dataclass(frozen=True)
class Drawings:
    """One set's drawings, `RGBA`, `(icons, SIZE, SIZE, 4)` uint8, mapped from disk, and their names."""

    names: tuple[str, ...]
    pixels: np.ndarray

    def find(self, concepts: Sequence[str]) -> dict[str, int]:
        """Where each of these concepts is, for those that the set has."""
        places = {name: index for index, name in enumerate(self.names)}
        return {concept: places[icon_name(concept)] for concept in concepts if icon_name(concept) in places}


def open_drawings(folder: Path, name: str) -> Drawings:
    """The stored drawings of a set, `noto` or its outlines `noto-outline`; raises VelaturaError if there are none."""
    names = folder / f"{name}.json"
    if not names.exists():
        raise VelaturaError(f"{folder} holds no drawings of {name}: the build's first stage draws them.")
    listed = tuple(json.loads(names.read_text(encoding="utf-8")))
    return Drawings(listed, np.load(folder / f"{name}.npy", mmap_mode="r"))


def render_sets(folder: Path, sets: Sequence[IconSet]) -> dict[str, int]:
    """Fetch and draw these sets into `folder` and return how many icons each has; what is there already stays."""
    counts = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for icon_set in sets:
            archive = fetch_package(icon_set.package, icon_set.version, icon_set.integrity, folder / "packages")
            variants = [(icon_set.name, False)] + [(f"{icon_set.name}-outline", True)] * (icon_set.name in OUTLINED)
            for name, outlined in variants:
                if not (folder / f"{name}.json").exists():
                    table = read_table(archive)
                    _store(pool, folder, name, table, _choose(table, icon_set), outlined)
                counts[name] = len(open_drawings(folder, name).names)
    return counts


def _choose(table: IconTable, icon_set: IconSet) -> list[str]:
    """The icons to draw: variants by skin tone, flags and clock faces aside; trained sets without held-out concepts."""
    concepts = read_concepts()
    unseen = {icon_name(concept) for concept in concepts.held_out} if icon_set.trained else set()
    names = [*table["icons"], *(set(table.get("aliases", {})) & {icon_name(concept) for concept in concepts.taught})]
    return sorted(name for name in names if not LEFT_OUT.search(name) and name not in unseen)


def _store(pool: Executor, folder: Path, name: str, table: IconTable, icons: list[str], outlined: bool) -> None:
    drawings = list(pool.map(_draw, [compose_svg(table, icon, outlined) for icon in icons], chunksize=32))
    np.save(folder / f"{name}.npy", np.stack(drawings))
    (folder / f"{name}.json").write_text(json.dumps(icons), encoding="utf-8")  # last: it says that the set is whole


def _draw(svg: str) -> np.ndarray:
    return np.asarray(draw_svg(svg, SIZE))
