"""Loads parts of a base from a folder in diffusers layout."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import VelaturaError
from trainers.models.files.header import pickle_error, read_header
from trainers.models.quiet import quietly

if TYPE_CHECKING:
    import torch


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object from `file`; VelaturaError if it is missing or not a JSON object."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise VelaturaError(
            "the base folder {name} has no {part}/{file}; copy or download it again",
            name=file.parent.parent.name,
            part=file.parent.name,
            file=file.name,
        ) from error
    except (OSError, ValueError) as error:
        raise VelaturaError("cannot read {file}: {error}", file=file, error=error) from error
    if not isinstance(content, dict):
        raise VelaturaError("{file} is not a JSON object; copy or download it again", file=file)
    return content


def weight_files(part: Path) -> tuple[list[Path], str | None]:
    """The safetensors files of a part of a base, and their variant, such as `fp16`; None for plain ones.

    VelaturaError if there are none, or only pickles.
    """
    weights = sorted(part.glob("*.safetensors"))
    for variant in (None, "fp16", "bf16", "ema", "non_ema"):
        files = [file for file in weights if _variant(file) == variant]
        if files:
            return files, variant
    pickles = sorted(part.glob("*.bin")) + sorted(part.glob("*.ckpt"))
    if pickles:
        raise pickle_error(f"{part.parent.name}/{part.name}/{pickles[0].name}")
    what = "UNet" if part.name == "unet" else part.name
    raise VelaturaError(
        "{name} has no {what}: a base in diffusers layout holds unet or transformer, vae, text_encoder, tokenizer "
        "and scheduler folders, and no weights were found in {part}/",
        name=part.parent.name,
        what=what,
        part=part.name,
    )


def has_weights(part: Path) -> bool:
    """Whether a part's folder contains weights."""
    return any(part.glob("*.safetensors"))


def library_class(name: str) -> Any:
    """A class of diffusers or transformers by its full name."""
    library, _, kind = name.partition(".")
    return getattr(import_module(library), kind)


def first_line(error: BaseException) -> str:
    """The first line of another library's error message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _variant(file: Path) -> str | None:
    # model.safetensors · model.fp16.safetensors · model.fp16-00001-of-00002.safetensors
    middle = file.name.split(".")[1:-1]
    return middle[0].split("-")[0] if middle else None


def load_part(network: Any, folder: Path, name: str, dtype: torch.dtype) -> Any:
    """Load a network of class `network` from `folder`/`name`; VelaturaError if weights are missing or do not fit."""
    from safetensors import SafetensorError

    files, variant = weight_files(folder / name)
    for file in files:
        try:
            read_header(file)
        except VelaturaError as error:
            raise VelaturaError(
                "cannot load {name} of {part}: {error}", name=name, part=folder.name, error=error.message
            ) from error
    try:
        with quietly():
            loaded, report = network.from_pretrained(
                str(folder),
                subfolder=name,
                variant=variant,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise VelaturaError(
            "cannot load {name} of {part}: {error}", name=name, part=folder.name, error=first_line(error)
        ) from error
    missing = [*report["missing_keys"], *report.get("mismatched_keys", ())]
    if missing:
        raise VelaturaError(
            "{name} of {part} lacks {count} tensors such as {missing}; copy or download it again",
            name=name,
            part=folder.name,
            count=len(missing),
            missing=missing[0],
        )
    return loaded


def load_tokenizer(folder: Path, name: str, kind: str = "transformers.CLIPTokenizer") -> Any:
    """Load the tokenizer of class `kind` in `folder`/`name`; VelaturaError if that fails."""
    if not (folder / name).is_dir():
        raise VelaturaError("{name} has no {part} folder; copy or download it again", name=folder.name, part=name)
    try:
        with quietly("transformers"):
            return library_class(kind).from_pretrained(str(folder / name), local_files_only=True)
    except (OSError, ValueError, ImportError) as error:  # some formats of vocabularies need a package
        raise VelaturaError(
            "cannot load {name} of {part}: {error}", name=name, part=folder.name, error=first_line(error)
        ) from error
