"""A run's page: what it says, when it looks, and what can be done with the run."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
import torch

from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.states import ENDED, State, actions_for
from app.jobs.store import TRAIN, NewJob
from app.jobs.view import View
from app.studio.programs.targets import Target
from app.studio.runs import chosen, failures
from app.studio.runs.notes import NOTES, Notes, read_notes
from app.studio.services import open_services
from app.studio.studio_queue import StudioQueue
from app.ui.components.controls import Control, Fetch
from app.ui.components.events import actor_of
from app.ui.runs.actions import find_controls
from app.ui.runs.events import FileWanted, FoldOpened, RunAction, RunNoted, StepStarred
from app.ui.runs.head_view import Acts, read_acts, read_head
from app.ui.runs.run import RunPage
from tests.app.ui.ended_runs import write_run, write_snapshot
from trainers.config.build import build_config
from trainers.runs.events import Recorder
from trainers.runs.run import Run, write_config

SOMEBODY = SimpleNamespace(username="", cookies={}, session_hash="")


def in_state(queue: StudioQueue, state: State, saved: int = 200) -> View:
    """A run as if it were in a state."""
    queue.store.add(NewJob(TRAIN, write_run(queue.store.runs, "a"), owner="ann"))
    view = queue.run("a")
    assert view is not None
    return replace(view, state=state, actions=actions_for(view.job, state, saved))


def acts_of(view: View, actor: Actor = MACHINE_OWNER, style: bool = True) -> Acts:
    gains: dict[str, Control] = {"download": Fetch("Download", "style")} if style else {}
    return read_acts(view, True, gains, "id" if style else "", actor)


def buttons(acts: Acts) -> list[tuple[str, str]]:
    return [(each.label, each.kind) for each in (acts.first, acts.second, acts.third) if each is not None]


FILLED, STOP = ("Download", "go"), ("Stop here and keep this", "quiet")


@pytest.mark.parametrize(
    ("state", "phase", "with_style", "without"),
    [
        (State.QUEUED, "", [FILLED], []),
        (State.TRAINING, "train", [FILLED, STOP], [STOP]),
        (State.SAMPLING, "previews", [FILLED, STOP], [STOP]),
        (State.SAMPLING, "after", [FILLED, ("Skip the last pictures", "quiet")], [("Skip the last pictures", "quiet")]),
        (State.STOPPING, "after", [FILLED, ("Skip the last pictures", "quiet")], [("Skip the last pictures", "quiet")]),
        (State.STOPPING, "train", [FILLED], []),
        (
            State.HANGING,
            "",
            [("Stop now", "quiet"), ("Download", "quiet"), ("Try it", "quiet")],
            [("Stop now", "quiet")],
        ),
        (State.PAUSED, "", [FILLED, ("Continue", "quiet"), ("Try it", "quiet")], [("Continue", "go")]),
        (State.STOPPED, "", [FILLED, ("Continue", "quiet"), ("Try it", "quiet")], [("Continue", "go")]),
        (
            State.CANCELLED,
            "",
            [FILLED, ("Continue from 200", "quiet"), ("Try it", "quiet")],
            [("Continue from 200", "go")],
        ),
        (
            State.INTERRUPTED,
            "",
            [("Continue from 200", "go"), ("Download", "quiet"), ("Try it", "quiet")],
            [("Continue from 200", "go")],
        ),
        (State.FINISHED, "", [FILLED, ("Try it", "quiet")], [("Train longer", "go")]),
    ],
)
def test_a_style_is_the_one_filled_button_and_ending_a_run_is_quiet(queue, state, phase, with_style, without):
    view = in_state(queue, State.TRAINING)
    view = replace(view, state=state, actions=actions_for(view.job, state, 200, phase))
    view = replace(view, summary=replace(view.summary, saved=200, phase=phase))
    assert buttons(acts_of(view)) == with_style and buttons(acts_of(view, style=False)) == without


def test_a_run_whose_settings_were_refused_offers_to_change_them(queue):
    view = in_state(queue, State.FAILED, saved=0)
    refused = replace(view, summary=replace(view.summary, code="refused"))
    first = acts_of(refused).first
    assert first is not None and (first.label, first.kind) == ("Change the settings", "go")
    labels = [control.label for control in find_controls(refused, MACHINE_OWNER)]
    assert "Change the settings" in labels and "Try again" not in labels
    others = [("Try again", "quiet"), ("Show the log", "quiet")]
    assert buttons(acts_of(view, style=False)) == [("Change the settings", "go"), *others]


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 works on a card")
def test_a_run_that_this_computer_cannot_train_offers_the_change_that_repairs_it(queue):
    view = in_state(queue, State.FAILED, saved=0)
    config = build_config({"name": "a", "train": {"precision": "fp16"}})
    write_config(Run(view.job.folder), config)
    view = replace(view, summary=replace(view.summary, step=0, saved=0))
    assert buttons(acts_of(view, style=False)) == [
        ("Try again: fp16 → auto on this computer", "go"),
        ("Change the settings", "quiet"),
        ("Show the log", "quiet"),
    ]
    assert failures.changes(failures.REPAIRED, view) == {"train": {"precision": "auto"}}
    labels = [control.label for control in find_controls(view, MACHINE_OWNER)]
    assert "Try again: fp16 → auto on this computer" in labels


def menu_of(acts: Acts) -> list[str]:
    return [control.label for group in acts.menu for _, control in group]


def test_the_menu_lists_what_can_be_done_and_one_line_says_why_no_more_can(queue):
    view = in_state(queue, State.TRAINING)
    shown = {}
    for state in State:
        actions = actions_for(view.job, state, 200)
        acts = acts_of(replace(view, state=state, actions=actions, summary=replace(view.summary, saved=200)))
        shown[state] = menu_of(acts), acts.rest
    always = ["Try it", "Compare its steps", "Download samples", "Share a read-only link"]
    without = [each for each in always if each != "Compare its steps"]
    assert shown[State.TRAINING] == (
        [*without, "Train again with changes", "Draw now", "Pause", "Stop without saving"],
        "Stop it first to delete it, start it over or train it longer.",
    )
    assert shown[State.SAVING] == (without, "More can be done once it has ended.")
    assert shown[State.FINISHED][0] == [*without[1:], "Train again with changes", "Train longer", "Delete"]
    assert shown[State.QUEUED] == ([*without, "Cancel"], "More can be done once it has begun.")
    assert {state: rest for state, (_, rest) in shown.items() if state in ENDED} == dict.fromkeys(ENDED, "")
    assert acts_of(view, style=False).rest.startswith("There is no style to download yet. Stop it first")
    assert acts_of(replace(view, state=State.FINISHED), style=False).rest.startswith("Its style was deleted.")
    guest = acts_of(view, Actor("ben"))
    assert menu_of(guest) == ["Try it", "Download samples", "Train again with changes"]
    assert guest.rest == "Only ann can change this run." and buttons(guest) == [FILLED]


def test_no_number_is_said_twice(queue):
    view = in_state(queue, State.TRAINING)
    view = replace(view, line="Step 260 of 600, 3 min left.")
    view = replace(view, summary=replace(view.summary, step=260, steps=600, left=170.0, memory=729_000_000))
    head = read_head(view, MACHINE_OWNER)
    assert head.line == "" and head.facts[:2] == ("Step 260 of 600", "3 min left")
    assert head.title == "3 min left · a" and head.doing == "" and "729.0 MB of memory" in head.facts
    drawing = replace(view.summary, pictures=(2, 4), denoising=(5, 20), phase="previews")
    head = read_head(replace(view, state=State.SAMPLING, summary=drawing), MACHINE_OWNER)
    assert (head.doing, head.part) == ("Drawing picture 2 of 4", 0.25)
    stopped = read_head(replace(view, state=State.STOPPED, line="Stopped at step 260 and saved."), MACHINE_OWNER)
    assert stopped.line == "" and stopped.facts[0] == "Step 260 of 600"


def test_a_run_that_no_longer_comes_nearer_says_so_until_it_has_gone_on_to_its_end(queue):
    view = in_state(queue, State.TRAINING)
    Recorder(view.job.folder)("early_stop", step=300, nearest=240, further=2, message="words")
    summary = replace(queue.run("a").summary, phase="train")
    assert summary.early_stop == (240, 2)
    states = (State.TRAINING, State.STOPPED, State.FINISHED)
    lines = [read_head(replace(view, state=state, summary=summary), MACHINE_OWNER).line for state in states]
    assert lines[0] == "Step 240 is still the nearest to your style after 2 further samples: you can stop here."
    assert lines[1].endswith("after 2 further samples, so the run ends early.") and lines[2] == ""
    Recorder(view.job.folder)("rollback", step=300, saved=200, lr=0.1, message="words")
    assert queue.run("a").summary.early_stop == (0, 0)


def page_of(queue: StudioQueue) -> RunPage:
    with gr.Blocks():
        return RunPage(replace(open_services(queue.paths, queue.paths.root / "uploads"), queue=queue))


def test_a_step_is_starred_by_its_owner_only_and_the_finished_style_needs_no_star(queue):
    in_state(queue, State.FINISHED)
    run, page = queue.store.runs / "a", page_of(queue)
    for step in (150, 300):
        write_snapshot(run, step)

    def star(step: int | None, who: str = "") -> str:
        shown = page.on_starred(
            StepStarred(step=step), SimpleNamespace(username=who, cookies={}, session_hash=""), "a", ""
        )
        return str(shown[page.notice])

    assert star(150) == "" and chosen.starred_step(run) == 150
    assert "belongs to ann" in star(300, "ben") and chosen.starred_step(run) == 150
    assert "was not kept" in star(100) and chosen.starred_step(run) == 150
    assert star(300) == "" and chosen.starred_step(run) is None, "it is what the run gives anyway"
    assert star(150, "ann") == star(None, "ann") == "" and chosen.starred_step(run) is None


def test_notes_are_written_by_the_owner_only_and_acknowledged_once_they_are_stored(queue):
    in_state(queue, State.FINISHED)
    run, page = queue.store.runs / "a", page_of(queue)

    def write(field: str, text: str, who: str) -> tuple[str, str]:
        request = SimpleNamespace(username=who, cookies={}, session_hash="")
        shown = page.on_noted(RunNoted(field=field, text=text, count=7), request, "a", "")
        return str(shown[page.notice]), str(shown[page.note])

    notice, fields = write("note", "too strong", "ann")
    assert notice == "" and 'data-ack="7"' in fields and 'value="too strong"' in fields
    write("tags", "blue, ink", "ann")
    notice, text = write("note", "mine", "ben")
    assert "belongs to ann" in notice and "<input" not in text and "too strong #blue #ink" in text
    assert read_notes(run) == Notes("too strong", ("blue", "ink"))
    (run / NOTES).unlink()
    (run / NOTES).mkdir()
    notice, fields = write("note", "kept in the browser", "ann")
    assert "problem" in notice and 'data-ack="0"' in fields


def test_details_of_a_run_that_has_ended_promise_nothing_more(queue):
    write_run(queue.store.runs, "a")
    page = page_of(queue)
    assert page.on_fold_opened(FoldOpened(fold="details"), SOMEBODY, "a")["text"] == "Nothing was printed."
    (queue.store.runs / "a" / "process.log").write_text("a warning\n", encoding="utf-8")
    assert page.on_fold_opened(FoldOpened(fold="details"), SOMEBODY, "a")["text"] == "a warning"


def test_what_a_page_has_is_not_sent_again(queue):
    in_state(queue, State.FINISHED)
    page = page_of(queue)
    first = page.refresh("a", "", "{}", SOMEBODY)
    assert json.loads(first[page.graph].partition("-->")[2])["x"][-1] == 300 and first[page.drawn].endswith(":300")
    again = page.refresh("a", first[page.drawn], first[page.live.seen], SOMEBODY)
    assert list(again) == [page.live.refresher.part]


def test_a_page_asks_at_most_fifteen_times_a_minute_while_a_run_trains(queue):
    view = in_state(queue, State.TRAINING)
    page = page_of(queue)
    queue.run = lambda _: view
    assert page.refresh("a", "", "{}", SOMEBODY)[page.live.refresher.part].endswith("-->4")


def test_nothing_is_looked_at_before_it_is_known_which_run_is_meant(queue: StudioQueue) -> None:
    """Else a page that opens on a busy machine says that there is no such run."""
    page = page_of(queue)
    assert page.open(SimpleNamespace(query_params={"id": "a"})) == "a"
    assert page.live.refresher.part.value == "0"


def test_beside_download_a_style_on_the_starter_is_for_velatura_alone(queue):
    write_run(queue.store.runs, "a")
    page = page_of(queue)
    item = page.library.entries()[0]
    page.library.entries = lambda: [replace(item, starter=False)]
    assert "For Velatura" not in page.refresh("a", "", "{}", SOMEBODY)[page.acts]
    page.library.entries = lambda: [replace(item, starter=True)]
    assert "For Velatura and its starter" in page.refresh("a", "", "{}", SOMEBODY)[page.acts]


def test_a_style_is_downloaded_for_the_program_and_put_into_it(queue, tmp_path, monkeypatch):
    run = write_run(queue.store.runs, "a")
    comfy, other = tmp_path / "comfy", tmp_path / "other"
    for folder in (comfy, other):
        (folder / "comfy").mkdir(parents=True)
    monkeypatch.setenv("COMFYUI_PATH", str(comfy))
    page = page_of(queue)

    def acts(target: Target) -> str:
        page.services.preferences.change(actor_of(SOMEBODY).key, program=target)
        return page.refresh("a", "", "{}", SOMEBODY)[page.acts]

    assert ">Download step 300</button>" in acts("try") and "Put into ComfyUI" not in acts("try")
    assert "Download step 300 for diffusers" in acts("diffusers") and 'data-fetch="put"' not in acts("diffusers")
    assert 'data-do="put" data-about="a">Put into another program' in acts("a1111"), "named by its label"
    assert "Download step 300 for A1111" in acts("a1111") and 'data-fetch="put"' not in acts("a1111")
    for target in ("comfyui", ""):  # until somebody chooses, a program on this computer
        assert "Download step 300 for ComfyUI" in acts(target) and "Put into ComfyUI" in acts(target)
    main = acts("comfyui").partition('class="slot first"')[2].partition("</div>")[0]
    assert "Put into ComfyUI" in main and "Download step 300" in acts("a1111").partition('class="slot first"')[2]
    write_snapshot(run, 150)
    page.on_starred(StepStarred(step=150), SOMEBODY, "a", "")
    assert "Download step 150 for ComfyUI" in acts("comfyui")
    saved = page.on_fetched(FileWanted(file="style"), SOMEBODY, "a")[page.files]
    assert saved["name"] == "a 150.safetensors" and saved["address"]
    notice = page.on_fetched(FileWanted(file="put"), SOMEBODY, "a")[page.notice]
    assert (
        "a is in ComfyUI now" in notice
        and "It is the style of step 150." in notice
        and "It needs no trigger word." in notice
    )
    assert (comfy / "models/loras/a.safetensors").read_bytes() == Run(run).snapshot(150).read_bytes()
    put = RunAction(what="put", about="a", program="comfyui", folder=str(other))
    assert "a is in ComfyUI now" in page.on_asked(put, SOMEBODY, "a", "")[page.notice]
    assert (other / "models/loras/a.safetensors").is_file()
    wrong = RunAction(what="put", about="a", program="paint", folder=str(other))
    assert "there is no program" in page.on_asked(wrong, SOMEBODY, "a", "")[page.notice].lower()
