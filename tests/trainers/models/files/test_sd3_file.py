"""Checkpoints of Stable Diffusion 3: with and without text encoders in them, those beside them, and damaged ones."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
from safetensors.torch import save_file

from tests.pairs import seldom_but
from tests.tiny_flow import tiny_flow, tiny_flow_folder
from tests.trainers.models.mmdit_names import mmdit_tensors, sd3_tensors
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.bases.detect import family_of_file
from trainers.models.families import get_family
from trainers.models.files.header import Header
from trainers.models.full_size import build_on_meta
from trainers.models.load import load_model, token_counter, training_size
from trainers.models.storage.packed import PackedLayer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipeline():
    return tiny_flow("sd3")


@pytest.fixture(scope="module")
def tree(tmp_path_factory, pipeline):
    """A config tree of the tiny base, in place of the real sizes'."""
    folder = tmp_path_factory.mktemp("trees") / "sd3.5-medium"
    pipeline.save_pretrained(str(folder))
    for part in ("transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"):
        for file in (folder / part).glob("*.safetensors"):
            file.unlink()
    shutil.move(folder / "tokenizer_3", folder.parent / "t5_tokenizer")  # no file includes it, and no tree does
    return folder.parent


@pytest.fixture(autouse=True)
def elsewhere(tree, tmp_path, monkeypatch):
    """Nothing of this machine is found, and the tiny configs are."""
    monkeypatch.setattr("trainers.models.files.configs.CONFIGS", tree)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, path in (("HOME", "home"), ("USERPROFILE", "home")):
        monkeypatch.setenv(name, str(tmp_path / path))
    monkeypatch.delenv("VELATURA_MODELS", raising=False)
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")


def load(path, dtype=torch.float32):
    return load_model(Base(model=str(path)), dtype, "cpu", sha256="0" * 64)


def write(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def outputs(model):
    text = model.encode(["a cat", "two dogs"])
    noisy = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    return text.context, text.pooled, model.predict(noisy, torch.tensor([20.0, 900.0]), text)


@pytest.fixture(scope="module")
def folder_outputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    return {t5: outputs(load(tiny_flow_folder("sd3", root / str(t5), t5=t5))) for t5 in (True, False)}


@pytest.mark.parametrize(
    "inside", [("clip_l", "clip_g", "t5xxl"), pytest.param(("clip_l", "clip_g"), marks=pytest.mark.thorough), ()]
)
def test_a_file_is_the_same_base_as_the_folder(inside, pipeline, tree, folder_outputs, tmp_path):
    models = tmp_path / "ComfyUI" / "models"
    path = write(models / "checkpoints" / "sd3" / "my base.safetensors", sd3_tensors(pipeline, inside))
    if "t5xxl" in inside:
        shutil.copytree(tree / "t5_tokenizer", tmp_path / "ComfyUI" / "comfy" / "text_encoders" / "t5_tokenizer")
    if not inside:
        write(models / "clip" / "clip_l.safetensors", pipeline.text_encoder.state_dict())
        write(models / "text_encoders" / "old" / "clip_g_fp16.safetensors", pipeline.text_encoder_2.state_dict())
        with torch.no_grad():
            eighth = {"shared.weight": pipeline.text_encoder_3.shared.weight.clone()}
        write(models / "text_encoders" / "t5xxl_fp16.safetensors", eighth)  # without its tokenizer, it is left out
    model = load(path)
    with_t5 = "t5xxl" in inside
    assert (model.family.name, model.title, len(model.text_encoders)) == ("sd3", "my base", 2 + with_t5)
    assert any("without T5" in note for note in model.notes) != with_t5
    assert all(torch.equal(a, b) for a, b in zip(outputs(model), folder_outputs[with_t5], strict=True))
    vae = pipeline.vae.state_dict()
    assert all(torch.equal(tensor, vae[name]) for name, tensor in model.vae.state_dict().items())
    assert training_size(str(path)) == (64, 16) and token_counter(str(path))("a cat") == 2


def test_diffusers_reads_the_same_names(pipeline):
    """The map of these tests is right, also with the swapped halves."""
    state = pipeline.transformer.state_dict()
    back = convert_sd3_transformer_checkpoint_to_diffusers(mmdit_tensors(state))
    assert back.keys() == state.keys() and all(torch.equal(back[name], state[name]) for name in state)


def test_parts_beside_the_file(pipeline, tree, folder_outputs, tmp_path):
    """A transformer alone, in 8 bits with factors, and everything else beside it; T5 too."""
    tensors = {name: each for name, each in sd3_tensors(pipeline, ()).items() if name.startswith("model.")}
    bare = {name.removeprefix("model.diffusion_model."): tensor for name, tensor in tensors.items()}
    name = "joint_blocks.1.x_block.attn.qkv.weight"
    packed = (bare[name] * 64).to(torch.float8_e4m3fn)
    factors = {name: packed, name.replace("weight", "scale_weight"): torch.tensor(1 / 64)}
    path = write(tmp_path / "alone" / "t.safetensors", bare | factors)
    with pytest.raises(VelaturaError, match=r"t.safetensors has no vae inside.*put sd3_vae.safetensors beside it, or"):
        load(path)
    write(path.parent / "sd3_vae.safetensors", {f"{k}": t for k, t in pipeline.vae.state_dict().items()})
    with pytest.raises(VelaturaError, match=r"has no text_encoder inside.*put clip_l.safetensors beside it, or"):
        load(path)
    for part, file in (("text_encoder", "clip_l"), ("text_encoder_2", "clip_g"), ("text_encoder_3", "t5xxl_fp16")):
        write(
            path.parent / f"{file}.safetensors", {k: t.clone() for k, t in getattr(pipeline, part).state_dict().items()}
        )
    shutil.copytree(tree / "t5_tokenizer", path.parent / "tokenizer_3")
    model = load(path)
    assert not any("without T5" in note for note in model.notes)
    assert torch.equal(outputs(model)[0], folder_outputs[True][0])
    expected = packed[32:64].float() / 64
    assert torch.equal(model.denoiser.transformer_blocks[1].attn.to_k.weight, expected)
    assert {tensor.dtype for tensor in load(path, torch.bfloat16).denoiser.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        (
            "model.diffusion_model.joint_blocks.1.x_block.mlp.fc1.weight",
            r"lacks 1 tensors of the transformer such as tr",
        ),
        ("model.diffusion_model.joint_blocks.0.context_block.attn.qkv.bias", "lacks 3 tensors of the transformer"),
        ("first_stage_model.decoder.norm_out.bias", "lacks 1 tensors of the vae"),
        ("text_encoders.clip_g.transformer.text_projection.weight", "lacks 1 tensors of the text_encoder_2"),
    ],
)
def test_damaged_files(drop, said, pipeline, tmp_path):
    tensors = sd3_tensors(pipeline, ("clip_l", "clip_g"))
    del tensors[drop]
    with pytest.raises(VelaturaError, match=f"b.safetensors {said}.*it is damaged"):
        load(write(tmp_path / "b.safetensors", tensors))


def test_a_file_of_other_widths(pipeline, tmp_path, monkeypatch):
    monkeypatch.undo()  # the real configs
    with pytest.raises(VelaturaError, match=r"b.safetensors (lacks \d+ tensors of the transformer|: .* has the shape)"):
        load(write(tmp_path / "b.safetensors", sd3_tensors(pipeline)))


@pytest.mark.parametrize("variant", get_family("sd3").variants, ids=lambda variant: variant.configs)
def test_every_tensor_of_a_real_checkpoint(variant, monkeypatch):
    """At full size: the names that the loader asks for are those of the authors' layout, with their shapes."""
    monkeypatch.undo()
    from trainers.models.families.sd3 import StableDiffusion3
    from trainers.models.families.sd3_names import original_layers
    from trainers.models.files.tensors import StoredTensor, by_layers

    network = build_on_meta(variant.configs, "transformer")
    state = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in mmdit_tensors(state).items()}
    header = Header({f"model.diffusion_model.{name}": shape for name, shape in shapes.items()}, {})
    family = family_of_file(header, "x")
    assert family.name == "sd3" and family.variant_of_file(header) is variant
    stored = {name: StoredTensor(None, name, shape) for name, shape in shapes.items()}
    config, paths = dict(network.config), [name.rpartition(".")[0] for name in state]
    found = by_layers(stored, original_layers(config, paths), StableDiffusion3.loose_tensors)
    assert {name: each.shape for name, each in found.items()} == {name: tuple(t.shape) for name, t in state.items()}


@pytest.mark.parametrize("storage", seldom_but(("int8",), ("int8", "full")))
def test_a_file_is_packed_and_swapped_as_the_folder_is(storage, pipeline, tmp_path):
    path = write(tmp_path / "packed.safetensors", sd3_tensors(pipeline, ("clip_l", "clip_g")))
    folder = tiny_flow_folder("sd3", tmp_path / "folder", t5=False)
    bases = (Base(model=str(place), storage=storage, swap_blocks=1) for place in (path, folder))
    found, wanted = (load_model(base, torch.bfloat16, "cpu", sha256="0" * 64) for base in bases)
    layers = found.denoiser.transformer_blocks[0].attn.to_q, found.text_encoders[1].text_model.encoder.layers[0].mlp.fc1
    assert [isinstance(layer, PackedLayer) for layer in layers] == [storage == "int8"] * 2
    assert found.denoiser.transformer_blocks[1].attn.to_q.bias.isnan().all(), "in main memory"
    assert all(torch.equal(a, b) for a, b in zip(outputs(found), outputs(wanted), strict=True))
