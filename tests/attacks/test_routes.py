"""Every route that Gradio registers, known to us or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Mount

from app.ui.middleware.routes import ADDRESSES, ROUTES


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A studio in this process, whose routes can be read."""
    from app.ui.server import Address, start

    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "FORWARDED_ALLOW_IPS"):
            patch.setenv(name, "")  # put back afterwards, as the studio sets them
        started = start(tmp_path_factory.mktemp("routes") / "outputs", Address(), {})
        yield started
        started.close()


def registered(app: Any) -> set[tuple[str, str]]:
    """Method and path of each route of an app or a router in it, as it is written."""
    found: set[tuple[str, str]] = set()
    for route in app.routes:
        if isinstance(route, Mount):
            found.add(("GET", f"{route.path}/{{path:path}}"))
        elif hasattr(route, "original_router"):  # how FastAPI keeps a router that was included
            found |= registered(route.original_router)
        else:
            found |= {(method, route.path) for method in route.methods or ("GET",)}
    return found


def filled(path: str) -> str:
    """The path with something in place of its parameters."""
    return re.sub(r"\{\w+(:\w+)?\}", "x", path)


def test_what_is_not_on_the_list_does_not_exist(server: Any) -> None:
    routes = registered(server.demo.app)
    allowed = {(method, path) for path, methods in ROUTES.items() for method in methods}
    closed = routes - allowed
    assert len(closed) > 40 and ("GET", "/gradio_api/file/{path:path}") in closed
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for method, path in sorted(closed):
            for address in {filled(path), filled(path).rstrip("/") + "/", filled(path) + "?x=1"}:
                if any(match(method, address.partition("?")[0]) for match in MATCHES):
                    continue  # this spelling is another address, which is on the list
                answer = client.request(method, address.lstrip("/"))
                assert answer.status_code == 404, f"{method} {address} answers {answer.status_code}"
                if method != "HEAD":
                    assert answer.json() == {"detail": "Not Found"}, f"{method} {address}"


def match_of(path: str, methods: tuple[str, ...]) -> Any:
    pattern = re.compile(re.sub(r"\{\w+:path\}", ".*", re.sub(r"\{\w+\}", "[^/]+", path)) + "$")
    return lambda method, address: method in methods and bool(pattern.match(address))


MATCHES = [match_of(path, methods) for path, methods in ROUTES.items()]


def test_everything_on_the_list_is_there(server: Any) -> None:
    routes = registered(server.demo.app)
    ours = {"/login", "/logout"}
    paths = {path for _, path in routes}
    assert set(ROUTES) - paths - ours == set(), "an address that Gradio does not have any more"
    pages = {one for one, *_ in server.demo.pages}
    assert {page.strip("/") for page in ADDRESSES} == pages
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for path in ("", "runs", "styles", "config", "gradio_api/info", "theme.css", "look/0/studio.css", "now"):
            assert client.get(path).status_code == 200, path


def test_no_answer_but_a_pages_may_run_a_script(server: Any, tmp_path: Path) -> None:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for path in ADDRESSES:
            answer = client.get(path.lstrip("/"))
            assert "script-src 'self'" in answer.headers["content-security-policy"], path
        sent = ("config", "gradio_api/info", "theme.css", "look/0/icon.svg", "now", "nothing", "gradio_api/file=/x")
        for path in sent:
            headers = client.get(path).headers
            assert headers["content-security-policy"].endswith("sandbox"), path
            assert headers["x-content-type-options"] == "nosniff", path
