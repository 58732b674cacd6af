"""The first step of Train in a real browser: pictures in, captions edited, nothing lost."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.app.ui.visitor import ALL_SENT, PATIENCE, READY, SIZE, add, captions, expect_layout, nameless
from tests.app.user_files import write_bomb
from tests.trainers.data.pictures import scene

pytestmark = pytest.mark.long

COMPLETE = "Every picture has a caption already."
NASTY = "<b>x</b> ${document.title='x'} {{1+1}} \"' <img src=x onerror=\"document.title='y'\">"

UPRIGHT = """all => Promise.all(all.map(async one => {
    one.loading = 'eager';
    await one.decode();
    return one.naturalHeight > one.naturalWidth;
}))"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of five formats, one of them lying on its side, and files that are none."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    folder = tmp_path_factory.mktemp("pictures")
    for seed, name in enumerate(("red boat.png", "cup_of_tea.webp", "a house.heic", "pear.bmp")):
        scene(seed, (320, 240)).save(folder / name)
    turned = Image.Exif()
    turned[274] = 6
    scene(4, (320, 240)).save(folder / "IMG_0001.jpg", exif=turned)
    (folder / "notes.png").write_text("not an image")
    write_bomb(folder / "bomb.png")
    scene(5, (320, 240)).save(folder / "<img src=x onerror=document.title=1> ${1}.png")
    return folder


def five(files: Path) -> list[Path]:
    return [files / name for name in ("red boat.png", "cup_of_tea.webp", "a house.heic", "pear.bmp", "IMG_0001.jpg")]


def test_pictures_captions_what_is_left_out_and_the_theme_survive(page, files):
    expect(page.locator(".go:visible"), "an empty page has one filled button").to_have_count(1)
    add(page, *five(files), files / "notes.png", files / "bomb.png", count=5)
    assert captions(page) == ["red boat", "cup of tea", "a house", "pear", ""]
    page.get_by_text("2 files were left out").click()
    page.wait_for_selector(".left-out li:nth-child(2)")
    refused = page.locator(".left-out li").all_inner_texts()
    assert any("notes.png" in line and "This file holds text, not an image." in line for line in refused)
    assert any("bomb.png" in line and "too large" in line for line in refused)
    shapes = page.eval_on_selector_all(".cards img", UPRIGHT)
    assert shapes == [False] * 4 + [True], "the turned picture stands upright"

    fields = page.locator(".cards textarea")
    fields.nth(1).fill("a cup of tea by the window")
    fields.nth(1).press("Enter")
    expect(fields.nth(2), "Enter goes to the next caption").to_be_focused()
    fields.nth(4).fill(NASTY)
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.get_by_role("button", name="Switch between light and dark").click()
    page.wait_for_function(ALL_SENT)
    page.reload()
    page.wait_for_selector(READY)
    assert captions(page) == ["red boat", "a cup of tea by the window", "a house", "pear", NASTY]
    expect(page.locator(".left-out li")).to_have_count(2)
    assert page.title() == "Train · Velatura" and page.locator(".cards b").count() == 0, "markup is text"
    dark = "[document.documentElement.dataset.theme, document.body.classList.contains('dark')]"
    assert page.evaluate(dark) == ["dark", True]
    background = page.evaluate("getComputedStyle(document.querySelector('.gradio-container')).backgroundColor")
    assert background == "rgb(15, 20, 18)"


def test_captions_are_replaced_deleted_undone_and_not_written_without_a_model(page, files):
    add(page, *five(files), count=5)
    fields = page.locator(".cards textarea")
    fields.nth(0).fill("a red boat")
    page.get_by_role("button", name="Find and replace").click()
    page.get_by_label("Find", exact=True).fill("a ")
    page.get_by_label("Replace with").fill("one ")
    page.wait_for_selector(".preview >> text=2 captions change")
    page.get_by_role("button", name="Replace", exact=True).click()
    page.wait_for_selector("#foot >> text=2 captions changed.")
    for number, words in enumerate(("one red boat", "cup of tea", "one house")):
        expect(fields.nth(number), "a field that was typed in changes too").to_have_value(words)
    page.locator("#foot").get_by_role("button", name="Undo").click()
    page.wait_for_function("document.querySelectorAll('.cards textarea')[0].value === 'a red boat'")
    expect(fields.nth(2)).to_have_value("a house")

    kept = page.locator(".cards img").nth(2).element_handle()
    page.get_by_role("button", name="Delete picture 2").click()
    page.wait_for_selector("body[data-pictures='4']")
    assert captions(page) == ["a red boat", "a house", "pear", ""]
    assert kept.evaluate("image => image.isConnected"), "the other pictures are the same elements as before"
    page.locator("#foot").get_by_role("button", name="Undo").click()
    page.wait_for_selector("body[data-pictures='5']")
    assert captions(page)[1] == "cup of tea"

    page.get_by_role("button", name="Write captions for me").click()
    page.get_by_role("button", name="Write captions", exact=True).click()
    no_model = "BLIP is not on this computer and there is no network. Write captions by hand"
    expect(page.locator(".problem")).to_contain_text(no_model)
    fields.last.fill("a lake")
    page.wait_for_function(ALL_SENT)
    assert captions(page)[-1] == "a lake", "the editor stays usable"


def test_a_zip_with_captions_and_traps(page, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for seed, name in enumerate(("art/fox.png", "art/owl.png")):
            memory = io.BytesIO()
            scene(seed, (300, 300)).save(memory, "PNG")
            packed.writestr(name, memory.getvalue())
        packed.writestr("art/fox.txt", "a fox in the snow")
        packed.writestr("../../evil.png", b"x")
        packed.writestr("more.zip", b"PK")
    add(page, archive, count=2)
    assert captions(page) == ["a fox in the snow", "owl"]
    page.get_by_text("2 files were left out").click()
    page.wait_for_selector(".left-out li:nth-child(2)")
    refused = " ".join(page.locator(".left-out li").all_inner_texts())
    assert "leads out of the ZIP" in refused and "archive inside the ZIP" in refused
    page.get_by_role("button", name="Dismiss all").click()
    page.wait_for_selector(".left-out", state="detached")


def test_typing_goes_on_while_pictures_arrive(page, files):
    add(page, files / "red boat.png", count=1)
    field = page.locator(".cards textarea").first
    field.press("End")
    field.press_sequentially(" at sea")
    page.set_input_files("#files", [str(path) for path in five(files)[1:]])
    field.press_sequentially(" with a long mast", delay=30)
    page.wait_for_selector("body[data-pictures='5']")
    expect(field).to_have_value("red boat at sea with a long mast")
    expect(field).to_be_focused()


@pytest.mark.thorough
def test_typing_goes_on_while_cards_change(page, files):
    """Another tab takes out a card above and writes below: an answer with all cards comes while somebody types."""
    add(page, *five(files)[:4], count=4)
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(READY)
    field = page.locator("#" + page.locator(".cards textarea").nth(2).get_attribute("id"))
    field.press("Home")
    field.evaluate("field => { field.lost = 0; field.onblur = () => field.lost++; }")
    other.get_by_role("button", name="Delete picture 1").click()
    other.wait_for_selector("body[data-pictures='3']")
    other.locator(".cards textarea").last.fill("a pear, said the other tab")
    other.locator(".cards textarea").last.blur()
    other.wait_for_function(ALL_SENT)
    for words in ("by the sea", ", under clouds, ", "stands "):
        field.press_sequentially(words, delay=40)
        page.wait_for_selector("body[data-pictures='3']")
    page.wait_for_function(ALL_SENT)
    told = "by the sea, under clouds, stands a house"
    assert captions(page) == ["cup of tea", told, "a pear, said the other tab"]
    now = "[document.activeElement.value, document.activeElement.selectionStart, document.activeElement.lost]"
    assert page.evaluate(now) == [told, told.index("a house"), 0], "neither the focus nor the caret has moved"
    page.reload()
    page.wait_for_selector(READY)
    assert captions(page)[1] == told


@pytest.mark.thorough
def test_two_browsers_of_one_person(page, files, browser):
    """Tabs of one browser tell each other; these cannot."""
    add(page, *five(files)[:3], count=3)
    elsewhere = browser.new_context(storage_state=page.context.storage_state(), viewport=page.viewport_size)
    elsewhere.set_default_timeout(PATIENCE)
    other = elsewhere.new_page()
    other.goto(page.url)
    other.wait_for_selector(READY)
    page.locator(".cards textarea").nth(0).fill("a boat, said the first tab")
    page.locator(".cards textarea").nth(0).blur()
    page.wait_for_function(ALL_SENT)
    other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    other.wait_for_selector("#notice >> text=This was changed in another tab.")
    other.locator(".cards textarea").nth(0).fill("a ship, said the second")
    other.locator(".cards textarea").nth(0).blur()
    other.wait_for_selector(".rival >> text=a boat, said the first tab")
    expect(other.locator(".cards textarea").nth(0)).to_have_value("a ship, said the second")
    other.get_by_role("button", name="Use that").click()
    other.wait_for_function("document.querySelector('.cards textarea').value === 'a boat, said the first tab'")
    expect(other.get_by_role("button", name="Use that")).to_have_count(0)
    elsewhere.close()


def test_a_drop_and_hostile_names(page, files):
    name = "<img src=x onerror=document.title=1> ${1}.png"
    data = list((files / name).read_bytes())
    page.evaluate(
        """([name, data]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(data)], name, {type: 'image/png'}));
            carried.items.add(new File(['<script>document.title=2</script>'], '<b>bad.png', {type: 'image/png'}));
            document.dispatchEvent(new DragEvent('drop', {dataTransfer: carried, bubbles: true, cancelable: true}));
        }""",
        [name, data],
    )
    page.wait_for_selector("body[data-pictures='1']")
    page.get_by_text("1 file was left out").click()
    page.wait_for_selector(".left-out li")
    expect(page.locator(".left-out li")).to_contain_text("<b>bad.png")
    expect(page.locator(".cards img")).to_have_attribute("alt", f"Picture 1: {name}")
    assert page.title() == "Train · Velatura"


def test_samples_and_steps_by_keyboard(page):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("[data-sample=photograph]").scroll_into_view_if_needed()
    page.locator("[data-sample=blob]").press("Enter")
    page.wait_for_selector("body[data-pictures='12']")
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    page.wait_for_function("scrollY === 0", polling=50)  # the first pictures are in the window
    page.set_viewport_size(SIZE)
    page.get_by_label("Trigger word").fill("blob style")
    page.wait_for_function(ALL_SENT)
    page.get_by_role("link", name="Next: style").press("Enter")
    page.wait_for_selector("#step-style h1 >> visible=true")
    page.wait_for_selector("#step-style .stops")
    expect(page.locator("#step-style h1")).to_be_focused()
    assert page.url.endswith("#style")
    page.go_back()
    page.wait_for_selector("#step-pictures h1 >> visible=true")
    page.get_by_role("button", name="Start fresh").press("Enter")
    page.wait_for_selector("body[data-pictures='0']")
    page.wait_for_selector("#foot .go", state="detached")  # there is nothing to go on with
    page.locator("#foot").get_by_role("button", name="Undo").press("Enter")
    page.wait_for_selector("body[data-pictures='12']")
    expect(page.get_by_label("Trigger word")).to_have_value("blob style")


def caption(page, number, words):
    """Type a caption and leave its field."""
    field = page.get_by_label(f"Caption {number}", exact=True)
    field.fill(words)
    field.blur()


def test_what_is_said_about_the_pictures_stays_only_while_it_is_true(page, files):
    add(page, files / "red boat.png", count=1)
    page.get_by_role("button", name="Write captions for me").click()
    write, complete = page.get_by_role("button", name="Write captions", exact=True), page.get_by_text(COMPLETE)
    write.click()
    expect(complete).to_be_visible()
    caption(page, 1, "")
    expect(complete, "a caption was emptied").to_be_hidden()
    caption(page, 1, "a boat")
    page.wait_for_selector("body[data-captionless='0']")
    write.click()
    expect(complete).to_be_visible()
    add(page, files / "IMG_0001.jpg", count=2)
    expect(complete, "a picture without one came in").to_be_hidden()
    caption(page, 2, "a pond")
    page.wait_for_selector("body[data-captionless='0']")
    write.click()
    expect(complete).to_be_visible()
    page.get_by_role("button", name="Find and replace").click()
    page.get_by_label("Find", exact=True).fill("boat")
    expect(page.get_by_text("1 caption changes")).to_be_visible()
    page.get_by_role("button", name="Start fresh").click()
    page.wait_for_selector("body[data-pictures='0']")
    page.set_input_files("#files", {"name": "notes.png", "mimeType": "image/png", "buffer": b"linoleum, ink"})
    none_came = page.get_by_text("No picture came in. The reasons stand below.")
    expect(none_came).to_be_visible()
    expect(page.get_by_text("This file holds text, not an image.")).to_be_visible()
    add(page, files / "IMG_0001.jpg", count=1)
    expect(none_came).to_have_count(0)
    page.get_by_role("button", name="Write captions for me").click()
    expect(write).to_be_visible()
    expect(complete).to_be_hidden()
    page.get_by_role("button", name="Find and replace").click()
    expect(page.get_by_label("Find", exact=True)).to_have_value("")
    expect(page.get_by_text("1 caption changes")).to_be_hidden()


def test_nothing_reaches_beyond_the_right_edge(page, studio, files):
    expect_layout(page)
    add(page, *five(files), files / "notes.png", files / "<img src=x onerror=document.title=1> ${1}.png", count=6)
    last = page.locator(".cards > li").last
    last.scroll_into_view_if_needed()
    cards, card = page.locator(".cards").bounding_box(), last.bounding_box()
    assert cards["y"] + cards["height"] >= card["y"] + card["height"], "the page scrolls as far as the last picture"
    page.get_by_role("button", name="Find and replace").click()
    page.get_by_label("Find", exact=True).fill("e")
    page.wait_for_selector(".preview li")
    expect_layout(page)
    page.goto(f"{studio.url}playground")
    page.wait_for_selector("#pg-form .go")
    expect(page.locator(".go:visible")).to_have_text(["Train your first style"], use_inner_text=True)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a lighthouse")
    expect_layout(page)
    page.evaluate("document.body.append(document.createElement('button'))")
    assert len(nameless(page)) == 1, "the check sees what has no name"
