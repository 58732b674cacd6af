"""Languages of the pages: which one a person gets, that everything is said in it, and that everybody can use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.app.ui.screens import PARTS
from tests.app.ui.screens.findings import LOOKS, OVERFLOWS, violations
from tests.app.ui.screens.pseudo import LANGUAGE, SPEAK, unmarked
from tests.app.ui.screens.stage import Stage, write_files
from tests.app.ui.server import MEASURED, Process
from tests.app.ui.visitor import ALL_SENT, READY, blank_page
from trainers.adapters.methods import METHODS

pytestmark = [pytest.mark.browser, pytest.mark.process]

NAMES = (
    r"^(·? ?)*Velatura$",  # the tab of a page whose own name is marked
    r"\.(jpg|png|bmp|webp|svg|safetensors)( · Velatura)?$",
    rf"^({'|'.join(method.about.title for method in METHODS.values())})$",
    r"^(Velatura starter|Stable Diffusion|Flux.1 dev|Chroma|BLIP|Florence-2|WD14|ComfyUI|Forge|InvokeAI|diffusers)",
)
"""What pages say outside of messages: names of files, methods, models and of the product."""
LOOK = {"locale": LANGUAGE, "reduced_motion": "reduce"}
"""Without transitions, in the middle of which nothing has its colour yet."""
ON_STAGE = (
    r"Harbour blue( \d)?( · Velatura)?$|Linocut$|The kitchen of a grandmother in the morning$",
    r"^(Training|Hanging|Fallen back|Interrupted|Failed|Paused|Stopped)( · Velatura)?$",
    r"^(: )?(a lighthouse( on a rock.*)?( ·)?|two cats on a sofa)$",
    r"^(harbour style|pixel (art|night)|night city|<b>neon</b>)$",
    r"^(ann|eve|mia|Render farm|Bartholomew of the harbour|zebra|none)$",
    r"^(Evening light|Study \d\d)( |$)",
    r"^(, )?Dusk sweep(-[a-z]+-r\d)?( · Velatura)?$",
)
"""Names of runs and styles, prompts and words in the screens."""


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A studio that speaks the tests' own language, too."""
    process = Process(tmp_path_factory.mktemp("marked") / "outputs", before=SPEAK + MEASURED)
    yield process
    process.close()


def test_a_language_is_chosen_in_the_bar_and_stays(page, studio: Process) -> None:
    page.locator("[data-sample=photograph]").click()
    page.get_by_label("Trigger word").fill("hafen")
    page.wait_for_function(ALL_SENT)
    page.get_by_label("Language").select_option("Deutsch")
    expect(page.get_by_role("heading", level=1, name="Füge Bilder in deinem Stil hinzu")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page).to_have_title("Neuer Stil · Velatura")
    expect(page.get_by_label("Triggerwort")).to_have_value("hafen")
    page.get_by_role("link", name="Stile").click()
    expect(page.get_by_role("heading", name="Noch keine Stile")).to_be_visible()
    page.get_by_label("Sprache").select_option("English")
    expect(page.get_by_role("heading", name="No styles yet")).to_be_visible()

    # Who has not chosen gets what the browser asks for.
    page.context.clear_cookies()
    page.set_extra_http_headers({"accept-language": "de-AT"})
    page.goto(f"{studio.url}run?id=x")
    expect(page.get_by_role("heading", name="Dieses Training gibt es nicht")).to_be_visible()
    page.set_extra_http_headers({})


def test_a_browser_is_answered_in_the_language_that_it_asks_for(studio: Process) -> None:
    asked = {"accept-language": "de-AT"}
    away = httpx.get(f"{studio.url}nowhere", headers=asked | {"accept": "text/html"})
    assert away.status_code == 404 and ">Hier ist nichts</h1>" in away.text
    german, english = (httpx.get(f"{studio.url}now", headers=headers).json()["line"] for headers in (asked, {}))
    assert (german, english) == ("Bereit", "Idle")
    page_of = httpx.get(studio.url, headers=asked | {"cookie": "velatura-language=en"}).text
    assert 'lang="en" dir="ltr"' in page_of and "Add pictures in your style" in page_of


@pytest.mark.thorough
def test_pages_are_accessible_from_right_to_left_and_wholly_translated(browser, marked: Process) -> None:
    """The page Train filled and open, and all others as they are at first; the rest is in `make test-all`.

    Dark on a phone; and of the pages with the most parts, what another theme and width may change.
    """
    found = []
    small, large = ({"width": width, "height": 900} for width in (390, 1280))
    with blank_page(browser, **LOOK, color_scheme="dark", viewport=small) as page:

        def check(name: str, large_too: bool = False) -> None:
            assert page.evaluate("getComputedStyle(document.querySelector('h1')).direction") == "rtl"
            found.extend(f"{name}: {one}" for one in (*violations(page), *unmarked(page, NAMES), *too_wide()))
            if not large_too:
                return
            switch_theme(page, "light")
            page.set_viewport_size(large)
            found.extend(f"{name}, large: {one}" for one in (*violations(page, LOOKS), *too_wide()))
            switch_theme(page, "dark")
            page.set_viewport_size(small)

        def too_wide() -> list[str]:
            return ["too wide"] if page.evaluate(OVERFLOWS) else []

        page.goto(marked.url)
        page.wait_for_selector(READY)
        check("no pictures")
        page.locator("[data-sample=photograph]").click()
        page.wait_for_selector("body[data-pictures='12']")
        check("pictures", large_too=True)
        page.goto(f"{marked.url}#style")
        page.wait_for_selector("#step-style .stops")
        page.locator("#advanced > summary").click()
        page.wait_for_selector("#advanced .methods")
        page.locator(".settings > summary").click()
        check("style", large_too=True)
        page.goto(f"{marked.url}#start")
        page.wait_for_selector("#start-sheet input")
        check("start")
        for name in ("runs", "styles", "trash", "run?id=x"):
            page.goto(f"{marked.url}{name}")
            page.wait_for_selector(".empty h1")
            check(name)
        page.goto(f"{marked.url}playground")
        page.locator(".more-fields > summary").click()
        check("playground")
    assert found == [], "\n".join(found)


def switch_theme(page: Any, theme: str) -> None:
    page.locator(".theme").evaluate("button => button.click()")
    expect(page.locator("html")).to_have_attribute("data-theme", theme)


@pytest.mark.thorough
@pytest.mark.parametrize("part", [part for part in PARTS if part != "german"])
def test_every_screen_is_accessible_and_wholly_translated(browser, tmp_path: Path, part: str) -> None:
    studio = Process(tmp_path / "outputs", before=SPEAK, fresh=True)
    locked = Process(tmp_path / "locked", "--auth", "ann:pear", before=SPEAK)
    found = []
    try:
        for theme, width in (("light", 1440), ("dark", 360)):
            size = {"width": width, "height": 900}
            with blank_page(browser, **LOOK, color_scheme=theme, viewport=size) as page:
                for name in PARTS[part].screens(Stage(page, studio, locked, write_files(tmp_path / f"in-{theme}"))):
                    wide = ["too wide"] if page.evaluate(OVERFLOWS) else []
                    wrong = (*violations(page), *unmarked(page, (*NAMES, *ON_STAGE)), *wide)
                    found.extend(f"{name}-{width}: {one}" for one in wrong)
    finally:
        studio.close()
        locked.close()
    assert found == [], "\n".join(found)
