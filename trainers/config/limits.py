"""Limits of generation parameters, shared by config files, command line, pages and API."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

Sampler = Literal[
    "ddim",
    "euler",
    "euler a",
    "heun",
    "dpm++",
    "dpm++ 2m karras",
    "dpm++ 2m quick",
    "dpm++ 2m sde",
    "unipc",
    "lcm",
]
"""Samplers, by Automatic1111's names where it has them; `dpm++` is DPM++ 2M, `quick` is spaced for few steps.

`lcm` needs a base or style distilled for it.
"""
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
FLOW_SAMPLERS: tuple[Sampler, ...] = ("euler", "heun", "dpm++", "dpm++ 2m sde", "unipc")
"""Samplers for flow-matching bases."""

AxisKind = Literal["strength", "second_strength", "style", "step", "guidance", "seed", "steps", "sampler", "words"]
"""Axes of a comparison; `step` is a step of the first style's run, `words` replace each other in the prompt."""
AXES: tuple[AxisKind, ...] = get_args(AxisKind)

BaseStorage = Literal["auto", "full", "int8", "nf4"]
"""Storage of a base's weights for drawing; `auto` chooses one that fits into memory."""

SEED = (0, 2**63 - 1)
STEPS = (1, 1000)
"""Denoising steps."""
GUIDANCE = (1, 50)
"""Classifier-free guidance scale; 1 is off."""
SIDE = (8, 4096)
"""Width and height in pixels."""
STRENGTH = (-100, 100)
"""Strength of a style; 1 is as trained. A style that has learned little is still visible at 20."""
COUNT = (1, 16)
"""Pictures of a request, each with a seed of its own."""

Seed = Annotated[int, Field(ge=SEED[0], le=SEED[1])]
DenoisingSteps = Annotated[int, Field(ge=STEPS[0], le=STEPS[1])]
Guidance = Annotated[float, Field(ge=GUIDANCE[0], le=GUIDANCE[1])]
Side = Annotated[int, Field(ge=SIDE[0], le=SIDE[1])]
Strength = Annotated[float, Field(ge=STRENGTH[0], le=STRENGTH[1])]
Count = Annotated[int, Field(ge=COUNT[0], le=COUNT[1])]
Batch = Annotated[int, Field(ge=1, le=64)]
"""Batch size in pictures."""
