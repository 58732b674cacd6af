"""`velatura merge`: one file of several."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.app.command import call, process
from tests.app.conftest import Trained
from trainers.formats.read import read_style


def test_a_merged_style_is_written_once(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "both.safetensors"
    words = ("merge", f"{trained.style}:0.5", f"{trained.style}:0.25", "--out", out)
    done = call(*words)
    assert done.code == 0 and "exact" in done.err
    cut = json.loads(call(*words, "--rank", "1", "--overwrite", "--json").out)
    assert (cut["style"], cut["rank"]) == (str(out), 1) and 0 < cut["error"] < 1
    assert call("inspect", out, "--json").code == 0
    assert f"{out} exists already" in call(*words).err
    assert "ends in .safetensors" in call(*words[:-1], tmp_path / "both.ckpt").err
    assert "one style is its own sum" in call("merge", trained.style, "--out", tmp_path / "none" / "x.safetensors").err
    assert not (tmp_path / "none").exists(), "nothing is made where nothing can be merged"


def test_nothing_but_the_outcome_is_said(trained: Trained, tmp_path: Path) -> None:
    """In a process of its own, where libraries are imported first and would have their say."""
    done = process("merge", f"{trained.style}:0.5", f"{trained.style}:0.25", "--out", "both.safetensors", cwd=tmp_path)
    assert done.code == 0 and done.out == ""
    assert done.err.startswith("wrote both.safetensors") and done.err.count("\n") == 1, done.err


def test_a_word_that_stays_outside_is_named(trained: Trained, tmp_path: Path) -> None:
    style, word = tmp_path / "dusk.safetensors", tmp_path / "dusk-embedding.safetensors"
    shutil.copyfile(trained.style, style)
    save_file({"emb_params": torch.ones(1, 192)}, word, {"velatura.word": "<dusk>"})
    done = call("merge", style, trained.style, "--out", tmp_path / "both.safetensors")
    assert done.code == 0 and done.err.count("is not in it") == 1 and f"take {word} too" in " ".join(done.err.split())


def test_what_is_no_strength_or_far_too_much_of_it_is_said(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "both.safetensors"
    wrong = call("merge", f"{trained.style}:nan", trained.style, "--out", out)
    assert wrong.code == 1 and "'nan' is none" in wrong.err and not out.exists()
    strong = call("merge", f"{trained.style}:999", trained.style, "--out", out)
    assert strong.code == 0 and "dusk.safetensors at strength 999 is likely to draw noise" in strong.err


def test_an_alpha_that_is_not_known_is_said_before_it_is_in_the_file_for_good(tmp_path: Path) -> None:
    stem = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    adapter, out = tmp_path / "adapter_model.safetensors", tmp_path / "both.safetensors"
    save_file({f"{stem}.lora_A.weight": torch.ones(4, 768), f"{stem}.lora_B.weight": torch.ones(320, 4)}, adapter)
    words = ("merge", adapter, f"{adapter}:0.5", "--out", out, "--overwrite")
    done = call(*words)
    assert done.code == 0 and " ".join(done.err.split()).count("it is read with alpha = rank") == 1
    assert torch.equal(change_in(out), torch.full((320, 768), 4 * 1.5))
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 1}')
    done = call(*words)
    assert done.code == 0 and "is read with" not in " ".join(done.err.split())
    assert torch.equal(change_in(out), torch.full((320, 768), 1.5))


def change_in(file: Path) -> torch.Tensor:
    """The change of the one layer in a file."""
    (update,) = read_style(file).modules().values()
    return update.dense(torch.empty(0))
