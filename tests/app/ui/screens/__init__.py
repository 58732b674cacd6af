"""Every screen of the studio, in the order in which a person may come upon them; each part is a module beside this."""

from __future__ import annotations

from tests.app.ui.screens import german, made, runs, shared, train, trash, trouble

PARTS = {
    "shared": shared,
    "train": train,
    "made": made,
    "runs": runs,
    "trash": trash,
    "german": german,
    "trouble": trouble,
}
