"""Undoes changes of many settings at once: a preset, an imported file, a reset."""

from __future__ import annotations

from collections.abc import Callable

from app.studio.dataset.drafts import Draft, SettingsBefore


def with_undo(change: Callable[[Draft], Draft]) -> Callable[[Draft], Draft]:
    """The same change, which `take_back` can undo."""

    def changed(draft: Draft) -> Draft:
        new = change(draft)
        return new.with_(before=_kept(draft)) if _kept(new) != _kept(draft) else new

    return changed


def take_back(draft: Draft) -> Draft:
    """The draft with the settings before the last such change; a second call redoes it."""
    was = draft.before
    if was is None:
        return draft
    return draft.with_(
        before=_kept(draft), choices=was.choices, name=was.name, trigger=was.trigger, prompts=was.prompts
    )


def _kept(draft: Draft) -> SettingsBefore:
    return SettingsBefore(choices=draft.choices, name=draft.name, trigger=draft.trigger, prompts=draft.prompts)
