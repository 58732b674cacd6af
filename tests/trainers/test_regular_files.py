from __future__ import annotations

import os

import pytest

from trainers.regular_files import is_inside, read_inside


def test_a_file_of_the_folder_is_read_also_through_links(tmp_path):
    folder = tmp_path / "run"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a").write_bytes(b"fox\r\n")
    (folder / "link").symlink_to("inner/a")
    (tmp_path / "alias").symlink_to(folder)
    for name in ("inner/a", "link"):
        assert read_inside(tmp_path / "alias", name) == b"fox\r\n" and is_inside(folder, folder / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize(
    "name", ["pipe", "linked pipe", "folder", "out", "linked folder/file", "../file", "nothing", "loop"]
)
def test_anything_else_is_an_error_at_once(tmp_path, name):
    folder = tmp_path / "run"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "file").write_text("secret")
    os.mkfifo(folder / "pipe")
    for link, target in (("linked pipe", "pipe"), ("out", "../file"), ("linked folder", ".."), ("loop", "loop")):
        (folder / link).symlink_to(target)
    assert not is_inside(folder, folder / name)
    with pytest.raises(OSError):
        read_inside(folder, name)
