"""The same by the command line, by a program and on a page: the same result, and the same sentence where it is refused.

A page's refusal is what its buttons answer, or what the service says that its handler calls.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.errors import as_sentence
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import TRAIN, NewJob
from app.jobs.trash.trash import Trash
from app.studio.accounts.people import key_of_program
from app.studio.dataset.uploads import take_folder
from app.studio.paths import Paths
from app.studio.runs.clone import clone_into
from app.studio.runs.start import start_run, with_orders
from app.studio.services import Services, open_services
from app.ui.api import Api
from app.ui.runs.actions import perform
from app.ui.runs.events import RunAction
from tests.app.command import call
from tests.app.ui.ended_runs import write_run
from tests.app.user_files import write_pictures
from trainers.config.build import as_table
from trainers.errors import VelaturaError
from trainers.runs.run import Run

pytestmark = pytest.mark.slow

SKINS = ("command line", "program", "page")
SHORT = {"train": {"steps": 4, "warmup": 0}}
DRAFT = "cats"


@dataclass(frozen=True)
class Skins:
    """One studio, used in three ways; each answers with the sentence of its refusal, "" where it does what is asked."""

    services: Services
    api: Api

    @property
    def runs(self) -> Path:
        return self.services.paths.runs

    def command(self, *words: object) -> str:
        done = call(*words, "--out", self.runs)
        assert done.err.startswith("error: ") == bool(done.code), done
        return as_sentence(VelaturaError(done.err.strip().removeprefix("error: "))) if done.code else ""

    def program(self, endpoint: Callable[..., Any], *given: Any, **named: Any) -> str:
        try:
            endpoint(*given, **named)
        except gr.Error as error:
            return re.sub(r" \[\w+\]$", "", str(error.message))
        return ""

    def page(self, what: Any, run: str) -> str:
        notice = perform(self.services.queue, RunAction(what=what, about=run), MACHINE_OWNER).notice
        return html.unescape(re.sub(r"<[^>]+>", "", notice)) if "problem" in notice else ""

    def service(self, do: Callable[..., Any], *given: Any, **named: Any) -> str:
        try:
            do(*given, **named)
        except VelaturaError as error:
            return as_sentence(error)
        return ""


@pytest.fixture
def skins(tmp_path: Path) -> Iterator[Skins]:
    """A studio with one run that has ended, one that waits, and a draft with two pictures."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    services = open_services(paths, paths.uploads)
    services.queue.store.add(NewJob(TRAIN, write_run(paths.runs, "dusk", SHORT)), phase="ended")
    services.queue.store.add(NewJob(TRAIN, write_run(paths.runs, "dawn", SHORT)))
    take_folder(services.drafts, key_of_program(DRAFT), write_pictures(tmp_path / "in", "fox.png", "owl.png"))
    yield Skins(services, Api(services))
    services.close()


@pytest.mark.parametrize(
    ("command", "what", "run", "sentence"),
    [
        ("stop", "stop", "dusk", "Dusk cannot be stopped: it has already finished."),
        ("cancel", "cancel", "dusk", "Dusk cannot be cancelled: it has already finished."),
        ("pause", "pause", "dawn", "Dawn cannot be paused: it is waiting."),
        ("resume", "resume", "dusk", "Dusk cannot be resumed: it has already finished."),
        ("delete", "delete", "dawn", "Dawn cannot be deleted: it is waiting."),
    ],
)
def test_what_does_not_fit_a_runs_state_is_refused_alike(
    skins: Skins, command: str, what: str, run: str, sentence: str
) -> None:
    api = skins.api
    by_program: dict[str, Callable[[], str]] = {
        "resume": lambda: skins.program(api.resume, run),
        "delete": lambda: skins.program(api.delete, run),
    }
    how = {"stop": "save", "cancel": "cancel", "pause": "pause"}.get(command)
    said = {
        "command line": skins.command("queue", command, run),
        "program": skins.program(api.stop, run, how) if how else by_program[command](),
        "page": skins.page(what, run),
    }
    assert said == dict.fromkeys(SKINS, sentence)


def test_a_run_that_is_not_there_is_refused_alike(skins: Skins) -> None:
    said = {skins.program(skins.api.stop, "none"), skins.program(skins.api.status, "none"), skins.page("stop", "none")}
    assert said == {"The run none no longer exists."}


@pytest.mark.parametrize("skin", SKINS)
def test_a_waiting_run_is_cancelled_and_deleted_alike(skins: Skins, skin: str) -> None:
    ways = {
        "command line": (
            lambda: skins.command("queue", "cancel", "dawn"),
            lambda: skins.command("queue", "delete", "dawn"),
        ),
        "program": (
            lambda: skins.program(skins.api.stop, "dawn", "cancel"),
            lambda: skins.program(skins.api.delete, "dawn"),
        ),
        "page": (lambda: skins.page("cancel", "dawn"), lambda: skins.page("delete", "dawn")),
    }
    cancel, delete = ways[skin]
    assert cancel() == "" and skins.services.queue.find("dawn").state == "finished", "it is again what it was before"
    assert delete() == "" and skins.services.queue.run("dawn") is None
    assert [item.name for item in Trash(skins.services.queue.store).items(MACHINE_OWNER)] == ["dawn"]


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("train.steps", 0, "train.steps = 0: it should be greater than or equal to 1."),
        (
            "train.stepz",
            3,
            "There is no setting train.stepz; allowed are accumulation, batch_size, compile, cycles, d_coef, ",
        ),
        ("method.name", "lara", "There is no method 'lara'; available are lora, loha, lokr, "),
        ("sample.steps", 0, "sample.steps = 0: it should be greater than or equal to 1."),
    ],
)
def test_a_wrong_setting_is_refused_alike(
    skins: Skins, tmp_path: Path, setting: str, value: object, sentence: str
) -> None:
    add = ("queue", "add", "--images", tmp_path / "in", "--name", "noon")
    draft = skins.services.drafts.read(key_of_program(DRAFT)).with_(name="noon")

    def start() -> None:
        chosen, table = with_orders(draft, "balanced", "starter", {setting: value})
        start_run(skins.services.queue, skins.services.drafts, chosen, MACHINE_OWNER, table)

    said = {
        skins.command(*add, "--set", f"{setting}={value}"),
        skins.program(skins.api.start, DRAFT, "noon", settings={setting: value}),
        skins.service(start),
    }
    assert len(said) == 1 and said.pop().startswith(sentence)
    assert skins.services.queue.run("noon") is None


def test_an_unknown_preset_is_refused_alike(skins: Skins, tmp_path: Path) -> None:
    draft = skins.services.drafts.read(key_of_program(DRAFT))
    said = {
        skins.command("queue", "add", "--images", tmp_path / "in", "--name", "noon", "--preset", "lara"),
        skins.program(skins.api.start, DRAFT, "noon", preset="lara"),
        skins.service(with_orders, draft, "lara", "starter", {}),
    }
    assert len(said) == 1 and said.pop().startswith("There is no preset 'lara'; available are ")


def test_a_run_is_started_with_the_same_settings_and_pictures(skins: Skins, tmp_path: Path) -> None:
    few = {"train.steps": 2, "train.batch_size": 1}
    assignments = [word for key, value in few.items() for word in ("--set", f"{key}={value}")]
    add = ("queue", "add", "--images", tmp_path / "in", "--preset", "balanced", *assignments)
    draft = skins.services.drafts.read(key_of_program(DRAFT))
    assert skins.command(*add, "--name", "command line") == ""
    assert skins.program(skins.api.start, DRAFT, "program", settings=few) == ""
    chosen, table = with_orders(draft.with_(name="page"), "balanced", "starter", few)
    assert start_run(skins.services.queue, skins.services.drafts, chosen, MACHINE_OWNER, table).name == "page"
    tables, pictures = [], []
    for name in SKINS:
        run = Run(skins.runs / name)
        table = as_table(run.config())
        assert (table.pop("name"), table["data"].pop("images")) == (name, str(run.dataset))
        tables.append(table)
        pictures.append([path.read_bytes() for path in sorted(run.dataset.glob("*.png"))])
        assert skins.services.queue.find(name).state == "queued"
    assert tables[0] == tables[1] == tables[2]
    assert pictures[0] == pictures[1] == pictures[2] and len(pictures[0]) == 2


def test_a_run_without_its_pictures_is_not_cloned(skins: Skins) -> None:
    view, drafts = skins.services.queue.find("dusk"), skins.services.drafts
    said = {skins.command("queue", "clone", "dusk"), skins.service(clone_into, drafts, "visitor:x", view, "tab")}
    assert said == {"The images of dusk no longer exist, so it cannot be cloned."}
