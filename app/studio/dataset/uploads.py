"""Uploads: files become plain pictures of a draft; the originals, with their metadata, are deleted."""

from __future__ import annotations

import errno
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path, PurePosixPath

from app.studio.dataset.archive import MOST_BYTES_EACH, unpack
from app.studio.dataset.checks import measure_new
from app.studio.dataset.drafts import Draft, Drafts, LeftOut, Picture
from app.studio.dataset.edits import clean, with_lines, with_pictures, with_region, with_trigger, written
from app.studio.dataset.previews import save_preview
from app.studio.dataset.regions import keep_mask
from trainers.atomic_files import whole_file
from trainers.data.captions import caption_from_name, caption_lines
from trainers.data.decode import UnreadableError, alpha_mask, open_image
from trainers.data.ingest import SUFFIXES
from trainers.data.repeats import suggest_trigger
from trainers.data.source import (
    CROP_ENDING,
    MASK_ENDING,
    MASK_ENDINGS,
    crop_file,
    mask_file,
    mask_of,
    own_crop,
    parse_crop,
    split_masks,
    without_mask_ending,
)
from trainers.errors import VelaturaError, said_by
from trainers.messages import Message, to_record
from trainers.messages import Message as _

MOST_PICTURES = 5000
MOST_PIXELS = 50_000_000
MOST_BYTES_A_FILE = 200 * 2**20  # of a ZIP; pictures have the limit of a file in a ZIP
KEPT_SIDE = 2048
"""Stored pictures have at most the pixels of a square of this side, the most that a base is trained with."""
MOST_NAME = 200
AT_ONCE = 2
"""Pictures of one upload that are processed at once; memory has a limit for all uploads."""
LISTED_LEFT_OUT = 100
BESIDE = frozenset({".txt", MASK_ENDING, CROP_ENDING})
"""Endings of files that belong to a picture of the same name."""
TOO_MANY = _("A style takes at most {most:,} pictures, so this one was left out.")
NOT_ARRIVED = _("This file did not arrive completely. Add it again.")
NO_CAPTION = _("This file is not a caption: a caption is text of at most 64 KiB, saved as UTF-8.")
THIS_FILE, THIS_MASK = _("This file"), _("This mask")


@dataclass(frozen=True)
class Upload:
    """An uploaded file and its original name."""

    path: Path
    name: str


def sender_folder(root: Path, sender: str) -> Path:
    """The upload folder of one sender below `root`; uploads from other folders are refused."""
    return root / sha256(sender.encode()).hexdigest()[:32]


def take_in(drafts: Drafts, key: str, uploads: Sequence[Upload], folder: Path, step: str = "") -> Draft:
    """Add pictures, captions, masks, crops and ZIPs to a draft and delete every original; uploads must be in `folder`.

    Rejected files are listed in the draft with the reason. Captions with the same `step` are undone together. Raises
    OSError if the draft cannot be saved.
    """
    draft = drafts.open(key)
    inside = [upload for upload in uploads if has_arrived(upload.path, folder)]
    inside.sort(key=lambda upload: _kind(upload.name) in BESIDE)  # companions after pictures
    try:
        for kind, group in groupby(inside, lambda upload: _kind(upload.name)):
            if kind == "picture":
                draft = _take_pictures(drafts, key, [(upload.name, upload.path) for upload in group])
            elif kind == ".txt":
                draft = _take_captions(drafts, key, list(group), step)
            else:
                for upload in group:
                    draft = (
                        _take_archive(drafts, key, upload, folder)
                        if kind == ".zip"
                        else _take_region(drafts, key, upload, kind)
                    )
    finally:
        for upload in inside:
            forget(upload.path, folder)
    absent = [as_left_out(upload.name, NOT_ARRIVED) for upload in uploads if upload not in inside]
    return drafts.change(key, lambda now: _limited(now, [], absent)) if absent else draft


def has_arrived(path: Path, folder: Path) -> bool:
    """Whether an upload is a file in its sender's folder."""
    try:
        return path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):  # not a possible file name
        return False


def take_mask(drafts: Drafts, draft: Draft, picture: Picture, path: Path, folder: Path) -> str:
    """Store a painted mask and delete its upload, which must be in `folder`; returns the key. VelaturaError on
    failure."""
    if not has_arrived(path, folder):
        raise VelaturaError("the mask did not arrive")
    try:
        return keep_mask(path, picture.id, picture.size, drafts.masks(draft), drafts.previews(draft))
    finally:
        forget(path, folder)


def take_folder(drafts: Drafts, key: str, folder: Path) -> Draft:
    """Add the pictures and captions of a trusted folder, which stays unchanged."""
    files = split_masks(sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES))[0]
    return _take_pictures(drafts, key, [(path.name, path) for path in files])


def refuse(drafts: Drafts, key: str, name: str, reason: str) -> Draft:
    """Record a file that did not arrive."""
    return drafts.change(key, lambda draft: _limited(draft, [], [as_left_out(name, reason)]))


def _take_archive(drafts: Drafts, key: str, upload: Upload, folder: Path) -> Draft:
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        unpacked = unpack(upload.path, place, SUFFIXES | {".txt", ".json"})
        pictures = _with_companions(unpacked.files)
        wrong = [as_left_out(name, reason) for name, reason in unpacked.left_out]
        return _take_pictures(drafts, key, pictures, wrong)
    except VelaturaError as error:
        return refuse(drafts, key, upload.name, error.message)
    except OSError as error:
        return refuse(drafts, key, upload.name, why_not_kept(error))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _kind(name: str) -> str:
    lower = name.lower()
    if lower.endswith(CROP_ENDING):
        return CROP_ENDING
    if lower.endswith(tuple(f"{ending}.png" for ending in MASK_ENDINGS)):
        return MASK_ENDING
    suffix = PurePosixPath(lower).suffix
    return suffix if suffix in (".zip", ".txt") else "picture"


def _with_companions(files: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """The pictures of an archive, with their captions, masks and crops moved beside them."""
    stems = {_stem(name): path for name, path in files if _kind(name) in ("picture", MASK_ENDING)}
    beside = {
        ".txt": lambda path: path.with_suffix(".txt"), MASK_ENDING: mask_file, CROP_ENDING: crop_file,
    }  # fmt: skip
    pictures = []
    for name, path in files:
        picture = stems.get(_belongs_to(name))
        if _kind(name) in BESIDE and picture not in (None, path):
            path.replace(beside[_kind(name)](picture))
        elif path.suffix not in (".txt", ".json"):
            pictures.append((name, path))
    return pictures


def _belongs_to(name: str) -> str:
    """The stem of the picture that a caption, mask or crop is for."""
    stem = _stem(name)
    return without_mask_ending(stem) if _kind(name) == MASK_ENDING else stem.removesuffix(".crop")


def _named(draft: Draft, stem: str) -> list[Picture]:
    """The pictures of that name, or else those of that name in other folders."""
    exact = [picture for picture in draft.pictures if _stem(picture.name) == stem]
    last = PurePosixPath(stem).name
    return exact or [picture for picture in draft.pictures if PurePosixPath(_stem(picture.name)).name == last]


def _take_captions(drafts: Drafts, key: str, uploads: Sequence[Upload], step: str) -> Draft:
    """Use text files as the captions of existing pictures of the same names."""
    draft, captions, wrong = drafts.read(key), dict[str, tuple[str, ...]](), list[LeftOut]()
    for upload in uploads:
        try:
            lines = caption_lines(upload.path) if upload.path.suffix.lower() == ".txt" else None
            reason = NO_CAPTION if lines is None else ""
        except UnreadableError:
            reason = NO_CAPTION
        except OSError as error:
            reason = why_not_kept(error)
        pictures = _named(draft, _stem(upload.name))
        if not pictures:
            reason = _("No picture here has the same name as this text file.")
        if reason:
            wrong.append(as_left_out(upload.name, reason))
        else:
            captions |= {picture.id: lines or () for picture in pictures}

    def change(now: Draft) -> Draft:
        texts = {identifier: " ".join(lines) for identifier, lines in captions.items()}
        return _limited(with_lines(written(now, texts, step or secrets.token_hex(4), "read"), captions), [], wrong)

    return drafts.change(key, change)


def _take_region(drafts: Drafts, key: str, upload: Upload, kind: str) -> Draft:
    """Use a file as the mask or crop of existing pictures of its name, or else as a picture."""
    draft = drafts.read(key)
    pictures = _named(draft, _belongs_to(upload.name))
    if not pictures:
        if kind == MASK_ENDING:
            return _take_pictures(drafts, key, [(upload.name, upload.path)])
        return refuse(drafts, key, upload.name, _("No picture here has the same name as this crop."))
    try:
        for picture in pictures:
            if kind == CROP_ENDING:
                region = picture.region.with_crop(parse_crop(upload.path.read_bytes()))
            else:
                folders = drafts.masks(draft), drafts.previews(draft)
                mask = keep_mask(upload.path, picture.id, picture.size, *folders)
                region = picture.region.model_copy(update={"mask": mask})
            draft = drafts.change(key, partial(with_region, identifier=picture.id, region=region))
    except UnreadableError as error:
        return refuse(drafts, key, upload.name, what_is_wrong(error, THIS_MASK))
    except ValueError as error:
        return refuse(drafts, key, upload.name, _("This crop cannot be used: {reason}.", reason=said_by(error)))
    except OSError as error:
        return refuse(drafts, key, upload.name, why_not_kept(error))
    return draft


def _take_pictures(drafts: Drafts, key: str, files: Sequence[tuple[str, Path]], wrong: Sequence[LeftOut] = ()) -> Draft:
    draft = drafts.open(key)
    room = MOST_PICTURES - len(draft.pictures)
    taken: list[Picture] = []
    left_out, waiting = list(wrong), list(files)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while waiting and len(taken) < room:
            some = waiting[: min(AT_ONCE, room - len(taken))]
            del waiting[: len(some)]
            for picture, refused in pool.map(partial(_try_to_take, drafts, draft), some):
                if picture is not None:
                    taken.append(picture)
                left_out += refused
    left_out += [as_left_out(name, TOO_MANY.format(most=MOST_PICTURES)) for name, path in waiting]
    after = drafts.change(key, lambda now: _limited(now, taken, left_out))
    for picture in taken:
        if after.picture(picture.id) is None:  # another upload has filled the draft meanwhile
            (drafts.pictures(draft) / f"{picture.id}.png").unlink(missing_ok=True)
            (drafts.previews(draft) / f"{picture.id}.webp").unlink(missing_ok=True)
    return after


def _try_to_take(drafts: Drafts, draft: Draft, file: tuple[str, Path]) -> tuple[Picture | None, list[LeftOut]]:
    """A file's picture, and the rejected parts of the file and its caption."""
    name, path = file
    try:
        lines, refused = _caption_beside(name, path)
        picture = take(drafts, draft, name, path, " ".join(lines))
        return picture.model_copy(update={"lines": lines if len(lines) > 1 else ()}), refused
    except UnreadableError as error:
        return None, [as_left_out(name, what_is_wrong(error))]
    except OSError as error:
        return None, [as_left_out(name, why_not_kept(error))]


def _caption_beside(name: str, path: Path) -> tuple[tuple[str, ...], list[LeftOut]]:
    """The lines of a file's caption, by default the words of its name, and its text file if that is rejected."""
    lines, refused = None, list[LeftOut]()
    try:
        lines = caption_lines(path)
    except UnreadableError:
        refused = [as_left_out(str(PurePosixPath(name).with_suffix(".txt")), NO_CAPTION)]
    if lines is None:
        lines = (caption_from_name(PurePosixPath(name.replace("\\", "/")).stem),)
    return lines, refused


def why_not_kept(error: OSError) -> str:
    """The message for a file that could not be written."""
    if isinstance(error, FileNotFoundError):
        return NOT_ARRIVED
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _("The disk is full. Free some space, then add this file again.")
    return _("This file could not be saved ({reason}). Add it again.", reason=error.strerror or error)


def _limited(draft: Draft, taken: Sequence[Picture], left_out: Sequence[LeftOut]) -> Draft:
    """The draft with as many new pictures as there is room for; another tab may have added some."""
    room = max(0, MOST_PICTURES - len(draft.pictures))
    suggested = suggest_trigger(picture.name for picture in draft.pictures)  # files of a folder arrive in parts
    late = [as_left_out(picture.name, TOO_MANY.format(most=MOST_PICTURES)) for picture in taken[room:]]
    draft = with_pictures(draft, taken[:room], [*left_out, *late])
    if taken and draft.trigger in ("", suggested):
        draft = with_trigger(draft, suggest_trigger(picture.name for picture in draft.pictures))
    return draft.with_(left_out=draft.left_out[-LISTED_LEFT_OUT:])


def take(drafts: Drafts, draft: Draft, name: str, path: Path, caption: str) -> Picture:
    """Decode a file and save it as plain PNG with a preview. Raises UnreadableError."""
    if path.stat().st_size > MOST_BYTES_EACH:
        raise UnreadableError(
            name, "{name} is larger than {most} MB: save it smaller and add it again", most=MOST_BYTES_EACH // 2**20
        )
    image = open_image(path, MOST_PIXELS, KEPT_SIDE**2)
    mask = alpha_mask(image)
    if mask is not None and mask.getextrema()[1] == 0:
        raise UnreadableError(name, "{name} is completely transparent, so nothing of it would be learned")
    identifier = secrets.token_hex(8)
    with whole_file(drafts.pictures(draft) / f"{identifier}.png") as building:
        image.save(building, compress_level=1)
    save_preview(image, drafts.previews(draft) / f"{identifier}.webp")
    size = image.height, image.width
    picture = Picture(id=identifier, name=name[-MOST_NAME:], caption=clean(caption), size=size)
    picture = _with_region_beside(drafts, draft, picture, path)
    measure_new(drafts, draft, picture, image)
    return picture


def _with_region_beside(drafts: Drafts, draft: Draft, picture: Picture, path: Path) -> Picture:
    """The picture with the rotation, crop and mask in the files beside it."""
    mask = mask_of(path)
    if (crop := own_crop(path)) is not None:
        picture = picture.with_crop(crop)
    if mask is None:
        return picture
    folders = drafts.masks(draft), drafts.previews(draft)
    return picture.model_copy(update={"mask": keep_mask(path.with_name(mask), picture.id, picture.size, *folders)})


def as_left_out(name: str, reason: str) -> LeftOut:
    """A rejected file."""
    return LeftOut(id=secrets.token_hex(4), name=name[-MOST_NAME:], reason=str(reason), said=to_record(reason))


def what_is_wrong(error: UnreadableError, subject: str = THIS_FILE) -> Message:
    """Why a file was rejected, as a full sentence."""
    return _("{said}.", said=error.about(subject))


def _stem(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")).with_suffix("")).casefold()


def forget(path: Path, folder: Path) -> None:
    """Delete an upload, and empty folders up to `folder`, which the server made for it."""
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent.resolve() == folder.resolve() or not parent.is_dir() or any(parent.iterdir()):
            break
        parent.rmdir()
