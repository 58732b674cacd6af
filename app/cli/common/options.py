"""Options shared by several commands."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from trainers.errors import VelaturaError

Json = Annotated[bool, typer.Option("--json", help="Print data as one line of JSON on standard output.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder of runs; default $VELATURA_HOME or outputs.")
]
WebhookAddress = Annotated[
    str | None,
    typer.Option("--webhook", metavar="URL", envvar="VELATURA_WEBHOOK", help="Address to tell when a run has ended."),
]
ClusterAddress = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="Ray cluster: auto, HOST or HOST:PORT of its head."),
]
ClusterStorage = Annotated[
    str | None,
    typer.Option(
        "--storage", metavar="URL", help="With --cluster: object storage by which files travel: s3://BUCKET/FOLDER."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists under this name.")]
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
    str | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Folder of images, with captions (fox.txt), masks (fox-mask.png) and crops (fox.crop.json).",
    ),
]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the run and of the style file.")]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="PRESET",
        help="Preset, default balanced; `recommended` for the base; `velatura presets` lists them.",
    ),
]
StartFrom = Annotated[
    Path | None,
    typer.Option(
        "--start-from",
        metavar="FILE",
        help="Style file of the same base to train on: LoRA, LoHA or LoKr of any program.",
    ),
]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Optimizer steps.")]
Epochs = Annotated[
    float | None,
    typer.Option("--epochs", metavar="N", min=0.01, help="Length in passes over the images."),
]
Devices = Annotated[
    int | None,
    typer.Option("--devices", metavar="N", help="Devices that train together, such as graphics cards; 1 by default."),
]
OtherDevices = Annotated[
    int | None, typer.Option("--devices", metavar="N", help="Continue on another number of devices.")
]
ChangedImages = Annotated[
    bool, typer.Option("--changed-images", help="Continue although images of the run are gone or changed.")
]
LongerSteps = Annotated[
    int | None, typer.Option("--steps", metavar="N", help="Train longer: the new total number of steps.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Seed; the same seed and settings give the same file.")
]


def find_run(path: Path | None) -> Path | None:
    """A file or folder, or the run of this name unless a run or a file here has it."""
    if path is not None and len(path.parts) == 1:
        from trainers.runs.run import is_run

        run = runs_folder(None) / path
        with suppress(OSError):  # such as a name that is too long
            if not path.is_file() and not is_run(path) and is_run(run):
                return run
    return path


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", callback=find_run, help="A run's folder or name.")]


def runs_folder(out: Path | None) -> Path:
    """The folder of runs: `--out`, or $VELATURA_HOME, or `outputs/` in the current folder."""
    home = os.environ.get("VELATURA_HOME")
    return out or (Path(home) if home else Path("outputs"))


def is_alone(context: typer.Context, group: str, out: Path | None, json: bool) -> bool:
    """Whether a group was called without a command; VelaturaError for options before a command."""
    command = context.invoked_subcommand
    if command is not None and (out or json):
        raise VelaturaError(
            "put --out and --json after the command: velatura {group} {command} …", group=group, command=command
        )
    return command is None


def with_devices(assignments: list[str] | None, devices: int | None) -> list[str]:
    """The settings of `--set`, and that of `--devices` after them."""
    return [*(assignments or []), *([] if devices is None else [f"train.devices={devices}"])]
