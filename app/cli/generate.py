"""`velatura generate`: pictures drawn with styles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import print_json, say
from app.cli.options import BaseModel, Compose, Json, Overwrite
from app.studio.progress import progress_of
from app.units import readable_size
from trainers.config.limits import BATCH, GUIDANCE, SEED, STEPS

commands = typer.Typer()


@commands.command(epilog='Example: velatura generate --style dusk.safetensors:0.8 --prompt "a fox" --out fox.png')
def generate(
    context: typer.Context,
    prompt: Annotated[
        list[str], typer.Option(metavar="TEXT", help="What to draw; repeat for several pictures in one grid.")
    ],
    out: Annotated[Path, typer.Option(metavar="IMG", help="The picture to write (.png, .jpg or .webp).")],
    style: Annotated[list[str] | None, typer.Option(metavar="FILE[:STRENGTH]", help="A style; repeatable.")] = None,
    negative: Annotated[str, typer.Option(metavar="TEXT", help="What should not be in the picture.")] = "",
    seed: Annotated[
        int, typer.Option(metavar="N", min=SEED[0], max=SEED[1], help="The same seed gives the same picture.")
    ] = 1,
    steps: Annotated[int, typer.Option(metavar="N", min=STEPS[0], max=STEPS[1], help="Denoising steps.")] = 25,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size in pixels; default the base's own.")] = "",
    guidance: Annotated[
        float | None,
        typer.Option(
            metavar="G",
            min=GUIDANCE[0],
            max=GUIDANCE[1],
            help="How closely to follow the prompt, 1 to 50; default the base's.",
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(metavar="NAME", help="ddim, euler or dpm++.")] = "ddim",
    base: BaseModel = None,
    compose: Compose = "sum",
    each: Annotated[
        bool, typer.Option("--each", help="One picture with every style, numbered, all in one batch.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=BATCH[0], max=BATCH[1], help="Most pictures at once; default 4 with --each, else 1."
        ),
    ] = None,
    plain: Annotated[
        Path | None, typer.Option(metavar="IMG", help="Where to write the same picture without the styles.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw a picture with one or several styles, or one with each of them."""
    from app.studio.generation.generate import Request, draw_to_files

    asked = (tuple(prompt), tuple(style or ()), negative, seed, steps, size, guidance, sampler, base)
    paths = draw_to_files(Request(*asked, compose, each, batch), out, overwrite, plain, progress_of(context))
    if json:
        print_json(({"images": paths} if each else {"image": paths[0]}) | {"seed": seed})
    else:
        for path in paths:
            say(f"wrote {path} ({readable_size(path.stat().st_size)})")
