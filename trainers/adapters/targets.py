"""The layers or blocks that a run changes: presets, patterns, and overrides by block."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator
from torch import nn

from trainers.adapters.block import BlockMethod
from trainers.adapters.layouts.layout import BlockRole
from trainers.adapters.method import LayerMethod, LayerUpdate
from trainers.adapters.op import Op
from trainers.adapters.roles import Selection, block_kind, is_denoiser
from trainers.adapters.site import obstacle
from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.section import Section, Shown
from trainers.wrappers import named_modules

if TYPE_CHECKING:
    from trainers.adapters.method import Method

PLACES: Mapping[str, tuple[type[nn.Module], ...]] = {
    "linear": (nn.Linear,),
    "convolution": (nn.Conv2d,),
    "norm": (nn.GroupNorm, nn.LayerNorm),
}

UNSUITED = _("{name} has nothing to train there with these settings")

B_LORA: Mapping[str, str] = {"content": "up_blocks.0.attentions.0", "style": "up_blocks.0.attentions.1"}
"""The blocks of SDXL that hold an image's content and its style (B-LoRA, Frenkel et al. 2024, arXiv 2403.14572)."""

ATTENTION: tuple[BlockRole, ...] = ("self_attention", "cross_attention")
FEED_FORWARD: tuple[BlockRole, ...] = ("feed_forward", "transformer")

PRESETS: Mapping[str, Selection] = {
    "none": Selection(),
    "cross-kv": Selection(("cross_attention",), ("k", "v")),
    "b-lora": Selection(ATTENTION, ("q", "k", "v", "out"), tuple(B_LORA.values())),
    "attn": Selection(ATTENTION),
    "attn-mlp": Selection((*ATTENTION, *FEED_FORWARD)),
    "full": Selection((*ATTENTION, *FEED_FORWARD, "residual", "resample", "modulation", "ends")),
    "image-stream": Selection(("self_attention", "feed_forward"), streams=("image",)),
    "single-blocks": Selection(("self_attention", "feed_forward"), streams=("joint",)),
}
"""Layers with the norms before them, which only some methods change; for block methods, whole blocks.

In transformers, `full` adds the modulation by time and text, and the layers at both ends.
"""
UNET_PRESETS = ("none", "cross-kv", "b-lora", "attn", "attn-mlp", "full")
TRANSFORMER_PRESETS = ("none", "attn", "attn-mlp", "full", "image-stream", "single-blocks")

MOST_PATTERNS, LONGEST_PATTERN = 500, 200
"""Patterns for one part, and characters of each; a layer's full name has about seventy."""


class BlockOverride(Section):
    rank: int = Field(0, ge=0, le=1024)
    """Rank in these layers; 0 = the method's rank."""
    learning_rate: float = Field(1.0, ge=0)
    """Learning rate multiplier in these layers; 0 = do not train them."""


class Targets(Section):
    unet: Annotated[str | tuple[str, ...], Shown(title="Layers of the UNet")] = "attn-mlp"
    """Layers of the UNet: `attn`, `attn-mlp`, `full`, `cross-kv`, `b-lora`, `none`, or patterns: `up_blocks.*.to_k`."""
    transformer: Annotated[str | tuple[str, ...], Shown(title="Layers of the transformer")] = ""
    """Layers of a transformer: also `image-stream` and `single-blocks`, or patterns; empty = those named by `unet`."""
    text_encoder: Annotated[
        str | tuple[str, ...], Shown(title="Layers of the text encoder", words="clip train_text_encoder")
    ] = "none"
    """Layers of the text encoder(s): `none`, `attn`, `attn-mlp`, or patterns."""
    unread_layers: bool = False
    """Also include text encoder layers after the hidden state that the UNet reads; they get no gradient."""
    blocks: Annotated[
        dict[str, BlockOverride], Shown(title="Overrides by block", words="block weights lbw block_dims conv_dim")
    ] = Field(default_factory=dict)
    """Overrides by pattern, e.g. `[targets.blocks."mid_block.*"]` with `rank` or `learning_rate`; first match wins."""

    @field_validator("unet", "text_encoder")
    @classmethod
    def _known_preset(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return _check_preset(value, UNET_PRESETS)

    @field_validator("transformer")
    @classmethod
    def _known_in_transformers(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return value and _check_preset(value, TRANSFORMER_PRESETS)

    @field_validator("blocks")
    @classmethod
    def _few_overrides(cls, value: dict[str, BlockOverride]) -> dict[str, BlockOverride]:
        _check_patterns(tuple(value))
        return value

    @property
    def any(self) -> bool:
        """Whether the presets can select any layer."""
        return self.trains_denoiser or self.text_encoder != "none"

    @property
    def trains_denoiser(self) -> bool:
        """Whether layers of a UNet or a transformer can be selected."""
        return self.unet != "none" or self.transformer not in ("", "none")

    def of(self, part: str) -> str | tuple[str, ...]:
        """The preset or patterns for a part of the base."""
        return getattr(self, self.key_of(part))

    def key_of(self, part: str) -> Literal["unet", "transformer", "text_encoder"]:
        """The setting for a part of the base."""
        if not is_denoiser(part):
            return "text_encoder"
        return "transformer" if part == "transformer" and self.transformer else "unet"


def _check_preset(value: str | tuple[str, ...], presets: Sequence[str]) -> str | tuple[str, ...]:
    if not isinstance(value, str):
        _check_patterns(value)
    elif value not in presets:
        raise ValueError(
            Message(
                "{value!r:.120} is not one of {presets}; give patterns as a list",
                value=value,
                presets=", ".join(presets),
            )
        )
    return value


def _check_patterns(patterns: Sequence[str]) -> None:
    longest = max(map(len, patterns), default=0)
    if len(patterns) > MOST_PATTERNS or longest > LONGEST_PATTERN:
        raise ValueError(
            Message(
                "at most {most} patterns of {letters} characters are taken; found {count}, the longest with {longest}",
                most=MOST_PATTERNS,
                letters=LONGEST_PATTERN,
                count=len(patterns),
                longest=longest,
            )
        )


@dataclass(frozen=True)
class Target:
    """A layer or block to change: its part (`unet`, `text_encoder` …), path, method and learning-rate ratio."""

    part: str
    path: str
    layer: nn.Module
    method: LayerUpdate | BlockMethod
    learning_rate: float

    @property
    def name(self) -> str:
        return f"{self.part}.{self.path}"


def select(
    parts: Mapping[str, nn.Module], method: Method, targets: Targets, unread: Sequence[str] = ()
) -> tuple[Target, ...]:
    """The layers or blocks that `targets` selects, with rank overrides and learning-rate ratios applied.

    Empty if both presets are `none`. Layers in `unread`, as `part.path`, are skipped unless `targets.unread_layers`.
    Raises VelaturaError for a pattern or override that matches no layer.
    """
    assert isinstance(method, LayerMethod | BlockMethod)
    selected = []
    used: set[str] = set()
    for part, net in parts.items():
        patterns = _patterns_of(part, parts, targets)
        if isinstance(method, BlockMethod):
            candidates = _blocks(part, net, patterns, method)
        else:
            candidates = _matching(part, net, patterns, method)
        kept = list(candidates) if targets.unread_layers else _read(part, patterns, list(candidates), unread)
        for path, layer in kept:
            override = next((key for key in targets.blocks if matches(part, path, key)), None)
            rank, learning_rate = 0, 1.0
            if override is not None:
                used.add(override)
                rank, learning_rate = targets.blocks[override].rank, targets.blocks[override].learning_rate
            if learning_rate > 0:
                chosen = _with_rank(method, rank, f"targets.blocks.{override!r}") if rank else method
                selected.append(Target(part, path, layer, chosen, learning_rate))
    unused = [key for key in targets.blocks if key not in used]
    if unused:
        raise VelaturaError(
            "targets.blocks.{unused!r} matches no trained layer that an earlier override does not match already",
            unused=unused[0],
        )
    if not selected and targets.any:
        raise VelaturaError("no layer to train: targets.unet and targets.text_encoder select none")
    _check_weights(parts, selected)
    return tuple(selected)


def _patterns_of(part: str, parts: Mapping[str, nn.Module], targets: Targets) -> str | tuple[str, ...]:
    """The preset or patterns for a part, without those that match only in other parts."""
    patterns = targets.of(part)
    if isinstance(patterns, str):
        return patterns
    others = [other for other in parts if other != part and targets.key_of(other) == targets.key_of(part)]

    def is_in(part: str, pattern: str) -> bool:
        return any(matches(part, path, pattern) for path, _ in named_modules(parts[part]))

    return tuple(p for p in patterns if is_in(part, p) or not any(is_in(other, p) for other in others))


def _check_weights(parts: Mapping[str, nn.Module], targets: Sequence[Target]) -> None:
    """Raise VelaturaError if a layer shares its weight with another module, whose output its change would not reach."""
    owners: dict[int, set[str]] = {}
    for part, net in parts.items():
        for path, module in named_modules(net):
            if (weight := module._parameters.get("weight")) is not None:
                owners.setdefault(id(weight), set()).add(f"{part}.{path}")
    for target in targets:
        weight = target.layer._parameters.get("weight")
        others = owners.get(id(weight), set()) - {target.name} if weight is not None else set()
        if others and not isinstance(target.method, BlockMethod):
            raise VelaturaError(
                "{name} and {other} share one weight, so a change of one would change both; leave {name} out of the "
                "targets, or give it a weight of its own",
                name=target.name,
                other=min(others),
            )


def _read(
    part: str, patterns: str | tuple[str, ...], candidates: list[tuple[str, nn.Module]], unread: Sequence[str]
) -> list[tuple[str, nn.Module]]:
    """The candidates outside `unread`; VelaturaError for a pattern that selects only unread ones."""
    kept = [(path, layer) for path, layer in candidates if not any(_within(f"{part}.{path}", u) for u in unread)]
    for pattern in () if isinstance(patterns, str) else patterns:
        paths = [path for path, _ in candidates if matches(part, path, pattern)]
        if paths and not any(matches(part, path, pattern) for path, _ in kept):
            raise VelaturaError(
                "the pattern {pattern!r} selects layers such as {paths}, which come after the hidden state that "
                "the UNet reads and cannot learn; remove it",
                pattern=pattern,
                paths=paths[0],
            )
    return kept


def _within(name: str, parent: str) -> bool:
    """Whether the module `name` is `parent` or part of it."""
    return name == parent or name.startswith(f"{parent}.")


def _with_rank(method: LayerMethod | BlockMethod, rank: int, key: str) -> LayerMethod | BlockMethod:
    try:
        return method.with_rank(rank)
    except VelaturaError as error:
        raise VelaturaError(
            "{key}: rank {rank} does not fit the method with alpha / rank unchanged: {reason}",
            key=key,
            rank=rank,
            reason=error.message,
        ) from None


def _matching(
    part: str, net: nn.Module, patterns: str | tuple[str, ...], method: LayerMethod
) -> Iterator[tuple[str, nn.Module]]:
    missed, idle = (set() if isinstance(patterns, str) else set(patterns)), ""
    left_out: dict[str, list[str]] = {}
    unsuited = UNSUITED.format(name=method.display_name)
    kinds = tuple(kind for place in method.places for kind in PLACES[place])
    layers = [(p, m) for p, m in named_modules(net) if isinstance(m, kinds) and not _is_bare(m)]
    has_layer = False
    for path, layer in layers:
        if isinstance(patterns, str):
            hits = {patterns} if PRESETS[patterns].has_layer(path) else set()
        else:
            hits = {pattern for pattern in patterns if matches(part, path, pattern)}
        reason = obstacle(layer) or ("" if method.sits_on(part, path, layer) else unsuited)
        if hits and reason:
            idle = path
            if not isinstance(patterns, str) or reason is not unsuited:
                left_out.setdefault(reason, []).append(path)
        elif hits:
            missed -= hits
            has_layer = True
            yield path, layer
    if idle and (missed or not has_layer):
        chosen = min(missed, default=patterns)
        reason = next((r for r, paths in left_out.items() if idle in paths), unsuited)
        raise VelaturaError(
            "{chosen!r} selects layers such as {idle}, which this method cannot change: {reason}",
            chosen=chosen,
            idle=idle,
            reason=reason,
        )
    if isinstance(patterns, str) and PRESETS[patterns].blocks and not has_layer:
        why = "; its two blocks have attention only in SDXL" if patterns == "b-lora" else ""
        raise VelaturaError(
            "the preset {patterns!r} selects no layer of {part}{why}; use none, attn, attn-mlp or patterns",
            patterns=patterns,
            part=part,
            why=why,
        )
    for reason, paths in left_out.items():
        warnings.warn(_("left out {names}: {reason}", names=", ".join(paths[:5]), reason=reason), stacklevel=2)
    if missed and not layers:
        raise VelaturaError(
            "{part} has no layer that this method can change: it changes {kinds}",
            part=part,
            kinds=", ".join(kind.__name__ for kind in kinds),
        )
    if missed:
        example = layers[len(layers) // 2][0]
        raise VelaturaError(
            "the pattern {missed!r} matches no layer of {part}; a layer's name is {example!r}",
            missed=min(missed),
            part=part,
            example=example,
        )


def _is_bare(layer: nn.Module) -> bool:
    """Whether a layer is a norm without a weight to change."""
    return isinstance(layer, PLACES["norm"]) and layer.weight is None


def _blocks(
    part: str, net: nn.Module, patterns: str | tuple[str, ...], method: BlockMethod
) -> Iterator[tuple[str, nn.Module]]:
    """Paths and modules of the blocks that a preset or patterns select, of the kinds that the method changes."""
    modules = named_modules(net)
    blocks = [(path, module) for path, module in modules if sits_on_block(method, path) and _has_ends(module, path)]
    where = f"{method.display_name} with these settings acts on {', '.join(method.kinds).replace('_', '-')} blocks"
    where += "" if "text" in method.streams else " of the UNet"
    if isinstance(patterns, str):
        preset = PRESETS[patterns]
        selected = [(path, module) for path, module in blocks if preset.has_block(path)]
        if preset.blocks and not selected:
            raise VelaturaError(
                "the preset {patterns!r} selects no block of {part}: {where}", patterns=patterns, part=part, where=where
            )
        yield from selected
        return
    for pattern in patterns:
        if not any(matches(part, path, pattern) for path, _ in blocks):
            example = f"; a block's name is {blocks[len(blocks) // 2][0]!r}" if blocks else ""
            raise VelaturaError(
                "the pattern {pattern!r} matches no block of {part}: {where}{example}",
                pattern=pattern,
                part=part,
                where=where,
                example=example,
            )
    for path, module in blocks:
        if any(matches(part, path, pattern) for pattern in patterns):
            yield path, module


def _has_ends(block: nn.Module, path: str) -> bool:
    """Whether a block has the layers that give its widths, since other networks use such names for other modules."""
    kind = block_kind(path)
    try:
        return kind is not None and all(Op.of(block.get_submodule(end)) for end in (kind.first, kind.last))
    except (AttributeError, TypeError):
        return False


def sits_on_block(method: BlockMethod, path: str) -> bool:
    """Whether the method can change the module at this path."""
    kind = block_kind(path)
    return kind is not None and kind.role in method.kinds and kind.stream in method.streams


def matches(part: str, path: str, pattern: str) -> bool:
    """Whether a shell pattern matches a layer's path, with or without its part, or a module around the layer."""
    compiled = _compiled(pattern)
    return any(compiled.match(name) for name in (path, f"{part}.{path}", "." + path))


@lru_cache(4 * MOST_PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern for a path and the modules within it; cached here, since `fnmatch` caches too few."""
    return re.compile(f"{translate(pattern)}|{translate(pattern + '.*')}")
