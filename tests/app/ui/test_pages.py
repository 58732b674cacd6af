from __future__ import annotations

import inspect
import re

from app.ui.pages import PAGES


def test_every_page_has_an_address_of_its_own_and_can_be_laid_out() -> None:
    assert PAGES[0].path == ""
    assert len({page.path for page in PAGES}) == len({page.title for page in PAGES}) == len(PAGES)
    for page in PAGES:
        assert re.fullmatch(r"[a-z]*", page.path)
        assert list(inspect.signature(page.load().build).parameters) == ["services", "demo"]


def test_the_bar_leads_to_the_pages_that_are_listed() -> None:
    from app.ui.document.templates import render

    bar = render("components/shell.html", here="Styles", pages=PAGES, user=None)
    links = re.findall(r'<a href="([^"]*)"( aria-current="page")?>([^<]*)</a>', bar)
    assert links == [
        ("./", "", "Train"),
        ("runs", "", "Runs"),
        ("styles", ' aria-current="page"', "Styles"),
        ("playground", "", "Playground"),
    ]
