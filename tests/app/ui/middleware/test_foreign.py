from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import gradio.data_classes
import pytest

from app.ui.middleware.foreign import ForeignAddressMiddleware, find_foreign
from tests.app.ui.asking import ask, inner

HOST = "localhost:7860"
UPLOADS = Path("/outputs/.studio/uploads/tmp1")
STACK = ForeignAddressMiddleware(inner, UPLOADS)
ADDRESSES = (
    "http://evil.example/x.png",
    "HTTPS://evil.example/x",
    " \n\thttp://evil.example/x",
    "ht\ntp://evil.example/x",
    "\u00a0http://evil.example/x",
    "ftp://evil.example/x",
    "file:///etc/passwd",
    "data:text/html,x",
    "//evil.example/share",
    "\\\\evil.example\\share",
    "/\\evil.example/x",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_where_a_files_place_belongs_is_found_however_deep(address):
    for key in ("path", "url"):
        file = {"path": "/ours/x", "orig_name": "x", "meta": {"_type": "gradio.FileData"}} | {key: address}
        for content in (file, {"data": [[file]]}, [{"a": {"b": [0, {"files": [file]}]}}], {"event_data": file}):
            assert find_foreign(content, HOST) == address, content
    deep: Any = {"path": address}
    for _ in range(5_000):
        deep = [deep]
    assert find_foreign(deep, HOST) == address


def test_words_and_files_of_ours_pass():
    for content in (
        {"data": ["a caption with http://example.org in it", {"note": "https://example.org"}]},
        {"path": "/outputs/.studio/uploads/tmp1/abc/a.png", "url": None},
        {"path": "C:\\Users\\ann\\a.png", "url": "C:/Users/ann/a.png"},
        {"path": "/x", "url": f"http://{HOST}/gradio_api/file=/x"},
        {"path": "/x", "url": "/gradio_api/file=/x"},
        {"path": ["http://evil.example"]},
        None,
    ):
        assert find_foreign(content, HOST) == "", content
    assert find_foreign({"url": "http://localhost:7861/x"}, HOST) and find_foreign({"url": "http:///x"}, "")


@pytest.mark.parametrize("name", ["queue/join", "run/predict", "api/upload", "call/upload", "call/v2/upload", "cancel"])
def test_a_request_is_refused_before_anybody_reads_it(name):
    body = json.dumps({"data": [[{"path": "http://evil.example/x.png"}]]}).encode()
    for kind in ("application/json", "text/plain", ""):
        refused = ask(STACK, f"/gradio_api/{name}", "POST", [body[:20], body[20:]], content_type=kind)
        assert refused.status == 400 and "upload the file" in json.loads(refused.text)["detail"]
    fine = ask(STACK, f"/gradio_api/{name}", "POST", [b'{"data": [', b'"x"]}'], content_type="application/json")
    assert fine.text == "in None 15", "what passes arrives whole"


@pytest.mark.parametrize("body", [b"{", b"[" * 200_000, b"\xff\xfe\x00", b"a=b"])
def test_what_is_no_json_is_refused_in_words(body):
    refused = ask(STACK, "/gradio_api/queue/join", "POST", [body])
    assert refused.status == 400 and "not valid JSON" in refused.text


def test_every_field_of_gradios_models_that_holds_an_address_is_looked_at():
    """Whatever model a file comes in, its place stands under one of the names that are looked at."""
    from pydantic import BaseModel

    models = [
        kind
        for _, kind in inspect.getmembers(gradio.data_classes, inspect.isclass)
        if issubclass(kind, BaseModel) and "meta" in kind.model_fields
    ]
    assert {"FileData", "ImageData"} <= {kind.__name__ for kind in models}
    for kind in models:
        texts = {name for name, field in kind.model_fields.items() if "str" in str(field.annotation)}
        assert texts <= {"path", "url", "orig_name", "mime_type", "meta"}, f"{kind.__name__} has a field we do not know"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "a.png", "", f"{UPLOADS}/../secret", f"{UPLOADS}x/a.png", f"{UPLOADS}/\0"]
)
def test_a_file_that_is_no_upload_is_refused_with_a_code(path):
    def sent(place: str) -> Any:
        file = {"path": place, "meta": {"_type": "gradio.FileData"}}
        return ask(STACK, "/gradio_api/queue/join", "POST", [json.dumps({"data": [[file]]}).encode()])

    refused = sent(path)
    assert refused.status == 400 and json.loads(refused.text)["detail"].endswith("[bad_path]")
    assert sent(f"{UPLOADS}/a/b/c.png").status == 200
