"""Loading tensor by tensor: the same numbers as packing after loading, and never a whole network in 16 bits."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.pairs import seldom_but
from tests.tiny_flow import FLOWS, tiny_flow_folder
from tests.trainers.models.storage.loading_memory import can_be_measured, measure_apart, memory_of
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.files.folder import load_part, read_json
from trainers.models.files.tensors import build_empty, stored_tensors
from trainers.models.full_size import build_from_config
from trainers.models.load import load_model
from trainers.models.storage.packed import PackedLayer, Packer, pack, packer_of
from trainers.models.storage.streaming import fill, match, part_loader, stream_part

pytestmark = [pytest.mark.long, pytest.mark.slow]
SD3: dict[str, Any] = {
    "_class_name": "SD3Transformer2DModel",
    "attention_head_dim": 64,
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": 2,
    "joint_attention_dim": 512,
    "pooled_projection_dim": 256,
    "pos_embed_max_size": 64,
    "sample_size": 32,
}


def networks_of(folder: Path) -> list[tuple[str, Any]]:
    """The denoiser and the text encoders of a base in diffusers layout, with their classes."""
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    named = ((name, kind) for name, kind in index.items() if name.startswith(("transformer", "unet", "text_encoder")))
    return [(name, getattr(import_module(library), kind)) for name, (library, kind) in named]


@pytest.mark.parametrize("family", seldom_but(("z-image", "chroma"), (*FLOWS, "sdxl")))
def test_the_numbers_are_those_of_packing_after_loading(family, tmp_path, tiny_bases):
    folder = tiny_bases["sdxl"] if family == "sdxl" else tiny_flow_folder(family, tmp_path)
    dtype = torch.float16 if family == "flux" else torch.bfloat16
    packer = packer_of(Base(storage="int8" if family in ("sd3", "z-image") else "nf4"))
    assert packer is not None
    for name, kind in networks_of(folder):
        streamed, whole = (
            stream_part(kind, folder / name, dtype, "cpu", packer, Base()),
            load_part(kind, folder, name, dtype),
        )
        pack(whole, "cpu", packer)
        assert any(isinstance(layer, PackedLayer) for layer in streamed.modules()), name
        found, wanted = ({**n.state_dict(), **dict(n.named_buffers())} for n in (streamed, whole))
        assert found.keys() == wanted.keys()
        assert all(torch.equal(tensor, wanted[key]) for key, tensor in found.items())
        assert all(tensor.dtype == wanted[key].dtype for key, tensor in found.items())
        assert streamed.dtype == whole.dtype and not streamed.training
        assert not any(parameter.requires_grad for parameter in streamed.parameters())


def test_what_is_damaged_is_said_as_of_any_base(tmp_path):
    folder = tiny_flow_folder("chroma", tmp_path)
    [file] = (folder / "transformer").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    (name, kind), *_ = (each for each in networks_of(folder) if each[0] == "transformer")
    load = part_loader(Base(storage="int8"), "cpu")
    with pytest.raises(VelaturaError, match=r"cannot load transformer of .* is truncated or damaged"):
        load(kind, folder, name, torch.bfloat16)
    save_file({"x": torch.zeros(2)}, file)
    with pytest.raises(VelaturaError, match=r"transformer of .* lacks .* tensors"):
        load(kind, folder, name, torch.bfloat16)


def test_a_base_in_int8_is_loaded_so(tiny_bases, monkeypatch):
    whole: list[str] = []
    monkeypatch.setattr(
        "trainers.models.storage.streaming.load_part",
        lambda kind, folder, name, dtype: whole.append(name) or load_part(kind, folder, name, dtype),
    )
    model = load_model(Base(model=str(tiny_bases["sd1"]), storage="int8"), torch.float32, "cpu")
    assert whole == ["vae"] and isinstance(model.denoiser.mid_block.attentions[0].proj_in, PackedLayer)


# ------------------------------------------------------------ memory
def shapes_of_transformer(part: Path, heads: int, layers: int) -> dict[str, torch.Size]:
    """Write an SD 3 transformer's config; returns the shapes of its tensors."""
    config = SD3 | {"num_attention_heads": heads, "num_layers": layers, "caption_projection_dim": 64 * heads}
    part.mkdir()
    (part / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return {name: tensor.shape for name, tensor in build_from_config(config).state_dict().items()}


def write_safetensors(file: Path, shapes: Mapping[str, torch.Size]) -> None:
    """Write tensors of random numbers in bf16."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * shape.numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    piece = (torch.randn(2**23, generator=torch.Generator().manual_seed(0)) / 32).bfloat16()
    some = memoryview(piece.view(torch.uint8).numpy())
    with file.open("wb") as content:
        content.write(len(text).to_bytes(8, "little") + text)
        for begin in range(0, end, len(some)):
            content.write(some[: end - begin])


def write_gguf(file: Path, shapes: Mapping[str, torch.Size]) -> None:
    """Write tensors of random numbers: weights of linear layers in Q8_0, others in F32."""
    entries, places, end = [], [], 0
    for name, shape in shapes.items():
        kind = 8 if len(shape) == 2 and shape[1] % 32 == 0 else 0
        sides = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        entries.append(struct.pack("<Q", len(name)) + name.encode() + sides + struct.pack("<IQ", kind, end))
        places.append((kind, shape.numel() // 32 * 34 if kind else 4 * shape.numel()))
        end += -(-places[-1][1] // 32) * 32
    draws = torch.Generator().manual_seed(0)
    codes = torch.randint(-127, 128, (2**16, 32), dtype=torch.int8, generator=draws).numpy().tobytes()
    scale = struct.pack("<e", 1 / 127)
    blocks = b"".join(scale + codes[at : at + 32] for at in range(0, len(codes), 32))
    floats = torch.randn(2**19, generator=draws).numpy().tobytes()
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(entries), 0) + b"".join(entries)
    with file.open("wb") as content:
        content.write(head + bytes(-len(head) % 32))
        for kind, size in places:
            some = blocks if kind else floats
            for begin in range(0, size, len(some)):
                content.write(some[: size - begin])
            content.write(bytes(-size % 32))


def load_safetensors(part: Path, packer: Packer) -> Any:
    from diffusers import SD3Transformer2DModel

    return stream_part(SD3Transformer2DModel, part, torch.bfloat16, "cpu", packer, Base())


def load_gguf(part: Path, packer: Packer) -> Any:
    from diffusers import SD3Transformer2DModel

    network = build_empty(SD3Transformer2DModel, read_json(part / "config.json"))
    matched = match(network, stored_tensors(part / "transformer.gguf"))
    assert matched is not None
    fill(network, matched, torch.bfloat16, "cpu", packer)
    return network


FORMS: Mapping[str, tuple[str, Any, Any]] = {
    "safetensors": ("diffusion_pytorch_model.safetensors", write_safetensors, load_safetensors),
    "gguf": ("transformer.gguf", write_gguf, load_gguf),
}
"""The file of a transformer in each form, what writes it, and what loads it."""


def memory_of_loading(part: Path, form: str, storage: str, answer: Any) -> None:
    """In a process of its own: bytes that loading took at its peak, and those of the packed network."""
    import accelerate
    from diffusers import SD3Transformer2DModel

    assert accelerate and SD3Transformer2DModel
    answer.send(memory_of(storage, lambda packer: [FORMS[form][2](part, packer)]))


@can_be_measured
@pytest.mark.parametrize(
    ("heads", "layers", "form", "storage", "start"),
    [
        (12, 2, "safetensors", "nf4", "fork"),
        *(
            pytest.param(38, 7, form, storage, "spawn", marks=pytest.mark.thorough)
            for form in FORMS
            for storage in ("int8", "nf4")
        ),
    ],
)
def test_loading_takes_the_packed_size_and_three_of_its_largest_tensor_at_most(
    heads, layers, form, storage, start, tmp_path
):
    part = tmp_path / "transformer"
    shapes = shapes_of_transformer(part, heads, layers)
    name, write, _load = FORMS[form]
    write(part / name, shapes)
    peak, packed = measure_apart(start, memory_of_loading, part, form, storage)
    (part / name).unlink()
    whole, largest = (2 * count(shape.numel() for shape in shapes.values()) for count in (sum, max))
    print(f"{whole / 1e6:.0f} MB: packed {packed / 1e6:.0f}, peak {peak / 1e6:.0f}, largest {largest / 1e6:.0f}")
    mapped = 2**20 if start == "fork" else 0  # pages of libraries, which a forked process maps anew
    assert packed < 0.6 * whole and peak <= packed + 3 * largest + mapped
