"""What stands in the way of an installation before anything is changed."""

from __future__ import annotations

import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from installer import actions
from installer.layout import Layout, Record, RefusedError
from installer.packages import locked
from installer.source import open_source
from tests.installer.tiny import make_source

Disk = namedtuple("Disk", "total used free")
LOCK = """torch==2.0 ; python_version > '3' \\
    --hash=sha256:ab
nvidia-nccl-cu13==1 \\
    --hash=sha256:cd
    --hash=sha256:ef
"""


def no(_question: str) -> bool:
    return False


def test_a_disk_without_room_is_named_before_anything_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(str(make_source(tmp_path / "source", "1.0", 1, tmp_path / "wheels")), tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Disk(10**12, 10**12 - 10**9, 10**9))
    with pytest.raises(RefusedError, match=r"has 1\.0 GB free; installing takes"):
        actions.install(Layout(tmp_path / "program"), source, None, None, no)
    assert not (tmp_path / "program").exists()


def test_a_folder_with_files_of_something_else_is_refused(tmp_path: Path) -> None:
    """Updating and uninstalling remove folders by name, which must not be those of a person."""
    source = open_source(str(make_source(tmp_path / "source", "1.0", 1, tmp_path / "wheels")), tmp_path)
    layout = Layout(tmp_path / "mine")
    for name in ("downloads/song.ogg", "versions/1/draft.odt", "python/script.py"):
        (file := layout.root / name).parent.mkdir(parents=True)
        file.write_text("hers")
        with pytest.raises(RefusedError, match="holds files of something else; choose a new folder with --to"):
            actions.install(layout, source, None, None, lambda _: True)
        with pytest.raises(RefusedError, match="there is no Velatura in"):
            actions.uninstall(layout, lambda _: True)
        assert file.read_text() == "hers"
        shutil.rmtree(layout.root)
    (layout.root / "python" / "cpython-3.13").mkdir(parents=True)  # by install.sh
    layout.refuse_other_folder()
    with layout.locked():
        (layout.root / "versions").mkdir()
    layout.refuse_other_folder()  # a kill ended it here


def test_after_an_interrupted_removal_it_is_installed_or_removed_again(tmp_path: Path) -> None:
    source = open_source(str(make_source(tmp_path / "source", "1.0", 1, tmp_path / "wheels")), tmp_path)
    layout = Layout(tmp_path / "program")
    with layout.locked():
        (layout.root / "removing" / "1.0-ab").mkdir(parents=True)
        layout.use("1.0-ab", Record(str(tmp_path / "outputs"), "source"))
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "queue.db").touch()
    with pytest.raises(RefusedError, match="nothing was changed"):  # it asks; it does not stumble over the version
        actions.install(layout, source, None, None, no)
    actions.uninstall(layout, lambda _: True)
    assert not layout.root.exists() and (tmp_path / "outputs" / "queue.db").exists()


def test_nothing_is_changed_without_consent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = open_source(str(make_source(tmp_path / "source", "1.0", 1, tmp_path / "wheels")), tmp_path)
    for torch, said in (
        ("cpu", "https://download.pytorch.org/whl/cpu"),
        ("https://mine/", "PyTorch from https://mine/"),
    ):
        with pytest.raises(RefusedError, match="nothing was changed"):
            actions.install(Layout(tmp_path / "program"), source, tmp_path / "mine", torch, no)
        plan = capsys.readouterr().out
        assert said in plan and "except PyTorch" in plan and str(tmp_path / "mine") in plan
    assert not (tmp_path / "program").exists() and source.name("cpu") != source.name("")


def test_there_is_nothing_to_go_back_to_or_to_uninstall(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(RefusedError, match="no previous version"):
        actions.back(layout, no)
    with pytest.raises(RefusedError, match="there is no Velatura in"):
        actions.uninstall(layout, no)


def test_a_record_of_a_newer_version_is_read(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.record() is None and layout.current() == ""
    layout.use("1.0-ab", record := Record("outputs", "source", previous="0.9-cd"))
    text = (tmp_path / "installation.json").read_text()
    (tmp_path / "installation.json").write_text(text.replace("{", '{"later": 1,', 1))
    assert layout.record() == record and layout.current() == "1.0-ab"


def test_the_packages_of_a_lock_file_are_told_apart() -> None:
    assert [name for name, _ in locked(LOCK)] == ["torch", "nvidia-nccl-cu13"]
    assert "".join(block for _, block in locked(LOCK)) == LOCK


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of other systems")
def test_what_is_kept_of_it_is_private(tmp_path: Path) -> None:
    from installer import copies

    (tmp_path / ".studio").mkdir()
    (tmp_path / ".studio" / "secret").write_bytes(b"secret")
    copy = copies.copy(tmp_path, "1.0")
    assert (copy / ".studio" / "secret").read_bytes() == b"secret" and copy.stat().st_mode & 0o077 == 0
    for number in range(copies.KEPT + 2):
        (tmp_path / copies.FOLDER / f"2000010{number}-000000 0.9").mkdir()
    latest = copies.copy(tmp_path, "1.1")
    kept = sorted(path.name for path in (tmp_path / copies.FOLDER).iterdir())
    assert len(kept) == copies.KEPT and latest.name in kept and copy.name in kept
