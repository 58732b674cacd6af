"""The second step of Train: settings files that somebody chooses, and settings that are typed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from PIL import Image

from app.jobs.store import TRIAL
from app.studio.base_models import Bases
from app.studio.dataset.drafts import Choices, Draft
from app.studio.dataset.uploads import take_folder
from app.studio.downloads.downloads import OFFERS
from app.studio.programs.targets import TRY
from app.studio.services import Services
from app.studio.settings.plan import plan, with_choices
from app.ui.components.events import actor_of
from app.ui.components.live import AtRequest
from app.ui.components.shell import scripted_part
from app.ui.document.templates import render
from app.ui.gradio_internals import file_address
from app.ui.train import images, style
from app.ui.train import text as words
from app.ui.train.events import SettingsRead, SettingsText, StepShown, StyleAction
from app.ui.train.style import StyleStep
from tests.app.jobs.working import do_next
from tests.app.studio.small_trials import keep_pace, make_draft
from tests.app.ui.bare_page import REQUEST as VISITOR
from tests.app.ui.bare_page import BarePage, BareTab
from tests.app.ui.visitor import ALL_SENT, READY
from tests.tiny_flow import tiny_flow_folder
from tests.trainers.tiny_runs import write_images
from tests.waiting import wait_until
from trainers.data.source import Crop
from trainers.errors import VelaturaError

REQUEST = SimpleNamespace(username="", cookies={}, session_hash="a page")


@pytest.fixture
def step(services: Services) -> StyleStep:
    services.preferences.change(actor_of(REQUEST).key, program=TRY)
    with gr.Blocks():
        return StyleStep(services)


def read(content: str) -> SettingsRead:
    return read_together({"train.sh": content})


def read_together(files: Mapping[str, str]) -> SettingsRead:
    chosen = tuple(SettingsText(name=name, text=text) for name, text in files.items())
    return SettingsRead(files=chosen, open=True, of="style-own")


def ask(step: StyleStep, what: str, about: str = "") -> str:
    """What the part says that reads files once one of its buttons is pressed."""
    return step.on_asked(StyleAction(what=what, about=about, of="style-own"), REQUEST)[step.own]


def test_a_script_that_blows_up_is_refused_in_a_sentence(step: StyleStep) -> None:
    laughs = "".join(f"V{k + 1}={f'$V{k}' * 5}\n" for k in range(40))
    shown = step.on_settings_read(read(f"V0=aaaaaaaa\n{laughs}python train_network.py --network_dim $V40\n"), REQUEST)
    assert "train.sh cannot be used: its variables put in more than 100,000 letters" in shown[step.own]
    long = step.on_settings_read(read("a = 1\n" * 50_000), REQUEST)
    assert "train.sh cannot be used: it is too long for a settings file" in long[step.own]


def test_starting_from_nothing_is_taken_back(step: StyleStep) -> None:
    key = actor_of(REQUEST).key
    step.services.drafts.change(key, lambda draft: with_choices(draft, start="/dusk.safetensors", imported="train.bat"))
    shown = ask(step, "no-start")
    assert "The training starts from nothing." in shown and 'data-do="take-back"' in shown
    assert step.services.drafts.read(key).choices.start == ""
    ask(step, "take-back")
    assert step.services.drafts.read(key).choices.start == "/dusk.safetensors"


KOHYA = {"network_dim": 4, "network_alpha": 2, "mixed_precision": "fp16", "max_resolution": "512,512", "epoch": 10,
         "train_batch_size": 2, "LoRA_type": "Standard"}  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 works on a card")
def test_the_report_of_a_file_repairs_what_cannot_be_trained(step: StyleStep, tmp_path: Path) -> None:
    key = actor_of(REQUEST).key
    take_folder(step.services.drafts, key, write_images(tmp_path / "images"))
    steps = 10 * math.ceil(len(step.services.drafts.read(key).pictures) / 2)
    repairs = {
        "train.steps": f"10 epochs → {steps} steps",
        "train.precision": "fp16 → auto on this computer",
        "data.resolution": "512 → 128 on the starter",
    }
    file = read(json.dumps(KOHYA))
    shown = step.on_settings_read(file, REQUEST)[step.own]
    for setting, repair in repairs.items():
        assert f'data-do="repair-import" data-about="{setting}">{repair}</button>' in shown
    assert step.services.drafts.read(key).choices.settings == {}, "nothing is changed yet"
    ask(step, "repair-import", "train.precision")
    shown = ask(step, "repair-import", "train.steps")
    assert f'<li class="done">{repairs["train.steps"]}</li>' in shown and "512 → 128 on the starter</button>" in shown
    assert "Settings read from train.sh." in ask(step, "use-import")
    config = plan(step.services.drafts.read(key))
    assert (config.train.steps, config.train.precision) == (steps, "auto")
    assert config.data.resolution == 512
    again = ask(step, "report")
    assert "512 → 128 on the starter" in again and "fp16 → auto" not in again
    done = ask(step, "repair", "data.resolution")
    assert "Changed: 512 → 128 on the starter." in done and "Undo" in done
    assert plan(step.services.drafts.read(key)).data.resolution == 0


def test_files_that_belong_together_are_read_as_one(step: StyleStep, tmp_path: Path) -> None:
    key = actor_of(REQUEST).key
    take_folder(step.services.drafts, key, write_images(tmp_path / "images"))
    count = len(step.services.drafts.read(key).pictures)
    files = {
        "dataset.toml": '[[datasets]]\nresolution = 128\n[[datasets.subsets]]\nimage_dir = "/x/fox"\nnum_repeats = 4\n',
        "train.bat": "python train_network.py --network_dim 4 --max_train_epochs 10 --dataset_config d.toml",
    }
    shown = step.on_settings_read(read_together(files), REQUEST)[step.own]
    assert "10 epochs" not in shown and "<code>dataset_config</code>" not in shown
    done = ask(step, "use-import")
    assert "Settings read from dataset.toml, train.bat." in done
    config = plan(step.services.drafts.read(key))
    assert (config.method.rank, config.train.steps, config.data.repeats) == (4, 40 * count, 4)
    shown = step.on_settings_read(read_together(files | {"notes.txt": "no settings"}), REQUEST)[step.own]
    assert "notes.txt cannot be used: it is neither TOML" in shown
    ours = {"a.toml": "[train]\nsteps = 3\n", "b.toml": "[train]\nsteps = 4\n"}
    shown = step.on_settings_read(read_together(ours), REQUEST)[step.own]
    assert "a.toml, b.toml cannot be used: only files of kohya_ss or of OneTrainer" in shown
    many = {f"{k}.toml": "[train]\nsteps = 3\n" for k in range(11)}
    shown = step.on_settings_read(read_together(many), REQUEST)[step.own]
    assert "At most 10 settings files are read at once. Choose fewer." in shown
    assert plan(step.services.drafts.read(key)).train.steps == 40 * count


def test_a_report_stays_until_its_settings_are_used_or_discarded(step: StyleStep, tmp_path: Path) -> None:
    key, discard = actor_of(REQUEST).key, 'data-do="discard-import"'
    shown = StepShown(seen=0, step="style")
    step.on_settings_read(read(json.dumps(KOHYA | {"wandb_api_key": "abc123"})), REQUEST)
    assert discard in step.on_step_shown(shown, REQUEST)[step.own], "after a reload"
    assert discard in ask(step, "preset", "faithful"), "after something else was chosen"
    saved = step.on_asked(StyleAction(what="save-preset", text="Ink", of="style-own"), REQUEST)[step.own]
    assert "“Ink” is saved." in saved and discard in saved and "Use these settings first" in saved
    refused = step.on_settings_read(read("no settings"), REQUEST)[step.own]
    assert "train.sh cannot be used" in refused and discard in refused
    kept = step.services.drafts.paths.drafts / step.services.drafts.read(key).id / "unused.json"
    assert "abc123" not in kept.read_text(encoding="utf-8")
    assert discard not in ask(step, "discard-import") + step.on_step_shown(shown, REQUEST)[step.own]
    assert "its report is not here any more" in ask(step, "use-import").lower()
    step.on_settings_read(read(json.dumps(KOHYA)).model_copy(update={"of": "style-settings"}), REQUEST)
    assert discard in step.on_step_shown(shown, REQUEST)[step.own], "the fold of all settings is closed"
    assert discard in step.on_asked(StyleAction(what="open", open=True), REQUEST)[step.settings]
    kept.write_text('{"file": "x", "of": "style-own", "table": {"a": 1}}', encoding="utf-8")
    assert discard not in step.on_step_shown(shown, REQUEST)[step.own], "it is not understood any more"
    step.on_settings_read(read(json.dumps(KOHYA)), REQUEST)
    ask(step, "use-import")
    assert step.services.drafts.read(key).choices.imported == "train.sh" and not kept.exists()


@pytest.mark.parametrize("setting", ['"epoch": 1e308', r'"sample_prompts": "\ud800 fox"', r'"\udfffk": 1'])
def test_what_no_file_can_hold_is_refused_and_not_kept(step: StyleStep, tmp_path: Path, setting: str) -> None:
    key, shown = actor_of(REQUEST).key, StepShown(seen=0, step="style")
    take_folder(step.services.drafts, key, write_images(tmp_path / "images"))
    file = json.dumps(KOHYA)[:-1] + f", {setting}}}"
    assert "train.sh cannot be used: one of its " in step.on_settings_read(read(file), REQUEST)[step.own]
    kept = step.services.drafts.paths.drafts / step.services.drafts.read(key).id / "unused.json"
    assert not kept.exists()
    kept.write_text(f'{{"file": "x", "of": "style-own", "table": {file}}}', encoding="utf-8")
    assert 'class="report"' not in step.on_step_shown(shown, REQUEST)[step.own], "an earlier version has kept it"


def test_the_report_stays_that_of_the_settings_in_use(step: StyleStep, monkeypatch: pytest.MonkeyPatch) -> None:
    step.on_settings_read(read(json.dumps(KOHYA)), REQUEST)
    ask(step, "use-import")
    step.on_settings_read(read(json.dumps(KOHYA | {"network_dim": 7})), REQUEST)
    with monkeypatch.context() as broken:
        broken.setattr("app.ui.train.presets.actions.with_choices", refuse)
        assert "Refused" in ask(step, "use-import")
    assert "method.rank = 4" in ask(step, "report")


def refuse(*_parts: object, **_more: object) -> None:
    raise VelaturaError("refused")


def test_the_stops_show_the_trained_part_of_a_picture_of_ones_own(step: StyleStep, tmp_path: Path) -> None:
    key, services = actor_of(REQUEST).key, step.services

    def shown() -> tuple[str, list[Path]]:
        sheet = step.on_step_shown(StepShown(seen=0, step="style"), REQUEST)[step.choices]
        return sheet, list(services.drafts.previews(services.drafts.read(key)).glob("part-*.webp"))

    sheet, parts = shown()
    assert str(words.OWN_PICTURE) not in sheet and not parts, "there is none yet"
    take_folder(services.drafts, key, write_images(tmp_path / "images"))
    sheet, (whole,) = shown()
    assert str(words.OWN_PICTURE) in sheet and sheet.count(f'faint"><img src="{file_address(whole)}"') == 3

    def crop(draft: Draft) -> Draft:
        first, *others = draft.pictures
        return draft.with_(pictures=(first.with_crop(Crop(0, 0, 1, 0.5, 90)), *others))

    height, width = services.drafts.change(key, crop).pictures[0].size
    sheet, (half,) = shown()
    assert half != whole and file_address(half) in sheet
    with Image.open(half) as picture:
        assert abs(picture.width / picture.height - height / (width / 2)) < 0.05 and max(picture.size) <= 320
    services.drafts.change(key, lambda draft: draft.with_(pictures=draft.pictures[1:]))
    (services.drafts.pictures(services.drafts.read(key)) / f"{services.drafts.read(key).pictures[0].id}.png").unlink()
    assert str(words.OWN_PICTURE) not in shown()[0], "a lost file leaves the cards as they are"


def test_first_tries_take_the_place_of_ones_own_picture(
    step: StyleStep, tiny_bases: dict[str, Path], tmp_path: Path, quick_runs: None
) -> None:
    key, services = actor_of(REQUEST).key, step.services
    services.preferences.change(key, program="comfyui")
    keep_pace(services.drafts, make_draft(services.drafts, key, tiny_bases["sd1"], tmp_path / "images"), 0.7)

    def ask(what: str = "open", text: str = "") -> str:
        return step.on_asked(StyleAction(what=what, text=text), REQUEST)[step.choices]

    shown = ask()
    assert str(words.TRIES_COME) in shown and shown.count(' faint"><img') == 3 and "checked><span>Draw" in shown
    assert do_next(services.queue.store).state == "finished"
    shown = step.refresh(REQUEST)[step.choices]
    (picture,) = services.drafts.previews(services.drafts.read(key)).glob("trial-quick-*.webp")
    assert f'class="look"><img src="{file_address(picture)}"' in shown and shown.count(' faint"><img') == 2
    assert "First tries, after a minute of training or less: “" in shown and str(words.OTHERS_FOLLOW) in shown
    changed = step.on_asked(StyleAction(what="aim", about="subject"), REQUEST)[step.choices]
    assert f' faint"><img src="{file_address(picture)}"' in changed and str(words.OUTDATED) in changed
    assert [job.kind for job in services.queue.store.line()] == [TRIAL]
    off = ask("trials", "off")
    assert str(words.OWN_PICTURE) in off and file_address(picture) not in off and services.queue.store.line() == []
    assert 'data-ask="trials"><span>Draw' in off and services.preferences.read(key).trials is False


def test_the_program_is_asked_first_and_decides_on_the_base(
    step: StyleStep, tiny_bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, services = actor_of(REQUEST).key, step.services
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "my sd1").symlink_to(tiny_bases["sd1"])
    tiny_flow_folder("flux", tmp_path / "models" / "my flux")
    services.preferences.change(key, program="")

    def choose(program: str) -> tuple[str, str]:
        shown = step.on_asked(StyleAction(what="program", about=program), REQUEST)[step.choices]
        return shown, services.drafts.read(key).choices.base

    monkeypatch.setenv("VELATURA_MODELS", str(tmp_path / "nowhere"))
    unanswered = step.on_step_shown(StepShown(seen=0, step="style"), REQUEST)[step.choices]
    assert "Where will you use it?" in unanswered and 'id="base-panel"' not in unanswered
    assert "which ones your program draws with" in unanswered
    shown, base = choose("comfyui")
    assert "Choose a base model for ComfyUI" in shown and base == "starter" and "None found yet." in shown
    assert "Velatura starter" not in shown
    shown, base = choose("try")
    assert base == "starter" and "opens only in Velatura" in shown and "Velatura starter" in shown
    # The only base whose styles the program opens is taken; A1111 opens none for Flux.
    monkeypatch.setenv("VELATURA_MODELS", str(tmp_path / "models"))
    services.bases.found(again=True)
    shown, base = choose("a1111")
    assert Path(base).name == "my sd1" and "Flux.1" not in shown.partition('id="base-panel"')[0]
    assert "Not listed, since A1111 does not open their styles: my flux." in shown
    shown, base = choose("forge")
    assert Path(base).name == "my sd1" and ">my flux<" in shown, "a chosen base stays"
    step.on_asked(StyleAction(what="base", about=str(tmp_path / "models" / "my flux")), REQUEST)
    shown, base = choose("a1111")
    assert Path(base).name == "my flux" and "A1111 does not open styles for Flux.1." in shown
    assert choose("try")[1] == "starter" and Path(choose("forge")[1]).name == "my flux"
    # A fresh draft begins with the base that was chosen last, a clone keeps that of its run.
    choose("comfyui")
    services.drafts.change(key, lambda draft: draft.with_(choices=Choices()))
    step.on_step_shown(StepShown(seen=0, step="style"), REQUEST)
    assert Path(services.drafts.read(key).choices.base).name == "my flux"
    services.drafts.change(key, lambda draft: draft.with_(choices=Choices(method="loha")))
    assert "Choose a base model for ComfyUI" in step.on_step_shown(StepShown(step="style"), REQUEST)[step.choices]


def test_a_download_without_a_network_says_what_to_do(step: StyleStep, monkeypatch: pytest.MonkeyPatch) -> None:
    model = OFFERS[0].model
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    step.on_asked(StyleAction(what="download", about=model), REQUEST)
    wait_until(lambda: not step.services.downloads.look(model).busy, "the download does not end")
    shown = step.on_asked(StyleAction(what="open"), REQUEST)[step.choices]
    offer = shown.partition(f'<li data-key="{model}">')[2].partition("</li>")[0]
    assert (
        "There is no connection to Hugging Face." in offer and "velatura models get" not in offer.partition("<pre>")[0]
    )
    assert ">Download</button>" in offer and "Resume download" not in offer


def test_on_a_shared_studio_members_download_what_is_listed_and_change_no_login(services: Services) -> None:
    with gr.Blocks():
        step = StyleStep(replace(services, bases=Bases(anywhere=False)))
    with pytest.raises(VelaturaError, match="Only an admin of this studio can download"):
        step.on_asked(StyleAction(what="download", about="ann/private"), REQUEST)
    assert services.downloads.models() == []
    for what in ("log-in", "log-out"):
        assert step._fetch(actor_of(REQUEST), what, "", "hf_x") == words.ASK_TO_LOG_IN


def build(services: Services, demo: gr.Blocks) -> None:
    """The first two steps, and the links between them."""
    frame = AtRequest(render, "train/steps.html")
    steps = scripted_part(None, "train/steps.js", frame, elem_id="steps", steps=words.STEPS, hint=words.PICTURES_FIRST)
    images.build(services, demo)
    style.build(services, demo, steps)


@pytest.fixture
def bare(bare_tab: BareTab, services: Services, tmp_path: Path) -> Iterator[BarePage]:
    """The first two steps with three pictures."""
    take_folder(services.drafts, actor_of(VISITOR).key, write_images(tmp_path / "images"))
    with bare_tab.visit(build, services) as page:
        yield page


def open_style(bare: BarePage) -> Any:
    """The second step in the browser."""
    page = bare.open()
    page.wait_for_selector(READY)
    page.evaluate("location.hash = 'style'")
    page.wait_for_selector("#style-choices .stops")
    return page


def test_a_base_is_chosen_by_its_place(bare: BarePage, tiny_bases: dict[str, Path]) -> None:
    page = open_style(bare)
    page.get_by_role("radio", name="ComfyUI").press("Space")
    page.get_by_text("Choose a base model for ComfyUI").wait_for()
    field = page.get_by_label("A file, a folder or a name on Hugging Face")
    for typed, answer in (
        ("nobody/nothing", ".answer >> text=It is not on this computer yet."),
        ("/nowhere/at all.safetensors", ".answer .problem >> text=There is no such file or model"),
        (str(tiny_bases["sdxl"]), ".chosen-base >> text=Stable Diffusion XL"),
    ):
        field.fill(typed)
        field.press("Enter")
        page.wait_for_selector(answer)


def test_a_setting_that_is_typed_while_the_studio_is_away_is_sent_until_it_has_it(bare: BarePage) -> None:
    page = open_style(bare)
    page.locator("#advanced > summary").click()
    page.locator(".settings > summary").click()
    page.get_by_label("Search settings").fill("train.steps")
    steps = page.locator("[data-setting='train.steps']")
    bare.away = True
    steps.fill("7")
    steps.blur()
    bare.await_event("asked", "text", "7")
    bare.away = False
    page.wait_for_function(ALL_SENT)
    assert bare.services.drafts.read(actor_of(VISITOR).key).choices.settings == {"train.steps": 7}
