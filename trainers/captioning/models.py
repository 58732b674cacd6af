"""Captioning models: sentences by BLIP or Florence-2, tags by a WD14 tagger.

Models are downloaded from the hub on first use; without a network, put their folders where VELATURA_MODELS points.
Papers: BLIP 2201.12086, Florence-2 2311.06242.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.files.hub import UNUSABLE, local_folder

Write = Callable[[Image.Image], str]
"""Returns the caption of an `RGB` image."""

LONGEST = {"blip": 40, "florence-2": 120}  # tokens
BEAMS = 3
GENERAL, CHARACTER = "0", "4"  # categories of tags; the third, ratings, is not used
SURE = {GENERAL: 0.35, CHARACTER: 0.85}
FACES = frozenset({"0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3", "6_9", ">_o"})


@dataclass(frozen=True)
class Captioner:
    """A model that writes captions."""

    title: str
    words: str
    """Its kind of captions and its download size, for users."""
    model: str
    """Its hub id."""
    files: tuple[str, ...]
    """Patterns of the required files; the last is the weights."""
    revision: str | None = None


TOKENIZER = ("*.json", "vocab.txt", "merges.txt")
CAPTIONERS = {
    "blip": Captioner(
        "BLIP",
        _("One short sentence. Downloads 1 GB once."),
        "Salesforce/blip-image-captioning-base",
        (*TOKENIZER, "model.safetensors"),
        "refs/pr/38",  # the same weights as safetensors; the main branch has them as a pickle only
    ),
    "florence-2": Captioner(
        "Florence-2",
        _("Longer, more detailed descriptions. Downloads up to 1.1 GB once."),
        "florence-community/Florence-2-base",
        (*TOKENIZER, "model.safetensors"),
    ),
    "wd14": Captioner(
        "WD14 tagger",
        _("Tags instead of sentences; made for anime pictures. Downloads 0.4 GB once."),
        "SmilingWolf/wd-vit-tagger-v3",
        ("selected_tags.csv", "model.onnx"),
    ),
}


def find_captioner(name: str) -> Path | None:
    """The local folder of a captioning model, if it is on this computer."""
    kind = captioner(name)
    return local_folder(kind.model, kind.files[-1], kind.revision)


def fetch_captioner(name: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder of a captioning model, downloaded if missing. VelaturaError if it is unavailable."""
    from trainers.models.files.download import DownloadRequest, fetch_files

    if folder := find_captioner(name):
        return folder
    kind = captioner(name)

    def choose(sizes: dict[str, int]) -> list[str]:
        names = [file for file in sizes if any(fnmatch(file, pattern) for pattern in kind.files)]
        if kind.files[-1] not in names:
            raise VelaturaError(
                "{model} no longer has {files}; choose another captioning model", model=kind.model, files=kind.files[-1]
            )
        return names

    offline = _(
        "{title} is not on this computer and there is no network. Write captions by hand, or try again once there is "
        "one.",
        title=kind.title,
    )
    return fetch_files(DownloadRequest(kind.model, choose, offline, kind.revision), progress)


def load_captioner(name: str, folder: Path, device: str = "auto") -> Write:
    """A captioner with the model in `folder`. VelaturaError if the folder does not hold that model."""
    title = captioner(name).title
    load = {"blip": _load_blip, "florence-2": _load_florence, "wd14": _load_tagger}[name]
    try:
        return load(folder, device)
    except (OSError, ValueError, KeyError) as error:
        raise VelaturaError(UNUSABLE, title=title, folder=folder, error=error) from error


def captioner(name: str) -> Captioner:
    """The captioning model `name`; VelaturaError lists the available ones."""
    if name not in CAPTIONERS:
        raise VelaturaError(
            "there is no captioning model {name!r}; available are {captioners}",
            name=name,
            captioners=", ".join(CAPTIONERS),
        )
    return CAPTIONERS[name]


def _placed(model: Any, device: str) -> Any:
    from trainers.device import choose_device

    return model.to(choose_device(device)).eval()


def _load_blip(folder: Path, device: str) -> Write:
    import torch
    from transformers import BlipForConditionalGeneration, BlipProcessor

    processor = BlipProcessor.from_pretrained(folder, local_files_only=True)
    model = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    model = _placed(model, device)

    @torch.inference_mode()
    def write(image: Image.Image) -> str:
        inputs = processor(images=image, return_tensors="pt").to(model.device)
        tokens = model.generate(**inputs, max_new_tokens=LONGEST["blip"], num_beams=BEAMS)
        return str(processor.decode(tokens[0], skip_special_tokens=True)).strip()

    return write


def _load_florence(folder: Path, device: str) -> Write:
    import torch
    from transformers import Florence2ForConditionalGeneration, Florence2Processor

    processor = Florence2Processor.from_pretrained(folder, local_files_only=True)
    model = Florence2ForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    model = _placed(model, device)

    @torch.inference_mode()
    def write(image: Image.Image) -> str:
        inputs = processor(images=image, text="<DETAILED_CAPTION>", return_tensors="pt").to(model.device)
        tokens = model.generate(**inputs, max_new_tokens=LONGEST["florence-2"], num_beams=BEAMS)
        return str(processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip()

    return write


def _load_tagger(folder: Path, device: str) -> Write:
    """ONNX, (1, side, side, 3) in blue, green, red from 0 to 255 on white -> the probability of each tag."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, ["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:  # no common parent but Exception
        raise ValueError(str(error)) from error
    entry = session.get_inputs()[0]
    with (folder / "selected_tags.csv").open(encoding="utf-8", newline="") as file:
        tags = [(row["name"], row["category"]) for row in csv.DictReader(file)]

    def write(image: Image.Image) -> str:
        pixels = np.asarray(_square(image, entry.shape[1]), np.float32)[None, :, :, ::-1]
        chances = session.run(None, {entry.name: np.ascontiguousarray(pixels)})[0][0]
        sure = [
            (float(chance), tag)
            for (tag, category), chance in zip(tags, chances, strict=True)
            if category in SURE and chance > SURE[category]
        ]
        return ", ".join(_readable(tag) for _, tag in sorted(sure, key=lambda pair: -pair[0]))

    return write


def _square(image: Image.Image, side: int) -> Image.Image:
    longest = max(image.size)
    sheet = Image.new("RGB", (longest, longest), "white")
    sheet.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    return sheet.resize((side, side), Image.Resampling.BICUBIC)


def _readable(tag: str) -> str:
    return tag if tag in FACES else tag.replace("_", " ")
