"""The findings of `velatura check` about a draft, by picture."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.studio.dataset.drafts import Draft, Drafts, Picture
from app.studio.dataset.edits import without
from trainers.config.sections import Data
from trainers.data.buckets import Bucket
from trainers.data.decode import open_image
from trainers.data.findings import Finding, Kind, Measured, find_faults, measure, sort_by_severity
from trainers.data.likeness import NearDuplicates
from trainers.data.source import Crop, Source
from trainers.errors import VelaturaError

UNKNOWN_BASE = (512, 64)
"""Assumed training size and stride of a base that is not on this computer."""
MadeFor = tuple[int, int, float, float]
MOST_IN_MEMORY, MOST_COMPARED = 8192, 8
"""Pictures with cached measurements, and drafts with cached comparisons, at two kilobytes a picture each."""


@dataclass(frozen=True)
class Note:
    """One finding about one picture."""

    kind: Kind
    words: str


@dataclass(frozen=True)
class Report:
    """The findings about a draft."""

    notes: dict[str, tuple[Note, ...]]
    """By picture."""
    general: tuple[Finding, ...]
    """About all pictures; without findings that everything is right."""
    frames: dict[str, tuple[float, float]]
    """Shares (down, right) that stay of pictures whose bucket crops much, around the middle."""
    spare: tuple[str, ...] = ()
    """Each group of copies without its largest picture, or its largest one with a caption."""

    @property
    def hints(self) -> int:
        """Number of notes."""
        return sum(len(notes) for notes in self.notes.values())


class Checker:
    """Finds faults in drafts and caches measurements, in memory and beside the pictures."""

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts
        self._counters: dict[str, Callable[[str], int] | None] = {}
        self._lock = threading.Lock()
        self._reports = lru_cache(16)(self._report)
        self._in_memory = lru_cache(MOST_IN_MEMORY)(self._measure)
        self._near = lru_cache(MOST_COMPARED)(_compared)
        self._comparing = threading.Lock()

    def warm_up(self) -> None:
        """Import the libraries of the first findings.

        Called before requests are served: concurrent imports of transformers fail.
        """
        self._counter("starter")

    def report(self, draft: Draft) -> Report:
        """The findings about a draft."""
        return self._reports(_Key(draft))

    def without_copies(self, draft: Draft) -> Draft:
        """Remove duplicates and near duplicates, undoably."""
        return without(draft, self.report(draft).spare)

    def _report(self, key: _Key) -> Report:
        draft = key.draft
        settings, made_for = _settings(draft), _made_for(draft)
        known = [self._in_memory(draft.id, picture.id, picture.source_crop, made_for) for picture in draft.pictures]
        names = short_names([picture.name for picture in draft.pictures])
        measured = [
            replace(measures, name=name, caption=picture.caption)
            for measures, name, picture in zip(known, names, draft.pictures, strict=True)
        ]
        identifiers = {name: picture.id for name, picture in zip(names, draft.pictures, strict=True)}
        counter = self._counter(draft.choices.base)
        with self._comparing:
            near = self._near(draft.id)
            findings = sort_by_severity(find_faults(measured, settings, made_for[0], counter, near))
        notes: dict[str, list[Note]] = {identifier: [] for identifier in identifiers.values()}
        general = []
        for finding in findings:
            for name, words in zip(finding.files, finding.notes, strict=bool(finding.notes)):
                notes[identifiers[name]].append(Note(finding.kind, words))
            if not finding.files and finding.level not in ("ok", "error"):
                general.append(finding)
        cut = {name for finding in findings if finding.kind == "elongated" for name in finding.files}
        frames = {identifiers[picture.name]: _stays(picture) for picture in measured if picture.name in cut}
        worth = {
            identifiers[picture.name]: (bool(picture.caption), picture.size[0] * picture.size[1])
            for picture in measured
        }
        copies = [[identifiers[name] for name in finding.files] for finding in findings if finding.kind == "copy"]
        spare = tuple(copy for group in copies for copy in group if copy != max(group, key=worth.__getitem__))
        return Report({key: tuple(value) for key, value in notes.items()}, tuple(general), frames, spare)

    def _measure(self, draft: str, picture: str, crop: Crop | None, made_for: MadeFor) -> Measured:
        """The measurements of a picture, cached beside it, without name and caption."""
        folder = self._drafts.paths.drafts / draft
        kept = _kept_measures(_place(folder, picture), _circumstances(crop, made_for))
        if kept is not None:
            return kept
        return _measured(folder, picture, open_image(folder / "pictures" / f"{picture}.png"), crop, made_for)

    def _counter(self, base: str) -> Callable[[str], int] | None:
        """The token counter of a base; None if it is not on this computer, so that captions are not measured."""
        from trainers.models.load import token_counter

        with self._lock:
            if base not in self._counters:
                try:
                    self._counters[base] = lru_cache(MOST_IN_MEMORY)(token_counter(base)) if is_here(base) else None
                except VelaturaError:
                    self._counters[base] = None
            return self._counters[base]


def short_names(names: Sequence[str]) -> list[str]:
    """Names of pictures in findings: without folders, numbered if ambiguous."""
    short = [name.rpartition("/")[2] for name in names]
    often = Counter(short)
    return [name if often[name] == 1 else f"{name} ({number})" for number, name in enumerate(short, 1)]


def measure_new(drafts: Drafts, draft: Draft, picture: Picture, image: Image.Image) -> None:
    """Measure a newly decoded picture, so that it is not read again."""
    _measured(drafts.paths.drafts / draft.id, picture.id, image, picture.source_crop, _made_for(draft))


def _made_for(draft: Draft) -> MadeFor:
    """The settings that measurements depend on: training size, stride, and the limits of buckets."""
    settings, (resolution, stride) = _settings(draft), training_size_of(draft.choices.base)
    return settings.resolution or resolution, stride, settings.max_aspect, settings.max_upscale


def _measured(folder: Path, picture: str, whole: Image.Image, crop: Crop | None, made_for: MadeFor) -> Measured:
    resolution, stride, max_aspect, max_upscale = made_for
    image = Source(whole, crop).picture()
    measured = measure("", image, Data(max_aspect=max_aspect, max_upscale=max_upscale), resolution, stride)
    place = _place(folder, picture)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    content = {"made_for": _circumstances(crop, made_for), "measured": _to_json(measured)}
    place.write_text(json.dumps(content), encoding="utf-8")  # measured again if truncated
    return measured


def _circumstances(crop: Crop | None, made_for: MadeFor) -> list[float]:
    return [*made_for, *(astuple(crop) if crop is not None else ())]


def _place(folder: Path, picture: str) -> Path:
    return folder / "measures" / f"{picture}.json"


def _compared(draft: str) -> NearDuplicates:
    """The comparison of a draft's pictures, by its id."""
    return NearDuplicates()


class _Key:
    """A draft as a cache key: equal for equal revisions."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.state = (draft.id, draft.public, draft.revision)

    def __hash__(self) -> int:
        return hash(self.state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.state == other.state


def training_size_of(base: str) -> tuple[int, int]:
    """Training size and stride of a base, without a download."""
    from trainers.models.load import training_size

    try:
        return training_size(base) if is_here(base) else UNKNOWN_BASE
    except VelaturaError:
        return UNKNOWN_BASE


def is_here(base: str) -> bool:
    """Whether a base can be looked at without a download."""
    from trainers.models.files.hub import HUB_ID, cached_snapshot, local_path

    is_local = base == "starter" or local_path(base) is not None
    return is_local or (bool(HUB_ID.fullmatch(base)) and cached_snapshot(base) is not None)


def _settings(draft: Draft) -> Data:
    """The draft's data settings; invalid ones have their defaults."""
    chosen = {
        key.removeprefix("data."): value for key, value in draft.choices.settings.items() if key.startswith("data.")
    }
    known = {key: value for key, value in chosen.items() if key in ("resolution", "max_aspect", "max_upscale")}
    if chosen.get("transparency") == "mask":
        known["transparency"] = "mask"
    return Data(trigger=draft.trigger, **known)


def _stays(measured: Measured) -> tuple[float, float]:
    height, width = measured.size
    bucket = measured.bucket
    return min(1.0, bucket.height / (height * bucket.scale)), min(1.0, bucket.width / (width * bucket.scale))


def _to_json(measured: Measured) -> dict[str, Any]:
    return {**asdict(measured), "fingerprint": [round(float(value), 6) for value in measured.fingerprint]}


def _kept_measures(path: Path, made_for: list[Any]) -> Measured | None:
    """Cached measurements; None for other settings, or if unreadable."""
    try:
        kept = json.loads(path.read_bytes())
        return _from_json(kept["measured"]) if kept["made_for"] == made_for else None
    except (FileNotFoundError, LookupError, TypeError, ValueError):
        return None


def _from_json(kept: dict[str, Any]) -> Measured:
    fingerprint = np.array(kept["fingerprint"], np.float32)
    height, width = kept["size"]
    return Measured(**{**kept, "size": (height, width), "bucket": Bucket(**kept["bucket"]), "fingerprint": fingerprint})
