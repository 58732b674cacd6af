"""`velatura update` and `velatura uninstall`, for a Velatura that `install.sh` or `install.ps1` installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from trainers.errors import VelaturaError

commands = typer.Typer()
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]
Wait = Annotated[bool, typer.Option("--wait", hidden=True, help="Keep the window open at the end.")]


@commands.command(epilog="Example: velatura update ~/Downloads/velatura-main.zip")
def update(
    source: Annotated[
        str | None, typer.Argument(metavar="FROM", help="Folder, ZIP file or https:// address; default the last one.")
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Return to the previous version.")] = False,
    torch: Annotated[
        str | None, typer.Option(metavar="BUILD", help="PyTorch from its own index: cpu, cu130; or pypi.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HASH", help="SHA-256 of the file at an address.")
    ] = None,
    yes: Yes = False,
    wait: Wait = False,
) -> None:
    """Update Velatura, or return to the previous version; the queue, settings and accounts are copied first."""
    named = {"--torch": torch, "--sha256": sha256}
    options = [word for name, value in named.items() if value for word in (name, value)]
    flags = {"--back": back, "--yes": yes, "--wait": wait}
    words = [*([source] if source else []), *options, *(name for name, is_set in flags.items() if is_set)]
    run_installer("update", *words)


@commands.command(epilog="Example: velatura uninstall --yes")
def uninstall(yes: Yes = False, wait: Wait = False) -> None:
    """Remove Velatura and its launchers; trainings, styles, accounts and settings stay."""
    run_installer("uninstall", *(name for name, is_set in {"--yes": yes, "--wait": wait}.items() if is_set))


def run_installer(*words: str) -> None:
    """Run the installation's own installer, outside of the environment that it changes, and exit with its code."""
    root = Path(sys.prefix).parents[1]
    if not (root / "installer").is_dir() or not (root / "installation.json").exists():
        raise VelaturaError(
            "this Velatura was not installed by install.sh or install.ps1; update its folder or its package yourself"
        )
    python = getattr(sys, "_base_executable", sys.executable)
    command = [python, "-P", "-m", "installer", *words, "--to", str(root)]
    process = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root / "installer")})
    raise typer.Exit(process.returncode)
