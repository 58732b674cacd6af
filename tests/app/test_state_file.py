from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.state_file import StateFile
from tests.faults import Fault, check_old_or_new

ROOT = Path(__file__).parents[2]


def number(content: bytes) -> int:
    value = json.loads(content)
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is no number")
    return value


@pytest.fixture
def file(tmp_path: Path) -> StateFile[int]:
    (tmp_path / "state").mkdir()
    return StateFile(tmp_path / "state" / "count.json", number, json.dumps)


def damaged(file: StateFile[int]) -> list[bytes]:
    return [path.read_bytes() for path in file.path.parent.glob("count.damaged-*.json")]


def test_a_state_is_read_as_it_was_written(file: StateFile[int]) -> None:
    assert file.read() is None
    file.write(1)
    assert file.read() == 1 and not file.before.exists()
    file.write(2)
    assert file.read() == 2 and file.before.read_text() == "1"
    file.write(2)
    assert file.before.read_text() == "1", "the state before is another one"
    assert {path.name for path in file.path.parent.iterdir()} == {"count.json", "count.before.json", ".count.json.lock"}


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"[1", b'"two"', b"\xff"])
def test_a_damaged_one_is_set_aside_and_the_one_before_is_back(
    file: StateFile[int], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(1)
    file.write(2)
    file.path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert file.read() == 1
    assert damaged(file) == [content] and "count.json is damaged and was set aside" in caplog.text
    assert file.path.read_text() == "1" and file.read() == 1 and len(damaged(file)) == 1


def test_writing_over_a_damaged_one_keeps_the_last_good_one(file: StateFile[int]) -> None:
    file.write(1)
    file.write(2)
    file.path.write_bytes(b"")
    file.write(3)
    assert (file.read(), file.before.read_text()) == (3, "1")


def test_nothing_of_it_left_is_none_and_kept(file: StateFile[int]) -> None:
    file.write(1)
    file.path.write_bytes(b"?")
    assert file.read() is None and file.read() is None and damaged(file) == [b"?"]
    file.write(4)
    assert file.read() == 4


def test_what_was_deleted_with_its_folder_does_not_come_back(file: StateFile[int]) -> None:
    file.write(1)
    shutil.rmtree(file.path.parent)
    with pytest.raises(FileNotFoundError):
        file.write(2)
    assert not file.path.parent.exists() and file.read() is None


def test_many_readers_of_a_damaged_one_set_it_aside_once(file: StateFile[int]) -> None:
    file.write(1)
    file.write(2)
    file.path.write_bytes(b"?")
    seen: list[int | None] = []
    threads = [threading.Thread(target=lambda: seen.append(file.read())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8 and damaged(file) == [b"?"]


def test_it_is_on_the_disk_before_it_has_its_name(file: StateFile[int], monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda self, target: (done.append(target.name), replace(self, target))[1])
    file.write(1)
    assert done == ["fsync", "count.json", "fsync"] if os.name == "posix" else done[:2] == ["fsync", "count.json"]


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_at_any_change_leaves_the_old_state_or_the_new_one(fault: Fault, tmp_path: Path) -> None:
    def file(folder: Path) -> StateFile[int]:
        return StateFile(folder / "count.json", number, json.dumps)

    (before := tmp_path / "before").mkdir()
    file(before).write(1)
    file(before).write(2)

    def look(folder: Path) -> int | None:
        assert number((folder / "count.before.json").read_bytes()) in (1, 2)
        assert not damaged(file(folder))
        return file(folder).read()

    check_old_or_new(fault, tmp_path, before, lambda place: file(place).write(3), look)


COUNT = """
import itertools, json, sys
from pathlib import Path
from app.state_file import StateFile
file = StateFile(Path(sys.argv[1]), json.loads, json.dumps)
for number in itertools.count(1):
    file.write(number)
"""


def test_a_killed_writer_leaves_a_whole_state(tmp_path: Path) -> None:
    path = tmp_path / "count.json"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", COUNT, str(path)], cwd=ROOT)
        end = time.monotonic() + 60
        while not path.exists() or json.loads(path.read_bytes()) in (0, 1):
            assert time.monotonic() < end and writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        now, before = (json.loads(each.read_bytes()) for each in (path, path.with_name("count.before.json")))
        assert before in (now - 1, now) and now > 1
        StateFile(path, number, json.dumps).write(0)  # the lock of the killed one is free
