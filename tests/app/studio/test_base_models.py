"""Base models as the second step shows them, downloads, and what was measured."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from app.studio.base_models import NOTHING_THERE, ONLY_FOUND, STARTER_TITLE, Base, Bases
from app.studio.dataset.checks import is_here
from app.studio.dataset.drafts import Draft
from app.studio.downloads.downloads import Download, Downloads
from app.studio.generation.compatibility import check_compatibility
from app.studio.generation.request import make_request
from app.studio.paths import Paths
from app.studio.programs.targets import TRY
from app.studio.runs.estimates import Cost, Measured, cost_key
from app.studio.settings.plan import STOPS, choose, drafts_by_preset, plan, with_setting
from app.ui.document.templates import render
from app.ui.train import text as words
from app.ui.train.base_view import HubAccount, read_account, read_choice, read_panel
from app.ui.train.start_view import StartState, start_sheet
from app.ui.train.style_view import read_presets
from trainers.errors import VelaturaError

NASTY = "<b>x</b>/y"


def base_panel(bases: Bases, downloads: Downloads, model: str = "starter", account: HubAccount | None = None) -> str:
    """The base model as a page shows it."""
    panel = read_panel(TRY, model, bases, downloads)
    account = account or replace(read_account(True, ""), is_logged_in=False)
    base = read_choice(TRY, bases.look(model))
    return render("train/base.html", base=base, panel=panel, answer=None, account=account)


def fetching(paths: Paths, state: Download, account: HubAccount | None = None) -> str:
    """The base model while one of another name is on its way."""

    class Fetching(Downloads):
        def models(self) -> list[str]:
            return ["a/b"]

        def look(self, model: str) -> Download:
            return state if model == "a/b" else Download()

    return base_panel(Bases(anywhere=True), Fetching(paths), account=account)


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    made = Paths(tmp_path / "outputs")
    made.make()
    return made


@pytest.fixture
def models(tmp_path: Path, tiny_bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models: a tiny base, and a style that is none."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "dreamy").symlink_to(tiny_bases["sd2"])
    monkeypatch.setenv("VELATURA_MODELS", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def test_what_is_on_this_computer(paths: Paths, models: Path) -> None:
    starter, dreamy = Bases(anywhere=True).found()
    assert starter.is_starter and starter.title == STARTER_TITLE and starter.size > 10**6
    assert (dreamy.title, dreamy.family, dreamy.where) == ("dreamy", "Stable Diffusion 2", "folder")
    shown = base_panel(Bases(anywhere=True), Downloads(paths))
    assert "Stable Diffusion 2 · found in your models folder" in shown and words.WHERE["starter"] in shown
    assert "dreamy" in shown and 'type="text"' in shown


def test_a_base_that_somebody_names(paths: Paths, models: Path, tiny_bases: dict[str, Path], tmp_path: Path) -> None:
    bases = Bases(anywhere=True)
    named = bases.look(f" {tiny_bases['sdxl']} ")
    assert named.family == "Stable Diffusion XL" and not named.problem
    assert bases.look("owner/name").to_download
    for typed in ("/nowhere/at all", "sd15", r"C:\ComfyUI\models\dreamy.safetensors"):
        missing = bases.look(typed)
        assert missing.title == typed and missing.problem == NOTHING_THERE and "`" not in missing.problem
    (tmp_path / "old.ckpt").write_bytes(b"x")
    assert "pickle" in bases.look(str(tmp_path / "old.ckpt")).problem
    (tmp_path / "modular_model_index.json").write_text('{"_class_name": "AnimaModularPipeline"}')
    assert "is Anima, which Velatura does not train yet; the nearest" in bases.look(str(tmp_path)).problem
    shared = Bases(anywhere=False)
    assert shared.look(str(tiny_bases["sdxl"])).problem == ONLY_FOUND
    assert shared.look(str(models / "dreamy")).problem == "" and shared.look("starter").is_starter


@pytest.mark.parametrize(
    "name", ["a/my--model", "aa/b..c", "a/.b", "a/b-", "a/b.git", f"a/{'b' * 95}", "~nobody/a", "a" * 5000]
)
def test_what_neither_the_hub_nor_a_disk_can_have_is_a_sentence(paths: Paths, models: Path, name: str) -> None:
    assert Bases(anywhere=False).look(name).problem == ONLY_FOUND and not is_here(name)
    base = Bases(anywhere=False).look(name, trusted=True)
    assert base.problem == NOTHING_THERE and len(base.title) <= 200
    problems = check_compatibility(make_request(prompts=("fox",), base=name), {}, Bases(anywhere=False)).problems
    assert str(ONLY_FOUND) in problems["base"]


def test_a_base_is_called_what_people_call_it(paths: Paths, models: Path, tiny_bases: dict[str, Path]) -> None:
    (models / "illustrious 1.1 turbo").symlink_to(tiny_bases["sdxl"])
    bases = Bases(anywhere=True)
    found = next(each for each in bases.found() if each.title == "illustrious 1.1 turbo")
    named = bases.look(str(tiny_bases["sdxl"]))
    assert found.known == "Illustrious XL, by its file's name; distilled: Turbo, by its file's name"
    assert "Train on the base that it was made from" in found.warning and (named.known, named.warning) == ("", "")
    shown = base_panel(bases, Downloads(paths), found.model)
    assert found.warning in unescape(shown) and found.known in unescape(shown)


def test_a_base_that_is_not_here_can_be_downloaded(paths: Paths) -> None:
    bases = Bases(anywhere=True)
    starter, other, nasty = (base_panel(bases, Downloads(paths), model) for model in ("starter", "owner/name", NASTY))
    assert words.FETCH_IT in other and words.FETCH_IT not in starter
    assert "<b>x" not in nasty and "&lt;b&gt;x" in nasty


def test_a_download_without_a_network_is_one_sentence(paths: Paths) -> None:
    downloads = Downloads(paths)
    assert downloads.look("nobody/nothing") == Download()
    downloads.start("nobody/nothing", "ann")
    end = time.monotonic() + 120
    while (state := downloads.look("nobody/nothing")).busy:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert state.phase == "failed" and "there is no network" in state.sentence and not state.needs_token
    assert downloads.models() == ["nobody/nothing"] and downloads.arrived_for("ann") == ""
    assert base_panel(Bases(anywhere=True), downloads).count('class="problem"') == 1
    downloads.stop_all()


def test_only_two_bases_are_downloaded_at_once(paths: Paths) -> None:
    downloads = Downloads(paths)
    for model in ("nobody/one", "nobody/two", "nobody/two"):
        downloads.start(model, "ann")
    with pytest.raises(VelaturaError, match="2 bases are already being downloaded"):
        downloads.start("nobody/three", "ann")
    downloads.start("nobody/two", "bob")
    downloads.stop("nobody/one", "ann")
    downloads.start("nobody/three", "ann")
    assert downloads.look("nobody/three").busy
    assert downloads.models() == ["nobody/one", "nobody/two", "nobody/three"]
    downloads.stop_all()


def test_how_far_a_download_is(paths: Paths) -> None:
    shown = fetching(paths, Download("download", 250_000_000, 1_000_000_000))
    assert "Downloading a/b: 250.0 MB of 1.0 GB" in shown and 'aria-valuenow="25"' in shown and words.PAUSE in shown
    state = Download("failed", sentence="a/b is gated", needs_token=True)
    form = fetching(paths, state)
    assert words.TOKEN in form and 'type="password"' in form
    links = re.findall(r'href="https://huggingface.co/([^"]*)" target="_blank" rel="noopener noreferrer"', form)
    assert links[-2:] == ["a/b", "settings/tokens"]
    guest = fetching(paths, state, read_account(False, ""))
    assert words.ASK_TO_LOG_IN in guest and "password" not in guest and "settings/tokens" not in guest
    known = fetching(paths, state, replace(read_account(True, ""), is_logged_in=True))
    assert "password" not in known and words.HAS_ACCEPTED in known and words.LOG_OUT in known
    ended = fetching(paths, Download("done"))
    assert 'role="progressbar"' not in ended and words.TOKEN not in ended and 'class="problem"' not in ended


def test_what_was_measured_is_known_for_the_same_settings(paths: Paths) -> None:
    measured, draft = Measured(paths), Draft(id="x", public="y")
    cost = Cost(seconds=80.4, memory=1_400_000_000, file=3_100_000, trained=1_500_000)
    measured.keep(plan(draft, name="a", seed=3), 0, cost)
    again = Measured(paths)
    assert again.cost(plan(draft.with_(name="b", trigger="dusk")), 0) == cost
    assert again.cost(plan(draft), 12) is None and again.cost(plan(with_setting(draft, "train.steps", "7")), 0) is None
    for now in (draft, choose(draft, "preset", "quick")):
        cards = read_presets(now, again.times(drafts_by_preset(now)), STOPS, "").cards
        assert [card.line for card in cards] == ["", "about 80 s", ""]
    assert words.file_size(replace(cost, at_most=True)) == "at most 3.1 MB"
    assert cost_key(plan(draft), 1) != cost_key(plan(choose(draft, "method", "loha")), 1)
    assert cost.disk(plan(draft), 0) == 6 * 3_100_000 + 3 * 1_500_000 * 12
    with_prior = plan(with_setting(draft, "prior.prompt", "a drawing"), prior={"images": 30})
    assert cost.disk(with_prior, 2) == cost.disk(plan(draft), 2 + 30)
    (paths.root / "measured.json").write_text("{", encoding="utf-8")
    assert again.times(drafts_by_preset(draft)) == {}


def test_a_licence_is_shown_before_the_start() -> None:
    base = Base("a/b", "a/b", licence="Licence of this base: <mine>")
    sheet = StartState(Draft(id="x", public="y"), base, False, "dusk", "", 0, None, None, "", None, "", 0.0)
    assert "Licence of this base: &lt;mine&gt;" in start_sheet(sheet)
    assert "Licence of this base" not in start_sheet(replace(sheet, base=replace(base, licence="")))
