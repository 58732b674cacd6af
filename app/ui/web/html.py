"""Pieces of HTML. Whatever a person, a file or a network has said passes `text` before it stands in a page."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

ICONS = {
    "close": "M5 5l10 10M15 5L5 15",
    "theme": "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM10 4.5v11a5.5 5.5 0 0 0 0-11z",
    "out": "M8 4H4v12h4M12 6l4 4-4 4M16 10H8",
    "pen": "M4 16l1-4 8-8 3 3-8 8zM11 6l3 3",
    "swap": "M4 7h10l-3-3M16 13H6l3 3",
    "undo": "M4 8h8a4 4 0 0 1 0 8H8M4 8l4-4M4 8l4 4",
    "more": "M10 4v.01M10 10v.01M10 16v.01",
    "grip": "M7 5v.01M13 5v.01M7 10v.01M13 10v.01M7 15v.01M13 15v.01",
    "fresh": "M15 6a7 7 0 1 0 2 4M15 2v4h-4",
}
MARK = (
    '<svg class="mark" viewBox="0 0 30 30" aria-hidden="true"><rect x="2" y="2" width="17" height="17" rx="4"/>'
    '<rect x="7" y="7" width="17" height="17" rx="4"/><rect x="12" y="12" width="16" height="16" rx="4"/></svg>'
)


def text(words: object) -> str:
    """Words as they are to be read: safe between tags and inside quoted attributes."""
    return escape(str(words), quote=True)


def icon(name: str) -> str:
    """A small line drawing; it says nothing to a screen reader."""
    return f'<svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d="{ICONS[name]}"/></svg>'


def button(
    words: str, do: str, identifier: str = "", kind: str = "quiet", drawing: str = "", note: str = "", label: str = ""
) -> str:
    """A button that asks the server for `do`; `identifier` says about what, and `note` what is lost by it.

    `label` is its whole name where several buttons of a page have the same words.
    """
    named = f' aria-label="{text(label)}"' if label else ""
    noted = f' data-note="{text(note)}"' if note else ""
    about = f' data-about="{text(identifier)}"' if identifier else ""
    drawn = icon(drawing) if drawing else ""
    asks = f'data-key="{text(do)}" data-do="{text(do)}"{about}{noted}{named}'
    return f'<button type="button" class="{kind}" {asks}>{drawn}{text(words)}</button>'


def banner(words: str, *buttons: str, kind: str = "info") -> str:
    """A line across the page with what can be done about it; it is announced politely."""
    return f'<div class="banner {kind}" role="status"><p>{text(words)}</p><div>{"".join(buttons)}</div></div>'


def arrivals(label: str, stop: str) -> str:
    """How far files are that come in; filled by `arrivals.js`."""
    return (
        f'<div class="state"><p class="told"><span class="said" role="status"></span> <span class="part" '
        f'aria-hidden="true"></span></p><div class="bar" role="progressbar" aria-label="{text(label)}" '
        f'aria-valuemin="0" aria-valuemax="100" hidden><i></i></div>'
        f'<button type="button" class="small stop" hidden>{text(stop)}</button></div>'
    )


def wide_table(label: str, kind: str, rows: str) -> str:
    """A table that scrolls aside where it is wider than the page; `rows` is HTML."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(label)}"><table class="{kind}">'
        f"<tbody>{rows}</tbody></table></div>"
    )


def heading(title: str, lead: str = "") -> str:
    """A page's or step's first words."""
    return f"<h1>{text(title)}</h1>" + (f'<p class="lead">{text(lead)}</p>' if lead else "")


def empty_page(title: str, lead: str, link: str, where: str) -> str:
    """A page with nothing on it yet, and what to do first."""
    return (
        f'<div class="empty">{MARK}<h1>{text(title)}</h1><p class="lead">{text(lead)}</p>'
        f'<a class="go" href="{text(where)}">{text(link)}</a></div>'
    )


def file_address(path: Path) -> str:
    """Where a browser finds a file of the public folder, relative to a page."""
    return f"gradio_api/file={quote(path.resolve().as_posix(), safe='/:')}"


def static_text(name: str) -> str:
    """A script or style sheet of the studio."""
    return files("app.ui").joinpath("static", name).read_text(encoding="utf-8")
