"""A language of the tests, written from right to left, in which every translated text has marks around it.

The marks are characters that nobody sees and that Playwright takes out of names, so that the journeys of the other
tests go their ways in it. What a page says outside of them was not translated.
"""

from __future__ import annotations

from collections.abc import Sequence
from gettext import NullTranslations
from typing import Any

LANGUAGE = "ar"
SPEAK = "from tests.app.ui.screens.pseudo import speak; speak()"
"""For `before` of a studio's process."""
BEGIN, END = "\u200b", "\u00ad"
UNMARKED = r"""([begin, end, known]) => {
    const outside = text => {
        let depth = 0, rest = '';
        for (const letter of text) {
            if (letter === begin) depth++;
            else if (letter === end) depth--;
            else if (depth === 0) rest += letter;
        }
        return rest.replace(/\s+/g, ' ').trim();
    };
    const data = new RegExp(known), found = new Set();
    const note = (text, where) => {
        const rest = outside(text || '');
        if (/\p{L}{2}/u.test(rest) && !data.test(rest)) found.add(`${where}: ${rest.slice(0, 100)}`);
    };
    // Captions stand in the preview.
    const others = 'script, style, code, pre, textarea, .preview, [translate=no], [lang]:not(html)';
    const ours = one => one?.checkVisibility() && !one.closest(others);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode())
        if (ours(node.parentElement)) note(node.data, node.parentElement.tagName.toLowerCase());
    for (const one of document.querySelectorAll('body *'))
        if (ours(one))
            for (const name of ['aria-label', 'title', 'placeholder', 'alt', 'aria-valuetext'])
                note(one.getAttribute(name), name);
    note(document.title, 'title of the tab');
    return [...found];
}"""


class Pseudo(NullTranslations):
    """Everything is said in English, between marks."""

    def gettext(self, message: str) -> str:
        return f"{BEGIN}{message}{END}"

    def ngettext(self, one: str, other: str, count: int) -> str:
        return self.gettext(one if count == 1 else other)


def speak() -> None:
    """Let this process's studio speak the language."""
    from app import language

    catalogue = language.catalogue
    language.LANGUAGES = {**language.LANGUAGES, LANGUAGE: "marked"}
    language.catalogue = lambda name: Pseudo() if name == LANGUAGE else catalogue(name)


def unmarked(page: Any, names: Sequence[str] = ("^$",)) -> list[str]:
    """What a page says that was not translated, but for what matches one of `names`."""
    return page.evaluate(UNMARKED, [BEGIN, END, "|".join(names)])
