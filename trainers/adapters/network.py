"""All sites of a run: what is trained, saved, merged and exported together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainers.adapters.method import LayerMethod, Now
from trainers.adapters.site import Clock, Held, Placed, Site, Values
from trainers.adapters.targets import Target, select
from trainers.adapters.tokens import Vocabulary, Word
from trainers.randomness import generator

if TYPE_CHECKING:
    from trainers.config import Targets


@dataclass(frozen=True)
class Sharing:
    """What sites of one method share: those of one part and learning rate, so that the tensors have these too."""

    method: LayerMethod
    part: str
    learning_rate: float
    values: Values


class Network(nn.Module):
    """The sites of one run over the frozen parts of a base model.

    Its `state_dict()` holds θ and nothing of the base. `clock` says what moment it is and how strong the change is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(Now())
        self._sites: dict[str, Site] = {}
        self.sites_by_key = nn.ModuleDict()
        self.shared = nn.ModuleList()
        self._sharing: list[Sharing] = []
        self.spoken = nn.ModuleList()
        self._told: list[tuple[Vocabulary, str]] = []

    @property
    def sharing(self) -> tuple[Sharing, ...]:
        return tuple(self._sharing)

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(self._sites.values())

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of their own that prompts may have."""
        return tuple(word for word in self.spoken if isinstance(word, Word))

    @property
    def methods(self) -> tuple[LayerMethod, ...]:
        """The distinct methods placed, in order; a rank override is a method of its own."""
        return tuple(dict.fromkeys(p.method for site in self.sites for p in site.placed))

    def placed_by(self, method: LayerMethod) -> tuple[tuple[Site, Placed], ...]:
        """Where this very method sits, each site with what it holds there."""
        return tuple((site, placed) for site in self.sites for placed in site.placed if placed.method == method)

    def site(self, part: str, path: str, layer: nn.Module) -> Site:
        """The site of a layer, made at its first use."""
        name = f"{part}.{path}"
        if name not in self._sites:
            self._sites[name] = Site(part, path, layer, self.clock)
            self.sites_by_key[name.replace(".", "/")] = self._sites[name]
        return self._sites[name]

    def place(self, targets: tuple[Target, ...], seed: int) -> None:
        """Put each target's method on its layer; sites of one method, part and learning rate share what it shares."""
        layer_index = len(self.shared)
        groups: dict[tuple[LayerMethod, str, float], list[Target]] = {}
        for target in targets:
            groups.setdefault((target.method, target.part, target.learning_rate), []).append(target)
        for (method, part, learning_rate), chosen in groups.items():
            sites = [self.site(t.part, t.path, t.layer) for t in chosen]
            own = generator(seed, "share", layer_index, method.__class__.__name__, part)
            holder = Values(method.share(sites, own), method.drawn_again).to(sites[0].weight().device)
            self.shared.append(holder)
            self._sharing.append(Sharing(method, part, learning_rate, holder))
            for target, site in zip(chosen, sites, strict=True):
                draw = generator(seed, "init", layer_index, site.name)
                site.put(method, Held(holder), draw, target.learning_rate)

    def speak(self, word: Word, vocabulary: Vocabulary) -> None:
        """Let a base, whose vocabulary this is, read a word's rows where it stands; they are this network's then."""
        vocabulary.put(word.text, tuple(word.rows.values()))
        self._told.append((vocabulary, word.text))
        self.spoken.append(word)

    @contextmanager
    def at_strength(self, strength: float) -> Iterator[None]:
        """Run the network at another strength for a while; 0 is the bare base."""
        before, self.clock.strength = self.clock.strength, strength
        try:
            yield
        finally:
            self.clock.strength = before

    @torch.no_grad()
    def merge(self, strength: float = 1.0) -> None:
        """Write the change into the base's weights and biases and leave the layers without hooks.

        ΔW is computed in fp32 and rounded once; to undo, load the base again (subtraction is not exact).
        """
        for site in self.sites:
            site.merge(strength)

    def remove(self) -> None:
        """Take all hooks off the base and its words back, which is as before."""
        for site in self.sites:
            site.remove()
        for vocabulary, word in self._told:
            vocabulary.remove(word)
        self._told.clear()


def attach(parts: Mapping[str, nn.Module], method: LayerMethod, targets: Targets, seed: int) -> Network:
    """Freeze the parts of a base model and place a method on the layers that `targets` selects."""
    for net in parts.values():
        net.requires_grad_(False)
    network = Network()
    network.place(select(parts, method, targets), seed)
    return network
