"""`velatura generate`: what changes the picture, and what the picture says of itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from app.errors import FieldErrors
from app.studio.generation.options import OPTIONS
from app.studio.generation.request import make_request
from app.ui.api_schemas import request_of
from tests.app.command import call
from tests.app.conftest import Trained
from tests.app.user_files import write_pictures
from trainers.adapters.tokens import Word
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.embedding import WORD, write_embedding
from trainers.formats.origin import STARTER
from trainers.models.load import load_model
from trainers.models.words import known_tokens

pytestmark = pytest.mark.usefixtures("quick_runs")


SMALL = ("--size", "64x64")
"""A quarter of what the starter draws by default."""


def picture(tmp_path: Path, *words: object, size: tuple[str, ...] = SMALL) -> np.ndarray[Any, Any]:
    """What `generate` draws for these words, as values of int16."""
    target = tmp_path / "picture.png"
    outcome = call("generate", "--prompt", "fox", "--steps", "1", *size, *words, "--out", target, "--overwrite")
    assert outcome.code == 0, outcome.err
    with Image.open(target) as image:
        return np.asarray(image).astype(np.int16)


def test_styles_add_up_at_their_strengths(trained: Trained, tmp_path: Path) -> None:
    plain = picture(tmp_path)

    def changed(*strengths: float) -> np.ndarray[Any, Any]:
        styles = [word for strength in strengths for word in ("--style", f"{trained.style}:{strength}")]
        return picture(tmp_path, *styles) - plain

    assert np.abs(changed(0)).max() <= 1
    once = changed(20)
    assert np.abs(once).mean() > 4
    assert np.abs(changed(12, 8) - once).max() <= 1
    assert np.abs(changed(-20) - once).mean() > 4


def test_a_style_of_blocks_draws(trained: Trained, tmp_path: Path) -> None:
    import torch

    from trainers.adapters.methods.adapter import Adapter
    from trainers.adapters.network import attach
    from trainers.adapters.targets import Targets
    from trainers.config.sections import Base
    from trainers.formats.write.core import write_style
    from trainers.models.load import load_model

    model = load_model(Base(), torch.float32, "cpu")
    network = attach({"unet": model.denoiser}, Adapter(width=2), Targets(), seed=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.2)
    file = tmp_path / "blocks.safetensors"
    metadata = {"velatura.family": "sd1", "velatura.fits_only": "Velatura starter"}
    write_style(file, network, "sd1", model.denoiser.config, metadata, "fp16")
    plain, half, whole = (
        picture(tmp_path),
        picture(tmp_path, "--style", f"{file}:0.5"),
        picture(tmp_path, "--style", file),
    )
    assert np.abs(half - plain).mean() > 1 and np.abs(whole - half).mean() > 1
    beside = picture(tmp_path, "--style", f"{file}:0.5", "--style", f"{trained.style}:20")
    assert np.abs(beside - half).mean() > 1


def test_seed_size_and_prompt_matter(tmp_path: Path) -> None:
    plain = picture(tmp_path)
    assert np.array_equal(picture(tmp_path, "--seed", "1"), plain)
    assert not np.array_equal(picture(tmp_path, "--seed", "2"), plain)
    assert not np.array_equal(picture(tmp_path, "--negative", "red"), plain)
    assert not np.array_equal(picture(tmp_path, "--guidance", "2"), plain)
    assert not np.array_equal(picture(tmp_path, "--sampler", "euler"), plain)
    assert picture(tmp_path, size=("--size", "64x96")).shape == (96, 64, 3)


def test_words_are_read_from_embeddings_alone_and_beside_a_style(trained: Trained, tmp_path: Path) -> None:
    """A word whose rows are those of `cat hat` draws what those words draw."""
    model = load_model(Base(), torch.float32, "cpu")
    ids = known_tokens(model.tokenizers[0], "cat hat")
    rows = model.text_encoders[0].get_input_embeddings().weight.detach()[ids]
    beside = tmp_path / "my-embedding.safetensors"
    write_embedding(beside, Word("<dusk>", {"text_encoder": rows}), {"velatura.fits_only": STARTER})
    style = shutil.copy(trained.style, tmp_path / "my.safetensors")

    def drawn(prompt: str, *styles: object) -> np.ndarray[Any, Any]:
        target = tmp_path / "picture.png"
        words = [word for one in styles for word in ("--style", one)]
        outcome = call("generate", "--prompt", prompt, "--steps", "1", *SMALL, *words, "--out", target, "--overwrite")
        assert outcome.code == 0, outcome.err
        with Image.open(target) as image:
            return np.asarray(image).astype(np.int16)

    wanted, styled = drawn("a red cat hat"), drawn("a red cat hat", f"{trained.style}:20")
    assert not np.array_equal(wanted, styled)
    assert np.array_equal(drawn("a red my-embedding", beside), wanted), "called by its file's name"
    assert np.array_equal(drawn("a red my-embedding", f"{style}:20"), styled), "found beside the style, and whole"
    assert np.array_equal(drawn("a red my-embedding", f"{style}:20", beside), styled), "once, if it is named too"
    outcome = call("inspect", beside)
    assert "textual-inversion" in outcome.out and "my-embedding" in outcome.out


def test_several_prompts_make_a_grid(tmp_path: Path) -> None:
    one, two = (picture(tmp_path, *words, size=()).shape for words in ((), ("--prompt", "a [bold] cat")))
    assert one == (128, 128, 3)
    assert two[1] > 2 * 128 and two[0] > 128


def test_a_series_is_numbered_and_each_is_as_if_alone(trained: Trained, tmp_path: Path) -> None:
    def series(*words: object) -> list[tuple[np.ndarray[Any, Any], dict[str, Any]]]:
        target = tmp_path / "series.png"
        drawn = ("--prompt", "fox", "--steps", "1", *SMALL, *words)
        outcome = call("generate", *drawn, "--out", target, "--json", "--overwrite")
        found = []
        for path in json.loads(outcome.out)["images"]:
            with Image.open(path) as image:
                found.append((np.asarray(image).astype(np.int16), json.loads(image.info["velatura"])))
        return found

    seeds = series("--seed", "4", "--count", "2")
    assert [said["seed"] for _, said in seeds] == [4, 5]
    assert np.abs(seeds[1][0] - picture(tmp_path, "--seed", "5")).max() <= 1
    ribbon = series("--seed", "4", "--style", trained.style, "--strengths", "0, 10, 20")
    assert [said["styles"][0][1] for _, said in ribbon] == [0, 10, 20]
    assert np.abs(ribbon[0][0] - seeds[0][0]).max() <= 1
    alone = picture(tmp_path, "--seed", "4", "--style", f"{trained.style}:20")
    assert np.abs(ribbon[2][0] - alone).max() <= 1 and np.abs(ribbon[1][0] - alone).max() > 1
    grid = series("--axis", "guidance=2,5", "--axis", "seed=4-5", "--sheet", tmp_path / "all.png")
    assert [(said["guidance"], said["seed"]) for _, said in grid] == [(2, 4), (5, 4), (2, 5), (5, 5)]
    assert np.abs(grid[3][0] - picture(tmp_path, "--seed", "5", "--guidance", "5")).max() <= 1
    with Image.open(tmp_path / "all.png") as sheet:
        assert sheet.width > 2 * 64 and sheet.height > 2 * 64
    words = ("generate", "--prompt", "a cat", "--strengths", "1,2", "--out", tmp_path / "x.png")
    assert "Several strengths need a style" in call(*words).err


@pytest.mark.parametrize("suffix", [".png", ".jpg", pytest.param(".webp", marks=pytest.mark.thorough)])
def test_a_picture_holds_its_parameters(suffix: str, trained: Trained, tmp_path: Path) -> None:
    target = tmp_path / f"new [1]{suffix}"
    words = ("--prompt", "a føx", "--style", f"{trained.style}:0.5", "--seed", "3", "--steps", "1", "--size", "32x64")
    outcome = call("generate", *words, "--out", target, "--json")
    assert json.loads(outcome.out) == {"image": str(target), "seed": 3}
    with Image.open(target) as image:
        comment = image.getexif().get_ifd(0x8769).get(0x9286, b"").removeprefix(b"ASCII\0\0\0")
        text = image.info["velatura"] if suffix == ".png" else comment.decode("ascii")
    assert json.loads(text) == {
        **{name: option.default for name, option in OPTIONS.items() if option.recorded},
        "prompts": ["a føx"],
        "styles": [["dusk.safetensors", 0.5]],
        "seed": 3,
        "steps": 1,
        "size": [32, 64],
        "guidance": 3.0,  # the starter draws best with it
        "sampler": "dpm++ 2m quick",  # as in few steps
        "base": "starter",
    }


def test_what_a_style_has_too_much_is_said(trained: Trained, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(trained.style)
    stem = "lora_unet_down_blocks_9_attentions_9_proj_in"
    more = {f"{stem}.lora_{side}.weight": tensors[key].clone() for side, key in _factors(tensors).items()}
    save_file(tensors | more, tmp_path / "more.safetensors", {"velatura.fits_only": "Velatura starter"})
    style = tmp_path / "more.safetensors"
    outcome = call("generate", "--prompt", "fox", "--steps", "1", *SMALL, "--style", style, "--out", tmp_path / "f.png")
    assert outcome.code == 0
    assert f"this base lacks 1 of its 130 layers: {stem}" in outcome.err


def _factors(tensors: dict[str, Any]) -> dict[str, str]:
    stem = next(key for key in tensors if key.endswith(".lora_up.weight")).removesuffix(".lora_up.weight")
    return {side: f"{stem}.lora_{side}.weight" for side in ("up", "down")}


def test_the_picture_is_drawn_as_the_style_was_trained(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", "fox.png", "owl.png")
    settings = ("base.clip_skip=2", "data.chunks=2", 'sample.prompts=["fox"]', "sample.steps=1", "train.warmup=0")
    settings += ("sample.size=64", "data.resolution=64")
    words = [word for setting in settings for word in ("--set", setting)]
    run = tmp_path / "runs" / "skip"
    images = ("--images", tmp_path / "images", "--name", "skip", "--steps", "2", "--out", run.parent)
    assert call("train", *images, *words).code == 0
    drawn = picture(tmp_path, "--style", run / "style" / "skip.safetensors")
    with Image.open(run / "samples" / "final" / "00.png") as image:
        assert np.abs(drawn - np.asarray(image).astype(np.int16)).max() <= 1
    assert np.abs(drawn - picture(tmp_path)).max() > 1  # without the style the text is read in another way


def test_every_style_draws_a_picture_of_its_own(trained: Trained, tmp_path: Path) -> None:
    strengths = (20, -8)
    styles = [word for strength in strengths for word in ("--style", f"{trained.style}:{strength}")]
    words = ("generate", "--prompt", "fox", "--steps", "1", *SMALL, *styles, "--each", "--out", tmp_path / "f.png")
    outcome = call(*words, "--plain", tmp_path / "plain.png", "--json")
    assert json.loads(outcome.out) == {"images": [str(tmp_path / f"f-{n}.png") for n in (1, 2)], "seed": 1}
    for name, strength in (("f-1.png", 20), ("f-2.png", -8), ("plain.png", 0)):
        with Image.open(tmp_path / name) as image:
            drawn = np.asarray(image).astype(np.int16)
            styled = [["dusk.safetensors", float(strength)]] if strength else []
            assert json.loads(image.info["velatura"])["styles"] == styled
        assert np.abs(drawn - picture(tmp_path, "--style", f"{trained.style}:{strength}")).max() <= 1
    again = call(*words)
    assert again.code == 1 and "f-1.png already exists" in again.err


def test_parts_of_the_base_are_named_on_the_command_line_alone(tmp_path: Path) -> None:
    outcome = call("generate", "--prompt", "fox", "--part", tmp_path / "ae.safetensors", "--out", tmp_path / "f.png")
    assert outcome.code == 1 and "base.parts has no effect on a folder" in outcome.err
    for name in ("part", "parts", "base.parts"):
        with pytest.raises(VelaturaError, match=f"there is no option '{name}'"):
            request_of("fox", {}, {name: ["/etc/passwd"]})
        with pytest.raises(FieldErrors):
            make_request(prompts=("fox",), **{name: ["/etc/passwd"]})


def test_a_word_beside_that_is_called_in_two_ways_takes_no_style_away(trained: Trained, tmp_path: Path) -> None:
    """As diffusers writes an embedding: the tensor is named by its word, and the file has another name."""
    rows = torch.ones(1, load_model(Base(), torch.float32, "cpu").text_encoders[0].config.hidden_size)
    save_file({"<dusk>": rows}, tmp_path / "my-embedding.safetensors", {"velatura.fits_only": STARTER})
    style = shutil.copy(trained.style, tmp_path / "my.safetensors")
    words = ("--style", style, "--style", trained.style, "--each", "--steps", "1", *SMALL, "--out", tmp_path / "f.png")
    outcome = call("generate", "--prompt", "fox", *words)
    assert outcome.code == 0, outcome.err
    assert all((tmp_path / f"f-{number}.png").is_file() for number in (1, 2))


def test_words_hold_for_the_pictures_of_every_style(trained: Trained, tmp_path: Path) -> None:
    """An embedding draws no picture of its own beside styles that do, and these are numbered as they are named."""
    width = load_model(Base(), torch.float32, "cpu").text_encoders[0].config.hidden_size
    word = tmp_path / "dusk-word.safetensors"
    rows = torch.randn(2, width, generator=torch.Generator().manual_seed(1))
    write_embedding(word, Word("<dusk>", {"text_encoder": rows}), {"velatura.fits_only": STARTER, WORD: "<dusk>"})
    styles = [f"{trained.style}:{strength}" for strength in (9, -8)]
    drawn = ("generate", "--prompt", "<dusk> fox", "--steps", "1", *SMALL)
    words = (*drawn, "--style", styles[0], "--style", word)
    each = call(*words, "--style", styles[1], "--each", "--out", tmp_path / "f.png", "--json")
    assert json.loads(each.out) == {"images": [str(tmp_path / f"f-{n}.png") for n in (1, 3)], "seed": 1}
    assert each.err == ""
    for number, style, strength in ((1, styles[0], 9.0), (3, styles[1], -8.0)):
        alone = (*drawn, "--style", style, "--style", word, "--out", tmp_path / "one.png", "--overwrite")
        assert call(*alone).code == 0
        with Image.open(tmp_path / f"f-{number}.png") as image, Image.open(tmp_path / "one.png") as one:
            said = [["dusk.safetensors", strength], ["dusk-word.safetensors", 1.0]]
            assert json.loads(image.info["velatura"])["styles"] == said
            assert np.abs(np.asarray(image).astype(np.int16) - np.asarray(one)).max() <= 1
    only = call(*drawn, "--style", word, "--each", "--out", tmp_path / "g.png")
    assert only.code == 1 and "there are only embeddings" in only.err
    for_two = call(*words, "--compose", "composite", "--out", tmp_path / "g.png")
    assert for_two.code == 1 and "; one is given; embeddings do not count" in for_two.err
    silent = call("generate", "--prompt", "cat", "--steps", "1", *SMALL, "--style", word, "--out", tmp_path / "g.png")
    assert silent.code == 0 and "no prompt contains <dusk>, without which dusk-word.safetensors has no" in silent.err


@pytest.mark.parametrize("way", ["svd:64", "composite", pytest.param("k-lora", marks=pytest.mark.thorough)])
def test_styles_are_combined(way: str, trained: Trained, tmp_path: Path) -> None:
    """A style with itself: a sum that adds up, and means and turns that change nothing."""
    twice = ("--style", f"{trained.style}:8", "--style", f"{trained.style}:8")
    found = picture(tmp_path, *twice, "--compose", way)
    with Image.open(tmp_path / "picture.png") as image:
        assert json.loads(image.info["velatura"])["compose"] == way
    expected = picture(tmp_path, "--style", f"{trained.style}:{16 if way == 'svd:64' else 8}")
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--compose", "k-lora"), "K-lora needs two styles, the content first, then the style; one is given"),
        (("--compose", "mean"), "There is no way 'mean' to combine styles; available are sum, svd"),
        (("--compose", "svd", "--each"), "one style at a time; compose has no effect"),
    ],
)
def test_what_cannot_be_combined(words: tuple[str, ...], said: str, trained: Trained, tmp_path: Path) -> None:
    outcome = call("generate", "--prompt", "fox", "--style", trained.style, *words, "--out", tmp_path / "f.png")
    assert outcome.code == 1 and said in outcome.err and not list(tmp_path.iterdir())
    if "--each" in words:
        alone = call("generate", "--prompt", "fox", "--each", "--out", tmp_path / "f.png")
        assert "Each draws one picture per style; select at least one style" in alone.err
