"""Templates: what a value may be, what a template may hold, and that its words are there."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError, nodes
from markupsafe import Markup

from app.ui.components.controls import Fetch, Link
from app.ui.components.download_menu import DownloadOffer
from app.ui.document.templates import ROOT, environment, join_lines, macro, text_beside

NASTY = "<b>\"x\" & 'y'</b> ${1} {{ 1 }}"
TEMPLATES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.html"))
JINJA = re.compile(r"({#.*?#}|{%.*?%}|{{.*?}})", re.DOTALL)
WORDS = re.compile(r"[^\W\d_]{2}")
MARKUP = re.compile(r"</?[a-z][^<>]*>|<!doctype html>|\b[\w-]+=\"[^\"]*\"|\bdata-[\w-]+")
SAID = re.compile(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"')
TAG = re.compile(r"<[A-Za-z](?:\"[^\"]*\"|[^>\"])*>")


def source(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def badly_written(template: str) -> list[str]:
    """The tags of a template in which a value could become more than the value of an attribute."""
    parts = JINJA.split(template)
    html = "".join(
        join_lines(part) if place % 2 == 0 else "¤" if part.startswith("{{") else "" for place, part in enumerate(parts)
    )
    bare = {tag: re.sub(r'="[^"]*"(?=[\s/>])', "", tag) for tag in TAG.findall(html)}
    return [tag for tag, left in bare.items() if re.search(r"[=\"'¤]", left)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_attribute_is_quoted_and_every_value_escaped(name):
    assert badly_written(source(name)) == []
    assert not re.search(r"\|\s*safe\b|autoescape", source(name))


@pytest.mark.parametrize(
    "tag",
    [
        "<a href={{ x }}>",
        "<a {{ x }}>",
        "<a class='{{ x }}'>",
        '<a class="a"{% if x %} id="b"{% endif %}\n  href="c">',
        "<a href=x>",
    ],
)
def test_what_is_badly_written_is_found(tag):
    assert badly_written(tag) and not badly_written(
        '<a class="{{ x }}"\n  data-x="1"{% if y %} hidden{% endif %}>=</a>'
    )


def written_out(template: str) -> list[str]:
    """Words that a template says itself, in one language for everybody."""
    html = "".join("¤" if place % 2 else part for place, part in enumerate(JINJA.split(template)))
    said = MARKUP.sub("\n", html).split("\n") + SAID.findall(html)
    return [words.strip() for words in said if WORDS.search(words)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_word_of_a_template_can_be_translated(name):
    assert written_out(source(name)) == []


@pytest.mark.parametrize("html", ["<p>\n  Two words\n</p>", '<a{% if x > 1 %} id="b"{% endif %} title="Open {{ x }}">'])
def test_a_word_that_cannot_be_translated_is_found(html):
    assert len(written_out(html)) == 1 and written_out(html.replace("Two words", "{{ x }}").replace("Open", "")) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_words_that_a_template_asks_for_are_there(name):
    parsed = environment().parse(source(name))
    asked = [each.attr for each in parsed.find_all(nodes.Getattr) if getattr(each.node, "name", "") == "text"]
    assert [word for word in asked if not hasattr(text_beside(name), word)] == []


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(UndefinedError, match="'nothing' is undefined"):
        environment().from_string("<p>{{ nothing }}</p>").render()
    with pytest.raises(UndefinedError, match="missing"):
        environment().from_string("{{ it.missing }}").render(it=object())


def test_values_are_text_in_every_macro():
    pieces = {
        "button": macro("button", NASTY, NASTY, NASTY, NASTY, "", NASTY, NASTY),
        "banner": macro("banner", NASTY, NASTY, details=NASTY),
        "field": macro("field", NASTY, NASTY, caller=lambda: NASTY),
        "fold": macro("fold", NASTY, caller=lambda: NASTY),
        "heading": macro("heading", NASTY, NASTY),
        "hint": macro("hint", NASTY),
        "empty_page": macro("empty_page", *[NASTY] * 4),
        "wide_table": macro("wide_table", NASTY, NASTY, caller=lambda: NASTY),
        "menu": macro("menu", NASTY, caller=lambda: NASTY),
        "upload_progress": macro("upload_progress", NASTY, NASTY),
        "search_field": macro("search_field", NASTY),
        "progress_bar": macro("progress_bar", 0.5, NASTY),
        "download_menu": macro(
            "download_menu",
            [
                DownloadOffer(NASTY, NASTY),
                DownloadOffer(NASTY, NASTY, NASTY),
                DownloadOffer(NASTY, NASTY, ask=NASTY, about=NASTY, name=NASTY),
            ],
        ),
        "control": macro("control", Link(NASTY, NASTY)) + macro("control", Fetch(NASTY, NASTY)),
        "dialog": macro("dialog", NASTY, NASTY, NASTY, NASTY, NASTY, caller=lambda: NASTY),
    }
    known = {name for name in vars(environment().get_template("components/macros.html").module) if name[0] != "_"}
    assert known - set(pieces) == {"pages"}, "which holds two numbers"
    for name, piece in pieces.items():
        assert str(Markup.escape(NASTY)) in piece and NASTY not in piece and "<b>&#34;" not in piece, name


def test_the_layout_of_a_template_is_not_in_the_page():
    assert join_lines("\n<p>\n  <b>a</b>  <i>b</i>\n  two\n  words\n</p>\n") == "<p><b>a</b>  <i>b</i>two words</p>"
    assert join_lines('<a\n  class="b"\n>') == '<a class="b">'
    kept = environment().from_string("<pre>\n  {{ log }}\n</pre>").render(log="a\n  b")
    assert kept == "<pre>a\n  b</pre>"


def test_a_button_says_what_it_asks_for():
    found: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    Reader().feed(macro("button", "Delete", "delete", NASTY, note=NASTY))
    ((tag, attributes),) = found
    assert tag == "button" and attributes["data-do"] == "delete"
    assert attributes["data-about"] == attributes["data-note"] == NASTY and "aria-label" not in attributes
