"""The order in which settings override each other, the same for the command line, the studio, programs and the queue.

    file < preset < another method's preset < what comes with techniques < aim < options < `--set`, or a draft's changes

A warm-up from below the options is shortened where they ask for fewer steps than it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.adapters.methods import METHODS
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.migrations import migrate
from trainers.config.presets import STARTER, find_preset
from trainers.config.sections import Train
from trainers.config.tables import anchor_images, lay_over, parse_assignments, read_toml
from trainers.config.techniques import Technique
from trainers.errors import VelaturaError

Table = Mapping[str, Any]

DEFAULT_PRESET = "balanced"
SUBJECT: Table = {"data": {"flip": False}}
"""A face mirrored is another face; the word for a new thing has to be learned too, where the method can."""
PACE = ("steps", "batch_size")
"""Settings that only the preset decides about, whatever technique is on."""
RATES = ("learning_rate", "text_encoder_learning_rate")
"""Settings that the method decides about, unless the technique was made for it."""


def layers(
    *,
    file: Table | None = None,
    preset: str = "",
    base: str = "",
    method: str | None = None,
    techniques: Iterable[Technique] = (),
    aim: str = "",
    above: Sequence[Table] = (),
) -> tuple[Table, ...]:
    """Put settings into their order.

    Args:
        file: What a config file says, or the whole config of an earlier run.
        preset: A preset's name; its settings lie over the file's.
        base: The base model whose settings a preset is read for; found in the tables where it is not given.
        method: A method other than the preset's, which brings the settings of its own preset; "" for no layers at all,
            where only a word is learned; None for the preset's own.
        techniques: Techniques beside the method that are on; each brings the settings of its own preset.
        aim: "subject" for a thing, an animal or a person; anything else is a style.
        above: What somebody has set, lowest first. These tables stay as they are.

    Returns:
        Tables for `build_config`, lowest first.

    Raises:
        VelaturaError: There is no preset of this name.
    """
    base = base or _base_in(lay_over(file or {}, *above))
    below: list[Table] = [file] if file else []
    if preset:
        below += _preset_layers(preset, base, method)
    named = find_preset(preset).method if preset and method is None else method or ""
    below += [technique_settings(one, named, base) for one in techniques]
    if aim == "subject":
        below += [SUBJECT, *([{"targets": {"text_encoder": METHODS[named].text_preset}}] if named else [])]
    return (*below, *_shorter_warmup(below, above), *above)


def gather_config(
    file: Path | None, preset: str | None, options: Mapping[str, Any], assignments: Sequence[str]
) -> Config:
    """One checked config from a command's options; without a file and a preset, the `balanced` preset.

    Args:
        file: A config file, complete or partial; images are found relative to it.
        preset: A preset's name.
        options: name, seed, images, base and steps; None if not given.
        assignments: Lines of the form `section.key=value`.

    Raises:
        VelaturaError: The file, the preset or a setting is wrong; the sentence names it.
    """
    table = anchor_images(read_toml(file), file.parent) if file is not None else None
    chosen = preset if preset is not None else "" if file is not None else DEFAULT_PRESET
    found = layers(file=table, preset=chosen, above=(_table(options), parse_assignments(assignments)))
    # What is laid over a file of an earlier layout decides which of its rules still matter.
    return build_config(migrate(lay_over(*found), str(file or "the config")))


def technique_settings(technique: Technique, method: str, base: str) -> dict[str, Any]:
    """What a technique's preset sets besides turning it on, as a table, beside this method or ("") none.

    Beside the method for which it was made, a technique of layers also brings what its preset sets otherwise than the
    method's own, such as another learning rate; a word alone brings its whole preset.
    """
    settings = find_preset(technique.name).settings_for(base)
    section, name = technique.key.split(".")
    made_for = str(settings.get("method", {}).get("name", ""))
    if made_for == method and (not method or section in ("method", "targets")):
        sections, left = {section, "method", "data", "train"}, {name, *PACE}
        below = find_preset(method).settings_for(base) if method else {}
    else:
        sections, left = {section, "train"}, {name, *RATES, *PACE}
        below = {"train": Train().model_dump()}  # what it leaves off, others may have on
    found = {
        each: {
            key: value
            for key, value in settings.get(each, {}).items()
            if key not in left and below.get(each, {}).get(key) != value
        }
        for each in sections - {"targets"}
    }
    return {each: table for each, table in found.items() if table}


# ---------------------------------------------------------------- within
def _preset_layers(preset: str, base: str, method: str | None) -> list[Table]:
    """A preset's settings, with another method's where one is chosen."""
    found = find_preset(preset)
    settings = found.settings_for(base)
    if method == "":
        return [{section: table for section, table in settings.items() if section != "method"}]
    if method is None or method == found.method:
        return [settings]
    return [settings, _method_settings(method, base)]


def _method_settings(method: str, base: str) -> dict[str, Any]:
    """A method's own section and learning rate from the preset named after it; its defaults where there is none."""
    try:
        settings = find_preset(method).settings_for(base)
    except VelaturaError:
        return {"method": {"name": method}}
    rate = settings.get("train", {}).get("learning_rate")
    found = {"method": settings["method"]} | ({"train": {"learning_rate": rate}} if rate else {})
    if "targets" in settings:  # some sit where others do not
        found["targets"] = settings["targets"]
    return found


def _shorter_warmup(below: Sequence[Table], above: Sequence[Table]) -> list[Table]:
    """A warm-up that leaves room for as few steps as were asked for, where that of the layers below does not."""
    steps, warmup = _train(above).get("steps"), _train(below).get("warmup", 0)
    if not isinstance(steps, int) or not isinstance(warmup, int) or warmup < steps:
        return []
    return [{"train": {"warmup": max(0, steps // 10)}}]


def _train(tables: Sequence[Table]) -> Table:
    found = lay_over(*tables).get("train")
    return found if isinstance(found, Mapping) else {}


def _base_in(table: Table) -> str:
    section = table.get("base")
    return str(section.get("model", STARTER)) if isinstance(section, Mapping) else STARTER


def _table(options: Mapping[str, Any]) -> dict[str, Any]:
    """A command's options as a settings table."""
    table: dict[str, Any] = {key: options[key] for key in ("name", "seed") if options.get(key) is not None}
    if options.get("images") is not None:
        table["data"] = {"images": str(options["images"])}
    if options.get("base") is not None:
        table["base"] = {"model": options["base"]}
    if options.get("steps") is not None:
        table["train"] = {"steps": options["steps"]}
    return table
