from __future__ import annotations

from pathlib import Path

import pytest

from app.studio.dataset.uploads import sender_folder
from app.ui.login.sender import VISITOR
from app.ui.middleware.file_access import FileAccessMiddleware
from tests.app.ui.asking import ask, inner


@pytest.fixture
def stack(tmp_path: Path) -> FileAccessMiddleware:
    return FileAccessMiddleware(inner, tmp_path / "public", tmp_path / "uploads")


def test_files_of_the_folders_are_read(stack, tmp_path):
    for path in (tmp_path / "public" / "x" / "a.webp", tmp_path / "uploads" / ("a" * 64) / "b.png"):
        assert ask(stack, f"/gradio_api/file={path}").status == 200
    assert ask(stack, "/config").status == 200


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "http://evil.example/x.png", "HTTP://x", "//evil.example/x", "x.png", "", "~/x", "file:///x"],
)
def test_nothing_else_is(stack, path):
    answer = ask(stack, f"/gradio_api/file={path}")
    assert answer.status == 404 and answer.text == '{"detail":"Not Found"}'


def test_nobody_leaves_a_folder(stack, tmp_path):
    for way in ("public/../secret", "public/x/../../../secret", "public/..", "publicly/x", "public/\0.png", "uploads"):
        assert ask(stack, f"/gradio_api/file={tmp_path}/{way}").status == 404, way


def test_an_upload_is_its_senders_alone(stack, tmp_path):
    upload = sender_folder(tmp_path / "uploads", "visitor:ann") / ("c" * 32) / "a.png"
    assert ask(stack, f"/gradio_api/file={upload}", cookie=f"{VISITOR}=ann").status == 200
    assert ask(stack, f"/gradio_api/file={upload}", cookie=f"{VISITOR}=bob").status == 404
    assert ask(stack, f"/gradio_api/file={upload}").status == 404
    nobodys = sender_folder(tmp_path / "uploads", "") / ("c" * 32) / "a.png"
    assert ask(stack, f"/gradio_api/file={nobodys}").status == 404


def test_an_upload_has_no_second_name(stack, tmp_path):
    """A folder may be found in capitals too, or by the eight letters that Windows keeps for old programs."""
    folder = sender_folder(tmp_path / "uploads", "visitor:ann")
    for name in (folder.name.upper(), f"{folder.name[:6]}~1", f"{folder.name}.", f"{folder.name}::$DATA", ".held"):
        path = folder.with_name(name) / ("c" * 32) / "a.png"
        assert ask(stack, f"/gradio_api/file={path}", cookie=f"{VISITOR}=bob").status == 404, name
