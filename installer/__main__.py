"""`python -m installer`: what `install.sh`, `install.ps1`, `velatura update` and `velatura uninstall` run."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from installer import actions
from installer.layout import PYTHONS, Layout, RefusedError, usual_root
from installer.source import Source, open_source

HERE = Path(__file__).absolute().parents[1]


def main() -> int:
    """Run a command; returns its exit code."""
    options = parse()
    for name in ("PYTHONPATH", "PYTHONHOME"):  # the programs that are started have packages of their own
        os.environ.pop(name, None)
    code = attempt(options)
    if options.wait and sys.stdin.isatty():
        with suppress(EOFError, KeyboardInterrupt):  # the window was closed
            input("\nPress Enter to close this window.")
    return code


def attempt(options: argparse.Namespace) -> int:
    """Run a command; what refuses it is a sentence on standard error."""
    layout = Layout(options.to.expanduser().absolute() if options.to else usual_root())
    try:
        if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
            raise RefusedError("Velatura needs Python 3.11 to 3.14")
        return run(options, layout)
    except RefusedError as refusal:
        print(f"\n{refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; start again, and it goes on", file=sys.stderr)
        return 130


def parse() -> argparse.Namespace:
    """The command and its options."""
    parser = argparse.ArgumentParser(prog="velatura")
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--yes", action="store_true", help="ask nothing")
    shared.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)  # for windows that close at the end
    shared.add_argument("--to", type=Path, metavar="FOLDER", help="where the program lies")
    chosen = argparse.ArgumentParser(add_help=False)
    chosen.add_argument("--outputs", type=Path, metavar="FOLDER", help="where trainings and styles go")
    chosen.add_argument(
        "--torch", metavar="BUILD", help="PyTorch from its own index: cpu, cu130, an address, a folder; or pypi"
    )
    chosen.add_argument("--sha256", default="", metavar="HASH", help="SHA-256 of the file at an address")
    install = commands.add_parser("install", parents=[shared, chosen], help="install, or update to this version")
    install.add_argument("--named", metavar="FROM", help=argparse.SUPPRESS)  # by `update`: where this folder came from
    install.set_defaults(back=False)
    update = commands.add_parser("update", parents=[shared, chosen], help="update, or return to the previous version")
    update.add_argument("source", nargs="?", metavar="FROM", help="folder, ZIP file or https:// address")
    update.add_argument("--back", action="store_true", help="return to the previous version")
    commands.add_parser("uninstall", parents=[shared], help="remove the program; keep trainings and styles")
    return parser.parse_args()


def run(options: argparse.Namespace, layout: Layout) -> int:
    """Do what was asked for; returns the exit code. Refused if it cannot be done."""

    def ask(question: str) -> bool:
        if options.yes:
            return True
        if not sys.stdin.isatty():
            raise RefusedError("there is no terminal to ask in; say --yes if you agree")
        try:
            return input(f"\n{question} [y/N] ").strip().lower() in ("y", "yes", "j", "ja")
        except EOFError:
            return False

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        if options.command == "uninstall":
            actions.uninstall(layout, ask)
        elif options.back:
            actions.back(layout, ask)
        elif options.command == "install":
            source = replace(open_source(str(HERE), Path(scratch)), given=options.named or str(HERE))
            actions.install(layout, source, options.outputs, options.torch, ask)
        else:
            given = options.source or _named(layout, options.yes)
            return _hand_over(options, layout, open_source(given, Path(scratch), options.sha256))
    return 0


def _hand_over(options: argparse.Namespace, layout: Layout, source: Source) -> int:
    """Let the new version's installer install it: it knows what it needs. Versions keep the names of these options."""
    words = ["install", "--to", layout.root, "--named", source.given, *(["--yes"] if options.yes else [])]
    for name, value in (("--outputs", options.outputs), ("--torch", options.torch)):
        words += [name, value] if value is not None else []
    command = [sys.executable, "-P", "-m", "installer", *map(str, words)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(source.folder)}).returncode


def _named(layout: Layout, is_silent: bool) -> str:
    """Where an update comes from: what a person names, or where the installed version came from."""
    record = layout.record()
    if record is None:
        raise RefusedError(f"there is no Velatura in {layout.root}; run install.sh, or install.ps1 on Windows, first")
    if is_silent or not sys.stdin.isatty():
        return record.source
    print("Where is the new version? A folder, a ZIP file or an https:// address;")
    return input(f"just Enter for {record.source}: ").strip().strip("'\"") or record.source


sys.exit(main())
