"""Cloning a run into a draft, with its pictures, captions and settings."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

from app.jobs.actions import pictures_of
from app.jobs.view import View
from app.studio.dataset.drafts import Draft, Drafts, LeftOut, Picture
from app.studio.dataset.uploads import MOST_PICTURES, as_left_out, take, what_is_wrong
from app.studio.names import unlike
from app.studio.runs.origin import Origin, read_origin
from app.studio.settings.fields import keys_set_elsewhere
from app.studio.settings.plan import (
    CARE,
    SPECIAL,
    choose,
    chosen_layers,
    deciding_settings,
    from_table,
    values,
    with_choices,
)
from trainers.config.build import as_table
from trainers.config.config import Config
from trainers.config.sections import Base
from trainers.data.captions import as_wildcard, base_captions
from trainers.data.decode import UnreadableError
from trainers.data.repeats import read_repeats, repeats_of
from trainers.errors import VelaturaError
from trainers.runs.run import Run


def clone_into(drafts: Drafts, key: str, view: View, tab: str) -> Draft:
    """Clone a run into the draft of `key` and set the current draft aside.

    VelaturaError if the run has too many pictures, or they no longer exist.
    """
    run, origin = Run(view.job.folder), read_origin(view.job.folder)
    config, draft = run.config(), drafts.open(key)
    files = pictures_of(view.job.folder)
    if len(files) > MOST_PICTURES:
        raise VelaturaError(
            "{run} has {number} pictures, and a draft holds at most {most}; clone it with `velatura queue clone`",
            run=view.job.name,
            number=len(files),
            most=MOST_PICTURES,
        )
    taken: list[Picture] = []
    wrong: list[LeftOut] = []
    repeats = read_repeats(run.dataset)
    for path in files:
        try:
            name = origin.name_of(path)
            if repeats_of(name)[0] != repeats.get(path.name, 1):  # not started in the studio
                name = f"{repeats.get(path.name, 1)}_{config.data.trigger}/{name}"
            caption = as_wildcard(base_captions(path, config.data))
            picture = take(drafts, draft, name, path, caption)
            taken.append(picture.model_copy(update={"caption": caption}))  # the run's caption
        except UnreadableError as error:
            wrong.append(as_left_out(origin.name_of(path), what_is_wrong(error)))
    settled = with_settings_of(draft, config, origin).with_(name=next_name(drafts.paths.runs, config.name))

    def change(now: Draft) -> Draft:
        return Draft(
            id=now.id,
            public=now.public,
            revision=now.revision,
            pictures=tuple(taken),
            left_out=tuple(wrong),
            trigger=settled.trigger,
            choices=settled.choices.model_copy(update=_files(run, config.base)),
            name=settled.name,
            prompts=settled.prompts,
            clone_of=view.job.name,
            aside=now.aside if now.clone_of else now if now.pictures else now.aside,
        )

    return drafts.change(key, change, tab)


def _files(run: Run, base: Base) -> dict[str, Any]:
    """Choices for the other files of a run: parts of its base, start and class images."""
    return {
        "parts": {base.model: base.parts} if base.parts else {},
        "start": str(run.start) if run.start.is_file() else "",
        "classes": str(run.classes) if run.classes.is_dir() else "",
    }


def with_settings_of(draft: Draft, config: Config, origin: Origin | None = None) -> Draft:
    """The draft with a run's settings, over the preset and aim of its `origin`, or those with the fewest differences.

    Presets for little memory and small files must match in all settings.
    """
    table = as_table(config)
    of_run = values([table], config.method.name)

    def differing(candidate: Draft) -> int:
        of_draft = values(chosen_layers(candidate), config.method.name)
        shown = of_run.keys() - keys_set_elsewhere()
        keys = {key for key in shown if _plain(of_run[key]) != _plain(of_draft[key])}
        return len(of_run) if keys - {"train.steps"} and candidate.choices.preset in SPECIAL else len(keys)

    bare = with_choices(draft, base=config.base.model, settings={})
    pairs = list(itertools.product(("style", "subject"), CARE))
    known = [(origin.aim, origin.preset)] if origin and (origin.aim, origin.preset) in pairs else pairs
    candidates = [
        choose(choose(choose(bare, "preset", preset), "aim", aim), "method", config.method.name)
        for aim, preset in known
    ]
    settings = deciding_settings(table, config.method.name)
    return from_table(min((with_choices(draft, settings=settings) for draft in candidates), key=differing), table)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def brought_back(draft: Draft) -> Draft:
    """The draft that was set aside for a clone."""
    return draft.aside.with_(revision=draft.revision) if draft.aside is not None else draft


def without_aside(draft: Draft) -> Draft:
    """The clone without the draft that was set aside."""
    return draft.with_(aside=None, clone_of="")


def next_name(runs: Path, name: str) -> str:
    """A free name based on a run's, with the next number."""
    first = re.sub(r" \d+$", "", name)
    return unlike(runs, first if (runs / first).exists() else name)
