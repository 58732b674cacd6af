"""All settings as HTML: eight folds of fields, made from the config, with a search over them."""

from __future__ import annotations

from typing import Any

from app.studio.dataset.drafts import Draft
from app.studio.settings.fields import FOLDS, OTHER_NAMES, SET_ELSEWHERE, Field, list_fields
from app.studio.settings.plan import all_layers, changed_settings, chosen_layers, method_of, problems, values
from app.ui.train import text as words
from app.ui.web.html import button, text
from app.units import counted


def settings_head(draft: Draft) -> str:
    """The line on the fold: how many settings were changed, and how many are wrong."""
    wrong, changed = len(problems(draft)), len(changed_settings(draft.choices))
    said = f"{changed} {words.CHANGED}" if changed else words.NOTHING_CHANGED
    mend = (
        f'<b class="wrong" role="status">{text(words.MENDING.format(counted(wrong, "setting")))}</b>' if wrong else ""
    )
    return f"<b>{text(words.ALL_SETTINGS)}</b><span>{text(said)}</span>{mend}"


def settings_fold(draft: Draft, is_open: bool, notice: str = "") -> str:
    """The fold with all settings; its fields only where it is open, since they are many."""
    body = f'{_tools()}<div class="said">{notice}</div>{_sheet(draft)}' if is_open else ""
    return (
        f'<details class="settings" data-key="settings" data-keep><summary>{settings_head(draft)}</summary>'
        f"<div>{body}</div></details>"
    )


def _sheet(draft: Draft) -> str:
    method = method_of(draft.choices)
    now, before = values(all_layers(draft), method), values(chosen_layers(draft), method)
    changed, wrong = changed_settings(draft.choices), problems(draft)
    fields = list_fields(method)
    folds = []
    for fold in FOLDS:
        rows = [
            _row(one, now[one.key], before[one.key] if one.key in changed else None, wrong.get(one.key, ""))
            for one in fields
            if one.fold == fold
        ]
        if not rows:  # a word that is learned alone has no method
            continue
        bad = any(one.fold == fold and one.key in wrong for one in fields)
        folds.append(
            f'<details class="fold" data-key="{text(fold)}" data-keep{" open" if bad else ""}>'
            f"<summary>{text(fold)}</summary><div>{''.join(rows)}</div></details>"
        )
    loose = "".join(
        f'<p class="problem" role="alert">{text(said)}</p>'
        for key, said in wrong.items()
        if not any(one.key == key for one in fields)
    )
    back = button(words.ALL_BACK, "back", "", "small", "undo") if changed else ""
    return f"{loose}{''.join(folds)}{back}"


def _row(one: Field, value: Any, before: Any, problem: str) -> str:
    """One field; `before` is what the preset has where it was changed."""
    identifier = f"setting-{one.key.replace('.', '-')}"
    search = f"{one.key} {one.title} {one.help} {OTHER_NAMES.get(one.key, '')}".lower().replace("_", " ")
    name = f'<label for="{identifier}">{text(one.title)} <code>{text(one.key)}</code></label>'
    if one.key in SET_ELSEWHERE:
        shown = text(one.show(value)) if value not in (None, "", (), []) else text(words.NOTHING)
        return (
            f'<div class="setting fixed" data-key="{text(one.key)}" data-search="{text(search)}"><div class="name">'
            f"<b>{text(one.title)} <code>{text(one.key)}</code></b></div><p>{text(one.help)}</p>"
            f"<p><b>{shown}</b> {text(SET_ELSEWHERE[one.key])}</p></div>"
        )
    notes = [one.help, f"{one.allowed[:1].upper()}{one.allowed[1:]}." if one.allowed else ""]
    if before is not None or problem:
        notes.append(words.PRESET_HAS.format(one.show(before) or words.NOTHING) if before is not None else "")
    hint = " ".join(filter(None, notes))
    dot, back = "", ""
    if before is not None:
        dot = f'<i class="dot" role="img" aria-label="{text(words.CHANGED)}"></i>'
        back = button(words.BACK_TO_PRESET, "back", one.key, "small")
    alert = f'<p class="problem" id="{identifier}-problem" role="alert">{text(problem)}</p>' if problem else ""
    return (
        f'<div class="setting" data-key="{text(one.key)}" data-search="{text(search)}"><div class="name">{dot}{name}'
        f'</div><p id="{identifier}-hint">{text(hint)}</p><div class="value">'
        f"{_control(one, identifier, one.show(value), bool(problem))}{back}</div>{alert}</div>"
    )


def _control(one: Field, identifier: str, shown: str, wrong: bool) -> str:
    described = f"{identifier}-hint" + (f" {identifier}-problem" if wrong else "")
    common = f'id="{identifier}" data-setting="{text(one.key)}" aria-describedby="{described}"' + (
        ' aria-invalid="true"' if wrong else ""
    )
    if one.kind == "switch":
        checked = " checked" if shown == "on" else ""
        return f'<span class="switch"><input type="checkbox" {common}{checked}><span>{text(words.ON)}</span></span>'
    if one.kind == "choice":
        options = "".join(
            f'<option value="{text(choice)}"{" selected" if choice == shown else ""}>{text(choice)}</option>'
            for choice in one.choices
        )
        return f'<select {common} data-known="{text(shown)}">{options}</select>'
    if one.kind in ("list", "table"):
        return f'<textarea {common} rows="2" maxlength="4000" value="{text(shown)}">{text(shown)}</textarea>'
    keyboard = {"whole": "numeric", "number": "decimal"}.get(one.kind, "text")
    return (
        f'<input type="text" inputmode="{keyboard}" {common} maxlength="1000" autocomplete="off" spellcheck="false" '
        f'value="{text(shown)}">'
    )


def _tools() -> str:
    return (
        f'<div class="settings-tools"><div class="field"><label for="settings-search">{text(words.SEARCH)}</label>'
        f'<input id="settings-search" type="text" autocomplete="off" placeholder="{text(words.SEARCH_EXAMPLE)}"></div>'
        f'<div class="buttons"><input id="settings-file" type="file" accept=".toml" tabindex="-1" aria-hidden="true">'
        f'<button type="button" class="quiet" data-opens="settings-file">{text(words.IMPORT)}</button>'
        f'<button type="button" class="quiet" data-export>{text(words.EXPORT)}</button></div></div>'
        f'<p class="none-found" role="status" hidden>{text(words.NONE_FOUND)}</p>'
    )
