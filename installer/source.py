"""Where a version comes from: a folder, a ZIP file of one, or an address of a ZIP file."""

from __future__ import annotations

import hashlib
import re
import shutil
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installer.layout import RefusedError

PROGRAM = ("app", "trainers", "presets", "installer", "pyproject.toml", "requirements.lock", "README.md")
"""What is installed. README.md is part of the package's description."""
LICENCE = ("LICENSE", "NOTICE")
PIECE = 2**20


@dataclass(frozen=True)
class Source:
    """The files of a version."""

    folder: Path
    given: str
    """As the person named it."""
    version: str
    digest: str
    """The first letters of the SHA-256 of all files: versions between two releases differ in it."""

    def name(self, torch: str) -> str:
        """The name of the version's folder; another build of PyTorch makes another version."""
        build = re.sub(r"\W+", "-", torch.rstrip("/").rpartition("/")[2])
        return "-".join(filter(None, (self.version, self.digest, build)))

    @property
    def lock(self) -> Path:
        """The packages with their SHA-256."""
        return self.folder / "requirements.lock"

    def copy_to(self, place: Path) -> None:
        """Copy what is built, so that building writes nothing into the person's folder."""
        for name in (*PROGRAM, *LICENCE):
            path = self.folder / name
            if path.is_dir():
                shutil.copytree(path, place / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif path.exists():
                shutil.copy(path, place / name)


def open_source(given: str, scratch: Path, sha256: str = "") -> Source:
    """Find the files of a version, downloading and unpacking them into `scratch` if necessary. Refused if it cannot."""
    folder = Path(given).expanduser()
    if "://" in given:
        folder = _download(given, scratch / "source.zip", sha256)
    else:
        folder = folder.absolute()
        given = str(folder)
    if folder.is_file() and zipfile.is_zipfile(folder):
        with zipfile.ZipFile(folder) as archive:
            archive.extractall(scratch / "unpacked")
        folder = scratch / "unpacked"
    inside = [folder, *(sorted(folder.iterdir()) if folder.is_dir() else ())]  # a ZIP often holds one folder
    lying = next((each for each in inside if all((each / name).exists() for name in PROGRAM)), None)
    if lying is None:
        raise RefusedError(f"{given} holds no Velatura that can be installed; name its folder or its ZIP file")
    project = tomllib.loads((lying / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return Source(lying, given, project["version"], _digest(lying))


def _download(address: str, target: Path, sha256: str) -> Path:
    _check_https(address)
    print(f"Downloading {address}", flush=True)
    try:
        opener = urllib.request.build_opener(_HttpsRedirects)
        with opener.open(address, timeout=60) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, PIECE)
    except OSError as error:
        raise RefusedError(f"{address} cannot be downloaded: {error}; check the network") from None
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    print(f"Its SHA-256 is {digest}")
    if sha256 and digest != sha256.lower():
        raise RefusedError(f"{address} has another SHA-256 than was named; nothing was installed")
    return target


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https:// alone."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_https(address: str) -> None:
    if not address.startswith("https://"):
        raise RefusedError(f"{address} is not an https:// address; anybody on the way could change what it sends")


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(_files(folder)):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {digest}\n".encode())
    return total.hexdigest()[:8]


def _files(folder: Path) -> Iterator[Path]:
    for name in PROGRAM:
        path = folder / name
        yield from (each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
        if path.is_file():
            yield path
