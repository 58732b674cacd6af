"""Checks of a folder of images, with a suggested fix for each finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainers.config.sections import Data
from trainers.data.captions import base_caption, caption_lines
from trainers.data.decode import FORMATS_IN_WORDS, UnreadableError
from trainers.data.findings import (
    Finding,
    Measured,
    find_faults,
    measure,
    sort_by_severity,
    unreadable,
)
from trainers.data.ingest import Listing, list_folder
from trainers.data.repeats import describe_repeats
from trainers.data.source import crop_file, mask_of, read_source
from trainers.messages import Message as _
from trainers.messages import plural, some

__all__ = ["Finding", "check_images"]


def check_images(
    folder: Path, settings: Data, resolution: int, stride: int, count_tokens: Callable[[str], int] | None = None
) -> list[Finding]:
    """Measure every image of a folder and return findings, most severe first.

    `count_tokens` counts a caption's tokens without start and end; without it, lengths are not checked.
    Raises VelaturaError when there is no such folder.
    """
    listing = list_folder(folder, settings.sets)
    readable: list[Measured] = []
    joined: list[Path] = []
    broken: list[Finding] = []
    for path in listing.images:
        try:
            of_folder = settings.of_folder(listing.folders.get(path, ""))
            readable.append(_measure(path, of_folder, resolution, stride))
            joined += [] if of_folder.wildcards else [path]
        except UnreadableError as error:
            broken.append(unreadable(path.name, error))
    faults = find_faults(readable, settings, resolution, count_tokens)
    return sort_by_severity([*broken, *_not_images(listing), *_parts(listing), *_lines(joined), *faults])


def _measure(path: Path, settings: Data, resolution: int, stride: int) -> Measured:
    picture = read_source(path, settings.transparency == "mask").picture()
    return measure(path.name, picture, settings, resolution, stride).captioned(base_caption(path, settings))


def _parts(listing: Listing) -> list[Finding]:
    """Findings about crops, masks and repeats, and about crop and mask files that belong to no image."""
    findings = []
    cropped = tuple(path.name for path in listing.images if crop_file(path).is_file())
    masked = tuple(path.name for path in listing.images if mask_of(path) is not None)
    if cropped or masked:
        sentence = _(
            "Crops and rotations are applied to {cropped} and masks to {masked} of {all} pictures.",
            cropped=len(cropped),
            masked=len(masked),
            all=len(listing.images),
        )
        findings.append(Finding("ok", sentence))
    if repeats := describe_repeats(listing.repeats.get(path, 1) for path in listing.images):
        findings.append(Finding("ok", repeats))
    if listing.lone:
        sentence = plural(
            "{names} belongs to no picture here.",
            "{names} belong to no picture here.",
            len(listing.lone),
            names=some(listing.lone),
        )
        fix = _("A mask is called fox-mask.png and a crop fox.crop.json, beside a picture fox.")
        findings.append(Finding("note", sentence, fix, listing.lone))
    return findings


def _lines(paths: list[Path]) -> list[Finding]:
    """A finding about captions with several lines, which are read as one."""
    names = tuple(path.name for path in paths if len(caption_lines(path) or ()) > 1)
    if not names:
        return []
    sentence = plural(
        "The caption of {names} has several lines, which are read as one.",
        "The captions of {names} have several lines, which are read as one.",
        len(names),
        names=some(names),
    )
    return [Finding("note", sentence, _("If each line is an alternative, set data.wildcards = true."), names)]


def _not_images(listing: Listing) -> list[Finding]:
    findings = []
    if listing.others:
        names = tuple(path.name for path in listing.others)
        sentence = plural(
            "{names} is in an unsupported format.",
            "{names} are in an unsupported format.",
            len(names),
            names=some(names),
        )
        fix = _("Save as one of {formats}.", formats=FORMATS_IN_WORDS)
        findings.append(Finding("warning", sentence, fix, names))
    if listing.subfolders:
        folders = ", ".join(listing.subfolders)
        sentence = _("There are images in subfolders ({folders}), which are ignored.", folders=folders)
        findings.append(Finding("warning", sentence, _("Move the images you want into the folder itself.")))
    return findings
