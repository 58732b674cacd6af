"""Drafts on the server: pictures, captions and choices, which survive page, browser and server.

A draft is a folder with `draft.json` and the pictures as plain PNG. Functions from draft to draft change it under a
lock, so that two tabs, requests or servers never overwrite each other. `revision` counts the changes, by which pages
notice that they are out of date.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from app.state_file import StateFile
from app.studio.accounts.people import login_of_key
from app.studio.dataset.draft_file import VERSION, read_table, version_of
from app.studio.dataset.draft_trash import MASKS, forget, returned, take_back, throw_away
from app.studio.dataset.previews import open_small, save_preview
from app.studio.paths import Paths
from trainers.atomic_files import whole_file
from trainers.data.repeats import repeats_of, write_folders, write_repeats
from trainers.data.source import Crop, crop_file, mask_file
from trainers.errors import VelaturaError
from trainers.messages import recorded

UNDO_STEPS = 20
WHOLE = (0.0, 0.0, 1.0, 1.0)
"""The crop that is the whole picture."""
_PUBLIC = re.compile(rb'"public":\s*"([\w-]{22})"')


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Region(_Part):
    """How a picture is turned, its trained part, and the weight of each place."""

    crop: tuple[float, float, float, float] | None = None
    """(left, top, width, height) as fractions of the rotated picture; None for all of it."""
    mask: str = ""
    """Key of its mask, which is `masks/ID-KEY.png`, not rotated; "" if all places count alike."""
    rotation: Literal[0, 90, 180, 270] = 0
    """Degrees clockwise."""

    @property
    def source_crop(self) -> Crop | None:
        """The rotation and the crop as trainers read them; None if they change nothing."""
        crop = Crop(*(self.crop or WHOLE), self.rotation)
        return None if crop.is_whole() else crop

    def with_crop(self, crop: Crop) -> Self:
        """With the rotation and the crop of `crop`."""
        *box, rotation = astuple(crop)
        return self.model_copy(update={"crop": None if tuple(box) == WHOLE else tuple(box), "rotation": rotation})


class Picture(Region):
    """A picture of a draft: stored upright, without metadata."""

    id: str
    name: str
    """Original file name with folders, as uploaded."""
    caption: str
    size: tuple[int, int]
    """(height, width) of the stored picture."""
    lines: tuple[str, ...] = ()
    """The lines of its text file, until somebody has said whether they are alternatives."""
    rival: str = ""
    """A conflicting caption from another tab, shown so that no text is lost."""

    @property
    def region(self) -> Region:
        """Its rotation, crop and mask."""
        return Region(crop=self.crop, mask=self.mask, rotation=self.rotation)

    @property
    def rotated_size(self) -> tuple[int, int]:
        """(height, width) after the rotation."""
        return self.size[::-1] if self.rotation % 180 else self.size


class LeftOut(_Part):
    """A rejected file and the reason."""

    id: str
    name: str
    reason: str
    said: Any = None
    """The reason as `trainers.messages.to_record` gives it."""

    @property
    def sentence(self) -> str:
        """The reason, to be shown in any language."""
        return recorded(self.said, self.reason)


Change = Literal["changed", "written", "read", "removed", "cleared", "cropped", "masked", "rotated", "grouped"]
"""An undoable edit of captions (changed, written by a model or read from files) or of pictures."""


class Undo(_Part):
    """How to undo an edit; the last fields are what was cleared with the pictures, as in `Draft`."""

    id: str = ""
    """Id of an edit that is still growing."""
    kind: Change
    captions: dict[str, tuple[str, str]] = {}
    """Captions by picture: (before, after)."""
    regions: dict[str, tuple[Region, Region]] = {}
    """Rotations, crops and masks by picture: (before, after)."""
    names: dict[str, tuple[str, str]] = {}
    """Names with folders by picture: (before, after)."""
    removed: tuple[tuple[int, Picture], ...] = ()
    """Removed pictures with their positions, in ascending order."""
    trigger: str = ""
    left_out: tuple[LeftOut, ...] = ()
    name: str = ""
    prompts: tuple[str, ...] = ()
    clone_of: str = ""
    started: tuple[str, str] | None = None


class Restored(_Part):
    """The result of restoring a draft with a damaged file."""

    pictures: int
    without_caption: int


class Choices(_Part):
    """The choices of the second step."""

    aim: Literal["style", "subject"] = "style"
    preset: str = "balanced"
    method: str = ""
    """A method's name, or "" for the preset's."""
    base: str = "starter"
    settings: dict[str, Any] = {}
    """Other changed settings, by dotted key: `train.steps`."""
    own_preset: str = ""
    """The person's own preset that was chosen; "" for none."""
    own_settings: dict[str, Any] = {}
    """The changed settings of that preset."""
    imported: str = ""
    """Another program's file from which the settings were imported."""
    start: str = ""
    """Path of a style from which the training starts; set only by the studio."""
    classes: str = ""
    """Folder of class images of the cloned run, used with a class prompt."""
    parts: dict[str, tuple[str, ...]] = {}
    """Named parts of the cloned run's base, by base; set only by the studio."""


class SettingsBefore(_Part):
    """The settings before many were changed at once."""

    choices: Choices
    name: str
    trigger: str
    prompts: tuple[str, ...]


class Draft(_Part):
    """The state of the three steps of Train."""

    id: str
    public: str
    """Unguessable name of the folder with its previews."""
    schema_version: int = VERSION
    key: str = ""
    """Key of a login's draft; other keys are secrets that give access to the draft."""
    revision: int = 0
    changed: float = 0.0
    """Seconds since the epoch."""
    tab: str = ""
    """Page of the last change."""
    pictures: tuple[Picture, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    trigger: str = ""
    undo: tuple[Undo, ...] = ()
    """Undoable edits, newest last."""
    choices: Choices = Choices()
    name: str = ""
    """Name of the style; like the preview prompts, from the third step."""
    prompts: tuple[str, ...] = ()
    clone_of: str = ""
    aside: Draft | None = None
    """The draft set aside when the run `clone_of` was cloned."""
    restored: Restored | None = None
    """Result of a recovery, until it is dismissed."""
    before: SettingsBefore | None = None
    """The settings that `settings.undo` restores."""
    around_start: tuple[Choices, Choices] | None = None
    """The choices before and after `choices.start` was chosen."""
    started: tuple[str, str] | None = None
    """The last start: the page's id for it, and its run."""
    started_at: int = 0
    """Revision of the draft at that start."""

    def picture(self, identifier: str) -> Picture | None:
        """The picture with this id."""
        return next((picture for picture in self.pictures if picture.id == identifier), None)

    def with_(self, **changes: Any) -> Draft:
        """The draft with changed fields, and at most the maximum number of undo steps."""
        if "undo" in changes:
            changes["undo"] = tuple(changes["undo"])[-UNDO_STEPS:]
        return self.model_copy(update=changes)


EMPTY = Draft(id="", public="")
"""A draft without pictures that is not stored."""


class Drafts:
    """All drafts of a studio, by owner key."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def job(self, draft: Draft) -> Path:
        """The folder of a draft's captioning job."""
        return self.paths.drafts / draft.id / "writing"

    def read(self, key: str) -> Draft:
        """The draft of `key`, or a new unsaved one.

        A damaged file is set aside and replaced by the state before it, which `restored` describes. Raises
        NewerDraftError for a draft from a newer Velatura, OSError if the file cannot be read.
        """
        file = self._file(key)
        return file.read() or Draft(id=file.path.parent.name, public=secrets.token_urlsafe(16))

    def look(self, key: str) -> Draft:
        """The draft of `key`, with pictures restored from the trash since the last change."""
        file = self._file(key)
        return self.change(key, lambda now: now) if returned(file.path.parent) else self.read(key)

    def open(self, key: str) -> Draft:
        """The draft of `key`, saved if it is new, so that its folders keep their names."""
        draft = self.read(key)
        return draft if draft.revision else self.change(key, lambda new: new.with_(changed=time.time()))

    def change(self, key: str, change: Callable[[Draft], Draft], tab: str = "") -> Draft:
        """Apply `change` to the newest state and save the result, unless unchanged; `tab` names the requesting page."""
        file = self._file(key)
        file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.lock():
            old = self.read(key)
            back = returned(file.path.parent)
            new = change(self._with_returned(old, back))
            if new == old:
                forget(back)  # their pictures are in the draft
                return old
            mine = new.key or (key if login_of_key(key) else "")
            new = new.with_(revision=old.revision + 1, changed=max(time.time(), old.changed + 1e-6), tab=tab, key=mine)
            _back_up(file.path)
            file.write(new)
            forget(back)
            self._tidy(old, new)
        return new

    def pictures(self, draft: Draft) -> Path:
        """The folder of a draft's pictures, `ID.png` each."""
        return self._made(self.paths.drafts / draft.id / "pictures")

    def masks(self, draft: Draft) -> Path:
        """The folder of the masks of a draft's pictures, `ID-KEY.png` each."""
        return self._made(self.paths.drafts / draft.id / MASKS)

    def measures(self, draft: Draft) -> Path:
        """The folder of measurements of a draft's pictures."""
        return self._made(self.paths.drafts / draft.id / "measures")

    def previews(self, draft: Draft) -> Path:
        """The folder of a draft's previews, `ID.webp` each."""
        return self._made(self.paths.public / draft.public)

    def public_names(self) -> set[str]:
        """The names of all drafts' preview folders."""
        names = set()
        for path in self.paths.drafts.glob("*/draft*.json"):  # also damaged ones, which a person may restore
            names |= {name.decode() for name in _PUBLIC.findall(path.read_bytes())}
        return names

    def write_dataset(self, draft: Draft, folder: Path) -> None:
        """Write pictures, captions, regions, repeats and folders as a new folder for training: `0001.png`, …"""
        folder.mkdir(parents=True)
        repeats, folders = {}, {}
        for number, picture in enumerate(draft.pictures, 1):
            place = folder / f"{number:04d}.png"
            shutil.copyfile(self.pictures(draft) / f"{picture.id}.png", place)
            place.with_suffix(".txt").write_text(picture.caption + "\n", encoding="utf-8")
            self.write_region(draft, picture, place)
            repeats[place.name] = repeats_of(picture.name)[0]
            folders[place.name] = PurePosixPath(picture.name.replace("\\", "/")).parent.name
        write_repeats(folder, repeats)
        write_folders(folder, {name: inner for name, inner in folders.items() if inner})

    def write_region(self, draft: Draft, picture: Picture, place: Path) -> None:
        """Write a picture's rotation, crop and mask beside `place`, under which it is trained."""
        if (crop := picture.source_crop) is not None:
            crop_file(place).write_text(crop.to_json(), encoding="utf-8")
        if picture.mask:
            shutil.copyfile(self.masks(draft) / f"{picture.id}-{picture.mask}.png", mask_file(place))

    def _file(self, key: str) -> StateFile[Draft]:
        folder = self.paths.drafts / hashlib.sha256(key.encode()).hexdigest()[:32]
        restore = partial(self._restore, folder.name)
        return StateFile(folder / "draft.json", parse, Draft.model_dump_json, restore, folder / ".lock")

    def _restore(self, identifier: str, before: Draft | None) -> Draft:
        """The draft before the last change, with every picture in its folder."""
        draft = before or Draft(id=identifier, public=secrets.token_urlsafe(16))
        known = known_pictures(draft)
        folder = self.pictures(draft)
        pictures = [picture for picture in draft.pictures if (folder / f"{picture.id}.png").is_file()]
        for path in sorted(folder.glob("[!.]*.png"), key=lambda path: path.stat().st_mtime):
            if path.stem not in known and (picture := _picture_of(path)) is not None:
                pictures.append(picture)
        for picture in pictures:
            self._draw_preview(draft, picture)
        restored = Restored(pictures=len(pictures), without_caption=sum(not picture.caption for picture in pictures))
        # Pages may have the revision after `before`.
        return draft.with_(pictures=tuple(pictures), revision=draft.revision + 2, restored=restored)

    def _draw_preview(self, draft: Draft, picture: Picture) -> None:
        place = self.previews(draft) / f"{picture.id}.webp"
        if not place.is_file():
            save_preview(open_small(self.pictures(draft) / f"{picture.id}.png"), place)
        mask = f"{picture.id}-{picture.mask}.png"
        if picture.mask and not (self.previews(draft) / mask).is_file():
            with suppress(FileNotFoundError):
                shutil.copyfile(self.masks(draft) / mask, self.previews(draft) / mask)

    def _made(self, folder: Path) -> Path:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _with_returned(self, draft: Draft, paths: Sequence[Path]) -> Draft:
        """The draft with restored pictures added at its end."""
        known, back = known_pictures(draft), []
        for table in take_back(paths, self.pictures(draft), self.masks(draft)):
            picture = (
                Picture.model_validate(table)
                if _is_picture(table)
                else _picture_of(self.pictures(draft) / f"{table['id']}.png")
            )
            if picture is not None and picture.id not in known:
                back.append(picture)
                self._draw_preview(draft, back[-1])
        return draft.with_(pictures=(*draft.pictures, *back)) if back else draft

    def _tidy(self, old: Draft, new: Draft) -> None:
        """Move pictures that Undo can no longer restore to the trash, and delete their derived files."""
        before, now = known_pictures(old), known_pictures(new)
        gone = [picture for identifier, picture in before.items() if identifier not in now]
        for picture in gone:
            for place in self.previews(old).glob(f"{picture.id}*"):
                place.unlink(missing_ok=True)
            (self.measures(old) / f"{picture.id}.json").unlink(missing_ok=True)
        lost = {picture.id for picture in gone}
        for identifier, mask in known_masks(old, before.values()) - known_masks(new, now.values()):
            if identifier not in lost:  # else its picture takes it along
                for folder in (self.masks(old), self.previews(old)):
                    (folder / f"{identifier}-{mask}.png").unlink(missing_ok=True)
        with suppress(OSError, VelaturaError):  # the change is saved; the files stay in place
            tables = [picture.model_dump() for picture in gone]
            throw_away(self.paths.runs, self.pictures(old).parent, self.pictures(old), tables, login_of_key(new.key))


def parse(content: bytes) -> Draft:
    """Parse a draft. Raises ValueError if it is damaged, NewerDraftError if it is newer."""
    return Draft.model_validate(read_table(content))


def _back_up(path: Path) -> None:
    """Copy a draft of an older version before it is replaced."""
    with suppress(FileNotFoundError):
        content = path.read_bytes()
        version = version_of(content)
        backup = path.with_name(f"draft.v{version}.json")
        if 0 < version < VERSION and not backup.exists():
            with whole_file(backup) as building:
                building.write_bytes(content)


def _is_picture(value: Any) -> bool:
    try:
        return bool(Picture.model_validate(value).id)
    except ValidationError:
        return False


def _picture_of(path: Path) -> Picture | None:
    """A picture from its file alone; None if that is unreadable."""
    from PIL import Image

    from trainers.data.decode import UnreadableError

    try:
        open_small(path)
        with Image.open(path, formats=("PNG",)) as image:
            return Picture(id=path.stem, name=path.name, caption="", size=(image.height, image.width))
    except (OSError, UnreadableError):
        return None


def known_masks(draft: Draft, pictures: Iterable[Picture]) -> set[tuple[str, str]]:
    """Every mask of a draft by picture and key: of its `pictures` and of undoable edits."""
    before = known_masks(draft.aside, ()) if draft.aside is not None else set()
    edited = {(id, region.mask) for step in draft.undo for id, regions in step.regions.items() for region in regions}
    current = {(picture.id, picture.mask) for picture in pictures}
    return before | {(id, mask) for id, mask in edited | current if mask}


def known_pictures(draft: Draft) -> dict[str, Picture]:
    """Every picture of a draft by id: current, undoable and set aside."""
    before = known_pictures(draft.aside) if draft.aside is not None else {}
    removed = {picture.id: picture for step in draft.undo for _, picture in step.removed}
    return before | removed | {picture.id: picture for picture in draft.pictures}
