"""What counts as a form."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.requests import Request

from app.ui.login.form import Form, read_form, value_of
from tests.app.ui.asking import posted


def read(body: bytes, kind: str) -> Form | None:
    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    scope = {"type": "http", "method": "POST", "app": None, "headers": [(b"content-type", kind.encode())]}
    with ThreadPoolExecutor(1) as thread:  # Playwright keeps a loop running in the main one
        return thread.submit(asyncio.run, read_form(Request(scope, receive), 3)).result()


def parts(value: str, more: str = "") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="name"{more}\r\n\r\n{value}\r\n--x--\r\n'.encode()


def test_the_fields_of_a_form() -> None:
    sent = posted(name=["Zoë", "b"], act="x")
    form = read(sent["body"][0], sent["content_type"])
    assert form == {"name": ["Zoë", "b"], "act": ["x"]}
    assert (value_of(form, "name"), value_of(form, "role")) == ("Zoë", "")
    assert read(b"name=x", "text/plain") == {}, "which other sites may send"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (parts("+2AA-"), "multipart/form-data; boundary=x; charset=utf-7"),  # a lone surrogate
        (parts("xn--a"), "multipart/form-data; boundary=x; charset=idna"),  # not in this encoding
        (parts("x", '; filename="x"'), "multipart/form-data; boundary=x"),
        (parts("x")[:40], "multipart/form-data; boundary=y"),
        (b"a=b&" * 4, "application/x-www-form-urlencoded"),
    ],
)
def test_text_that_nothing_could_store_files_and_floods_are_no_form(body: bytes, kind: str) -> None:
    assert read(body, kind) is None
