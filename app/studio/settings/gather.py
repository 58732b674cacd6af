"""The config of a command, whose preset may be a person's own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.studio.paths import Paths
from app.studio.settings.epochs import with_epochs
from app.studio.settings.imports.kohya_names import RULES
from app.studio.settings.imports.read import read_file, read_foreign
from app.studio.settings.own_presets import OwnPresets
from app.studio.settings.plan import choice_layers
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.layers import DEFAULT_PRESET, gather_config, options_table
from trainers.config.migrations import migrate
from trainers.config.presets import STARTER, list_presets
from trainers.config.tables import anchor_paths, lay_over, parse_assignments, read_toml
from trainers.data.ingest import trigger_of_folder
from trainers.errors import VelaturaError
from trainers.models.bases.recognise import recommendation_of, settings_of_base

RECOMMENDED = "recommended"
"""The preset of what others published for the base, over the default one."""


def gather_settings(
    runs: Path,
    file: Path | None,
    preset: str | None,
    options: Mapping[str, Any],
    assignments: Sequence[str],
    method: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Config:
    """Like `gather_config`, with the own presets of the studio of `runs`, and the preset `recommended` of the base.

    The default trigger word is that of the images' folders, if these have one (`10_dusk style`).
    """
    _refuse_foreign(file, assignments)
    epochs, options = options.get("epochs"), {name: value for name, value in options.items() if name != "epochs"}
    config = _gather(runs, file, preset, options, assignments, method, more or {})
    config = with_epochs(config, epochs) if epochs else config
    named = config.data.trigger or config.tokens.word or not config.data.images
    trigger = "" if named else trigger_of_folder(Path(config.data.images))
    return (
        config.model_copy(update={"data": config.data.model_copy(update={"trigger": trigger})}) if trigger else config
    )


def _refuse_foreign(file: Path | None, assignments: Sequence[str]) -> None:
    """Raise VelaturaError for a file of another program, and for another program's name of a setting."""
    if file is not None and file.is_file():
        content = file.read_text(encoding="utf-8", errors="replace")
        imported = None
        with suppress(VelaturaError):  # reported where it is read
            imported = read_foreign(read_file(file.name, content))
        if imported is not None:
            raise VelaturaError(
                "“{file}” holds settings of {program}; turn them into a config first: velatura import {quoted} --out "
                "NAME.toml",
                file=file,
                quoted=shlex.quote(str(file)),
                program=imported.program,
            )
    for line in assignments:
        name = line.partition("=")[0].strip()
        rule = RULES.get(name)
        if rule is not None and name not in Config.model_fields:
            raise VelaturaError("there is no setting {name}; it is called {key} here", name=name, key=rule.key)


def _gather(
    runs: Path,
    file: Path | None,
    preset: str | None,
    options: Mapping[str, Any],
    assignments: Sequence[str],
    method: str | None,
    more: Mapping[str, Any],
) -> Config:
    bundled = preset is None or preset in {known.name for known in list_presets()}
    own_preset = None if bundled or not preset else OwnPresets(Paths(runs)).find_anywhere(preset)
    if own_preset is None and preset == RECOMMENDED:
        return gather_config(file, DEFAULT_PRESET, options, assignments, method, more, _recommended_for)
    if own_preset is None:
        return gather_config(file, preset, options, assignments, method, more, settings_of_base)
    below = anchor_paths(read_toml(file), file.parent) if file is not None else {}
    above = options_table(options), parse_assignments(assignments), more
    base = str(lay_over(below, *above).get("base", {}).get("model", STARTER))
    choices = own_preset.choices(base, method or "")
    return build_config(migrate(lay_over(below, *choice_layers(choices, {}, *above)), str(file or "the config")))


def _recommended_for(base: str) -> Mapping[str, Any]:
    """A base's settings with the published ones; raises VelaturaError if none are known."""
    published = recommendation_of(base)
    if published is None:
        raise VelaturaError(
            "no recommendation is known for the base {base}; without --preset, Velatura's defaults are used", base=base
        )
    return lay_over(settings_of_base(base), published.settings)
