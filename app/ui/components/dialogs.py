"""The questions that are asked before something is done with a run; one set a page, filled by its script."""

from __future__ import annotations

from app.studio.runs.failures import HALF, LOW
from app.ui.runs import text as words
from app.ui.web.html import text


def dialogs() -> str:
    """The page's dialogs: delete, train longer. `{}` in their titles becomes the run's name."""
    longer = _field("longer-steps", "steps", words.STEPS, "numeric")
    restart = (words.KEEP, words.ANEW)
    return (
        dialog("delete", words.DELETE_TITLE, words.DELETE_TEXT, "", (words.KEEP, words.DELETE), danger=True)
        + dialog("longer", words.LONGER_TITLE, words.LONGER_TEXT, longer, (words.NOT_NOW, words.LONGER))
        + dialog("cancel", words.CANCEL_TITLE, "", "", (words.KEEP_TRAINING, words.WITHOUT_SAVING), danger=True)
        + "".join(dialog(what, words.RESTART_TITLE, "", "", restart, danger=True) for what in ("retry", HALF, LOW))
    )


def _field(identifier: str, name: str, label: str, keyboard: str) -> str:
    return (
        f'<div class="field"><label for="{identifier}">{text(label)}</label>'
        f'<input id="{identifier}" name="{name}" type="text" inputmode="{keyboard}" maxlength="60" '
        f'placeholder="{text(words.AS_IT_WAS)}" autocomplete="off"></div>'
    )


def dialog(what: str, title: str, lead: str, fields: str, choices: tuple[str, str], danger: bool = False) -> str:
    """A question of a page, asked by the button that does `what`; one with danger in it is closed by Enter.

    Without a `lead` the button's note takes its place, and a button without a note asks nothing.
    """
    told = f"<p>{text(lead)}</p>" if lead else '<p class="lost" data-noted></p>'
    no, yes = choices
    kind, focus = ("danger", " autofocus") if danger else ("go", "")
    return (
        f'<dialog class="ask" data-what="{what}" aria-labelledby="ask-{what}"><form method="dialog">'
        f'<h2 id="ask-{what}" data-title="{text(title)}"></h2>{told}{fields}'
        f'<div class="row"><button type="button" class="quiet" data-close{focus}>{text(no)}</button>'
        f'<button class="{kind}" value="yes">{text(yes)}</button></div></form></dialog>'
    )
