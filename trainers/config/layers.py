"""The order in which settings override each other, the same for the command line, the studio, programs and the queue.

    file < preset < another method's preset < the base's own < techniques' presets < aim < options < `--set`

A draft's changes take the place of `--set`. If the options set no more steps than the warm-up of lower layers, the
warm-up is shortened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.adapters.methods import METHODS
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.migrations import migrate
from trainers.config.presets import STARTER, find_preset
from trainers.config.sections import Train
from trainers.config.tables import anchor_paths, lay_over, parse_assignments, read_toml
from trainers.config.techniques import Technique
from trainers.errors import VelaturaError, check_argument

Table = Mapping[str, Any]
OfBase = Callable[[str], Table]

DEFAULT_PRESET = "balanced"
SUBJECT: Table = {"data": {"flip": False, "read_trigger": True}, "sample": {"subjects": "scenes"}}
"""Settings for subjects: a mirrored face is another face, its trigger word is its name, and samples show it alone."""
PACE = ("steps", "batch_size")
"""Settings that techniques never change."""
RATES = ("learning_rate", "text_encoder_learning_rate")
"""Settings that only techniques of the method change."""
IDLE = (("data", "shuffle_tags", False, "keep_tags"), ("sample", "guidance", 1, "negative"))
"""Section, setting, value, and the setting that has no effect with this value."""


def layers(
    *,
    file: Table | None = None,
    preset: str = "",
    base: str = "",
    method: str | None = None,
    techniques: Iterable[Technique] = (),
    aim: str = "",
    above: Sequence[Table] = (),
    of_base: OfBase = lambda _base: {},
) -> tuple[Table, ...]:
    """Put settings tables into their order of precedence.

    Args:
        file: The table of a config file, or the complete config of an earlier run.
        preset: A preset's name; its settings override the file's.
        base: The base model for presets that depend on it; by default the one in the tables.
        method: A method to use instead of the preset's (without a preset, the file's), with the settings of its own
            preset; "" trains no layers, only a word; None keeps the method.
        techniques: Techniques to turn on; each adds the settings of its own preset.
        aim: "subject" for a thing, an animal or a person; anything else is a style.
        above: The user's settings, lowest first; not changed.
        of_base: The settings of a base, such as those of Illustrious; they override a preset's.

    Returns:
        Tables for `build_config`, lowest first.

    Raises:
        VelaturaError: There is no preset of this name.
    """
    fits = isinstance(above, Sequence) and all(isinstance(table, Mapping) for table in above)
    check_argument("above", above, fits, '[{"train": {"steps": 200}}]')
    base = base or _base_in(lay_over(file or {}, *above))
    below: list[Table] = [file] if file else []
    if preset:
        below += _preset_layers(preset, base, method)
    elif method and method != _method_in(below):
        below.append(_method_settings(method, base))
    if preset:
        below.append(_without_idle(of_base(base), lay_over(*above)))
    named = find_preset(preset).method if preset and method is None else method or ""
    below += [technique_settings(technique, named, base) for technique in techniques]
    if aim == "subject":
        below += [SUBJECT, *([{"targets": {"text_encoder": METHODS[named].text_preset}}] if named else [])]
    return (*below, *_shorter_warmup(below, above), *above)


def gather_config(
    file: Path | None,
    preset: str | None,
    options: Mapping[str, Any],
    assignments: Sequence[str],
    method: str | None = None,
    more: Table | None = None,
    of_base: OfBase = lambda _base: {},
) -> Config:
    """A validated config from a command's options; without a file and a preset, from the `balanced` preset.

    Args:
        file: A config file, complete or partial; its paths are relative to its folder.
        preset: A preset's name.
        options: See `options_table`.
        assignments: Lines of the form `section.key=value`.
        method: A method to use instead of the preset's or the file's.
        more: Settings that override all others.
        of_base: The settings of a base; see `layers`.

    Raises:
        VelaturaError: The file, the preset or a setting is invalid; the message names it.
    """
    table = anchor_paths(read_toml(file), file.parent) if file is not None else None
    chosen = preset if preset is not None else "" if file is not None else DEFAULT_PRESET
    above = (options_table(options), parse_assignments(assignments), more or {})
    tables = layers(file=table, preset=chosen, method=method, above=above, of_base=of_base)
    # Migrate after overlaying: the layers above decide which of the file's old rules still apply.
    return build_config(migrate(lay_over(*tables), str(file or "the config")))


def options_table(options: Mapping[str, Any]) -> dict[str, Any]:
    """A command's options name, seed, images, base, steps and start_from as a settings table; None is unset."""
    table: dict[str, Any] = {key: options[key] for key in ("name", "seed") if options.get(key) is not None}
    if options.get("images") is not None:
        table["data"] = {"images": str(options["images"])}
    if options.get("base") is not None:
        table["base"] = {"model": options["base"]}
    if options.get("steps") is not None:
        table["train"] = {"steps": options["steps"]}
    if options.get("start_from") is not None:
        table["train"] = {**table.get("train", {}), "start_from": str(options["start_from"])}
    return table


def technique_settings(technique: Technique, method: str, base: str) -> dict[str, Any]:
    """The settings of a technique's preset, as a table, for use with a method; "" for a word without layers.

    With the method of its preset, a technique also adds the settings in which its preset differs from the method's,
    such as another learning rate; a word without layers adds its complete preset.
    """
    settings = find_preset(technique.name).settings_for(base)
    section, name = technique.key.split(".")
    made_for = str(settings.get("method", {}).get("name", ""))
    if made_for == method and (not method or section in ("method", "targets")):
        sections, left = {section, "method", "data", "train"}, {name, *PACE}
        below = find_preset(method).settings_for(base) if method else {}
    else:
        sections, left = {section, "train"}, {name, *RATES, *PACE}
        below = {"train": Train().model_dump()}  # defaults must not override other techniques
    tables = {
        section: {
            key: value
            for key, value in settings.get(section, {}).items()
            if key not in left and below.get(section, {}).get(key) != value
        }
        for section in sections - {"targets"}
    }
    return {section: table for section, table in tables.items() if table}


# ---------------------------------------------------------------- within
def _preset_layers(preset: str, base: str, method: str | None) -> list[Table]:
    """A preset's settings, with another method's if one is chosen."""
    source = find_preset(preset)
    settings = source.settings_for(base)
    if method == "":
        return [{section: table for section, table in settings.items() if section != "method"}]
    if method is None or method == source.method:
        return [settings]
    return [settings, _method_settings(method, base)]


def _method_settings(method: str, base: str) -> dict[str, Any]:
    """A method's section and learning rate from the preset of its name; defaults if there is none."""
    try:
        settings = find_preset(method).settings_for(base)
    except VelaturaError:
        return {"method": {"name": method}}
    rate = settings.get("train", {}).get("learning_rate")
    result = {"method": settings["method"]} | ({"train": {"learning_rate": rate}} if rate else {})
    if "targets" in settings:  # methods support different layers
        result["targets"] = settings["targets"]
    return result


def _without_idle(settings: Table, above: Table) -> Table:
    """A base's settings without those that have no effect with the user's, which `check_combination` rejects."""
    result = {section: dict(table) for section, table in settings.items()}
    for section, name, value, idle in IDLE:
        table = above.get(section)
        if isinstance(table, Mapping) and table.get(name) == value and section in result:
            result[section].pop(idle, None)
    return result


def _shorter_warmup(below: Sequence[Table], above: Sequence[Table]) -> list[Table]:
    """A shorter warm-up if that below would leave no step of those above."""
    steps, warmup = _train(above).get("steps"), _train(below).get("warmup", 0)
    if not isinstance(steps, int) or not isinstance(warmup, int) or warmup < steps:
        return []
    return [{"train": {"warmup": max(0, steps // 10)}}]


def _train(tables: Sequence[Table]) -> Table:
    section = lay_over(*tables).get("train")
    return section if isinstance(section, Mapping) else {}


def _method_in(tables: Sequence[Table]) -> str:
    section = lay_over(*tables).get("method")
    return str(section.get("name", "lora")) if isinstance(section, Mapping) else "lora"


def _base_in(table: Table) -> str:
    section = table.get("base")
    return str(section.get("model", STARTER)) if isinstance(section, Mapping) else STARTER
