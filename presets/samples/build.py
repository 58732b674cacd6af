"""Redraw the bundled image sets from their vector sources: `python -m presets.samples.build`."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from PIL import Image

from presets.samples.catalogue import SampleSet, read_sets
from trainers.errors import VelaturaError

SIZE = 256  # pixels: twice the starter's size, so that other bases have something to look at too


def fetch_icons(sample_set: SampleSet, folder: Path) -> dict:
    """Download the set's npm package into `folder` and return its icon table.

    Raises VelaturaError if npm is missing or fails, or if the file is not the recorded one.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise VelaturaError("npm was not found: install Node.js, whose npm downloads the drawings, and run this again.")
    wanted = f"{sample_set.package}@{sample_set.version}"
    command = [npm, "pack", wanted, "--loglevel=error", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        reason = done.stderr.replace("npm error", "").splitlines()[:2]  # the code and the cause; advice follows
        raise VelaturaError(
            f"npm could not download {wanted}: {' '.join(map(str.strip, reason)) or 'it gave no reason'}."
        )
    archive = folder / done.stdout.strip().splitlines()[-1]
    verify(archive, sample_set.integrity)
    with tarfile.open(archive) as package:
        member = package.extractfile("package/icons.json")
        if member is None:
            raise VelaturaError(f"{wanted} holds no readable icons.json.")
        return json.load(member)


def verify(archive: Path, integrity: str) -> None:
    """Compare a file's SHA-512 with `sha512-<base64>`; raises VelaturaError if they differ."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        raise VelaturaError(f"{archive.name} is not the recorded file: expected {integrity}, found {found}.")


def compose_svg(table: dict, icon_name: str) -> str:
    """Wrap one icon's drawing in an SVG document; raises VelaturaError if the set has no such icon."""
    icon = table["icons"].get(icon_name)
    if icon is None:
        raise VelaturaError(f"The icon set {table['prefix']} has no icon named {icon_name}.")
    left, top, width, height = (icon.get(key, table.get(key, 0)) for key in ("left", "top", "width", "height"))
    body = icon["body"].replace("currentColor", "#000")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{body}</svg>'
    )


def draw(svg: str, colours: int) -> Image.Image:
    """Render an SVG on white as a `SIZE`×`SIZE` palette image of at most `colours` colours."""
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE)
    drawing = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    canvas = Image.new("RGBA", drawing.size, "white")
    canvas.alpha_composite(drawing)
    # No dither: flat areas stay flat, and the file stays small.
    return canvas.convert("RGB").quantize(colours, dither=Image.Dither.NONE)


def build_set(sample_set: SampleSet, table: dict) -> None:
    """Replace the set's images and captions; the licence file stays."""
    images = {
        concept: draw(compose_svg(table, file_stem(concept)), sample_set.colours) for concept in sample_set.concepts
    }
    for old in sample_set.folder.iterdir():
        if old.suffix in {".png", ".txt"} and old.name != "LICENSE.txt":
            old.unlink()
    for concept, image in images.items():
        stem = sample_set.folder / file_stem(concept)
        image.save(stem.with_suffix(".png"), optimize=True)
        stem.with_suffix(".txt").write_text(concept + "\n", encoding="utf-8", newline="\n")


def file_stem(concept: str) -> str:
    """The name of a concept in the icon sets and of its files: words joined by hyphens."""
    return concept.replace(" ", "-")


def main() -> int:
    """Fetch, verify and redraw every set; returns the exit code."""
    try:
        for sample_set in read_sets().values():
            with tempfile.TemporaryDirectory() as folder:
                build_set(sample_set, fetch_icons(sample_set, Path(folder)))
            size = sum(path.stat().st_size for path in sample_set.folder.iterdir())
            print(f"{sample_set.name}: {len(sample_set.concepts)} images, {size / 1000:.0f} kB")
    except VelaturaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
