"""A studio below a path of somebody else's host, behind a proxy that takes the path off."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect
from starlette._utils import get_route_path

from app.ui.middleware.proxy import ForwardedMiddleware, check_root_path
from tests.app.ui.api_client import connect
from tests.app.ui.asking import ask, inner
from tests.app.ui.server import Process, free_port
from tests.app.ui.visitor import add, blank_page, listen
from tests.trainers.data.pictures import scene
from tests.waiting import wait_until
from trainers.errors import VelaturaError

pytestmark = pytest.mark.slow

PREFIX = "/studio"


class Proxy(threading.Thread):
    """Passes requests below `PREFIX` on to a port, one per connection; notes those for anything else."""

    def __init__(self, target: int) -> None:
        super().__init__(daemon=True)
        self.target, self.port, self.strays = target, free_port(), list[str]()
        self.ready = threading.Event()
        self.start()
        wait_until(self.ready.is_set, "the proxy does not start")

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port, limit=2**20)
        self.ready.set()
        await server.serve_forever()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            method, path, rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split(" ", 2)
            if not path.startswith(PREFIX):
                self.strays.append(path)
                writer.close()
                return
            rest = re.sub(r"(?i)\r\nconnection:[^\r]*", "", rest).replace("\r\n", "\r\nConnection: close\r\n", 1)
            back, on = await asyncio.open_connection("127.0.0.1", self.target)
            on.write(f"{method} {path.removeprefix(PREFIX) or '/'} {rest}".encode("latin-1"))
            await asyncio.gather(_copy(reader, on), _copy(back, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    options = ("--root-path", f"{PREFIX}/", "--trusted-proxy", "127.0.0.1", "--auth", "ann:pear-tree")
    studio = Process(tmp_path_factory.mktemp("below") / "outputs", *options)
    yield Proxy(studio.port)
    studio.close()


@pytest.mark.thorough
def test_every_page_works_below_the_path(proxy: Proxy, browser: Any, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{proxy.port}{PREFIX}/"
    with blank_page(browser) as page:
        complaints: list[str] = []
        page.goto(url)
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill("pear-tree")
        page.get_by_role("button", name="Log in").click()
        listen(page, url, complaints)
        scene(1, (200, 200)).save(tmp_path / "a.png")
        add(page, tmp_path / "a.png", count=1)
        expect(page.locator(".cards img")).to_have_js_property("complete", True)
        for name, sentence in (
            ("Runs", "No runs yet"),
            ("Styles", "No styles yet"),
            ("Playground", "Try a style on new prompts"),
        ):
            page.get_by_role("link", name=name).first.click()
            page.get_by_text(sentence).first.wait_for()
            assert page.url == f"{url}{name.lower()}"
        page.goto(f"{url}account")
        page.get_by_role("heading", name="Account").wait_for()
        assert complaints == []
    assert proxy.strays == [], "addresses that do not begin with the path"


def test_programs_work_below_the_path(proxy: Proxy) -> None:
    client = connect(f"http://127.0.0.1:{proxy.port}{PREFIX}/", auth=("ann", "pear-tree"))
    assert client.predict(api_name="/bases")[0]["model"] == "starter"
    assert proxy.strays == []


def test_the_path_opens_nothing_without_a_login(proxy: Proxy) -> None:
    direct = f"http://127.0.0.1:{proxy.target}"
    assert httpx.get(f"{direct}{PREFIX}/health").status_code == 200, "a proxy may leave the path"
    for path in ("metrics", "now", "config", "theme.css", "gradio_api/app_id"):
        for root in ("", PREFIX, f"{PREFIX}{PREFIX}", f"{PREFIX}/shared", "/shared"):
            assert httpx.get(f"{direct}{root}/{path}").status_code in (401, 404), (root, path)


@pytest.mark.parametrize("path", ["/shared/metrics", "/shared/now", "/shared/shared/metrics", "/shared/health"])
def test_checks_and_routes_judge_one_path(path: str) -> None:
    seen: list[str] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        seen.extend((scope["path"], get_route_path(scope)))
        await inner(scope, receive, send)

    async def below(scope: Any, receive: Any, send: Any) -> None:
        await ForwardedMiddleware(noting)({**scope, "root_path": "/shared"}, receive, send)

    assert ask(below, path).status == 200
    assert seen == [path.removeprefix("/shared")] * 2


def test_a_root_path_is_none_of_the_studios_own() -> None:
    for path in ("/shared", "/runs/", "/gradio_api", "/look/0", "/theme.css"):
        with pytest.raises(VelaturaError, match="the studio has addresses of its own there"):
            check_root_path(path)


def test_a_root_path_is_a_path() -> None:
    assert [check_root_path(path) for path in ("", "/studio", "/a/b-c/")] == ["", "/studio", "/a/b-c"]
    for wrong in ("studio", "https://x.example/studio", "/a b", "//x", "/a/../b?", "/ä"):
        with pytest.raises(VelaturaError, match="--root-path takes a path"):
            check_root_path(wrong)
