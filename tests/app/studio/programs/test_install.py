"""Putting styles into programs' folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.studio.programs.find import PROGRAMS, Kind, Place
from app.studio.programs.install import install, install_beside
from trainers.errors import VelaturaError
from trainers.formats.embedding import embedding_path

K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
PLAIN = {
    f"{K}.lora_up.weight": torch.ones(320, 2),
    f"{K}.lora_down.weight": torch.ones(2, 768),
    f"{K}.alpha": torch.tensor(2.0),
}
TURNED = {f"{K}.oft_blocks": torch.ones(4, 80, 80), f"{K}.alpha": torch.tensor(0.0)}
TRIGGER = {"velatura.trigger": "dusk style", "velatura.family": "sd1"}


def program(folder: Path, kind: Kind) -> Place:
    return Place(kind, folder / kind, "usual")


@pytest.mark.parametrize(
    ("kind", "place", "prompt"),
    [
        ("comfyui", "models/loras", "dusk style"),
        ("a1111", "models/Lora", "<lora:dusk:1> dusk style"),
        ("forge", "models/Lora", "<lora:dusk:1> dusk style"),
        ("invoke", "velatura", "dusk style"),
    ],
)
def test_a_plain_style_is_copied_with_its_word(tmp_path: Path, kind: Kind, place: str, prompt: str) -> None:
    style, there = tmp_path / "ink.safetensors", program(tmp_path, kind)
    save_file(PLAIN, style, TRIGGER)
    word = embedding_path(style)
    save_file({"emb_params": torch.ones(1, 768)}, word)
    done = install(style, "dusk", there)
    assert done.file == there.folder / place / "dusk.safetensors" and done.prompt == prompt
    assert done.file.read_bytes() == style.read_bytes() and not (done.converted or done.left_out or done.was_there)
    assert done.word == there.folder / PROGRAMS[kind].embeddings / embedding_path(done.file).name
    assert done.word.read_bytes() == word.read_bytes()
    assert install(style, "dusk", there).was_there


def test_another_file_of_this_name_stays(tmp_path: Path) -> None:
    style, there = tmp_path / "dusk.safetensors", program(tmp_path, "comfyui")
    save_file(PLAIN, style)
    there.styles.mkdir(parents=True)
    taken = there.styles / "dusk.safetensors"
    taken.write_bytes(b"somebody's")
    with pytest.raises(VelaturaError, match="is another file of this name"):
        install(style, "dusk", there)
    assert taken.read_bytes() == b"somebody's" and [*there.styles.iterdir()] == [taken]
    taken.unlink()
    taken.symlink_to(tmp_path / "on a disk that is not there.safetensors")
    with pytest.raises(VelaturaError, match="is another file of this name"):
        install(style, "dusk", there)
    assert taken.is_symlink()
    assert not install(style, "dusk", there, overwrite=True).was_there and taken.read_bytes() == style.read_bytes()


def test_another_step_of_a_style_is_put_beside_the_first(tmp_path: Path) -> None:
    there = program(tmp_path, "comfyui")
    first, second, foreign = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "foreign"))
    save_file(PLAIN, first, {"ss_steps": "400"})
    save_file(PLAIN, second, {"ss_steps": "240"})
    save_file(PLAIN, foreign, {"ss_steps": "../../240"})
    assert install_beside(first, "dusk", there).file.name == "dusk.safetensors"
    for was_there in (False, True):
        done = install_beside(second, "dusk", there)
        assert (done.file.name, done.prompt, done.was_there) == ("dusk 240.safetensors", "dusk 240", was_there)
    assert install_beside(first, "dusk", there).was_there
    with pytest.raises(VelaturaError, match="is another file of this name"):
        install_beside(foreign, "dusk", there)
    assert sorted(path.name for path in there.styles.iterdir()) == ["dusk 240.safetensors", "dusk.safetensors"]


@pytest.mark.parametrize("name", ["../dusk", "a/b", "a\\b", "..", ""])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    style = tmp_path / "dusk.safetensors"
    save_file(PLAIN, style)
    with pytest.raises(VelaturaError, match="is no name of a file"):
        install(style, name, program(tmp_path, "comfyui"))
    assert [*tmp_path.iterdir()] == [style]


def test_a_program_gets_the_form_that_it_reads(tmp_path: Path) -> None:
    style = tmp_path / "dusk.safetensors"
    save_file(TURNED, style, TRIGGER)
    assert load_file(install(style, "dusk", program(tmp_path, "comfyui")).file).keys() == TURNED.keys()
    left = install(style, "dusk", program(tmp_path, "forge")).left_out
    assert left.startswith("1 turn and scale (")
    with pytest.raises(VelaturaError, match="InvokeAI does not read “dusk”: it changes more than plain LoRA can"):
        install(style, "dusk", program(tmp_path, "invoke"))
    save_file(PLAIN, tmp_path / "dusk-diffusers.safetensors", TRIGGER)
    done = install(style, "dusk", program(tmp_path, "invoke"))
    assert done.converted and load_file(done.file).keys() == PLAIN.keys()


def test_an_embedding_goes_to_the_embeddings(tmp_path: Path) -> None:
    word, there = tmp_path / "blot.safetensors", program(tmp_path, "comfyui")
    save_file({"emb_params": torch.ones(1, 768)}, word)
    done = install(word, "blot", there)
    assert done.file == there.folder / "models/embeddings/blot.safetensors" and done.prompt == "embedding:blot"


def test_styles_for_nothing_else_are_refused(tmp_path: Path) -> None:
    style = tmp_path / "dusk.safetensors"
    save_file(PLAIN, style, {"velatura.fits_only": "Velatura starter", "velatura.base_sha256": "0"})
    with pytest.raises(VelaturaError, match="fits only the starter, which Forge does not have"):
        install(style, "dusk", program(tmp_path, "forge"))


@pytest.mark.parametrize(
    ("kind", "family", "layer", "outcome"),
    [
        (
            "invoke",
            "flux",
            "norm_out.linear",
            "InvokeAI does not read “dusk”: it cannot convert the change of norm_out.linear",
        ),
        ("invoke", "sd1", K, "InvokeAI does not read “dusk”: it cannot tell the base from its layers"),
        (
            "comfyui",
            "chroma",
            "distilled_guidance_layer.in_proj",
            "1 change (transformer.distilled_guidance_layer.in_proj)",
        ),
        ("comfyui", "flux", "norm_out.linear", ""),
    ],
)
def test_a_layer_that_a_program_cannot_read_is_said_and_nothing_is_converted_in_vain(
    tmp_path: Path, kind: Kind, family: str, layer: str, outcome: str
) -> None:
    attention = (
        "transformer.single_transformer_blocks.0.attn.to_q",
        "transformer.transformer_blocks.0.attn.add_q_proj",
    )
    names = (*attention, f"transformer.{layer}")
    tensors = {f"{name}.lora_{side}.weight": torch.ones(2, 2) for name in names for side in ("A", "B")}
    if family == "sd1":
        tensors = {key.replace("attn2", "attn1"): tensor for key, tensor in PLAIN.items()}
    style = tmp_path / "dusk.safetensors"
    save_file(tensors, style, {"velatura.family": family})
    if kind == "invoke":
        with pytest.raises(VelaturaError, match=outcome):
            install(style, "dusk", program(tmp_path, kind))
        return
    done = install(style, "dusk", program(tmp_path, kind))
    assert (done.left_out, done.converted) == (outcome, False)


def test_a_style_for_a_base_that_is_not_trained_is_put_there_with_a_note(tmp_path: Path) -> None:
    style, layer = tmp_path / "dusk.safetensors", "diffusion_model.single_blocks.3.linear1"
    save_file({f"{layer}.lora_A.weight": torch.ones(2, 6144), f"{layer}.lora_B.weight": torch.ones(55296, 2)}, style)
    done = install(style, "dusk", program(tmp_path, "comfyui"))
    assert done.file.read_bytes() == style.read_bytes()
    assert done.note.startswith("dusk.safetensors is a style for FLUX.2 dev, which Velatura does not train")


def test_layers_with_names_that_no_base_has_are_reported(tmp_path: Path) -> None:
    style = tmp_path / "ink.safetensors"
    wrong = {key.replace("attentions", "attentionz"): tensor.clone() for key, tensor in PLAIN.items()}
    save_file({**PLAIN, **wrong}, style, TRIGGER)
    done = install(style, "dusk", program(tmp_path, "forge"))
    assert done.left_out == f"1 layer with a name that no base has: {K.replace('attentions', 'attentionz')}"
