"""What is typed at the first step stays, whatever another tab, a late answer or a reload brings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.studio.dataset import edits
from app.studio.dataset.uploads import take_folder
from app.studio.services import Services
from app.ui.components.events import actor_of
from app.ui.train import images
from tests.app.ui.bare_page import REQUEST, BarePage, BareTab
from tests.app.ui.visitor import ALL_SENT, READY, captions
from tests.trainers.data.pictures import scene

NAMES = ("a boat", "a house", "cup of tea", "pear")


@pytest.fixture
def bare(bare_tab: BareTab, services: Services, tmp_path: Path) -> Iterator[BarePage]:
    """The first step with four pictures, their names as captions."""
    for seed, name in enumerate(NAMES):
        scene(seed, (96, 72)).save(tmp_path / f"{name}.png")
    take_folder(services.drafts, actor_of(REQUEST).key, tmp_path)
    with bare_tab.visit(images.build, services) as page:
        yield page


def caption(page: Any, number: int) -> Any:
    return page.get_by_role("textbox", name=f"Caption {number}", exact=True)


def identifiers(bare: BarePage) -> list[str]:
    return [one.id for one in bare.services.drafts.read(actor_of(REQUEST).key).pictures]


def elsewhere(bare: BarePage, change: Any) -> None:
    """A change of the same person in another browser, which does not tell this one."""
    bare.services.drafts.change(actor_of(REQUEST).key, change, "another page")


def test_words_of_two_browsers_for_one_picture_are_both_offered(bare: BarePage) -> None:
    page, first = bare.open(), identifiers(bare)[0]
    page.wait_for_selector(READY)
    for was, theirs, mine in (("a boat", "theirs", "mine"), ("theirs", "a ship, they said", "a ship")):
        elsewhere(bare, partial(edits.with_caption, identifier=first, text=theirs, was=was))
        if mine == "mine":  # while the server is away
            bare.away = True
            caption(page, 1).fill(mine)
            caption(page, 2).focus()
            bare.away = False
            bare.open()
        else:
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            expect(page.get_by_text("This was changed in another tab.")).to_be_visible()
            caption(page, 1).fill(mine)
            caption(page, 2).focus()
        expect(page.get_by_text(f"Another tab wrote: “{theirs}”")).to_be_visible()
        expect(caption(page, 1)).to_have_value(mine)
        page.get_by_role("button", name="Use that").click()
        expect(caption(page, 1)).to_have_value(theirs)
        expect(page.get_by_role("button", name="Use that")).to_have_count(0)


def test_typing_goes_on_while_cards_change(bare: BarePage) -> None:
    """An answer with all cards comes while somebody types, one of them gone from above."""
    page, (first, *_, last) = bare.open(), identifiers(bare)
    page.wait_for_selector(READY)
    field = page.locator("#" + caption(page, 2).get_attribute("id"))
    field.press("Home")
    field.evaluate("field => { field.lost = 0; field.onblur = () => field.lost++; }")
    elsewhere(bare, partial(edits.without, identifiers=[first]))
    elsewhere(bare, partial(edits.with_caption, identifier=last, text="a pear, said the other", was="pear"))
    for words in ("by the sea", ", under clouds, ", "stands "):
        field.press_sequentially(words)
        page.wait_for_function(ALL_SENT)
    told = "by the sea, under clouds, stands a house"
    assert captions(page) == [told, "cup of tea", "a pear, said the other"]
    now = "[document.activeElement.value, document.activeElement.selectionStart, document.activeElement.lost]"
    assert page.evaluate(now) == [told, told.index("a house"), 0], "neither the focus nor the caret has moved"
    bare.open()
    page.wait_for_selector(READY)
    assert captions(page)[0] == told


def test_what_is_typed_for_a_picture_that_is_deleted_elsewhere_comes_back_with_it(bare: BarePage) -> None:
    page, (first, *_) = bare.open(), identifiers(bare)
    page.wait_for_selector(READY)
    caption(page, 1).press("End")
    elsewhere(bare, partial(edits.without, identifiers=[first]))
    page.keyboard.type(" at dusk")
    expect(page.get_by_text("was deleted in another tab while you typed: “a boat at dusk")).to_be_visible()
    page.locator("#foot").get_by_role("button", name="Undo").click()
    page.wait_for_selector("body[data-pictures='4']")
    page.wait_for_function(ALL_SENT)
    bare.open()
    expect(caption(page, 1)).to_have_value("a boat at dusk")


def test_another_tab_shows_what_was_changed(bare: BarePage) -> None:
    page, other = bare.open(), bare.open(bare.tab.context.new_page())
    for tab in (page, other):
        tab.wait_for_selector(READY)
    caption(other, 2).fill("typed here")
    caption(page, 1).fill("a boat at dusk")
    page.get_by_label("Trigger word").fill("dusk style")
    page.wait_for_function(ALL_SENT)
    for field in (caption(other, 2), page.get_by_label("Trigger word")):
        field.blur()
    expect(caption(other, 1)).to_have_value("a boat at dusk")
    expect(other.get_by_label("Trigger word")).to_have_value("dusk style")
    expect(caption(page, 2)).to_have_value("typed here")


def test_only_what_is_near_the_window_is_in_the_page(bare: BarePage) -> None:
    """A draft of one file under many names."""
    count, drafts = 600, bare.services.drafts
    boat = (draft := drafts.read(actor_of(REQUEST).key)).pictures[0]
    many = [boat.model_copy(update={"id": f"{k:016x}", "caption": f"number {k}"}) for k in range(count)]
    for folder, ending in ((drafts.pictures(draft), "png"), (drafts.measures(draft), "json")):
        for one in many:
            (folder / f"{one.id}.{ending}").hardlink_to(folder / f"{boat.id}.{ending}")
    elsewhere(bare, lambda draft: draft.with_(pictures=tuple(many)))
    page = bare.open()
    page.wait_for_selector(f"body[data-pictures='{count}']")
    assert 5 < page.locator(".cards > li").count() < 80
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = caption(page, count)
    last.fill("the last of all")
    page.wait_for_function(ALL_SENT)
    page.evaluate("scrollTo(0, 0)")
    expect(caption(page, 1)).to_have_value("number 0")
    expect(last, "it stays in the page").to_be_focused()
    assert page.locator(".cards > li").count() < 80
    caption(page, 1).focus()
    for _ in range(40):
        page.keyboard.press("Enter")
    expect(caption(page, 41)).to_be_focused()
    expect(caption(page, 41)).to_be_in_viewport()
    page.get_by_role("searchbox", name="Filter by words or file name").fill("the last")
    expect(page.get_by_text(f"1 of {count} shown")).to_be_visible()
    page.get_by_role("button", name=f"Open picture {count}").click()
    expect(page.get_by_role("dialog").get_by_label("Caption")).to_have_value("the last of all")
