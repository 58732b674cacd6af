"""The contract of a method: settings, what trains and what is frozen, and one formula θ → update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.about import About
from trainers.adapters.context import ForwardContext
from trainers.adapters.hooks import TrainingHooks

if TYPE_CHECKING:
    from trainers.adapters.site import Site
    from trainers.adapters.updates.base import Update

Theta = Mapping[str, Tensor]


SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
"""Of a method's dataclass: its fields are checked and are its section of the config."""


class LayerUpdate:
    """What can sit on layers: a method that trains, or styles that were trained. Both give each layer an update."""

    follows_time: ClassVar[bool] = False
    """Whether it is another at each timestep, which the context then tells."""
    trains_base: ClassVar[bool] = False
    """Whether the base's own weights train: they are stored in full, and a layer runs with W + ΔW in one product."""
    module_dropout: float = 0.0
    """Share of layers whose whole update is left out at each step."""

    @property
    def merges(self) -> bool:
        """Whether it changes weights and nothing else, so that it can be merged and written for every client.

        What does not is written in a form of our own (`trainers.formats.own`).
        """
        return True

    @property
    def input_dropout(self) -> float:
        """Share of the layer's inputs left out of the update at each step."""
        return 0.0

    def share(self, sites: Sequence[Site], draw: torch.Generator) -> dict[str, Tensor]:
        """Tensors shared by sites of one part and learning rate: a Parameter trains, any other Tensor is frozen.

        What is a function of the seed is an `nn.Buffer(…, persistent=False)`, which checkpoints do not hold.
        """
        return {}

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        """θ of one site, with no effect at the start: a Parameter trains, any other Tensor is frozen and saved."""
        raise NotImplementedError

    def update(self, theta: Theta, site: Site, shared: Theta, context: ForwardContext) -> Update:
        """The one formula."""
        raise NotImplementedError


@checked_dataclass(frozen=True, config=SETTINGS)
class Method:
    """What every method has, wherever it sits: facts, settings, names for θ."""

    about: ClassVar[About]
    places: ClassVar[tuple[str, ...]] = ()
    writes_fp32: ClassVar[bool] = False
    """Whether its files are in fp32 always, since what reads its numbers magnifies their rounding."""
    text_preset: ClassVar[str] = "attn"
    """The smallest preset of `targets.text_encoder` in which it has a place; `none` where it has none."""
    moves_beside_optimizer: ClassVar[bool] = False
    """Whether its hooks move trained numbers after the optimizer's step."""
    trains_base: ClassVar[bool] = False
    """Whether the base's own weights train, so that they must be stored in full."""

    @property
    def display_name(self) -> str:
        """Its name in settings, for sentences."""
        return str(getattr(self, "name", type(self).__name__))

    @classmethod
    def implied_settings(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG003 - the contract
        """What others of its settings, given in a table, decide about those that are not given there."""
        return {}

    # ------------------------------------------------------------------ settings that vary by site or tensor
    @property
    def no_rank_reason(self) -> str:
        """The setting for which an override by block can set no rank; empty where `with_rank` gives another."""
        return f"method.name = {self.display_name}"

    def with_rank(self, rank: int) -> Self:
        """The same method at another rank."""
        raise NotImplementedError

    def learning_rate_ratio(self, name: str) -> float:
        """Multiplies the learning rate of the tensor `name` of θ."""
        return 1.0

    def decays(self, name: str) -> bool:
        """Whether weight decay acts on the tensor `name` of θ."""
        return True

    def decay_targets(self, site: Any, theta: Theta) -> Mapping[str, Tensor]:
        """Where weight decay pulls tensors of a site's θ, by name; those that are not named are pulled to zero.

        What starts at the base's own values needs one: at zero it would take them away from the base.
        """
        return {}

    def validate_targets(self, sites: Sequence[Any]) -> str | None:
        """The sentence that refuses a setting on these sites, where this method has been placed; None where all fit."""
        return None

    @property
    def hooks(self) -> TrainingHooks:
        """What it does in the training loop besides its formula."""
        return TrainingHooks()


@runtime_checkable
class NestedRanks(Protocol):
    """A method of which one training serves several ranks."""

    @property
    def nested_ranks(self) -> tuple[int, ...]:
        """Every rank that it serves; the last is its whole rank."""
        ...

    def with_export_rank(self, rank: int) -> Method:
        """The same method with one of its `nested_ranks` in its file."""
        ...


@checked_dataclass(frozen=True, config=SETTINGS)
class LayerMethod(Method, LayerUpdate):
    """A method that sits on layers: subclasses give `init` and `update` and inherit the rest."""

    places: ClassVar[tuple[str, ...]] = ("linear", "convolution")

    module_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of layers whose whole update is left out at each step."""

    def sits_on(self, part: str, path: str, layer: nn.Module) -> bool:
        """Whether there is anything on this layer of one of its `places` for the method to change."""
        return True

    # ------------------------------------------------------------------ the file that clients read
    @property
    def file_alpha(self) -> float:
        """The alpha of plain LoRA tensors in a file of this method; readers scale by alpha / rank."""
        return 1.0

    @property
    def file_rank(self) -> int:
        """What a file's metadata give as the network's dimension."""
        return 1

    @property
    def extract_rank(self) -> int:
        """Rank to which a file's change is cut (`formats.extract`); 0 = the file has all of it."""
        return 0

    @property
    def file_algorithm(self) -> str:
        """What other tools call the form in which the change is written."""
        return "lora"


@checked_dataclass(frozen=True, config=SETTINGS)
class InputMethod(LayerMethod):
    """A method whose update multiplies the layer's input, rather than work on its output."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the layer's inputs left out of the update at each step."""

    @property
    def input_dropout(self) -> float:
        return self.dropout


@checked_dataclass(frozen=True, config=SETTINGS)
class RankedMethod(InputMethod):
    """A method whose update has a rank r and a scale α / r."""

    bounds_rank: ClassVar[bool] = False
    """Whether a layer's change has no more than rank r, so that an r above the layer's widths is of no use."""

    rank: int = Field(default=16, ge=1, le=1024)
    """Rank r of the factors: more rank, more capacity and a larger file."""
    alpha: float = Field(default=16.0, gt=0, le=4096)
    """The update is scaled by alpha / rank."""
    rank_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rank's components left out at each step."""

    @property
    def scale(self) -> float:
        """s = α / r."""
        return self.alpha / self.rank

    @property
    def no_rank_reason(self) -> str:
        return ""

    def with_rank(self, rank: int) -> Self:
        """The same method at another rank, with alpha / rank unchanged."""
        return replace(self, rank=rank, alpha=self.alpha * rank / self.rank)

    @property
    def file_alpha(self) -> float:
        return self.scale * self.rank

    @property
    def file_rank(self) -> int:
        return self.rank

    def rank_gate(self, site: Site, context: ForwardContext, rank: int, device: torch.device) -> Tensor | None:
        """This draw's rank dropout as a gate `(rank,)` of 0 and 1 / (1 − p), or None where it is off."""
        if not (context.training and self.rank_dropout):
            return None
        keep = torch.rand(rank, generator=context.generator(site, "rank", torch.device("cpu"))) >= self.rank_dropout
        return (keep.float() / (1 - self.rank_dropout)).to(device)


def learns(theta: Theta) -> bool:
    """Whether anything of θ still trains; what does not is to stay as it is, bit for bit."""
    return any(tensor.requires_grad for tensor in theta.values())


def idle(setting: str) -> str:
    """The sentence that refuses a setting without effect."""
    return f"{setting} has no effect on the layers that are trained; leave it off, or change targets"
