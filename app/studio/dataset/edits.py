"""Edits of a draft's pictures and captions, as functions from draft to draft."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from app.studio.dataset.drafts import WHOLE, Change, Draft, LeftOut, Picture, Region, Undo
from trainers.data.captions import as_wildcard, one_line
from trainers.data.repeats import numbered_folder

Aspect = Literal["1:1", "4:3", "3:2", "16:9", "3:4", "2:3", "9:16"]
"""Aspect ratios to crop to, width to height."""
MOST_LETTERS = 2000
BETWEEN_TAGS = re.compile(r",(?![^{}]*\})")
MOST_TRIGGER = 80
CLEARED = ("trigger", "left_out", "name", "prompts", "clone_of", "started")
"""Fields of a draft that a fresh start clears with the pictures, kept in its undo step."""


def with_caption(draft: Draft, identifier: str, text: str, was: str) -> Draft:
    """Write one caption. `was` is the text on the page; a different stored text is kept as its rival."""
    picture = draft.picture(identifier)
    text = clean(text)
    if picture is None or picture.caption == text:
        return draft
    rival = picture.caption if picture.caption != clean(was) else picture.rival
    return _replaced(draft, picture.model_copy(update={"caption": text, "rival": rival}))


def with_rival(draft: Draft, identifier: str, take: bool) -> Draft:
    """Accept or discard the other tab's caption."""
    picture = draft.picture(identifier)
    if picture is None or not picture.rival:
        return draft
    caption = picture.rival if take else picture.caption
    return _replaced(draft, picture.model_copy(update={"caption": caption, "rival": ""}))


def with_region(draft: Draft, identifier: str, region: Region) -> Draft:
    """Rotate, crop or mask a picture, undoably; reverting the last such change removes its undo step."""
    after = with_regions(draft, {identifier: region})
    last = draft.undo[-1].regions if draft.undo else {}
    is_reverted = after is not draft and last == {identifier: after.undo[-1].regions[identifier][::-1]}
    return after.with_(undo=draft.undo[:-1]) if is_reverted else after


def with_regions(draft: Draft, regions: Mapping[str, Region]) -> Draft:
    """Rotate, crop or mask pictures as one undoable edit."""
    changed = {
        picture.id: (picture.region, region)
        for picture in draft.pictures
        if (region := regions.get(picture.id)) is not None and picture.region != region
    }
    if not changed:
        return draft
    pictures = tuple(
        _with_region(picture, changed[picture.id][1]) if picture.id in changed else picture
        for picture in draft.pictures
    )
    before, after = next(iter(changed.values()))
    kind: Change = (
        "masked" if before.mask != after.mask else "rotated" if before.rotation != after.rotation else "cropped"
    )
    return draft.with_(pictures=pictures, undo=(*draft.undo, Undo(kind=kind, regions=changed)))


def rotated(region: Region, degrees: int) -> Region:
    """Rotate a picture clockwise, in steps of 90°, with its crop."""
    crop, turns = region.crop, degrees // 90 % 4
    for _ in range(turns):
        if crop is not None:
            left, top, width, height = crop
            crop = (round(1 - top - height, 6), left, height, width)
    return region.model_copy(update={"crop": crop, "rotation": (region.rotation + 90 * turns) % 360})


def with_rotation(draft: Draft, identifiers: Collection[str], degrees: int) -> Draft:
    """Rotate pictures clockwise, in steps of 90°."""
    some = (picture for picture in draft.pictures if picture.id in identifiers)
    return with_regions(draft, {picture.id: rotated(picture.region, degrees) for picture in some})


def with_aspect(draft: Draft, identifiers: Collection[str], aspect: Aspect | None) -> Draft:
    """Crop pictures to their largest centred part of this aspect ratio; None for the whole pictures."""
    some = (picture for picture in draft.pictures if picture.id in identifiers)
    crops = ((picture, _centred(picture.rotated_size, aspect)) for picture in some)
    regions = {picture.id: picture.region.model_copy(update={"crop": crop}) for picture, crop in crops}
    return with_regions(draft, regions)


def _centred(size: tuple[int, int], aspect: Aspect | None) -> tuple[float, float, float, float] | None:
    """The largest centred part of a picture of `size` (height, width); None if that is all of it."""
    across, down = map(int, aspect.split(":")) if aspect else size[::-1]
    share = across * size[0] / (down * size[1])
    width, height = round(min(1.0, share), 6), round(min(1.0, 1 / share), 6)
    crop = (round((1 - width) / 2, 6), round((1 - height) / 2, 6), width, height)
    return None if crop == WHOLE else crop


def with_captions(draft: Draft, captions: Mapping[str, str], kind: Change = "changed") -> Draft:
    """Write several captions as one undoable edit."""
    before = {picture.id: picture.caption for picture in draft.pictures}
    wanted = {identifier: clean(text) for identifier, text in captions.items()}
    changes = {
        identifier: (before[identifier], text)
        for identifier, text in wanted.items()
        if identifier in before and before[identifier] != text
    }
    if not changes:
        return draft
    pictures = tuple(
        picture.model_copy(update={"caption": changes[picture.id][1]}) if picture.id in changes else picture
        for picture in draft.pictures
    )
    step = Undo(kind=kind, captions=changes)
    return draft.with_(pictures=pictures, undo=(*draft.undo, step))


def with_lines(draft: Draft, lines: Mapping[str, tuple[str, ...]]) -> Draft:
    """Keep the lines of text files with several of them, by picture, until it is known what they are."""
    return draft.with_(
        pictures=tuple(
            picture.model_copy(update={"lines": kept if len(kept) > 1 else ()})
            if (kept := lines.get(picture.id)) is not None
            else picture
            for picture in draft.pictures
        )
    )


def with_lines_as(draft: Draft, alternatives: bool) -> Draft:
    """Make the lines of text files alternatives, undoably, or leave them as one caption; edited captions stay."""
    captions = {
        picture.id: text
        for picture in draft.pictures
        if alternatives and picture.lines and picture.caption == clean(" ".join(picture.lines))
        if len(text := as_wildcard(picture.lines)) <= MOST_LETTERS
    }
    answered = with_lines(draft, {picture.id: () for picture in draft.pictures})
    if not captions:
        return answered
    choices = draft.choices.model_copy(update={"settings": {**draft.choices.settings, "data.wildcards": True}})
    return with_captions(answered.with_(choices=choices), captions)


def written(draft: Draft, captions: Mapping[str, str], step_id: str, kind: Change = "written") -> Draft:
    """Write captions as a model produces them or files arrive; those with the same `step_id` are undone together."""
    once = with_captions(draft.with_(undo=()), captions)
    if not once.undo:
        return draft
    place = next((k for k, step in enumerate(draft.undo) if step.id == step_id), len(draft.undo))
    begun = draft.undo[place].captions if place < len(draft.undo) else {}
    changes = begun | {key: _joined(begun.get(key), change) for key, change in once.undo[0].captions.items()}
    step = Undo(id=step_id, kind=kind, captions=changes)
    return once.with_(undo=(*draft.undo[:place], step, *draft.undo[place + 1 :]))


def _joined(first: tuple[str, str] | None, then: tuple[str, str]) -> tuple[str, str]:
    """Merge two changes of a caption into one, keeping a person's text between them for undo."""
    return (first[0], then[1]) if first is not None and first[1] == then[0] else then


def replacements(draft: Draft, find: str, replace: str, identifiers: Collection[str] = ()) -> dict[str, str]:
    """The captions that find and replace would change, by picture, with the new text; case-sensitive.

    Without ids, of all pictures.
    """
    if not find:
        return {}
    some = [picture for picture in draft.pictures if not identifiers or picture.id in identifiers]

    def replaced(caption: str) -> str:
        after = clean(caption.replace(find, replace))
        return _without_gaps(after) if "" in _tags(after) and "" not in _tags(caption) else after

    changed = {picture.id: replaced(picture.caption) for picture in some}
    return {picture.id: changed[picture.id] for picture in some if changed[picture.id] != picture.caption}


def with_words(draft: Draft, identifiers: Collection[str], words: str, after: bool) -> Draft:
    """Add words to captions as tags, unless a caption has them."""
    added = [tag for tag in split_tags(clean(words)) if tag]

    def joined(caption: str) -> str:
        known = _tags(caption)
        new = ", ".join(tag for tag in added if tag.casefold() not in known)
        return ", ".join(filter(None, (caption, new) if after else (new, caption))) if new else caption

    captions = {picture.id: joined(picture.caption) for picture in draft.pictures if picture.id in identifiers}
    return with_captions(draft, captions)


def without_words(draft: Draft, identifiers: Collection[str], words: str) -> Draft:
    """Remove words from captions: equal tags, or without any, the words anywhere in the text."""
    words = clean(words).strip(" ,")
    pattern = re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE)

    def cleared(caption: str) -> str:
        if words.casefold() in _tags(caption):
            return ", ".join(tag for tag in split_tags(caption) if tag.casefold() != words.casefold())
        if not pattern.search(caption):
            return caption
        return _without_gaps(one_line(pattern.sub("", caption)))

    some = [picture for picture in draft.pictures if picture.id in identifiers] if words else []
    return with_captions(draft, {picture.id: cleared(picture.caption) for picture in some})


def _without_gaps(caption: str) -> str:
    """A caption without empty tags."""
    return re.sub(r"\s*,(?:\s*,)+", ",", re.sub(r"\s+,", ",", caption)).strip(" ,")


def _tags(caption: str) -> set[str]:
    return {tag.casefold() for tag in split_tags(caption)}


def split_tags(caption: str) -> list[str]:
    """The tags of a caption; commas inside `{a, b|c}` separate none."""
    return [tag.strip() for tag in BETWEEN_TAGS.split(caption)]


def with_folder(draft: Draft, identifiers: Collection[str], folder: str) -> Draft:
    """Put pictures into a folder, by their names, undoably; a folder's pictures may have settings of their own.

    It is inside the folder that has their repeats (`10_fox`), if any.
    """
    folder = re.sub(r"[\\/]+", "-", one_line(folder)).strip(". ")[:MOST_TRIGGER]
    names = {
        picture.id: (
            picture.name,
            str(PurePosixPath(numbered_folder(picture.name), folder, PurePosixPath(picture.name).name)),
        )
        for picture in draft.pictures
        if folder and picture.id in identifiers and PurePosixPath(picture.name).parent.name != folder
    }
    if not names:
        return draft
    pictures = tuple(
        picture.model_copy(update={"name": names[picture.id][1]}) if picture.id in names else picture
        for picture in draft.pictures
    )
    return draft.with_(pictures=pictures, undo=(*draft.undo, Undo(kind="grouped", names=names)))


def without(draft: Draft, identifiers: Sequence[str], kind: Change = "removed") -> Draft:
    """Remove pictures, undoably."""
    wanted = set(identifiers)
    gone = tuple((place, picture) for place, picture in enumerate(draft.pictures) if picture.id in wanted)
    if not gone:
        return draft
    kept = tuple(picture for picture in draft.pictures if picture.id not in wanted)
    return draft.with_(pictures=kept, undo=(*draft.undo, Undo(kind=kind, removed=gone)))


def with_restored(draft: Draft, identifiers: Collection[str]) -> Draft:
    """Restore deleted pictures to their places while Undo can; later edits stay."""
    if not any(picture.id in identifiers for step in draft.undo for _, picture in step.removed):
        return draft
    every, steps = list(draft.pictures), []  # with all deleted pictures, for their places
    for step in reversed(draft.undo):
        for place, picture in step.removed:
            every.insert(min(place, len(every)), picture)
    kept = {picture.id for picture in draft.pictures}.union(identifiers)
    for step in draft.undo:
        removed = tuple((place, picture) for place, picture in step.removed if picture.id not in identifiers)
        if removed or not step.removed:
            steps.append(step.model_copy(update={"removed": removed}))
    return draft.with_(pictures=tuple(picture for picture in every if picture.id in kept), undo=tuple(steps))


def settled(draft: Draft) -> Draft:
    """Release removed pictures: Undo can no longer restore them."""
    steps = tuple(step for step in draft.undo if not step.removed)
    return draft.with_(undo=steps, aside=settled(draft.aside) if draft.aside is not None else None)


def emptied(draft: Draft) -> Draft:
    """Start fresh, undoably."""
    cleared = {name: getattr(draft, name) for name in CLEARED}
    if not (draft.pictures or any(cleared.values())):
        return draft
    step = Undo(kind="cleared", removed=tuple(enumerate(draft.pictures)), **cleared)
    empty = {name: Undo.model_fields[name].default for name in CLEARED}
    return draft.with_(pictures=(), undo=(*draft.undo, step), **empty)


def undone(draft: Draft) -> Draft:
    """Undo the last edit: removed pictures return to their places; captions edited since then stay."""
    if not draft.undo:
        return draft
    *steps, step = draft.undo
    pictures = list(draft.pictures)
    for place, picture in step.removed:
        pictures.insert(min(place, len(pictures)), picture)
    for place, picture in enumerate(pictures):
        before, after = step.captions.get(picture.id, (None, None))
        if before is not None and picture.caption == after:
            pictures[place] = picture.model_copy(update={"caption": before})
        if picture.id in step.names and picture.name == step.names[picture.id][1]:
            pictures[place] = pictures[place].model_copy(update={"name": step.names[picture.id][0]})
        if picture.id in step.regions:
            was, now = step.regions[picture.id]
            if picture.region == now:
                pictures[place] = _with_region(pictures[place], was)
    back = {name: getattr(draft, name) or getattr(step, name) for name in CLEARED}
    back["left_out"] = (*step.left_out, *draft.left_out)
    return draft.with_(pictures=tuple(pictures), undo=tuple(steps), **back)


def with_pictures(draft: Draft, pictures: Sequence[Picture], left_out: Sequence[LeftOut]) -> Draft:
    """Append pictures and rejected files; after a fresh start, earlier pictures are released."""
    undo = draft.undo if draft.pictures or not pictures else ()
    return draft.with_(pictures=(*draft.pictures, *pictures), left_out=(*draft.left_out, *left_out), undo=undo)


def dismissed(draft: Draft, identifier: str) -> Draft:
    """Dismiss a rejected file, or all of them with an empty id."""
    kept = tuple(file for file in draft.left_out if identifier and file.id != identifier)
    return draft.with_(left_out=kept)


def notice_read(draft: Draft) -> Draft:
    """Dismiss the notice about a damaged draft."""
    return draft.with_(restored=None)


def with_trigger(draft: Draft, text: str) -> Draft:
    """Set the trigger word."""
    return draft.with_(trigger=one_line(text)[:MOST_TRIGGER])


def clean(text: str) -> str:
    """A normalised caption: one line of bounded length."""
    return one_line(text[: 2 * MOST_LETTERS])[:MOST_LETTERS]


def _with_region(picture: Picture, region: Region) -> Picture:
    return picture.model_copy(update=region.model_dump())


def _replaced(draft: Draft, picture: Picture) -> Draft:
    return draft.with_(pictures=tuple(picture if old.id == picture.id else old for old in draft.pictures))


def masked(draft: Draft) -> Draft:
    """Exclude transparent areas from training instead of putting them on white."""
    settings = draft.choices.settings | {"data.transparency": "mask"}
    return draft.with_(choices=draft.choices.model_copy(update={"settings": settings}))
