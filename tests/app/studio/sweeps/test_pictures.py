from __future__ import annotations

import pytest

from app.jobs.views import Watcher
from app.studio.sweeps.axes import Axis
from app.studio.sweeps.pictures import draw_sheet, make_grid, prompts
from app.studio.sweeps.plot import HEIGHT, WIDTH, draw_plot
from app.studio.sweeps.sweeps import members
from tests.app.studio.sweeps.made import write_ended_sweep
from tests.app.ui.ended_runs import PROMPTS
from trainers.errors import VelaturaError

METHODS, RANKS = Axis(("method.name",), ("lora", "loha")), Axis(("method.rank",), (4, 8, 16))


def test_one_axis_has_prompts_as_rows(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS)
    there = members(sweep, Watcher(store).history())
    grid = make_grid(sweep.axes, there)
    assert grid.columns == ("rank 4", "rank 8", "rank 16") and [row.label for row in grid.rows] == list(PROMPTS)
    assert [member.name for member, _ in grid.rows[1].cells] == ["dusk-r4", "dusk-r8", "dusk-r16"]
    assert all(sample is not None and sample.row == 1 and sample.file for _, sample in grid.rows[1].cells)


def test_several_axes_have_the_last_over_the_columns_and_one_prompt(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", METHODS, RANKS)
    (store.runs / "dusk-loha-r8" / "sweep.json").unlink()
    there = members(sweep, Watcher(store).history())
    grid = make_grid(sweep.axes, there, prompt=2)
    assert grid.title == PROMPTS[1] == prompts(there)[1] and [row.label for row in grid.rows] == ["lora", "loha"]
    assert [sample is None for row in grid.rows for _, sample in row.cells] == [False] * 4 + [True, False]
    sheet, small = draw_sheet(grid, "dusk", cell=320), draw_sheet(grid, "dusk")
    assert sheet.size[0] > 3 * 320 and sheet.size[1] > 2 * 320
    assert small.size[0] > 3 * 96 and small.size[1] > 2 * 96 and small.size < sheet.size
    with pytest.raises(VelaturaError, match="there is no prompt 3; there are 2"):
        make_grid(sweep.axes, there, prompt=3)
    assert draw_plot(there, "dusk").size == (WIDTH, HEIGHT + 64 + 26 * 5)


def test_nothing_drawn_is_said(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS, prompts=())
    there = members(sweep, Watcher(store).history())
    with pytest.raises(VelaturaError, match="no run of this sweep has drawn a picture yet"):
        draw_sheet(make_grid(sweep.axes, there))
