"""Run folders: made whole or not at all, never over something else."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tests.faults import Fault, check_old_or_new, each_cut
from trainers.config.build import build_config
from trainers.config.migrations import VERSION
from trainers.errors import VelaturaError
from trainers.runs.run import Run, is_run, new_run, open_run, write_config


@pytest.fixture
def config():
    return build_config({"name": "dusk", "data": {"images": "/somewhere"}})


def write_run(run, config):
    write_config(run, config)
    (run.folder / "events.jsonl").touch()


def test_a_run_appears_at_the_end(tmp_path, config):
    with new_run(config, tmp_path / "a" / "b", overwrite=False) as run:
        assert not (tmp_path / "a" / "b" / "dusk").exists()
        write_run(run, config)
    opened = open_run(tmp_path / "a" / "b" / "dusk")
    assert opened.config().data.images == str(opened.dataset)
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["dusk"]


def test_a_run_that_has_lost_its_events_is_opened_and_a_config_alone_is_not(tmp_path, config):
    with new_run(config, tmp_path, overwrite=False) as run:
        write_config(run, config)
    with pytest.raises(VelaturaError, match=r"a config\.toml, and an events\.jsonl or checkpoints"):
        open_run(tmp_path / "dusk")
    Run(tmp_path / "dusk").checkpoint(3).mkdir(parents=True)
    assert open_run(tmp_path / "dusk").checkpoint_steps() == [3]


def test_an_error_leaves_nothing_behind(tmp_path, config):
    with pytest.raises(RuntimeError), new_run(config, tmp_path / "a" / "b", overwrite=False) as run:
        (run.folder / "half").write_text("written")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unless_asked_and_then_only_at_the_end(tmp_path, config):
    (tmp_path / "dusk").mkdir()
    (tmp_path / "dusk" / "kept").write_text("precious")
    with pytest.raises(VelaturaError, match="not a run folder"), new_run(config, tmp_path, overwrite=True):
        pass
    (tmp_path / "dusk" / "config.toml").write_text("")  # other programs have one too
    with pytest.raises(VelaturaError, match="not a run folder"), new_run(config, tmp_path, overwrite=True):
        pass
    (tmp_path / "dusk" / "events.jsonl").write_text("")
    with pytest.raises(VelaturaError, match="--overwrite"), new_run(config, tmp_path, overwrite=False):
        pass
    with pytest.raises(RuntimeError), new_run(config, tmp_path, overwrite=True):
        raise RuntimeError
    assert (tmp_path / "dusk" / "kept").read_text() == "precious"
    with new_run(config, tmp_path, overwrite=True) as run:
        write_config(run, config)
    assert not (tmp_path / "dusk" / "kept").exists()
    assert (tmp_path / "dusk" / "config.toml").exists()
    (tmp_path / "dusk" / "events.jsonl").write_text("old")
    with new_run(config, tmp_path, True, lambda old: old.rename(tmp_path / "away")) as run:
        assert not (tmp_path / "away").exists()
        write_config(run, config)
    assert (tmp_path / "away" / "events.jsonl").read_text() == "old"
    assert not (tmp_path / "dusk" / "events.jsonl").exists()


def test_a_file_in_the_way_is_named(tmp_path, config):
    (tmp_path / "out").write_text("a file")
    (tmp_path / "dusk").write_text("another")
    with pytest.raises(VelaturaError, match="not a run folder"), new_run(config, tmp_path, overwrite=True):
        pass
    for out in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(VelaturaError, match="is a file, not a folder"), new_run(config, out, overwrite=False):
            pass
    assert (tmp_path / "out").read_text() == "a file"


def test_what_a_killed_run_has_left_goes_with_the_next_one_a_day_later(tmp_path, config):
    for name, hours in (("old", 25), ("young", 23)):
        left = tmp_path / f".{name}.1-2.unfinished"
        (left / "dataset").mkdir(parents=True)
        os.utime(left, times=(0, time.time() - 3600 * hours))
    with new_run(config, tmp_path, overwrite=False) as run:
        write_run(run, config)
        assert not (tmp_path / ".old.1-2.unfinished").exists()
    assert (tmp_path / ".young.1-2.unfinished" / "dataset").is_dir()


def test_checkpoints_are_found_in_order_and_unfinished_ones_are_not(tmp_path):
    run = Run(tmp_path)
    assert run.checkpoint_steps() == []
    for name in ("step-00000020", "step-00000003", ".step-00000030.unfinished", "other"):
        (run.checkpoints / name).mkdir(parents=True)
    assert run.checkpoint_steps() == [3, 20]


def test_the_stop_sign(tmp_path):
    run = Run(tmp_path)
    assert run.asked_to_stop() is None
    for how in ("save", "pause", "cancel"):
        run.ask_to_stop(how)
        assert run.asked_to_stop() == how
    for words in ("", "now, please", "pause\n"):
        (tmp_path / "stop").write_text(words)
        assert run.asked_to_stop() == ("pause" if "pause" in words else "save")
    (tmp_path / "stop").write_bytes("pause\r\n".encode("utf-16"))  # as PowerShell writes it
    assert run.asked_to_stop() == "pause"
    run.clear_stop()
    run.clear_stop()
    assert run.asked_to_stop() is None and list(tmp_path.iterdir()) == []


def test_no_run_folder(tmp_path):
    with pytest.raises(VelaturaError, match="is not a run folder"):
        open_run(tmp_path)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("version", [1, VERSION])
def test_a_fault_at_any_change_leaves_the_old_config_or_the_new_one(fault, version, tmp_path, config):
    (tmp_path / "before").mkdir()
    write_config(Run(tmp_path / "before"), config)
    text = (tmp_path / "before" / "config.toml").read_text()
    (tmp_path / "before" / "config.toml").write_text(text.replace(f"version = {VERSION}", f"version = {version}"))

    def look(folder):
        assert not (kept := folder / "config.v1.toml").exists() or "version = 1" in kept.read_text()
        return Run(folder).table()["seed"]

    new = config.model_copy(update={"seed": 7})
    check_old_or_new(fault, tmp_path, tmp_path / "before", lambda place: write_config(Run(place), new), look)


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_at_any_change_leaves_the_run_that_is_replaced_or_the_new_one_or_none(fault, tmp_path, config):
    before = tmp_path / "before"
    with new_run(config, before, overwrite=False) as run:
        write_run(run, config)
        (run.folder / "old").write_text("words")

    def replace(place):
        with new_run(config, place, overwrite=True) as run:
            write_run(run, config)
            (run.folder / "new").write_text("words")

    def look(place):
        (run,) = [path for path in place.iterdir() if not path.name.startswith(".")] or [None]
        return run and {path.name: path.read_text() for path in run.iterdir() if path.name in ("old", "new")}

    seen = [(look(cut.place), cut) for cut in each_cut(fault, tmp_path, before, replace)]
    assert seen[0][0] == {"old": "words"} and seen[-1][0] == {"new": "words"}
    allowed = [{"old": "words"}, {"new": "words"}, *([None] if fault in (Fault.KILL, Fault.POWER) else [])]
    assert [cut for found, cut in seen if found not in allowed] == []
    assert all(found is None or is_run(cut.place / "dusk") for found, cut in seen)


def test_what_attempts_that_were_killed_have_left_goes_when_a_run_has_ended(tmp_path):
    run = Run(tmp_path)
    begun = time.time()
    for number, name in enumerate(
        ("style/.dusk.safetensors.1-2.part", ".unfinished-1-2-config.toml", "cache/x.1.part")
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, times=(0, begun - 1 - number))
    (tmp_path / ".unfinished-3-4-stop").write_text("somebody asks just now")
    os.utime(tmp_path / ".unfinished-3-4-stop", times=(0, begun + 1))
    run.damaged_checkpoint(3).mkdir(parents=True)
    run.tidy(begun)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".unfinished-3-4-stop"]
    assert list(run.checkpoints.iterdir()) == []


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path, config):
    with new_run(config, tmp_path, overwrite=False) as run:
        write_run(run, config)
    held = Run(tmp_path / "dusk")
    assert not held.is_training()
    with held.training():
        assert held.is_training()
        with pytest.raises(VelaturaError, match="trained by another process"), held.training():
            pass
        with pytest.raises(VelaturaError, match="another process"), new_run(config, tmp_path, overwrite=True):
            pass
        assert (tmp_path / "dusk" / "config.toml").exists()
    assert not held.is_training()


def test_a_killed_process_lets_go_of_its_run(tmp_path):
    import subprocess
    import sys

    lines = "from pathlib import Path; from trainers.runs.run import Run; import sys\n"
    lines += "with Run(Path(sys.argv[1])).training():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    process = subprocess.Popen([sys.executable, "-c", lines, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline().strip() == b"held"
    assert Run(tmp_path).is_training()
    assert Run(tmp_path).last_beat() < 60
    process.kill()
    process.communicate()
    assert not Run(tmp_path).is_training()
    assert Run(tmp_path).last_beat() < 60  # what it left says when it was last seen


def test_a_run_is_held_even_while_somebody_asks_whether_it_is(tmp_path):

    run, stop = Run(tmp_path), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            run.is_training()

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(5):
            with run.training():
                assert run.is_training()
    finally:
        stop.set()
        for thread in asking:
            thread.join()
    assert run.last_beat() == float("inf")  # it is gone with an orderly end


def test_a_name_taken_while_a_run_was_built_is_said(tmp_path, config):
    with pytest.raises(VelaturaError, match="has just been created"), new_run(config, tmp_path, False) as run:
        write_run(run, config)
        (tmp_path / "dusk").mkdir()
        (tmp_path / "dusk" / "theirs").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["dusk"]
