from __future__ import annotations

from pathlib import Path

import pytest

from app.studio.dataset.uploads import Upload
from app.ui.api_schemas import RefusalError, uploads_of


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
