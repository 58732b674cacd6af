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
from app.studio.dataset.drafts import Draft, Drafts, LeftOut, Picture, save_preview
from app.studio.dataset.edits import clean, with_captions, with_pictures
from trainers.atomic_files import whole_file
from trainers.data.captions import caption_from_name, own_caption
from trainers.data.decode import UnreadableError, alpha_mask, open_image
from trainers.data.ingest import SUFFIXES
from trainers.errors import VelaturaError

MOST_PICTURES = 200
MOST_PIXELS = 50_000_000
MOST_BYTES_A_FILE = 200 * 2**20  # of a ZIP; a picture may have as many as one of a ZIP
KEPT_SIDE = 2048
"""Stored pictures have at most the pixels of a square of this side: no base is trained at more."""
MOST_NAME = 200
AT_ONCE = 2
"""Pictures of one upload processed concurrently; memory has a separate limit for all uploads."""
LISTED_LEFT_OUT = 100
NOT_ARRIVED = "This file did not arrive completely. Add it again."


@dataclass(frozen=True)
class Upload:
    """An uploaded file and its original name."""

    path: Path
    name: str


def sender_folder(root: Path, sender: str) -> Path:
    """The upload folder of one sender below `root`; uploads from other folders are refused."""
    return root / sha256(sender.encode()).hexdigest()[:32]


def take_in(drafts: Drafts, key: str, uploads: Sequence[Upload], folder: Path) -> Draft:
    """Add pictures, captions and ZIPs to a draft and delete every original; uploads must be in `folder`.

    Rejected files are listed in the draft with the reason. Raises OSError if the draft cannot be saved.
    """
    draft = drafts.open(key)
    inside = [one for one in uploads if _has_arrived(one.path, folder)]
    try:
        for suffix, group in groupby(inside, lambda one: _kind(one.name)):
            if suffix == "picture":
                draft = _take_pictures(drafts, key, [(upload.name, upload.path) for upload in group])
                continue
            for upload in group:
                take = _take_archive if suffix == ".zip" else _take_caption
                draft = take(drafts, key, upload, folder)
    finally:
        for upload in inside:
            forget(upload.path, folder)
    absent = [as_left_out(one.name, NOT_ARRIVED) for one in uploads if one not in inside]
    return drafts.change(key, lambda now: _limited(now, [], absent)) if absent else draft


def _has_arrived(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def take_folder(drafts: Drafts, key: str, folder: Path) -> Draft:
    """Add the pictures and captions of a trusted folder, which stays unchanged."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return _take_pictures(drafts, key, [(path.name, path) for path in files])


def refuse(drafts: Drafts, key: str, name: str, reason: str) -> Draft:
    """Record a file that did not arrive."""
    return drafts.change(key, lambda draft: _limited(draft, [], [as_left_out(name, reason)]))


def _take_archive(drafts: Drafts, key: str, upload: Upload, folder: Path) -> Draft:
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        unpacked = unpack(upload.path, place, SUFFIXES | {".txt"})
        texts = {_stem(name): path for name, path in unpacked.files if path.suffix == ".txt"}
        pictures = []
        for name, path in unpacked.files:
            if path.suffix != ".txt":
                if text := texts.get(_stem(name)):
                    text.replace(path.with_suffix(".txt"))
                pictures.append((name, path))
        wrong = [as_left_out(name, f"This file {reason}.") for name, reason in unpacked.left_out]
        return _take_pictures(drafts, key, pictures, wrong)
    except VelaturaError as error:
        return refuse(drafts, key, upload.name, str(error))
    except OSError as error:
        return refuse(drafts, key, upload.name, why_not_kept(error))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _kind(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in (".zip", ".txt") else "picture"


def _take_caption(drafts: Drafts, key: str, upload: Upload, folder: Path) -> Draft:
    """Use a text file as the caption of an existing picture of the same name."""
    draft = drafts.read(key)
    stem = _stem(upload.name)
    exact = [one.id for one in draft.pictures if _stem(one.name) == stem]
    loose = [one.id for one in draft.pictures if PurePosixPath(_stem(one.name)).name == PurePosixPath(stem).name]
    found = exact or loose
    if not found:
        return refuse(drafts, key, upload.name, "No picture here has the same name as this text file.")
    try:
        text = own_caption(upload.path) if upload.path.suffix.lower() == ".txt" else None
    except UnreadableError:
        text = None
    except OSError as error:
        return refuse(drafts, key, upload.name, why_not_kept(error))
    if text is None:
        return refuse(drafts, key, upload.name, "This text is too long for a caption.")
    return drafts.change(key, lambda now: with_captions(now, dict.fromkeys(found, text), "read"))


def _take_pictures(drafts: Drafts, key: str, files: Sequence[tuple[str, Path]], wrong: Sequence[LeftOut] = ()) -> Draft:
    draft = drafts.open(key)
    room = MOST_PICTURES - len(draft.pictures)
    taken: list[Picture] = []
    left_out, waiting = list(wrong), list(files)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while waiting and len(taken) < room:
            some = waiting[: min(AT_ONCE, room - len(taken))]
            del waiting[: len(some)]
            for found in pool.map(partial(_try_to_take, drafts, draft), some):
                if isinstance(found, Picture):
                    taken.append(found)
                else:
                    left_out.append(found)
    left_out += [as_left_out(name, f"Only the first {MOST_PICTURES} pictures were added.") for name, _ in waiting]
    after = drafts.change(key, lambda now: _limited(now, taken, left_out))
    for one in taken:
        if after.picture(one.id) is None:  # another upload has filled the draft meanwhile
            (drafts.pictures(draft) / f"{one.id}.png").unlink(missing_ok=True)
            (drafts.previews(draft) / f"{one.id}.webp").unlink(missing_ok=True)
    return after


def _try_to_take(drafts: Drafts, draft: Draft, file: tuple[str, Path]) -> Picture | LeftOut:
    try:
        return take(drafts, draft, *file)
    except UnreadableError as error:
        return as_left_out(file[0], f"This file {error.reason}.")
    except OSError as error:
        return as_left_out(file[0], why_not_kept(error))


def why_not_kept(error: OSError) -> str:
    """The message for a file that could not be written."""
    if isinstance(error, FileNotFoundError):
        return NOT_ARRIVED
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. Free some space, then add this file again."
    return f"This file could not be saved ({error.strerror or error}). Add it again."


def _limited(draft: Draft, taken: Sequence[Picture], left_out: Sequence[LeftOut]) -> Draft:
    """The draft with the new pictures, as far as there is still room: another tab may have added some."""
    room = max(0, MOST_PICTURES - len(draft.pictures))
    late = [as_left_out(one.name, f"Only the first {MOST_PICTURES} pictures were added.") for one in taken[room:]]
    draft = with_pictures(draft, taken[:room], [*left_out, *late])
    return draft.with_(left_out=draft.left_out[-LISTED_LEFT_OUT:])


def take(drafts: Drafts, draft: Draft, name: str, path: Path) -> Picture:
    """Decode a file and save it as plain PNG with a preview. Raises UnreadableError."""
    if path.stat().st_size > MOST_BYTES_EACH:
        raise UnreadableError(name, f"is larger than {MOST_BYTES_EACH // 2**20} MB: save it smaller and add it again")
    image = open_image(path, MOST_PIXELS, KEPT_SIDE**2)
    mask = alpha_mask(image)
    if mask is not None and mask.getextrema()[1] == 0:
        raise UnreadableError(name, "is completely transparent")
    caption = own_caption(path)
    if caption is None:
        caption = caption_from_name(PurePosixPath(name.replace("\\", "/")).stem)
    identifier = secrets.token_hex(8)
    with whole_file(drafts.pictures(draft) / f"{identifier}.png") as building:
        image.save(building, compress_level=1)
    save_preview(image, drafts.previews(draft) / f"{identifier}.webp")
    return Picture(id=identifier, name=name[-MOST_NAME:], caption=clean(caption), size=(image.height, image.width))


def as_left_out(name: str, reason: str) -> LeftOut:
    """A rejected file."""
    return LeftOut(id=secrets.token_hex(4), name=name[-MOST_NAME:], reason=reason)


def _stem(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")).with_suffix("")).casefold()


def forget(path: Path, folder: Path) -> None:
    """Delete an upload, and empty folders up to `folder`, which the server made for it."""
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent.resolve() == folder.resolve() or not parent.is_dir() or any(parent.iterdir()):
            break
        parent.rmdir()
