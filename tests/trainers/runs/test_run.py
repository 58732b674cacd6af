"""Run folders: made whole or not at all, never over something else."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.faults import Fault, check_old_or_new, each_cut
from trainers.config.build import build_config
from trainers.config.migrations import VERSION
from trainers.errors import VelaturaError
from trainers.runs import run as module
from trainers.runs.run import (
    Run,
    is_run,
    new_run,
    open_run,
    plain_disk_errors,
    sync_folder,
    sync_tree,
    whole_file,
    write_config,
)


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


def test_an_error_leaves_nothing_behind(tmp_path, config):
    with pytest.raises(RuntimeError), new_run(config, tmp_path / "a" / "b", overwrite=False) as run:
        (run.folder / "half").write_text("written")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unless_asked_and_then_only_at_the_end(tmp_path, config):
    (tmp_path / "dusk").mkdir()
    (tmp_path / "dusk" / "kept").write_text("precious")
    with pytest.raises(VelaturaError, match="no run folder"), new_run(config, tmp_path, overwrite=True):
        pass
    (tmp_path / "dusk" / "config.toml").write_text("")  # other programs have one too
    with pytest.raises(VelaturaError, match="no run folder"), new_run(config, tmp_path, overwrite=True):
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
    with pytest.raises(VelaturaError, match="no run folder"), new_run(config, tmp_path, overwrite=True):
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
    with pytest.raises(VelaturaError, match="is no run folder"):
        open_run(tmp_path)


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "no permission")])
def test_disk_errors_in_words(tmp_path, code, words):
    with pytest.raises(VelaturaError, match=words), plain_disk_errors(tmp_path / "x"):
        raise OSError(code, "simulated")
    with pytest.raises(OSError, match="simulated"), plain_disk_errors(tmp_path / "x"):
        raise OSError(errno.EIO, "simulated")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    place = tmp_path / "words.txt"
    place.write_text("before")
    with pytest.raises(OSError, match="simulated"), whole_file(place) as building:
        building.write_text("ha")
        raise OSError(errno.EIO, "simulated")
    assert place.read_text() == "before" and list(tmp_path.iterdir()) == [place]
    with whole_file(place) as building:
        building.write_text("after")
        assert building.suffix == ".txt" and place.read_text() == "before"
    assert place.read_text() == "after" and list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(("busy", "code"), [(3, 32), (1, 5), (99, 32), (1, None)])
def test_a_file_that_windows_says_is_in_use_is_replaced_a_little_later(busy, code, tmp_path, monkeypatch):
    place, replace, tries = tmp_path / "words.txt", Path.replace, []
    place.write_text("before")

    def refuse(path: Path, target: Path) -> Path:
        tries.append(path)
        if len(tries) <= busy:
            error = PermissionError(errno.EACCES, "in use")
            error.winerror = code
            raise error
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))
    done = code is not None and busy <= 3
    with nullcontext() if done else pytest.raises(PermissionError), whole_file(place) as building:
        building.write_text("after")
    assert place.read_text() == ("after" if done else "before") and list(tmp_path.iterdir()) == [place]
    assert len(tries) == (1 if code is None else min(busy, 3) + 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a child gives up its rights")
def test_a_folder_with_files_that_may_not_be_written_is_waited_for(tmp_path, monkeypatch):
    for name, mode in (("read-only", 0o444), ("closed", 0o000)):
        (tmp_path / name).write_text("words")
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    synced, fsync = [], os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda file: (fsync(file), synced.append(os.fstat(file).st_ino)))
    child = os.fork()
    if child == 0:
        try:
            wanted = {(tmp_path / name).stat().st_ino for name in (".", "read-only")}
            if os.getuid() == 0:
                for path in (Path(), Path("read-only"), Path("closed")):
                    os.chown(path, 65534, 65534)
                os.setuid(65534)
            sync_tree(Path())
            os._exit(0 if set(synced) == wanted else 2)
        except BaseException:  # noqa: BLE001 - a child of a test must not go on as the test
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


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


def test_a_network_disk_that_cannot_sync_folders_is_written_to(tmp_path, monkeypatch):
    def refuse(code):
        def fsync(descriptor):
            raise OSError(code, "simulated")

        return fsync

    monkeypatch.setattr(module.os, "fsync", refuse(errno.EINVAL))
    sync_folder(tmp_path)
    monkeypatch.setattr(module.os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="simulated"):
        sync_folder(tmp_path)


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


def test_threads_that_write_the_same_file_do_not_disturb_each_other(tmp_path):
    place, both = tmp_path / "words.txt", threading.Barrier(2)

    def write(number: int) -> str:
        with whole_file(place) as building:
            building.write_text(str(number))
            both.wait()
            return building.read_text()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(write, range(2))) == ["0", "1"]
    assert place.read_text() in ("0", "1") and list(tmp_path.iterdir()) == [place]


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
    import threading

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
    with pytest.raises(VelaturaError, match="was made by somebody else"), new_run(config, tmp_path, False) as run:
        write_run(run, config)
        (tmp_path / "dusk").mkdir()
        (tmp_path / "dusk" / "theirs").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["dusk"]
