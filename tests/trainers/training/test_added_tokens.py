"""Runs that learn a word: alone and beside layers, on one text encoder and on two."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from tests.pairs import seldom_but
from tests.trainers.tiny_runs import (
    ALONE,
    both,
    equal,
    events_of,
    one,
    quick_settings,
    state_of,
    style_metadata,
    style_tensors,
)
from trainers.adapters.network import Network, attach
from trainers.config.config import Config
from trainers.config.sections import Base, Tokens, Train
from trainers.errors import VelaturaError
from trainers.models.load import load_model
from trainers.runs.run import Run
from trainers.training.opening import learn_word
from trainers.training.session import Session
from trainers.training.step.optim import parameter_groups
from trainers.training.train import train

pytestmark = pytest.mark.usefixtures("quick_runs")

PIVOTAL: dict[str, Any] = {
    "tokens": {"word": "<dusk>", "vectors": 2},
    "sample": {"prompts": ["a fox, <dusk>"]},
    "train": {"gradient_checkpointing": True},
}


def learned(tiny_bases, family: str, config: Config) -> tuple[Any, Network]:
    model = load_model(Base(model=str(tiny_bases[family])), torch.float32, "cpu")
    network = attach(model.parts, config.method, config.targets, config.seed)
    learn_word(model, network, config.tokens)
    return model, network


@pytest.mark.parametrize(("family", "widths"), seldom_but([("sdxl", (24, 40))], [("sd1", (24,)), ("sdxl", (24, 40))]))
def test_nothing_but_the_rows_is_trained(family, widths, tiny_bases, images, tmp_path, monkeypatch):
    kept: dict[str, torch.Tensor] = {}
    model = load_model(Base(model=str(tiny_bases[family])), torch.float32, "cpu")
    kept = {f"{n}.{key}": t.clone() for n, part in model.parts.items() for key, t in part.state_dict().items()}
    monkeypatch.setattr("trainers.training.opening.load_model", lambda *_: model)
    monkeypatch.setattr(Session, "release", lambda session: session.network.remove())
    before = model.encode(["a red fox"])
    small = both(ALONE, one("tokens.vectors", 3), one("train.steps", 2))
    result = train(quick_settings(tiny_bases[family], images, small), tmp_path)
    after = {f"{n}.{key}": t for n, part in model.parts.items() for key, t in part.state_dict().items()}
    assert equal(kept, after), "every row of the table, too"
    assert torch.equal(model.encode(["a red fox"]).context, before.context)
    assert model.words.sizes == {}
    assert result.parameters == 3 * sum(widths) and result.difference <= 1
    state = state_of(Run(result.run), 2)
    trained = {name: t.shape for name, t in state.items() if name.startswith("network")}
    assert [shape for _, shape in sorted(trained.items())] == [(3, width) for width in widths]
    keys = ["clip_l", "clip_g"] if family == "sdxl" else ["emb_params"]
    tensors = style_tensors(result.style)
    assert {key: (t.shape, t.dtype) for key, t in tensors.items()} == {
        key: ((3, width), torch.float32) for key, width in zip(keys, widths, strict=True)
    }
    for key, (name, _) in zip(keys, sorted(trained.items()), strict=True):
        table = kept[
            "text_encoder.embeddings.token_embedding.weight"
            if key != "clip_g"
            else "text_encoder_2.text_model.embeddings.token_embedding.weight"
        ]
        assert torch.equal(tensors[key], state[name])
        moved = (tensors[key] - table[_style_token(model)]).abs()
        assert moved.min() > 0 and moved.max() < 0.1, "every number has moved a little from where it began"


def _style_token(model: Any) -> list[int]:
    ids = model.tokenizers[0]("style", add_special_tokens=False).input_ids
    return [ids[j % len(ids)] for j in range(3)]


@pytest.mark.parametrize("family", seldom_but(("sdxl",), ("sd1", "sdxl")))
def test_a_word_and_layers_lie_in_two_files_that_draw_the_same(family, tiny_bases, images, tmp_path):
    layers = both(PIVOTAL, one("targets.text_encoder", "attn"), one("data.trigger", "a drawing"))
    result = train(quick_settings(tiny_bases[family], images, layers), tmp_path)
    folder = result.style.parent
    assert {path.name for path in folder.iterdir()} == {
        "dusk.safetensors", "dusk-embedding.safetensors", "how-to-load.txt",
    }  # fmt: skip
    assert result.difference <= 1 and not (Run(result.run).cache / "text").exists()
    how = (folder / "how-to-load.txt").read_text("utf-8")
    assert "`embedding:dusk-embedding`" in how and 'token="<dusk>"' in how
    assert ("pipe.tokenizer_2" in how) == (family == "sdxl")
    style, word = (style_metadata(path) for path in (result.style, folder / "dusk-embedding.safetensors"))
    assert word["velatura.word"] == "<dusk>" and "velatura.word" not in style
    assert word["modelspec.architecture"].endswith("/textual-inversion") and "ss_network_module" not in word
    for said in (style, word):
        assert said["velatura.trigger"] == said["modelspec.trigger_phrase"] == "<dusk>, a drawing"
        assert all(tag.startswith(("<dusk>", "a drawing")) or "dusk" not in tag for tag in _tags(said))
        assert _tags(said)["<dusk>"] == 3
    (start,) = events_of(Run(result.run), "start")
    assert start["method"] == "lora+textual-inversion"
    written = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert events_of(Run(result.run), "export")[0]["bytes"] == written


def _tags(metadata: dict[str, str]) -> dict[str, int]:
    (found,) = json.loads(metadata["ss_tag_frequency"]).values()
    return found


def test_rates_of_a_word(tiny_bases):
    def rates(train: dict[str, Any], **tokens: Any) -> dict[tuple[float, float], int]:
        alone = both(ALONE, {"tokens": {"word": "<dusk>", **tokens}, "train": train})
        beside = {"tokens": {"word": "<dusk>", **tokens}, "train": train}
        config = quick_settings(tiny_bases["sd1"], tiny_bases["sd1"], beside if "learning_rate" in tokens else alone)
        _, network = learned(tiny_bases, "sd1", config)
        groups = parameter_groups(network, config.train)
        return {(g["lr"], g.get("weight_decay", 0.01)): sum(p.numel() for p in g["params"]) for g in groups}

    assert rates({"learning_rate": 0.25}) == {(0.25, 0.0): 24}
    assert rates({"learning_rate": 0.25}, learning_rate=0.5)[0.5, 0.0] == 24
    config = quick_settings(tiny_bases["sd1"], tiny_bases["sd1"], {"tokens": {"word": "<dusk>"}})
    _, network = learned(tiny_bases, "sd1", config)
    assert {g["lr"] for g in parameter_groups(network, Train(learning_rate=0.25))} == {0.25, 1.25}
    assert {g["lr"] for g in parameter_groups(network, Train(learning_rate=1, optimizer="prodigy"))} == {1.0}


@pytest.mark.usefixtures("no_pictures")
def test_a_batch_whose_captions_are_dropped_moves_nothing(quick, tmp_path):
    with pytest.raises(VelaturaError, match="the style changes nothing"):
        train(quick(ALONE, {"data": {"caption_dropout": 1.0}}), tmp_path)
    run = Run(tmp_path / "dusk")
    state = state_of(run, 4)
    assert [e["grad_norm"] for e in events_of(run, "step")] == [0.0] * 4
    assert state["network spoken.0.text_encoder"].shape == (1, 24)


@pytest.mark.usefixtures("no_pictures")
def test_recomputing_activations_changes_nothing(quick, tmp_path):
    small = both(ALONE, one("train.steps", 2))
    plain, saving = (
        train(quick(small, one("train.gradient_checkpointing", on)), tmp_path / str(on)) for on in (False, True)
    )
    assert equal(style_tensors(plain.style), style_tensors(saving.style))
    assert min(event["grad_norm"] for event in events_of(Run(saving.run), "step")) > 0


@pytest.mark.usefixtures("no_pictures")
def test_captions_that_a_word_makes_too_long_are_said_to_be_cut(quick, tmp_path):
    result = train(quick(both(ALONE, one("tokens.vectors", 74), one("train.steps", 1))), tmp_path)
    warned = [event["message"] for event in events_of(Run(result.run), "warning")]
    assert any("captioned with more than 75 tokens" in message for message in warned)
    assert Tokens(word="<x>").vectors == 1
