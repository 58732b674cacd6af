"""Commands for a folder of images: `velatura check` and `velatura caption`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from app.cli.common.console import answers, line, print_json, say
from app.cli.common.options import BaseModel, Json, Settings
from app.units import counted

if TYPE_CHECKING:
    from trainers.data.findings import Finding, Level

commands = typer.Typer()

SIGNS: dict[Level, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "note": ("·", "cyan"),
    "warning": ("!", "yellow"),
    "error": ("✗", "red"),
}
MOST_FILES = 6


@commands.command(epilog="Example: velatura check my-paintings")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    base: BaseModel = None,
    assignments: Settings = None,
    json: Json = False,
) -> None:
    """Check a folder of images, with their captions, masks and crops, and suggest a fix for each problem."""
    ok = show_findings(folder, base, assignments or [], json)
    if not ok:
        raise typer.Exit(1)


@commands.command(epilog="Example: velatura caption my-paintings --server http://localhost:11434 --model qwen3-vl:8b")
def caption(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Captioning model: blip, florence-2 or wd14; downloaded once, or found where VELATURA_MODELS points. "
            "With --server, a model of that server.",
        ),
    ] = "",
    server: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="A chat server of your own that sees pictures, such as Ollama (http://localhost:11434), LM Studio, "
            "vLLM or llama.cpp. The pictures are sent there; its key, if any, is read from VELATURA_CAPTION_KEY.",
        ),
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Also replace existing captions.")] = False,
    json: Json = False,
) -> None:
    """Write a caption for each image without one, as a .txt file."""
    from app.studio.dataset.captions import write_captions

    if server:
        from trainers.captioning.server import CaptionServer

        address = CaptionServer(server, model)
        if not address.is_local:
            say((f"the pictures are sent to {address.host}", "yellow"))
    captions = write_captions(folder, model or ("" if server else "blip"), every, server=server)
    for reason in captions.left_out.values():
        say((f"{reason}; it was left out", "yellow"))
    if json:
        print_json(captions.written)
    else:
        for name, words in captions.written.items():
            say(f"{name}: {words}")
        say(f"wrote {counted(len(captions.written), 'caption')}")
    if captions.left_out:
        raise typer.Exit(1)


def show_findings(folder: Path, base: str | None, assignments: Sequence[str], as_json: bool) -> bool:
    """Print the findings about a folder of images and return whether a run can start with it."""
    from trainers.data.ingest import list_folder

    list_folder(folder)  # before torch is loaded, which takes seconds

    from trainers.config.layers import gather_config
    from trainers.data.captions import with_word
    from trainers.data.check import check_images
    from trainers.models.load import token_counter, training_size

    config = gather_config(None, None, {"name": "check", "images": folder, "base": base}, assignments)
    native, stride = training_size(config.base.model)
    word = config.tokens.word
    count = token_counter(config.base.model, {word: config.tokens.vectors} if word else None)
    resolution = config.data.resolution or native
    findings = check_images(folder, config.data, resolution, stride, lambda caption: count(with_word(caption, word)))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console = answers()
        drawn = _can_write("".join(sign for sign, _ in SIGNS.values()), console)
        for finding in findings:
            _print(finding, console, drawn)
    return all(finding.level != "error" for finding in findings)


def _print(finding: Finding, console: Console, drawn: bool) -> None:
    sign, style = SIGNS[finding.level]
    if not drawn:
        sign = f"{finding.level}:"
    console.print(line((sign, style), f" {finding.sentence}"), soft_wrap=True)
    if finding.fix:
        console.print(line((f"    {finding.fix}", "dim")), soft_wrap=True)
    if any(name not in finding.sentence for name in finding.files):
        more = f" and {len(finding.files) - MOST_FILES} more" if len(finding.files) > MOST_FILES else ""
        console.print(line(f"    {', '.join(finding.files[:MOST_FILES])}{more}"), soft_wrap=True)


def _can_write(letters: str, console: Console) -> bool:
    try:
        letters.encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return True
