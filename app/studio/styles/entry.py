"""Style entries, from the run of trained styles and the header of imported files."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs.view import View
from app.studio.downloads.downloads import OFFERS
from app.studio.names import plain, safe_name
from app.studio.runs.chosen import is_snapshot
from app.studio.runs.notes import NO_NOTES, Notes
from app.studio.settings.differences import setting
from trainers.config.presets import STARTER
from trainers.config.techniques import TEXTUAL_INVERSION
from trainers.errors import VelaturaError
from trainers.formats.codecs import needs_base
from trainers.formats.inspect import HeaderSummary, summarise_header
from trainers.formats.own_form import read_form
from trainers.formats.programs.check import check_programs
from trainers.formats.read import Style, read_outline, read_style
from trainers.formats.write.convert import is_plain, why_not_plain
from trainers.messages import Message
from trainers.models.files.hub import local_path
from trainers.runs.run import Run

SAMPLED = 2**16
"""Bytes read at each of several places of a file to identify it."""
LONGEST_NOTE, MOST_TAGS = 400, 5
NO_NAME = "style"
"""Name of styles with an unusable file name."""
NOTE_KEYS = (
    "modelspec.title",
    "modelspec.author",
    "modelspec.license",
    "modelspec.description",
    "modelspec.usage_hint",
    "ss_sd_model_name",
)
"""Metadata keys shown for imported files, in order."""
READ_AS = "read_as"
"""The key of a note on how an imported file is read."""


@dataclass(frozen=True)
class StyleEntry:
    """A style of the library."""

    id: str
    """Stable, opaque, URL-safe id."""
    name: str
    path: Path
    """The file for ComfyUI, A1111, Forge and InvokeAI."""
    words: tuple[str, ...]
    """Trigger words; for imported styles from the file, untrusted."""
    method: str
    """Method as in `velatura inspect`: `lora`, `loha`, `lokr`, `full`, several joined by +."""
    base: str
    """Display name of the base; empty if unknown."""
    base_model: str
    """Value for `velatura generate --base`; empty if unknown."""
    family: str
    """Family, such as `sdxl`, or a kind of base that is not trained; empty if unknown."""
    starter: bool
    """Whether it fits only the starter."""
    size: int
    made: float
    """Creation or import time, in Unix seconds."""
    run: str
    """Name of its run; empty for imported styles."""
    twins: tuple[str, ...] = ()
    """Other possible families."""
    owner: str = ""
    """Login of its owner; empty for the machine's owner."""
    notes: tuple[tuple[str, str], ...] = ()
    """Other metadata of an imported style, and a note on how it is read (`read_as`)."""
    plain: bool = False
    """Whether diffusers loads the file directly."""
    not_plain: str = ""
    """Why an imported style cannot be exported for diffusers (end of a sentence); empty if it can."""
    only_here: bool = False
    """Whether only Velatura loads it."""
    programs: tuple[str, ...] | None = None
    """Programs with a LoRA folder that read the whole file; None for untested layer names."""
    partly: tuple[str, ...] = ()
    """Programs that read only part of it."""
    step: int | None = None
    """The step of its run that it is of; None if unknown."""
    kept: bool = False
    """Whether it is a kept step of its run, not the exported style."""
    about: Notes = NO_NOTES
    """The note and the tags of its run."""

    @property
    def stem(self) -> str:
        """Name of its downloaded file: several steps of a run go into one folder; prompts call embeddings by it."""
        return f"{self.name} {self.step}" if self.kept and self.method != TEXTUAL_INVERSION else self.name


def read_entry(path: Path, view: View | None, mode: int) -> StyleEntry | Message:
    """The style of a file with this `st_mode`, or why it is unreadable."""
    if not stat.S_ISREG(mode):  # opening a pipe would wait for a writer
        return Message("{name} is not a file", name=_quoted(path))
    try:
        return read_found(path) if view is None else read_trained(path, view)
    except VelaturaError as error:

        def clean(text: str) -> str:
            text = text.replace(f"{path.parent}{os.sep}", "")
            return _quoted(path) if text == path.name else plain(text)

        return error.message.changed(clean)


def unreadable(path: Path, error: OSError) -> Message:
    """The sentence about a file that cannot be opened."""
    return Message("cannot read {path}: {strerror}", path=_quoted(path), strerror=error.strerror)


def _quoted(path: Path) -> str:
    return f"“{plain(path.name)}”"


def read_trained(path: Path, view: View) -> StyleEntry:
    """The style of a run; VelaturaError if its file is not a style."""
    outline, table = read_outline(path), Run(view.job.folder).table()
    header = summarise_header(outline)
    base = str(setting(table, "base", "model") or "")
    starter = bool(header.base.fits_only)
    trigger = header.metadata.get("velatura.trigger", "")
    return _item(
        path,
        header,
        outline,
        id=_hash(f"run|{view.job.name}".encode()),
        name=safe_name(view.job.name) or NO_NAME,
        words=(plain(trigger),) if trigger else (),
        base=STARTER if starter else _title(base, dict(view.summary.facts).get("base")),
        base_model=STARTER if starter else _whole_path(base),
        run=view.job.name,
        owner=view.job.owner,
        plain=is_plain(outline),
        not_plain=why_not_plain(outline) if header.only_here or is_snapshot(view.job.folder, path) else "",
    )


def read_found(path: Path) -> StyleEntry:
    """An imported style; VelaturaError if the file is not a style. Its metadata is untrusted."""
    outline = read_outline(path)
    header = summarise_header(outline)
    starter = bool(header.base.fits_only)
    # Other programs' styles often have their trigger word only among the tags of captions.
    called = header.trained_words or (() if "velatura.config" in header.metadata else header.captions[:MOST_TAGS])
    notes = [(key, plain(header.metadata.get(key, ""), LONGEST_NOTE)) for key in NOTE_KEYS]
    notes += [(READ_AS, _plain_names(note)) for note in outline.notes]
    return _item(
        path,
        header,
        outline,
        id=_fingerprint(path),
        name=safe_name(path.stem) or NO_NAME,
        words=tuple(filter(None, (plain(word) for word in called))),
        base=STARTER if starter else header.base.title,
        base_model=STARTER if starter else "",
        run="",
        notes=tuple((key, value) for key, value in notes if value),
        plain=is_plain(outline),
        not_plain=_plain_names(why_not_plain(outline)),
    )


def check_numbers(path: Path) -> None:
    """Raise VelaturaError if a file is not a style, or has non-finite numbers or invalid layers."""
    read_outline(path)  # checks the kind of file before reading numbers
    style = read_style(path)
    if style.is_own:
        read_form(style)
    for stem, tensors in style.layers.items():
        if not needs_base(tensors):
            style.update(stem)


def _plain_names(message: str) -> str:
    """A message with untrusted names made `plain`."""
    return Message.of(message).changed(lambda text: plain(text))


def _readers(outline: Style, family: str) -> dict[str, Any]:
    """Programs that read a file, by the rules of `how-to-load.txt`; empty for untested names."""
    shapes = {key: tuple(tensor.shape) for key, tensor in outline.tensors.items()}
    checks = () if outline.is_own or outline.rows else check_programs(shapes, family)
    if not any(check.tried for check in checks):
        return {}
    programs = sorted((check.program.name for check in checks if check.whole), key=lambda name: name != "ComfyUI")
    return {"programs": tuple(programs), "partly": tuple(check.program.name for check in checks if check.partly)}


def _item(path: Path, header: HeaderSummary, outline: Style, **facts: Any) -> StyleEntry:
    seen = path.stat()
    facts |= _readers(outline, header.base.family)
    facts |= {"method": header.trained_as or header.method, "family": header.base.family}
    facts |= {"twins": header.base.twins}
    facts |= {"starter": bool(header.base.fits_only), "only_here": header.only_here}
    return StyleEntry(path=path, size=seen.st_size, made=seen.st_mtime, **facts)


def _title(base: str, recorded: object) -> str:
    """A base's display name without the publisher, from the download list or the run."""
    offered = next((offer.title for offer in OFFERS if offer.model == base), "")
    return offered or plain(Path(str(recorded or base)).name.removesuffix(".safetensors"))


def _whole_path(base: str) -> str:
    """A base's name with existing paths made absolute."""
    path = local_path(base) if base else None
    return base if path is None else str(path.absolute())


def _fingerprint(path: Path) -> str:
    """A file's id, from its size and parts of its content."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=8)
    with path.open("rb") as file:
        for place in sorted({0, size // 3, 2 * size // 3, max(0, size - SAMPLED)}):
            file.seek(place)
            digest.update(file.read(SAMPLED))
    return digest.hexdigest()


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
