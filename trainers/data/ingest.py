"""Ingest: a folder of images becomes clean PNG files and captions; originals are never trained on."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from trainers.atomic_files import replace_file
from trainers.data.captions import caption_from_name, caption_lines
from trainers.data.decode import FORMATS_IN_WORDS, IT, UnreadableError, alpha_mask, flatten, open_image
from trainers.data.likeness import NearDuplicates, fingerprint, pixel_hash
from trainers.data.repeats import FILE as REPEATS
from trainers.data.repeats import (
    FOLDER,
    FOLDERS,
    describe_repeats,
    read_folder_name,
    read_folders,
    read_repeats,
    suggest_trigger,
    write_folders,
    write_repeats,
)
from trainers.data.source import CROP_ENDING, Source, crop_file, is_mask_name, mask_file, read_source, split_masks
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.messages import some

__all__ = [
    "Duplicates",
    "IngestReport",
    "Kept",
    "Listing",
    "alpha_mask",
    "flatten",
    "ingest",
    "list_folder",
    "open_image",
]

# fmt: off
SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif",
    ".tiff", ".avif", ".heic", ".heif", ".heics", ".hif",
})
# Named in the report, because people expect them to be used.
OTHER_PICTURES = frozenset({
    ".svg", ".psd", ".xcf", ".kra", ".ai", ".eps", ".pdf", ".ico", ".tga", ".jp2", ".j2k", ".jxl", ".exr",
    ".hdr", ".qoi", ".ppm", ".pgm", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
    ".mp4", ".mov", ".webm", ".zip",
})
# fmt: on
MAX_NAME_BYTES = 120
MAX_FOLDERS = 1000  # limit on sub-folders searched, in case it is a home folder
PNG_EFFORT = 3  # zlib level: a third of the time of the default 6, a few per cent larger


@dataclass(frozen=True)
class Kept:
    """An imported image."""

    path: Path
    source: str
    """Name of the file it came from."""


@dataclass(frozen=True)
class Duplicates:
    """Two or more images with the same content."""

    names: tuple[str, ...]
    exact: bool
    """Equal in every pixel; otherwise nearly the same, such as a re-compressed or resized copy."""


@dataclass(frozen=True)
class IngestReport:
    """The result for every file of a folder."""

    kept: tuple[Kept, ...]
    skipped: tuple[tuple[str, str], ...]
    """(file name, problem as a sentence that begins with "it")."""
    duplicates: tuple[Duplicates, ...]
    """Reported, not removed."""
    notes: tuple[str, ...]
    """Sentences about the folder as a whole."""


@dataclass(frozen=True)
class Listing:
    """Contents of a folder, by name only."""

    images: tuple[Path, ...]
    others: tuple[Path, ...]
    """Images in unsupported formats."""
    subfolders: tuple[str, ...]
    """Sub-folders with images somewhere inside; they are not entered."""
    lone: tuple[str, ...] = ()
    """Crop files and images named like masks that belong to no image."""
    repeats: Mapping[Path, int] = field(default_factory=dict)
    """Repeats of an image in an epoch, if not 1."""
    folders: Mapping[Path, str] = field(default_factory=dict)
    """Name of an image's subfolder, if it has one."""


def list_folder(folder: Path, subfolders: Collection[str] = ()) -> Listing:
    """List the images of a folder and of some of its subfolders, sorted by name.

    These are those named, and those with repeats in their names (`10_dusk`). Hidden files and masks are left out.
    Raises VelaturaError when the folder is missing or not a folder.
    """
    if not folder.is_dir():
        problem = _("it is a file") if folder.exists() else _("there is no such folder")
        raise VelaturaError("{folder} cannot be used as a folder of images: {found}.", folder=folder, found=problem)
    entries = _entries(folder)
    folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    numbered = [entry for entry in folders if entry.name in subfolders or FOLDER.fullmatch(entry.name)]
    known, names = read_repeats(folder), read_folders(folder)
    parts = [_list_files(entries, known, 1)]
    parts[0] = replace(parts[0], folders={path: names[path.name] for path in parts[0].images if path.name in names})
    parts += [_list_files(_entries(inner), {}, read_folder_name(inner.name)[0], inner.name) for inner in numbered]
    return Listing(
        images=tuple(image for part in parts for image in part.images),
        others=tuple(file for part in parts for file in part.others),
        subfolders=tuple(entry.name for entry in folders if entry not in numbered and _holds_images(entry)),
        lone=tuple(name for part in parts for name in part.lone),
        repeats={image: count for part in parts for image, count in part.repeats.items()},
        folders={image: name for part in parts for image, name in part.folders.items()},
    )


def trigger_of_folder(folder: Path) -> str:
    """The trigger word that a folder of images suggests by the names of its subfolders; "" if none."""
    images = list_folder(folder).images if folder.is_dir() else ()
    return suggest_trigger(str(image.relative_to(folder)) for image in images)


def _entries(folder: Path) -> list[Path]:
    shown = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(shown, key=lambda entry: (entry.name.casefold(), entry.name))


def _list_files(entries: list[Path], repeats: Mapping[str, int], otherwise: int, folder: str = "") -> Listing:
    """The files of a folder itself; `repeats` by image name, `otherwise` for the other images; `folder` is its name."""
    files = [entry for entry in entries if not entry.is_dir()]
    images = split_masks(file for file in files if file.suffix.lower() in SUFFIXES)[0]
    crops = {crop_file(image).name for image in images}
    return Listing(
        images=tuple(images),
        others=tuple(file for file in files if file.suffix.lower() in OTHER_PICTURES),
        subfolders=(),
        lone=tuple(
            file.name
            for file in files
            if (file.name.endswith(CROP_ENDING) and file.name not in crops) or (is_mask_name(file) and file in images)
        ),
        repeats={image: count for image in images if (count := repeats.get(image.name, otherwise)) != 1},
        folders={image: folder for image in images if folder},
    )


def ingest(
    source: Path, target: Path, keep_transparency: bool, captions: bool = True, subfolders: Collection[str] = ()
) -> IngestReport:
    """Write every image of a folder to `target` as a lossless PNG without metadata.

    Its caption (unless not `captions`), crop, mask and repeats are copied too. Files are named `0001-fox-in-snow.png`
    by their order and original name. Transparent images are put on white unless `keep_transparency`. Unreadable files
    are skipped and reported. Ingesting the result again gives the same pixels, captions, crops and masks. Raises
    VelaturaError, with nothing left in `target`, if the source is missing or has no readable image, or if `target` is
    in use or cannot be written.
    """
    listing = list_folder(source, subfolders)
    _check_target(target)
    skipped = [
        UnreadableError(
            path.name, "{name} is in an unsupported format (supported: {formats})", formats=FORMATS_IN_WORDS
        )
        for path in listing.others
    ]
    kept: list[Kept] = []
    repeats: dict[str, int] = {}
    folders: dict[str, str] = {}
    hashes: list[str] = []
    prints: list[np.ndarray] = []
    new_folder = not target.exists()
    try:
        for path in listing.images:
            try:
                read = _read(path, keep_transparency)
                lines = caption_lines(path) if captions else None
            except UnreadableError as error:
                skipped.append(error)
                continue
            place = target / _safe_name(len(kept) + 1, path.stem)
            kept.append(Kept(place, path.name))
            repeats[place.name] = listing.repeats.get(path, 1)
            folders[place.name] = listing.folders.get(path, "")
            _write(place, read, None if lines is None else "\n".join(lines))
            hashes.append(pixel_hash(read.picture()))
            prints.append(fingerprint(flatten(read.picture())))
        write_repeats(target, repeats)
        write_folders(target, {name: folder for name, folder in folders.items() if folder in subfolders})
    except OSError as error:
        _remove([image.path for image in kept], target if new_folder else None)
        raise VelaturaError(
            "The images cannot be written to {target}: {reason}.", target=target, reason=error.strerror or error
        ) from error
    if not kept:
        raise VelaturaError(_nothing(source, listing, skipped))
    names = [image.source for image in kept]
    left_out = tuple((str(error.message.named["name"]), error.about(IT)) for error in skipped)
    return IngestReport(tuple(kept), left_out, duplicates(names, hashes, prints), _notes(listing, repeats))


def duplicates(
    names: list[str], hashes: list[str], prints: list[np.ndarray], near: NearDuplicates | None = None
) -> tuple[Duplicates, ...]:
    """Groups of equal images, then groups of nearly equal ones (of which equal images count as one).

    `near` caches comparisons.
    """
    equal: dict[str, list[int]] = {}
    for index, key in enumerate(hashes):
        equal.setdefault(key, []).append(index)
    exact = [Duplicates(tuple(names[i] for i in group), True) for group in equal.values() if len(group) > 1]
    first = [group[0] for group in equal.values()]
    groups = (near or NearDuplicates()).groups([hashes[i] for i in first], [prints[i] for i in first])
    return (*exact, *(Duplicates(tuple(names[first[i]] for i in group), False) for group in groups))


def _read(path: Path, keep_transparency: bool) -> Source:
    source = read_source(path, keep_transparency)
    return source if keep_transparency else replace(source, whole=flatten(source.whole))


def _safe_name(number: int, stem: str) -> str:
    """`0001-fox-in-snow.png`: letters, digits, `,`, `'` and `-`, which are safe on every system."""
    words = re.sub(r"\s+", "-", caption_from_name(stem))
    words = words.encode()[:MAX_NAME_BYTES].decode("utf-8", "ignore").strip("-,'")
    return f"{number:04d}-{words}.png" if words else f"{number:04d}.png"


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise VelaturaError("The images cannot be written to {target}: it is a file, not a folder.", target=target)
    if target.is_dir() and any(target.iterdir()):
        raise VelaturaError("The images cannot be written to {target}: the folder is not empty.", target=target)


def _write(place: Path, source: Source, caption: str | None) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    source.whole.save(part, "PNG", compress_level=PNG_EFFORT)
    replace_file(part, place)  # `new_run` syncs the whole run before naming it
    if caption is not None:
        place.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8")
    if source.crop is not None:
        crop_file(place).write_text(source.crop.to_json(), encoding="utf-8")
    if source.drawn is not None:
        source.drawn.save(mask_file(place), "PNG", compress_level=PNG_EFFORT)


def _remove(places: list[Path], folder: Path | None) -> None:
    for place in places:
        part = place.with_name(place.name + ".part")
        for path in (place, place.with_suffix(".txt"), crop_file(place), mask_file(place), part):
            path.unlink(missing_ok=True)
        for beside in (REPEATS, FOLDERS):
            place.with_name(beside).unlink(missing_ok=True)
    if folder is not None and folder.is_dir():
        folder.rmdir()


def _holds_images(folder: Path) -> bool:
    inside = islice(os.walk(folder), MAX_FOLDERS)
    return any(Path(name).suffix.lower() in SUFFIXES for _, _, names in inside for name in names)


def _notes(listing: Listing, repeats: Mapping[str, int]) -> tuple[str, ...]:
    notes = [sentence] if (sentence := describe_repeats(repeats.values())) else []
    if listing.subfolders:
        notes.append(
            _("Subfolders are ignored, although there are images in {folders}.", folders=some(listing.subfolders))
        )
    if listing.lone:
        notes.append(_("These crops and masks belong to no picture: {files}.", files=some(listing.lone)))
    return tuple(notes)


def _nothing(source: Path, listing: Listing, skipped: list[UnreadableError]) -> str:
    if len(skipped) > 1:
        return _(
            "No image in {source} can be read: {reason} ({count} more like it).",
            source=source,
            reason=skipped[0].message,
            count=len(skipped) - 1,
        )
    if skipped:
        return _("No image in {source} can be read: {reason}.", source=source, reason=skipped[0].message)
    if listing.subfolders:
        return _(
            "There are no images in {source} itself, only in its subfolders ({folders}): use one of those instead.",
            source=source,
            folders=some(listing.subfolders),
        )
    return _("There are no images in {source}: add some ({formats}).", source=source, formats=FORMATS_IN_WORDS)
