"""Which client a style is loaded in, and when two pictures are the same."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.clients.check import STRANGER, Found, Load, compare, loads
from benchmarks.clients.report import failures, page, read
from benchmarks.styles.rows import append_line

LORA = {"lora_unet_x.lora_down.weight": torch.ones(2, 3), "lora_unet_x.lora_up.weight": torch.ones(4, 2)}
SCALE = {"lora_unet_x.oft_blocks": torch.zeros(1, 2, 2, 2), "lora_unet_x.rescale": torch.ones(4, 1)}
SHIFT = {"lora_unet_x.diff": torch.zeros(1), "lora_unet_x.diff_b": torch.ones(4)}
NO_FORM = "A1111 and ComfyUI load a.safetensors from their LoRA folder; diffusers has no form for this method."
TWO = (
    'in diffusers `pipe.unet.load_lora_adapter("a-diffusers.safetensors")` loads the UNet\'s part, and the text '
    'encoders\' with `pipe.load_lora_weights(load("a-diffusers.safetensors"))`.'
)


def folder(place: Path, advice: str, metadata: dict[str, str] | None = None, **files: dict[str, torch.Tensor]) -> Path:
    (place / "how-to-load.txt").write_text(advice, encoding="utf-8")
    for name, tensors in files.items():
        save_file(tensors, place / f"{name.replace('_', '-')}.safetensors", metadata)
    return place


def test_diffusers_is_told_what_the_advice_says(tmp_path):
    once = folder(tmp_path, 'in diffusers `pipe.load_lora_weights("a.safetensors")` does; `a` calls it.', a=LORA)
    call = 'pipe.load_lora_weights("a.safetensors")'
    assert list(loads(once, "a")) == [Load("diffusers", ("a.safetensors",), (call,))]


def test_a_file_of_its_own_for_diffusers_leaves_the_other_to_lycoris(tmp_path):
    first, second = loads(folder(tmp_path, TWO, a=LORA, a_diffusers=LORA), "a")
    assert first.files == ("a-diffusers.safetensors",)
    assert [call.split("(")[0] for call in first.calls] == ["pipe.unet.load_lora_adapter", "pipe.load_lora_weights"]
    assert second == Load("LyCORIS", ("a.safetensors",))


@pytest.mark.parametrize(
    ("tensors", "metadata", "client"),
    [
        (SCALE, None, "LyCORIS"),
        (SHIFT, None, "LyCORIS"),
        (SCALE | SHIFT, None, "Velatura"),
        (LORA, {"velatura.methods": "{}"}, "Velatura"),
    ],
)
def test_what_no_other_client_reads_whole_is_drawn_here(tmp_path, tensors, metadata, client):
    assert list(loads(folder(tmp_path, NO_FORM, metadata, a=tensors), "a")) == [Load(client, ("a.safetensors",))]


def test_halves_are_loaded_side_by_side(tmp_path):
    advice = 'in diffusers `pipe.load_lora_weights("a.safetensors")` does.'
    whole, halves = loads(folder(tmp_path, advice, a=LORA, a_style=LORA, a_content=LORA), "a")
    assert whole.files == ("a.safetensors",)
    assert halves.files == ("a-style.safetensors", "a-content.safetensors")
    assert halves.calls[-1] == "pipe.set_adapters(['a-style', 'a-content'])"


def test_the_stranger_has_none_of_our_code():
    tree = ast.parse(STRANGER.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"app", "trainers", "presets", "benchmarks"}


def painted(place: Path, *colour: int) -> Path:
    image = Image.new("RGB", (4, 2), colour)
    image.putpixel((0, 0), tuple(min(255, c + 8) for c in colour))
    image.save(place)
    return place


def test_the_worst_channel_and_the_least_change_count(tmp_path):
    bare, trainers = painted(tmp_path / "bare.png", 10, 10, 10), painted(tmp_path / "own.png", 20, 16, 10)
    drawn = painted(tmp_path / "drawn.png", 20, 19, 11)
    assert compare([drawn], [trainers], [bare]) == Found(mean=3.0, largest=3, change=5.33)
    assert compare([trainers], [trainers], [bare]).complaint == ""
    assert compare([drawn], [trainers], [bare]).complaint == "other pictures"
    assert compare([bare], [bare], [bare]).complaint == "too little change to tell"


def test_the_newest_rows_of_a_method_are_shown_and_a_wrong_one_fails(tmp_path):
    results = tmp_path / "rows.jsonl"
    row = {"method": "a", "client": "diffusers", "files": ["a.safetensors"], "commit": "1"}
    append_line(results, {**row, "error": "RuntimeError: | 6"})
    append_line(results, {**row, "method": "b", "mean": 0.5, "largest": 3, "change": 30.0})
    assert failures(read(results), ["a", "b", "c"]) == ["a", "c"]
    shown = page(read(results), ["a", "b", "c"])
    assert "| `a` | `a.safetensors` | diffusers | – | – | – | RuntimeError: \\| 6 | 1 |" in shown
    assert "| `b` | `a.safetensors` | diffusers | 0.5000 | 3 | 30.0 | the same | 1 |" in shown
    assert "1 of 2 pass. Not checked yet: `c`." in shown
    append_line(results, {**row, "commit": "2", "mean": 0.5, "largest": 3, "change": 30.0})
    with results.open("a", encoding="utf-8") as file:
        file.write('{"method": "b", "cli')
    append_line(results, {**row, "commit": "2", "mean": 0.25, "largest": 3, "change": 30.0})
    assert {row["method"]: row["mean"] for row in read(results)} == {"a": 0.25, "b": 0.5}
