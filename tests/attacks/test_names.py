"""Names that lead elsewhere, hide what they are, or are made for a page or a terminal."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from app.studio.dataset.checks import Report
from app.studio.dataset.drafts import Drafts
from app.studio.dataset.uploads import Upload, take_in
from app.studio.names import safe_name, unlike
from app.studio.paths import Paths
from app.ui.train.images_view import overview
from tests.trainers.data.pictures import scene
from trainers.config.names import check_name

NASTY = [
    *("../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "C:\\boot.ini", "\\\\host\\share", "a\0.png"),
    *("CON", "nul.png", "LPT1 .png", "a:stream.png", "a\r\nSet-Cookie: x=1", "\x1b[2J\x1b]0;owned\x07"),
    *(
        "<img src=x onerror=alert(1)>",
        "${alert(1)}",
        "{{7*7}}",
        "%2e%2e%2f",
        "gnp.\u202efox",
        "\u2066a\u2069",
        "a\u200bb",
    ),
    *("e\u0301" * 100, "狐" * 500, "x" * 5000, "\ud800", "--help", "-rf", "~", ".git", ".studio", "...", " ", ""),
]


@pytest.mark.parametrize("typed", NASTY, ids=ascii)
def test_a_run_is_never_called_so(tmp_path: Path, typed: str) -> None:
    name = safe_name(typed)
    if not name:
        return
    folder = tmp_path / unlike(tmp_path, check_name(name))
    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve() and not name.startswith((".", "-", "~"))
    assert all(unicodedata.category(letter)[0] in "LMN" or letter in " ._-" for letter in name)


def test_files_with_such_names_are_kept_under_names_of_ours(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "outputs")
    paths.make()
    drafts, uploads = Drafts(paths), []
    for number, name in enumerate(NASTY):
        path = paths.uploads / f"{number}.png"
        if number % 2 or "<" in name:
            path.write_text("no picture", encoding="utf-8")
        else:
            scene(number, (24, 24)).save(path)
        uploads.append(Upload(path, name.encode("utf-8", "replace").decode()))
    draft = take_in(drafts, "visitor:x", uploads, paths.uploads)
    assert len(draft.pictures) + len(draft.left_out) == len(NASTY)
    kept = {path.name for path in (paths.drafts / draft.id / "pictures").iterdir()}
    assert kept == {f"{one.id}.png" for one in draft.pictures} and len(kept) > 10
    assert all(len(one.name) <= 200 for one in (*draft.pictures, *draft.left_out))
    page = overview(draft, Report({}, (), {}))
    assert "&lt;img" in page and "<img" not in page
    assert not [path for path in tmp_path.rglob("*") if "passwd" in path.name or "win.ini" in path.name]
