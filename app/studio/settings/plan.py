"""Converts a draft's choices to a run's config: preset, method, aim and manual changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from app.language import Sentence
from app.studio.base_models import Bases
from app.studio.dataset.drafts import Choices, Draft
from app.studio.names import safe_name
from app.studio.programs.targets import TRY, Target, lacks_base
from app.studio.settings.epochs import epoch_of, typed_epochs
from app.studio.settings.fields import Field, find_field, keys_set_elsewhere, list_fields, list_folder_fields
from app.studio.settings.techniques import WORD, first_value
from trainers.adapters.methods import METHODS
from trainers.config.build import build_config, find_problems
from trainers.config.config import Config
from trainers.config.layers import layers
from trainers.config.migrations import migrate
from trainers.config.presets import Preset, find_preset
from trainers.config.sections import BIAS, power_of
from trainers.config.tables import lay_over, overlay
from trainers.config.techniques import TECHNIQUES, Technique
from trainers.errors import VelaturaError
from trainers.models.bases.recognise import settings_of_base
from trainers.models.bases.suits import base_problems

STOPS = ("quick", "balanced", "faithful")
"""The presets from subtle to faithful."""
SPECIAL = ("tiny-file", "low-memory")
"""The presets for small files and little memory."""
CARE = (*STOPS, *SPECIAL)
"""The offered presets; the others provide methods' settings."""
UNNAMED = "style"
"""Placeholder name."""
METHOD_KEY = "method."
FOLDERS = "data.sets"
OF_PICTURES = (FOLDERS, "data.wildcards", "data.transparency")
"""Settings of a draft's own pictures, made in step 1."""
NO_LAYERS = {"targets.unet": "none", "targets.text_encoder": "none"}


def method_of(choices: Choices) -> str:
    """The chosen method, or else the preset's; empty if only a word is trained."""
    if learns_word_alone(choices):
        return ""
    return choices.method if choices.method in METHODS else _preset(choices).method


def learns_word_alone(choices: Choices) -> bool:
    """Whether only a word is trained."""
    settings = choices.settings
    targets = (settings.get("targets.unet"), settings.get("targets.text_encoder", "none"))
    return bool(settings.get(WORD.key)) and targets == ("none", "none")


def chosen_layers(draft: Draft) -> list[Mapping[str, Any]]:
    """All settings tables of a draft without manual changes, in order of precedence."""
    return all_layers(draft)[:-1]


def all_layers(draft: Draft, *more: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The settings tables of preset, method, active techniques, aim, the three steps, manual changes and `more`, later
    ones over earlier ones.
    """
    gathered: dict[str, Any] = {"name": safe_name(draft.name) or UNNAMED, "base": {"model": draft.choices.base}}
    if parts := draft.choices.parts.get(draft.choices.base):
        gathered["base"]["parts"] = list(parts)
    gathered["data"] = {"trigger": draft.trigger}
    if draft.choices.classes and changed_settings(draft.choices).get("prior.prompt"):
        gathered["prior"] = {"folder": draft.choices.classes}
    if draft.choices.start:
        gathered["train"] = {"start_from": draft.choices.start}
    if draft.prompts:
        gathered["sample"] = {"prompts": list(draft.prompts)}
    return choice_layers(draft.choices, gathered, *more)


def choice_layers(choices: Choices, gathered: Mapping[str, Any], *more: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The settings tables of choices, with manual changes over the `gathered` settings."""
    method, changed, preset = method_of(choices), nested(changed_settings(choices)), _preset(choices).name
    chosen = partial(layers, preset=preset, base=choices.base, method=method, of_base=settings_of_base)
    on = techniques_on(*chosen(above=(changed,)))
    return [*chosen(techniques=on, aim=choices.aim, above=(gathered, changed, *more))]


def techniques_on(*tables: Mapping[str, Any]) -> list[Technique]:
    """The techniques that these settings turn on."""
    table = lay_over(*tables)
    return [technique for technique in TECHNIQUES if technique.is_on(table)]


def changed_settings(choices: Choices) -> dict[str, Any]:
    """Manual changes by config key; of method settings, only the chosen method's."""
    method = method_of(choices)
    changed = {}
    for kept, value in choices.settings.items():
        if kept == f"loss.{BIAS}":  # of earlier versions
            kept, value = "loss.timesteps", power_of(value)
        key = _key_for(kept, method)
        if key and find_field(key, method) and key not in keys_set_elsewhere():
            changed[key] = value
    return changed


def changed_by_hand(choices: Choices) -> dict[str, Any]:
    """Manual changes by config key, without those of the person's own preset."""
    brought = changed_settings(choices.model_copy(update={"settings": choices.own_settings}))
    return {
        key: value for key, value in changed_settings(choices).items() if key not in brought or brought[key] != value
    }


def plan(draft: Draft, **more: Any) -> Config:
    """The draft's config, with `more` over it. Raises VelaturaError if it is invalid."""
    return build_config(*all_layers(draft, more))


def problems(draft: Draft) -> dict[str, str]:
    """Problems in the draft's settings: one sentence per key."""
    tables = all_layers(draft)
    errors = find_problems(*tables) or base_problems(build_config(*tables), anywhere=False)
    changed, method = changed_settings(draft.choices), method_of(draft.choices)
    return {key: _in_words(find_field(key, method), changed.get(key), error) for key, error in errors.items()}


def trainable(draft: Draft, bases: Bases, target: Target = TRY) -> Config | None:
    """The draft's config, under a placeholder name, for somebody who makes styles for `target`.

    None without pictures, with an invalid setting, or without a base that was chosen and is on this computer.
    """
    base = bases.look(draft.choices.base)
    ready = draft.pictures and not base.problem and not lacks_base(target, base) and not problems(draft)
    return plan(draft, name=UNNAMED) if ready else None


def values(tables: list[Mapping[str, Any]], method: str) -> dict[str, Any]:
    """The value of every field in these tables, valid or not."""
    return _values_of(list_fields(method), tables, method)


def _values_of(fields: Iterable[Field], tables: list[Mapping[str, Any]], method: str) -> dict[str, Any]:
    table = lay_over(*tables)
    implied = METHODS[method].implied_settings(table.get("method", {})) if method else {}
    defaults = {f"{METHOD_KEY}{name}": value for name, value in implied.items()}
    return {field.key: _at(table, field.key, defaults.get(field.key, field.default)) for field in fields}


def with_setting(draft: Draft, key: str, text: str) -> Draft:
    """Change a setting manually; a value equal to the default removes the change. Steps may be given in epochs."""
    method = method_of(draft.choices)
    field = find_field(key, method)
    if field is None or key in keys_set_elsewhere():
        return draft
    if key == "train.steps" and (epochs := typed_epochs(text)):
        length = epoch_of(draft, values(all_layers(draft), method)).steps
        text = str(max(1, round(epochs * length))) if length else text
    value = field.read(text)
    settings = {kept: each for kept, each in draft.choices.settings.items() if _key_for(kept, method) != key}
    others = without_settings(draft, key)
    if field.show(value) != field.show(_values_of([field], all_layers(others), method)[key]):
        settings[_kept(key, method)] = value
    return with_choices(draft, settings=settings)


def folder_settings(draft: Draft) -> dict[str, dict[str, Any]] | None:
    """The settings of folders by folder and name; None if the text of `data.sets` is not such a table."""
    method = method_of(draft.choices)
    sets = values(all_layers(draft), method)[FOLDERS]
    is_table = isinstance(sets, Mapping) and all(isinstance(each, Mapping) for each in sets.values())
    return {folder: dict(each) for folder, each in sets.items()} if is_table else None


def with_folder_setting(draft: Draft, folder: str, name: str, text: str) -> Draft:
    """Change a setting of a folder's pictures; an empty text makes it that of all pictures again."""
    field, sets = list_folder_fields().get(name), folder_settings(draft)
    if field is None or sets is None:
        return draft
    changed = {key: value for key, value in sets.get(folder, {}).items() if key != name}
    if text.strip():
        changed[name] = field.read(text)
    sets = {key: each for key, each in (sets | {folder: changed}).items() if each}
    return with_settings(draft, {FOLDERS: sets})


def with_settings(draft: Draft, changes: Mapping[str, Any]) -> Draft:
    """Change several settings, by config key."""
    for key, value in changes.items():
        field = find_field(key, method_of(draft.choices))
        draft = with_setting(draft, key, field.show(value)) if field else draft
    return draft


def without_settings(draft: Draft, *keys: str) -> Draft:
    """Reset some or all manual changes."""
    method = method_of(draft.choices)
    kept = {
        each: value for each, value in draft.choices.settings.items() if keys and _key_for(each, method) not in keys
    }
    return (
        with_choices(draft, settings=kept)
        if keys
        else with_choices(draft, settings=kept, imported="", own_preset="", own_settings={})
    )


def with_choices(draft: Draft, **changes: Any) -> Draft:
    """The draft with other choices."""
    return draft.with_(choices=draft.choices.model_copy(update=changes))


def choose(draft: Draft, what: str, value: str) -> Draft:
    """Choose `aim`, `preset` or `method`, ignoring unknown ones. Another preset resets the method."""
    allowed = {"aim": ("style", "subject"), "preset": CARE, "method": tuple(METHODS)}
    if value not in allowed.get(what, ()):
        return draft
    if what == "preset":
        return with_choices(draft, preset=value, method="", own_preset="", own_settings={})
    if what == "method" and learns_word_alone(draft.choices):
        draft = without_settings(draft, *NO_LAYERS)
    default = _preset(draft.choices).method
    return with_choices(draft, **{what: "" if what == "method" and value == default else value})


def drafts_by_preset(draft: Draft) -> dict[str, Draft]:
    """The draft with each of the offered presets."""
    return {name: draft if name == draft.choices.preset else choose(draft, "preset", name) for name in CARE}


def with_technique(draft: Draft, technique: Technique, on: bool) -> Draft:
    """Turn a technique on with its preset's settings, or off with the settings that depend on it."""
    if on:
        field = find_field(technique.key, method_of(draft.choices))
        first = first_value(technique, draft.choices.base)
        return with_setting(draft, technique.key, field.show(first)) if field else draft
    off = without_settings(train_word_alone(draft, False) if technique == WORD else draft, technique.key)
    return _without_idle(off, technique, problems(draft))


def with_technique_words(draft: Draft, technique: Technique, text: str) -> Draft:
    """Set a technique's words; empty text turns it off."""
    return with_setting(draft, technique.key, text) if text.strip() else with_technique(draft, technique, False)


def train_word_alone(draft: Draft, alone: bool) -> Draft:
    """Train the word alone, or with a method."""
    if not alone or not draft.choices.settings.get(WORD.key):
        none = [key for key in NO_LAYERS if draft.choices.settings.get(key) == "none"]
        return without_settings(draft, *none) if none else draft
    before = problems(draft)
    for key, value in NO_LAYERS.items():
        draft = with_setting(draft, key, value)
    return _without_idle(draft, WORD, before)


def refusal(draft: Draft, technique: Technique) -> str:
    """The conflict of an active technique with other settings; empty without one."""
    without = problems(with_technique(draft, technique, False))
    return next((problem for key, problem in problems(draft).items() if without.get(key) != problem), "")


def deciding_settings(table: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The settings of a config on which others depend, as a draft with this method stores them."""
    keys = ["train.steps", *(technique.key for technique in techniques_on(table))]
    keys += [key for key, value in NO_LAYERS.items() if _at(table, key, "") == value]
    return {_kept(key, method): _at(table, key, None) for key in keys}


def from_table(draft: Draft, table: Mapping[str, Any]) -> Draft:
    """Import all settings of a config file, over the preset's; those of the draft's pictures stay unless it has them.

    Files of earlier versions keep their meaning. VelaturaError names unknown settings.
    """
    table = migrate(table, "this file")
    checked = {"name": UNNAMED, **table}
    build_config(checked)
    method = str(lay_over(checked).get("method", {}).get("name", "lora")) if "method" in table else ""
    base = str(_at(checked, "base.model", draft.choices.base))
    settings = {key: value for key, value in draft.choices.settings.items() if key in OF_PICTURES}
    draft = with_choices(
        draft, method=method, base=base, settings=settings, imported="", own_preset="", own_settings={}
    )
    if method:
        draft = choose(draft, "method", method)
    draft = draft.with_(
        name=str(table.get("name", draft.name)),
        trigger=str(_at(checked, "data.trigger", draft.trigger)),
        prompts=tuple(_at(checked, "sample.prompts", draft.prompts)),
    )
    method = method_of(draft.choices)
    first = [technique.key for technique in TECHNIQUES] + list(NO_LAYERS)  # others depend on these
    fields = list_fields(method)
    for field in sorted(fields, key=lambda field: first.index(field.key) if field.key in first else len(first)):
        value = _at(checked, field.key, None)
        if value is not None and field.key not in keys_set_elsewhere():
            draft = with_setting(draft, field.key, field.show(value))
    return draft


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested tables."""
    table: dict[str, Any] = {}
    for key, value in settings.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        table = overlay(table, value)
    return table


def _preset(choices: Choices) -> Preset:
    try:
        return find_preset(choices.preset)
    except VelaturaError:
        return find_preset("balanced")


def _without_idle(draft: Draft, technique: Technique, before: Mapping[str, str]) -> Draft:
    """Remove changed settings that a technique has made invalid."""
    section = technique.key.partition(".")[0]
    while idle := [
        key
        for key in problems(draft)
        if key.startswith(f"{section}.") and key not in before and key in changed_settings(draft.choices)
    ]:
        draft = without_settings(draft, *idle)
    return draft


def _kept(key: str, method: str) -> str:
    """The stored key of a setting; those of methods have the method's name, so that each method keeps its own."""
    return f"{METHOD_KEY}{method}.{key.removeprefix(METHOD_KEY)}" if key.startswith(METHOD_KEY) else key


def _key_for(kept: str, method: str) -> str:
    if not kept.startswith(METHOD_KEY):
        return kept
    prefix = f"{METHOD_KEY}{method}."
    return METHOD_KEY + kept.removeprefix(prefix) if kept.startswith(prefix) else ""


def _at(table: Mapping[str, Any], key: str, default: Any) -> Any:
    value: Any = table
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def _in_words(field: Field | None, value: Any, error: str) -> str:
    refusal = field.refuse(value) if field is not None and "it should be" in error and value is not None else ""
    return refusal or Sentence.of(error)
