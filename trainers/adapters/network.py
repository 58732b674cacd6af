"""All hook points of a run, on layers and blocks; they are trained, saved, merged and exported together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import nn

from trainers.adapters.arguments import check_arguments, check_numbers
from trainers.adapters.block import BlockMethod, BlockSite
from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.method import LayerUpdate, Method
from trainers.adapters.op import is_computed
from trainers.adapters.roles import is_batched, is_denoiser, rows_of_call, takes_timesteps, timesteps_of_call
from trainers.adapters.site import COMPUTED, ROUNDING, HookPoint, MethodTensors, Placement, Site, TensorView, learns
from trainers.adapters.switched_off import Removable, SwitchedOff
from trainers.adapters.targets import Target, Targets, select
from trainers.adapters.tokens import Vocabulary, Word
from trainers.adapters.training_step import TrainingStep, make_step
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.randomness import generator
from trainers.wrappers import is_compiled, unwrapped

M = TypeVar("M", bound=Method)


@dataclass(frozen=True)
class SharedTensors:
    """Tensors shared by the sites of one method, part and learning rate."""

    method: LayerUpdate | BlockMethod
    part: str
    learning_rate: float
    values: MethodTensors


class Network(nn.Module):
    """The hook points of one run on the frozen parts of a base model.

    Its `state_dict()` contains θ and nothing of the base. `holder` has the context of the passes and the strength of
    the change.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holder = ContextHolder(ForwardContext())
        self.seed = 0
        """Seed of the draws in training steps."""
        self.step: TrainingStep | None = None
        """The training step in progress."""
        self._is_merged = self._is_compiled = False
        self._sites: dict[str, Site] = {}
        self.sites_by_key = nn.ModuleDict()
        self._blocks: dict[str, BlockSite] = {}
        self.blocks_by_key = nn.ModuleDict()
        self.shared = nn.ModuleList()
        self._shared_tensors: list[SharedTensors] = []
        self.handles: list[Removable] = []
        """Hooks and patches on the base besides those of the hook points."""
        self.spoken = nn.ModuleList()
        """The added words; checkpoints contain this name."""
        self._word_changes: list[Callable[[], None]] = []
        """Undo what was done to vocabularies."""

    @property
    def shared_tensors(self) -> tuple[SharedTensors, ...]:
        return tuple(self._shared_tensors)

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(self._sites.values())

    @property
    def blocks(self) -> tuple[BlockSite, ...]:
        return tuple(self._blocks.values())

    @property
    def words(self) -> tuple[Word, ...]:
        """Words added to the base's vocabulary."""
        return tuple(word for word in self.spoken if isinstance(word, Word))

    @property
    def hook_points(self) -> tuple[Site | BlockSite, ...]:
        """All layers and blocks with a method."""
        return (*self.sites, *self.blocks)

    @property
    def placed(self) -> tuple[LayerUpdate | BlockMethod, ...]:
        """Distinct methods and styles on the layers and blocks, in order."""
        return tuple(dict.fromkeys(p.method for site in self.hook_points for p in site.placed))

    @property
    def methods(self) -> tuple[Method, ...]:
        """Distinct methods on the layers and blocks, in order; a rank override is a method of its own."""
        return tuple(method for method in self.placed if isinstance(method, Method))

    @property
    def merges(self) -> bool:
        """Whether it changes only weights."""
        return all(method.merges for method in self.placed)

    @property
    def is_always_reached(self) -> bool:
        """Whether every training pass reaches a trained parameter, with any dropout and any captions."""
        return any(
            is_denoiser(site.part) and not placed.method.module_dropout and learns(placed.theta)
            for site in self.sites
            for placed in site.placed
        )

    def is_idle(self, rounding: float = ROUNDING) -> bool:
        """Whether it changes no block or word, and no weight or bias by more than a share of their largest number."""
        return all(word.is_idle for word in self.words) and all(site.is_idle(rounding) for site in self.hook_points)

    def check_merges(self, purpose: str) -> None:
        """Raise VelaturaError if a method changes more than weights; `purpose` ends the sentence."""
        for method in (m for m in self.methods if isinstance(m, LayerUpdate | BlockMethod)):
            if not method.merges:
                raise VelaturaError(
                    "{display_name} does not change weights, so it cannot be {purpose}",
                    display_name=method.display_name,
                    purpose=purpose,
                )

    def placed_by(self, method: LayerUpdate) -> tuple[tuple[Site, Placement[LayerUpdate]], ...]:
        """Sites of this method, each with the method's placement there."""
        return tuple((site, placed) for site in self.sites for placed in site.placed if placed.method == method)

    def rank_variants(self, method: M) -> tuple[M, ...]:
        """Methods that differ from this one in rank at most, in order."""
        return tuple(variant for variant in self.methods if isinstance(variant, type(method)))

    def learned_by(self, method: LayerUpdate) -> tuple[tuple[Site, Placement[LayerUpdate]], ...]:
        """As `placed_by`, without placements that no longer train: these must stay unchanged, bit for bit."""
        return tuple((site, placed) for site, placed in self.placed_by(method) if learns(placed.theta))

    def place(self, targets: tuple[Target, ...], seed: int) -> None:
        """Put each target's method on its layer; sites of one method, part and learning rate share tensors."""
        layer_index = len(self.shared)
        groups: dict[tuple[LayerUpdate | BlockMethod, str, float], list[Target]] = {}
        for target in targets:
            groups.setdefault((target.method, target.part, target.learning_rate), []).append(target)
        for (method, part, learning_rate), chosen in groups.items():
            sites: Sequence[Any] = [self.site_of(target) for target in chosen]
            draw = generator(seed, "share", layer_index, method.__class__.__name__, part)
            shared = MethodTensors(method.share(sites, draw)).to(sites[0].device)
            self.share(method, part, shared, learning_rate)
            for target, site in zip(chosen, sites, strict=True):
                draw = generator(seed, "init", layer_index, site.name)
                site.put(method, TensorView(shared), draw, target.learning_rate)

    def share(
        self, method: LayerUpdate | BlockMethod, part: str, values: MethodTensors, learning_rate: float = 1.0
    ) -> None:
        """Register tensors shared by the sites of one method, part and learning rate."""
        self.shared.append(values)
        self._shared_tensors.append(SharedTensors(method, part, learning_rate, values))

    def site_of(self, target: Target) -> Site | BlockSite:
        """The hook point of a target's layer or block, created on first use."""
        on_block = isinstance(target.method, BlockMethod)
        sites: dict[str, Any] = self._blocks if on_block else self._sites
        if target.name not in sites:
            kind = BlockSite if on_block else Site
            sites[target.name] = kind(target.part, target.path, target.layer, self.holder)
            by_key = self.blocks_by_key if on_block else self.sites_by_key
            by_key[target.name.replace(".", "/")] = sites[target.name]
        return sites[target.name]

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load a state; VelaturaError if it does not match tensors that it omits."""
        result = super().load_state_dict(*args, **kwargs)
        for method in self.methods:
            method.hooks.after_restore(self)
        return result

    def add_word(self, word: Word, vocabulary: Vocabulary) -> None:
        """Add a word to a base's vocabulary; its rows become parameters of this network."""
        vocabulary.put(word.text, tuple(word.rows.values()))
        self._word_changes.append(partial(vocabulary.remove, word.text))
        self.spoken.append(word)

    def leave_out(self, words: str, vocabulary: Vocabulary) -> None:
        """Have the base's encoders leave words out of every text."""
        vocabulary.leave_out(words)
        self._word_changes.append(partial(vocabulary.restore, words))

    @contextmanager
    def at_strength(self, strength: float) -> Iterator[None]:
        """Run the network at another strength within the context; 0 is the bare base."""
        check_numbers(strength=strength)
        before, self.holder.strength = self.holder.strength, strength
        try:
            yield
        finally:
            self.holder.strength = before

    def parameter_groups(
        self,
        learning_rate: float,
        text_learning_rate: float = 0.0,
        word_learning_rates: Sequence[float] = (),
        second_text_learning_rate: float = 0.0,
    ) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer, with the learning rates and weight decay of methods and layers.

        Args:
            learning_rate: The learning rate of the denoiser's layers.
            text_learning_rate: That of text encoders' layers; 0 = the same.
            second_text_learning_rate: That of the layers of all text encoders but the first; 0 = the same.
            word_learning_rates: Those of added words, in order, which have no weight decay, since the norm of a row
                carries meaning.
        """
        check_numbers(learning_rate=learning_rate, text_learning_rate=text_learning_rate)
        placed = [(site.part, p.method, p.learning_rate, p.module) for site in self.hook_points for p in site.placed]
        shared = [(t.part, t.method, t.learning_rate, t.values) for t in self.shared_tensors]
        first = text_learning_rate or learning_rate
        by_part = {"text_encoder": first, "text_encoder_2": second_text_learning_rate or first}
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for part, method, ratio, values in (*placed, *shared):
            assert isinstance(method, Method)
            base = learning_rate if is_denoiser(part) else by_part[part]
            for name, parameter in values.named_parameters():
                rate = base * ratio * method.learning_rate_ratio(name)
                groups.setdefault((rate, method.decays(name)), []).append(parameter)
        for word, rate in zip(self.words, word_learning_rates or [learning_rate] * len(self.words), strict=True):
            groups.setdefault((rate, False), []).extend(word.parameters())
        return [
            {"params": members, "lr": rate} | ({} if decays else {"weight_decay": 0.0})
            for (rate, decays), members in groups.items()
        ]

    @cached_property
    def decay_targets(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """Parameters that weight decay pulls towards a value of the base, with that value; others decay to zero."""
        return tuple(
            (placed.theta[name], start.detach())
            for site in self.hook_points
            for placed in site.placed
            if isinstance(placed.method, Method)
            for name, start in placed.method.decay_targets(site, placed.theta).items()
        )

    @contextmanager
    def training_step(self, step: int, of: int, rates: Sequence[float] = ()) -> Iterator[TrainingStep]:
        """Give one optimizer step of a training loop its dropouts, schedules, penalties and hooks.

        The forward passes, `loss.backward()` and `optimizer.step()` belong inside. The object that it yields has three
        methods for other loops: `begin_batch` before each of several accumulated batches, `after_backward` before
        gradients are clipped, and `penalty` to add it to the loss; otherwise its gradient is added automatically.

        Args:
            step: The optimizer step, from 0.
            of: The number of optimizer steps.
            rates: Each step's share of the peak learning rate, if it varies; some methods follow it.

        Raises:
            VelaturaError: There is no such step, or no optimizer has used its gradients.
        """
        training_step = TrainingStep(self, make_step(step, of, self.seed, rates))
        with training_step.running():
            yield training_step

    @torch.no_grad()
    def merge(self, strength: float = 1.0) -> None:
        """Add the change to the base's weights and biases, and remove the hooks from its layers.

        ΔW is computed in fp32 and rounded once; to undo the merge, load the base again (subtraction is not exact). An
        NF4 layer then holds its dequantised weight plus the change, unquantised: exactly what was trained. Raises
        VelaturaError if a method changes more than weights, a layer's weight is computed, or it is merged already.
        """
        check_numbers(strength=strength)
        self.check_merges("merged into them")
        if self._is_merged:
            raise VelaturaError("this network is merged already, and a second time would add its change twice")
        computed = next((site.name for site in self.sites if is_computed(site.layer)), None)
        if computed is not None:
            raise VelaturaError("cannot merge into {name}: {reason}", name=computed, reason=COMPUTED)
        self._is_merged = True
        for site in self.sites:
            site.merge(strength)
        self._forget_graphs()

    def prepare(self, parts: Mapping[str, nn.Module]) -> None:
        """Make passes of these parts give each layer the input and timesteps that its methods need."""
        self._is_compiled = any(map(is_compiled, parts.values()))
        self._forget_graphs()
        modules = chain.from_iterable(net.modules() for net in parts.values())
        # Hooked layers leave torch's fast path, which alone takes nested tensors.
        encoders = (module for module in modules if isinstance(module, nn.TransformerEncoder))
        self.handles.append(SwitchedOff("use_nested_tensor", encoders))
        self.track_timesteps({part: unwrapped(net) for part, net in parts.items()})

    def track_timesteps(self, parts: Mapping[str, nn.Module]) -> None:
        """Put the timesteps of each denoiser pass into the context, if a method depends on them."""

        def note(denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            try:
                timesteps = timesteps_of_call(denoiser, args, kwargs)
            except KeyError:
                sentence = "the method depends on the timestep: call the network with `timestep=`, from 0 to 1000"
                raise VelaturaError(sentence) from None
            self.holder.context = replace(self.holder.context, timesteps=timesteps)

        dependent = next((method for method in self.placed if method.uses_timestep), None)
        if dependent is not None:
            denoisers = [net for part, net in parts.items() if is_denoiser(part)]
            if (without := next((net for net in denoisers if not takes_timesteps(net)), None)) is not None:
                raise VelaturaError(
                    "{name} depends on the timestep, and {network}.forward has no parameter `timestep`",
                    name=getattr(dependent, "display_name", type(dependent).__name__),
                    network=type(without).__name__,
                )
            self.handles += [net.register_forward_pre_hook(note, with_kwargs=True) for net in denoisers]

    def track_rows(self, parts: Mapping[str, nn.Module]) -> None:
        """Put the tokens of each image into the context of each denoiser pass, if a layer is not batched."""

        def note(denoiser: nn.Module, args: tuple[Any, ...]) -> None:
            self.holder.context = replace(self.holder.context, rows=rows_of_call(denoiser, args))

        apart = {site.part for site in self.sites if is_denoiser(site.part) and not is_batched(site.path)}
        self.handles += [parts[part].register_forward_pre_hook(note) for part in apart]

    def check_alone(self) -> None:
        """Raise VelaturaError if a method here would take another network's change for the base's output.

        Warn if both add up.
        """
        shared = []
        for site in self.hook_points:
            module = site.layer if isinstance(site, Site) else site.block
            hooks = (getattr(hook, "__self__", None) for hook in module._forward_hooks.values())
            points = [hook for hook in hooks if isinstance(hook, HookPoint)]
            if any(isinstance(placed.method, Method) for point in points[:-1] for placed in point.placed):
                shared.append(site.name)
            if len(points) > 1 and not all(isinstance(point, Site) and point.adds_to(points[0]) for point in points):
                raise VelaturaError(
                    "{name} already has a method of another network, and the two do not add up; remove that network "
                    "first, or choose other layers",
                    name=site.name,
                )
        if shared:
            sentence = _(
                "{name} already has a method of another network, and both changes add up; if this is a second attempt, "
                "call the other network's remove() first",
                name=shared[0],
            )
            warnings.warn(sentence, stacklevel=3)

    def remove(self) -> None:
        """Remove all hooks and added words, which restores the base; parameters that `attach` froze train again."""
        while self.handles:
            self.handles.pop().remove()
        for site in self.hook_points:
            site.remove()
        while self._word_changes:
            self._word_changes.pop()()
        self._forget_graphs()

    def _forget_graphs(self) -> None:
        """Make torch compile the base again: compiled graphs ignore hooks added or removed later."""
        if self._is_compiled:
            torch.compiler.reset()


def attach(
    parts: Mapping[str, nn.Module], method: Method, targets: Targets, seed: int, unread: Sequence[str] = ()
) -> Network:
    """Freeze the parts of a base model and put a method on the layers, or blocks, that `targets` selects.

    Args:
        parts: The base's networks by name (`unet` or `transformer`, `text_encoder` …): `model.parts`.
        method: One of `METHODS` with its settings, such as `METHODS["lora"](rank=4)`.
        targets: The layers, with overrides for some of them.
        seed: The same seed gives the same initial tensors, whatever the order of the layers.
        unread: Layers whose output is not used, as `part.path`; skipped unless `targets.unread_layers`.

    Returns:
        A module with the trained parameters. Before their first step the base's output is unchanged.

    Raises:
        VelaturaError: The targets select no layers, or layers that the method cannot change; an argument is of another
            type.
    """
    check_arguments(parts, method, targets)
    networks = {part: unwrapped(net) for part, net in parts.items()}
    chosen = select(networks, method, targets, unread)
    network = Network()
    network.seed = seed
    try:
        network.place(chosen, seed)
        network.check_alone()
        network.prepare(parts)
    except BaseException:
        network.remove()
        raise
    everything = chain.from_iterable(net.parameters() for net in networks.values())
    network.handles.append(SwitchedOff("requires_grad", everything))
    return network
