"""The contract of a method: settings, trained and frozen tensors, and one formula θ → update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, FileForm
from trainers.adapters.hooks import TrainingHooks
from trainers.section import Settings

if TYPE_CHECKING:
    from trainers.adapters.site import Site
    from trainers.adapters.updates.update import Update

Theta = Mapping[str, Tensor]


SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
"""Pydantic settings of a method's dataclass, whose fields are its section of the config."""


class LayerUpdate:
    """A source of updates for layers: a method in training, or trained styles."""

    uses_timestep: ClassVar[bool] = False
    """Whether it depends on the timestep; the context then provides it."""
    trains_base: ClassVar[bool] = False
    """Whether it trains the base's weights: they are stored unquantised, and a layer runs W + ΔW as one product."""
    module_dropout: float = 0.0
    """Share of layers that skip their update in each step (module dropout)."""

    @property
    def needs_training_step(self) -> bool:
        """Whether it can be trained only within `Network.training_step`."""
        return False

    @property
    def merges(self) -> bool:
        """Whether it changes only weights, so that it can be merged and written for every client.

        Other methods are written in Velatura's own format (`trainers.formats.own_form`).
        """
        return True

    @property
    def input_dropout(self) -> float:
        """Share of the layer's inputs dropped from the update in each step (dropout)."""
        return 0.0

    def file_form(self) -> FileForm:
        """How it is written to a style file."""
        return FileForm()

    def share(self, sites: Sequence[Site], draw: torch.Generator) -> dict[str, Tensor]:
        """Tensors shared by sites of one part and learning rate: Parameters train, other Tensors are frozen.

        Functions of the seed are `nn.Buffer(…, persistent=False)`, which checkpoints omit.
        """
        return {}

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        """Initial θ of a site, without effect: Parameters train, other Tensors are frozen and saved."""
        raise NotImplementedError

    def update(self, theta: Theta, site: Site) -> Update:
        """The method's formula, from a site's θ with the shared tensors, in the pass of `site.context`."""
        raise NotImplementedError


@checked_dataclass(frozen=True, config=SETTINGS)
class Method(metaclass=Settings):
    """The base class of methods: facts, settings, and properties of the tensors of θ."""

    about: ClassVar[About]
    places: ClassVar[tuple[str, ...]] = ()
    text_preset: ClassVar[str] = "attn"
    """The smallest preset of `targets.text_encoder` that it supports; `none` if it supports none."""
    moves_after_optimizer: ClassVar[bool] = False
    """Whether its hooks change parameters after the optimizer's step."""
    trains_base: ClassVar[bool] = False
    """Whether it trains the base's weights, which must then be stored unquantised."""
    compiles: ClassVar[bool] = True
    """Whether torch.compile takes its change as one graph, once for all steps."""

    @property
    def is_multilinear(self) -> bool:
        """Whether ΔW is linear in each of its trained tensors, so that scaling them scales it."""
        return False

    @property
    def display_name(self) -> str:
        """Its name in settings, for messages."""
        return str(getattr(self, "name", type(self).__name__))

    @classmethod
    def implied_settings(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG003 - the contract
        """Values that the given settings imply for missing ones."""
        return {}

    # ------------------------------------------------------------------ settings that vary by site or tensor
    @property
    def no_rank_reason(self) -> str:
        """The setting that prevents a rank override; empty if `with_rank` works."""
        return "" if hasattr(self, "rank") else f"method.name = {self.display_name}"

    def with_rank(self, rank: int) -> Self:
        """The same method at another rank."""
        return replace(self, **{"rank": rank})

    def learning_rate_ratio(self, name: str) -> float:
        """Multiplier of the learning rate for the tensor `name` of θ."""
        return 1.0

    def decays(self, name: str) -> bool:
        """Whether weight decay acts on the tensor `name` of θ."""
        return True

    def decay_targets(self, site: Any, theta: Theta) -> Mapping[str, Tensor]:
        """Targets of weight decay for a site's θ, by name; others decay to zero.

        Parameters that start at values of the base need one: decay to zero would remove those values from the base.
        """
        return {}

    def validate_targets(self, sites: Sequence[Any]) -> str | None:
        """Error message for a setting that does not fit these sites; None if all fit."""
        return None

    def file_form(self) -> FileForm:
        """How it is written to a style file; a rank without alpha has a scale of 1."""
        rank = getattr(self, "rank", 1)
        return FileForm(rank=rank, alpha=float(rank))

    @property
    def hooks(self) -> TrainingHooks:
        """Its hooks in the training loop."""
        return TrainingHooks()

    @property
    def needs_training_step(self) -> bool:
        """Whether it can be trained only within `Network.training_step`: it has dropouts, or hooks in each step."""
        drops = any(getattr(self, name, 0.0) for name in ("dropout", "rank_dropout", "module_dropout"))
        return drops or self.hooks.act_in_steps


@runtime_checkable
class NestedRanks(Protocol):
    """A method that trains several ranks at once."""

    @property
    def nested_ranks(self) -> tuple[int, ...]:
        """All ranks it trains, the last being the full rank."""
        ...

    def with_export_rank(self, rank: int) -> Method:
        """The same method with one of its `nested_ranks` as export rank."""
        ...


@checked_dataclass(frozen=True, config=SETTINGS)
class LayerMethod(Method, LayerUpdate):
    """A method on layers; subclasses define `init` and `update`."""

    places: ClassVar[tuple[str, ...]] = ("linear", "convolution")
    bounds_rank: ClassVar[bool] = False
    """Whether a layer's change has at most rank r, so that an r above the layer's widths is useless."""

    module_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of layers that skip their update in each step (module dropout)."""

    def sits_on(self, part: str, path: str, layer: nn.Module) -> bool:
        """Whether the method can change this layer of one of its `places`."""
        return True


@checked_dataclass(frozen=True, config=SETTINGS)
class InputMethod(LayerMethod):
    """A method whose update multiplies the layer's input."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the layer's inputs dropped from the update in each step (dropout)."""

    @property
    def input_dropout(self) -> float:
        return self.dropout


@checked_dataclass(frozen=True, config=SETTINGS)
class RankedMethod(InputMethod):
    """A method whose update has a rank r and a scale α / r."""

    rank: int = Field(default=16, ge=1, le=1024)
    """Rank r: a higher rank has more capacity and makes a larger file."""
    alpha: float = Field(default=16.0, gt=0, le=4096)
    """Scale: the update is multiplied by alpha / rank."""
    rank_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rank's components dropped in each step (rank dropout)."""

    @property
    def scale(self) -> float:
        """s = α / r."""
        return self.alpha / self.rank

    def with_rank(self, rank: int) -> Self:
        """The same method at another rank, with alpha / rank unchanged."""
        return replace(self, rank=rank, alpha=self.alpha * rank / self.rank)

    def file_form(self) -> FileForm:
        return FileForm(rank=self.rank, alpha=self.scale * self.rank)

    def rank_gate(self, site: Site, rank: int, device: torch.device) -> Tensor | None:
        """Rank dropout of this draw as a gate `(rank,)` of 0 and 1 / (1 − p); None if off."""
        if not (site.context.training and self.rank_dropout):
            return None
        keep = (
            torch.rand(rank, generator=site.context.generator(site, "rank", torch.device("cpu"))) >= self.rank_dropout
        )
        return (keep.float() / (1 - self.rank_dropout)).to(device)


def idle(setting: str) -> str:
    """Error message for a setting without effect."""
    return f"{setting} has no effect on the trained layers; turn it off, or change targets"
