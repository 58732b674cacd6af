"""Requests as nobody would write them: any spelling of any address, by any method, with and without a login."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.studio.dataset.uploads import sender_folder
from app.ui.components import text
from app.ui.document.document import bare_page
from app.ui.gradio_internals import API
from app.ui.middleware.headers import PAGE_POLICY, SANDBOX
from app.ui.middleware.login import LOGIN, login_page, logout_page
from app.ui.middleware.routes import ACCOUNT, ADDRESSES, INVITATION, ROUTES

HIDDEN = b"nobody else may ever read this"
"""What stands in every file that no request of Ann's may bring out."""
CLOSED = {
    f"{API}/file/{{x}}": ("GET",),
    f"{API}/stream/{{x}}": ("GET",),
    f"{API}/proxy={{x}}": ("GET",),
    f"{API}/custom_component/{{x}}": ("GET",),
    f"{API}/{{x}}": ("GET", "POST"),
    "/{x}": ("GET", "POST"),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X")
BODIES = (b"", b"{}", b"[]", b"\xff", b'{"data": []}', b'{"data": [], "fn_index": 0, "session_hash": "x"}')
STRANGERS = ("http://evil.example/x.png", "//evil.example/x.png", "HTTPS:/\\evil.example/x.svg", "http:evil.example")
CALLS = ("predict", "upload", "status", "nothing", "x/y", "token", "tokens.css", "js/nothing.js", "")
DOTS = (
    "..",
    ".",
    "",
    "%2e%2e",
    "%252e%252e",
    "..%2f",
    "..%5c",
    "..\\",
    "%c0%ae%c0%ae",
    "\u2025",
    "\uff0e\uff0e",
    "...",
)
FRONTS = ("http://localhost:7860", "http://evil.example", "/", "//", "/x/..", "/.", "*", "%20", "%00", "\\")
TAILS = (
    "/",
    "//",
    "/x",
    "/.",
    "/..",
    ".png",
    ";x",
    "%00",
    "%00.png",
    "%0a",
    "%0d%0a",
    "%20",
    "::$DATA",
    "\\",
    "~1",
    "%",
)
QUERIES = (
    "?session_hash=x",
    "?deep_link=x",
    "?__theme=dark",
    "?id=../..",
    "?view=api",
    "?%",
    "?event_id=x&session_hash=x",
)
ACCEPTS = ("", "text/html,*/*", "application/json")
RANGES = ("bytes=0-3", "bytes=-1", "bytes=9-1", "x")
SPELLINGS = (
    lambda letter: f"%{ord(letter):02x}",
    lambda letter: f"%{ord(letter):02X}",
    lambda letter: f"%25{ord(letter):02x}",
    lambda letter: letter.swapcase(),
    lambda letter: chr(ord(letter) + 0xFEE0),  # the wide form, which some make the plain one
)
FOR_EVERYBODY = ("/look/", "/health", "/manifest.json", "/favicon.ico", "/robots.txt", "/gradio_api/startup-events")
"""What is there for who has not logged in, besides the page on which one does."""
OURS = (login_page(), logout_page(), bare_page("account/invitation.html"))


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Shared:
    """A studio for people in this process, asked without a line between, so that a path arrives as it was written."""

    app: Any
    loop: asyncio.AbstractEventLoop
    files: list[str]
    """Files to ask for: some that Ann may read, more that she may not."""
    login: str = ""
    """Her cookie."""

    def log_in(self) -> None:
        """Let Ann have a login, from elsewhere than where the guesses come from."""
        form = {"content-type": "application/x-www-form-urlencoded"}
        answer = self.ask("/login", "POST", b"username=ann&password=pear-tree", "10.0.0.9", **form)
        self.login = next(value for value in answer.all("set-cookie") if value.startswith(LOGIN)).partition(";")[0]

    def ask(self, target: str, method: str, body: bytes, address: str = "127.0.0.1", **head: str) -> Answer:
        """Send a request whose target is read as uvicorn reads it."""
        path, _, query = target.encode("utf-8", "surrogateescape").partition(b"?")
        raw = quote(path, safe="%!$&'()*+,;=:@/~\\\"<>^`{|}[]")
        headers = {"host": "localhost:7860", "content-length": str(len(body))} | head
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
            "path": unquote(raw), "raw_path": raw.encode(), "query_string": query, "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": (address, 50_000), "server": ("127.0.0.1", 7860), "state": {},
        }  # fmt: skip
        return asyncio.run_coroutine_threadsafe(self._ask(scope, body), self.loop).result(60)

    async def _ask(self, scope: dict[str, Any], body: bytes) -> Answer:
        answer, begun, bodies = Answer(), asyncio.Event(), [body]

        async def receive() -> Any:
            if bodies:
                return {"type": "http.request", "body": bodies.pop(), "more_body": False}
            await begun.wait()  # who listens to events goes away as soon as an answer begins
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = [
                    (name.decode().lower(), value.decode("latin-1")) for name, value in message["headers"]
                ]
                begun.set()
            elif message["type"] == "http.response.body":
                answer.body += message.get("body", b"")

        await self.app(scope, receive, send)
        return answer


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    from app.ui.server import Address, start

    folder = tmp_path_factory.mktemp("any")
    outside = folder / "outside.png"
    outside.write_bytes(HIDDEN)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "FORWARDED_ALLOW_IPS"):
            patch.setenv(name, "")  # put back afterwards, as the studio sets them
        server = start(folder / "outputs", Address(), {"ann": "pear-tree", "ben": "plum-tree"})
        paths, uploads = server.services.paths, server.uploads.path.resolve()
        files = {name: sender_folder(uploads, f"user:{name}") / ("c" * 32) / "a.png" for name in ("ann", "ben")}
        seen = paths.public.resolve() / "x" / "a.png"
        hidden = [
            files["ben"],
            paths.drafts / ("d" * 32) / "draft.json",
            paths.root / "other.png",
            paths.runs / "x.png",
        ]
        for path in (*hidden, *files.values(), seen):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(HIDDEN if path in hidden else b"fine")
        found = [outside, *hidden, *files.values(), seen, paths.root / "secret", paths.people, uploads / ".held"]
        loop = server.demo.server.servers[0].get_loop()
        app = server.demo.server.config.loaded_app
        one = Shared(app, loop, [str(path.resolve()) for path in found])
        one.log_in()
        yield one
        server.close()


@contextmanager
def noting_connections() -> Iterator[list[str]]:
    """Everything that this process looks up or connects to meanwhile."""
    found: list[str] = []
    going = True

    def hook(event: str, given: tuple[Any, ...]) -> None:  # there is no way to take one off again
        if going and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            found.append(f"{event} {given[1:] if event == 'socket.connect' else given}")

    sys.addaudithook(hook)
    yield found
    going = False


@dataclass(frozen=True)
class Writing:
    """How addresses are written in a request, and what goes with them."""

    front: str = ""
    up: str = ""
    letters: tuple[tuple[float, int], ...] = ()
    """Where in the address a letter is spelled otherwise, from 0 to 1, and in which way."""
    tail: str = ""
    query: str = ""
    method: str = ""
    """Empty for the one that the address has."""
    body: bytes = BODIES[-1]
    accept: str = ""
    span: str = ""
    known: bool = True
    """Whether Ann sends it."""
    fillings: tuple[int, ...] = tuple(range(30))
    """Which of the things that a parameter can be."""

    def target(self, route: str, filling: str) -> str:
        head, parameter, _ = route.partition("{")
        letters = list(head + self.up + filling if parameter else head)
        for place, way in self.letters:
            place = int(place * (len(letters) - 1))
            letters[place] = SPELLINGS[way](letters[place][:1] or "x")
        return "".join((self.front, *letters, self.tail, self.query))

    def targets(self, files: list[str]) -> Iterator[tuple[str, str]]:
        """Target and method of a request to every address of the studio and of Gradio."""
        for route, methods in (ROUTES | CLOSED).items():
            values = CALLS if route.startswith(f"{API}/") and "{api_name}" in route else (*files, *STRANGERS, *CALLS)
            for number in self.fillings if "{" in route else (0,):
                if number < len(values):
                    for method in (self.method,) if self.method else methods:
                        yield self.target(route, values[number]), method


def seldom(choices: Sequence[Any], else_: Any) -> Any:
    return st.sampled_from((*[else_] * len(choices), *choices))


WRITINGS = st.builds(
    Writing,
    front=seldom(FRONTS, ""),
    up=seldom([f"{'/'.join([dots] * count)}/" for dots in DOTS for count in (1, 2, 12)], ""),
    letters=st.lists(st.tuples(st.floats(0, 1), st.integers(0, len(SPELLINGS) - 1)), max_size=2).map(tuple),
    tail=seldom(TAILS, ""),
    query=seldom(QUERIES, ""),
    method=seldom(METHODS, ""),
    body=st.sampled_from(BODIES),
    accept=st.sampled_from(ACCEPTS),
    span=seldom(RANGES, ""),
    known=st.booleans(),
    fillings=st.lists(st.integers(0, 25), min_size=3, max_size=3).map(tuple),
)


def check_any(answer: Answer, path: str) -> None:
    """What holds of every answer, whoever asked for whatever."""
    assert 200 <= answer.status < 500, answer
    assert HIDDEN not in answer.body
    policies = answer.all("content-security-policy")
    assert policies in ([SANDBOX], [PAGE_POLICY]), policies
    if policies == [PAGE_POLICY]:
        assert (
            path in (*ADDRESSES, ACCOUNT) or answer.body.decode() in OURS or text.NOTHING_HERE.encode() in answer.body
        )
        assert answer.all("content-type") == ["text/html; charset=utf-8"]
    assert answer.all("x-content-type-options") == ["nosniff"]
    assert not answer.all("access-control-allow-origin")


def check_stranger(answer: Answer, path: str) -> None:
    """What holds of an answer to somebody who has not logged in."""
    if answer.status in (200, 206):
        known = answer.body.decode() in OURS if path in ("/logout", INVITATION) else path.startswith(FOR_EVERYBODY)
        assert known, (path, answer.body[:200])
    elif answer.body.startswith(b"<"):
        assert answer.body.decode() in OURS or answer.status == 404
    else:
        assert len(answer.body) < 300 and (answer.status >= 400 or path == "/logout"), answer


@example(Writing())
@example(Writing(known=False))
@example(Writing(known=False, accept="text/html", fillings=(0, 7, 14)))
@example(Writing(tail="%0a", fillings=(0, 7, 14)))
@settings(max_examples=10)
@given(writing=WRITINGS)
def test_no_spelling_of_an_address_brings_out_more(shared: Shared, writing: Writing) -> None:
    head = {"accept": writing.accept, "range": writing.span, "content-type": "application/json"}
    head = {name: value for name, value in head.items() if value}
    with noting_connections() as connections:
        for target, method in writing.targets(shared.files):
            path = unquote(target.partition("?")[0])
            cookie = {"cookie": shared.login} if writing.known else {}
            answer = shared.ask(target, method, writing.body, **head, **cookie)
            check_any(answer, path)
            if not writing.known:
                check_stranger(answer, path)
            elif path == "/logout":
                shared.log_in()
            assert connections == [], target
