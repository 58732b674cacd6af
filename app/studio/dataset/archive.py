"""Unpacking untrusted ZIP files, with limits that do not rely on the archive's own claims."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainers.errors import VelaturaError
from trainers.messages import Message as _

MOST_FILES = 10_000
MOST_BYTES_OF_NAMES = 2**20  # of the list of contents, which zipfile reads at once
MOST_BYTES = 2**30
MOST_BYTES_EACH = 50 * 2**20
# A plain drawing as BMP or TIFF shrinks to a hundredth; a bomb to a thousandth.
MOST_RATIO, RATIO_COUNTS_FROM = 200, 2**20
ARCHIVES = frozenset({".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".jar", ".cbz"})
END, END_64 = b"PK\x05\x06", b"PK\x06\x07"
END_LENGTH = 22
CHUNK = 2**16
BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class Unpacked:
    """The files of an archive."""

    files: tuple[tuple[str, Path], ...]
    """(name inside the archive, path now)."""
    left_out: tuple[tuple[str, str], ...]
    """(name, reason)."""


def unpack(archive: Path, target: Path, suffixes: frozenset[str]) -> Unpacked:
    """Unpack files with one of the suffixes into the folder `target`, numbered instead of named.

    Raises VelaturaError if the whole archive is refused; `target` may then contain some of its files.
    """
    _check_list_of_contents(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if _is_meant(entry)]
            if len(entries) > MOST_FILES:
                raise VelaturaError(
                    "The ZIP holds {count} files; at most {most_files} are allowed.",
                    count=len(entries),
                    most_files=MOST_FILES,
                )
            return _unpack(opened, entries, target, suffixes)
    except BROKEN as error:
        raise VelaturaError("The ZIP is damaged and cannot be opened. Create it again.") from error


def _check_list_of_contents(archive: Path) -> None:
    """Refuse a list of contents that would take much memory: zipfile reads the size in the end record."""
    with archive.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 2**16 - END_LENGTH - len(END_64) - 20))
        tail = file.read()
    place = tail.rfind(END)
    if place < 0 or len(tail) < place + END_LENGTH:
        raise VelaturaError("This file is named .zip but is not a ZIP.")
    (length,) = struct.unpack_from("<I", tail, place + 12)
    if length > MOST_BYTES_OF_NAMES or END_64 in tail[max(0, place - 20) : place]:
        raise VelaturaError("The ZIP holds too many files; at most {most_files} are allowed.", most_files=MOST_FILES)


def _unpack(
    opened: zipfile.ZipFile, entries: list[zipfile.ZipInfo], target: Path, suffixes: frozenset[str]
) -> Unpacked:
    files: list[tuple[str, Path]] = []
    left_out: list[tuple[str, str]] = []
    room = MOST_BYTES
    for number, entry in enumerate(entries):
        suffix = PurePosixPath(entry.filename).suffix.lower()
        reason = _refusal(entry, suffix, suffixes)
        if reason is None:
            place = target / f"{number:04d}{suffix}"
            written = _copy(opened, entry, place, room)
            if written is None:
                reason = _("This file is larger than {most} MB.", most=MOST_BYTES_EACH // 2**20)
            else:
                room -= written
                files.append((entry.filename, place))
        if reason is not None:
            left_out.append((entry.filename, reason))
    return Unpacked(tuple(files), tuple(left_out))


def _is_meant(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a file that no system added by itself."""
    if not entry.filename:  # a crafted archive: reported as left out
        return True
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return not (entry.is_dir() or not parts or hidden or parts[0] == "__MACOSX" or parts[-1].lower() == "thumbs.db")


def _refusal(entry: zipfile.ZipInfo, suffix: str, suffixes: frozenset[str]) -> str | None:
    if not entry.filename:
        return _("This file has no name.")
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if stat.S_ISLNK(entry.external_attr >> 16):
        return _("This file is a link, which is not followed.")
    if ".." in path.parts or path.is_absolute() or ":" in path.parts[0]:
        return _("This file has a path that leads out of the ZIP.")
    if suffix in ARCHIVES:
        return _("This file is an archive inside the ZIP, which is not opened.")
    if suffix not in suffixes:
        return _("This file is not in a supported image format.")
    if entry.flag_bits & 1:
        return _("This file is password-protected.")
    return None


def _copy(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, room: int) -> int | None:
    """Copy one entry, counting its real bytes; None if it exceeds the limit of a file."""
    written = 0
    with opened.open(entry) as source, place.open("wb") as copy:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > room:
                raise VelaturaError("The ZIP unpacks to more than {most_bytes} GB.", most_bytes=MOST_BYTES // 2**30)
            if written > RATIO_COUNTS_FROM and written > MOST_RATIO * entry.compress_size:
                raise VelaturaError("The ZIP is compressed far more than pictures can be, so it was refused.")
            if written > MOST_BYTES_EACH:
                break
            copy.write(chunk)
    if written > MOST_BYTES_EACH:
        place.unlink()
        return None
    return written
