"""Real runs from settings to style file on tiny bases: what they leave, and what is refused."""

from __future__ import annotations

import json
import weakref
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.pairs import seldom_but
from tests.trainers.tiny_runs import (
    EVERYTHING,
    METHODS,
    equal,
    events_of,
    files_in,
    quick_settings,
    style_metadata,
    style_tensors,
    write_images,
)
from trainers.adapters.methods import METHODS as CLASSES
from trainers.errors import VelaturaError
from trainers.formats.read import read_style
from trainers.formats.training_metadata import base_settings_of
from trainers.runs.events import read_events
from trainers.runs.run import Run
from trainers.training.train import train

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("quick_runs")]


FAMILIES = ("sd1", "sd2", "sd2-v", "sdxl")
KINDS = {"oft": "sd1", "t-lora": "sd2-v", "vpt": "sd2", "adapter": "sdxl"}
"""Methods that change other things than a weight by a sum, at every step alike."""
WITHOUT_LAYERS = ("vpt", "adapter")
"""Those that change no weight of a layer; `formats/test_clients.py` and `test_own_form.py` draw what others write."""
CASES = seldom_but([("lora", "sdxl")], [("lora", family) for family in FAMILIES])
CASES += [
    pytest.param(
        method, KINDS.get(method, FAMILIES[number % 4]), marks=() if method in WITHOUT_LAYERS else pytest.mark.thorough
    )
    for number, method in enumerate(METHODS)
    if method != "lora"
]
"""Every family, and every method on one of them; `tests/golden` trains every method, too."""


def test_every_method_has_its_small_settings():
    assert {name: settings["name"] for name, settings in METHODS.items()} == {name: name for name in CLASSES}


@pytest.mark.parametrize(("method", "family"), CASES)
def test_every_method_and_every_family_train(family, method, tiny_bases, images, tmp_path):
    text = method == "lora"
    layers = {
        "method": METHODS[method],
        "targets": {"unet": "full", "text_encoder": "attn-mlp" if text else "none"},
        "data": {"resolution": 64},
        "train": {"learning_rate": 2e-3},
        "sample": {"size": 32},
        "save": {"every": 2},
    }
    result = train(quick_settings(tiny_bases[family], images, layers), tmp_path)
    run, tensors = Run(result.run), style_tensors(result.style)
    assert result.steps == 2 and result.stopped_by == "" and result.parameters > 0
    # The file's pictures, drawn on a base loaded afresh, are those of the live adapter, but for rounding.
    assert result.difference is not None and result.difference <= 2
    drawn = [Image.open(run.samples / name / "00.png") for name in ("step-00000000", "step-00000002", "final")]
    assert len({picture.size for picture in drawn}) == 1 and drawn[0].tobytes() != drawn[2].tobytes()
    encoders = {key.split("_")[1] for key in tensors if not key.startswith(("lora_unet_", "velatura_"))}
    assert encoders == ({"te1", "te2"} if family == "sdxl" else {"te"} if text else set()) if text else not encoders
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert style_metadata(result.style)["velatura.family"] == family[:3].rstrip("-") or family == "sdxl"
    only_here = f"{method} does not change weights"
    assert any(only_here in event["message"] for event in events_of(run, "note")) != CLASSES[method]().merges
    (start,) = events_of(run, "start")
    assert start["parameters"] == result.parameters and start["images"] == 3 and not start["resumed"]
    assert [event["step"] for event in events_of(run, "step")] == [1, 2]
    assert not any("unfinished" in name for name in files_in(tmp_path))


def test_the_base_is_let_go_before_another_is_loaded(quick, tmp_path, monkeypatch):
    """No more than one base is in memory: the real sizes would not fit twice."""
    from trainers.training import opening, previews

    alive: list[weakref.ref] = []
    counts = []

    def watched(load):
        def loading(*arguments):
            counts.append(sum(reference() is not None for reference in alive))
            model = load(*arguments)
            alive.append(weakref.ref(model.denoiser))
            return model

        return loading

    for module in (previews, opening):
        monkeypatch.setattr(module, "load_model", watched(module.load_model))
    train(quick({"train": {"ema": 0.5}}), tmp_path)
    assert counts == [0, 0]


@pytest.mark.parametrize("room", seldom_but(("main memory",), ("all", "main memory", "none")))
def test_a_style_of_a_base_in_nf4_is_drawn_on_the_base_in_full_where_that_has_room(room, quick, tmp_path, monkeypatch):
    from trainers.training import previews

    load, loaded = previews.load_model, []

    def loading(settings, *facts):
        loaded.append(settings.storage)
        assert settings.offload_encoders, "it is the machine of the training"
        if settings.storage == "full" and room != "all":
            raise torch.OutOfMemoryError("no room")
        return load(settings, *facts)

    monkeypatch.setattr(previews, "load_model", loading)
    monkeypatch.setattr(previews, "free_memory", lambda _device: 0 if room == "none" else 2**40)
    base = {"storage": "nf4", "offload_encoders": True}
    result = train(quick({"base": base, "targets": {"unet": "full"}}), tmp_path)
    run = Run(result.run)
    said = [event["message"] for kind in ("note", "warning") for event in events_of(run, kind)]
    if room == "all":
        assert loaded == ["full"] and result.difference is None
        assert any("differ by" in words and "on average" in words for words in said)
    else:
        assert (
            loaded == (["nf4"] if room == "none" else ["full", "nf4"])
            and result.difference is not None
            and result.difference <= 2
        )
        assert any("does not fit" in words for words in said)
    assert run.config().base.storage == "nf4" and result.grid is not None
    assert json.loads(style_metadata(result.style)["velatura.config"])["base"]["storage"] == "nf4"
    drawn_on = base_settings_of(read_style(result.style)).base  # the machine that draws decides how it is held
    assert drawn_on.storage == "full" and not drawn_on.offload_encoders


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"base": {"model": "{nothing}"}}, "nothing"),
        ({"targets": {"unet": ["no.such.*"]}}, "'no.such.\\*' matches no layer"),
        ({"targets": {"blocks": {"attic": {"rank": 2}}}}, "matches no trained layer"),
        ({"train": {"precision": "fp16"}}, "fp16 does not work on a CPU"),
        ({"train": {"device": "gpu"}}, "is not a device"),
        ({"data": {"images": "{nothing}"}}, "there is no such folder"),
        ({"data": {"images": ""}}, "no images were given"),
    ],
)
def test_a_preparation_that_fails_leaves_nothing(layer, words, quick, tmp_path):
    filled = {
        section: {key: str(tmp_path / "nothing") if value == "{nothing}" else value for key, value in table.items()}
        for section, table in layer.items()
    }
    with pytest.raises(VelaturaError, match=words) as caught:
        train(quick(filled), tmp_path / "made" / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_replaced_only_if_asked_and_only_by_one_that_can_begin(quick, tmp_path, no_pictures):
    first = train(quick(), tmp_path)
    kept = first.style.read_bytes()
    with pytest.raises(VelaturaError, match="already exists"):
        train(quick(), tmp_path)
    with pytest.raises(VelaturaError, match="matches no layer"):
        train(quick({"targets": {"unet": ["no.such"]}}), tmp_path, overwrite=True)
    assert first.style.read_bytes() == kept
    second = train(quick({"seed": 5}), tmp_path, overwrite=True)
    assert not equal(style_tensors(second.style), style_tensors(train(quick(), tmp_path / "b").style))
    assert {path.name for path in tmp_path.iterdir()} == {"b", "dusk"}


def test_the_config_of_a_run_folder_trains_the_same_again_over_the_run_itself(quick, tmp_path):
    run = Run(train(quick(EVERYTHING, {"train": {"steps": 2}}), tmp_path).run)
    pictures = [run.samples / name / "00.png" for name in ("step-00000000", "final")]
    kept = [file.read_bytes() for file in (run.folder / "config.toml", *pictures)]
    tensors, config = style_tensors(run.style / "dusk.safetensors"), run.config()
    assert config.data.images == str(run.dataset)
    again = train(config, tmp_path, overwrite=True)
    assert equal(tensors, style_tensors(again.style))
    assert kept == [file.read_bytes() for file in (run.folder / "config.toml", *pictures)]


def test_the_tracker_writes_into_the_run_folder(quick, tmp_path, no_pictures):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(quick({"train": {"tracker": "tensorboard", "steps": 3}}), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"dusk"}
    logs = EventAccumulator(str(result.run / "logs" / "velatura"))
    logs.Reload()
    losses = [event["loss"] for event in events_of(Run(result.run), "step")]
    assert [scalar.value for scalar in logs.Scalars("loss")] == pytest.approx(losses)
    assert [scalar.step for scalar in logs.Scalars("loss")] == [1, 2, 3]


def test_the_grid_shows_before_and_after(quick, tmp_path):
    layer = {"sample": {"prompts": ["a fox", "a boat"], "seeds": [1, 2], "size": 64, "every": 1}}
    result = train(quick(layer), tmp_path)
    assert result.grid == result.run / "samples" / "before-after.png"
    grid = Image.open(result.grid).convert("RGB")
    side, gap, label = 64, 8, 84
    assert grid.width == label + 4 * (side + gap) + gap
    assert grid.height > 2 * (side + gap)
    left = label + 3 * (side + gap)
    cells = [grid.crop((left, y, left + side, y + side)) for y in (grid.height - 148, grid.height - 76)]
    after = Image.open(result.run / "samples" / "final" / "03.png")
    assert cells[1].tobytes() == after.tobytes()
    assert cells[0].tobytes() == Image.open(result.run / "samples" / "step-00000000" / "03.png").tobytes()
    assert len(set(after.get_flattened_data() if hasattr(after, "get_flattened_data") else after.getdata())) > 100
    samples = {path.name for path in (result.run / "samples").iterdir()}
    assert samples == {"before-after.png", "final", "step-00000000", "step-00000001", "step-00000002"}


def test_what_was_left_out_is_said(quick, tmp_path, tiny_bases, no_pictures):
    folder = write_images(tmp_path / "images")
    (folder / "broken.png").write_bytes((folder / "fox.png").read_bytes()[:200])
    (folder / "twin.png").write_bytes((folder / "fox.png").read_bytes())
    events: list[dict[str, Any]] = []
    result = train(quick_settings(tiny_bases["sd1"], folder), tmp_path / "out", listener=events.append)
    warnings = [event["message"] for event in events if event["type"] == "warning"]
    assert any("broken.png was left out" in words for words in warnings)
    assert any("the same: fox.png, twin.png" in words for words in warnings)
    assert [event["type"] for event in events] == [e["type"] for e in read_events(result.run)]
    assert next(e for e in events if e["type"] == "images")["count"] == 4


def test_b_lora_leaves_a_file_for_the_style_and_one_for_the_content(tiny_bases, images, tmp_path, no_pictures):
    settings = quick_settings(tiny_bases["sdxl"], images, {"targets": {"unet": "b-lora"}})
    result = train(settings, tmp_path)
    whole, *halves = (
        load_file(result.style.with_name(f"dusk{half}.safetensors")) for half in ("", "-content", "-style")
    )
    assert len(whole) == sum(map(len, halves)) > 0
    for half, place in zip(halves, ("output_blocks_0_1", "output_blocks_1_1"), strict=True):
        assert {key for key in whole if key.startswith(f"lora_unet_{place}_")} == set(half)
        assert all(torch.equal(whole[key], half[key]) for key in half)
    assert "dusk-style.safetensors holds only the style" in (result.style.parent / "how-to-load.txt").read_text("utf-8")
    with pytest.raises(VelaturaError, match="its two blocks have attention only in SDXL"):
        train(quick_settings(tiny_bases["sd1"], images, {"targets": {"unet": "b-lora"}}), tmp_path / "other")


TEXT = {"targets": {"text_encoder": "attn"}}
CLASS = {"prior": {"prompt": "a house", "images": 2}, "train": {"batch_size": 2}}
WORD = {"tokens": {"word": "<dusk>", "vectors": 2}}
NF4 = {"base": {"storage": "nf4"}}
COMBINED = [("loha", (NF4, CLASS, TEXT, WORD)), ("t-lora", (NF4, CLASS, WORD)), ("full", (CLASS, TEXT, WORD))]


@pytest.mark.parametrize(
    ("method", "tables"),
    seldom_but([COMBINED[0]], COMBINED),
)
def test_techniques_combine_by_settings_alone(method, tables, quick, tmp_path):
    """The base in 4 bits, class images, a word of its own and the text encoder, with methods of three kinds."""
    config = quick({"method": METHODS[method]}, *tables, {"sample": {"prompts": ["a fox, <dusk>"]}})
    result = train(config, tmp_path)
    packed = NF4 in tables
    assert (result.difference is None) if packed else result.difference <= 2
    run, style = Run(result.run), result.style
    word = load_file(style.with_name("dusk-embedding.safetensors"))["emb_params"]
    assert word.shape == (2, 24) and len(list((run.folder / "prior").rglob("*.png"))) == 2
    parts = {key.split("_")[1] for key in style_tensors(style) if key.startswith("lora_")}
    assert parts == ({"unet", "te"} if TEXT in tables else {"unet"})
    (start,) = events_of(run, "start")
    assert start["parameters"] == result.parameters > word.numel()
