"""Where an installation lies, what it remembers, and the lock that keeps two installers apart."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

WINDOWS, MAC = sys.platform == "win32", sys.platform == "darwin"

PYTHONS = ((3, 11), (3, 14))
"""The oldest and the newest Python for which every package has a file."""


class RefusedError(Exception):
    """A sentence for the person: what is wrong, and what to do."""


@dataclass(frozen=True)
class Record:
    """What an installation remembers, in `installation.json`."""

    outputs: str
    """Folder of trainings and styles."""
    source: str
    """Folder, ZIP file or address that the current version came from."""
    torch: str = ""
    """Where PyTorch came from, as given with `--torch`."""
    previous: str = ""
    """The version to which `--back` returns."""
    copy: str = ""
    """Copy of the queue and settings as the previous version left them."""


@dataclass(frozen=True)
class Layout:
    """The folders of an installation."""

    root: Path

    @property
    def versions(self) -> Path:
        """One Python environment for each version."""
        return self.root / "versions"

    @property
    def downloads(self) -> Path:
        """Packages that were downloaded; emptied when an installation has ended well."""
        return self.root / "downloads"

    @property
    def logs(self) -> Path:
        """Pip's logs."""
        return self.root / "logs"

    @property
    def installer(self) -> Path:
        """This package and its icon, for updates and for uninstalling."""
        return self.root / "installer"

    @property
    def python(self) -> Path:
        """A Python that `install.sh` or `install.ps1` has downloaded."""
        return self.root / "python"

    @property
    def command(self) -> Path:
        """The command `velatura` of the current version."""
        return self.root / ("velatura.cmd" if WINDOWS else "velatura")

    @property
    def building(self) -> Path:
        """A copy of the source that is being built."""
        return self.root / "building"

    @property
    def removing(self) -> Path:
        """Versions that are being removed."""
        return self.root / "removing"

    def environment_python(self, version: str) -> Path:
        """The Python of a version's environment."""
        return self.versions / version / ("Scripts/python.exe" if WINDOWS else "bin/python")

    def program(self, version: str, *words: str | Path) -> list[str]:
        """The command line of a version, without the script that pip writes: it fails where paths contain a `$`."""
        return [*map(str, (self.environment_python(version), "-P", "-m", "app.cli", *words))]

    def current(self) -> str:
        """The name of the version that is in use; "" without one."""
        try:
            return (self.root / "current").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def record(self) -> Record | None:
        """What is remembered; None before the first installation."""
        try:
            record = json.loads((self.root / "installation.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        known = {field.name for field in fields(Record)}
        return Record(**{name: value for name, value in record.items() if name in known})

    def use(self, version: str, record: Record) -> None:
        """Make a version the current one. Each file is replaced whole, so that a kill leaves a version that works."""
        _replace(self.root / "installation.json", json.dumps(asdict(record), indent=1))
        _replace(self.root / "current", version + "\n")

    @property
    def lock(self) -> Path:
        """The file that keeps other installers out; it stays, so the folder is known to be an installation's."""
        return self.root / "installer.lock"

    def refuse_other_folder(self) -> None:
        """Refuse a folder with files of something else: updating and uninstalling remove folders by name."""
        if not self.root.exists() or self.lock.exists():
            return
        pythons = self.python.iterdir() if self.python.is_dir() else iter(())
        others = [path for path in self.root.iterdir() if path != self.python]
        if others or any(not path.name.startswith(("cpython-", ".")) for path in pythons):
            raise RefusedError(f"{self.root} holds files of something else; choose a new folder with --to")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other installers out. Refused if one is at work."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self.lock.open("w") as file:
            try:
                if sys.platform == "win32":
                    import msvcrt

                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    import fcntl

                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RefusedError(f"another installation is at work in {self.root}; wait until it ends") from None
            yield


def usual_root() -> Path:
    """The folder of the program, by the system's custom."""
    home = Path.home()
    if WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "Velatura"
    if MAC:
        return home / "Library" / "Application Support" / "Velatura"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "velatura"


def _replace(path: Path, text: str) -> None:
    coming = path.with_name(f"{path.name}.new")
    with coming.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    coming.replace(path)
