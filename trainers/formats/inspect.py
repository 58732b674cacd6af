"""Summaries of style files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from trainers.adapters.methods import METHODS
from trainers.formats.codecs import dora
from trainers.formats.layout import method_of
from trainers.formats.names import part_of, unknown_names
from trainers.formats.origin import STARTER, origin_of
from trainers.formats.own_form import read_form
from trainers.formats.peft_settings import FACTS
from trainers.formats.programs.check import check_programs
from trainers.formats.programs.table import DIFFUSERS, PROGRAMS
from trainers.formats.read import Style, read_style
from trainers.formats.training_metadata import captions_of, settings_of, trained_as
from trainers.layer_names import dotted, sort_layers
from trainers.messages import Message
from trainers.messages import Message as _

DIAGONAL = ("scale", "bias")
"""Formulas without a format of their own: stored as an identity rotation or a zero change."""

FACTORS = ("lora_up", "lora_down", "lora_mid", "hada_", "lokr_")
"""Prefixes of a product's factors; if one factor is zero, so is the change."""
LARGEST = 1e4
"""A limit far above every number of a trained style."""
RANK_ZERO = _("Layers of rank 0: {count}, such as {first}.")
DEAD = _("Layers that change nothing, since one of their factors is all zeros: {count}, such as {first}.")
MISNAMED = _("Layers with names that no base of {title} has, so programs leave them out: {count}, such as {first}.")
ABSURD = _("Layers with absurd numbers, which ruin every picture: {count}, such as {first}.")


class Frozen(BaseModel):
    """Base of the immutable summaries."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class BaseSummary(Frozen):
    """The base model of a style; empty if unknown."""

    name: str
    family: str
    """The name of its family, or of a kind of base that Velatura does not train."""
    twins: tuple[str, ...]
    """Other possible families, which the file does not distinguish."""
    title: str
    """The display name of its family, or of all possible families."""
    sha256: str
    fits_only: str
    """The only base it fits, if it fits no other base of the family."""


class RankSummary(Frozen):
    """Ranks over the layers that have one."""

    smallest: int
    largest: int
    most_common: int


class TensorSummary(Frozen):
    """One tensor."""

    key: str
    dtype: str
    shape: tuple[int, ...]


class ProgramSummary(Frozen):
    """How far one program loads a style file."""

    program: str
    loads: Literal["all", "part", "nothing", "unknown"]
    """`unknown` if files with such layer names were never tried in it."""
    sentence: str


class StyleSummary(Frozen):
    """A summary of a style file; `model_dump_json()` serialises it."""

    name: str
    """The file's name."""
    size: int
    """Bytes."""
    method: str
    """`lora`, `loha`, `lokr` or `full`, joined by + if several; `dora` is added for magnitudes.

    The method's name for files in Velatura's own format; `textual-inversion` for an embedding.
    """
    trained_as: str
    """The training method, such as `adalora`, whose files hold `lora`; empty if unknown."""
    only_here: bool
    """Whether only Velatura loads it."""
    base: BaseSummary
    rank: RankSummary | None
    ranks: Mapping[str, int]
    """Rank by dotted layer name, for layers that have one; files may omit layers without a change."""
    alphas: tuple[float, ...]
    """The distinct stored alphas."""
    programs: tuple[ProgramSummary, ...]
    """How far programs load it; empty for embeddings, for styles of the starter or of an unknown base, and for names of
    layers that no base has."""
    trained_words: tuple[str, ...]
    """The trigger, or the words of an embedding."""
    captions: tuple[str, ...]
    """Training captions, or their tags, most frequent first; they are not triggers."""
    vectors: int
    """Tokens of an embedding's word in a prompt; 0 for a style of layers."""
    modules: Mapping[str, int]
    """Changed layers by part of the model."""
    parameters: int
    """Number of parameters in all factors, or in an embedding's rows; alphas are not counted."""
    tensors: tuple[TensorSummary, ...]
    unknown_keys: tuple[str, ...]
    notes: tuple[str, ...]
    """Remarks on how the file is read, one sentence each."""
    metadata: Mapping[str, str]


class HeaderSummary(Frozen):
    """A summary of a style file from its header alone."""

    method: str
    trained_as: str
    """Both as in `StyleSummary`."""
    only_here: bool
    base: BaseSummary
    trained_words: tuple[str, ...]
    captions: tuple[str, ...]
    metadata: Mapping[str, str]


def summarise_header(style: Style) -> HeaderSummary:
    """Summarise a style by its file's header; an outline (`read_outline`) is enough."""
    return HeaderSummary(
        method=_method(style),
        trained_as=trained_as(style),
        only_here=style.is_own,
        base=_base(style),
        trained_words=_trained_words(style),
        captions=captions_of(style),
        metadata=dict(style.metadata),
    )


def describe_style(path: Path | str) -> StyleSummary:
    """Read a style file and summarise it: method, base, ranks, alphas, trained words, layers, size.

    Args:
        path: A `.safetensors` file of any tool.

    Returns:
        A pydantic model; `model_dump(mode="json")` gives it as plain data.

    Raises:
        VelaturaError: The file is not a style; the message names its kind.
    """
    path = Path(path)
    style = read_style(path)
    misnamed = misnamed_layers(style)
    layers: Collection[Mapping[str, Tensor]] = style.layers.values()
    modules = Counter(part_of(stem) or "other" for stem in style.layers)
    if style.is_own:
        layers = [style.tensors]
        for group in read_form(style).groups:
            modules[group.part] += len(group.sites)
    ranks = Counter(rank for rank in map(_rank, layers) if rank is not None)
    return StyleSummary(
        name=path.name,
        size=path.stat().st_size,
        method=_method(style),
        trained_as=trained_as(style),
        only_here=style.is_own,
        base=_base(style),
        rank=_rank_summary(ranks),
        ranks=_ranks(style),
        alphas=tuple(sorted({t["alpha"].item() for t in layers if "alpha" in t and t["alpha"].numel() == 1})),
        programs=() if misnamed else _programs(style),
        trained_words=_trained_words(style),
        captions=captions_of(style),
        vectors=max((len(rows) for rows in style.rows.values()), default=0),
        modules=dict(sorted(modules.items())),
        parameters=sum(t.numel() for layer in layers for name, t in layer.items() if _counts(name, t))
        + sum(rows.numel() for rows in style.rows.values()),
        tensors=tuple(
            TensorSummary(key=key, dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape))
            for key, tensor in sorted(style.tensors.items())
        ),
        unknown_keys=style.unknown_keys,
        notes=tuple(filter(None, (*style.notes, origin_of(style).problem(style.name), *_remarks(style, misnamed)))),
        metadata=dict(style.metadata),
    )


def misnamed_layers(style: Style) -> list[str]:
    """The denoiser's layers with names that no base of the possible families has; an outline is enough."""
    origin = origin_of(style)
    unknown = [] if style.is_own or style.rows or origin.starter or not origin.family else list(style.layers)
    for family in filter(None, (origin.family, *origin.twins)):
        unknown = unknown and unknown_names(unknown, {}, family.name)
    return unknown


def _remarks(style: Style, misnamed: Sequence[str]) -> list[Message]:
    """Remarks on faulty layers: unknown names, rank 0, no change, or absurd numbers."""
    empty, dead, absurd = [], [], []
    for stem, layer in style.layers.items():
        tensors = {name: tensor for name, tensor in layer.items() if name not in ("alpha", *FACTS)}
        if not all(tensor.numel() for tensor in tensors.values()):
            empty.append(stem)
        elif _is_dead(tensors) and not _completes(stem):
            dead.append(stem)
        if any(map(_is_absurd, tensors.values())):
            absurd.append(stem)
    title = origin_of(style).title
    sentences = ((RANK_ZERO, empty), (DEAD, dead), (ABSURD, absurd))
    remarks = [sentence.format(count=len(stems), first=dotted(stems[0])) for sentence, stems in sentences if stems]
    return (
        [MISNAMED.format(title=title, count=len(misnamed), first=dotted(misnamed[0])), *remarks]
        if misnamed
        else remarks
    )


def _is_dead(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a layer is only a product, one of whose factors is zero."""
    return all(name.startswith(FACTORS) for name in tensors) and not all(t.any() for t in tensors.values())


def _completes(stem: str) -> bool:
    """Whether a layer is an attention projection of a text encoder, which files hold even if untrained."""
    return (part_of(stem) or "").startswith("text_encoder") and "self_attn" in stem


def _is_absurd(tensor: Tensor) -> bool:
    return bool(tensor.numel()) and not tensor.float().abs().max() <= LARGEST


def _counts(name: str, tensor: Tensor) -> bool:
    """Whether a tensor counts as parameters: an identity rotation only accompanies a scale."""
    return name not in ("alpha", "on_input", *FACTS) and (name != "oft_blocks" or bool(tensor.any()))


def _base(style: Style) -> BaseSummary:
    origin = origin_of(style)
    return BaseSummary(
        name=origin.name,
        family=origin.other.name if origin.other else origin.family.name if origin.family else "",
        twins=tuple(family.name for family in origin.twins),
        title=origin.title if origin.family or origin.other else "",
        sha256=origin.sha256,
        fits_only=STARTER if origin.starter else "",
    )


def _programs(style: Style) -> tuple[ProgramSummary, ...]:
    origin = origin_of(style)
    if style.is_own or style.rows or origin.starter or origin.family is None:
        return ()
    shapes = {key: tuple(tensor.shape) for key, tensor in style.tensors.items()}
    checks = check_programs(shapes, origin.family.name, (*PROGRAMS, DIFFUSERS))
    return tuple(ProgramSummary(program=c.program.name, loads=c.loads, sentence=c.summary) for c in checks)


def _rank_summary(ranks: Counter[int]) -> RankSummary | None:
    if not ranks:
        return None
    return RankSummary(smallest=min(ranks), largest=max(ranks), most_common=ranks.most_common(1)[0][0])


def _method(style: Style) -> str:
    if style.is_own:
        return "+".join(sorted(read_form(style).methods))
    if style.rows:
        return "textual-inversion"
    # Layers without effect may be plain LoRA in a file of any method; they do not count.
    changed = (layer for layer in style.layers.values() if not _is_nothing(layer))
    methods = {method_of(layer) for layer in changed} or {method_of(layer) for layer in style.layers.values()}
    decomposed = any({*dora.MAGNITUDES} & set(layer) for layer in style.layers.values())
    form = "+".join(sorted(method for method in methods if method) + ["dora"] * decomposed)
    return (methods <= {"oft", "full"} and _named(style)) or form


def _named(style: Style) -> str:
    """The method in our own file's metadata, if the format is named after another method."""
    try:
        name = str(settings_of(style)["method"]["name"])
        return name if METHODS[name].about.formula in DIAGONAL else ""
    except (KeyError, TypeError):
        return ""  # metadata is untrusted


def _is_nothing(layer: Mapping[str, Tensor]) -> bool:
    up = layer.get("lora_up.weight")
    if up is not None and up.is_meta:  # an outline: layers written without effect have rank 1
        return up.shape[1:2] == (1,)
    return up is not None and not up.any()


def _rank(layer: Mapping[str, Tensor]) -> int | None:
    for suffix in ("lora_down.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
        if suffix in layer and layer[suffix].dim() and not _is_nothing(layer):
            return len(layer[suffix])
    return None


def _ranks(style: Style) -> dict[str, int]:
    ranks = {dotted(stem): rank for stem, layer in style.layers.items() if (rank := _rank(layer)) is not None}
    return {layer: ranks[layer] for layer in sort_layers(ranks)}


def _trained_words(style: Style) -> tuple[str, ...]:
    if style.words:
        return style.words
    written = style.metadata.get("velatura.trigger") or style.metadata.get("modelspec.trigger_phrase", "")
    return (written,) if written else ()
