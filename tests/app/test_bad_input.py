"""What bad input gets: one sentence on standard error, an exit code other than 0, and every file as it was."""

from __future__ import annotations

import errno
import pickle
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.app.command import call, fresh_process, tree
from tests.app.conftest import Trained
from tests.app.user_files import write_bomb, write_broken_pictures, write_pictures


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory, trained: Trained, sdxl_style: Path, tiny_bases: dict[str, Path]
) -> Path:
    """A folder with something of everything; no command below may change a byte of it."""
    place = tmp_path_factory.mktemp("workplace")
    write_pictures(place / "images", "fox.png", "dog.png")
    write_broken_pictures(place / "broken")
    write_pictures(place / "outer" / "inner", "fox.png")
    for name in ("empty", "folder.png", "runs"):
        (place / name).mkdir()
    write_pictures(place / "runs" / "taken", "mine.png")
    write_bomb(place / "bomb.png")
    (place / "file").write_text("a file", encoding="utf-8")
    (place / "wrong.toml").write_text("[train\n", encoding="utf-8")
    (place / "unknown.toml").write_text('name = "x"\n[train]\nspeed = 3\n', encoding="utf-8")
    shutil.copytree(trained.run, place / "runs" / "dusk", ignore=shutil.ignore_patterns("cache"))
    shutil.copy(trained.style, place / "starter.safetensors")
    shutil.copy(sdxl_style, place / "sdxl.safetensors")
    shutil.copytree(tiny_bases["sd1"], place / "no-unet", ignore=shutil.ignore_patterns("unet"))
    shutil.copytree(tiny_bases["sd1"], place / "cut-base")
    _cut(place / "cut-base" / "unet" / "diffusion_pytorch_model.safetensors")
    shutil.copytree(tiny_bases["sd1"], place / "pickle-base")
    weights = place / "pickle-base" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    shutil.copy(trained.style, place / "cut.safetensors")
    _cut(place / "cut.safetensors")
    for name in ("old.ckpt", "old.pt", "disguised.safetensors"):
        torch.save({"weight": torch.zeros(2)}, place / name)
    (place / "protocol4.bin").write_bytes(pickle.dumps({"weight": 0}))
    save_file({"emb_params": torch.zeros(2, 8)}, place / "embedding.safetensors")
    save_file({"left": torch.zeros(2), "right": torch.zeros(2)}, place / "foreign.safetensors")
    (place / "taken.png").write_text("mine", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def untouched(workplace: Path) -> dict[str, bytes | None]:
    """What is in it."""
    return tree(workplace)


def _cut(path: Path) -> None:
    whole = path.read_bytes()
    path.unlink()  # a copy may be a link
    path.write_bytes(whole[: len(whole) // 2])


TRAIN = "train --images images --name new --out elsewhere"
DRAW = "generate --prompt fox --steps 1 --out new.png"
ROWS = {
    # images
    "missing folder": ("train --images nowhere --name new", "nowhere .* no such folder"),
    "empty folder": ("train --images empty --name new", "no images in empty"),
    "file as folder": ("train --images file --name new", "file .* it is a file"),
    "sub-folders only": ("train --images outer --name new", r"subfolders \(inner\)"),
    "no readable image": ("train --images broken --name new", "No image in broken can be read: bomb.png is too large"),
    "no images named": ("train --name new", "no images were given"),
    "images of an unset variable": ("train --images '' --name new", "no images were given"),
    # names and places
    "name with ..": ("train --images images --name ../new", "name '../new' is not allowed"),
    "name with a slash": ("train --images images --name a/b", "name 'a/b' is not allowed"),
    "name with a backslash": (r"train --images images --name a\b", "is not allowed; use up to 100 letters"),
    "name of a Windows device": ("train --images images --name NUL", "device on Windows"),
    "Windows device with a suffix": ("train --images images --name com1.v2", "device on Windows"),
    "no name": ("train --images images", "name is not set; give it with --name"),
    "empty name": ("train --images images --name ''", "name '' is not allowed"),
    "out is a file": ("train --images images --name new --out file", "file is a file, not a folder"),
    "out inside a file": ("train --images images --name new --out file/runs", "file is a file, not a folder"),
    "run exists": ("train --images images --name dusk --out runs", "runs/dusk already exists; .* --overwrite"),
    "overwrite what is no run": (
        "train --images images --name taken --out runs --overwrite",
        "runs/taken is not a run folder",
    ),
    "overwrite the images": ("train --images images --name images --out . --overwrite", "images is not a run folder"),
    # settings
    "unknown preset": (
        f"{TRAIN} --preset nice",
        "no preset 'nice'; available are adalora, adapter, .*balanced, .*vpt",
    ),
    "preset as method": (f"{TRAIN} --set method.name=boft", "no method 'boft'.*use the preset: --preset boft"),
    "unknown method": (f"{TRAIN} --set method.name=nice", "no method 'nice'; available are lora, loha, lokr"),
    "unknown section": (f"{TRAIN} --set trian.steps=3", "no setting trian; allowed are base, data"),
    "unknown key": (f"{TRAIN} --set train.step=3", "no setting train.step; allowed are .* steps"),
    "unknown key of a method": (f"{TRAIN} --set method.factor=3", "no setting method.factor; allowed are alpha"),
    "wrong type": (f"{TRAIN} --set train.steps=many", "train.steps = 'many': it should be a valid integer"),
    "out of range": (f"{TRAIN} --steps 0", "train.steps = 0: it should be greater than or equal to 1"),
    "unknown value": (f"{TRAIN} --set train.precision=fp8", "'fp8': it should be 'auto', 'bf16', 'fp16' or 'fp32'"),
    "section as key": (f"{TRAIN} --set train=3", "train = 3: this is a section"),
    "no value": (f"{TRAIN} --set train.steps", "'train.steps' is not a setting; write section.key=value"),
    "fp16 on a CPU": (f"{TRAIN} --set train.precision=fp16 --set train.device=cpu", "fp16 does not work on a CPU"),
    "pattern without a layer": (f"{TRAIN} --set 'targets.unet=[\"nothing.*\"]'", "'nothing.*' matches no layer"),
    "sample size off the stride": (f"{TRAIN} --set sample.size=100", "sample.size = 100 must be a multiple of 32"),
    "seed too large": (f"{TRAIN} --set sample.seeds=[9223372036854775808]", "sample.seeds: .* each from 0 to 2"),
    "missing config": ("train nowhere.toml", "no config file nowhere.toml"),
    "folder as config": ("train images", "images is a folder"),
    "config that is no TOML": ("train wrong.toml", "wrong.toml is not valid TOML"),
    "unknown key in a config": ("train unknown.toml --images images", "no setting train.speed; allowed are"),
    # bases
    "unknown base": (f"{TRAIN} --base nowhere", "no base model 'nowhere'"),
    "hub id without a network": (f"{TRAIN} --base nobody/nothing", "nobody/nothing is not on this machine"),
    "base without a UNet": (f"{TRAIN} --base no-unet", "no-unet has no UNet"),
    "style as base": (f"{TRAIN} --base starter.safetensors", "starter.safetensors is a style .* not a base"),
    "pickle as base": (f"{TRAIN} --base old.ckpt", "old.ckpt is a pickle, which can run code .* convert it"),
    "folder of pickles as base": (f"{TRAIN} --base pickle-base", "pickle, which can run code"),
    "disguised pickle as base": (f"{TRAIN} --base disguised.safetensors", "is not a .safetensors file"),
    "truncated base": (f"{TRAIN} --base cut-base", "cannot load unet of cut-base: .* truncated"),
    "truncated checkpoint": (f"{TRAIN} --base cut.safetensors", "cut.safetensors is truncated"),
    # drawing
    "seed out of range": (f"{DRAW} --seed {2**63}", "Seed must be a whole number from 0 to"),
    "no denoising steps": (
        "generate --prompt fox --steps 0 --out new.png",
        "Steps must be a whole number from 1 to 1000",
    ),
    "picture exists": ("generate --prompt fox --out taken.png", "taken.png already exists; .* --overwrite"),
    "picture is a folder": ("generate --prompt fox --out folder.png --overwrite", "folder.png is a folder"),
    "odd suffix": ("generate --prompt fox --out fox.gif", r"'fox.gif': .* must end in \.png, \.jpg, \.jpeg, \.webp"),
    "no suffix": ("generate --prompt fox --out fox", "'fox': the picture's name must end in"),
    "picture inside a file": ("generate --prompt fox --out file/fox.png", "file is a file, not a folder"),
    "size in words": (f"{DRAW} --size large", "Write a size like 512 × 512; you wrote “large”"),
    "size zero": (f"{DRAW} --size 0x0", "must be 8 to 4,096 pixels; you wrote 0 × 0"),
    "size off the stride": (f"{DRAW} --size 100x96", "multiples of 32 from 32 to 4,096"),
    "huge size": (f"{DRAW} --size 99968x32", "must be 8 to 4,096 pixels; you wrote 99968 × 32"),
    "unknown sampler": (f"{DRAW} --sampler magic", "no sampler “magic”; available are ddim, euler"),
    "missing style": (f"{DRAW} --style gone.safetensors:0.8", "no style file gone.safetensors$"),
    "missing style on Windows": (rf"{DRAW} --style 'C:\x.safetensors:0.8'", r"no style file C:\\x.safetensors$"),
    "starter style on SDXL": (f"{DRAW} --style starter.safetensors --base SDXL", "made for the Velatura starter"),
    "starter style on SD 1": (f"{DRAW} --style starter.safetensors --base SD1", "fits only the starter"),
    "SDXL style on the starter": (f"{DRAW} --style sdxl.safetensors --base starter", "made for Stable Diffusion XL"),
    "other style without a base": (
        f"{DRAW} --style sdxl.safetensors",
        "not trained on the starter; choose a base with --base",
    ),
    "pickle as style": (f"{DRAW} --style old.pt", "old.pt is a pickled file, which can run code"),
    "disguised pickle as style": (f"{DRAW} --style disguised.safetensors", "is not a .safetensors file"),
    "truncated style": (f"{DRAW} --style cut.safetensors", "cut.safetensors is truncated"),
    "embedding of no known base": (f"{DRAW} --style embedding.safetensors", "was not trained on the starter"),
    "embedding of another base": (
        f"{DRAW} --style embedding.safetensors --base starter",
        "embedding.safetensors was made for another kind of model, with 8 text channels",
    ),
    "folder as style": (f"{DRAW} --style images", "images is a folder"),
    # the rest
    "check a missing folder": ("check nowhere", "nowhere .* no such folder"),
    "check with an unknown base": ("check images --base nowhere", "no base model 'nowhere'"),
    "inspect text": ("inspect file", "file is not a .safetensors file"),
    "inspect a pickle": ("inspect protocol4.bin", "pickled file"),
    "inspect a foreign file": ("inspect foreign.safetensors", "not a known kind of style .* it has left"),
    "inspect a base": ("inspect no-unet/vae/diffusion_pytorch_model.safetensors", "a base model or part of one"),
    "resume what is no run": ("resume images", "images is not a run folder"),
    "resume what is complete": ("resume runs/dusk", "runs/dusk is complete at step 2"),
    "resume to fewer steps": ("resume runs/dusk --steps 1", "complete at step 2"),
    "resume to no steps": ("resume runs/dusk --steps 0", "train.steps = 0"),
    "stop what is no run": ("stop images", "images is not a run folder"),
    "stop what is complete": ("stop runs/dusk", "runs/dusk is not training: it has already finished"),
    "export what is no run": ("export images", "images is not a run folder"),
    "export over a file": ("export runs/dusk", "dusk.safetensors already exists; .* --overwrite"),
    "export inside a file": ("export runs/dusk --out file/x.safetensors", "file is a file, not a folder"),
    "export to another kind": ("export runs/dusk --out dusk.bin", "must end in .safetensors; found dusk.bin"),
    "export at a rank": (
        "export runs/dusk --rank 8",
        "trained with lora; only a run of dylora can be exported at another rank",
    ),
    "ranks of a method with one": (
        "ranks runs/dusk",
        "trained with lora; only a run of dylora can be exported at another rank",
    ),
    "demo with unknown images": ("demo --sample nice", "no sample set 'nice'; available are black-line, blob"),
    "get no id": ("models get nice", "'nice' is not a hub id"),
}


@pytest.mark.parametrize("row", ROWS)
def test_one_sentence_and_nothing_changed(
    row: str,
    workplace: Path,
    untouched: dict[str, bytes | None],
    tiny_bases: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line, sentence = ROWS[row]
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    outcome = call(*_words(line, tiny_bases))
    assert outcome.code != 0
    assert outcome.out == ""
    said = [each for each in outcome.err.splitlines() if not each.startswith("downloading ")]
    assert len(said) == 1, outcome.err
    assert said[0].startswith("error: ")
    assert "unexpected" not in said[0]
    assert re.search(sentence, said[0]), said[0]
    assert tree(workplace) == untouched


def _words(line: str, bases: dict[str, Path]) -> list[str]:
    """The words of a line, split as a shell does that leaves backslashes alone; a tiny base for its name."""
    splitter = shlex.shlex(line, posix=True, punctuation_chars=False)
    splitter.whitespace_split, splitter.escape, splitter.commenters = True, "", ""
    return [str({"SDXL": bases["sdxl"], "SD1": bases["sd1"]}.get(word, word)) for word in splitter]


USAGE = {
    "no such option": (["train", "--image", "x"], "No such option: --image"),
    "no such command": (["trian"], "No such command 'trian'. Did you mean 'train'"),
    "missing argument": (["resume"], "Missing argument 'RUN'"),
    "missing option": (["generate", "--out", "x.png"], "Missing option '--prompt'"),
    "no number": (["train", "--steps", "many"], "--steps"),
}


@pytest.mark.parametrize("row", USAGE)
def test_usage_errors_say_how_to_get_help(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, sentence = USAGE[row]
    monkeypatch.chdir(tmp_path)
    outcome = call(*words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert sentence in outcome.err
    assert "--help' for help" in outcome.err
    assert "Traceback" not in outcome.err
    assert tree(tmp_path) == {}


def test_a_broken_image_is_named_and_the_run_goes_on(trained: Trained) -> None:
    err = trained.outcome.err
    for name, reason in (("bomb.png", "too large"), ("broken.png", "damaged"), ("text.png", "holds text")):
        assert re.search(rf"^{name} was left out: .*{reason}", err, re.MULTILINE), err
    assert "2 images" in err
    assert len(list((trained.run / "dataset").glob("*.png"))) == 2
    assert trained.style.is_file()


def full_disk(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path / "images", "fox.png")
    before = tree(tmp_path)
    monkeypatch.setattr(
        "trainers.training.prepare.write_config", full_disk
    )  # the last thing that is written before training
    outcome = call("train", "--images", tmp_path / "images", "--name", "new", "--out", tmp_path / "deep" / "runs")
    assert outcome.code != 0
    assert re.fullmatch(r"error: the disk is full: .*\n", outcome.err.splitlines(True)[-1])
    assert tree(tmp_path) == before


def test_a_full_disk_leaves_the_picture_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fox.png").write_text("mine", encoding="utf-8")
    write: Callable[..., int] = Path.write_bytes

    def write_some(path: Path, data: bytes) -> int:
        write(path, data[:100])
        full_disk()
        return 0

    monkeypatch.setattr(Path, "write_bytes", write_some)
    for name in ("fox.png", "deep/new.png"):
        outcome = call("generate", "--prompt", "fox", "--steps", "1", "--overwrite", "--out", tmp_path / name)
        assert outcome.code != 0
        assert outcome.err.startswith("error: the disk is full")
        assert tree(tmp_path) == {"fox.png": b"mine"}


def test_a_real_process_ends_with_a_code_and_a_sentence(tmp_path: Path) -> None:
    outcome = fresh_process("inspect", "nothing [here].safetensors", cwd=tmp_path)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: there is no style file nothing [here].safetensors\n"
