"""SVG icons of the pages."""

from __future__ import annotations

from markupsafe import Markup

PATHS = {
    "close": "M5 5l10 10M15 5L5 15",
    "globe": "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM2.5 10h15M10 2.5q6.6 7.5 0 15M10 2.5q-6.6 7.5 0 15",
    "theme": "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM10 4.5v11a5.5 5.5 0 0 0 0-11z",
    "bell": "M5 14V9a5 5 0 0 1 10 0v5M3.5 14h13M8.5 17h3",
    "out": "M8 4H4v12h4M12 6l4 4-4 4M16 10H8",
    "pen": "M4 16l1-4 8-8 3 3-8 8zM11 6l3 3",
    "swap": "M4 7h10l-3-3M16 13H6l3 3",
    "undo": "M4 8h8a4 4 0 0 1 0 8H8M4 8l4-4M4 8l4 4",
    "more": "M10 4v.01M10 10v.01M10 16v.01",
    "grip": "M7 5v.01M13 5v.01M7 10v.01M13 10v.01M7 15v.01M13 15v.01",
    "star": "M10 2.8l2.2 4.6 5 .7-3.6 3.5.9 5-4.5-2.4-4.5 2.4.9-5L2.8 8.1l5-.7z",
    "next": "M7.5 4l6 6-6 6",
    "enlarge": "M12 3h5v5M8 17H3v-5M17 3l-6 6M3 17l6-6",
    "download": "M10 3v9M6 8.5l4 4 4-4M4 16.5h12",
    "rotate": "M3 9h9v8H3zM8 4h4a5 5 0 0 1 5 5v2M14.5 8.5L17 11l2.5-2.5",
    "fresh": "M15 6a7 7 0 1 0 2 4M15 2v4h-4",
}
MARK = Markup(
    '<svg class="mark" viewBox="0 0 30 30" aria-hidden="true"><rect x="2" y="2" width="17" height="17" rx="4"/>'
    '<rect x="7" y="7" width="17" height="17" rx="4"/><rect x="12" y="12" width="16" height="16" rx="4"/></svg>'
)
"""The studio's logo."""
ICON = Markup('<svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d="{}"/></svg>')
ICONS = {name: ICON.format(path) for name, path in PATHS.items()}
"""Icons by name, hidden from screen readers: the elements around them have text or a label."""
