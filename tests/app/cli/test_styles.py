"""`velatura inspect`, with the ranks of a file and of its run, and `velatura merge`: one file of several."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.app.command import call
from tests.app.conftest import Trained
from trainers.formats.read import read_style
from trainers.runs.events import Recorder


def test_inspect(trained: Trained) -> None:
    summary = json.loads(call("inspect", trained.style, "--json").out)
    assert (summary["method"], summary["parameters"]) == ("lora", 2_042_880)
    assert (summary["rank"]["most_common"], summary["alphas"]) == (16, [16.0])
    assert (summary["base"]["name"], summary["base"]["fits_only"]) == ("Velatura starter", "Velatura starter")
    shown = call("inspect", trained.style).out
    for words in (r"method +│ lora", r"rank +│ 16", r"alpha in the file +│ 16", "fits only +│ Velatura starter"):
        assert re.search(words, shown), words
    for words in (r"parameters in the file +│ 2,042,880", r"captions \(the most frequent\) +│ dog red, fox"):
        assert re.search(words, shown), words
    assert "trained words" not in shown, "its captions call nothing"
    assert summary["base"]["sha256"] in re.sub(r"[\s│]", "", shown)  # folded, not cut
    assert summary["tensors"][0]["key"] in call("inspect", trained.style, "--tensors").out


def test_inspect_says_what_a_file_was_trained_as_and_no_alpha_of_what_has_none(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    def shown(tensors: dict[str, torch.Tensor], name: str, captions: int) -> str:
        tags = {"1_x": {f"tag {number}": 9 - number for number in range(captions)}}
        said = {"velatura.config": json.dumps({"method": {"name": name}}), "ss_tag_frequency": json.dumps(tags)}
        save_file(tensors, tmp_path / "a.safetensors", said)
        return call("inspect", tmp_path / "a.safetensors").out

    turned = {"lora_unet_x.oft_blocks": torch.ones(1, 2, 2), "lora_unet_x.alpha": torch.tensor(0.0)}
    low = {"lora_unet_x.lora_up.weight": torch.ones(4, 2), "lora_unet_x.lora_down.weight": torch.ones(2, 4)}
    out = shown(turned, "oft", 5)
    assert re.search(r"method +│ oft +│", out) and re.search(r"alpha in the file +│ – ", out)
    assert re.search(r"│ tag 0, tag 1, tag 2, tag 3, tag 4 +│", out)
    out = shown(low | {"lora_unet_x.alpha": torch.tensor(0.0)}, "adalora", 6)
    assert re.search(r"method +│ lora \(trained as adalora\) +│", out), out
    assert re.search(r"alpha in the file +│ 0 ", out), "of a LoRA, it says that nothing is left of it"
    assert re.search(r"│ tag 0, tag 1, tag 2, tag 3, tag 4, … +│", out)


def test_inspect_says_which_programs_load_a_file(trained: Trained, tmp_path: Path) -> None:
    block, shape = "transformer.single_transformer_blocks.0", {"lora_A": (2, 8), "lora_B": (8, 2)}
    layers = (f"{block}.attn.to_q", "transformer.transformer_blocks.0.attn.add_q_proj", "transformer.norm_out.linear")
    tensors = {f"{layer}.{side}.weight": torch.ones(size) for layer in layers for side, size in shape.items()}
    save_file(tensors, tmp_path / "a.safetensors", {"velatura.family": "flux"})
    shown = call("inspect", tmp_path / "a.safetensors").out
    for program, words in {
        "A1111": "was not tried with such a file",
        "Forge": "loads all of it",
        "ComfyUI": "loads all of it",
        "InvokeAI": "refuses it: it cannot convert the change of norm_out.linear",
        "diffusers": "loads all of it",
    }.items():
        assert re.search(rf"{program} +│ {words}", shown), program
    summary = json.loads(call("inspect", tmp_path / "a.safetensors", "--json").out)
    assert [one["loads"] for one in summary["programs"]] == ["unknown", "all", "all", "nothing", "all"]
    assert json.loads(call("inspect", trained.style, "--json").out)["programs"] == [], "no program has the starter"


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


def write_cut_style(place: Path, layers: dict[str, int], method: str) -> None:
    """A style file of these ranks, as kohya names them."""
    tensors = {}
    for layer, rank in layers.items():
        stem = f"lora_{layer.replace('.', '_')}"
        tensors |= {f"{stem}.lora_up.weight": torch.ones(8, rank), f"{stem}.lora_down.weight": torch.ones(rank, 8)}
    place.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, place, {"velatura.config": json.dumps({"method": {"name": method}})})


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
    write_cut_style(run / "style" / "dusk.safetensors", left, method)
    outcome = call("inspect", run)
    moves = method == "adalora"
    expected = ["to_q=4 to_k=5", "to_q=0 to_k=5" if moves else "to_k=5", "to_q=4 to_k=5"]
    rows = re.findall(r"(unet\.\S+) +│ attn2 (\S.*?) +│", outcome.out)
    order = [f"unet.{way}.attentions.0" for way in ("down_blocks.1", "mid_block", "up_blocks.0")]
    assert rows == list(zip(order, expected, strict=True)), outcome.out
    assert "omits layers" not in outcome.err, "the run says which, or the method closes none"
    assert ("mean rank" in outcome.out) == moves == ("90 %" not in outcome.out)
    alone = tmp_path / "alone.safetensors"
    shutil.copy(run / "style" / "dusk.safetensors", alone)
    outcome = call("inspect", alone)
    assert "to_q=0" not in outcome.out
    assert ("omits layers whose rank fell to zero" in outcome.err) == moves


def test_a_merged_style_is_written_once(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "both.safetensors"
    words = ("merge", f"{trained.style}:0.5", f"{trained.style}:0.25", "--out", out)
    done = call(*words)
    assert done.code == 0 and "exact" in done.err
    cut = json.loads(call(*words, "--rank", "1", "--overwrite", "--json").out)
    assert (cut["style"], cut["rank"]) == (str(out), 1) and 0 < cut["error"] < 1
    assert call("inspect", out, "--json").code == 0
    assert f"{out} already exists" in call(*words).err
    assert "must end in .safetensors" in call(*words[:-1], tmp_path / "both.ckpt").err
    assert (
        "merging needs several styles" in call("merge", trained.style, "--out", tmp_path / "none" / "x.safetensors").err
    )
    assert not (tmp_path / "none").exists(), "nothing is made where nothing can be merged"


def test_a_word_that_stays_outside_is_named(trained: Trained, tmp_path: Path) -> None:
    style, word = tmp_path / "dusk.safetensors", tmp_path / "dusk-embedding.safetensors"
    shutil.copyfile(trained.style, style)
    save_file({"emb_params": torch.ones(1, 192)}, word, {"velatura.word": "<dusk>"})
    done = call("merge", style, trained.style, "--out", tmp_path / "both.safetensors")
    assert (
        done.code == 0
        and done.err.count("does not contain the word") == 1
        and f"also use {word}" in " ".join(done.err.split())
    )


def test_what_is_no_strength_or_far_too_much_of_it_is_said(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "both.safetensors"
    wrong = call("merge", f"{trained.style}:nan", trained.style, "--out", out)
    assert wrong.code == 1 and "found 'nan'" in wrong.err and not out.exists()
    strong = call("merge", f"{trained.style}:999", trained.style, "--out", out)
    assert strong.code == 0 and "dusk.safetensors at strength 999 will probably draw noise" in strong.err


def test_merging_styles_of_different_starters_is_said(trained: Trained, tmp_path: Path) -> None:
    earlier, style = tmp_path / "earlier.safetensors", read_style(trained.style)
    save_file(load_file(trained.style), earlier, {**style.metadata, "velatura.base_sha256": "0" * 64})
    done = call("merge", earlier, trained.style, earlier, "--out", tmp_path / "both.safetensors")
    said = "earlier.safetensors and dusk.safetensors were trained on different versions of the starter"
    assert done.code == 0 and " ".join(done.err.split()).count(said) == 1
    done = call("merge", trained.style, trained.style, "--out", tmp_path / "twice.safetensors")
    assert done.code == 0 and "different versions" not in done.err


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
