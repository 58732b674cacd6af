"""Options that several commands share, each described once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print data as one line of JSON on standard output.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of runs; $VELATURA_HOME, else outputs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there under this name.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any other setting; repeatable.")
]
BaseModel = Annotated[
    str | None,
    typer.Option(
        "--base", metavar="BASE", help="Base model: starter, a hub id, a diffusers folder or a .safetensors file."
    ),
]
ConfigFile = Annotated[Path | None, typer.Argument(metavar="CONFIG.toml", help="A config file, complete or partial.")]
Images = Annotated[
    str | None, typer.Option("--images", metavar="DIR", help="Folder of images, with .txt captions beside them.")
]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the run and of the style file.")]
Preset = Annotated[
    str | None,
    typer.Option("--preset", metavar="PRESET", help="`velatura presets` lists them; without one, balanced."),
]
Compose = Annotated[
    str,
    typer.Option(
        "--compose",
        metavar="WAY[:N]",
        help="How several styles are combined: sum, svd:16 (rank), ties:0.2 and dare:0.5 (share), switch:5 (steps), "
        "composite, k-lora:1.5 (first the content, then the style).",
    ),
]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Optimizer steps.")]
LongerSteps = Annotated[
    int | None, typer.Option("--steps", metavar="N", help="Train longer: the new number of steps in all.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="The same seed and settings give the same file.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


def runs_folder(out: Path | None) -> Path:
    """Where runs go: `--out`, else $VELATURA_HOME, else `outputs/` here."""
    home = os.environ.get("VELATURA_HOME")
    return out or (Path(home) if home else Path("outputs"))
