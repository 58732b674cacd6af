"""What is right and wrong with a folder of images, measured, in plain words, with a fix for each finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from trainers.config import Data
from trainers.data.buckets import Bucket, Pair, bucket_for, fit, lost
from trainers.data.captions import base_caption, full_caption
from trainers.data.decode import FORMATS_IN_WORDS, UnreadableError, flatten, open_image
from trainers.data.ingest import Listing, duplicates, look
from trainers.data.likeness import fingerprint, pixel_hash
from trainers.data.measures import BLURRED, UNIFORM, contrast, sharpness
from trainers.models.text import CHUNK

Level = Literal["ok", "note", "warning", "error"]
FEW = 5
MUCH_LOST = 0.25
VERY_DIFFERENT = 16  # largest over smallest area


@dataclass(frozen=True)
class Finding:
    """One sentence about the images, what to do about it ("" where all is well), and the files it is about."""

    level: Level
    sentence: str
    fix: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One readable image."""

    name: str
    size: Pair
    """(height, width)."""
    bucket: Bucket
    caption: str
    transparent: bool
    contrast: float
    sharpness: float
    hash: str
    fingerprint: np.ndarray


def check_images(
    folder: Path, settings: Data, resolution: int, stride: int, count_tokens: Callable[[str], int] | None = None
) -> list[Finding]:
    """Measure every image of a folder and say what was found, the gravest first.

    `count_tokens` gives a caption's tokens without start and end; without it, lengths are not checked.
    Raises VelaturaError when there is no such folder.
    """
    listing = look(folder)
    readable: list[Measured] = []
    unreadable: list[tuple[str, str]] = []
    for path in listing.images:
        try:
            readable.append(_measure(path, settings, resolution, stride))
        except UnreadableError as error:
            unreadable.append((path.name, error.reason))
    findings = [*_files(listing, unreadable), *_number(readable)]
    if readable:
        findings += [
            *_copies(readable),
            *_sizes(readable, settings, resolution),
            *_shapes(readable),
            *_content(readable, settings),
            *_captions(readable, settings, count_tokens),
        ]
    order = ("error", "warning", "note", "ok")
    return sorted(findings, key=lambda finding: order.index(finding.level))


def _measure(path: Path, settings: Data, resolution: int, stride: int) -> Measured:
    image = open_image(path)
    flat = flatten(image)
    bucket = bucket_for(*image.size, resolution, stride, settings.max_aspect, settings.max_upscale)
    trained, size, _ = fit(flat, bucket, (0.5, 0.5))
    return Measured(
        path.name,
        size,
        bucket,
        base_caption(path, settings),
        image.mode == "RGBA",
        contrast(trained),
        sharpness(trained),
        pixel_hash(image),
        fingerprint(flat),
    )


def _files(listing: Listing, unreadable: list[tuple[str, str]]) -> list[Finding]:
    findings = []
    for name, reason in unreadable:
        fix = "Open it in an image editor and save it as PNG, or take it out; training goes on without it."
        findings.append(Finding("warning", f"{name} {reason}.", fix, (name,)))
    if listing.others:
        names = tuple(path.name for path in listing.others)
        sentence = f"{_files_are(names)} in a format that is not read."
        findings.append(Finding("warning", sentence, f"Save as one of {FORMATS_IN_WORDS}.", names))
    if listing.subfolders:
        sentence = f"There are images in sub-folders ({', '.join(listing.subfolders)}), which are not entered."
        findings.append(Finding("warning", sentence, "Move the images you want into the folder itself."))
    return findings


def _number(readable: Sequence[Measured]) -> list[Finding]:
    count = len(readable)
    if not count:
        return [Finding("error", "No image can be read.", f"Put images into the folder ({FORMATS_IN_WORDS}).")]
    if count < FEW:
        sentence = f"There {'is only 1 image' if count == 1 else f'are only {count} images'}."
        return [Finding("warning", sentence, "Add more, if you can: with 10 to 30 a style is learned, not pictures.")]
    return [Finding("ok", f"{count} images can be read, which is enough for a style.")]


def _copies(readable: Sequence[Measured]) -> list[Finding]:
    names = [one.name for one in readable]
    groups = duplicates(names, [one.hash for one in readable], [one.fingerprint for one in readable])
    findings = []
    for group in groups:
        how = "the same image" if group.exact else "nearly the same image"
        fix = "Keep one of them, else it counts more than the others; to make all count more, set data.repeats."
        findings.append(Finding("warning", f"{_listed(group.names)} are {how}.", fix, group.names))
    return findings


def _sizes(readable: Sequence[Measured], settings: Data, resolution: int) -> list[Finding]:
    findings = []
    enlarged = [one for one in readable if one.bucket.enlarged]
    reduced = [one for one in readable if one.bucket.reduced and not one.bucket.enlarged]
    if enlarged:
        names = tuple(one.name for one in enlarged)
        most = max(one.bucket.scale for one in enlarged)
        sentence = f"{_files_are(names)} so small that it takes an enlargement of up to {most:.1f} times to train."
        findings.append(Finding("warning", sentence, "Use larger originals, or take them out: they teach blur.", names))
    if reduced:
        names = tuple(one.name for one in reduced)
        sides = sorted({one.bucket.shape for one in reduced})
        shapes = ", ".join(f"{width} × {height}" for height, width in sides[:3]) + (" …" if len(sides) > 3 else "")
        sentence = f"{_files_are(names)} too small for the training size of {resolution} and trained at {shapes}."
        fix = (
            f"Use larger originals, train at a smaller data.resolution, or allow more than "
            f"{settings.max_upscale:g} times enlargement with data.max_upscale."
        )
        findings.append(Finding("warning", sentence, fix, names))
    if not enlarged and not reduced:
        findings.append(Finding("ok", f"All images are large enough for the training size of {resolution}."))
    areas = [one.size[0] * one.size[1] for one in readable]
    if max(areas) >= VERY_DIFFERENT * min(areas):
        small, large = (_size(readable[areas.index(pick)]) for pick in (min(areas), max(areas)))
        sentence = f"The images differ much in size, from {small} to {large} pixels."
        fix = "Fine for a style; if line widths or textures matter, use originals of similar size."
        findings.append(Finding("note", sentence, fix))
    return findings


def _shapes(readable: Sequence[Measured]) -> list[Finding]:
    findings = []
    for one in readable:
        share = lost(one.size, one.bucket)
        if share > MUCH_LOST:
            sentence = f"{one.name} is very elongated ({_size(one)}): cutting it to shape loses {share:.0%} of it."
            fix = "Cut it yourself to the part that matters, or raise data.max_aspect."
            findings.append(Finding("warning", sentence, fix, (one.name,)))
    return findings


def _content(readable: Sequence[Measured], settings: Data) -> list[Finding]:
    findings = []
    uniform = tuple(one.name for one in readable if one.contrast < UNIFORM)
    if uniform:
        sentence = f"{_files_are(uniform)} of one colour nearly all over."
        findings.append(Finding("warning", sentence, "Take out what shows nothing.", uniform))
    blurred = tuple(one.name for one in readable if one.contrast >= UNIFORM and one.sharpness < BLURRED)
    if blurred:
        sentence = f"{_files_are(blurred)} blurred, or without any fine detail, at the training size."
        fix = "Use a sharper version, unless softness is the style you want."
        findings.append(Finding("warning", sentence, fix, blurred))
    clear = tuple(one.name for one in readable if one.transparent)
    if clear and settings.transparency == "white":
        fix = 'Fine if that is what you want; to leave transparent parts out, set data.transparency = "mask".'
        findings.append(Finding("note", f"{_files_are(clear)} transparent in part and laid on white.", fix, clear))
    return findings


def _captions(readable: Sequence[Measured], settings: Data, count_tokens: Callable[[str], int] | None) -> list[Finding]:
    findings = []
    missing = tuple(one.name for one in readable if not one.caption)
    if missing:
        level: Level = "note" if settings.trigger else "warning"
        has = "have" if len(missing) > 1 else "has"
        sentence = f"{_listed(missing)} {has} no caption, and the name says nothing."
        fix = "Write what is to be seen into a text file of the same name (fox.txt for fox.png), or set data.caption."
        findings.append(Finding(level, sentence, fix, missing))
    distinct = {one.caption for one in readable if one.caption}
    if len(readable) > 1 and len(distinct) == 1 and not missing:
        sentence = f"All images have the same caption: “{next(iter(distinct))}”."
        fix = "Say what differs from image to image, so that only the style is left to be learned."
        findings.append(Finding("note", sentence, fix))
    if not missing and len(distinct) > 1:
        findings.append(Finding("ok", "Every image has a caption."))
    if count_tokens is not None:
        limit = CHUNK * settings.chunks
        counts = {one.name: count_tokens(full_caption(one.caption, settings)) for one in readable}
        long = tuple(name for name, count in counts.items() if count > limit)
        if long:
            sentence = (
                f"The caption of {_listed(long)} is cut at {limit} tokens (the longest has {max(counts.values())})."
            )
            fix = "Shorten it" + (", or raise data.chunks." if settings.chunks < 3 else ".")
            findings.append(Finding("warning", sentence, fix, long))
    return findings


def _size(one: Measured) -> str:
    return f"{one.size[1]} × {one.size[0]}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _files_are(names: Sequence[str]) -> str:
    return f"{_listed(names)} {'is' if len(names) == 1 else 'are'}"
