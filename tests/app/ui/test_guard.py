from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.ui.auth import LOCKED_FOR, WRONG_BEFORE_LOCK, Door, read_people
from app.ui.document import Opening
from app.ui.guard import LARGEST_OTHER, LARGEST_UPLOAD, LOGIN, VISITOR, Guard, check_address, is_loopback
from trainers.errors import VelaturaError

OURS = frozenset({"localhost"})
SECRET = bytes(range(32))


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads what it is sent and says who asked."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body"):
            break
    kind = b"text/html; charset=utf-8" if scope["path"] in ("/", "/runs") else b"text/plain"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": f"in {scope.get('velatura.user')} {len(body)}".encode()})


class Answer:
    def __init__(self, sent: list[Any]) -> None:
        start = next((m for m in sent if m["type"] == "http.response.start"), {"status": 0, "headers": []})
        self.status = start["status"]
        self.headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
        self.text = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body").decode()

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


def ask(app: Any, path: str = "/", method: str = "GET", body: list[bytes] | None = None, **head: str) -> Answer:
    names = {"host": "localhost:7860"} | {name.replace("_", "-"): value for name, value in head.items()}
    headers = [(name.encode(), value.encode()) for name, value in names.items() if value]
    chunks = list(body or [b""])
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    asked = app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    with ThreadPoolExecutor(1) as thread:  # Playwright keeps a loop running in the main one
        thread.submit(asyncio.run, asked).result()
    return Answer(sent)


@pytest.fixture
def guard() -> Guard:
    return Guard(inner, OURS, Door({}, SECRET))


@pytest.fixture
def locked() -> Guard:
    return Guard(inner, OURS, Door({"ann": "pear:tree", "bob": "x"}, SECRET))


@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1:1", "[::1]:7860", "192.168.1.7:80"])
def test_hosts_that_are_ours(guard, host):
    assert ask(guard, host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a b"]
)
def test_a_name_that_was_rebound_is_refused(guard, host):
    assert ask(guard, host=host).status == 403


@pytest.mark.parametrize(
    "head",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict"])
def test_other_sites_cannot_send_anything(guard, head, path):
    assert ask(guard, path, "POST", **head).status == 403


def test_pages_of_ours_and_programs_can(guard):
    assert (
        ask(
            guard, "/gradio_api/queue/join", "POST", origin="http://localhost:7860", sec_fetch_site="same-origin"
        ).status
        == 200
    )
    assert ask(guard, "/gradio_api/queue/join", "POST").status == 200
    assert ask(guard, "/", origin="http://evil.example").status == 200, "a link from elsewhere may lead here"


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/component_server",
        "/gradio_api/proxy=http://x",
        "/gradio_api/file=http://x/y",
        "/gradio_api/file=https://x",
        "/gradio_api/openapi.json",
        "/gradio_api/runs",
        "/gradio_api/run-history/records",
        "/gradio_api/vibe-code/",
    ],
)
def test_what_gradio_offers_and_nobody_needs_is_closed(guard, path):
    assert ask(guard, path).status == 404


def test_sizes(guard):
    small = {"content_length": str(LARGEST_OTHER + 1)}
    assert ask(guard, "/gradio_api/queue/join", "POST", **small).status == 413
    assert ask(guard, "/gradio_api/upload", "POST", **small).status == 200
    assert ask(guard, "/gradio_api/upload", "POST", content_length=str(LARGEST_UPLOAD + 1)).status == 413
    lying = ask(guard, "/gradio_api/queue/join", "POST", [bytes(LARGEST_OTHER), b"x"], content_length="5")
    assert lying.status == 0, "the connection ends where more comes than was said"


def test_an_upload_for_which_the_disk_has_no_room_is_refused_in_words():
    guard = Guard(inner, OURS, Door({}, SECRET), room=lambda: 100)
    refused = ask(guard, "/gradio_api/upload", "POST", content_length="101")
    assert refused.status == 507 and refused.text.startswith("The disk is full")
    assert ask(guard, "/gradio_api/upload", "POST", content_length="100").status == 200
    assert ask(guard, "/gradio_api/queue/join", "POST", content_length="101").status == 200


def test_headers(guard):
    page = ask(guard)
    assert "default-src 'self'" in page.header("content-security-policy")
    assert page.header("x-content-type-options") == "nosniff"
    cookie = page.header("set-cookie")
    assert cookie.startswith(f"{VISITOR}=") and "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert ask(guard, cookie=cookie.partition(";")[0]).header("set-cookie") == ""
    assert ask(guard).header("set-cookie") != cookie
    file = ask(guard, "/gradio_api/file=/public/a.webp")
    assert "immutable" in file.header("cache-control") and "sandbox" in file.header("content-security-policy")
    assert file.header("set-cookie") == ""


def test_nobody_comes_in_without_a_login(locked):
    page = ask(locked, accept="text/html")
    assert page.status == 401 and "<form" in page.text and "in None" not in page.text
    for path in ("/gradio_api/file=/public/a.webp", "/gradio_api/queue/data", "/config", "/gradio_api/heartbeat/x"):
        assert ask(locked, path).status == 401
    assert ask(locked, "/gradio_api/queue/join", "POST").status == 401
    assert ask(locked, "/look/tokens.css").status == 200
    assert ask(locked, cookie=f"{LOGIN}=YW5u.9999999999.{'0' * 64}").status == 401


def test_a_login_and_its_name(locked):
    answer = ask(locked, "/login", "POST", [b"username=ann&password=pear%3Atree"])
    assert answer.status == 200 and answer.text == '{"success": true}'
    cookie = answer.header("set-cookie").partition(";")[0]
    assert ask(locked, "/x", cookie=cookie).text == "in ann 0"
    again = Guard(inner, OURS, Door({"ann": "pear:tree"}, SECRET))
    assert ask(again, "/x", cookie=cookie).text == "in ann 0", "it outlives a restart"
    for other in (Door({"ann": "new"}, SECRET), Door({"bob": "x"}, SECRET), Door({"ann": "pear:tree"}, bytes(32))):
        assert ask(Guard(inner, OURS, other), "/x", cookie=cookie).status == 401
    forged = cookie.replace("=YW5u", "=Ym9i")
    assert forged != cookie and ask(locked, "/x", cookie=forged).status == 401
    assert ask(locked, "/logout").header("set-cookie").startswith(f"{LOGIN}=;")


def test_logins_end(locked, monkeypatch):
    login = locked.door.sign("ann")
    assert locked.door.name_of(login) == "ann"
    monkeypatch.setattr("app.ui.auth.time.time", lambda: 4e9)
    assert locked.door.name_of(login) is None


def test_guessing_is_slowed_down_and_ends():
    now = 0.0
    door = Door({"ann": "right"}, SECRET, clock=lambda: now)
    waits = []
    for _ in range(WRONG_BEFORE_LOCK):
        assert not door.admit("ann", "wrong")
        waits.append(door.wait("ann"))
        assert not door.admit("ann", "right"), "what comes during the wait is not looked at"
        now += waits[-1]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, LOCKED_FOR]
    assert door.admit("ann", "right") and door.wait("ann") == 0
    assert not door.admit("eve", "") and door.wait("eve") > 0, "of unknown names as of known ones"


def test_the_page_says_when_to_try_again(locked):
    wrong = [b"username=ann&password=no"]
    assert ask(locked, "/login", "POST", wrong).status == 400
    again = ask(locked, "/login", "POST", [b"username=ann&password=pear%3Atree"])
    assert again.status == 429 and "Too many wrong passwords. Try again in 1 second." in again.text


def test_listening_to_others_needs_passwords():
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost") and not is_loopback("0.0.0.0")
    with pytest.raises(VelaturaError, match="--auth"):
        check_address("0.0.0.0", people=False, insecure=False)
    with pytest.raises(VelaturaError, match="--insecure"):
        check_address("studio.example", people=False, insecure=False)
    check_address("127.0.0.1", people=False, insecure=False)
    check_address("0.0.0.0", people=True, insecure=False)
    check_address("0.0.0.0", people=False, insecure=True)


def test_people(tmp_path):
    file = tmp_path / "people.txt"
    file.write_text("# who works here\nann:pear:tree\n\nbob:x\n")
    assert read_people(["eve:1"], file) == {"eve": "1", "ann": "pear:tree", "bob": "x"}
    for text, words in (("ann", "line 1"), ("a:b\n:x", "line 2"), ("#\n", "names nobody")):
        file.write_text(text)
        with pytest.raises(VelaturaError, match=words):
            read_people([], file)
    with pytest.raises(VelaturaError, match="cannot be read"):
        read_people([], tmp_path / "none")
    with pytest.raises(VelaturaError) as refused:
        read_people(["ann:" + "secret" * 99], None)
    assert "secret" not in str(refused.value)


def test_every_page_begins_with_our_lines():
    async def page(scope: Any, receive: Any, send: Any) -> None:
        head = [(b"content-type", b"text/html"), (b"content-length", b"44")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b'<html><head><base href="./" />', "more_body": True})
        await send({"type": "http.response.body", "body": b"<title>x</title>"})

    answer = ask(Opening(page))
    assert answer.text.startswith('<html><head><base href="./" /><script>') and answer.text.endswith("<title>x</title>")
    assert "velatura-theme" in answer.text and "IBMPlexSans-Regular.woff2" in answer.text
    assert int(answer.header("content-length")) == len(answer.text.encode())
    assert ask(Opening(inner), "/x").text == "in None 0"
