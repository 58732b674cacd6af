"""Files of Flux.1 and Chroma: a transformer alone, in every form that people have, and its parts beside it."""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.pairs import covering_pairs
from tests.tiny_flow import tiny_flow, tiny_flow_folder
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.bases.find import find_models
from trainers.models.families.flux_names import original_layers
from trainers.models.files.gguf import read_gguf
from trainers.models.files.parts import find_parts
from trainers.models.load import load_model, token_counter, training_size
from trainers.models.model import Model

pytestmark = pytest.mark.slow

TREES = {"flux": "flux-dev", "chroma": "chroma"}
T5 = {"flux": "text_encoder_2", "chroma": "text_encoder"}


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Any]:
    return {family: tiny_flow(family) for family in TREES}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {family: tiny_flow_folder(family, root / family) for family in TREES}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Path:
    """Config trees of the tiny bases, in place of the real sizes', and T5's tokenizer, which no tree holds."""
    root = tmp_path_factory.mktemp("trees")
    for family, tree in TREES.items():
        shutil.copytree(folders[family], root / tree, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.move(root / "flux-dev" / "tokenizer_2", root / "t5_tokenizer")
    shutil.rmtree(root / "chroma" / "tokenizer")
    return root


@pytest.fixture(autouse=True)
def elsewhere(trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine is found, and the tiny configs are."""
    monkeypatch.setattr("trainers.models.files.configs.CONFIGS", trees)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("VELATURA_MODELS", raising=False)
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")


def native(transformer: Any) -> dict[str, Tensor]:
    """A transformer's tensors by its authors' names."""
    state, found = transformer.state_dict(), {}
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    for layer in original_layers(dict(transformer.config), paths):
        for kind in ("weight", "bias"):
            if f"{layer.paths[0]}.{kind}" in state:
                whole = torch.cat([state[f"{path}.{kind}"] for path in layer.paths])
                whole = torch.cat(whole.chunk(2)[::-1]) if layer.swapped else whole
                found[f"{layer.name}.{'scale' if 'norm' in layer.name else kind}"] = whole
    return found


def put_parts(folder: Path, pipeline: Any, trees: Path) -> None:
    """VAE, text encoders and tokenizer as ComfyUI keeps them."""
    models = folder / "models"
    (models / "vae").mkdir(parents=True, exist_ok=True)
    (models / "clip").mkdir(exist_ok=True)
    save_file(pipeline.vae.state_dict(), models / "vae" / "ae.safetensors")
    t5 = pipeline.text_encoder_2 if hasattr(pipeline, "text_encoder_2") else pipeline.text_encoder
    save_file({n: x.clone() for n, x in t5.state_dict().items()}, models / "clip" / "t5xxl_fp16.safetensors")
    if hasattr(pipeline, "text_encoder_2"):
        clip = {f"text_model.{name}": tensor for name, tensor in pipeline.text_encoder.state_dict().items()}
        save_file(clip, models / "clip" / "clip_l.safetensors")
    shutil.copytree(trees / "t5_tokenizer", folder / "comfy" / "text_encoders" / "t5_tokenizer")


def write(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), path)
    return path


def gguf_bytes(tensors: Mapping[str, Tensor], architecture: str = "flux") -> bytes:
    """A GGUF file: Q8_0 where rows are whole blocks of 32, else F16; by the format's description, not by our reader."""
    infos, data = b"", b""
    for name, tensor in tensors.items():
        packs = tensor.dim() == 2 and tensor.shape[1] % 32 == 0
        if packs:
            blocks = tensor.float().reshape(-1, 32)
            scale = (blocks.abs().amax(1) / 127).half()
            whole = (blocks / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
            content = torch.cat([scale[:, None].view(torch.uint8), whole.view(torch.uint8)], 1).numpy().tobytes()
        else:
            content = tensor.half().contiguous().numpy().tobytes()
        sides = tensor.shape[::-1]
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(sides)}Q", len(sides), *sides)
        infos += struct.pack("<IQ", 8 if packs else 1, len(data))
        data += content + b"\0" * (-len(content) % 32)
    key, value = b"general.architecture", architecture.encode()
    metadata = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), 1) + metadata + infos
    return head + b"\0" * (-len(head) % 32) + data


def load(path: Path, **base: Any) -> Model:
    return load_model(Base(model=str(path), **base), torch.float32, "cpu", sha256="0" * 64)


def outputs(model: Model) -> tuple[Tensor, ...]:
    text = model.encode(["a cat", "two dogs"])
    noisy = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    found = model.predict(noisy, torch.tensor([20.0, 900.0]), text)
    return (*text.tensors().values(), found)


def inside(pipeline: Any) -> dict[str, Tensor]:
    """The other parts as ComfyUI's complete checkpoints hold them."""
    parts = {"vae.": pipeline.vae}
    if hasattr(pipeline, "text_encoder_2"):
        parts["text_encoders.clip_l.transformer.text_model."] = pipeline.text_encoder
        parts["text_encoders.t5xxl.transformer."] = pipeline.text_encoder_2
    else:
        parts["text_encoders.t5xxl.transformer."] = pipeline.text_encoder
    found = {f"{prefix}{name}": t.clone() for prefix, part in parts.items() for name, t in part.state_dict().items()}
    return {name: tensor for name, tensor in found.items() if "embed_tokens" not in name}


@pytest.mark.parametrize(("family", "names"), covering_pairs([*TREES], ["native", "complete", "diffusers"], ()))
def test_a_file_is_the_same_base_as_the_folder(
    pipelines: dict[str, Any], folders: dict[str, Path], trees: Path, tmp_path: Path, family: str, names: str
) -> None:
    transformer = pipelines[family].transformer
    tensors = transformer.state_dict() if names == "diffusers" else native(transformer)
    comfyui = tmp_path / "home" / "ComfyUI"
    put_parts(comfyui, pipelines[family], trees)
    if names == "complete":
        tensors = {f"model.diffusion_model.{name}": tensor for name, tensor in tensors.items()}
        tensors |= inside(pipelines[family])
        shutil.rmtree(comfyui / "models")
    path = write(comfyui / "models" / "unet" / "my base.safetensors", tensors)
    model = load(path)
    assert (model.family.name, model.title, model.stride) == (family, "my base", 16)
    assert all(torch.equal(a, b) for a, b in zip(outputs(model), outputs(load(folders[family])), strict=True))
    vae = pipelines[family].vae.state_dict()
    assert all(torch.equal(tensor, vae[name]) for name, tensor in model.vae.state_dict().items())
    assert training_size(str(path)) == (1024, 16) and token_counter(str(path))("a fox") == 6
    assert (str(path), family) in [(found.name, found.family.name) for found in find_models()]


@pytest.mark.parametrize("form", ["fp8", "scaled", "gguf"])
def test_smaller_forms(pipelines: dict[str, Any], trees: Path, tmp_path: Path, form: str) -> None:
    comfyui, transformer = tmp_path / "home" / "ComfyUI", pipelines["flux"].transformer
    put_parts(comfyui, pipelines["flux"], trees)
    whole, kept = native(transformer), transformer.state_dict()
    if form == "gguf":
        path = comfyui / "models" / "unet" / "flux1-dev-Q8_0.gguf"
        path.parent.mkdir()
        path.write_bytes(gguf_bytes(whole))
        assert "Q8_0" not in read_gguf(path)[1] and str(path) in [found.name for found in find_models()]
    else:
        eighth, bound = torch.float8_e4m3fn, 448.0
        tensors = {"scaled_fp8": torch.zeros(2, dtype=eighth)} if form == "scaled" else {}
        for name, tensor in whole.items():
            factor = tensor.abs().max() / bound if form == "scaled" and name.endswith("weight") else torch.tensor(1.0)
            tensors[name] = (tensor / factor).to(eighth) if name.endswith("weight") else tensor
            if form == "scaled" and name.endswith("weight"):
                tensors[name.replace(".weight", ".scale_weight")] = factor
        path = write(comfyui / "models" / "diffusion_models" / "flux1-dev-fp8.safetensors", tensors)
    model = load(path)
    worst = {"fp8": 0.07, "scaled": 0.07, "gguf": 0.005}[form]  # half a step of 3 bits, of 7 bits
    for name, tensor in model.denoiser.state_dict().items():
        assert tensor.dtype == torch.float32
        size = kept[name].abs().max()
        assert (tensor - kept[name]).abs().max() <= worst * size, name
    assert any((tensor != kept[name]).any() for name, tensor in model.denoiser.state_dict().items())


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 0.0, None])
def test_a_factor_of_8_bits(pipelines: dict[str, Any], trees: Path, tmp_path: Path, factor: float | None) -> None:
    """One that is missing counts as 1, as in ComfyUI; one that is 0 is right for a weight of zeros alone."""
    comfyui, whole = tmp_path / "home" / "ComfyUI", native(pipelines["flux"].transformer)
    put_parts(comfyui, pipelines["flux"], trees)
    name, idle, eighth = "double_blocks.0.img_mlp.0", "double_blocks.1.img_mlp.0", torch.float8_e4m3fn
    tensors = whole | {f"{name}.weight": whole[f"{name}.weight"].to(eighth)}
    tensors |= {f"{idle}.weight": torch.zeros_like(whole[f"{idle}.weight"]), f"{idle}.scale_weight": torch.tensor(0.0)}
    if factor is not None:
        tensors[f"{name}.scale_weight"] = torch.tensor(factor)
    path = write(comfyui / "models" / "unet" / "flux.safetensors", tensors)
    if factor is None:
        state = load(path).denoiser.state_dict()
        found = state["transformer_blocks.0.ff.net.0.proj.weight"]
        assert torch.equal(found, tensors[f"{name}.weight"].float())
        assert not state["transformer_blocks.1.ff.net.0.proj.weight"].any()
        return
    said = (
        "is 0, which would erase double_blocks.0" if factor == 0 else "by which a weight is multiplied, is not a finite"
    )
    with pytest.raises(VelaturaError, match=rf"flux.safetensors.*{name}.scale_weight,? {said}"):
        load(path)


def test_parts_that_somebody_names(
    pipelines: dict[str, Any], folders: dict[str, Path], trees: Path, tmp_path: Path
) -> None:
    pipeline, mine = pipelines["flux"], tmp_path / "mine"
    path = write(tmp_path / "alone" / "flux.safetensors", native(pipeline.transformer))
    clip = write(mine / "a.safetensors", pipeline.text_encoder.state_dict())
    vae = write(mine / "b.safetensors", pipeline.vae.state_dict())
    parts = [str(clip), str(vae), str(folders["flux"] / "text_encoder_2"), str(folders["flux"] / "tokenizer_2")]
    model = load(path, parts=tuple(parts))
    assert all(torch.equal(a, b) for a, b in zip(outputs(model), outputs(load(folders["flux"])), strict=True))
    with pytest.raises(VelaturaError, match=r"base.parts names .*nowhere, which does not exist"):
        load(path, parts=(*parts, str(mine / "nowhere")))
    other = write(mine / "c.safetensors", {"x": torch.ones(1)})
    with pytest.raises(VelaturaError, match=r"base.parts names .*c.safetensors, which fits no part that Flux.1"):
        load(path, parts=(*parts, str(other)))


def test_t5_in_gguf(pipelines: dict[str, Any], trees: Path, tmp_path: Path) -> None:
    """As llama.cpp names it, which is how T5 is found beside a transformer in GGUF."""
    names = {
        "shared": "token_embd", "encoder.final_layer_norm": "enc.output_norm", "SelfAttention.q": "attn_q",
        "SelfAttention.k": "attn_k", "SelfAttention.v": "attn_v", "SelfAttention.o": "attn_o",
        "SelfAttention.relative_attention_bias": "attn_rel_b", "0.layer_norm": "attn_norm",
        "DenseReluDense.wi_0": "ffn_gate", "DenseReluDense.wi_1": "ffn_up", "DenseReluDense.wo": "ffn_down",
        "1.layer_norm": "ffn_norm",
    }  # fmt: skip
    comfyui, pipeline = tmp_path / "home" / "ComfyUI", pipelines["flux"]
    put_parts(comfyui, pipeline, trees)
    t5, tensors = pipeline.text_encoder_2.state_dict(), {}
    for name, tensor in t5.items():
        path = re.sub(r"layer\.([01])\.(layer_norm)?", lambda m: f"{m[1]}.{m[2]}" if m[2] else "", name)
        for ours, theirs in names.items():
            path = path.replace(ours, theirs)
        tensors[path.replace("encoder.block.", "enc.blk.")] = tensor
    tensors = {name: tensor for name, tensor in tensors.items() if "embed_tokens" not in name}
    assert {"enc.blk.1.ffn_gate.weight", "enc.blk.0.attn_norm.weight", "token_embd.weight"} <= tensors.keys()
    (comfyui / "models" / "clip" / "t5xxl_fp16.safetensors").unlink()
    (comfyui / "models" / "clip" / "t5-v1_1-xxl-encoder-Q8_0.gguf").write_bytes(gguf_bytes(tensors, "t5encoder"))
    model = load(write(comfyui / "models" / "unet" / "flux.safetensors", native(pipeline.transformer)))
    for name, tensor in model.text_encoders[1].state_dict().items():
        assert (tensor - t5[name]).abs().max() <= 0.005 * t5[name].abs().max(), name


def test_parts_in_the_hubs_cache(
    pipelines: dict[str, Any], folders: dict[str, Path], trees: Path, tmp_path: Path
) -> None:
    snapshot = tmp_path / "hub" / "models--black-forest-labs--FLUX.1-dev" / "snapshots" / "1"
    shutil.copytree(folders["flux"], snapshot)
    path = write(tmp_path / "alone" / "chroma.safetensors", native(pipelines["chroma"].transformer))
    model = load(path)
    t5 = pipelines["flux"].text_encoder_2.state_dict()
    assert all(torch.equal(tensor, t5[name]) for name, tensor in model.text_encoders[0].state_dict().items())


def test_what_is_missing_is_said(pipelines: dict[str, Any], trees: Path, tmp_path: Path) -> None:
    comfyui, pipeline = tmp_path / "home" / "ComfyUI", pipelines["flux"]
    put_parts(comfyui, pipeline, trees)
    path = write(comfyui / "models" / "unet" / "flux.safetensors", native(pipeline.transformer))
    shutil.move(comfyui / "comfy", tmp_path / "comfy")
    with pytest.raises(
        VelaturaError, match=r"flux.safetensors needs the tokenizer of t5, and none was found beside it"
    ):
        load(path)
    assert token_counter(str(path))("a fox") == 2  # CLIP's, which is close
    shutil.move(tmp_path / "comfy", comfyui / "comfy")
    (comfyui / "models" / "clip" / "t5xxl_fp16.safetensors").unlink()
    with pytest.raises(VelaturaError, match=r"has no text_encoder_2 inside, .*: put t5xxl_fp16.safetensors beside it"):
        load(path)
    (comfyui / "models" / "vae" / "ae.safetensors").unlink()
    with pytest.raises(VelaturaError, match=r"has no vae inside, .*: put ae.safetensors beside it, or name it"):
        load(path)


def test_wrong_files(pipelines: dict[str, Any], trees: Path, tmp_path: Path) -> None:
    comfyui, pipeline = tmp_path / "home" / "ComfyUI", pipelines["flux"]
    put_parts(comfyui, pipeline, trees)
    whole = native(pipeline.transformer)
    path = write(tmp_path / "flux.safetensors", whole)
    with pytest.raises(VelaturaError, match=r"base.family = sd3, but flux.safetensors holds Flux.1 \(flux\)"):
        load(path, family="sd3")
    lacking = {name: tensor for name, tensor in whole.items() if "single_blocks.1.linear2" not in name}
    with pytest.raises(VelaturaError, match=r"lacks 2 tensors of the transformer such as single_transformer_blocks.1"):
        load(write(tmp_path / "lacking.safetensors", lacking))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(VelaturaError, match="truncated or damaged"):
        load(path)
    packed = tmp_path / "flux.gguf"
    packed.write_bytes(gguf_bytes(whole)[:-64])
    with pytest.raises(VelaturaError, match="truncated or damaged"):
        load(packed)
    packed.write_bytes(b"GGUF" + b"\1" * 100)
    with pytest.raises(VelaturaError, match="is not a GGUF file"):
        load(packed)


def test_other_kinds_of_gguf_need_a_package(pipelines: dict[str, Any], tmp_path: Path) -> None:
    content = bytearray(gguf_bytes({"w": torch.ones(2, 256)}))
    place = content.index(struct.pack("<I2QI", 2, 256, 2, 8)) + 20
    content[place : place + 4] = struct.pack("<I", 12)  # Q4_K
    file = tmp_path / "q4.gguf"
    file.write_bytes(bytes(content))
    try:
        import gguf  # noqa: F401
    except ImportError:
        with pytest.raises(VelaturaError, match=r"q4.gguf is packed as Q4_K, .*`pip install gguf`"):
            read_gguf(file)[0]["w"].read()
    else:
        assert read_gguf(file)[0]["w"].read().shape == (2, 256)
    content[place : place + 4] = struct.pack("<I", 999)
    file.write_bytes(bytes(content))
    with pytest.raises(VelaturaError, match="kind that Velatura does not read"):
        read_gguf(file)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("overlap", r"is damaged: its header gives double_blocks.*bytes that do not fit"),
        ("int8", "stores img_in.weight in whole"),
    ],
)
def test_what_a_files_numbers_cannot_be(
    pipelines: dict[str, Any], trees: Path, tmp_path: Path, damage: str, said: str
) -> None:
    comfyui, whole = tmp_path / "home" / "ComfyUI", native(pipelines["flux"].transformer)
    put_parts(comfyui, pipelines["flux"], trees)
    if damage == "int8":
        whole["img_in.weight"] = whole["img_in.weight"].to(torch.int8)
    path = write(comfyui / "models" / "unet" / "flux.safetensors", whole)
    if damage == "overlap":  # two tensors in one place: the header's sizes are right
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        header["double_blocks.0.img_attn.qkv.bias"]["data_offsets"] = header["double_blocks.0.txt_attn.qkv.bias"][
            "data_offsets"
        ]
        changed = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])
    with pytest.raises(VelaturaError, match=said):
        load(path)


def entry(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    "damage",
    [
        entry("general.alignment", 4, struct.pack("<I", 0)),
        entry("general.alignment", 5, struct.pack("<i", -32)),
        entry("general.alignment", 6, struct.pack("<f", float("nan"))),
        entry("general.alignment", 8, struct.pack("<Q", 1) + b"x"),
        entry("comfy.gguf.orig_shape.w", 4, struct.pack("<I", 4)),
        entry("comfy.gguf.orig_shape.w", 9, struct.pack("<IQ2i", 5, 2, -2, -32)),
        entry("comfy.gguf.orig_shape.w", 9, struct.pack("<IQ2i", 5, 2, 3, 32)),
        entry("a", 9, struct.pack("<IQ", 9, 1) * 2000),
        entry("a", 8, struct.pack("<Q", 2**40)),
        entry("a", 99, b""),
    ],
)
def test_a_damaged_header_of_gguf_is_refused(damage: bytes, tmp_path: Path) -> None:
    whole = gguf_bytes({"w": torch.ones(2, 32)})
    head = struct.pack("<4sIQQ", b"GGUF", 3, 1, 2)  # one more entry of metadata
    (tmp_path / "base.gguf").write_bytes(head + damage + whole[len(head) :])
    with pytest.raises(VelaturaError, match=r"base\.gguf is not a GGUF file: its header is invalid"):
        read_gguf(tmp_path / "base.gguf")


def test_a_folder_that_cannot_be_read_ends_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = write(tmp_path / "vae" / "ae.safetensors", {"x": torch.ones(1)})
    (tmp_path / "locked").mkdir()
    (tmp_path / "vae" / "again").symlink_to(tmp_path)
    iterdir = Path.iterdir

    def refuse(folder: Path) -> Any:
        if folder.name == "locked":
            raise PermissionError
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert list(find_parts(("ae",), [tmp_path])) == [wanted]
