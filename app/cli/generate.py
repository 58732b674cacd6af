"""`velatura generate`: generate pictures with styles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.common.console import print_json, say
from app.cli.common.options import BaseModel, Compose, Json, Overwrite
from app.units import readable_size
from trainers.config.limits import AXES, BASE_STORAGES, BATCH, COUNT, GUIDANCE, SAMPLERS, SEED, STEPS

commands = typer.Typer()
Guidance = Annotated[
    float | None,
    typer.Option(
        metavar="G",
        min=GUIDANCE[0],
        max=GUIDANCE[1],
        help="Guidance scale, 1 to 50; default the base's.",
    ),
]
Seed = Annotated[
    int, typer.Option(metavar="N", min=SEED[0], max=SEED[1], help="Seed; the same seed gives the same picture.")
]
Count = Annotated[
    int, typer.Option(metavar="N", min=COUNT[0], max=COUNT[1], help="Numbered pictures, each with the next seed.")
]
Steps = Annotated[
    int | None, typer.Option(metavar="N", min=STEPS[0], max=STEPS[1], help="Denoising steps; default the base's.")
]
Strengths = Annotated[
    str, typer.Option(metavar="S,S,…", help="A numbered picture per strength of the style; of two styles, per pair.")
]
Axis = Annotated[
    list[str] | None,
    typer.Option(
        "--axis",
        metavar="WHAT=V,V,…",
        help=f"Compare: a numbered picture per value, or per pair of a second --axis. {', '.join(AXES)}; without "
        "values the usual ones, of step the kept steps of the style's run.",
    ),
]
Sheet = Annotated[
    Path | None, typer.Option(metavar="IMG", help="Also write several pictures on one labelled sheet to this file.")
]
Parts = Annotated[
    list[Path] | None,
    typer.Option(
        "--part",
        metavar="FILE",
        help="File of a part that the base's file lacks (base.parts), or folder of a tokenizer; repeatable.",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=BATCH[0], max=BATCH[1], help="Maximum pictures per batch; default 5 if there are several."
    ),
]
Sampler = Annotated[
    str | None, typer.Option(metavar="NAME", help=f"Sampler: {', '.join(SAMPLERS)}; default the base's.")
]
Storage = Annotated[
    str,
    typer.Option(
        metavar="HOW", help=f"Weights of the base in memory: {', '.join(BASE_STORAGES)}; auto packs what does not fit."
    ),
]


@commands.command(epilog='Example: velatura generate --style dusk.safetensors:0.8 --prompt "a fox" --out fox.png')
def generate(
    prompt: Annotated[list[str], typer.Option(metavar="TEXT", help="Prompt; repeat for several pictures in one grid.")],
    out: Annotated[Path, typer.Option(metavar="IMG", help="Picture to write (.png, .jpg or .webp).")],
    style: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:STRENGTH]", help="Style file and strength; repeatable.")
    ] = None,
    negative: Annotated[str, typer.Option(metavar="TEXT", help="Negative prompt.")] = "",
    seed: Seed = 1,
    count: Count = 1,
    steps: Steps = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size in pixels; default the base's.")] = "",
    guidance: Guidance = None,
    sampler: Sampler = None,
    base: BaseModel = None,
    part: Parts = None,
    compose: Compose = "sum",
    each: Annotated[bool, typer.Option("--each", help="One numbered picture per style, all in one batch.")] = False,
    strengths: Strengths = "",
    axis: Axis = None,
    sheet: Sheet = None,
    batch: Batch = None,
    storage: Storage = "auto",
    plain: Annotated[
        Path | None, typer.Option(metavar="IMG", help="Also write the picture without styles to this file.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Generate a picture with one or several styles, or one per style."""
    from app.studio.generation.compatibility import resolve_files
    from app.studio.generation.generate import generate as draw
    from app.studio.generation.request import StyleRef, make_request

    asked = make_request(
        prompts=prompt,
        styles=[StyleRef.parse(one) for one in style or ()],
        negative=negative,
        seed=seed,
        steps=steps,
        guidance=guidance,
        size=size or None,
        sampler=sampler,
        base=base or "",
        compose=compose,
        each=each,
        count=count,
        strengths=[one for one in strengths.split(",") if one.strip()],
        axes=[_read_axis(one) for one in axis or ()],
        compare=plain is not None,
        batch=batch,
        storage=storage,
    )
    pictures = draw(resolve_files(asked), out, plain, overwrite, _say_notes, overview=sheet, parts=part or ()).pictures
    files = {"sheet": sheet} if sheet is not None and len(pictures) > 1 else {}
    if json:
        found = {"images": pictures} if each or len(pictures) > 1 else {"image": pictures[0]}
        print_json(found | files | {"seed": seed})
        return
    for path in (*pictures, *files.values()):
        say(f"wrote {path} ({readable_size(path.stat().st_size)})")


def _read_axis(text: str) -> dict[str, str]:
    """`WHAT=V,V,…` as an axis, unvalidated."""
    kind, _, values = text.partition("=")
    return {"kind": kind.strip(), "values": values}


def _say_notes(kind: str, message: str = "", **facts: object) -> None:
    if kind == "note":
        say((message, "yellow"))
