"""Texts of the picture wall in step 1, and of the notices above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from app.studio.dataset.drafts import Restored
from app.studio.dataset.edits import Aspect
from app.ui.train.text import OWN_CHOICES
from app.units import counted, day, forms
from trainers.data.findings import Kind
from trainers.messages import Message as _
from trainers.messages import joined, plural

SELECT_ALL, CLEAR_SELECTION = _("Select all"), _("Clear the selection")
FILTER, FILTER_EXAMPLE = _("Filter by words or file name"), _("Filter")
SHOW = _("Show")
SHOWN: Mapping[str, str] = {
    "all": _("All pictures"),
    "no caption": _("Without a caption"),
    "region": _("Cropped, rotated or masked"),
    "picked": _("Selected"),
}
SIZE = _("Size")
TAGS, EXPORT = _("Words"), _("Download captions")
WALL, SELECTION = _("Pictures"), _("Selected pictures")
WORDS, ADD_BEFORE, ADD_AFTER, REMOVE_WORDS = _("Words"), _("Add before"), _("Add after"), _("Remove")
REPLACE_IN, WRITE_FOR, DELETE = _("Replace …"), _("Write captions …"), _("Delete")
TAKE_THAT, KEEP_MINE = _("Use that"), _("Keep mine")

NO_CAPTION = _("No caption yet")

# The editor
EARLIER, LATER, CLOSE = _("Previous picture"), _("Next picture"), _("Close")
CAPTION_OF = _("Caption")
TOOLS, LOOK, CROP, MASK = _("Tools"), _("View"), _("Crop"), _("Mask")
CROP_HINT = _("Only the part inside the frame is trained. Drag over the picture to draw the frame.")
CROP_KEYS = _("Arrow keys move it; with Shift, further.")
FRAME = _("Crop frame")
GRIPS: Mapping[str, str] = {
    "nw": _("Top left corner"),
    "n": _("Top edge"),
    "ne": _("Top right corner"),
    "e": _("Right edge"),
    "se": _("Bottom right corner"),
    "s": _("Bottom edge"),
    "sw": _("Bottom left corner"),
    "w": _("Left edge"),
}
ASPECT, FREE, ORIGINAL = _("Aspect ratio"), _("Free"), _("Original")
WHOLE_PICTURE, WHOLE_PICTURES = _("Use the whole picture"), _("Whole pictures")
ROTATE_LEFT, ROTATE_RIGHT = _("Rotate left"), _("Rotate right")
MASK_HINT = _("What you paint over is ignored in training.")
PAINTING, IGNORE, LEARN, BRUSH = _("The brush paints"), _("Ignore"), _("Learn"), _("Brush size")
INVERT, CLEAR, UNDO = _("Invert"), _("Clear the mask"), _("Undo")
CANVAS = _("Mask. Arrow keys move the brush, Space paints, X switches between ignoring and learning.")
DELETE_PICTURE = _("Delete picture")
USED = _("Dashed: what training keeps of it. Pictures are cut to the nearest shape that training uses.")
NOTHING_TO_CHANGE: Mapping[str, str] = {
    **dict.fromkeys(("add-before", "add-after"), _("Nothing to change: “{words}” is in these captions already.")),
    "remove-words": _("Nothing to change: “{words}” is in none of these captions."),
    "group": _("Nothing to change: these pictures are in “{words}” already."),
    "crop": _("Nothing to change: these pictures have this crop already."),
}
"""Sentences for bulk actions that change nothing."""

ALL_IGNORED = _("Not saved: nothing of the picture would be left to learn.")
SCRIPT = {
    "picture": _("Picture {number}: {name}"),
    "open": _("Open picture {number}"),
    "caption": _("Caption {number}"),
    "remove": _("Delete picture {number}"),
    "pick": _("Select picture {number}"),
    "rival": _("Another tab wrote: “{text}”"),
    "gone": _("The picture was deleted in another tab while you typed: “{text}”. Undo brings it back."),
    "shown": _("{shown} of {all} shown"),
    "none": _("No picture matches."),
    "asked": _("Hint: {line}"),
    "picked": {"one": _("1 selected"), "other": _("{count} selected")},
    "counter": _("{number} of {all}"),
    "pixels": _("{width} × {height} pixels"),
    "cropped": _("{width} × {height} of {all_width} × {all_height} pixels"),
    "saving": _("Saving …"),
    "saved": _("Saved"),
    "aspects": get_args(Aspect),
    "not_saved": _("Not saved yet. It is sent again when the server answers."),
    "most": _("The {count} most frequent are shown."),
    "no_words": _("No caption has words yet."),
}
"""Texts that the scripts fill in."""

# Over the wall
CHANGED_ELSEWHERE, SHOW_NEWER = _("This was changed in another tab."), _("Show the newer one")
BOTH_KEPT = _("This was also changed in another tab. Both changes are shown.")
KEEP_GOING = _("Keep going")
CLONE_OF = _("Everything is set as it was for {}. Change what you like in any step, then start.")
TRAINED = _("These pictures are in the run “{}”.")
BRING_BACK, LET_GO = _("Go back to them"), _("Discard them")

ADD_CAPTION = _("Write them for me")
SHOW_THEM, LEAVE_PARTS_OUT, KEEP_ONE = _("Show"), _("Leave those parts out"), _("Keep one of each")
SHOW_THESE = _("Show: {line}")
DISMISS_ALL, DISMISS_ONE = _("Dismiss all"), _("Dismiss")
GROUP = _("Group")
GROUP_AS_ALL = _("settings as for all pictures")
AS_ALTERNATIVES, AS_ONE_CAPTION = _("Each line is an alternative"), _("One caption")
FOUND: Mapping[Kind, tuple[str, str]] = {
    "no caption": forms("{count} picture has no caption.", "{count} pictures have no caption."),
    "copy": forms(
        "{count} picture is a duplicate, which counts twice.", "{count} pictures are duplicates, which count twice."
    ),
    "small": forms(
        "{count} picture is small and teaches less detail.", "{count} pictures are small and teach less detail."
    ),
    "elongated": forms(
        "{count} picture is very elongated and loses much to cropping.",
        "{count} pictures are very elongated and lose much to cropping.",
    ),
    "uniform": forms(
        "{count} picture is almost entirely one colour.", "{count} pictures are almost entirely one colour."
    ),
    "blurred": forms("{count} picture is blurred.", "{count} pictures are blurred."),
    "transparent": forms(
        "{count} picture has transparent areas, which become white.",
        "{count} pictures have transparent areas, which become white.",
    ),
    "long caption": forms(
        "{count} caption is longer than the model reads.", "{count} captions are longer than the model reads."
    ),
}
MORE_HINTS = forms("{count} more hint", "{count} more hints")
LEFT_OUT = forms("{count} file was left out", "{count} files were left out")


def group_line(name: str, count: int) -> _:
    """A group of pictures and its size."""
    return plural("{name}: {count} picture", "{name}: {count} pictures", count, name=name)


def own_setting(title: str, value: str) -> _:
    """A setting of a group."""
    return _("{title}: {value}", title=title, value=OWN_CHOICES.get(value, value))


def several_lines(count: int) -> _:
    """The question about captions in files with several lines."""
    return plural(
        "{count} caption has several lines: is that one caption, or several to choose from?",
        "{count} captions have several lines: is that one caption each, or several to choose from?",
        count,
    )


def found_line(kind: Kind, count: int) -> str:
    """The number of pictures with a hint of this kind."""
    return plural(*FOUND[kind], count)


def more_hints(count: int) -> str:
    """The number of folded hints."""
    return plural("{count} more hint", "{count} more hints", count)


def left_out_line(count: int) -> str:
    """The number of refused files."""
    return plural("{count} file was left out", "{count} files were left out", count)


def draft_restored(restored: Restored) -> str:
    """The notice about a restored draft."""
    if not restored.pictures:
        return _("Your draft's file was damaged, and nothing in it could be read. The file is kept.")
    pictures = counted(restored.pictures, "picture")
    if not restored.without_caption:
        return _(
            "Your draft's file was damaged. The file is kept, and what could be read is back: {pictures}, with their "
            "captions. Check them before you go on.",
            pictures=pictures,
        )
    return _(
        "Your draft's file was damaged. The file is kept, and what could be read is back: {pictures}; {without} of "
        "them without a caption. Check them before you go on.",
        pictures=pictures,
        without=restored.without_caption,
    )


def still_here(pictures: int, changed: float, now: float) -> str:
    """The notice for a returning user."""
    return plural(
        "Your {count} picture from {day} is still here.",
        "Your {count} pictures from {day} are still here.",
        pictures,
        day=day(changed, now),
    )


TRAINS_ON = _("The training will start from “{name}”. Its method, rank and layers are set in step 2.")


def cloned(run: str, aside: int) -> str:
    """The notice about a clone; `aside` is the number of pictures that were set aside."""
    kept = plural(
        "The {count} picture you were preparing before the clone is kept.",
        "The {count} pictures you were preparing before the clone are kept.",
        aside,
    )
    return joined(" ", (CLONE_OF.format(run) if run else "", kept if aside else ""))
