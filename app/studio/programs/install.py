"""Copies styles into a program's folder, in a form that the program reads."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.studio.programs.find import Place
from trainers.atomic_files import plain_disk_errors, whole_file
from trainers.errors import VelaturaError
from trainers.formats.embedding import embedding_of, embedding_path
from trainers.formats.inspect import misnamed_layers, summarise_header
from trainers.formats.origin import origin_of
from trainers.formats.programs.check import Compatibility, check_programs
from trainers.formats.read import Style, read_outline, read_style
from trainers.formats.write.convert import is_plain, why_not_plain, write_plain
from trainers.messages import Message, joined, plural
from trainers.messages import Message as _

STEPS = "ss_steps"
"""The key of a style's steps in its metadata."""
TAKEN = _("{place} is another file of this name; rename the style, or move that file away")


class TakenError(VelaturaError):
    """Another file has the name of a style."""


@dataclass(frozen=True)
class Installed:
    """A style in a program's folder."""

    file: Path
    prompt: str
    """Text for the prompt, or the name to choose in the program."""
    word: Path | None = None
    """The file of its word."""
    converted: bool = False
    """Whether it was converted to plain LoRA, since the program does not read all of the style."""
    left_out: str = ""
    """The part that the program ignores; may be empty."""
    was_there: bool = False
    """Whether the same file existed."""
    note: str = ""
    """Note on a base that Velatura does not train; may be empty."""


@dataclass(frozen=True)
class Form:
    """The file of a style that suits a program best."""

    path: Path
    converted: bool = False
    """Whether it must be converted to plain LoRA first."""
    left_out: str = ""


def install(style: Path, name: str, place: Place, overwrite: bool = False) -> Installed:
    """Copy a style file called `name`, with its word, into the folder of a program.

    VelaturaError if the program cannot use the style, `name` is a path, or another file has the name and `overwrite` is
    not set.
    """
    if not Path(name).stem.strip(".") or Path(name).name != name or "\\" in name:
        raise VelaturaError("{name!r} is no name of a file; rename the style", name=name)
    outline = read_outline(style)
    summary, program = summarise_header(outline), place.program.title
    if summary.base.fits_only:
        raise VelaturaError("“{name}” fits only the starter, which {program} does not have", name=name, program=program)
    if summary.only_here:
        raise VelaturaError(
            "“{name}” does not change weights, so {program} cannot draw with it", name=name, program=program
        )
    is_word = bool(outline.rows)
    form = Form(style) if is_word else choose_form(outline, name, program, summary.base.family)
    misnamed = misnamed_layers(outline)
    unnamed = _misnamed(misnamed) if misnamed else ""
    left_out = joined("; ", filter(None, (form.left_out, unnamed)))
    target = (place.embeddings if is_word else place.styles) / f"{name}{style.suffix}"
    beside = embedding_of(style)
    word = place.embeddings / embedding_path(target).name if beside is not None else None
    with plain_disk_errors(target):
        new = [_put(form.path, target, overwrite, form.converted)]
        if beside is not None and word is not None:
            new.append(_put(beside, word, overwrite))
    other = form.converted or form.path != style
    prompt = _prompt(place, name, tuple(summary.trained_words), is_word)
    return Installed(target, prompt, word, other, left_out, not any(new), origin_of(outline).problem(target.name))


def install_beside(style: Path, name: str, place: Place) -> Installed:
    """Install a style; if another file has its name, perhaps another step of its run, with its steps in the name.

    Raises as `install` does.
    """
    try:
        return install(style, name, place)
    except TakenError:
        if not (steps := read_outline(style).metadata.get(STEPS, "")).isdecimal():
            raise
        return install(style, f"{name} {steps}", place)


def choose_form(outline: Style, name: str, program: str, family: str) -> Form:
    """The form of a style that a program reads completely: its file, its run's plain LoRA, or a conversion.

    Otherwise the style's file, with the part that the program ignores. VelaturaError if the program refuses it.
    """
    reading = _check(outline, program, family)
    twin = outline.path.with_name(f"{outline.path.stem}-diffusers.safetensors")
    if reading is None or reading.whole:
        return Form(outline.path)
    if twin.is_file():
        other = _check(read_outline(twin), program, family)
        if other is not None and other.whole:
            return Form(twin)
    reason = why_not_plain(outline)
    if not reason and not is_plain(outline):
        return Form(outline.path, converted=True)
    if reading.refused:
        raise VelaturaError(
            "{program} does not read “{name}”: {reason}",
            program=program,
            name=name,
            reason=reason or (reading.refusal.why if reading.refusal else reading.lost),
        )
    return Form(outline.path, left_out=reading.lost)


def _check(outline: Style, program: str, family: str) -> Compatibility | None:
    """How a program reads a file; None for untested layer names."""
    shapes = {key: tuple(tensor.shape) for key, tensor in outline.tensors.items()}
    checks = (check for check in check_programs(shapes, family) if check.program.name == program)
    return next((check for check in checks if check.tried), None)


def _misnamed(layers: Sequence[str]) -> Message:
    return plural(
        "{count} layer with a name that no base has: {first}",
        "{count} layers with names that no base has, such as {first}",
        len(layers),
        first=layers[0],
    )


def _put(source: Path, target: Path, overwrite: bool, convert: bool = False) -> bool:
    """Copy or convert a file; False if the same file existed."""
    with tempfile.TemporaryDirectory(prefix="velatura-install-") as temporary:
        made = source
        if convert:
            made = Path(temporary) / target.name
            write_plain(made, read_style(source))
        if (target.exists() or target.is_symlink()) and not overwrite:
            if target.is_file() and filecmp.cmp(made, target, shallow=False):
                return False
            raise TakenError(TAKEN.format(place=target))
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as building:
            shutil.copyfile(made, building)
    return True


def _prompt(place: Place, name: str, words: tuple[str, ...], embedding: bool) -> str:
    if embedding:
        return f"embedding:{name}" if place.kind == "comfyui" else name
    called = [f"<lora:{name}:1>"] if place.kind in ("a1111", "forge") else []
    return " ".join((*called, ", ".join(words))).strip() or name
