"""The environment of a version: its packages, each checked by its SHA-256, and the checks before it is used."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from installer.layout import Layout, RefusedError
from installer.source import Source

COMPLETE = "complete"
"""A file in an environment that passed its checks."""
TORCH = re.compile(r"torch(vision)?|triton|cuda-.*|nvidia-.*")
"""What another build of PyTorch brings itself, or does not need."""
WITHOUT_WHEELS = ("rjsmin",)
"""Packages that are built on macOS and Windows, from sources that are checked by their SHA-256."""
INDEX = "https://download.pytorch.org/whl/"
OFFLINE = re.compile(
    "NewConnectionError|NameResolutionError|Failed to establish|ConnectTimeout|ProxyError|No route", re.I
)


def is_complete(layout: Layout, version: str) -> bool:
    """Whether a version is installed and passed its checks."""
    return (layout.versions / version / COMPLETE).exists()


def build(layout: Layout, source: Source, name: str, torch: str) -> None:
    """Make the environment of a version beside the others. Refused if something cannot be had."""
    place = layout.versions / name
    if place.exists():
        print("Removing what an interrupted installation left", flush=True)
        shutil.rmtree(place)
    layout.logs.mkdir(parents=True, exist_ok=True)
    base = getattr(sys, "_base_executable", sys.executable)
    if subprocess.run([base, "-m", "venv", place]).returncode:
        raise RefusedError(f"{base} cannot make an environment in {place}; is the disk full?")
    packages = list(locked(source.lock.read_text(encoding="utf-8")))
    if torch:
        pinned = [block.split()[0] for each, block in packages if each in ("torch", "torchvision")]
        _pip(layout, name, "--no-deps", "--only-binary=:all:", *_torch_from(torch), *pinned)
        packages = [(each, block) for each, block in packages if not TORCH.fullmatch(each)]
    wheels = ",".join(each for each, _ in packages if each not in WITHOUT_WHEELS)
    for builds in (True, False):  # first what the others are built with
        wanted = "".join(block for each, block in packages if (each == "setuptools") == builds)
        requirements = place / "requirements.txt"
        requirements.write_text(wanted, encoding="utf-8")
        options = ("--no-deps", "--no-build-isolation", f"--only-binary={wheels}", "--require-hashes")
        if wanted:
            _pip(layout, name, *options, "-r", requirements)
    shutil.rmtree(layout.building, ignore_errors=True)
    layout.building.mkdir()
    source.copy_to(layout.building)
    _pip(layout, name, "--no-deps", "--no-index", "--no-build-isolation", layout.building)
    shutil.rmtree(layout.building)


def locked(text: str) -> Iterator[tuple[str, str]]:
    """The packages of a lock file: the name and the lines of each."""
    for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        if match := re.match(r"([\w.-]+)==", block):
            yield match[1].lower(), block


def check(layout: Layout, version: str, queue: Path | None) -> None:
    """Try a version before it is used: packages, version, a studio, and the queue. Refused if something fails.

    `queue` is the folder with a copy of it, which is copied once more.
    """
    program = partial(layout.program, version)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        studio = ("--out", Path(name, "studio"))
        tries = [
            ("its packages fit together", [str(layout.environment_python(version)), "-m", "pip", "check"]),
            ("it starts", program("--version")),
            ("its studio opens", program("ui", "--background", *studio)),
            ("its studio stops", program("ui", "--stop", *studio)),
        ]
        if queue is not None and (queue / "queue.db").exists():
            shutil.copytree(queue, Path(name, "queue"))
            tries.append(("it reads the queue", program("queue", "list", "--json", "--out", Path(name, "queue"))))
        for what, command in tries:
            print(f"Checking that {what}", flush=True)
            process = subprocess.run(command, cwd=name, capture_output=True, text=True, errors="replace")
            if process.returncode:
                print(process.stdout[-2000:], process.stderr[-4000:], file=sys.stderr)
                raise RefusedError(f"the new version does not work: “{what}” failed. The one before stays in use")
    (layout.versions / version / COMPLETE).touch()


def _torch_from(given: str) -> tuple[str, ...]:
    """Options of pip for a build of PyTorch: a name of PyTorch's own index such as cpu, an address, or a folder."""
    if Path(given).is_dir():
        return "--no-index", "--find-links", given
    return "--index-url", given if "://" in given else INDEX + given


def _pip(layout: Layout, version: str, *words: str | Path) -> None:
    """Run `pip install` in the new environment; what it downloaded is kept until the installation has ended."""
    log = layout.logs / "pip.log"
    log.unlink(missing_ok=True)
    options = ("--disable-pip-version-check", "--retries", "2", "--cache-dir", layout.downloads, "--log", log)
    command = (layout.environment_python(version), "-m", "pip", "install", *options, *words)
    if subprocess.run([*map(str, command)]).returncode == 0:
        return
    output = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if OFFLINE.search(output):
        raise RefusedError(
            "the packages cannot be downloaded: there is no network, or it needs a proxy (HTTPS_PROXY) or another "
            "index (PIP_INDEX_URL). Nothing was changed; start again once it is there, and it goes on"
        )
    raise RefusedError(f"pip could not install the packages, and says why in {log}. Nothing was changed")
