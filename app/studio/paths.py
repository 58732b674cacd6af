"""The studio's folders, in a hidden folder beside the runs; only `public/` is served."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from trainers.atomic_files import replace_file, sync_folder

HELD = ".held"
SECRET_BYTES = 32


@dataclass(frozen=True)
class Paths:
    """The folders of a studio, all below that of its runs."""

    runs: Path

    @property
    def root(self) -> Path:
        """The studio's hidden folder."""
        return self.runs / ".studio"

    @property
    def drafts(self) -> Path:
        """Drafts, one folder each."""
        return self.root / "drafts"

    @property
    def public(self) -> Path:
        """Files for pages and downloads; the only folder that browsers may read."""
        return self.root / "public"

    @property
    def styles(self) -> Path:
        """Imported style files."""
        return self.root / "styles"

    @property
    def people(self) -> Path:
        """The accounts and logins."""
        return self.root / "people.db"

    @property
    def uploads(self) -> Path:
        """Uploads, one folder per server."""
        return self.root / "uploads"

    def make(self) -> None:
        """Create the folders, private to this user if the system supports it."""
        self.runs.mkdir(parents=True, exist_ok=True)
        for folder in (self.root, self.drafts, self.public, self.styles, self.uploads):
            folder.mkdir(mode=0o700, exist_ok=True)

    def secret(self) -> bytes:
        """Random bytes that survive a restart, the source of unguessable names.

        A key file that is too short, as after a full disk or a crash, is set aside and replaced.
        """
        path = self.root / "secret"
        with FileLock(self.root / "secret.lock"):
            secret = path.read_bytes() if path.exists() else b""
            if len(secret) >= SECRET_BYTES:
                return secret
            if path.exists():
                path.replace(self.root / "secret.damaged")
            descriptor, coming = tempfile.mkstemp(dir=self.root, prefix="secret-")  # unreadable to others
            with os.fdopen(descriptor, "wb") as file:
                file.write(value := secrets.token_bytes(SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            replace_file(Path(coming), path)
            sync_folder(self.root)
        return value


class UploadFolder:
    """A folder for one server's uploads, emptied when the server stops, or later if it was killed."""

    def __init__(self, paths: Paths) -> None:
        with FileLock(paths.root / "uploads.lock"):  # or another starting server would delete our folder
            for left_behind in paths.uploads.iterdir():
                if not _is_held(left_behind):
                    shutil.rmtree(left_behind, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(dir=paths.uploads))
            self._lock = FileLock(self.path / HELD)
            self._lock.acquire()

    def close(self) -> None:
        """Delete everything in it."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    """Whether a living server uses the folder."""
    if not folder.is_dir():
        return False
    lock = FileLock(folder / HELD)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
