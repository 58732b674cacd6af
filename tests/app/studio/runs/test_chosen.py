"""The starred step of a run: what it gives wherever its style is taken."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.run_trash import ALIAS, CHOSEN
from app.jobs.states import State
from app.jobs.store import TRAIN, NewJob
from app.studio.runs import chosen
from app.studio.runs.origin import FILE as ORIGIN
from app.studio.runs.origin import Origin, read_origin
from app.studio.runs.samples import find_samples
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary, renamed_style
from app.studio.sweeps.sweep_file import REFERENCE, reference_of
from app.ui.components.log_tail import tail
from tests.app.command import call
from tests.app.ui.ended_runs import LAYER, write_run, write_scores, write_snapshot
from trainers.errors import VelaturaError
from trainers.runs.run import HEARTBEAT, Run
from trainers.score.recorded import recorded_scores


def number(style: Path | None) -> float:
    """Which style it is: `ended_runs` writes another one for each number."""
    assert style is not None
    return float(load_file(style)[f"{LAYER}.lora_up.weight"][0, 0])


@pytest.fixture
def run(queue: StudioQueue) -> Path:
    folder = write_run(queue.store.runs, "dusk", {"train": {"steps": 40, "warmup": 0}})
    queue.store.add(NewJob(TRAIN, folder), phase="ended")
    for step in (10, 20):
        write_snapshot(folder, step)
    return folder


def test_a_star_decides_and_without_one_the_finished_style_does(run):
    assert number(chosen.chosen_style(run)) == 1 and chosen.starred_step(run) is None
    chosen.star(run, 10)
    assert number(chosen.chosen_style(run)) == 10 and chosen.starred_step(run) == 10
    chosen.star(run, None)
    chosen.star(run, None)
    assert number(chosen.chosen_style(run)) == 1 and not (run / CHOSEN).exists()
    (run / "style" / "dusk.safetensors").unlink()
    assert number(chosen.chosen_style(run)) == 20, "the newest that was kept"
    Run(run).snapshot(10).unlink()
    Run(run).snapshot(20).unlink()
    assert chosen.chosen_style(run) is None


def test_without_a_star_the_best_step_counts_as_starred_and_a_persons_star_wins(queue, run):
    write_scores(run, 20, (10, 20, 30, 40))
    final = (run / "style" / "dusk.safetensors").read_bytes()
    assert chosen.read_choice(run) == chosen.Choice(20, ()) and number(chosen.chosen_style(run)) == 20
    view = queue.run("dusk")
    assert chosen.choice_of(view) == chosen.read_choice(run) and chosen.chosen_step(view) == 20
    assert [sample.step for sample in chosen.chosen_samples(view)] == [20, 20]
    os.link(run / "style" / "dusk.safetensors", Run(run).snapshot(40))  # as a training does
    for step, starred, style in ((10, True, 10), (40, True, 1), (20, False, 20)):
        chosen.star_in(view, step)
        assert (chosen.read_choice(run).starred, number(chosen.chosen_style(run))) == (starred, style), step
    chosen.star(run, 10)
    chosen.star(run, None)
    assert number(chosen.chosen_style(run)) == 20, "without the star the best step counts again"
    assert (run / "style" / "dusk.safetensors").read_bytes() == final
    Run(run).snapshot(20).unlink()
    assert number(chosen.chosen_style(run)) == 1, "its style was not kept"


def test_a_style_that_leads_nowhere_does_not_hide_the_best_step(queue, run, tmp_path):
    write_scores(run, 20, (10, 20))
    style = run / "style" / "dusk.safetensors"
    style.unlink()
    style.symlink_to(tmp_path / "gone.safetensors")
    assert number(chosen.chosen_style(run)) == 20
    (entry,) = StyleLibrary(queue).entries()
    assert entry.step == 20


def test_the_best_step_needs_no_star_if_it_is_the_exported_one_and_moves_while_the_run_trains(queue, run):
    os.link(run / "style" / "dusk.safetensors", Run(run).snapshot(40))
    write_scores(run, 40, (10, 20, 30, 40))
    view = queue.run("dusk")
    final = chosen.final_step(view.job.folder, view.summary)
    assert chosen.choice_of(view).step is None and chosen.chosen_step(view) == final == 40
    going = replace(view, state=State.TRAINING, summary=replace(view.summary, scores=view.summary.scores[:2]))
    (run / "style" / "dusk.safetensors").unlink()
    assert chosen.choice_of(going).step is None, "within the noise of seeds"
    write_scores(run, 10, (10, 20))
    going = replace(going, summary=replace(going.summary, scores=recorded_scores(run)[:3]))
    assert chosen.choice_of(going).step == 10
    chosen.star_in(going, 10)
    assert chosen.choice_of(going).starred, "so that it stays when the mark moves"


def test_only_what_was_kept_can_be_starred_and_a_damaged_note_stars_nothing(run):
    with pytest.raises(VelaturaError, match="step 30 was not kept"):
        chosen.star(run, 30)
    for text in ("", "{", "[]", '{"step": "10"}', '{"step": true}', '{"step": 30}', "[" * 100_000):
        (run / CHOSEN).write_text(text)
        assert chosen.starred_step(run) is None and number(chosen.chosen_style(run)) == 1, text


def test_two_more_steps_can_be_candidates_and_a_star_keeps_them(queue, run):
    for step in (30, 40):
        write_snapshot(run, step)
    chosen.star(run, 10)
    for step in (40, 20, 20):
        chosen.set_candidate(run, step, True)
    assert chosen.read_choice(run) == chosen.Choice(10, (20, 40), True), "in order"
    view = queue.run("dusk")
    assert chosen.in_closer_choice(view) == [10, 20, 40]
    with pytest.raises(VelaturaError, match="at most 2 steps"):
        chosen.set_candidate(run, 30, True)
    chosen.star(run, 20)
    assert chosen.read_choice(run) == chosen.Choice(20, (40,), True), "what is starred is no candidate"
    chosen.set_candidate(run, 20, True)
    with pytest.raises(VelaturaError, match="step 35 was not kept"):
        chosen.set_candidate(run, 35, True)
    chosen.star(run, None)
    assert chosen.read_choice(run) == chosen.Choice(None, (40,)) and number(chosen.chosen_style(run)) == 1
    for text in ('{"step": 10}', '{"step": 10, "candidates": [10, true, "20", 99, [], null]}'):  # older, and damaged
        (run / CHOSEN).write_text(text)
        assert chosen.read_choice(run) == chosen.Choice(10, (), True) and chosen.in_closer_choice(view) == [], text
    chosen.star(run, None)
    assert not (run / CHOSEN).exists()


def test_two_pages_choose_at_once_and_neither_loses_the_others_step(run):
    write_snapshot(run, 30)
    with ThreadPoolExecutor(3) as pages:
        tasks = [pages.submit(chosen.set_candidate, run, step, True) for step in (10, 20)]
        tasks += [pages.submit(chosen.star, run, 30)]
        assert [task.result() for task in tasks] == [None] * 3
    assert chosen.read_choice(run) == chosen.Choice(30, (10, 20), True)
    chosen.set_candidate(run, 10, False)
    assert chosen.read_choice(run) == chosen.Choice(30, (20,), True)


def test_the_library_its_downloads_and_the_command_line_follow_the_star(queue, run, tmp_path):
    library = StyleLibrary(queue)
    (item,) = library.entries()
    chosen.star(run, 20)
    (starred,) = library.entries()
    assert (starred.id, starred.name) == (item.id, "dusk") and number(starred.path) == 20
    assert number(library.download(starred, "safetensors")) == 20
    assert library.download(starred, "safetensors").name == "dusk 20.safetensors"
    out = tmp_path / "out.safetensors"
    assert call("export", run, "--out", out).code == 0 and number(out) == 20
    assert "already exists" in call("export", run, "--out", out).err
    shown = json.loads(call("inspect", run, "--json").out)
    assert shown["name"] == "step-00000020.safetensors"
    chosen.star(run, None)
    assert number(library.download(library.entries()[0], "safetensors")) == 1


def test_a_deleted_style_takes_its_kept_steps_along_and_a_restart_begins_without_a_star(queue, run):
    chosen.star(run, 10)
    chosen.set_candidate(run, 20, True)
    library = StyleLibrary(queue)
    thrown = library.remove(library.entries()[0], actor=MACHINE_OWNER)
    assert library.entries() == [] and chosen.chosen_style(run) is None and thrown is not None
    actions.restore(queue.store, thrown.id, actor=MACHINE_OWNER)
    assert number(chosen.chosen_style(run)) == 10 and chosen.read_choice(run) == chosen.Choice(10, (20,), True)
    job = queue.store.job_in(run)
    assert job is not None
    (run / "style" / "dusk.safetensors").unlink()
    (run / "style").rmdir()
    thrown = library.remove(library.entries()[0], actor=MACHINE_OWNER)
    assert library.entries() == [] and thrown is not None
    actions.restore(queue.store, thrown.id, actor=MACHINE_OWNER)
    assert number(chosen.chosen_style(run)) == 10


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipes_in_a_run_folder_are_not_waited_for(run):
    for name in (CHOSEN, ALIAS, ORIGIN, REFERENCE, HEARTBEAT):
        os.mkfifo(run / name)
    assert chosen.starred_step(run) is None and renamed_style(run) == "" and read_origin(run) == Origin()
    assert reference_of(run) is None and Run(run).beat() is None
    for name in ("config.toml", "stop"):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)
    assert Run(run).table() == {} and Run(run).asked_to_stop() == "save"
    with pytest.raises(VelaturaError, match=r"config.toml is not a file of this run's folder"):
        Run(run).config()


def test_files_that_are_elsewhere_are_not_shown(queue: StudioQueue, run, tmp_path):
    style, elsewhere = chosen.chosen_style(run), tmp_path / "elsewhere"
    assert style is not None and list(chosen.snapshots(run)) == [10, 20]
    elsewhere.write_bytes(style.read_bytes())
    shown = [sample.path for column in find_samples(run) for sample in column]
    for path in (style, chosen.snapshots(run)[20], shown[0], run / "log.txt"):
        path.unlink()
        path.symlink_to(elsewhere)
    assert list(chosen.snapshots(run)) == [10] and chosen.chosen_style(run) == chosen.snapshots(run)[10]
    assert [sample.path for column in find_samples(run) for sample in column] == shown[1:]
    for folder in ("samples", "snapshots"):
        (run / folder).rename(tmp_path / folder)
        (run / folder).symlink_to(tmp_path / folder)
    assert chosen.snapshots(run) == {} and find_samples(run) == []
    (run / "process.log").write_text("a warning")
    assert tail(run, "log.txt") == "" and tail(run, "process.log") == "a warning"
