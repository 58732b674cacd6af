"""Installing, updating, going back and uninstalling: what is asked first, and the order in which things change."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from installer import copies, launchers
from installer.layout import WINDOWS, Layout, Record, RefusedError
from installer.packages import INDEX, build, check, is_complete
from installer.source import PROGRAM, Source

GB = 10**9
NEEDED = {"linux": (2.9, 5.6), "win32": (0.6, 2.0), "darwin": (0.5, 2.0)}
"""Gigabytes that are downloaded, and that they take on the disk; measured on Linux, estimated elsewhere."""
SMALL = (0.5, 1.6)
"""The same on Linux with PyTorch for the CPU alone."""
OWN = (
    "removing",
    "versions",
    "building",
    "downloads",
    "logs",
    "installer",
    "python",
    "current",
    "installation.json",
    "problem.txt",
)
"""What uninstalling removes from its folder, beside launchers."""
IDLE = {"queued", "paused", "stopped", "finished", "failed", "interrupted", "cancelled"}
"""States of jobs that no process has."""
Ask = Callable[[str], bool]


def install(layout: Layout, source: Source, outputs: Path | None, torch: str | None, ask: Ask) -> None:
    """Install a version, or update to it. Refused if something stands in the way; nothing has then changed."""
    layout.refuse_other_folder()
    record, before = layout.record(), layout.current()
    if not is_complete(layout, before):  # its removal was interrupted
        before = ""
    kept = record or Record(str(Path.home() / "Velatura"), "")
    new = replace(
        kept,
        outputs=str(outputs.expanduser().absolute()) if outputs else kept.outputs,
        source=source.given,
        torch=kept.torch if torch is None else torch.removeprefix("pypi"),
    )
    version = source.name(new.torch)
    print("\n".join(_plan(layout, source, new, before)))
    if before == version:
        print("\nThis version is installed already. Its launchers are written again.")
    elif before:
        refuse_if_busy(layout, Path(kept.outputs))
    if not is_complete(layout, version):
        _check_room(layout, new.torch)
    if not ask("Go on?"):
        raise RefusedError("nothing was changed")
    with layout.locked():
        if not is_complete(layout, version):
            build(layout, source, version, new.torch)
        if before and before != version:
            new = _switch(layout, version, before, kept, new)
        elif not before:
            check(layout, version, None)
        Path(new.outputs).mkdir(parents=True, exist_ok=True)
        _keep_installer(layout, source)
        launchers.write(layout, Path(new.outputs))
        layout.use(version, new)
        _tidy(layout, {version, new.previous})
    print(f"\nVelatura {version} is installed. Start it: {launchers.described(layout)}")


def _switch(layout: Layout, version: str, before: str, kept: Record, new: Record) -> Record:
    """Copy the queue and try the new version on the copy, with the studio stopped; returns what to remember."""
    outputs = Path(kept.outputs)
    stop_studio(layout, outputs)
    refuse_if_busy(layout, outputs)  # it may have started one since
    print("Copying the queue, the settings and the accounts", flush=True)
    copy = copies.copy(outputs, before)
    check(layout, version, copy)
    return replace(new, previous=before, copy=str(copy))


def back(layout: Layout, ask: Ask) -> None:
    """Return to the previous version. Refused if there is none or trainings run."""
    record, now = layout.record(), layout.current()
    if record is None or not record.previous or not is_complete(layout, record.previous):
        raise RefusedError("there is no previous version to return to")
    outputs = Path(record.outputs)
    print(f"From {now} back to {record.previous}, which is still installed: nothing is downloaded.")
    print("A queue or accounts that it cannot read any more are put back from their copy; the newer files stay beside.")
    refuse_if_busy(layout, outputs)
    if not ask("Go back?"):
        raise RefusedError("nothing was changed")
    with layout.locked():
        stop_studio(layout, outputs)
        refuse_if_busy(layout, outputs)
        copy = copies.copy(outputs, now)
        done = copies.put_back(layout, record.previous, outputs, Path(record.copy))
        layout.use(record.previous, replace(record, previous=now, copy=str(copy)))
    print(f"Velatura {record.previous} is in use again; `velatura update --back` returns to {now}.")
    for what in done:
        print(f"Put back: {what}")


def uninstall(layout: Layout, ask: Ask) -> None:
    """Remove the program and its launchers, and keep everything that a person made. Refused if trainings run."""
    record = layout.record()
    if not layout.lock.exists():
        raise RefusedError(f"there is no Velatura in {layout.root}")
    outputs = Path(record.outputs) if record else None
    print(f"Removes the program in {layout.root} and its launchers.")
    if outputs:
        print(f"Keeps your trainings, styles, accounts and settings: {outputs}")
    print("Keeps base models in the cache of Hugging Face, which other programs use, too.")
    is_whole = is_complete(layout, layout.current())
    if outputs and is_whole:
        refuse_if_busy(layout, outputs)
    if not ask("Uninstall Velatura?"):
        raise RefusedError("nothing was removed")
    with layout.locked():
        if outputs and is_whole:
            stop_studio(layout, outputs)
        print("Removing it", flush=True)
        launchers.remove(layout)
        layout.command.unlink(missing_ok=True)
        shutil.rmtree(layout.removing, ignore_errors=True)
        with suppress(OSError):  # Windows keeps what is open; at once, so that a kill leaves no half version in use
            layout.versions.rename(layout.removing)
        for name in OWN:
            path = layout.root / name
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    layout.lock.unlink(missing_ok=True)
    if layout.root.is_dir() and not any(layout.root.iterdir()):
        layout.root.rmdir()
    elif layout.root.is_dir():
        print(f"Left in {layout.root}, because it is in use or not the installer's:")
        print(*sorted(path.name for path in layout.root.iterdir()), sep="\n")
    print("Velatura is uninstalled." + (f" Your trainings and styles are in {outputs}" if outputs else ""))


def refuse_if_busy(layout: Layout, outputs: Path) -> None:
    """Refuse while jobs run: their processes would meet files of another version."""
    if not (outputs / "queue.db").exists():
        return
    process = _velatura(layout, "queue", "list", "--json", "--out", outputs)
    if process.returncode:
        raise RefusedError(f"the queue in {outputs} cannot be read: {process.stderr.strip()}")
    busy = [job["name"] for job in json.loads(process.stdout) if job["state"] not in IDLE]
    if busy:
        raise RefusedError(
            f"{', '.join(busy)} is at work. Wait until it ends, or stop and keep it: velatura queue stop NAME. If more "
            "is waiting, stop the studio first, so that nothing new begins: velatura ui --stop"
        )


def stop_studio(layout: Layout, outputs: Path) -> None:
    """Stop the studio of an installation if it runs. Refused if it does not stop."""
    process = _velatura(layout, "ui", "--stop", "--out", outputs)
    if process.returncode:
        raise RefusedError(f"the studio does not stop: {process.stderr.strip()}")


def _velatura(layout: Layout, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = layout.program(layout.current(), *words)
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")


def _plan(layout: Layout, source: Source, new: Record, before: str) -> Sequence[str]:
    download, disk = _sizes(new.torch)
    version = source.name(new.torch)
    torch = f"PyTorch from {new.torch if '/' in new.torch else INDEX + new.torch}" if new.torch else _usual_torch()
    python = ".".join(map(str, sys.version_info[:3]))
    lines = [
        "",
        f"Velatura {before} → {version}" if before else f"Velatura {version}",
        f"  from       {source.given}",
        f"  program    {layout.root}",
        f"  outputs    {new.outputs}: your trainings, styles, accounts and settings; uninstalling keeps them",
        f"  launchers  {launchers.described(layout)}",
        f"  Python     {python}, {sys.executable}",
        f"  packages   {torch}; the others, and this one unless named otherwise, from PyPI",
        f"  verified   each package by the SHA-256 in {source.lock.name}"
        + (", except PyTorch, which only its own index vouches for" if new.torch else ""),
    ]
    if not is_complete(layout, version):
        lines.append(f"  size       about {download:.1f} GB to download, {disk:.1f} GB on the disk")
    if before and before != version:
        lines.append("  first      the studio is stopped; queue, settings and accounts are copied")
        lines.append(f"  back       `velatura update --back` returns to {before}, which stays")
    lines.append("  untouched  everything else: no root, no service, no settings of the system or the shell")
    return lines


def _usual_torch() -> str:
    """What PyPI has for this system, and why it is taken."""
    if sys.platform == "linux":
        return (
            "PyTorch with CUDA, which also runs without a graphics card (without an NVIDIA card, "
            "`--torch cpu` saves 2.4 GB of download)"
        )
    if WINDOWS and shutil.which("nvidia-smi"):
        return "PyTorch for the CPU alone; your NVIDIA card needs `--torch cu130`"
    return "PyTorch for the CPU" if WINDOWS else "PyTorch with Metal"


def _sizes(torch: str) -> tuple[float, float]:
    return SMALL if sys.platform == "linux" and torch and "cu1" not in torch else NEEDED[sys.platform]


def _check_room(layout: Layout, torch: str) -> None:
    """Refused if the disk has no room for the packages and, while they are installed, their downloads."""
    needed = sum(_sizes(torch)) * GB
    folder = next(each for each in (layout.root, *layout.root.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RefusedError(
            f"the disk of {folder} has {free / GB:.1f} GB free; installing takes {needed / GB:.1f} GB, of which the "
            "downloads are removed at the end. Free some, or choose another folder with --to"
        )


def _keep_installer(layout: Layout, source: Source) -> None:
    """Keep this version's installer and icons beside the environments, of which none is there for good."""
    if layout.installer.exists():
        shutil.rmtree(layout.installer)
    package = layout.installer / "installer"
    shutil.copytree(source.folder / PROGRAM[3], package, ignore=shutil.ignore_patterns("__pycache__"))
    icon = source.folder / "app" / "ui" / "static" / "icon-192.png"
    if icon.exists():
        png = icon.read_bytes()
        (package / "icon.png").write_bytes(png)
        head = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 192, 192, 0, 0, 1, 32, len(png), 22)
        (package / "icon.ico").write_bytes(head + png)


def _tidy(layout: Layout, kept: set[str]) -> None:
    """Remove downloads and versions that are neither in use nor the previous one."""
    for folder in (layout.downloads, layout.removing):
        shutil.rmtree(folder, ignore_errors=True)
    for place in layout.versions.iterdir():
        if place.name not in kept:
            shutil.rmtree(place, ignore_errors=True)
