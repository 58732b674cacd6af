from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from app.studio.paths import Paths, UploadFolder
from tests.faults import Fault, each_cut


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "outputs")
    made.make()
    return made


def test_the_secret_is_kept(paths):
    secret = paths.secret()
    assert len(secret) == 32 and paths.secret() == secret and len(set(secret)) > 10
    assert stat.S_IMODE((paths.root / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("left", [b"", b"too short", bytes(31)])
def test_what_is_too_short_to_be_a_key_is_none(paths, left):
    (paths.root / "secret").write_bytes(left)
    secret = paths.secret()
    assert len(secret) == 32 and not (left and secret.startswith(left)) and paths.secret() == secret
    assert (paths.root / "secret.damaged").read_bytes() == left


def test_a_secret_that_was_given_out_outlives_a_power_cut(paths, tmp_path):
    given: list[bytes] = []
    for cut in each_cut(Fault.POWER, tmp_path, paths.runs, lambda place: given.append(Paths(place).secret())):
        if cut.error is None:
            assert Paths(cut.place).secret() == given[-1], cut
    assert len(given) > 0


def test_all_who_come_first_get_the_same(paths):
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: paths.secret(), range(16)))) == 1


def test_servers_that_start_at_once_have_a_folder_each(paths):
    """The sweep of one must not take another's for left behind before that is held."""
    (paths.uploads / "left").mkdir()
    (paths.uploads / "left" / "fox.png").touch()
    together = Barrier(8)

    def start(_number: int) -> UploadFolder:
        together.wait()
        return UploadFolder(paths)

    for _ in range(10):
        with ThreadPoolExecutor(8) as threads:
            folders = list(threads.map(start, range(8)))
        assert {folder.path for folder in folders} == set(paths.uploads.iterdir())
        for folder in folders:
            folder.close()
    assert list(paths.uploads.iterdir()) == []
