"""Files: whole or not at all, waited for, and refusals in words."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from trainers import atomic_files
from trainers.atomic_files import plain_disk_errors, sync_folder, sync_tree, whole_file
from trainers.errors import VelaturaError


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "disk is read-only"), (errno.EACCES, "no permission")],
)
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
    monkeypatch.setattr(atomic_files, "PAUSES", (0.0, 0.0, 0.0))
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
    monkeypatch.setattr(atomic_files.os, "fsync", lambda file: (fsync(file), synced.append(os.fstat(file).st_ino)))
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


def test_a_network_disk_that_cannot_sync_folders_is_written_to(tmp_path, monkeypatch):
    def refuse(code):
        def fsync(descriptor):
            raise OSError(code, "simulated")

        return fsync

    monkeypatch.setattr(atomic_files.os, "fsync", refuse(errno.EINVAL))
    sync_folder(tmp_path)
    monkeypatch.setattr(atomic_files.os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="simulated"):
        sync_folder(tmp_path)


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
