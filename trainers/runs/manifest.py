"""Digests of the images that a run has trained on, to notice changes before it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from trainers.atomic_files import whole_file
from trainers.errors import CHANGED_IMAGES, VelaturaError
from trainers.messages import Message, joined
from trainers.messages import Message as _
from trainers.runs.events import Recorder
from trainers.runs.run import Run

FILE = "dataset.json"
"""File in a run's folder with the SHA-256 of each image, caption, mask and crop; older runs have none."""
KINDS = (".png", ".txt", ".json")
MOST_NAMES = 5

GONE, OTHER, NEW = _("gone: {names}"), _("changed: {names}"), _("added: {names}")
CHANGED = _(
    "the images of {name} are not those that it has trained on ({changes}); put them back, or continue with the images "
    "as they are"
)
WENT_ON = _("The run continues with other images than before ({changes}).")


def keep_images(run: Run) -> None:
    """Store the digests of the run's images."""
    with whole_file(run.folder / FILE) as building:
        building.write_text(json.dumps(_digests(run), indent=0), encoding="utf-8")


def accept_images(run: Run) -> None:
    """Let the run continue with any images."""
    (run.folder / FILE).unlink(missing_ok=True)


def check_images(run: Run, record: Recorder, accept: bool) -> None:
    """Raise VelaturaError if the run's images have changed since it trained on them; record a note with `accept`."""
    try:
        before = json.loads((run.folder / FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        before = None
    changes = _changes(before, _digests(run)) if isinstance(before, dict) else ""
    if changes and not accept:
        raise VelaturaError(CHANGED, name=run.folder.name, changes=changes, code=CHANGED_IMAGES)
    if changes:
        record("note", message=WENT_ON.format(changes=changes))
    if changes or before is None:
        keep_images(run)


def _digests(run: Run) -> dict[str, str]:
    """SHA-256 of each file of the dataset by relative path."""
    files = (path for path in sorted(run.dataset.rglob("*")) if path.suffix in KINDS and path.name[0] != ".")
    return {path.relative_to(run.dataset).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _changes(before: dict[str, str], now: dict[str, str]) -> Message:
    """Names of files that are gone, changed or new; empty without changes."""
    kinds = (
        (GONE, [name for name in before if name not in now]),
        (OTHER, [name for name in before if now.get(name, before[name]) != before[name]]),
        (NEW, [name for name in now if name not in before]),
    )
    return joined("; ", [sentence.format(names=_listed(names)) for sentence, names in kinds if names])


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" … (+{more})" if more > 0 else "")
