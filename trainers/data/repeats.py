"""Repeats of each picture in an epoch, read as kohya_ss does from the name of its folder: `10_dusk style`.

    images/10_dusk style/fox.png    shown 10 times in an epoch
    images/2_dusk style/owl.png     shown twice

A run's folder holds its pictures side by side, and their repeats in `repeats.json`: {"0001-fox.png": 10}. The folders
that have settings of their own are in `folders.json`: {"0001-fox.png": "10_dusk style"}. Numbers begin with 1 to 9:
folders that are only sorted by number (`01_boats`) have no repeats.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.messages import plural, some

FILE, FOLDERS = "repeats.json", "folders.json"
MOST = 1000
FOLDER = re.compile(r"([1-9]\d{0,2})_(.*)")


def read_folder_name(name: str) -> tuple[int, str]:
    """The repeats in a folder's name and the words after them; (1, "") without any."""
    match = FOLDER.fullmatch(name)
    return (int(match[1]), " ".join(match[2].split())) if match else (1, "")


def repeats_of(picture: str) -> tuple[int, str]:
    """The repeats of a picture and the words after them, from the nearest folder in its path that has any."""
    return read_folder_name(numbered_folder(picture))


def numbered_folder(picture: str) -> str:
    """The nearest folder in a picture's path that has repeats; "" without one."""
    folders = reversed(PurePosixPath(picture.replace("\\", "/")).parts[:-1])
    return next((name for name in folders if FOLDER.fullmatch(name)), "")


def suggest_trigger(pictures: Iterable[str]) -> str:
    """The trigger word in the names of the pictures' folders; "" if there are several or none."""
    words = {word for name in pictures if (word := repeats_of(name)[1])}
    return words.pop() if len(words) == 1 else ""


def read_folders(folder: Path) -> dict[str, str]:
    """The subfolders in a folder's `folders.json`, by picture; VelaturaError if it is damaged."""
    table = _read(folder / FOLDERS)
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise VelaturaError("{file} must name pictures with their folders", file=folder / FOLDERS)
    return table


def write_folders(folder: Path, names: Mapping[str, str]) -> None:
    """Write `folders.json`, unless it would be empty."""
    if names:
        (folder / FOLDERS).write_text(json.dumps(names, indent=0) + "\n", encoding="utf-8")


def _read(file: Path) -> object:
    """The content of a JSON file; an empty table without one."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise VelaturaError("{file} cannot be read: {reason}", file=file, reason=error) from error


def read_repeats(folder: Path) -> dict[str, int]:
    """The repeats in a folder's `repeats.json`, by picture; VelaturaError if it is damaged."""
    table = _read(folder / FILE)
    if not isinstance(table, dict) or not all(
        isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= MOST for count in table.values()
    ):
        raise VelaturaError(
            '{file} must name pictures with whole numbers from 1 to {most}, such as {{"fox.png": 10}}',
            file=folder / FILE,
            most=MOST,
        )
    return table


def write_repeats(folder: Path, repeats: Mapping[str, int]) -> None:
    """Write `repeats.json`, unless every picture is shown once."""
    kept = {name: count for name, count in repeats.items() if count != 1}
    if kept:
        (folder / FILE).write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")


def describe_repeats(repeats: Iterable[int]) -> _ | None:
    """A sentence about the repeats of a folder's pictures; None if all are shown once."""
    counts = sorted(Counter(repeats).items(), reverse=True)
    if all(count == 1 for count, _number in counts):
        return None
    groups = some(
        [
            plural("{count} picture × {times}", "{count} pictures × {times}", number, times=count)
            for count, number in counts
        ]
    )
    return _("Repeats from folder names: {repeats}.", repeats=groups)
