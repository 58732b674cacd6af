"""The wall of pictures in a real browser: the editor, many selected at once, a thousand of them."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.app.ui.server import Process
from tests.app.ui.visitor import ALL_SENT, READY, add, nameless, widest
from tests.trainers.data.pictures import scene

NAMES = ("a boat.png", "a house.png", "IMG_0003.png", "a pear.png", "an owl.png")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    for seed, name in enumerate(NAMES):
        scene(seed, (320, 240)).save(folder / name)
    return [folder / name for name in NAMES]


def draft_of(page: Any, studio: Process) -> dict[str, Any]:
    """What the server has of the page's draft."""
    folder = studio.out / ".studio" / "drafts" / page.evaluate("document.body.dataset.draft")
    return json.loads((folder / "draft.json").read_text(encoding="utf-8")) | {"folder": folder}


def expect_captions(page: Any, *captions: str) -> None:
    """These stand in the caption fields, in this order."""
    expect(page.locator(".cards textarea")).to_have_count(len(captions))
    for number, words in enumerate(captions):
        expect(page.locator(".cards textarea").nth(number)).to_have_value(words)


def drag(page: Any, part: Locator, *to: tuple[float, float]) -> None:
    """Press in the middle of a part and drag to places, as shares of the picture in the editor."""
    box, start = page.locator(".bench .canvas-frame").bounding_box(), part.bounding_box()
    page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    for x, y in to:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()


@pytest.mark.thorough
def test_another_tab_shows_what_was_changed(page: Any, studio: Process, files: list[Path]) -> None:
    add(page, *files[:2], count=2)
    other = page.context.new_page()
    other.goto(page.url)
    expect_captions(other, "a boat", "a house")
    typing = other.locator(".cards textarea").nth(1)
    typing.fill("typed here")
    page.locator(".cards textarea").first.fill("a boat at dusk")
    page.get_by_label("Trigger word").fill("dusk style")
    page.wait_for_function(ALL_SENT)
    for field in (typing, page.get_by_label("Trigger word")):
        field.blur()
    expect_captions(other, "a boat at dusk", "typed here")
    expect(other.get_by_label("Trigger word")).to_have_value("dusk style")
    expect_captions(page, "a boat at dusk", "typed here")
    other.close()


def test_a_step_shares_its_edges(page: Any, files: list[Path]) -> None:
    """The bar, the heading, the table, the words and the foot; on a phone pictures are in the first window."""
    add(page, *files, count=5)

    def edges(*selectors: str) -> tuple[set[int], set[int]]:
        boxes = [page.locator(selector).first.bounding_box() for selector in selectors]
        return {round(box["x"]) for box in boxes}, {round(box["x"] + box["width"]) for box in boxes}

    words, table = page.get_by_role("region", name="Words"), ".cards"
    for size in ((1440, 900), (1920, 1080), (768, 1024)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        last = "#wall-words" if size[0] > 1200 else table
        expect(words).to_be_visible(visible=last != table)
        starts, _ = edges(".brand", "#step-pictures h1", "#trigger-word", ".pick-all", table, "#foot .count")
        _, ends = edges("#zone .zone", "#tools", ".wall-bar .size", last, "#foot .go")
        assert len(starts) == len(ends) == 1 and starts.pop() == size[0] - ends.pop(), size
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_label("Trigger word")).to_be_hidden()
    picture, foot = (page.locator(part).first.bounding_box() for part in (".cards li", "#foot .foot"))
    assert foot["y"] - picture["y"] > 300
    page.get_by_text("Tools and hints").click()
    expect(page.get_by_label("Trigger word")).to_be_visible()
    expect(page.get_by_text("1 picture has no caption.")).to_be_visible()
    expect(page.get_by_text("Select all")).to_be_visible()
    expect(page.get_by_text("Size", exact=True)).to_be_visible()


def test_a_picture_is_edited_large(page: Any, studio: Process, files: list[Path]) -> None:
    add(page, *files, count=5)
    page.get_by_role("button", name="Open picture 2").click()
    editor = page.get_by_role("dialog")
    expect(editor.get_by_role("heading")).to_have_text("2 of 5")
    expect(editor.get_by_text("a house.png")).to_be_visible()
    expect(editor.get_by_role("img", name="Picture 2: a house.png")).to_have_attribute("src", re.compile("-large"))
    editor.get_by_label("Caption").fill("a house on a hill")
    editor.get_by_role("button", name="Next picture").click()
    expect(editor.get_by_text("No caption. Describe what the picture shows.")).to_be_visible()
    editor.get_by_role("button", name="Next picture").press("ArrowLeft")
    expect(editor.get_by_label("Caption")).to_have_value("a house on a hill")

    editor.get_by_role("button", name="Crop").click()
    assert nameless(page) == [] and widest(page) == []
    drag(page, editor.get_by_label("Crop frame"), (0, 0))  # no frame yet: dragging draws one
    expect(editor.get_by_text("160 × 120 of 320 × 240 pixels")).to_be_visible()
    editor.get_by_role("button", name="Undo").click()
    drag(page, editor.get_by_role("button", name="Bottom right corner"), (0.5, 0.75))
    expect(editor.get_by_text("160 × 180 of 320 × 240 pixels")).to_be_visible()
    expect(editor.get_by_role("status")).to_have_text("Saved")
    crops: list[str] = []
    page.on("request", lambda sent: crops.append("asked") if '"crop"' in (sent.post_data or "") else None)
    page.on("response", lambda got: crops.append("answered") if '"crop"' in (got.request.post_data or "") else None)
    editor.get_by_role("button", name="Left edge").focus()
    for key in ("Shift+ArrowRight", "Shift+ArrowLeft", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(editor.get_by_text("128 × 180 of 320 × 240 pixels")).to_be_visible()
    editor.get_by_role("button", name="Undo").click()
    expect(editor.get_by_text("160 × 180 of 320 × 240 pixels")).to_be_visible()
    expect(editor.get_by_role("status")).to_have_text("Saved")
    assert crops == ["asked", "answered"] * (len(crops) // 2), "none overtakes another"

    editor.get_by_role("button", name="Mask").click()
    canvas = editor.get_by_label(re.compile("^Mask. Arrow keys"))
    drag(page, canvas, (0.9, 0.5), (0.9, 0.9))
    expect(editor.get_by_role("status")).to_have_text("Saved")
    page.keyboard.press("Escape")
    expect(editor).to_be_hidden()
    expect(page.get_by_role("button", name="Open picture 2")).to_be_focused()

    draft = draft_of(page, studio)
    house = next(one for one in draft["pictures"] if one["name"] == "a house.png")
    assert house["caption"] == "a house on a hill" and house["crop"] == pytest.approx([0, 0, 0.5, 0.75], abs=0.01)
    with Image.open(draft["folder"] / "masks" / f"{house['id']}-{house['mask']}.png") as mask:
        assert mask.getpixel((288, 160)) == 0 and mask.getpixel((20, 20)) == 255, "black where it was painted"
    page.reload()
    page.wait_for_selector(READY)
    page.locator("#foot").get_by_role("button", name="Undo").click()
    page.wait_for_selector("#foot >> text=A crop was changed.")
    page.get_by_role("button", name="Open picture 2").click()
    editor.get_by_role("button", name="Crop").click()
    expect(editor.get_by_text("160 × 180 of 320 × 240 pixels")).to_be_visible()
    editor.get_by_role("button", name="Delete picture").dblclick()  # one is deleted, not the next one, too
    expect(editor.get_by_role("heading")).to_have_text("2 of 4")
    expect(editor.get_by_text("IMG_0003.png")).to_be_visible()
    editor.get_by_role("button", name="Undo").click()
    expect(editor.get_by_role("heading")).to_have_text("2 of 5")
    expect(editor.get_by_text("a house.png")).to_be_visible()


def test_a_mask_is_painted_with_the_keyboard_and_never_all_black(page: Any, studio: Process, files: list[Path]) -> None:
    add(page, files[0], count=1)
    page.get_by_role("button", name="Open picture 1").press("Enter")
    editor = page.get_by_role("dialog")
    editor.get_by_role("button", name="Mask").press("Enter")
    editor.get_by_role("button", name="Invert").press("Enter")
    expect(editor.get_by_role("status")).to_have_text("Not saved: nothing of the picture would be left to learn.")
    canvas = editor.get_by_label(re.compile("^Mask. Arrow keys"))
    canvas.press("x")
    expect(editor.get_by_role("button", name="Learn")).to_have_attribute("aria-pressed", "true")
    canvas.press("Space")
    expect(editor.get_by_role("status")).to_have_text("Saved")
    (boat,) = draft_of(page, studio)["pictures"]
    with Image.open(draft_of(page, studio)["folder"] / "masks" / f"{boat['id']}-{boat['mask']}.png") as mask:
        assert mask.getpixel((160, 120)) == 255 and mask.getpixel((5, 5)) == 0
    editor.get_by_role("button", name="Clear the mask").press("Enter")
    expect(editor.get_by_role("status")).to_have_text("Saved")
    assert draft_of(page, studio)["pictures"][0]["mask"] == ""


def test_a_frame_keeps_its_ratio_and_turns_with_the_picture(page: Any, studio: Process, files: list[Path]) -> None:
    add(page, files[0], count=1)
    page.get_by_role("button", name="Open picture 1").click()
    editor = page.get_by_role("dialog")
    editor.get_by_role("button", name="Crop").click()
    editor.get_by_role("button", name="1:1").click()
    expect(editor.get_by_text("240 × 240 of 320 × 240 pixels")).to_be_visible()
    drag(page, editor.get_by_role("button", name="Bottom right corner"), (0.5, 0.9))
    square = editor.get_by_text(re.compile(r"^(1\d\d) × \1 of 320 × 240 pixels"))
    expect(square).to_be_visible()
    before = square.inner_text()
    editor.get_by_role("button", name="Top edge").press("Shift+ArrowDown")
    expect(editor.get_by_text(before)).to_have_count(0)
    expect(square).to_be_visible()
    editor.get_by_role("button", name="Undo").click()
    expect(editor.get_by_text(before)).to_be_visible()
    editor.get_by_role("button", name="4:3").click()
    wide = editor.get_by_text(re.compile(r" of 320 × 240 pixels")).inner_text().split(" of ")[0]
    editor.get_by_role("button", name="Rotate right").click()
    high = " × ".join(reversed(wide.split(" × ")))
    expect(editor.get_by_text(f"{high} of 240 × 320 pixels")).to_be_visible()
    expect(editor.get_by_role("button", name="3:4")).to_have_attribute("aria-pressed", "true")
    editor.get_by_role("button", name="Use the whole picture").click()
    expect(editor.get_by_text("240 × 320 pixels", exact=True)).to_be_visible()

    editor.get_by_role("button", name="Mask").click()
    drag(page, editor.get_by_label(re.compile("^Mask. Arrow keys")), (0.5, 0.1), (0.9, 0.1))
    expect(editor.get_by_role("status")).to_have_text("Saved")
    draft = draft_of(page, studio)
    (boat,) = draft["pictures"]
    assert (boat["crop"], boat["rotation"], boat["size"]) == (None, 90, [240, 320])
    with Image.open(draft["folder"] / "masks" / f"{boat['id']}-{boat['mask']}.png") as mask:
        assert mask.size == (320, 240), "as the picture is stored"
        assert mask.getpixel((32, 24)) == 0 and mask.getpixel((32, 216)) == 255 == mask.getpixel((288, 24))
    page.keyboard.press("Escape")
    page.reload()
    page.wait_for_selector(READY)
    box = page.get_by_role("img", name="Picture 1").bounding_box()
    assert box["height"] > 1.2 * box["width"]


def test_many_are_turned_and_cropped_at_once(page: Any, studio: Process, files: list[Path]) -> None:
    add(page, *files[:3], count=3)
    page.get_by_role("button", name="Open picture 1").press("Space")
    page.get_by_role("button", name="Open picture 2").click(modifiers=["Shift"])
    bar = page.get_by_role("group", name="Selected pictures")
    bar.get_by_role("button", name="Rotate left").click()
    page.wait_for_selector("#foot >> text=2 pictures were rotated.")
    bar.get_by_text("Crop", exact=True).click()
    bar.get_by_role("button", name="2:3").click()
    page.wait_for_selector("#foot >> text=2 crops were changed.")

    def regions() -> list[tuple[Any, int]]:
        return [(one["crop"], one["rotation"]) for one in draft_of(page, studio)["pictures"]]

    crop = [pytest.approx(value, abs=1e-5) for value in (1 / 18, 0, 8 / 9, 1)]
    assert regions() == [(crop, 270), (crop, 270), (None, 0)]
    page.get_by_role("combobox", name="Show").select_option("Cropped, rotated or masked")
    expect(page.get_by_text("2 of 3 shown")).to_be_visible()
    bar.get_by_text("Crop", exact=True).click()
    bar.get_by_role("button", name="2:3").click()
    expect(page.get_by_text("Nothing to change: these pictures have this crop already.")).to_be_visible()
    bar.get_by_text("Crop", exact=True).click()
    page.keyboard.press("Escape")
    expect(bar.get_by_role("button", name="Whole pictures")).to_be_hidden()
    expect(bar.get_by_text("2 selected")).to_be_visible()
    page.keyboard.press("Enter")
    bar.get_by_role("button", name="Whole pictures").click()
    page.wait_for_function("!document.querySelector('.cards .frame:not([hidden])')")
    page.locator("#foot").get_by_role("button", name="Undo").click()
    expect(page.locator(".cards .frame").first).to_be_visible()
    assert regions()[:2] == [(crop, 270)] * 2


def test_many_are_selected_and_changed_at_once(page: Any, files: list[Path], tmp_path: Path) -> None:
    add(page, *files, count=5)
    page.get_by_role("button", name="Open picture 1").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Open picture 4").click(modifiers=["Shift"])
    bar = page.get_by_role("group", name="Selected pictures")
    expect(bar.get_by_text("4 selected")).to_be_visible()
    page.get_by_role("button", name="Open picture 3").click(modifiers=["Control"])
    expect(bar.get_by_text("3 selected")).to_be_visible()
    bar.get_by_label("Words").fill("dusk")
    bar.get_by_role("button", name="Add before").click()
    page.wait_for_selector("#foot >> text=3 captions changed.")
    expect_captions(page, "dusk, a boat", "dusk, a house", "", "dusk, a pear", "an owl")
    bar.get_by_role("button", name="Add after").click()
    expect(page.get_by_text("Nothing to change: “dusk” is in these captions already.")).to_be_visible()
    bar.get_by_label("Words").fill("a")
    bar.get_by_role("button", name="Remove").click()
    page.wait_for_function("document.querySelector('.cards textarea').value === 'dusk, boat'")
    bar.get_by_role("button", name="Replace …").click()
    panel = page.get_by_role("form", name="Find and replace")
    expect(panel.get_by_text("Only for the 3 selected pictures.")).to_be_visible()
    page.get_by_label("Find", exact=True).fill("night")
    page.get_by_role("button", name="Replace", exact=True).click()
    expect(panel.get_by_text("Nothing to change: no caption contains “night”.")).to_be_visible()
    page.get_by_label("Find", exact=True).fill("dusk")
    page.get_by_label("Replace with").fill("dawn")
    page.get_by_role("button", name="Replace", exact=True).click()
    page.wait_for_selector(".preview >> text=3 captions changed.")
    expect_captions(page, "dawn, boat", "dawn, house", "", "dawn, pear", "an owl")
    bar.get_by_role("button", name="Delete").click()
    page.wait_for_selector("body[data-pictures='2']")
    expect(bar).to_be_hidden()
    page.locator("#foot").get_by_role("button", name="Undo").click()
    page.wait_for_selector("body[data-pictures='5']")
    expect(page.locator(".cards textarea").first).to_have_value("dawn, boat")

    # What is filtered is what "select all" selects.
    page.get_by_role("region", name="Words").get_by_role("button", name="dawn 3").click()
    expect(page.get_by_text("3 of 5 shown")).to_be_visible()
    page.keyboard.press("Control+a")
    expect(bar.get_by_text("3 selected")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("region", name="Words").get_by_role("button", name="dawn 3").click()
    page.get_by_role("searchbox", name="Filter by words or file name").fill("img_")
    expect(page.get_by_role("listitem").filter(has_text="IMG_0003.png")).to_have_count(1)
    expect(page.locator(".cards > li")).to_have_count(1)
    page.get_by_role("searchbox", name="Filter by words or file name").fill("")
    page.get_by_role("button", name="Show: 1 picture has no caption.").click()
    expect(page.get_by_text("1 of 5 shown")).to_be_visible()
    expect(page.get_by_role("combobox", name="Show")).to_have_value("no caption")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Download captions").click()
    saving.value.save_as(tmp_path / "captions.zip")
    with zipfile.ZipFile(tmp_path / "captions.zip") as packed:
        assert packed.read("a boat.txt") == b"dawn, boat\n" and len(packed.namelist()) == 5


@pytest.mark.thorough
def test_what_is_typed_for_a_picture_that_another_tab_deletes_comes_back_with_it(page: Any, files: list[Path]) -> None:
    add(page, *files[:2], count=2)
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(READY)
    page.get_by_label("Caption 1", exact=True).focus()
    other.get_by_role("button", name="Delete picture 1").click()
    other.wait_for_selector("body[data-pictures='1']")
    page.keyboard.press("End")
    page.keyboard.type(" at dusk")
    expect(page.get_by_text("was deleted in another tab while you typed: “a boat at dusk")).to_be_visible()
    page.locator("#foot").get_by_role("button", name="Undo").click()
    page.wait_for_selector("body[data-pictures='2']")
    page.wait_for_function(ALL_SENT)
    page.reload()
    page.wait_for_selector(READY)
    expect(page.locator(".cards textarea").first).to_have_value("a boat at dusk")


@pytest.mark.thorough
def test_only_what_is_near_the_window_is_in_the_page(page: Any, studio: Process, files: list[Path]) -> None:
    """The draft of a visitor, made large on the server: its pictures are one file under many names."""
    add(page, files[0], count=1)
    draft = draft_of(page, studio)
    folder = draft.pop("folder")
    boat = draft["pictures"][0]
    count = 600
    many = [boat | {"id": f"{k:016x}", "name": f"{k:04d}.png", "caption": f"number {k}"} for k in range(count)]
    public = studio.out / ".studio" / "public" / draft["public"]
    for one in many:
        (folder / "pictures" / f"{one['id']}.png").hardlink_to(folder / "pictures" / f"{boat['id']}.png")
        (folder / "measures" / f"{one['id']}.json").hardlink_to(folder / "measures" / f"{boat['id']}.json")
        (public / f"{one['id']}.webp").hardlink_to(public / f"{boat['id']}.webp")
    (folder / "draft.json").write_text(json.dumps(draft | {"pictures": many}), encoding="utf-8")
    page.reload()
    page.wait_for_selector(f"body[data-pictures='{count}']")
    assert 5 < page.locator(".cards > li").count() < 80
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.get_by_role("textbox", name=f"Caption {count}", exact=True)
    last.fill("the last of all")
    page.wait_for_function(ALL_SENT)
    page.evaluate("scrollTo(0, 0)")
    expect(page.get_by_role("textbox", name="Caption 1", exact=True)).to_have_value("number 0")
    expect(last, "it stays in the page").to_be_focused()
    assert page.locator(".cards > li").count() < 80
    page.get_by_role("textbox", name="Caption 1", exact=True).focus()
    for _ in range(40):
        page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Caption 41", exact=True)).to_be_focused()
    expect(page.get_by_role("textbox", name="Caption 41", exact=True)).to_be_in_viewport()
    page.get_by_role("searchbox", name="Filter by words or file name").fill("the last")
    expect(page.get_by_text(f"1 of {count} shown")).to_be_visible()
    page.get_by_role("button", name=f"Open picture {count}").click()
    expect(page.get_by_role("dialog").get_by_label("Caption")).to_have_value("the last of all")


def test_lines_of_a_text_file_become_alternatives_and_pictures_a_group_with_settings(
    page: Any, studio: Process, files: list[Path], tmp_path: Path
) -> None:
    scene(7, (320, 240)).save(tmp_path / "fox.png")
    (tmp_path / "fox.txt").write_text("a fox\nan animal in snow\n")
    add(page, tmp_path / "fox.png", tmp_path / "fox.txt", files[0], count=2)
    question = page.get_by_text("1 caption has several lines")
    expect(question).to_be_visible()
    captions = {picture["caption"] for picture in draft_of(page, studio)["pictures"]}
    assert captions == {"a fox an animal in snow", "a boat"}
    page.get_by_role("button", name="Each line is an alternative").click()
    expect(question).to_have_count(0)
    fox = next(p for p in draft_of(page, studio)["pictures"] if p["name"] == "fox.png")
    assert fox["caption"] == "{a fox|an animal in snow}"
    page.locator(".cards input[type=checkbox]").first.check()
    page.get_by_role("textbox", name="Words", exact=True).fill("ink")
    page.get_by_role("button", name="Group", exact=True).click()
    group = page.locator("#overview summary").filter(has_text="ink: 1 picture")
    expect(group).to_contain_text("settings as for all pictures")
    assert sum(p["name"].startswith("ink/") for p in draft_of(page, studio)["pictures"]) == 1
    group.click()
    weight, flip = page.get_by_label("Weight data.sets.ink.weight"), page.get_by_label("Flip data.sets.ink.flip")
    expect(weight).to_have_attribute("placeholder", "1")
    expect(flip).to_have_value("")
    weight.fill("many")
    weight.press("Enter")
    flip.select_option("Off")
    expect(page.get_by_text("Weight must be a number above 0, up to 100; you wrote many.")).to_be_visible()
    weight.fill("2")
    weight.press("Enter")
    expect(group).to_contain_text("Weight: 2, Flip: Off")
    sets = draft_of(page, studio)["choices"]["settings"]["data.sets"]
    assert sets == {"ink": {"weight": 2.0, "flip": False}}
    page.get_by_role("link", name="2 Style").click()
    page.get_by_role("link", name="1 Pictures").click()
    page.reload()
    expect(group).to_contain_text("Weight: 2, Flip: Off")
    group.click()
    flip.select_option("as for all pictures")
    expect(group).to_contain_text("Weight: 2")
    expect(group).not_to_contain_text("Flip")
