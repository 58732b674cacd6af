"""`velatura install`: copies a style into the folder of another program on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import Json, Out, Overwrite, find_run, runs_folder
from app.cli.export import tell_step
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from app.studio.programs.find import Place

commands = typer.Typer()


@commands.command(epilog="Example: velatura install outputs/dusk --into comfyui")
def install(
    style: Annotated[
        Path | None, typer.Argument(metavar="STYLE", callback=find_run, help="Style file, or a run's folder or name.")
    ] = None,
    into: Annotated[
        str | None, typer.Option("--into", metavar="PROGRAM", help="comfyui, a1111, forge, invoke, or its folder.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where that program lies; remembered.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the programs found on this machine.")] = False,
    overwrite: Overwrite = False,
    json: Json = False,
    out: Out = None,
) -> None:
    """Copy a style into the LoRA folder of ComfyUI, A1111, Forge or InvokeAI, in a form that it reads."""
    if listing:
        list_programs(runs_folder(out), json)
        return
    if style is None or into is None:
        raise VelaturaError("give a style and a program: velatura install STYLE --into comfyui; --list shows them")
    from app.studio.programs.install import install as copy
    from app.studio.runs.chosen import chosen_style, is_snapshot, starred_step

    place = find_place(runs_folder(out), into, folder)
    file = chosen_style(style) if style.is_dir() else style
    if file is None:
        raise VelaturaError("{style} has no style yet; finish or stop its run first", style=style)
    name = style.resolve().name if style.is_dir() and is_snapshot(style, file) else file.stem
    done = copy(file, name, place, overwrite)
    if json:
        report = {"file": done.file, "prompt": done.prompt, "word": done.word, "left_out": done.left_out}
        print_json({**report, "note": done.note, "step": starred_step(style) if style.is_dir() else None})
        return
    say(("was there" if done.was_there else "installed", "bold green"), f"  {done.file}")
    if style.is_dir():
        tell_step(style)
    if done.word is not None:
        say(f"its word: {done.word}")
    if done.converted:
        say(f"as plain LoRA, because {place.program.title} does not read all of the style's own form")
    if done.left_out:
        say((f"{place.program.title} leaves out {done.left_out}", "yellow"))
    if done.note:
        say((done.note, "yellow"))
    say(f"in {place.program.title}: {how_to_use(place.kind, done.file, done.prompt)}")


def how_to_use(kind: str, file: Path, prompt: str) -> str:
    """Instructions for a program."""
    if kind == "comfyui":
        return f"press R to read the folders again, choose {file.name} in the node Load LoRA, and prompt {prompt}"
    if kind == "invoke":
        return f"scan {file.parent} in its model manager and add {file.stem}, then prompt {prompt}"
    return f"prompt {prompt}"


def find_place(runs: Path, into: str, folder: Path | None) -> Place:
    """The program called `into`, or in the folder `into`; VelaturaError if it is not on this machine."""
    from app.studio.programs.find import KINDS, PROGRAMS, Place, Remembered, find_programs, kind_of

    remembered = Remembered(runs)
    kind = next((kind for kind in KINDS if into.lower() in (kind, PROGRAMS[kind].title.lower())), None)
    if kind is None:
        path = Path(into).expanduser()
        kind = kind_of(path) if path.is_dir() else None
        if kind is None:
            raise VelaturaError(
                "{into} is neither {programs} nor the folder of one of them", into=into, programs=", ".join(KINDS)
            )
        return Place(kind, path.absolute(), "usual")
    if folder is not None:
        return remembered.keep(kind, folder)
    for place in find_programs(remembered.read()):
        if place.kind == kind:
            return place
    title = PROGRAMS[kind].title
    raise VelaturaError("{title} was not found on this machine; say where it lies once with --folder DIR", title=title)


def list_programs(runs: Path, as_json: bool) -> None:
    """Print the programs on this machine and their folders for styles."""
    from app.studio.programs.find import Remembered, find_programs

    places = find_programs(Remembered(runs).read())
    if as_json:
        print_json([{"program": each.kind, "folder": each.styles, "found": each.found} for each in places])
        return
    if not places:
        say("no program was found; name one with --into comfyui --folder DIR, which is remembered")
        return
    print_table(("program", "folder for styles", "found"), [(p.kind, str(p.styles), p.found) for p in places])
