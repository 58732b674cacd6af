"""The second and third step of Train in a real browser: choose, start, and find the run again."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.app.ui.server import MEASURED, Process
from tests.app.ui.visitor import ALL_SENT, READY, Tab, add, open_tab, widest
from tests.trainers.data.pictures import scene
from trainers.config.build import as_table, read_config
from trainers.config.config import Config

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A studio of its own, in which something is trained."""
    process = Process(tmp_path_factory.mktemp("training") / "outputs", before=MEASURED)
    yield process
    process.close()


@pytest.fixture(scope="module")
def tab(browser: object, training: Process) -> Iterator[Tab]:
    with open_tab(browser, training.url) as opened:
        yield opened


@pytest.fixture
def pictures(tab: Tab, tmp_path: Path) -> Iterator[object]:
    """A visitor with two pictures, at the first step."""
    for seed, name in enumerate(("a boat.png", "a house.png")):
        scene(seed, (160, 160)).save(tmp_path / name)
    with tab.visit() as opened:
        opened.goto(tab.url)
        opened.wait_for_selector(READY)
        add(opened, tmp_path / "a boat.png", tmp_path / "a house.png", count=2)
        opened.get_by_label("Trigger word").fill("dusk style")
        opened.wait_for_function(ALL_SENT)
        yield opened


@pytest.fixture
def page(pictures) -> object:
    """That visitor at the second step."""
    pictures.get_by_role("link", name="Next: style").click()
    pictures.wait_for_selector("#style-choices .stops")
    choose(pictures, "program", "try")
    return pictures


def choose(page, name: str, value: str) -> None:
    page.locator(f"input[name={name}][value={value}]").press("Space")
    page.wait_for_selector(f"input[name={name}][value={value}][checked]", state="attached")


PASTE = """text => {
  const clipboardData = new DataTransfer();
  clipboardData.setData('text/plain', text);
  document.activeElement.dispatchEvent(new ClipboardEvent('paste', {bubbles: true, cancelable: true, clipboardData}));
}"""


DROP = """files => {
  const dataTransfer = new DataTransfer();
  for (const [name, text] of Object.entries(files)) dataTransfer.items.add(new File([text], name));
  document.dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true}));
}"""


def put(page, key: str, text: str) -> None:
    """Write into one of all settings."""
    field = page.locator(f"[data-setting='{key}']")
    field.fill(text)
    field.blur()


def open_advanced(page) -> None:
    page.wait_for_selector("#advanced")
    if not page.locator("#advanced[open]").count():
        page.locator("#advanced > summary").click()
        page.wait_for_selector("#advanced .methods")


def open_settings(page) -> None:
    open_advanced(page)
    page.locator(".settings > summary").click()
    page.wait_for_selector(".setting", state="attached")


def go_to_style(page) -> None:
    """The way on stays where it is while the step fills: else a press on it may end on what has pushed it away."""
    held = []
    page.route("**/gradio_api/run/**", lambda route: held.append(route))
    page.get_by_role("link", name="Next: style").click()
    way_on = page.get_by_role("link", name="Next: start")
    expect(way_on).to_be_visible()
    empty = way_on.bounding_box()
    assert not page.locator("#style-choices .stops").count()
    page.unroute("**/gradio_api/run/**")  # which lets the held ones go
    page.wait_for_selector("#style-choices .stops")
    assert way_on.bounding_box() == empty


def test_a_style_from_pictures_to_a_run(pictures, training):
    page = pictures
    go_to_style(page)
    page.get_by_role("link", name="Next: start").click()
    expect(page.locator("#start-foot").get_by_role("link", name="Choose a base model")).to_be_visible()
    expect(page.get_by_role("button", name="Start training")).to_have_count(0)
    page.get_by_role("link", name="Choose a base model").click()
    choose(page, "program", "try")
    choose(page, "preset", "quick")
    page.get_by_role("radio", name="Quick").press("ArrowRight")
    page.wait_for_selector("input[value=balanced][checked]", state="attached")
    page.get_by_role("radio", name="Balanced").press("ArrowLeft")
    page.wait_for_selector("input[value=quick][checked]", state="attached")
    assert page.locator(".methods").count() == 0, "Advanced is closed at first"
    open_advanced(page)
    choose(page, "method", "ia3")  # the quickest to train
    page.wait_for_selector(".method-detail >> text=IA³")
    page.get_by_text("A style made on it opens only in Velatura.").first.wait_for()
    open_settings(page)
    page.get_by_label("Search settings").fill("steps")
    put(page, "train.steps", "1")
    put(page, "sample.steps", "1")
    page.get_by_label("Search settings").fill("data.resolution")
    put(page, "data.resolution", "64")
    page.wait_for_selector(".settings > summary >> text=3 changed")
    assert widest(page) == []
    page.get_by_role("link", name="Next: start").click()
    said = "2 pictures · a style · Quick · IA³ · Velatura starter · “dusk style” is not read"
    expect(page.locator("#start-sheet .summary")).to_have_text(said, use_inner_text=True)
    expect(page.locator(".go:visible")).to_have_count(1)
    assert widest(page) == []
    expect(page.get_by_label("Name of the style")).to_have_value("Dusk style")
    page.wait_for_selector("#start-sheet >> text=Measured on this computer.", timeout=180_000)
    expect(page.locator("#start-sheet .changed dd")).to_have_text(["64", "1", "1"])
    time, memory, file = page.locator("#start-sheet .estimate dd").all_inner_texts()
    assert time.endswith((" s", " min")) and memory.endswith("B") and file.endswith(("kB", "MB"))

    page.get_by_label("Name of the style").fill("../Häuser?")
    page.wait_for_selector("#name-said >> text=It will be called Häuser")
    prompts = page.locator("#prompts")
    expect(prompts, "those of new subjects").to_have_value(re.compile("^dusk style, a penguin"))
    page.get_by_role("button", name="From my captions").click()
    expect(prompts).to_have_value(re.compile("^dusk style, a boat"))
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/run?id=H%C3%A4user")
    page.wait_for_selector("h1 >> text=Häuser")
    config = read_config(training.out / "Häuser" / "config.toml")
    assert (config.name, config.method.name, config.train.steps, config.data.trigger) == (
        "Häuser",
        "ia3",
        1,
        "dusk style",
    )
    assert config.sample.prompts == ("dusk style, a boat", "dusk style, a house")
    assert len(list((training.out / "Häuser" / "dataset").glob("*.png"))) == 2
    page.wait_for_selector("text=Finished", timeout=180_000)
    assert (training.out / "Häuser" / "style" / "Häuser.safetensors").is_file()
    assert not list((training.out / ".studio").glob("start-*"))

    # The same again is measured already, and gets another name.
    page.goto(training.url + "#start")
    expect(page.locator("#start-foot").get_by_role("link", name="Open the run")).to_be_visible()
    expect(page.locator("#start-foot .go")).to_have_count(1)
    expect(page.get_by_role("button", name="Start the same again")).to_be_enabled()
    page.get_by_role("button", name="Suggest new subjects").click()  # as many as it measured at first
    expect(prompts).to_have_value(re.compile("^dusk style, a penguin"))
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    page.wait_for_selector("#notice >> text=These pictures are in the run “Häuser”.", state="attached")
    page.wait_for_selector("#start-sheet >> text=Measured before, with the same settings.")
    page.wait_for_selector("#name-said >> text=“Häuser” already exists; this one becomes “Häuser 2”.")

    # One measurement gives the times of all three stops.
    page.get_by_role("link", name="Back").locator("visible=true").click()
    page.wait_for_selector(".pace >> text=Times")
    expect(page.locator(".stop em")).to_have_count(3)
    expect(page.locator(".stop em").last).to_have_text(re.compile(r"^about .+ \(estimate\)$"))


def test_settings_are_checked_and_go_out_and_come_in(page, tmp_path):
    open_settings(page)
    page.get_by_label("Search settings").fill("dim")
    expect(page.locator(".setting:visible code").first).to_have_text("method.rank")
    put(page, "method.rank", "0")
    page.wait_for_selector(".setting .problem >> text=Rank must be a whole number from 1 to 1,024; you wrote 0.")
    page.wait_for_selector(".settings > summary >> text=1 setting to fix before it can start")
    page.get_by_role("link", name="Next: start").click()
    page.wait_for_selector("#start-sheet >> text=1 setting under All settings to fix first.")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_selector("#start-foot .problem >> text=Rank must be a whole number")
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    page.go_back()
    page.wait_for_selector("[data-setting='method.rank']")  # the fold is open still, and so are its fields there
    page.reload()
    open_settings(page)
    expect(page.locator("[data-setting='method.rank']"), "what was typed is kept").to_have_value("0")
    page.get_by_role("button", name="Back to preset").click()
    page.wait_for_selector(".setting .problem", state="detached")
    expect(page.locator("[data-setting='method.rank']")).to_have_value("16")
    page.get_by_label("Search settings").fill("no such thing")
    expect(page.locator(".none-found")).to_be_visible()
    expect(page.locator(".setting:visible")).to_have_count(0)

    # Settings go out and come in.
    choose(page, "aim", "subject")
    page.wait_for_selector("text=A subject keeps its left and right")
    choose(page, "method", "lokr")
    shown = page.locator(".setting").evaluate_all("all => all.map(one => one.dataset.key)")
    assert len(shown) == len(set(shown)) and {"name", "data.images", "loss.min_snr_gamma", "method.factor"} <= set(
        shown
    )
    assert {key.partition(".")[0] for key in shown} == set(Config.model_fields)
    page.get_by_label("Search settings").fill("factor")
    put(page, "method.factor", "4")
    page.wait_for_selector("[data-key='method.factor'] .dot")
    page.locator("[data-key=beside] > summary").click()
    page.get_by_label("A new word").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#beside-textual-inversion-words[value='<style>']")
    page.keyboard.press("Tab")
    page.keyboard.type("<dusk>")
    page.keyboard.press("Enter")
    page.wait_for_selector("#beside-textual-inversion-words[value='<dusk>']")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Export settings").click()
    file = tmp_path / saving.value.suggested_filename
    saving.value.save_as(file)
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    assert table["tokens"]["word"] == "<dusk>"
    expect(page.locator("[data-setting='tokens.word']")).to_have_value("<dusk>")
    assert table["method"]["factor"] == 4 and table["targets"]["text_encoder"] == "attn"
    assert as_table(Config.model_validate(table)) == table, "it is a whole config"

    choose(page, "method", "lora")
    page.get_by_label("A new word").uncheck()
    page.wait_for_selector("#beside-textual-inversion-words", state="detached")
    page.set_input_files("#settings-file", str(file))
    page.wait_for_selector(f".said >> text=Settings read from {file.name}.")
    page.wait_for_selector("input[name=method][value=lokr][checked]", state="attached")
    expect(page.locator("[data-setting='method.factor']")).to_have_value("4")
    expect(page.get_by_label("The word", exact=True)).to_have_value("<dusk>")
    file.write_text("[train]\nspeed = 3\n", encoding="utf-8")
    page.set_input_files("#settings-file", str(file))
    page.wait_for_selector(".said .problem >> text=there is no setting train.speed")


@pytest.mark.thorough
def test_presets_of_ones_own_and_another_programs_settings(page, tmp_path):
    open_settings(page)
    page.get_by_label("Search settings").fill("train.steps")
    put(page, "train.steps", "77")
    page.wait_for_selector("[data-key='train.steps'] .dot", state="attached")
    page.locator("#own-presets > summary").click()
    name, save = page.get_by_label("Name of the preset"), page.get_by_role("button", name="Save these settings")
    name.fill("balanced")
    save.click()
    page.get_by_role("alert").filter(has_text="comes with Velatura").wait_for()
    name.fill("Ink lines")
    name.press("Enter")
    page.get_by_text("“Ink lines” is saved.").wait_for()

    page.get_by_label("Search settings").focus()
    page.evaluate(PASTE, "accelerate launch train_network.py --network_dim 12 --max_train_steps 60")
    page.locator(".report").get_by_text("network_alpha").wait_for()
    page.locator(".report").get_by_role("button", name="Discard").click()
    page.locator(".report").wait_for(state="detached")

    page.evaluate(
        DROP,
        {
            "train.bat": "train_network.py --network_dim 8 --max_train_steps 40 --dataset_config d.toml",
            "d.toml": "[[datasets]]\nresolution = 96\n[[datasets.subsets]]\nimage_dir = 'C:\\fox'\n",
        },
    )
    expect(page.locator(".report").get_by_role("heading", name="Settings of kohya_ss")).to_be_focused()
    taken = page.locator(".report [data-key='taken']")
    taken.locator("summary").click()
    expect(taken.get_by_text("data.resolution = 96")).to_be_visible()
    expect(taken.get_by_text("method.rank = 8")).to_be_visible()
    page.locator(".report").get_by_role("button", name="Discard").click()
    page.locator(".report").wait_for(state="detached")

    (tmp_path / "lora.json").write_text(
        json.dumps({"LoRA_type": "LyCORIS/LoHa", "network_dim": 4, "max_train_steps": 50, "train_data_dir": "C:/x"})
    )
    page.set_input_files("#preset-file", str(tmp_path / "lora.json"))
    report = page.locator(".report")
    report.get_by_text("Settings of kohya_ss").wait_for()
    expect(report.get_by_role("heading", name="Settings of kohya_ss")).to_be_focused()
    expect(report.get_by_role("heading", name="Settings of kohya_ss")).to_be_in_viewport(ratio=1)
    report.get_by_text("1 left out without effect on the result").wait_for()
    expect(page.locator("[data-setting='train.steps']"), "nothing is changed yet").to_have_value("77")
    expect(report.get_by_role("button", name="Use these settings")).to_be_in_viewport(ratio=1)
    page.get_by_role("link", name="Next: start").click()
    expect(report.get_by_role("alert")).to_have_text("Use these settings first, or discard them.")
    expect(report.get_by_role("button", name="Use these settings")).to_be_focused()
    assert not page.url.endswith("#start")
    page.go_back()
    page.wait_for_selector("#step-pictures h1 >> visible=true")
    page.go_forward()
    expect(report.get_by_role("heading", name="Settings of kohya_ss")).to_be_visible()
    page.reload()
    open_settings(page)
    page.locator("#own-presets > summary").click()
    report.get_by_role("button", name="Use these settings").click()
    page.get_by_text("Settings read from lora.json.").wait_for()
    page.wait_for_selector("[data-setting='train.steps'][value='50']", state="attached")
    page.wait_for_selector("input[name=method][value=loha][checked]", state="attached")
    page.locator("#style-own").get_by_role("button", name="What was taken").click()
    expect(report.get_by_text("from the Velatura preset")).to_be_visible()
    expect(report.get_by_role("button", name="Use these settings")).to_have_count(0)
    report.get_by_role("button", name="Close").click()
    expect(report).to_have_count(0)

    page.get_by_role("button", name="Use: Ink lines").click()
    page.get_by_text("The settings are those of “Ink lines”.").wait_for()
    page.wait_for_selector("[data-setting='train.steps'][value='77']", state="attached")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector("[data-setting='train.steps'][value='50']", state="attached")

    page.get_by_label("More for Ink lines").click()
    with page.expect_download() as saving:
        page.get_by_role("button", name="Export", exact=True).click()
    file = tmp_path / saving.value.suggested_filename
    saving.value.save_as(file)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("“Ink lines” is deleted.").wait_for()
    expect(page.get_by_role("button", name="Use: Ink lines")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Use: Ink lines").wait_for()
    page.set_input_files("#preset-file", str(file))
    page.get_by_text("“Ink lines” is replaced.").wait_for()
    page.reload()
    page.locator("#own-presets > summary").click()
    page.get_by_role("button", name="Use: Ink lines").wait_for()
    expect(page.locator("#advanced"), "it is remembered").to_have_attribute("open", "")


@pytest.mark.thorough
def test_another_base(page, tiny_bases):
    choose(page, "program", "comfyui")
    page.get_by_text("Choose a base model for ComfyUI").wait_for()
    field = page.get_by_label("A file, a folder or a name on Hugging Face")
    field.fill("nobody/nothing")
    field.press("Enter")
    page.wait_for_selector(".answer >> text=It is not on this computer yet.")
    page.locator(".answer").get_by_role("button", name="Download it").click()
    page.wait_for_selector(".offers .problem >> text=There is no connection to Hugging Face", timeout=120_000)
    field.fill("/nowhere/at all.safetensors")
    field.press("Enter")
    page.wait_for_selector(".answer .problem >> text=There is no such file or model")
    field.fill(str(tiny_bases["sdxl"]))
    field.press("Enter")
    page.wait_for_selector(".chosen-base >> text=Stable Diffusion XL")
    page.get_by_role("link", name="Next: start").click()
    page.wait_for_selector("#start-sheet .summary >> text=sdxl")
    page.set_viewport_size({"width": 390, "height": 844})
    assert widest(page) == []
    page.go_back()
    page.wait_for_selector("#step-style h1 >> visible=true")
    assert widest(page) == []
