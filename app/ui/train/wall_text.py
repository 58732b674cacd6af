"""What the wall of pictures in the first step of Train says."""

from __future__ import annotations

from collections.abc import Mapping

from trainers.data.findings import Kind

SELECT_ALL, CLEAR_SELECTION = "Select all", "Clear the selection"
FILTER, FILTER_EXAMPLE = "Filter by words or file name", "boat, IMG_12 …"
SHOW = "Show"
SHOWN: Mapping[str, str] = {
    "all": "All pictures",
    "no caption": "Without a caption",
    "hints": "With hints",
    "region": "With a crop or mask",
    "picked": "Selected",
}
SIZE = "Size of the pictures"
TAGS, EXPORT = "Words", "Save captions"
WALL, SELECTION = "Pictures", "Selected pictures"
WORDS, ADD_BEFORE, ADD_AFTER, REMOVE_WORDS = "Words", "Add before", "Add after", "Remove"
REPLACE_IN, WRITE_FOR, DELETE = "Replace …", "Write captions …", "Delete"
REMOVE_PICTURE = "Remove picture"
TAKE_THAT, KEEP_MINE = "Use that", "Keep mine"

NO_CAPTION = "No caption yet"

# The editor
EARLIER, LATER, CLOSE = "Previous picture", "Next picture", "Close"
CAPTION_OF = "Caption"
TOOLS, LOOK, CROP, MASK = "Tools", "Look", "Crop", "Mask"
CROP_HINT = "Only the part inside the frame is trained."
CROP_KEYS = "Arrow keys move it; with Shift, further."
FRAME = "Crop frame"
GRIPS: Mapping[str, str] = {
    "nw": "Top left corner",
    "n": "Top edge",
    "ne": "Top right corner",
    "e": "Right edge",
    "se": "Bottom right corner",
    "s": "Bottom edge",
    "sw": "Bottom left corner",
    "w": "Left edge",
}
WHOLE_PICTURE = "Use the whole picture"
MASK_HINT = "What you paint over is ignored in training."
PAINTING, IGNORE, LEARN, BRUSH = "The brush paints", "Ignore", "Learn", "Brush size"
INVERT, CLEAR, UNDO = "Invert", "Clear the mask", "Undo"
CANVAS = "Mask. Arrow keys move the brush, Space paints, X switches between ignoring and learning."
DELETE_PICTURE = "Delete picture"

ALL_IGNORED = "Not saved: nothing of the picture would be left to learn."
SCRIPT = {
    "picture": "Picture {number}: {name}",
    "open": "Open picture {number}",
    "caption": "Caption {number}",
    "remove": "Remove picture {number}",
    "pick": "Select picture {number}",
    "rival": "Another tab wrote: “{text}”",
    "gone": "The picture was deleted in another tab while you typed: “{text}”. Undo brings it back.",
    "shown": "{shown} of {all} shown",
    "none": "No picture matches.",
    "picked": {"one": "1 selected", "other": "{count} selected"},
    "counter": "{number} of {all}",
    "pixels": "{width} × {height} pixels",
    "cropped": "{width} × {height} of {all_width} × {all_height} pixels",
    "saving": "Saving …",
    "saved": "Saved",
    "not_saved": "Not saved yet. It is sent again when the server answers.",
    "most": "The {count} most frequent are shown.",
}
"""What the scripts fill in."""

# Over the wall
ADD_CAPTION = "Write them for me"
SHOW_THEM, LEAVE_PARTS_OUT = "Show", "Leave those parts out"
DISMISS_ALL, DISMISS_ONE = "Dismiss all", "Dismiss"
FOUND: Mapping[Kind, tuple[str, str]] = {
    "no caption": ("1 picture has no caption.", "{count} pictures have no caption."),
    "copy": ("1 picture is a duplicate, which counts twice.", "{count} pictures are duplicates, which count twice."),
    "small": ("1 picture is small and teaches less detail.", "{count} pictures are small and teach less detail."),
    "elongated": (
        "1 picture is very elongated and loses much to cropping.",
        "{count} pictures are very elongated and lose much to cropping.",
    ),
    "uniform": ("1 picture is almost entirely one colour.", "{count} pictures are almost entirely one colour."),
    "blurred": ("1 picture is blurred.", "{count} pictures are blurred."),
    "transparent": (
        "1 picture has transparent areas, which become white.",
        "{count} pictures have transparent areas, which become white.",
    ),
    "long caption": (
        "1 caption is longer than the model reads.",
        "{count} captions are longer than the model reads.",
    ),
}
MORE_HINTS = ("1 more hint", "{count} more hints")
LEFT_OUT = ("1 file was left out", "{count} files were left out")


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
