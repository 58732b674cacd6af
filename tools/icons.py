"""Vector drawings from the npm registry: fetch a package by its recorded hash, wrap an icon as SVG, draw it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image

from trainers.errors import VelaturaError

IconTable = dict[str, Any]


def fetch_package(package: str, version: str, integrity: str, folder: Path) -> Path:
    """The npm package's archive in `folder`, downloaded if it is not there, and compared with its recorded hash.

    Raises VelaturaError if npm is missing or fails, or if the file is not the recorded one.
    """
    archive = folder / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        download(f"{package}@{version}", folder)
    verify(archive, integrity)
    return archive


def download(wanted: str, folder: Path) -> None:
    """Let npm write the archive of `name@version` into `folder`; raises VelaturaError with npm's reason."""
    npm = shutil.which("npm")
    if npm is None:
        raise VelaturaError("npm was not found: install Node.js, whose npm downloads the drawings, and run this again.")
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", wanted, "--loglevel=error", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        reason = done.stderr.replace("npm error", "").splitlines()[:2]  # the code and the cause; advice follows
        raise VelaturaError(
            f"npm could not download {wanted}: {' '.join(map(str.strip, reason)) or 'it gave no reason'}."
        )


def verify(archive: Path, integrity: str) -> None:
    """Compare a file's SHA-512 with `sha512-<base64>`; raises VelaturaError if they differ."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        raise VelaturaError(f"{archive.name} is not the recorded file: expected {integrity}, found {found}.")


def read_table(archive: Path) -> IconTable:
    """The icon table of an archive; raises VelaturaError if it has none."""
    with tarfile.open(archive) as package:
        member = package.extractfile("package/icons.json")
        if member is None:
            raise VelaturaError(f"{archive.name} holds no readable icons.json.")
        return json.load(member)


def find_icon(table: IconTable, icon_name: str) -> dict[str, Any] | None:
    """The icon of that name, or the one it is another name of, if the set has it; turned aliases are left out."""
    icons, aliases = table["icons"], table.get("aliases", {})
    alias = aliases.get(icon_name)
    if icon_name in icons or alias is None or set(alias) != {"parent"}:
        return icons.get(icon_name)
    return icons.get(alias["parent"])


def compose_svg(table: IconTable, icon_name: str, outlined: bool = False) -> str:
    """Wrap one icon in an SVG document, `outlined` without fills and with thin black strokes.

    Raises VelaturaError if the set has no such icon.
    """
    icon = find_icon(table, icon_name)
    if icon is None:
        raise VelaturaError(f"The icon set {table['prefix']} has no icon named {icon_name}.")
    frame = {"left": 0, "top": 0, **table, **icon}  # what the icon leaves out is the set's
    left, top, width, height = (frame[key] for key in ("left", "top", "width", "height"))
    body = icon["body"].replace("currentColor", "#000")
    stroke = f"fill:none !important;stroke:#000 !important;stroke-width:{width / 64}px !important"
    style = f"<style>*{{{stroke}}}</style>" if outlined else ""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{style}{body}</svg>'
    )


def draw_svg(svg: str, size: int) -> Image.Image:
    """Render an SVG document in the middle of a transparent `size`×`size` `RGBA` image."""
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size)
    drawing = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    canvas = Image.new("RGBA", (size, size))
    canvas.paste(drawing, ((size - drawing.width) // 2, (size - drawing.height) // 2))  # an icon may be no square
    return canvas


def icon_name(concept: str) -> str:
    """The name of a concept in the icon sets: its words joined by hyphens."""
    return concept.replace(" ", "-")
