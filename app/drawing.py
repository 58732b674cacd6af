"""`velatura generate`: a picture from styles, a prompt and a base."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from app.console import say
from app.telling import Tell, quiet
from trainers.errors import VelaturaError
from trainers.presets import STARTER, guidance_for
from trainers.run import check_free

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.formats.read import Style
    from trainers.models.model import Model
    from trainers.sampling import Order

MOST_CHUNKS = 3
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
SAMPLERS = ("ddim", "euler", "dpm++")
LARGEST_SIDE = 4096
EXIF_TABLE, USER_COMMENT = 0x8769, 0x9286
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
    guidance: float | None
    """None: what the base draws best with."""
    sampler: str
    base: str | None


def split_strength(text: str) -> tuple[Path, float]:
    """`FILE:0.8` as file and strength: split at the last colon, and only before a number (`C:\\x` is a path)."""
    head, colon, tail = text.rpartition(":")
    if colon and head and _STRENGTH.fullmatch(tail):
        return Path(head), float(tail)
    return Path(text), 1.0


def draw_to_file(request: Request, out: Path, overwrite: bool, plain: Path | None = None, tell: Tell = quiet) -> Path:
    """Draw and write one picture (several prompts as a grid), with its parameters in its metadata.

    `plain` is where the same picture without the styles goes; `tell` hears how far it is. Raises VelaturaError, before
    anything is loaded or written, where the request cannot be met.
    """
    for place in (out, plain):
        if place is not None:
            _check_place(place, overwrite)
    if request.sampler not in SAMPLERS:
        raise VelaturaError(f"there is no sampler {request.sampler!r}; there are {', '.join(SAMPLERS)}")
    styles = _read_styles(request.styles)
    base = _base(request, styles)
    size = _size(request.size, base)
    guidance = guidance_for(base) if request.guidance is None else request.guidance
    model, order = _load(request, styles, base, size)
    order = replace(order, guidance=guidance)
    told = _telling(tell, order, 1 if plain is None else 2)
    used = asdict(request) | {"base": _without_folders(base), "size": size, "guidance": guidance}
    with _styled(model, styles, order):
        order = replace(order, chunks=_chunks(model, request, order.chunks))
        picture = _draw(model, order, ", ".join(style.path.stem for style, _ in styles), told)
        _write(picture, out, used | {"styles": [(style.name, strength) for style, strength in styles]})
    if plain is not None:
        _write(_draw(model, order, "", told), plain, used | {"styles": []})
    return out


def _check_place(out: Path, overwrite: bool) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise VelaturaError(f"cannot write {out.name!r}: the picture's name must end in {', '.join(SUFFIXES)}")
    check_free(out, overwrite)


def _read_styles(texts: Sequence[str]) -> list[tuple[Style, float]]:
    """The styles and, whole, the words that were trained together with them and lie beside them."""
    from trainers.formats.embedding import embedding_beside
    from trainers.formats.read import read_style

    chosen = list(map(split_strength, texts))
    beside = dict.fromkeys(embedding_beside(path) for path, _ in chosen)
    words = [(path, 1.0) for path in beside if path is not None and path not in dict(chosen)]
    return [(read_style(path), strength) for path, strength in (*chosen, *words)]


def _load(
    request: Request, styles: Sequence[tuple[Style, float]], base: str, size: tuple[int, int]
) -> tuple[Model, Order]:
    """The base, and what to draw with it."""
    from trainers.device import choose_device, choose_format
    from trainers.formats.training import Reading, reading_of
    from trainers.models.load import load_model
    from trainers.sampling import Order

    device = choose_device("auto")
    # As the first style was trained: with another clip skip or prediction its pictures would not be its own.
    reading = reading_of(styles[0][0]) if styles else Reading()
    settings = reading.base.model_copy(update={"model": base, "family": "auto"})
    model = load_model(settings, choose_format("auto", device, small=base == STARTER), device)
    order = Order(
        prompts=request.prompts,
        seeds=(request.seed,),
        negative=request.negative,
        steps=request.steps,
        size=size,
        sampler=request.sampler,  # type: ignore[arg-type]
        clip_skip=settings.clip_skip,
        chunks=reading.chunks,
    )
    return model, order


@contextmanager
def _styled(model: Model, styles: Sequence[tuple[Style, float]], order: Order) -> Iterator[None]:
    """The base with styles on it for a while, saying what of them it does not take."""
    from trainers.formats.apply import apply_styles

    network = apply_styles(model.parts, model.family.name, styles, model.words)
    network.clock.now = order.now
    for warning in network.warnings:
        say((warning, "yellow"))
    try:
        yield
    finally:
        network.remove()


def _draw(model: Model, order: Order, label: str, told: Callable[[int, int], None]) -> Image:
    from trainers.sampling import draw

    pictures = list(draw(model, order, told))
    if len(pictures) == 1:
        return pictures[0]
    from trainers.grid import make_grid

    return make_grid([(label or "no style", pictures)], order.prompts)


def _telling(tell: Tell, order: Order, times: int) -> Callable[[int, int], None]:
    """Tells after each step how much of an order is done, which is drawn so many times."""
    done, whole = count(1), len(order.pictures) * order.steps * times

    def told(picture: int, step: int) -> None:
        tell("working", message="Drawing …", done=next(done), of=whole)

    return told


def _chunks(model: Model, request: Request, trained: int) -> int:
    """Chunks of 75 tokens that the longest prompt needs, at least as many as in training and at most three."""
    from trainers.models.text import CHUNK, count_tokens

    longest = max(count_tokens(model, text) for text in (*request.prompts, request.negative))
    if longest > CHUNK * MOST_CHUNKS:
        say((f"a prompt of {longest} tokens is cut after {CHUNK * MOST_CHUNKS}", "yellow"))
    return min(max(trained, -(-longest // CHUNK)), MOST_CHUNKS)


def _base(request: Request, styles: Sequence[tuple[Style, float]]) -> str:
    """The base that was asked for, else the starter where every style was trained on it."""
    if request.base:
        return request.base
    from trainers.formats.origin import origin_of

    others = [style.path.name for style, _ in styles if not origin_of(style).starter]
    if others:
        raise VelaturaError(f"{others[0]} was not trained on the starter; say which base to draw with, as --base")
    return STARTER


def _without_folders(base: str) -> str:
    """A base as a picture may say it to whoever it is shown to: not where it lies on somebody's disk."""
    is_path = base != STARTER and Path(base).expanduser().exists()
    return Path(base).name if is_path else base


def _size(text: str, base: str) -> tuple[int, int]:
    """`WxH` as pixels (width, height), each a multiple of the base's stride; without text the base's own size."""
    from trainers.models.load import training_size

    native, stride = training_size(base)
    if not text:
        return native, native
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text.strip(), re.IGNORECASE)
    if not match:
        raise VelaturaError(f"--size {text!r} is no size; write width x height in pixels, e.g. {native}x{native}")
    width, height = int(match[1]), int(match[2])
    if width % stride or height % stride or not (stride <= min(width, height) <= max(width, height) <= LARGEST_SIDE):
        raise VelaturaError(
            f"--size {text}: width and height must be multiples of {stride}, from {stride} to {LARGEST_SIDE}"
        )
    return width, height


def _write(picture: Image, out: Path, parameters: dict[str, object]) -> None:
    """The file whole or not at all; Python's own writing, since encoders do not always say that a disk is full."""
    from trainers.run import plain_disk_errors, whole_file

    data = _encoded(picture, SUFFIXES[out.suffix.lower()], parameters)
    made = [folder for folder in out.parents if not folder.exists()]
    try:
        with plain_disk_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(out) as building:
                building.write_bytes(data)
    finally:
        for folder in made:  # folders that were made for a picture that could not be written
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _encoded(picture: Image, kind: str, parameters: dict[str, object]) -> bytes:
    """The picture as a file's bytes, with the parameters as JSON: PNG's text chunk `velatura`, else EXIF's comment."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    buffer = io.BytesIO()
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("velatura", json.dumps(parameters, ensure_ascii=False))
        picture.save(buffer, kind, pnginfo=info)
    else:
        exif = Image.Exif()
        exif.get_ifd(EXIF_TABLE)[USER_COMMENT] = b"ASCII\0\0\0" + json.dumps(parameters).encode("ascii")
        picture.save(buffer, kind, exif=exif, quality=95)
    return buffer.getvalue()
