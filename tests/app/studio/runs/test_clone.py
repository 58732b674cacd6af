"""A run as a draft once more: whatever it was made with is there again."""

from __future__ import annotations

import dataclasses

import pytest

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.states import State
from app.jobs.store import Store
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.edits import emptied
from app.studio.dataset.uploads import take_folder
from app.studio.runs import clone as cloning
from app.studio.runs.clone import brought_back, clone_into, next_name, with_settings_of, without_aside
from app.studio.runs.origin import Origin
from app.studio.runs.start import start_run
from app.studio.settings.plan import CARE, changed_settings, choose, plan, with_choices, with_setting
from tests.app.jobs.conftest import images, quick
from tests.app.user_files import write_pictures
from tests.pairs import covering_pairs
from trainers.adapters.methods import METHODS
from trainers.config.config import Config
from trainers.data.captions import base_caption
from trainers.data.sample_sets import read_sets
from trainers.errors import VelaturaError
from trainers.runs.run import Run

pytestmark = pytest.mark.slow

__all__ = ["images", "quick"]

ANNA = "user:anna"
ODD = {
    "name": "dusk",
    "seed": 7,
    "train": {"steps": 3, "learning_rate": 0.00012345678, "ema": 0.5},
    "data": {"trigger": "dusk style", "caption": "a photo of {name}", "flip": True, "transparency": "mask"},
    "sample": {"prompts": ["a fox", "an owl"], "seeds": [3, 4]},
    "targets": {"blocks": {"mid_block.*": {"rank": 2}}},
}


@pytest.fixture
def view(drafts: Drafts, quick) -> View:
    """A run that waits, with settings that no preset has."""
    store = Store(drafts.paths.runs)
    return Watcher(store).view(actions.add(store, quick("dusk", ODD), actor=MACHINE_OWNER).id)


def settled(config: Config, like: Config) -> Config:
    """The config with the name and the pictures of another one."""
    data = config.data.model_copy(update={"images": like.data.images})
    return config.model_copy(update={"name": like.name, "data": data})


def test_a_clone_has_the_pictures_captions_and_settings_of_its_run(drafts, view):
    clone = clone_into(drafts, ANNA, view, "tab")
    config = Run(view.job.folder).config()
    files = sorted(Run(view.job.folder).dataset.glob("*.png"))
    assert [one.caption for one in clone.pictures] == [base_caption(path, config.data) for path in files] != []
    assert all((drafts.pictures(clone) / f"{one.id}.png").exists() for one in clone.pictures)
    assert settled(plan(clone), config) == config
    assert (clone.name, clone.trigger, clone.prompts) == ("dusk 2", "dusk style", ("a fox", "an owl"))
    assert (clone.clone_of, clone.aside, clone.choices.base) == ("dusk", None, config.base.model)
    drafts.write_dataset(clone, drafts.paths.root / "again")
    again = actions.add(
        Store(drafts.paths.runs), plan(clone, data={"images": str(drafts.paths.root / "again")}), actor=MACHINE_OWNER
    )
    copies = sorted(Run(again.folder).dataset.glob("*.png"))
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in files], "the same, bit for bit"


def test_a_clone_has_the_style_and_the_class_images_that_its_run_was_given(drafts, view):
    run = Run(view.job.folder)
    assert clone_into(drafts, ANNA, view, "tab").choices.start == ""
    run.start.write_bytes(b"")  # as in the folder of a run that has started from one
    run.classes.mkdir()
    clone = clone_into(drafts, ANNA, view, "tab")
    assert plan(clone).train.start_from == str(run.start) and plan(clone).prior.folder == ""
    assert plan(with_setting(clone, "prior.prompt", "a drawing")).prior.folder == str(run.classes)


def test_a_clone_keeps_the_named_parts_of_its_base_while_it_has_it(drafts, view):
    file = view.job.folder / "config.toml"
    file.write_text(file.read_text().replace("parts = []", 'parts = ["/models/t5.gguf"]'))
    clone = clone_into(drafts, ANNA, view, "tab")
    assert plan(clone).base.parts == ("/models/t5.gguf",)
    assert plan(with_choices(clone, base="owner/another")).base.parts == ()
    assert plan(with_setting(clone, "base.parts", "/etc/passwd")).base.parts == ("/models/t5.gguf",)


@pytest.mark.parametrize(("aim", "preset"), covering_pairs(["style", "subject"], list(CARE), ()))
def test_a_preset_is_found_that_makes_the_same(aim, preset):
    made = choose(choose(Draft(id="x", public="y"), "preset", preset), "aim", aim)
    for method in METHODS:
        plain = choose(made, "method", method)
        found = with_settings_of(Draft(id="x", public="y"), plan(plain))
        assert plan(found) == plan(plain) and found.choices.settings == {}, "nothing is changed by hand"
    few = with_setting(made, "train.steps", "5")
    found = with_settings_of(Draft(id="x", public="y"), plan(few))
    assert plan(found) == plan(few) and changed_settings(found.choices) == {"train.steps": 5}


def test_a_run_that_saved_memory_is_no_other_preset():
    saving = {"gradient_checkpointing": True, "accumulation": 2, "learning_rate": 2e-3}
    made = plan(Draft(id="x", public="y"), train=saving)
    found = with_settings_of(Draft(id="x", public="y"), made)
    assert found.choices.preset == "balanced" and plan(found) == made
    known = with_settings_of(Draft(id="x", public="y"), made, Origin(preset="faithful", aim="subject"))
    assert (known.choices.preset, known.choices.aim) == ("faithful", "subject") and plan(known) == made


def test_a_clone_keeps_the_file_names_of_its_pictures(drafts, queue, tmp_path):
    mine = take_folder(drafts, ANNA, write_pictures(tmp_path / "few", "fox.png", "owl.png"))
    names = [f"10_dusk/{picture.name}" for picture in mine.pictures]
    renamed = [picture.model_copy(update={"name": name}) for picture, name in zip(mine.pictures, names, strict=True)]
    mine = drafts.change(ANNA, lambda now: with_choices(now.with_(pictures=tuple(renamed)), preset="quick"))
    job = start_run(queue, drafts, mine, MACHINE_OWNER)
    clone = clone_into(drafts, ANNA, queue.watcher.view(job.id), "tab")
    assert [picture.name for picture in clone.pictures] == names and clone.choices.preset == "quick"
    (job.folder / "origin.json").write_text("{")
    again = clone_into(drafts, ANNA, queue.watcher.view(job.id), "tab")
    assert again.pictures[0].name == "10_/0001.png" and again.choices.preset == "quick"


def test_what_was_being_prepared_is_kept_until_it_is_let_go(drafts, view):
    mine = take_folder(drafts, ANNA, read_sets()["photograph"].folder)
    mine = drafts.change(ANNA, lambda now: with_choices(now.with_(trigger="mine"), preset="quick"))
    clone_into(drafts, ANNA, view, "tab")
    clone = clone_into(drafts, ANNA, view, "tab")
    assert clone.aside == mine and len(clone.pictures) == 3, "twice is as once"
    assert all((drafts.pictures(mine) / f"{one.id}.png").exists() for one in mine.pictures)
    fresh = drafts.change(ANNA, emptied)
    assert (fresh.clone_of, fresh.aside) == ("", mine)
    back = drafts.change(ANNA, brought_back)
    assert back == mine.with_(revision=back.revision, changed=back.changed, tab="") and back.revision > mine.revision
    assert drafts.read(ANNA) == back
    assert not any((drafts.pictures(clone) / f"{one.id}.png").exists() for one in clone.pictures)

    clone = clone_into(drafts, ANNA, view, "tab")
    kept = drafts.change(ANNA, without_aside)
    assert kept.aside is None and kept.pictures == clone.pictures
    assert not any((drafts.pictures(mine) / f"{one.id}.png").exists() for one in mine.pictures)


def test_a_run_that_does_not_fit_on_the_page_is_said(drafts, view, monkeypatch):
    monkeypatch.setattr(cloning, "MOST_PICTURES", 2)
    with pytest.raises(
        VelaturaError, match="dusk has 3 pictures, and a draft holds at most 2; clone it with `velatura queue"
    ):
        clone_into(drafts, ANNA, view, "tab")
    gone = dataclasses.replace(view, state=State.FINISHED)
    for path in Run(view.job.folder).dataset.iterdir():
        path.unlink()
    with pytest.raises(VelaturaError, match="the images of dusk no longer exist"):
        clone_into(drafts, ANNA, gone, "tab")
    assert drafts.read(ANNA).pictures == ()


def test_the_next_of_its_kind_has_the_next_number(tmp_path):
    for name in ("dusk", "dusk 2", "Route 66"):
        (tmp_path / name).mkdir()
    assert [next_name(tmp_path, name) for name in ("dusk", "dusk 2", "Route 66")] == ["dusk 3", "dusk 3", "Route 66 2"]
