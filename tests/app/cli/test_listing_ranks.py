"""What `velatura inspect` says about ranks: every layer by name, closed ones too, and how far a bar reaches."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.app.command import call
from tests.app.conftest import Trained
from trainers.runs.events import Recorder


def test_inspect_of_a_run_says_where_its_rank_went(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "dusk"
    (run / "style").mkdir(parents=True)
    config = (trained.run / "config.toml").read_text(encoding="utf-8")
    (run / "config.toml").write_text(config.replace('name = "lora"', 'name = "sora"'), encoding="utf-8")
    outcome = call("inspect", run)
    assert outcome.code == 1 and "is a folder without a style" in outcome.err
    shutil.copy(trained.style, run / "style")
    assert call("inspect", run).out == call("inspect", trained.style).out
    for step, rank in ((1, 2), (5, 4)):
        Recorder(run)("ranks", step=step, ranks={"unet.mid_block.resnets.0.conv1": rank})
    for place in (run, run / "style" / trained.style.name):
        shown = re.sub(r"\n│ +│ ", " ", call("inspect", place).out)
        assert "mean rank (█ = 4), step 1 to 5" in shown
        assert re.search(r"unet\.mid_block\.resnets\.0 +│ ▅+█ +│ 4\.0", shown), shown


def write_cut_style(place: Path, layers: dict[str, int]) -> None:
    """A style file of these ranks, as kohya names them."""
    tensors = {}
    for layer, rank in layers.items():
        stem = f"lora_{layer.replace('.', '_')}"
        tensors |= {f"{stem}.lora_up.weight": torch.ones(8, rank), f"{stem}.lora_down.weight": torch.ones(rank, 8)}
    place.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, place)


@pytest.mark.parametrize("method", ["adalora", "dylora"])
def test_inspect_names_layers_and_says_which_are_closed(tmp_path: Path, method: str) -> None:
    run, inner = tmp_path / "dusk", "attentions.0.transformer_blocks.0.attn2"
    (run / "style").mkdir(parents=True)
    (run / "config.toml").write_text(f'name = "dusk"\n[method]\nname = "{method}"\n', encoding="utf-8")
    (run / "events.jsonl").touch()
    ways = ("down_blocks.1", "up_blocks.0", "mid_block")  # the order of diffusers
    ranks = {f"unet.{way}.{inner}.{name}": 3 for way in ways for name in ("to_q", "to_k")}
    closed = f"unet.mid_block.{inner}.to_q"
    Recorder(run)("ranks", step=9, ranks={**ranks, closed: 0, f"unet.mid_block.{inner}.to_v": 2})
    left = {layer: 5 - (layer.endswith("to_q")) for layer in ranks if layer != closed}
    write_cut_style(run / "style" / "dusk.safetensors", left)
    outcome = call("inspect", run)
    moves = method == "adalora"
    expected = ["to_q=4 to_k=5", "to_q=0 to_k=5" if moves else "to_k=5", "to_q=4 to_k=5"]
    rows = re.findall(r"(unet\.\S+) +│ attn2 (\S.*?) +│", outcome.out)
    order = [f"unet.{way}.attentions.0" for way in ("down_blocks.1", "mid_block", "up_blocks.0")]
    assert rows == list(zip(order, expected, strict=True)), outcome.out
    assert ("not in a file" in outcome.err) == (not moves)
    assert ("mean rank" in outcome.out) == moves == ("90 %" not in outcome.out)
    alone = tmp_path / "alone.safetensors"
    shutil.copy(run / "style" / "dusk.safetensors", alone)
    outcome = call("inspect", alone)
    assert "to_q=0" not in outcome.out and "closed altogether are not in a file" in outcome.err
