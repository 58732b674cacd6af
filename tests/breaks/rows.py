"""All breaks, in groups."""

from __future__ import annotations

from tests.breaks.app import QUEUE, STUDIO, WEB
from tests.breaks.families import FLOWS
from tests.breaks.pages import PAGES
from tests.breaks.slow import SLOW
from tests.breaks.trainers import DATA, FILES, METHODS, TRAINING

GROUPS = {
    "Methods": METHODS,
    "Training": TRAINING,
    "Data": DATA,
    "Files": FILES,
    "Flow-matching bases": FLOWS,
    "Queue": QUEUE,
    "Studio": STUDIO,
    "Web": WEB,
    "Pages": PAGES,
    "Slow": SLOW,
}
BREAKS = tuple(one for group in GROUPS.values() for one in group)
