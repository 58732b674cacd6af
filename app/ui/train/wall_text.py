"""What the wall of pictures in the first step of Train says."""

from __future__ import annotations

from collections.abc import Mapping

from trainers.data.findings import Kind
from trainers.messages import Message as _

SELECT_ALL, CLEAR_SELECTION = _("Select all"), _("Clear the selection")
FILTER, FILTER_EXAMPLE = _("Filter by words or file name"), _("boat, IMG_12 …")
SHOW = _("Show")
SHOWN: Mapping[str, str] = {
    "all": _("All pictures"),
    "no caption": _("Without a caption"),
    "hints": _("With hints"),
    "region": _("With a crop or mask"),
    "picked": _("Selected"),
}
SIZE = _("Size of the pictures")
TAGS, EXPORT = _("Words"), _("Save captions")
WALL, SELECTION = _("Pictures"), _("Selected pictures")
WORDS, ADD_BEFORE, ADD_AFTER, REMOVE_WORDS = _("Words"), _("Add before"), _("Add after"), _("Remove")
REPLACE_IN, WRITE_FOR, DELETE = _("Replace …"), _("Write captions …"), _("Delete")
REMOVE_PICTURE = _("Remove picture")
TAKE_THAT, KEEP_MINE = _("Use that"), _("Keep mine")

NO_CAPTION = _("No caption yet")

# The editor
EARLIER, LATER, CLOSE = _("Previous picture"), _("Next picture"), _("Close")
CAPTION_OF = _("Caption")
TOOLS, LOOK, CROP, MASK = _("Tools"), _("Look"), _("Crop"), _("Mask")
CROP_HINT = _("Only the part inside the frame is trained.")
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
WHOLE_PICTURE = _("Use the whole picture")
MASK_HINT = _("What you paint over is ignored in training.")
PAINTING, IGNORE, LEARN, BRUSH = _("The brush paints"), _("Ignore"), _("Learn"), _("Brush size")
INVERT, CLEAR, UNDO = _("Invert"), _("Clear the mask"), _("Undo")
CANVAS = _("Mask. Arrow keys move the brush, Space paints, X switches between ignoring and learning.")
DELETE_PICTURE = _("Delete picture")

ALL_IGNORED = _("Not saved: nothing of the picture would be left to learn.")
SCRIPT = {
    "picture": _("Picture {number}: {name}"),
    "open": _("Open picture {number}"),
    "caption": _("Caption {number}"),
    "remove": _("Remove picture {number}"),
    "pick": _("Select picture {number}"),
    "rival": _("Another tab wrote: “{text}”"),
    "gone": _("The picture was deleted in another tab while you typed: “{text}”. Undo brings it back."),
    "shown": _("{shown} of {all} shown"),
    "none": _("No picture matches."),
    "picked": {"one": _("1 selected"), "other": _("{count} selected")},
    "counter": _("{number} of {all}"),
    "pixels": _("{width} × {height} pixels"),
    "cropped": _("{width} × {height} of {all_width} × {all_height} pixels"),
    "saving": _("Saving …"),
    "saved": _("Saved"),
    "not_saved": _("Not saved yet. It is sent again when the server answers."),
    "most": _("The {count} most frequent are shown."),
}
"""What the scripts fill in."""

# Over the wall
ADD_CAPTION = _("Write them for me")
SHOW_THEM, LEAVE_PARTS_OUT = _("Show"), _("Leave those parts out")
DISMISS_ALL, DISMISS_ONE = _("Dismiss all"), _("Dismiss")
FOUND: Mapping[Kind, tuple[str, str]] = {
    "no caption": (_("1 picture has no caption."), _("{count} pictures have no caption.")),
    "copy": (
        _("1 picture is a duplicate, which counts twice."),
        _("{count} pictures are duplicates, which count twice."),
    ),
    "small": (_("1 picture is small and teaches less detail."), _("{count} pictures are small and teach less detail.")),
    "elongated": (
        _("1 picture is very elongated and loses much to cropping."),
        _("{count} pictures are very elongated and lose much to cropping."),
    ),
    "uniform": (_("1 picture is almost entirely one colour."), _("{count} pictures are almost entirely one colour.")),
    "blurred": (_("1 picture is blurred."), _("{count} pictures are blurred.")),
    "transparent": (
        _("1 picture has transparent areas, which become white."),
        _("{count} pictures have transparent areas, which become white."),
    ),
    "long caption": (
        _("1 caption is longer than the model reads."),
        _("{count} captions are longer than the model reads."),
    ),
}
MORE_HINTS = (_("1 more hint"), _("{count} more hints"))
LEFT_OUT = (_("1 file was left out"), _("{count} files were left out"))


def found_line(kind: Kind, count: int) -> str:
    """How many pictures have a hint of that kind."""
    one, several = FOUND[kind]
    return one if count == 1 else several.format(count=count)


def more_hints(count: int) -> str:
    """How many hints are folded."""
    return MORE_HINTS[0] if count == 1 else MORE_HINTS[1].format(count=count)


def left_out_line(count: int) -> str:
    """How many files were not taken in."""
    one, several = LEFT_OUT
    return one if count == 1 else several.format(count=count)
