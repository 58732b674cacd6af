"""Drawing the sets: what is drawn, what is left out, what stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tools.packages import make_table, pack_icons
from tests.tools.starter.small import HELD_OUT, ODD, TAUGHT
from tools.starter.drawings.render import OUTLINED, SIZE, open_drawings, render_sets
from tools.starter.drawings.sets import IconSet, read_icon_sets
from trainers.errors import VelaturaError

SETS = read_icon_sets()


def pack(folder: Path, table: dict[str, Any]) -> IconSet:
    """Write a package where it would be downloaded to; returns its set."""
    archive = folder / "packages" / f"iconify-json-noto-{SETS[0].version}.tgz"
    archive.parent.mkdir(exist_ok=True)
    return replace(SETS[0], name="few", integrity=pack_icons(archive, table))


@pytest.mark.parametrize("icon_set", SETS, ids=lambda icon_set: icon_set.name)
def test_held_out_concepts_are_drawn_of_held_out_sets_only(icon_set, drawings):
    drawn = open_drawings(drawings, icon_set.name)
    concepts = [*TAUGHT, ODD] if icon_set.trained else [*TAUGHT, *HELD_OUT, ODD]
    assert drawn.names == tuple(sorted(concept.replace(" ", "-") for concept in concepts))
    assert drawn.pixels.shape == (len(concepts), SIZE, SIZE, 4) and drawn.pixels.dtype == np.uint8
    assert list(drawn.find([TAUGHT[3], "unheard of", ODD])) == [TAUGHT[3], ODD]


def test_some_sets_are_drawn_as_thin_black_outlines_too(drawings):
    for icon_set in SETS:
        assert (drawings / f"{icon_set.name}-outline.npy").exists() == (icon_set.name in OUTLINED)
    filled, outlined = (open_drawings(drawings, name) for name in ("noto", "noto-outline"))
    cover = outlined.pixels[..., 3]
    assert outlined.names == filled.names and (outlined.pixels[..., :3][cover > 0] == 0).all()
    assert 0 < (cover > 0).mean() < 0.7 * (filled.pixels[..., 3] > 0).mean()


def test_variants_are_left_out_and_other_names_of_concepts_are_drawn(tmp_path):
    left_out = ("santa-claus-medium-light-skin-tone", "flag-france", "keycap-3", "ten-oclock", "ten-thirty")
    table = make_table(["fox", "vixen", *left_out], "#f00")
    table["aliases"] = {"bear": {"parent": "vixen"}, "other name": {"parent": "fox"}}
    assert render_sets(tmp_path, [pack(tmp_path, table)]) == {"few": 3}
    drawn = open_drawings(tmp_path, "few")
    assert drawn.names == ("bear", "fox", "vixen")
    assert np.array_equal(drawn.pixels[0], drawn.pixels[2]) and not np.array_equal(drawn.pixels[0], drawn.pixels[1])


def test_what_is_drawn_already_stays_but_the_package_is_still_compared(tmp_path):
    with pytest.raises(VelaturaError, match=r"holds no drawings of few: the build's first stage draws them\.$"):
        open_drawings(tmp_path, "few")
    icon_set = pack(tmp_path, make_table(["fox", "bear"], "#f00"))
    render_sets(tmp_path, [icon_set])
    before = (tmp_path / "few.npy").stat().st_mtime_ns
    render_sets(tmp_path, [icon_set])
    assert (tmp_path / "few.npy").stat().st_mtime_ns == before
    (tmp_path / "few.json").unlink()  # as if it had been cut off
    assert render_sets(tmp_path, [icon_set]) == {"few": 2}
    assert (tmp_path / "few.npy").stat().st_mtime_ns > before
    pack(tmp_path, make_table(["fox"], "#f00"))
    with pytest.raises(VelaturaError, match="is not the recorded file"):
        render_sets(tmp_path, [icon_set])
