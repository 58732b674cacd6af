"""The map of the ranks on a run's page: there once it is drawn, and at a new address when it is drawn again."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from app.ui.runs import text as words
from app.ui.runs.ranks_view import read_rank_map
from trainers.ranks.map import draw_rank_map
from trainers.runs.events import Recorder
from trainers.runs.run import RANK_MAP


def test_a_run_shows_where_its_rank_went(tmp_path: Path) -> None:
    run, public = tmp_path / "run", tmp_path / "public"
    run.mkdir()
    public.mkdir()
    view: Any = SimpleNamespace(job=SimpleNamespace(folder=run))
    assert read_rank_map(view, public) is None and list(public.iterdir()) == []
    Recorder(run)("ranks", step=1, ranks={"unet.mid_block.attentions.0.a": 3})
    assert draw_rank_map(run) is not None
    shown = read_rank_map(view, public)
    (copy,) = public.iterdir()
    assert shown is not None and shown.picture == copy and shown.alt.startswith("The rank of each layer")
    assert shown == read_rank_map(view, public)
    assert copy.read_bytes() == (run / RANK_MAP).read_bytes()
    os.utime(run / RANK_MAP, (1, 1))
    assert read_rank_map(view, public) != shown


def test_the_page_of_a_dylora_says_what_its_map_counts(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('name = "dusk"\n[method]\nname = "dylora"\n', encoding="utf-8")
    (tmp_path / "public").mkdir()
    Recorder(tmp_path)("ranks", step=1, ranks={"unet.mid_block.attentions.0.a": 3})
    draw_rank_map(tmp_path)
    view: Any = SimpleNamespace(job=SimpleNamespace(folder=tmp_path))
    shown = read_rank_map(view, tmp_path / "public")
    assert shown is not None and all("components with 90 % of the change" in said for said in (shown.hint, shown.alt))
    assert "keeps its full rank" in shown.hint and shown.title != words.RANKS and "rank of each layer" not in shown.alt
