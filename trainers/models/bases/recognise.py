"""Recognises well-known bases and bases distilled for few steps, without loading them.

The evidence is metadata, then marker keys and configs, then the file's name, which is a guess. It never decides how a
base is trained: the family comes from its shapes, the prediction type from its files or a test of its network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from trainers.config.limits import SAMPLERS, Sampler
from trainers.config.presets import STARTER
from trainers.config.tables import lay_over
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.messages import joined
from trainers.models.bases.detect import family_of_file, family_of_folder
from trainers.models.bases.named import NamedBase, Recommendation, list_named_bases
from trainers.models.families import FAMILIES, find_family, known_licence
from trainers.models.families.family import Variant
from trainers.models.files.folder import read_json
from trainers.models.files.header import Header, read_header
from trainers.models.files.hub import HUB_ID, cached_snapshot, local_path
from trainers.models.prediction import Prediction

FoundBy = Literal["metadata", "keys", "name"]
TITLES = ("modelspec.title", "modelspec.merged_from", "ss_output_name", "ss_sd_model_name", "sd_merge_models")
"""Metadata keys that name a checkpoint or those merged into it."""
SCHEDULER = "scheduler/scheduler_config.json"
GUIDANCE_KEY = "model.diffusion_model.time_embed.cond_proj.weight"
"""Tensor of networks that read the guidance scale as an input."""
DISTILLED: Mapping[str, re.Pattern[str]] = {
    "Lightning": re.compile(r"lightning", re.IGNORECASE),
    "Turbo": re.compile(r"turbo", re.IGNORECASE),
    "Hyper-SD": re.compile(r"hyper[-_ ]?(sd|xl|\d)|[-_ ]hyper\b", re.IGNORECASE),
    "LCM": re.compile(r"(?<![a-z])lcm(?![a-z])", re.IGNORECASE),
    "DMD2": re.compile(r"(?<![a-z])dmd2?(?![a-z])", re.IGNORECASE),
    "Schnell": re.compile(r"schnell", re.IGNORECASE),
    "Flash": re.compile(r"(?<![a-z])flash(?![a-z])", re.IGNORECASE),
}
"""Patterns for names of distilled bases, by method of distillation."""
VELOCITY = re.compile(r"v[-_ ]?pred", re.IGNORECASE)
BY: Mapping[FoundBy, str] = {
    "metadata": _("by its metadata"),
    "keys": _("by its contents"),
    "name": _("by its file's name"),
}


@dataclass(frozen=True)
class Recognised:
    """The family, names and properties of a base, known without loading it."""

    family: str = ""
    """Name of its family; empty if unknown."""
    prediction: Prediction | None = None
    """The prediction type that its files state, if any."""
    named: NamedBase | None = None
    named_by: FoundBy | None = None
    distilled: str = ""
    """Method of its distillation; empty if none is known."""
    distilled_by: FoundBy | None = None
    is_called_velocity: bool = False
    """Whether its titles or name mention v-prediction, whatever its files state."""
    variant: Variant | None = None
    """None without a family."""


@dataclass(frozen=True)
class _Evidence:
    """The titles, name and properties by which a base is recognised."""

    family: str
    titles: tuple[str, ...]
    name: str
    prediction: Prediction | None
    guidance_is_an_input: bool
    scheduler: Mapping[str, Any]
    variant: Variant | None


def recognise_base(model: str) -> Recognised:
    """Recognise the base `model`: by its files if it is on this machine, else by its name.

    Downloads and loads nothing. Empty for the starter, and if it is not a base.
    """
    if model == STARTER:
        return Recognised()
    try:
        if (path := local_path(model)) is not None:
            return recognise(path)
        if not HUB_ID.fullmatch(model):
            return Recognised()
        snapshot = cached_snapshot(model)
        return recognise(snapshot, model) if snapshot else recognise_name(model, _family_by_name(model))
    except (VelaturaError, OSError, ValueError):
        return Recognised()


def _family_by_name(model: str) -> str:
    """The family of a hub model by its id; empty if unknown."""
    owned = (family.name for family in FAMILIES if any(part in model.lower() for part in family.hub_names))
    return next(owned, "")


def recognise(path: Path, name: str = "") -> Recognised:
    """Recognise a file or a folder in diffusers layout, by `name` instead of its own; VelaturaError if not a base."""
    return _recognise(_of_folder(path, name) if path.is_dir() else _of_file(path, read_header(path), name))


def recognise_name(name: str, family: str) -> Recognised:
    """Recognise a base of a family by its name alone, such as that in a style's file."""
    known = find_family(family)
    variant = None if known is None else known.variant_called(name)
    return _recognise(_Evidence(family, (), name, None, False, {}, variant))


def settings_of_base(base: str) -> Mapping[str, Any]:
    """The settings of the base `base`: its family's, overridden by its own."""
    known = _recognised(base, _stamp(base))
    family = find_family(known.family)
    tables = [] if family is None else [family.settings]
    tables += [known.variant.few_steps] if known.variant is not None and known.distilled else []
    return lay_over(*tables, *([known.named.settings] if known.named is not None else []))


def recommendation_of(base: str) -> Recommendation | None:
    """The published settings of a training on the base `base`, or else on its family; None if none is known."""
    known = _recognised(base, _stamp(base))
    if known.named is not None:
        return known.named.recommended
    whole = (each.recommended for each in list_named_bases() if not each.patterns and each.family == known.family)
    return next(whole, None)


def samplers_of(base: str) -> tuple[Sampler, ...]:
    """The samplers that suit the base `base`; all if it is unknown."""
    family = find_family(_recognised(base, _stamp(base)).family)
    return SAMPLERS if family is None else family.samplers


def _stamp(base: str) -> int:
    """Time of the last change of the base's file or folder; 0 if it is not on this machine."""
    try:
        return Path(base).expanduser().stat().st_mtime_ns
    except (OSError, RuntimeError, ValueError):
        return 0


@lru_cache(256)
def _recognised(base: str, stamp: int) -> Recognised:
    """`recognise_base`, cached until the file's `stamp` changes."""
    return recognise_base(base)


def warning_of(known: Recognised) -> str:
    """A warning against training on a distilled base; empty for others."""
    if not known.distilled or known.distilled_by is None:
        return ""
    return _(
        "This base looks distilled for few steps ({way}, {by}), and training undoes that: its pictures turn blurred or "
        "washed out. Train on the base that it was made from, and try the style on this one.",
        way=known.distilled,
        by=BY[known.distilled_by],
    )


def licence_of(known: Recognised, model: str = "") -> str:
    """A sentence on the licence of a base and of styles made on it, from its files or its hub id; empty if unknown."""
    licence = (known.variant.licence if known.variant else None) or known_licence(known.family, model)
    if licence is None:
        return ""
    return _(
        "Licence of this base and of styles made on it: {licence} ({terms}). {page}",
        licence=licence.name,
        terms=licence.terms,
        page=licence.page,
    )


def describe(known: Recognised) -> str:
    """The base's name and distillation, each with its evidence; empty if neither is known."""
    named, way = known.named, known.distilled
    parts = [_("{name}, {by}", name=named.title, by=BY[known.named_by])] if named and known.named_by else []
    if not parts and known.variant is not None and known.variant.title:
        by: FoundBy = "name" if known.prediction is None else "keys"  # a name alone has no prediction type
        parts = [_("{name}, {by}", name=known.variant.title, by=BY[by])]
    parts += [_("distilled: {way}, {by}", way=way, by=BY[known.distilled_by])] if way and known.distilled_by else []
    return joined("; ", parts)


# ---------------------------------------------------------------- within
def _of_file(path: Path, header: Header, name: str) -> _Evidence:
    titles = tuple(header.metadata[key] for key in TITLES if header.metadata.get(key))
    family = family_of_file(header, path.name)
    prediction, by_guidance = family.prediction_of_file(header), GUIDANCE_KEY in header.shapes
    variant = family.variant_of_file(header)
    return _Evidence(family.name, titles, name or path.stem, prediction, by_guidance, {}, variant)


def _of_folder(folder: Path, name: str) -> _Evidence:
    family = family_of_folder(folder)
    config, scheduler = (_read(folder / part) for part in (f"{family.denoiser}/config.json", SCHEDULER))
    index = _read(folder / "model_index.json")
    titles = tuple(str(table["_name_or_path"]) for table in (index, config) if table.get("_name_or_path"))
    try:
        prediction = family.prediction_of_scheduler(scheduler)
    except VelaturaError:  # loading the base raises it
        prediction = None
    by_guidance = config.get("time_cond_proj_dim") is not None
    variant = family.variant(prediction or family.variants[0].prediction, config)
    return _Evidence(family.name, titles, name or folder.name, prediction, by_guidance, scheduler, variant)


def _read(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _recognise(seen: _Evidence) -> Recognised:
    named, named_by = next(_names(seen), (None, None))
    way, by = next(_distillations(seen), ("", None))
    velocity = _is_called_velocity(seen)
    return Recognised(seen.family, seen.prediction, named, named_by, way, by, velocity, seen.variant)


def _names(seen: _Evidence) -> Iterator[tuple[NamedBase, FoundBy]]:
    """Named bases that match, the likeliest first."""
    for by, texts in _texts(seen):
        for named in list_named_bases():
            fits = seen.family in ("", named.family) and any(map(named.is_called, texts))
            if fits and (named.prediction is None or named.prediction == _prediction(seen)):
                yield named, by


def _prediction(seen: _Evidence) -> Prediction:
    """The prediction type that its files state, or else its titles and name."""
    if seen.prediction is not None:
        return seen.prediction
    return "v_prediction" if _is_called_velocity(seen) else "epsilon"


def _is_called_velocity(seen: _Evidence) -> bool:
    return any(VELOCITY.search(text) for text in (*seen.titles, seen.name))


def _distillations(seen: _Evidence) -> Iterator[tuple[str, FoundBy]]:
    metadata, name = _texts(seen)
    yield from _ways(metadata)
    if seen.guidance_is_an_input or seen.scheduler.get("_class_name") == "LCMScheduler":
        yield "LCM", "keys"
    yield from _ways(name)


def _ways(evidence: tuple[FoundBy, tuple[str, ...]]) -> Iterator[tuple[str, FoundBy]]:
    by, texts = evidence
    yield from ((way, by) for way, pattern in DISTILLED.items() if any(map(pattern.search, texts)))


def _texts(seen: _Evidence) -> tuple[tuple[FoundBy, tuple[str, ...]], tuple[FoundBy, tuple[str, ...]]]:
    return ("metadata", seen.titles), ("name", (seen.name,))
