"""Draws the pictures of a request, batched by the styles on the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from app.studio.generation.cells import Cell
from app.studio.generation.options import sampled_of
from app.studio.generation.request import Resolved
from app.studio.styles.strengths import about_starter, about_strengths, about_words, add_words
from trainers.composition.ways import SUM, Composition
from trainers.errors import VelaturaError
from trainers.messages import Message as _

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.composition.apply import StyleNetwork
    from trainers.composition.schedule import StyleSchedule
    from trainers.formats.read import Style
    from trainers.models.model import Model
    from trainers.sampling.sample import SamplingParams

AT_ONCE = 5
"""Default batch size of a series."""
MOST_CHUNKS = 3
LONG_PROMPT = _("the prompt has {tokens} tokens; only the first {most} are used")
Note = Callable[[str], None]
Variant = tuple[tuple[Path, float], ...]
"""Style files that act together, with strengths."""
OnSheet = Callable[["OutputFile", "list[Image]"], None]


@dataclass(frozen=True)
class OutputFile:
    """A file to write: one picture, or a grid of several prompts."""

    place: Path
    cell: Cell[Resolved]
    variant: Variant = ()
    """Its styles, without their trained words."""
    number: int = 0
    """Its index among the files."""


@dataclass(frozen=True)
class StyleBatchGroup:
    """Sheets that share the styles on the base; each uses some of them, or its own strengths."""

    sheets: tuple[OutputFile, ...]
    variants: tuple[Variant, ...]


@dataclass
class Drawing:
    """Draws sheets of a request and passes each on when its last picture is done."""

    request: Resolved
    model: Model
    params: SamplingParams
    composition: Composition
    styles: Styles
    on_step: Callable[[int, int], None]
    on_rough: Callable[[OutputFile, Image], None]
    on_sheet: OnSheet
    note: Note
    texts: tuple[str, ...] = field(default=())
    """All prompts, and the negative one."""

    def draw(self, group: StyleBatchGroup) -> None:
        """Draw a group's sheets."""
        chosen = [self.styles.read(variant) for variant in group.variants]
        with self._applied(group, chosen) as styling:  # its notes come first
            for styles in chosen:
                notes = (about_strengths(styles), about_starter(styles, self.model), about_words(styles, self.texts))
                for sentence in chain.from_iterable(notes):
                    self.note(sentence)
            params = replace(self.params, chunks=self._chunks())
            for sheets in _alike(group.sheets, len(self.request.prompts) > 1).values():
                self._draw_alike(sheets, group.variants, params, styling)

    def _draw_alike(
        self, sheets: Sequence[OutputFile], variants: Sequence[Variant], params: SamplingParams, styling: StyleSchedule
    ) -> None:
        """Draw sheets that differ only in prompt, seed and styles."""
        from trainers.composition.schedule import StylePerImage
        from trainers.sampling.sample import draw

        request, several = sheets[0].cell.request, len(self.request.prompts) > 1
        prompts = request.prompts if several else tuple(dict.fromkeys(sheet.cell.request.prompt for sheet in sheets))
        seeds = tuple(dict.fromkeys(sheet.cell.request.seed for sheet in sheets))
        params = replace(params, prompts=prompts, seeds=seeds, **sampled_of(request))
        numbers = {variant: number for number, variant in enumerate(variants)}
        if isinstance(styling, StylePerImage):
            used = dict.fromkeys(styling.numbers[numbers[sheet.variant]] for sheet in sheets)
            styling = replace(styling, numbers=tuple(used))
        drawn = list(dict.fromkeys(sheet.variant for sheet in sheets))
        keys = [(prompt, seed, variant) for prompt in prompts for seed in seeds for variant in drawn]
        by_key = {(sheet.cell.request.prompt, sheet.cell.request.seed, sheet.variant): sheet for sheet in sheets}
        at = [by_key[(request.prompt if several else prompt, seed, variant)] for prompt, seed, variant in keys]
        pictures: dict[Path, list[Image]] = {}

        def on_rough(number: int, image: Image) -> None:
            if not several:
                self.on_rough(at[number - 1], image)

        for sheet, picture in zip(at, draw(self.model, params, self.on_step, styling, on_rough), strict=True):
            own_pictures = pictures.setdefault(sheet.place, [])
            own_pictures.append(picture)
            if len(own_pictures) == len(sheet.cell.request.prompts):
                self.on_sheet(sheet, own_pictures)

    def _applied(
        self, group: StyleBatchGroup, chosen: Sequence[list[tuple[Style, float]]]
    ) -> AbstractContextManager[StyleSchedule]:
        from trainers.composition.schedule import StylePerImage, StyleSchedule

        model, variants = self.model, group.variants
        parts, family = model.parts, model.family.name
        if len(variants) == 1:
            from trainers.composition.compose import compose

            if not chosen[0]:
                return nullcontext(StyleSchedule())
            request = group.sheets[0].cell.request
            return _on(*compose(model, chosen[0], self.composition, request.steps, request.seed), self.note)
        if _share_files(variants):
            from trainers.composition.sweep import sweep_styles

            strengths = [tuple(strength for _, strength in styles) for styles in chosen]
            network = sweep_styles(parts, family, [style for style, _ in chosen[0]], strengths, model.words)
            return _on(network, StylePerImage(network, tuple(range(len(variants)))), self.note)
        from trainers.composition.batched import batch_styles

        styled = [variant for variant in variants if variant]
        alone = [styles[0] for styles in chosen if styles]
        network = batch_styles(parts, family, [*alone, *self.styles.shared], model.words)
        numbers = [styled.index(variant) if variant else -1 for variant in variants]
        return _on(network, StylePerImage(network, tuple(numbers)), self.note)

    def _chunks(self) -> int:
        """Number of 75-token chunks for the longest prompt, at least as in training and at most three."""
        longest, limit = max(map(self.model.count_tokens, self.texts)), self.model.family.token_limit
        if longest > limit(MOST_CHUNKS):
            self.note(LONG_PROMPT.format(tokens=longest, most=limit(MOST_CHUNKS)))
        room = next((chunks for chunks in range(1, MOST_CHUNKS) if longest <= limit(chunks)), MOST_CHUNKS)
        return max(self.params.chunks, room)


class Styles:
    """The styles of a request, read once; steps of a run are read when they are drawn."""

    def __init__(self, request: Resolved) -> None:
        from trainers.formats.read import read_style

        self.chosen: list[tuple[Style, float]] = []
        for ref in request.styles:
            assert ref.path is not None
            self.chosen.append((read_style(ref.path), ref.strength))
        self.all = add_words(self.chosen)
        """The styles, and their trained words at full strength."""
        alone = any(axis.kind == "style" for axis in request.axes)
        self.shared = [pair for pair in self.all if pair[0].rows] if alone else []
        """Words in every picture with a style, if each picture has one style."""
        self._known: Mapping[Path, Style] = {style.path: style for style, _ in self.chosen}
        self._words: dict[tuple[Path, ...], list[tuple[Style, float]]] = {}

    def read(self, variant: Variant) -> list[tuple[Style, float]]:
        """The styles of a variant, and their words."""
        from trainers.formats.read import read_style

        if not variant:
            return []
        chosen = [
            (self._known[path] if path in self._known else read_style(path), strength) for path, strength in variant
        ]
        return [*chosen, *(self.shared or self._beside(chosen))]

    def names(self, variant: Variant) -> list[tuple[str, float]]:
        """Names and strengths of a variant's styles and words, once read."""
        files = tuple(path for path, _ in variant)
        words = (self.shared or self._words.get(files, [])) if variant else []
        of_files = [(path.name, strength) for path, strength in variant]
        return of_files + [(style.name, strength) for style, strength in words]

    def _beside(self, chosen: Sequence[tuple[Style, float]]) -> list[tuple[Style, float]]:
        files = tuple(style.path for style, _ in chosen)
        if files not in self._words:
            self._words[files] = add_words(chosen)[len(chosen) :]
        return self._words[files]


def group_sheets(
    sheets: Sequence[OutputFile], styles: Styles, composition: Composition, most: int
) -> Iterator[StyleBatchGroup]:
    """Group sheets by the styles that can be on the base at once, at most `most` single files."""
    by_variant: dict[tuple[Variant, int | None], list[OutputFile]] = {}
    for sheet in sheets:
        steps = None if composition.way == SUM else sheet.cell.request.steps  # some ways depend on the number of steps
        by_variant.setdefault((sheet.variant, steps), []).append(sheet)
    styled = list(dict.fromkeys(variant for variant, _ in by_variant if variant))
    if composition.way == SUM and len(styled) > 1 and _share_files(styled):
        yield _group(by_variant, styled)
        styled = []
    elif composition.way == SUM and len(styled) > 1 and all(_is_alone(variant, styles) for variant in styled):
        bare = [()] if ((), None) in by_variant and not styles.shared else []  # shared words act in all pictures
        several: list[Variant] = [*styled, *bare]
        for first in range(0, len(several), most):
            yield _group(by_variant, several[first : first + most])
        if bare:
            return
        styled = []
    for (variant, _steps), members in by_variant.items():
        if variant in styled or not variant:
            yield StyleBatchGroup(tuple(members), (variant,))


def _group(
    by_variant: Mapping[tuple[Variant, int | None], Sequence[OutputFile]], variants: Sequence[Variant]
) -> StyleBatchGroup:
    return StyleBatchGroup(tuple(sheet for variant in variants for sheet in by_variant[variant, None]), tuple(variants))


def _share_files(variants: Sequence[Variant]) -> bool:
    """Whether variants differ only in strengths."""
    return len({tuple(path for path, _ in variant) for variant in variants}) == 1


def _is_alone(variant: Variant, styles: Styles) -> bool:
    """Whether a variant is one file that changes layers, without trained words."""
    if len(variant) != 1:
        return False
    (style, _), *words = styles.read(variant)
    return not style.rows and words == styles.shared


def _alike(sheets: Sequence[OutputFile], several: bool) -> dict[object, list[OutputFile]]:
    """Sheets by the settings that a batch shares."""
    batches: dict[object, list[OutputFile]] = {}
    for sheet in sheets:
        request = sheet.cell.request
        key = (*sampled_of(request).values(), request.prompts if several else None)
        batches.setdefault(key, []).append(sheet)
    return batches


@contextmanager
def _on(network: StyleNetwork, styling: StyleSchedule, note: Note) -> Iterator[StyleSchedule]:
    for warning in network.warnings:
        note(warning)
    try:
        yield styling
    finally:
        network.remove()


def check_strengths(request: Resolved, styles: Styles) -> None:
    """Raise VelaturaError if an axis compares strengths of a word."""
    kinds = [axis.kind for axis in request.axes]
    places = [place for place, kind in enumerate(("strength", "second_strength")) if kind in kinds]
    if any(styles.chosen[place][0].rows for place in places):
        raise VelaturaError("a word has no strengths to compare; choose a style that changes the base")
