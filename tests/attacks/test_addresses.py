"""Addresses of a stranger's site, wherever a request can carry one: nothing is ever fetched from there."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.app.ui.api_client import connect
from tests.app.ui.server import Process
from tests.app.ui.visitor import blank_page
from tests.attacks.conftest import Site

ROUTES = ("file/", "file=", "proxy=", "stream/", "custom_component/")
SCRIPT = b"""<script>
fetch('/config').then(answer => answer.json()).then(() => { document.title = 'read'; });
</script>"""


def spellings(url: str) -> list[str]:
    """An address as it may be written in another one."""
    plain = url.removeprefix("http:")
    return [url, url.replace("http", "HTTP"), url.replace(":", "%3A"), f"%20{url}", plain, plain.lstrip("/"),
            f"/{url}", f"x/../{url}", url.replace("//", "/"), url.replace("/", "%2F")]  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_fetches_it(open_studio: Process, stranger: Site, route: str) -> None:
    for written in spellings(f"{stranger.url}/x.png"):
        answer = httpx.get(f"{open_studio.url}gradio_api/{route}{written}", timeout=30)
        assert answer.status_code in (403, 404), (route, written)
        assert b"stranger" not in answer.content
        assert answer.headers["content-security-policy"].endswith("sandbox")
    assert stranger.asked == []


def values(address: str) -> list[Any]:
    """A file whose place is an address, in every shape in which Gradio takes files."""
    meta = {"meta": {"_type": "gradio.FileData"}}
    file = {"path": address, "orig_name": "x.png", **meta}
    ours = {"path": "x.png", "url": address, "orig_name": "x.png", **meta}
    return [
        [file], file, ours, [[file]], {"files": [file], "text": ""}, [{"image": file, "caption": None}],
        {"video": file, "subtitles": None}, [[{"image": ours}]], {"a": [{"b": file}]}, {**file, "url": address},
    ]  # fmt: skip


def requests(value: Any, config: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every way in which a value reaches an endpoint or a page's listener."""
    upload = next(one["id"] for one in config["dependencies"] if one["api_name"] == "upload")
    private = next(one["id"] for one in config["dependencies"] if one["api_visibility"] == "private" and one["inputs"])
    session = {"session_hash": uuid.uuid4().hex}
    return [
        ("queue/join", {"data": [value, ""], "fn_index": upload, **session}),
        ("queue/join", {"data": [value] * 9, "fn_index": private, **session}),
        ("run/upload", {"data": [value, ""]}),
        ("api/upload", {"data": [value, ""]}),
        ("run/predict", {"data": [value] * 9, "fn_index": private}),
        ("call/upload", {"data": [value, ""]}),
        ("call/v2/upload", {"files": value, "draft": ""}),
        ("run/predict", {"data": [], "fn_index": private, "event_data": value}),
    ]


@pytest.mark.parametrize("kind", ["http", "HTTP", " http", "ftp", "file", "//"])
def test_no_value_fetches_it(open_studio: Process, stranger: Site, kind: str) -> None:
    place = stranger.url.removeprefix("http")
    address = f"//{place.removeprefix('://')}/x.png" if kind == "//" else f"{kind}{place}/x.png"
    with httpx.Client(base_url=f"{open_studio.url}gradio_api/", timeout=30) as client:
        config = httpx.get(f"{open_studio.url}config").json()
        for value in values(address):
            for path, body in requests(value, config):
                answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
                assert answer.status_code == 400, (path, value, answer.text)
                assert "does not fetch files from elsewhere" in answer.json()["detail"]
    assert stranger.asked == []


def test_a_client_that_names_an_address_is_refused(open_studio: Process, stranger: Site) -> None:
    from gradio_client import handle_file

    client = connect(open_studio.url)
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        client.predict([handle_file(f"{stranger.url}/a.png")], api_name="/upload")
    assert stranger.asked == []


def test_a_link_runs_no_script_of_a_stranger(open_studio: Process, stranger: Site, browser: Any) -> None:
    """A page that calls itself a picture, behind each route, in a browser that has been in the studio."""
    stranger.page, stranger.kind = SCRIPT, "text/html"
    with blank_page(browser) as page:
        assert page.request.get(open_studio.url).ok  # with all cookies that it sets
        for route in ("file/", "file="):
            answer = page.goto(f"{open_studio.url}gradio_api/{route}{stranger.url}/x.png")
            assert answer.status in (403, 404)
            assert "read" not in page.title()
        # The script works where it is let: what kept it out is the studio.
        assert stranger.asked == []


def test_a_page_in_the_public_folder_is_powerless(open_studio: Process, browser: Any) -> None:
    """Even a document that had got among the files that browsers may read is shut in a sandbox."""
    public = open_studio.out / ".studio" / "public"
    (public / "x.html").write_bytes(SCRIPT)
    with blank_page(browser) as page:
        page.goto(f"{open_studio.url}gradio_api/file={(public / 'x.html').resolve()}")
        assert page.title() == "" and page.evaluate("() => window.origin") == "null"
    (public / "x.html").unlink()
