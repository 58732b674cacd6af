"""The three steps of Train."""

from __future__ import annotations

from collections.abc import Iterator

from tests.app.ui.screens.stage import Stage
from tests.app.ui.visitor import ALL_SENT, add, try_out

OF_KOHYA = b'{"network_module": "networks.lora", "network_dim": 4, "max_train_epochs": 2, "logging_dir": "/x"}'
"""Settings of kohya_ss: some taken, some computed, some left out."""


def pictures(stage: Stage) -> Iterator[str]:
    """Step 1."""
    page = stage.page
    stage.go_fresh()
    yield "train-empty"
    page.locator("[data-sample=photograph]").click()
    page.wait_for_selector("body[data-pictures='12']")
    stage.unfold()
    page.get_by_label("Trigger word").fill("harbour style")
    page.wait_for_function(ALL_SENT)
    stage.unfold(False)
    yield "train-pictures"
    stage.to_cards()
    yield "train-cards"
    page.get_by_role("button", name="Open picture 1", exact=True).focus()
    page.keyboard.press("Control+a")
    yield "train-selection"
    page.locator(".crops > summary").click()
    page.evaluate("scrollTo(0, 0)")  # where no caption is almost hidden behind the menu
    yield "train-selection-crop"
    page.locator(".crops > summary").click()
    page.keyboard.press("Escape")
    words = page.get_by_role("button", name="Words", exact=True)
    if not page.locator("#wall-words").is_visible():
        words.click()
    page.get_by_label("Filter by words or file name").fill("zebra")
    page.locator("#wall-words").wait_for()
    yield "train-none-found"
    page.get_by_label("Filter by words or file name").fill("")
    words.click()
    yield from editor(stage)
    page.evaluate("scrollTo(0, 0)")
    stage.unfold()
    page.get_by_role("button", name="Find and replace").click()
    page.get_by_label("Find", exact=True).fill("s")
    page.wait_for_selector(".preview li")
    yield "train-find"
    page.get_by_role("button", name="Write captions for me").click()
    page.locator("#write-panel").get_by_text("All of them").click()
    stage.press("Write captions")
    page.wait_for_selector(".problem")
    page.locator(".wall-bar").evaluate("bar => bar.scrollIntoView({block: 'center'})")  # out from under the bottom bar
    yield "train-write"


def editor(stage: Stage) -> Iterator[str]:
    """One picture over the whole window."""
    page = stage.page
    page.get_by_role("button", name="Open picture 2", exact=True).press("Enter")
    page.wait_for_selector(".bench img[src*=large]")
    yield "train-editor"
    stage.press("Crop")
    for _ in range(3):
        page.get_by_role("button", name="Left edge").press("Shift+ArrowRight")
    yield "train-editor-crop"
    stage.press("Mask")
    canvas = page.get_by_label("Mask. Arrow keys")
    for key in ("Space", "Shift+ArrowRight", "Space", "Shift+ArrowDown", "Space"):
        canvas.press(key)
    page.get_by_role("status").filter(has_text="Saved").wait_for()
    yield "train-editor-mask"
    page.keyboard.press("Escape")


def style_and_start(stage: Stage) -> Iterator[str]:
    """Steps 2 and 3."""
    page = stage.page
    page.get_by_role("link", name="Next: style").click()
    page.wait_for_selector("#step-style .stops")
    yield "train-program"
    page.get_by_role("radio", name="ComfyUI").press("Space")
    page.get_by_text("Choose a base model for ComfyUI").wait_for()
    yield "train-base"
    try_out(page)
    yield "train-style"
    page.locator("#own-presets > summary").click()
    page.get_by_label("Name of the preset").fill("Evening light")
    page.locator(".save-preset button").click()
    page.get_by_label("More for Evening light").click()
    yield "train-presets"
    page.locator("#own-presets").get_by_role("button", name="Delete").click()
    page.get_by_label("More for Evening light").wait_for(state="detached")
    page.locator("#own-presets > summary").click()
    page.locator("#advanced > summary").click()
    page.wait_for_selector("#advanced .methods")
    yield "train-advanced"
    page.locator("[data-key=beside] > summary").click()
    page.get_by_label("A new word").check()
    page.wait_for_selector("#beside-textual-inversion-words")
    page.locator("[data-key=beside] > summary").scroll_into_view_if_needed()
    yield "train-beside"
    page.get_by_label("A new word").uncheck()
    page.wait_for_selector("#beside-textual-inversion-words", state="detached")
    page.locator("[data-key=beside] > summary").click()
    page.locator(".settings > summary").click()
    page.wait_for_selector(".setting", state="attached")
    page.get_by_label("Search settings").fill("rate")
    page.get_by_label("Learning rate train.learning_rate", exact=True).fill("0")
    page.keyboard.press("Enter")
    page.wait_for_selector(".setting .problem")
    yield "train-settings"
    stage.press("Back to preset")
    page.wait_for_selector(".setting .problem", state="detached")
    page.set_input_files("#settings-file", {"name": "k.json", "mimeType": "application/json", "buffer": OF_KOHYA})
    page.wait_for_selector(".report")
    page.locator(".report").scroll_into_view_if_needed()
    yield "train-import"
    stage.press("Discard")
    page.wait_for_selector(".report", state="detached")
    page.get_by_role("link", name="Next: start").click()
    page.wait_for_selector("#step-start .summary")
    yield "train-start"
    page.get_by_label("Name of the style").fill("a/b")
    page.locator("#name-said").wait_for()
    page.get_by_text("Try several methods").click()
    page.locator(".several").scroll_into_view_if_needed()
    yield "train-several"


def findings(stage: Stage) -> Iterator[str]:
    """What is said of pictures with a fault, and of files that are none."""
    page = stage.page
    stage.go_fresh()
    add(page, *stage.files, count=7)
    page.wait_for_selector(".left-out")
    yield "train-findings"
    stage.to_cards()
    yield "train-findings-cards"


def screens(stage: Stage) -> Iterator[str]:
    """All of it."""
    for part in (pictures, style_and_start, findings):
        yield from part(stage)
