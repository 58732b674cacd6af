"""Scripts and sheets beside the pages: all are found, and nothing else beside them is served."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from app.ui.document.assets import STATIC, STYLE_SHEETS, UI, Assets, read_scripts


def names(suffix: str) -> list[str]:
    return sorted(path.relative_to(UI).as_posix() for path in UI.rglob(f"*{suffix}"))


def test_what_stands_beside_pages_is_served_and_no_other_file_of_theirs():
    client = TestClient(Starlette(routes=[Mount("/look", Assets())]))
    for path in ("icon.svg", "tokens.css", "fonts/IBMPlexSans-Bold.woff2", "methods/lora.webp"):
        assert client.get(f"/look/{path}").content == (STATIC / path).read_bytes()
    for path in ("document/bare.css", "components/menus.js"):
        assert client.get(f"/look/{path}").content == (UI / path).read_bytes()
    for path in (
        "server.py",
        "document/assets.py",
        "components/macros.html",
        "runs",
        "%2e%2e/server.py",
        "static/tokens.css",
    ):
        assert client.get(f"/look/{path}").status_code == 404, path


def test_every_sheet_is_used():
    used = {path.relative_to(UI).as_posix() for path in STYLE_SHEETS} | {"document/bare.css"}
    assert used == set(names(".css")) and len(STYLE_SHEETS) > 10


def test_every_script_is_used():
    pages = "".join(path.read_text(encoding="utf-8") for kind in ("*.py", "*.html") for path in UI.rglob(kind))
    assert [name for name in names(".js") if f'"{name}"' not in pages] == [] and len(names(".js")) > 20


@pytest.mark.parametrize("name", [*names(".js"), *names(".css")])
def test_lines_are_short_enough_to_be_read(name):
    assert [line for line in (UI / name).read_text(encoding="utf-8").splitlines() if len(line) > 120] == []


def test_scripts_come_in_the_order_in_which_they_are_asked_for():
    both = read_scripts("components/fetch.js", "components/asks.js")
    assert both == read_scripts("components/fetch.js") + read_scripts("components/asks.js")
    assert both.endswith("\n")
