"""The Jinja2 environment of the pages, which escapes values and raises for missing ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, MutableMapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, pass_eval_context
from jinja2.ext import Extension
from jinja2.filters import do_join
from jinja2.lexer import Token, TokenStream
from jinja2.nodes import EvalContext
from markupsafe import Markup

from app import units
from app.language import LANGUAGES, direction, language, translated
from app.ui.document.assets import asset, read_scripts
from app.ui.document.icons import ICONS, MARK
from app.ui.document.language import COOKIE
from app.ui.gradio_internals import file_address

ROOT = Path(__file__).parents[1]
"""Root of template names such as `trash/list.html`."""
SHARED_TEXT = "app.ui.components.text"
"""Texts of several pages, in templates as `shared`."""
LINE_BREAK = re.compile(r"\s*\n\s*")


def render(name: str, **values: Any) -> Markup:
    """Render a template. Raises UndefinedError if `values` lacks one that it uses."""
    return Markup(environment().get_template(name).render(values))


def macro(name: str, *values: Any, **named: Any) -> Markup:
    """Render a macro of `components/macros.html`."""
    return Markup(getattr(environment().get_template("components/macros.html").module, name)(*values, **named))


@cache
def environment() -> Environment:
    """The environment of all pages."""
    jinja = PageEnvironment(
        loader=FileSystemLoader(ROOT),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=translated,
        extensions=[JoinLines],
        auto_reload=False,  # pages are rendered every second, and templates only change with the code
    )
    jinja.globals |= {"asset": asset, "icons": ICONS, "mark": MARK, "script": script, "url": file_address}
    jinja.globals |= {
        "language": language,
        "languages": LANGUAGES,
        "language_cookie": COOKIE,
        "direction": direction,
    }
    jinja.filters["join"] = pass_eval_context(_join)
    jinja.globals["shared"] = import_module(SHARED_TEXT)
    jinja.filters |= {
        name: getattr(units, name)
        for name in ("counted", "day", "ordinal", "readable_size", "readable_speed", "readable_time")
    }
    return jinja


def _join(context: EvalContext, values: Iterable[Any], between: str = "") -> str:
    return do_join(context, map(translated, values), translated(between))


def script(name: str) -> Markup:
    """A script as the content of a `<script>` element."""
    return Markup(read_scripts(name))


class PageEnvironment(Environment):
    """Provides each template's text module as `text`."""

    def get_template(
        self,
        name: str | Template,
        parent: str | None = None,
        globals: MutableMapping[str, Any] | None = None,
    ) -> Template:
        known = {**(globals or {}), **({"text": text_beside(name)} if isinstance(name, str) else {})}
        return super().get_template(name, parent, known)


@cache
def text_beside(template: str) -> ModuleType:
    """A template's text module, in its folder.

    For `runs/compare_settings.html`, the first that exists of `compare_settings_text.py`, `compare_text.py`, `text.py`
    and the text module of the components.
    """
    path = PurePosixPath(template)
    folder, parts = ".".join(("app", "ui", *path.parent.parts)), path.stem.split("_")
    beside = [f"{folder}.{'_'.join((*parts[:count], 'text'))}" for count in range(len(parts), -1, -1)]
    return import_module(next(filter(find_spec, beside), SHARED_TEXT))


class JoinLines(Extension):
    """Removes line breaks and indentation from rendered templates."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """The tokens, with their HTML on one line."""
        for token in stream:
            yield Token(token.lineno, token.type, join_lines(token.value)) if token.type == "data" else token


def join_lines(html: str) -> str:
    """HTML on one line: line breaks become a space between words, and nothing beside a tag or an expression."""

    def joined(match: re.Match[str]) -> str:
        start, end = match.span()
        beside_tag = start == 0 or end == len(html) or html[start - 1] == ">" or html[end] in "<>"
        return "" if beside_tag else " "

    return LINE_BREAK.sub(joined, html)
