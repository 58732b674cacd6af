"""What a person double-clicks: launchers for the studio, for updates and for uninstalling."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from installer.layout import MAC, WINDOWS, Layout

STUDIO, STOP, UPDATE, UNINSTALL = "Velatura", "Stop Velatura", "Update Velatura", "Uninstall Velatura"
WORDS = {
    STUDIO: "ui --background --open",
    STOP: "ui --stop",
    UPDATE: "update --wait",
    UNINSTALL: "uninstall --wait",
}
"""What each launcher gives to the command."""
COMMENTS = {
    STUDIO: "Train styles for Stable Diffusion from a few images",
    STOP: "Trainings continue",
    UPDATE: "Copies the queue and the settings first",
    UNINSTALL: "Keeps your trainings and styles",
}
SHELL = """#!/bin/sh
# Velatura: the version that is named in the file `current`. Written by its installer.
root={root}
version=$(cat "$root/current")
[ -n "$VELATURA_HOME" ] || VELATURA_HOME={outputs}
export VELATURA_HOME
if ! "$root/versions/$version/bin/python" -c "" 2> /dev/null; then
  echo "The Python that Velatura was installed with is gone; run install.sh again." > "$root/problem.txt"
  cat "$root/problem.txt" >&2
  [ -t 2 ] || xdg-open "$root/problem.txt"
  exit 1
fi
exec "$root/versions/$version/bin/python" -P -m app.cli "$@"
"""
BATCH = """@echo off
rem Velatura: the version that is named in the file "current". Written by its installer.
setlocal
chcp 65001 > nul
set /p VERSION=<"%~dp0current"
if not defined VELATURA_HOME set "VELATURA_HOME={outputs}"
if "%~1"=="update" goto installer
if "%~1"=="uninstall" goto installer
"%~dp0versions\\%VERSION%\\Scripts\\python.exe" -P -m app.cli %*
exit /b %ERRORLEVEL%
:installer
set "PYTHONPATH=%~dp0installer"
"{python}" -P -m installer %* --to "%~dp0."
exit /b %ERRORLEVEL%
"""
"""On Windows no file of a running program can be removed, so that its installer runs outside of it."""
DESKTOP = """[Desktop Entry]
Type=Application
Name={name}
Comment={comment}
Exec={command} {words}
Icon={icon}
Terminal={terminal}
Categories=Graphics;
StartupNotify=true
"""


def write(layout: Layout, outputs: Path) -> None:
    """Write the command, and the launchers where the system looks for them."""
    python = getattr(sys, "_base_executable", sys.executable)
    if WINDOWS:
        text = BATCH.format(outputs=outputs, python=python).replace("\n", "\r\n")
    else:
        text = SHELL.format(root=shlex.quote(str(layout.root)), outputs=shlex.quote(str(outputs)))
    _executable(layout.command, text)
    for path, name in places(layout).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".desktop":
            values = {"name": name, "comment": COMMENTS[name], "words": WORDS[name]}
            terminal = "true" if name in (UPDATE, UNINSTALL) else "false"
            icon = layout.installer / "installer" / "icon.png"
            command = _desktop_quoted(layout.command)
            path.write_text(DESKTOP.format(**values, command=command, icon=icon, terminal=terminal), encoding="utf-8")
        elif path.suffix == ".command":
            _executable(path, f"#!/bin/sh\n{shlex.quote(str(layout.command))} {WORDS[name]}\n")
        elif path.suffix == ".cmd":
            _executable(path, f'@call "%~dp0{layout.command.name}" {WORDS[name]} || pause\r\n')
    if WINDOWS:
        _start_menu(layout)
    elif not (link := _link()).exists() and not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(layout.command)


def remove(layout: Layout) -> None:
    """Remove every launcher."""
    for path in places(layout):
        path.unlink(missing_ok=True)
    if not WINDOWS and _link().is_symlink() and _link().readlink() == layout.command:
        _link().unlink()
    if MAC and _mac_folder().is_dir() and not any(_mac_folder().iterdir()):
        _mac_folder().rmdir()
    if WINDOWS:
        shutil.rmtree(_menu_folder(), ignore_errors=True)


def places(layout: Layout) -> dict[Path, str]:
    """Where the launchers lie, and what each is called."""
    if WINDOWS:
        return {layout.root / f"{name}.cmd": name for name in WORDS if name != STUDIO} | {
            layout.root / "Velatura studio.cmd": STUDIO
        }
    if MAC:
        return {_mac_folder() / f"{name}.command": name for name in WORDS}
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return {data / "applications" / f"{name.lower().replace(' ', '-')}.desktop": name for name in WORDS}


def described(layout: Layout) -> str:
    """Where a person finds the launchers."""
    if WINDOWS:
        return f"start menu, Velatura; also in {layout.root}"
    command = f"; the command `velatura` in {_link().parent}"
    return f"{_mac_folder()}{command}" if MAC else f"applications menu, Velatura{command}"


def _link() -> Path:
    return Path.home() / ".local" / "bin" / "velatura"


def _mac_folder() -> Path:
    return Path.home() / "Applications" / "Velatura"


def _menu_folder() -> Path:
    return Path(os.environ["APPDATA"], "Microsoft", "Windows", "Start Menu", "Programs", "Velatura")


def _start_menu(layout: Layout) -> None:
    """Links in the start menu, which only Windows itself can write."""
    _menu_folder().mkdir(parents=True, exist_ok=True)
    icon = layout.installer / "installer" / "icon.ico"
    lines = ["$shell = New-Object -ComObject WScript.Shell"]
    for path, name in places(layout).items():
        link, target = (str(each).replace("'", "''") for each in (_menu_folder() / f"{name}.lnk", path))
        lines += [f"$link = $shell.CreateShortcut('{link}')", f"$link.TargetPath = '{target}'"]
        lines += [f"$link.IconLocation = '{str(icon).replace(chr(39), chr(39) * 2)}'", "$link.Save()"]
    subprocess.run(["powershell", "-NoProfile", "-Command", "\n".join(lines)], check=False)


def _executable(path: Path, text: str) -> None:
    coming = path.with_name(f"{path.name}.new")
    coming.write_text(text, encoding="utf-8", newline="")
    coming.chmod(0o755)
    coming.replace(path)


def _desktop_quoted(path: Path) -> str:
    """A program in a .desktop file: quoted, with the escapes of a string on top of those of a command."""
    inner = "".join(f"\\{letter}" if letter in '\\"$`' else letter for letter in str(path)).replace("\\", "\\\\")
    return '"' + inner.replace("%", "%%") + '"'
