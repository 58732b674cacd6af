"""Style files in: what is taken, and one sentence for everything else."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import save, save_file

from trainers.errors import VelaturaError
from trainers.formats.read import read_style

LORA = {
    "lora_unet_a.lora_up.weight": torch.ones(4, 2),
    "lora_unet_a.lora_down.weight": torch.ones(2, 6),
    "lora_unet_a.alpha": torch.tensor(1.0),
}


def test_a_style_has_tensors_metadata_and_modules(tmp_path):
    save_file(LORA, tmp_path / "a.safetensors", {"ss_output_name": "../../etc"})
    style = read_style(tmp_path / "a.safetensors")
    assert style.metadata == {"ss_output_name": "../../etc"}
    assert style.name == "a.safetensors"
    assert set(style.tensors) == set(LORA)
    (stem, update), *rest = style.modules().items()
    assert stem == "lora_unet_a" and not rest
    torch.testing.assert_close(update.dense(torch.empty(0)), torch.full((4, 6), 1.0))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": torch.ones(2, 2)}, "base model or part"),
        (
            {"down_blocks.0.resnets.0.conv1.weight": torch.ones(2, 2), "conv_in.bias": torch.ones(2)},
            "base model or part",
        ),
        ({"text_model.encoder.layers.0.mlp.fc1.bias": torch.ones(2)}, "base model or part"),
        ({"some.tensor": torch.ones(76, 768)}, "not a known kind of style"),
        ({"lora_unet_a.a1.weight": torch.ones(2, 3), "lora_unet_a.alpha": torch.ones(())}, "not a known kind of style"),
        ({}, "no tensors at all"),
    ],
)
def test_other_kinds_of_files(tmp_path, tensors, words):
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(VelaturaError, match=rf"^a\.safetensors.*{words}"):
        read_style(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["style.pt", "style.ckpt", "style.bin", "style"])
def test_pickles_are_not_opened(tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('it ran')",))

    (tmp_path / name).write_bytes(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(VelaturaError, match="pickled file, which can run code"):
        read_style(tmp_path / name)


def test_a_zip_of_pickles_is_not_opened(tmp_path):
    torch.save(LORA, tmp_path / "style.dat")
    with pytest.raises(VelaturaError, match="pickled file"):
        read_style(tmp_path / "style.dat")
    torch.save(LORA, tmp_path / "style.safetensors")
    with pytest.raises(VelaturaError, match=r"is not a \.safetensors file"):
        read_style(tmp_path / "style.safetensors")


def broken(kind: str) -> bytes:
    whole = save(LORA)
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    if kind == "empty":
        return b""
    if kind == "text":
        return b"this is not what it says, by far" * 4
    if kind == "cut":
        return whole[:-5]
    if kind == "longer":
        return whole + b"1234"
    if kind == "huge header":
        return (2**40).to_bytes(8, "little") + whole[8:]
    if kind == "overlap":
        header["lora_unet_a.lora_up.weight"]["data_offsets"] = [0, 32]
    if kind == "size":
        header["lora_unet_a.lora_up.weight"]["shape"] = [4, 3]
    if kind == "type":
        header["lora_unet_a.lora_up.weight"]["dtype"] = "F99"
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "longer", "huge header", "overlap", "size", "type"])
def test_damaged_files(tmp_path, kind):
    (tmp_path / "a.safetensors").write_bytes(broken(kind))
    with pytest.raises(VelaturaError) as error:
        read_style(tmp_path / "a.safetensors")
    assert str(error.value).startswith("a.safetensors") and "\n" not in str(error.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(VelaturaError, match="there is no style file"):
        read_style(tmp_path / "a.safetensors")
    with pytest.raises(VelaturaError, match="is a folder"):
        read_style(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(VelaturaError, match="cannot read"):
        read_style(tmp_path / "file" / "a.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(tmp_path, value):
    save_file(LORA | {"lora_unet_a.lora_up.weight": torch.full((4, 2), value)}, tmp_path / "a.safetensors")
    with pytest.raises(VelaturaError, match=r"not finite, in lora_unet_a\.lora_up\.weight"):
        read_style(tmp_path / "a.safetensors")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_numbers_of_8_bits(tmp_path, dtype):
    tensors = {key: tensor.to(dtype) for key, tensor in LORA.items()}
    save_file(tensors, tmp_path / "a.safetensors")
    (update,) = read_style(tmp_path / "a.safetensors").modules().values()
    torch.testing.assert_close(update.dense(torch.empty(0)), torch.full((4, 6), 1.0))
    save_file({**tensors, "lora_unet_a.alpha": torch.tensor(float("nan")).to(dtype)}, tmp_path / "a.safetensors")
    with pytest.raises(VelaturaError, match="not finite"):
        read_style(tmp_path / "a.safetensors")


def test_a_layer_that_makes_no_sense_is_named(tmp_path):
    save_file(LORA | {"lora_unet_a.lora_down.weight": torch.ones(3, 6)}, tmp_path / "a.safetensors")
    with pytest.raises(
        VelaturaError, match=r"a\.safetensors does not fit: its layer lora_unet_a has tensors that do not"
    ):
        read_style(tmp_path / "a.safetensors").modules()


def test_dora_alone_means_nothing(tmp_path):
    save_file(LORA | {"lora_unet_a.dora_scale": torch.ones(4, 1)}, tmp_path / "a.safetensors")
    style = read_style(tmp_path / "a.safetensors")
    with pytest.raises(VelaturaError, match="DoRA, which depends on the base model"):
        style.modules()
    new = torch.eye(4, 6) + style.update("lora_unet_a", torch.eye(4, 6)).dense(torch.empty(0))
    torch.testing.assert_close(new.norm(dim=1), torch.ones(4))


PEFT = {"unet.a.lora_A.weight": torch.ones(2, 6), "unet.a.lora_B.weight": torch.ones(4, 2)}


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 1.0),
        ({"unet.r": 2, "unet.lora_alpha": 6}, 3.0),
        ({"unet.lora_alpha": 6, "unet.use_rslora": True}, 6 / 2**0.5),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"a": 1}}, 0.5),
        ({"text_encoder.lora_alpha": 6}, 1.0),
    ],
)
def test_alpha_of_diffusers_files_is_in_their_metadata(tmp_path, config, scale):
    save_file(PEFT, tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(config)})
    (update,) = read_style(tmp_path / "a.safetensors").modules().values()
    torch.testing.assert_close(update.dense(torch.empty(0)), torch.full((4, 6), 2 * scale))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{oops", "not a JSON object"),
        ("[" * 60000, "not a JSON object"),
        ('{"unet.lora_alpha": NaN}', "has an invalid"),
        ('{"unet.lora_alpha": 1%s}' % ("0" * 400), "has an invalid"),
    ],
)
def test_metadata_that_make_no_sense_are_one_sentence(tmp_path, text, words):
    save_file(PEFT, tmp_path / "a.safetensors", {"lora_adapter_metadata": text})
    with pytest.raises(VelaturaError, match=words):
        read_style(tmp_path / "a.safetensors").modules()
