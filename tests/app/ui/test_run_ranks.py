"""The map of the ranks on a run's page: there once it is drawn, and at a new address when it is drawn again."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from app.ui.run_ranks import rank_map
from trainers.events import Recorder
from trainers.ranks import RANK_MAP, draw_rank_map


def test_a_run_shows_where_its_rank_went(tmp_path: Path) -> None:
    run, public = tmp_path / "run", tmp_path / "public"
    run.mkdir()
    public.mkdir()
    view: Any = SimpleNamespace(job=SimpleNamespace(folder=run))
    assert rank_map(view, public) == "" and list(public.iterdir()) == []
    Recorder(run)("ranks", step=1, ranks={"unet.mid_block.attentions.0.a": 3})
    assert draw_rank_map(run) is not None
    shown = rank_map(view, public)
    (copy,) = public.iterdir()
    assert copy.name in shown and 'alt="The rank of each layer' in shown and shown == rank_map(view, public)
    assert copy.read_bytes() == (run / RANK_MAP).read_bytes()
    os.utime(run / RANK_MAP, (1, 1))
    assert rank_map(view, public) != shown
