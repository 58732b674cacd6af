"""Draws prompts with options of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from trainers.adapters.context import ForwardContext
from trainers.config.prompt_options import split_prompt
from trainers.sampling.sample import OnStep, SamplingParams, draw, drawing_context

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.models.model import Model


def params_of(params: SamplingParams, text: str) -> SamplingParams:
    """The parameters of one prompt's pictures; VelaturaError for an invalid option."""
    prompt, options = split_prompt(text)
    size = options.pop("width", params.size[0]), options.pop("height", params.size[1])
    first = options.pop("seed", None)
    seeds = params.seeds if first is None else tuple(range(first, first + len(params.seeds)))
    return replace(params, prompts=(prompt,), seeds=seeds, size=size, **options)


def draw_each(
    model: Model, params: SamplingParams, set_context: Callable[[ForwardContext], None], on_step: OnStep
) -> Iterator[Image]:
    """Generate the pictures of all prompts, in the order of `params.pictures`, each with its options.

    `set_context` receives the context of the forward passes of each prompt; the other arguments are those of `draw`.
    """
    for place, text in enumerate(params.prompts):
        single, before = params_of(params, text), place * len(params.seeds)
        set_context(drawing_context(model, single))

        def report(picture: int, step: int, before: int = before) -> None:
            on_step(before + picture, step)

        yield from draw(model, single, report)
