from __future__ import annotations

import errno
from pathlib import Path

import gradio as gr
import pytest

from app.studio.dataset.uploads import Upload
from app.ui.api_schemas import RefusalError, kindly, must, table_of, text_of, texts_of, uploads_of
from trainers.atomic_files import plain_disk_errors


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "The disk is full, so this"), (errno.EROFS, "The studio's disk cannot be")]
)
def test_errors_of_the_disk_have_a_code_and_name_no_path(number: int, words: str) -> None:
    def write() -> None:
        with plain_disk_errors(Path("/srv/velatura/x")):
            raise OSError(number, "no")

    for endpoint in (kindly(write), kindly(lambda: must("format", write))):
        with pytest.raises(gr.Error) as refused:
            endpoint()
        message = refused.value.message
        assert message.startswith(words) and message.endswith("[not_kept]") and "/srv" not in message


@pytest.mark.parametrize(
    "files", [5, None, "x", [None], [{}], [{"path": 5}], [{"path": None}], [["x"]], {"path": None}]
)
def test_what_is_no_upload_is_refused_with_a_code(files):
    with pytest.raises(RefusalError, match="files must be uploads") as refused:
        uploads_of(files)
    assert refused.value.code == "bad_path"


def test_uploads_keep_the_name_that_they_had():
    given = [{"path": "/a/1.png", "orig_name": "fox.png"}, {"path": "/a/2.png"}]
    assert uploads_of(given) == [Upload(Path("/a/1.png"), "fox.png"), Upload(Path("/a/2.png"), "2.png")]


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda value: text_of(value, "prompt"), "\ud800"),
        (lambda value: texts_of(value, "images", 9), ["a", "\udfff"]),
        (lambda value: table_of(value, "settings"), {"sample": {"prompts": ["\ud800"]}}),
        (lambda value: table_of(value, "captions"), {"\ud800": "a fox"}),
    ],
)
def test_text_that_cannot_be_stored_is_refused_with_a_code(read, value):
    with pytest.raises(RefusalError, match="has half of a character") as refused:
        read(value)
    assert refused.value.code == "bad_value"
