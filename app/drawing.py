"""`velatura generate`: a picture from styles, a prompt and a base."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.errors import VelaturaError
from trainers.presets import STARTER

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.formats.read import Style
    from trainers.models.model import Model

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_STRENGTH = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    prompts: tuple[str, ...]
    styles: tuple[str, ...]
    negative: str
    seed: int
    steps: int
    size: str
    guidance: float
    sampler: str
    base: str | None


def split_strength(text: str) -> tuple[Path, float]:
    """`FILE:0.8` as file and strength: split at the last colon, and only before a number (`C:\\x` is a path)."""
    head, colon, tail = text.rpartition(":")
    if colon and head and _STRENGTH.fullmatch(tail):
        return Path(head), float(tail)
    return Path(text), 1.0


def draw_to_file(request: Request, out: Path, overwrite: bool) -> Path:
    """Draw and write one picture (several prompts as a grid), with its parameters in its metadata."""
    if out.suffix.lower() not in SUFFIXES:
        raise VelaturaError(f"cannot write {out.name!r}: the picture's name must end in {', '.join(SUFFIXES)}")
    if out.is_dir() or (out.exists() and not overwrite):
        raise VelaturaError(f"{out} exists already; give another --out, or --overwrite to replace it")
    if request.sampler not in ("ddim", "euler", "dpm++"):
        raise VelaturaError(f"there is no sampler {request.sampler!r}; there are ddim, euler and dpm++")
    styles = _read_styles(request.styles)
    pictures = _draw(request, styles)
    picture = pictures[0]
    if len(pictures) > 1:
        from trainers.grid import make_grid

        label = ", ".join(style.path.stem for style, _ in styles) or "no style"
        picture = make_grid([(label, pictures)], request.prompts)
    _write(picture, out, asdict(request) | {"styles": [(s.path.name, strength) for s, strength in styles]})
    return out


def _read_styles(texts: Sequence[str]) -> list[tuple[Style, float]]:
    from trainers.formats.read import read_style

    return [(read_style(path), strength) for path, strength in map(split_strength, texts)]


def _draw(request: Request, styles: Sequence[tuple[Style, float]]) -> list[Image]:
    from trainers.config import Base
    from trainers.device import choose_device, choose_format
    from trainers.formats.apply import apply_styles
    from trainers.models.load import load_model
    from trainers.sampling import Order, draw

    device = choose_device("auto")
    base = _base(request, styles)
    model = load_model(Base(model=base), choose_format("auto", device, small=base == STARTER), device)
    if styles:
        apply_styles(model.parts, model.family.name, styles)
    order = Order(
        prompts=request.prompts,
        seeds=(request.seed,),
        negative=request.negative,
        steps=request.steps,
        guidance=request.guidance,
        size=_size(request.size, model),
        sampler=request.sampler,  # type: ignore[arg-type]
    )
    return list(draw(model, order))


def _base(request: Request, styles: Sequence[tuple[Style, float]]) -> str:
    """The base that was asked for, else the starter where every style was trained on it."""
    if request.base:
        return request.base
    from trainers.formats.origin import origin_of

    others = [style.path.name for style, _ in styles if not origin_of(style).starter]
    if others:
        raise VelaturaError(f"{others[0]} was not trained on the starter; say which base to draw with, as --base")
    return STARTER


def _size(text: str, model: Model) -> tuple[int, int]:
    """`WxH` as pixels, each divisible by the base's stride."""
    if not text:
        return model.resolution, model.resolution
    match = re.fullmatch(r"(\d{2,5})[x×](\d{2,5})", text.strip())
    if not match:
        raise VelaturaError(f"--size {text!r} is no size; write width x height in pixels, e.g. 512x768")
    width, height = int(match[1]), int(match[2])
    if width % model.stride or height % model.stride or max(width, height) > 4096:
        raise VelaturaError(f"--size {text}: width and height must be multiples of {model.stride} and at most 4096")
    return width, height


def _write(picture: Image, out: Path, parameters: dict[str, object]) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    kind = SUFFIXES[out.suffix.lower()]
    words = json.dumps(parameters, ensure_ascii=False)
    building = out.with_name(f".{out.name}.unfinished")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if kind == "PNG":
            info = PngInfo()
            info.add_itxt("velatura", words)
            picture.save(building, kind, pnginfo=info)
        else:
            exif = Image.Exif()
            exif[0x9286] = words  # UserComment
            picture.save(building, kind, exif=exif, quality=95)
        building.replace(out)
    except (FileExistsError, NotADirectoryError):
        raise VelaturaError(f"cannot write {out}: part of its path is a file, not a folder") from None
    finally:
        building.unlink(missing_ok=True)
