"""Recognises a base that people know by name, and one that was distilled for few steps, without loading it.

Looks at metadata, then at marker keys and configs, then at the file's name, and says which of them it was: names are
guesses. Never decides how a base is trained: the family comes from its shapes, the prediction type from its files or
from a test of its network.
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
from trainers.models.bases.named import NamedBase, list_named_bases
from trainers.models.families import FAMILIES, find_family
from trainers.models.families.family import Variant
from trainers.models.files.folder import read_json
from trainers.models.files.header import Header, read_header
from trainers.models.files.hub import HUB_ID, cached_snapshot, local_path
from trainers.models.prediction import Prediction

FoundBy = Literal["metadata", "keys", "name"]
TITLES = ("modelspec.title", "modelspec.merged_from", "ss_output_name", "ss_sd_model_name", "sd_merge_models")
"""Metadata in which a checkpoint, or what it was merged from, is named."""
SCHEDULER = "scheduler/scheduler_config.json"
GUIDANCE_KEY = "model.diffusion_model.time_embed.cond_proj.weight"
"""In a single file: the guidance scale is an input, so that no second pass is needed."""
DISTILLED: Mapping[str, re.Pattern[str]] = {
    "Lightning": re.compile(r"lightning", re.IGNORECASE),
    "Turbo": re.compile(r"turbo", re.IGNORECASE),
    "Hyper-SD": re.compile(r"hyper[-_ ]?(sd|xl|\d)|[-_ ]hyper\b", re.IGNORECASE),
    "LCM": re.compile(r"(?<![a-z])lcm(?![a-z])", re.IGNORECASE),
    "DMD2": re.compile(r"(?<![a-z])dmd2?(?![a-z])", re.IGNORECASE),
    "Schnell": re.compile(r"schnell", re.IGNORECASE),
    "Flash": re.compile(r"(?<![a-z])flash(?![a-z])", re.IGNORECASE),
}
"""Ways of distillation, by what files are called."""
VELOCITY = re.compile(r"v[-_ ]?pred", re.IGNORECASE)
BY: Mapping[FoundBy, str] = {
    "metadata": _("by its metadata"),
    "keys": _("by its contents"),
    "name": _("by its file's name"),
}


@dataclass(frozen=True)
class Recognised:
    """What is known of a base without loading it."""

    family: str = ""
    """The name of its family; empty for one that is known by name alone."""
    prediction: Prediction | None = None
    """The prediction type that its files say; None if they say none."""
    named: NamedBase | None = None
    named_by: FoundBy | None = None
    distilled: str = ""
    """The way in which it was distilled; empty if it was not, as far as can be seen."""
    distilled_by: FoundBy | None = None
    is_called_velocity: bool = False
    """Whether its names say that it predicts v, whatever its files say."""
    variant: Variant | None = None
    """The variant of its family; None without a family."""


@dataclass(frozen=True)
class _Evidence:
    """What a base says of itself."""

    family: str
    titles: tuple[str, ...]
    name: str
    prediction: Prediction | None
    guidance_is_an_input: bool
    scheduler: Mapping[str, Any]
    variant: Variant | None


def recognise_base(model: str) -> Recognised:
    """What the base that `base.model` names is, if it is on this machine; else what its name says.

    Nothing is downloaded or loaded. Empty for the starter, and for what is no base.
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
    """The family of a hub model that is not on this machine, as far as its id tells; empty if it does not."""
    owned = (family.name for family in FAMILIES if any(part in model.lower() for part in family.hub_names))
    return next(owned, "")


def recognise(path: Path, name: str = "") -> Recognised:
    """What a file or a folder in diffusers layout is; `name` in place of its own. VelaturaError if it is no base."""
    return _recognise(_of_folder(path, name) if path.is_dir() else _of_file(path, read_header(path), name))


def recognise_name(name: str, family: str) -> Recognised:
    """What a base of a family is that is known by its name alone, as a style's file says it."""
    found = find_family(family)
    variant = None if found is None else found.variant_called(name)
    return _recognise(_Evidence(family, (), name, None, False, {}, variant))


def settings_of_base(base: str) -> Mapping[str, Any]:
    """The settings that belong to the base that `base.model` names: its family's, and over them its own."""
    known = _recognised(base, _stamp(base))
    family = find_family(known.family)
    own = [] if family is None else [family.settings]
    own += [known.variant.few_steps] if known.variant is not None and known.distilled else []
    return lay_over(*own, *([known.named.settings] if known.named is not None else []))


def samplers_of(base: str) -> tuple[Sampler, ...]:
    """The samplers that suit the base that `base.model` names; all if it is not known."""
    family = find_family(_recognised(base, _stamp(base)).family)
    return SAMPLERS if family is None else family.samplers


def _stamp(base: str) -> int:
    """When the base's file or folder was changed; 0 if it is not on this machine."""
    try:
        return Path(base).expanduser().stat().st_mtime_ns
    except (OSError, RuntimeError, ValueError):
        return 0


@lru_cache(256)
def _recognised(base: str, stamp: int) -> Recognised:
    """What a base is, looked up once for each `stamp` of its file."""
    return recognise_base(base)


def warning_of(found: Recognised) -> str:
    """Why a base is not one to train on, and what to do instead; empty if nothing speaks against it."""
    if not found.distilled or found.distilled_by is None:
        return ""
    return _(
        "This base looks distilled for few steps ({way}, {by}), and training undoes that: its pictures turn blurred or "
        "washed out. Train on the base that it was made from, and try the style on this one.",
        way=found.distilled,
        by=BY[found.distilled_by],
    )


def licence_of(found: Recognised) -> str:
    """What the licence of a base allows, for it and for styles made on it; empty where bases have many."""
    licence = None if found.variant is None else found.variant.licence
    if licence is None:
        return ""
    return _(
        "Licence of this base and of styles made on it: {licence} ({terms}). {page}",
        licence=licence.name,
        terms=licence.terms,
        page=licence.page,
    )


def describe(found: Recognised) -> str:
    """What it is called and how it was distilled, each with how that was found; empty if neither is known."""
    named, way = found.named, found.distilled
    parts = [_("{name}, {by}", name=named.title, by=BY[found.named_by])] if named and found.named_by else []
    if not parts and found.variant is not None and found.variant.title:
        by: FoundBy = "name" if found.prediction is None else "keys"  # of a name alone, nothing else is known
        parts = [_("{name}, {by}", name=found.variant.title, by=BY[by])]
    parts += [_("distilled: {way}, {by}", way=way, by=BY[found.distilled_by])] if way and found.distilled_by else []
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
    titles = tuple(str(each["_name_or_path"]) for each in (index, config) if each.get("_name_or_path"))
    try:
        prediction = family.prediction_of_scheduler(scheduler)
    except VelaturaError:  # said when it is loaded
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
    """Named bases that it may be, the likeliest first."""
    for by, texts in _texts(seen):
        for named in list_named_bases():
            fits = seen.family in ("", named.family) and any(map(named.is_called, texts))
            if fits and (named.prediction is None or named.prediction == _prediction(seen)):
                yield named, by


def _prediction(seen: _Evidence) -> Prediction:
    """The prediction type that it says, or that its names say."""
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


def _ways(found: tuple[FoundBy, tuple[str, ...]]) -> Iterator[tuple[str, FoundBy]]:
    by, texts = found
    yield from ((way, by) for way, pattern in DISTILLED.items() if any(map(pattern.search, texts)))


def _texts(seen: _Evidence) -> tuple[tuple[FoundBy, tuple[str, ...]], tuple[FoundBy, tuple[str, ...]]]:
    return ("metadata", seen.titles), ("name", (seen.name,))
