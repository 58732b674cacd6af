"""Findings about images: one sentence for a list, one for each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from trainers.config.sections import Data
from trainers.data.buckets import Bucket, Pair, bucket_for, cropped_share, fit
from trainers.data.captions import full_caption
from trainers.data.decode import FORMATS_IN_WORDS, UnreadableError, flatten
from trainers.data.ingest import duplicates
from trainers.data.likeness import BLURRED, UNIFORM, NearDuplicates, contrast, fingerprint, pixel_hash, sharpness
from trainers.messages import Message, plural, some
from trainers.messages import Message as _
from trainers.models.words import CHUNK

Level = Literal["ok", "note", "warning", "error"]
Kind = Literal[
    "",
    "unreadable",
    "copy",
    "small",
    "elongated",
    "uniform",
    "blurred",
    "transparent",
    "no caption",
    "long caption",
]
FEW = 5
MUCH_LOST = 0.25
VERY_DIFFERENT = 16  # largest over smallest area
SAME = _("{names} are the same picture."), _("The same picture as {other}. Duplicates count twice.")
NEARLY_SAME = (
    _("{names} are nearly the same picture."),
    _("Nearly the same picture as {other}. Duplicates count twice."),
)
"""Sentences about the group, and about one image of it."""
WIDE = _("Much wider than it is high: {share:.0%} of it will be cropped. Crop it yourself to the part that matters.")
HIGH = _("Much higher than it is wide: {share:.0%} of it will be cropped. Crop it yourself to the part that matters.")


@dataclass(frozen=True)
class Finding:
    """A finding: a sentence, what to do about it ("" if all is well), and the files concerned."""

    level: Level
    sentence: str
    fix: str = ""
    files: tuple[str, ...] = ()
    kind: Kind = ""
    """Its kind, if it concerns each file separately."""
    notes: tuple[str, ...] = ()
    """A sentence per file, shown next to it; as many as files, or none."""


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

    @property
    def uniform(self) -> bool:
        """Whether it is almost entirely one colour."""
        return self.contrast < UNIFORM

    def captioned(self, caption: str) -> Measured:
        """The same measurements with another caption."""
        return replace(self, caption=caption)


def measure(name: str, image: Image.Image, settings: Data, resolution: int, stride: int) -> Measured:
    """Measure an upright `RGB` or `RGBA` image as trained, without a caption."""
    flat = flatten(image)
    bucket = bucket_for(*image.size, resolution, stride, settings.max_aspect, settings.max_upscale)
    trained, size, _ = fit(flat, bucket, (0.5, 0.5))
    return Measured(
        name,
        size,
        bucket,
        "",
        image.mode == "RGBA",
        contrast(trained),
        sharpness(trained),
        pixel_hash(image),
        fingerprint(flat),
    )


def find_faults(
    readable: Sequence[Measured],
    settings: Data,
    resolution: int,
    count_tokens: Callable[[str], int] | None = None,
    near: NearDuplicates | None = None,
) -> list[Finding]:
    """Findings about measured images, in the order of the checks.

    `count_tokens` counts a caption's tokens without start and end; without it, lengths are not checked. `near` caches
    comparisons of images.
    """
    findings = [_number(readable)]
    if readable:
        findings += [
            *_copies(readable, near),
            *_sizes(readable, settings, resolution),
            *_shapes(readable),
            *_content(readable, settings),
            *_captions(readable, settings),
            *_lengths(readable, settings, count_tokens),
        ]
    return findings


def sort_by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings: errors, warnings, notes, then passed checks, keeping the order within each."""
    order = ("error", "warning", "note", "ok")
    return sorted(findings, key=lambda finding: order.index(finding.level))


def unreadable(name: str, error: UnreadableError) -> Finding:
    """The finding about a file that cannot be used."""
    fix = _("Replace or remove it; until then, training ignores it.")
    sentence, note = (_("{said}.", said=error.about(subject)) for subject in (name, _("This file")))
    return Finding("warning", sentence, fix, (name,), "unreadable", (note,))


def _number(readable: Sequence[Measured]) -> Finding:
    count, shown = len(readable), sum(not image.uniform for image in readable)
    if not count:
        fix = _("Add pictures to the folder ({formats}).", formats=FORMATS_IN_WORDS)
        return Finding("error", _("No picture can be read."), fix)
    if shown < FEW:
        few = plural("There is only {count} picture.", "There are only {count} pictures.", count)
        rest = plural(
            "Apart from pictures of one colour, there is only {count}.",
            "Apart from pictures of one colour, there are only {count}.",
            shown,
        )
        fix = _("Add more if you can: with 10 or more, the model learns the style instead of the pictures.")
        return Finding("warning", few if count < FEW else rest, fix)
    return Finding("ok", _("{number} readable pictures, enough for a style.", number=count))


def _copies(readable: Sequence[Measured], near: NearDuplicates | None) -> list[Finding]:
    names = [image.name for image in readable]
    groups = duplicates(names, [image.hash for image in readable], [image.fingerprint for image in readable], near)
    findings = []
    for group in groups:
        fix = _("Keep one of them, otherwise it counts more than the others; to repeat all pictures, set data.repeats.")
        first, second = group.names[:2]
        others = (second, *[first] * (len(group.names) - 1))
        same, alike = SAME if group.exact else NEARLY_SAME
        notes = tuple(alike.format(other=other) for other in others)
        sentence = same.format(names=some(group.names))
        findings.append(Finding("warning", sentence, fix, group.names, "copy", notes))
    return findings


def _sizes(readable: Sequence[Measured], settings: Data, resolution: int) -> list[Finding]:
    findings = []
    enlarged = [image for image in readable if image.bucket.enlarged]
    reduced = [image for image in readable if image.bucket.reduced and not image.bucket.enlarged]
    if enlarged:
        names = tuple(image.name for image in enlarged)
        most = max(image.bucket.scale for image in enlarged)
        sentence = about_files(
            names,
            "{names} is so small that training enlarges it up to {most:.1f} times.",
            "{names} are so small that training enlarges them up to {most:.1f} times.",
            most=most,
        )
        fix = _("Use larger originals, or remove them: they teach blur.")
        notes = tuple(
            _("Small ({size}). It will be enlarged; use a larger original for more detail.", size=_size(image))
            for image in enlarged
        )
        findings.append(Finding("warning", sentence, fix, names, "small", notes))
    if reduced:
        names = tuple(image.name for image in reduced)
        sides = sorted({image.bucket.shape for image in reduced})
        shapes = ", ".join(f"{width} × {height}" for height, width in sides[:3]) + (" …" if len(sides) > 3 else "")
        sentence = about_files(
            names,
            "{names} is too small for the training resolution of {resolution} and trained at {shapes}.",
            "{names} are too small for the training resolution of {resolution} and trained at {shapes}.",
            resolution=resolution,
            shapes=shapes,
        )
        fix = _(
            "Use larger originals, train at a smaller data.resolution, or allow more than {times:g} times upscaling "
            "with data.max_upscale.",
            times=settings.max_upscale,
        )
        notes = tuple(
            _(
                "Small ({size}). It is trained at {width} × {height}; use a larger original for more detail.",
                size=_size(image),
                width=image.bucket.width,
                height=image.bucket.height,
            )
            for image in reduced
        )
        findings.append(Finding("warning", sentence, fix, names, "small", notes))
    if not enlarged and not reduced:
        enough = _("All pictures are large enough for the training resolution of {resolution}.", resolution=resolution)
        findings.append(Finding("ok", enough))
    areas = [image.size[0] * image.size[1] for image in readable]
    if max(areas) >= VERY_DIFFERENT * min(areas):
        small, large = (_size(readable[areas.index(pick)]) for pick in (min(areas), max(areas)))
        sentence = _("The pictures differ a lot in size, from {small} to {large} pixels.", small=small, large=large)
        fix = _("Fine for a style; if line widths or textures matter, use originals of similar size.")
        findings.append(Finding("note", sentence, fix))
    return findings


def _shapes(readable: Sequence[Measured]) -> list[Finding]:
    findings = []
    for image in readable:
        share = cropped_share(image.size, image.bucket)
        if share > MUCH_LOST:
            sentence = _(
                "{name} is very elongated ({size}): cropping it to its bucket loses {share:.0%} of it.",
                name=image.name,
                size=_size(image),
                share=share,
            )
            fix = _("Crop it yourself to the part that matters, or raise data.max_aspect.")
            note = WIDE if image.size[1] > image.size[0] else HIGH
            findings.append(Finding("warning", sentence, fix, (image.name,), "elongated", (note.format(share=share),)))
    return findings


def _content(readable: Sequence[Measured], settings: Data) -> list[Finding]:
    findings = []
    uniform = tuple(image.name for image in readable if image.uniform)
    if uniform:
        sentence = about_files(
            uniform, "{names} is almost entirely one colour.", "{names} are almost entirely one colour."
        )
        fix = _("Remove pictures that show nothing.")
        notes = (_("Almost entirely one colour: there is little to learn from it."),) * len(uniform)
        findings.append(Finding("warning", sentence, fix, uniform, "uniform", notes))
    blurred = tuple(image.name for image in readable if not image.uniform and image.sharpness < BLURRED)
    if blurred:
        sentence = about_files(
            blurred,
            "{names} is blurred, or without any fine detail, at the training resolution.",
            "{names} are blurred, or without any fine detail, at the training resolution.",
        )
        fix = _("Use a sharper version, unless softness is the style you want.")
        notes = (_("Blurred, or without any fine detail: good only if softness is the style you want."),) * len(blurred)
        findings.append(Finding("warning", sentence, fix, blurred, "blurred", notes))
    clear = tuple(image.name for image in readable if image.transparent)
    if clear and settings.transparency == "white":
        fix = _('Fine if you want that; to exclude transparent areas from training, set data.transparency = "mask".')
        notes = (_("Transparent areas become white."),) * len(clear)
        sentence = about_files(
            clear, "{names} is partly transparent and put on white.", "{names} are partly transparent and put on white."
        )
        findings.append(Finding("note", sentence, fix, clear, "transparent", notes))
    return findings


def _captions(readable: Sequence[Measured], settings: Data) -> list[Finding]:
    missing = tuple(image.name for image in readable if not image.caption)
    if missing:
        level: Level = "note" if settings.trigger else "warning"
        sentence = about_files(
            missing,
            "{names} has no caption, and the file name says nothing.",
            "{names} have no caption, and the file name says nothing.",
        )
        fix = _("Describe it in a text file of the same name (fox.txt for fox.png), or set data.caption.")
        notes = (_("No caption. Describe what the picture shows."),) * len(missing)
        return [Finding(level, sentence, fix, missing, "no caption", notes)]
    distinct = {image.caption for image in readable}
    if len(readable) > 1 and len(distinct) == 1:
        sentence = _("All pictures have the same caption: “{caption}”.", caption=next(iter(distinct)))
        fix = _("Describe what differs between pictures, so that only the style is left to learn.")
        return [Finding("note", sentence, fix)]
    return [Finding("ok", _("Every picture has a caption."))] if len(distinct) > 1 else []


def _lengths(readable: Sequence[Measured], settings: Data, count_tokens: Callable[[str], int] | None) -> list[Finding]:
    if count_tokens is None:
        return []
    limit = CHUNK * settings.chunks
    counts = {image.name: count_tokens(full_caption(image.caption, settings)) for image in readable}
    long = tuple(name for name, count in counts.items() if count > limit)
    if not long:
        return []
    sentence = _(
        "The caption of {names} is truncated at {limit} tokens (the longest has {longest}).",
        names=some(long),
        limit=limit,
        longest=max(counts.values()),
    )
    fix = _("Shorten it, or raise data.chunks.") if settings.chunks < 3 else _("Shorten it.")
    words = limit * 3 // 4  # of English
    note = _("Long caption: only the first {limit} tokens, about {words} words, are used.", limit=limit, words=words)
    return [Finding("warning", sentence, fix, long, "long caption", (note,) * len(long))]


def _size(image: Measured) -> str:
    return f"{image.size[1]} × {image.size[0]}"


def about_files(names: Sequence[str], one: str, other: str, **named: object) -> Message:
    """A sentence about files: `one` about a single file, `other` about several."""
    return plural(one, other, len(names), names=some(names), **named)
