"""Finds parts that a base's file lacks: text encoders, autoencoders and tokenizers. Downloads nothing.

Searches the base's own folder, the `models` folder above it, the usual folders of ComfyUI, A1111 and Forge, and the
folders in the environment variable VELATURA_MODELS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FILES = (".safetensors", ".gguf")
"""Suffixes of files with weights."""
FOLDERS = ("text_encoders", "text_encoder", "clip", "vae", "VAE")
"""Folders for parts in `models` of ComfyUI, A1111 and Forge."""
TOKENIZER_FOLDERS = {"qwen2": "qwen25_tokenizer"}
"""ComfyUI's names of tokenizer folders by kind, where they are not `KIND_tokenizer`."""
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Sets of files that make up a tokenizer's vocabulary."""
TOKENIZERS = ("tokenizer_3", "tokenizer_2", "tokenizer")
"""Tokenizer folders in diffusers layout."""
PROGRAMS = (
    *("ComfyUI", "comfyui", "ComfyUI_windows_portable/ComfyUI"),
    *("stable-diffusion-webui", "stable-diffusion-webui-forge", "stable-diffusion-webui-reForge"),
)
DEPTH = 3
"""Levels above a base at which `models` is searched for."""


@dataclass(frozen=True)
class PartSource:
    """A prefix in a checkpoint and names of files that may hold the tensors of a part."""

    prefix: str
    files: tuple[str, ...]
    """Shell patterns in lower case, without suffix, the likeliest first."""


def usual_folders(names: Iterable[str]) -> Iterator[Path]:
    """The usual folders of programs with these names: in the home folder and next to the working folder."""
    here = Path.cwd()
    for parent in dict.fromkeys((Path.home(), here, here.parent)):
        for name in names:
            yield parent / name


def own_model_folders() -> Iterator[Path]:
    """The folders in the environment variable VELATURA_MODELS, then the one in the home folder."""
    for entry in os.environ.get("VELATURA_MODELS", "").split(os.pathsep):
        if entry.strip():
            yield Path(entry.strip()).expanduser()
    yield Path.home() / "Velatura" / "models"


def part_roots(base: Path) -> list[Path]:
    """The folders to search for parts of the base at this path, the nearest first."""
    above = list(base.resolve().parents)[:DEPTH]
    near = [folder for folder in above if folder.name == "models"]
    models = [*near, *(folder / "models" for folder in usual_folders(PROGRAMS))]
    inside = [folder / name for folder in models for name in FOLDERS]
    return [*above[:1], *(folder for folder in (*inside, *own_model_folders()) if folder.is_dir())]


def find_parts(names: Sequence[str], roots: Sequence[Path]) -> Iterator[Path]:
    """Files in `roots` and their folders that match `names`, shell patterns in lower case.

    An earlier name comes before a nearer root.
    """
    files = [file for root in roots for file in _files(root)]
    matches = (file for name in names for file in files if fnmatchcase(file.stem.lower(), name))
    yield from dict.fromkeys(matches)


def cached_parts(part: str) -> Iterator[Path]:
    """Folders in the hub's cache with weights of a part or of another of its kind."""
    names = ("vae",) if part == "vae" else ("text_encoder", "text_encoder_2", "text_encoder_3")
    for snapshot in _snapshots():
        yield from (snapshot / name for name in names if any((snapshot / name).glob("*.safetensors")))


def find_tokenizer(kind: str, roots: Sequence[Path]) -> Path | None:
    """A folder with a tokenizer of this kind, such as `t5`: beside a base, in ComfyUI, or in the hub's cache."""
    comfyui = (folder / "comfy" / "text_encoders" / comfyui_name(kind) for folder in usual_folders(PROGRAMS))
    above = (root.parent.parent / "comfy" / "text_encoders" / comfyui_name(kind) for root in roots)
    names = dict.fromkeys((f"{kind}_tokenizer", comfyui_name(kind), *TOKENIZERS))
    beside = (root / name for root in roots for name in names)
    candidates = [*beside, *above, *comfyui, *_cached_tokenizers()]
    return next((folder for folder in candidates if is_tokenizer(folder, kind)), None)


def comfyui_name(kind: str) -> str:
    """ComfyUI's name of the folder of a kind of tokenizer."""
    return TOKENIZER_FOLDERS.get(kind, f"{kind}_tokenizer")


def _files(root: Path) -> Iterator[Path]:
    for folder in (root, *(entry for entry in _entries(root) if entry.is_dir())):
        yield from (entry for entry in _entries(folder) if entry.suffix.lower() in FILES and entry.is_file())


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder by name; empty if it cannot be read."""
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name.lower())
    except OSError:
        return []


def _cached_tokenizers() -> Iterator[Path]:
    for snapshot in _snapshots():
        yield snapshot
        yield from (snapshot / name for name in TOKENIZERS)


def _snapshots() -> list[Path]:
    from huggingface_hub import constants

    return sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*/snapshots/*"))


def is_tokenizer(folder: Path, kind: str = "t5") -> bool:
    """Whether a folder holds a complete tokenizer whose class begins with `kind`."""
    with suppress(OSError, ValueError, AttributeError):
        settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        name = str(settings.get("tokenizer_class", "")).lower()
        return name.startswith(kind) and any(all((folder / file).is_file() for file in files) for files in VOCABULARIES)
    return False
