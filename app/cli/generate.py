"""`velatura generate`: generate pictures with styles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.common.console import print_json, say
from app.cli.common.generation_options import takes_generation_options
from app.cli.common.options import Json, Overwrite
from app.units import readable_size
from trainers.config.limits import AXES

commands = typer.Typer()
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


@commands.command(epilog='Example: velatura generate --style dusk.safetensors:0.8 --prompt "a fox" --out fox.png')
@takes_generation_options(after="style")
def generate(
    prompt: Annotated[list[str], typer.Option(metavar="TEXT", help="Prompt; repeat for several pictures in one grid.")],
    out: Annotated[Path, typer.Option(metavar="IMG", help="Picture to write (.png, .jpg or .webp).")],
    style: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:STRENGTH]", help="Style file and strength; repeatable.")
    ] = None,
    part: Parts = None,
    axis: Axis = None,
    sheet: Sheet = None,
    plain: Annotated[
        Path | None, typer.Option(metavar="IMG", help="Also write the picture without styles to this file.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    **options: str | bool | None,
) -> None:
    """Generate a picture with one or several styles, or one per style."""
    from app.studio.generation.compatibility import resolve_files
    from app.studio.generation.generate import generate as draw
    from app.studio.generation.request import StyleRef, make_request

    request = make_request(
        prompts=prompt,
        styles=[StyleRef.parse(text) for text in style or ()],
        axes=[_read_axis(text) for text in axis or ()],
        compare=plain is not None,
        **{name: value for name, value in options.items() if value is not None},
    )
    pictures = draw(
        resolve_files(request), out, plain, overwrite, _say_notes, overview=sheet, parts=part or ()
    ).pictures
    files = {"sheet": sheet} if sheet is not None and len(pictures) > 1 else {}
    if json:
        facts = {"images": pictures} if request.each or len(pictures) > 1 else {"image": pictures[0]}
        print_json(facts | files | {"seed": request.seed})
        return
    for path in (*pictures, *files.values()):
        say(f"wrote {path} ({readable_size(path.stat().st_size)})")


def _read_axis(text: str) -> dict[str, str]:
    """An unvalidated axis from `KIND=V,V,…`."""
    kind, _, values = text.partition("=")
    return {"kind": kind.strip(), "values": values}


def _say_notes(kind: str, message: str = "", **facts: object) -> None:
    if kind == "note":
        say((message, "yellow"))
