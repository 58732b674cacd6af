"""Captions by chat servers: one local server that behaves like each of the four that people run."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from trainers.captioning.server import (
    KEY,
    CaptionServer,
    clean_caption,
    list_server_models,
    server_captioner,
)
from trainers.errors import VelaturaError

Answer = tuple[int, Any, dict[str, str]]
MODEL = "qwen3-vl:8b"


def answered(text: Any, reason: str = "stop", **more: str) -> Answer:
    message = {"role": "assistant", "content": text, **more}
    return 200, {"choices": [{"message": message, "finish_reason": reason}]}, {}


@dataclass
class Requests:
    """A server whose answers a function of the request gives, and what it was sent."""

    answer: Callable[[dict[str, Any], dict[str, str]], Answer]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[dict[str, Any], dict[str, str]], Answer]], Requests]]:
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[dict[str, Any], dict[str, str]], Answer]) -> Requests:
        requests = Requests(answer)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                requests.bodies.append(body)
                requests.headers.append(dict(self.headers))
                self._send(*requests.answer(body, dict(self.headers)))

            def do_GET(self) -> None:
                known = self.path == "/v1/models"
                self._send(200 if known else 404, {"data": [{"id": MODEL}, {"id": "llava"}]} if known else {}, {})

            def _send(self, status: int, table: Any, headers: dict[str, str]) -> None:
                content = table.encode() if isinstance(table, str) else json.dumps(table).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        requests.url = f"http://127.0.0.1:{server.server_port}"
        return requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def picture_of(body: dict[str, Any]) -> Image.Image:
    url = body["messages"][1]["content"][1]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def picture() -> Image.Image:
    image = Image.new("RGB", (1600, 800), "red")
    image.info["comment"] = b"by somebody"
    return image


def write(requests: Requests, waits: list[float] | None = None, model: str = MODEL) -> str:
    sleeps = [] if waits is None else waits
    return server_captioner(CaptionServer(requests.url, model), sleeps.append)(picture())


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1"),
        (" http://localhost:1234/v1/ ", "http://localhost:1234/v1"),
        ("http://h:8000/v1/chat/completions", "http://h:8000/v1"),
        ("https://api.z.ai/api/paas/v4", "https://api.z.ai/api/paas/v4"),
        ("https://x.example/v1beta/openai/models", "https://x.example/v1beta/openai"),
    ],
)
def test_the_base_of_an_address(written, base):
    assert CaptionServer(written, "m").base == base


@pytest.mark.parametrize(
    "written",
    [
        *("localhost:11434", "ftp://h", "http://", "file:///etc/passwd", ""),
        *("http://[::1", "http://h:x", "http://h:0"),
    ],
)
def test_other_addresses_are_refused(written):
    with pytest.raises(VelaturaError, match="is no address of a server"):
        assert CaptionServer(written, "m").base


def test_what_ollama_is_sent_and_its_thoughts_are_cut(serve, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    ollama = serve(lambda *_: answered("<think>a drawing?</think>\n“A fox in snow.”", reasoning_content="hm"))
    assert write(ollama) == "A fox in snow."
    body, headers = ollama.bodies[0], ollama.headers[0]
    sent = picture_of(body)
    assert (sent.format, sent.size) == ("JPEG", (1024, 512)) and not sent.getexif() and "comment" not in sent.info
    assert (body["model"], body["stream"], body["temperature"], body["max_tokens"]) == (MODEL, False, 0.2, 300)
    assert "Authorization" not in headers
    with pytest.raises(VelaturaError, match=r"refuses \(404\): model 'lost' not found"):
        write(serve(lambda *_: (404, {"error": {"message": "model 'lost' not found"}}, {})), model="lost")


def test_lm_studio_s_error_is_a_string(serve):
    lm_studio = serve(lambda *_: (400, {"error": "'url' field must be a base64 encoded image"}, {}))
    waits: list[float] = []
    with pytest.raises(VelaturaError, match=r"refuses \(400\): 'url' field must be"):
        write(lm_studio, waits)
    assert len(lm_studio.bodies) == 1 and waits == []  # such an error stays


def test_vllm_asks_for_its_key_and_its_own_name(serve, monkeypatch):
    def vllm(body: dict[str, Any], headers: dict[str, str]) -> Answer:
        if headers.get("Authorization") != "Bearer secret":
            return 401, {"detail": "Unauthorized"}, {}
        return answered("a fox") if body["model"] == MODEL else (404, {"message": "The model does not exist."}, {})

    server = serve(vllm)
    with pytest.raises(VelaturaError, match=r"\(401\): Unauthorized"):
        write(server)
    monkeypatch.setenv(KEY, "secret")
    assert write(server) == "a fox"
    with pytest.raises(VelaturaError, match=r"\(404\): The model does not exist") as raised:
        write(server, model="other")
    assert "secret" not in str(raised.value)


def test_llama_cpp_loads_its_model_and_may_see_nothing(serve):
    answers = iter(
        [(503, {"error": {"message": "Loading model"}}, {}), answered("a ship at sea. It is calm. A", "length")]
    )
    waits: list[float] = []
    assert write(serve(lambda *_: next(answers)), waits) == "a ship at sea. It is calm."
    assert waits == [2.0]
    blind = serve(lambda *_: (500, {"error": {"message": "image input is not supported - hint: mmproj"}}, {}))
    waits.clear()
    with pytest.raises(VelaturaError, match="image input is not supported"):
        write(blind, waits)
    assert waits == [] and len(blind.bodies) == 1


def test_a_busy_server_is_asked_again_twice(serve):
    busy = serve(lambda *_: (429, "slow down", {"Retry-After": "7"}))
    waits: list[float] = []
    with pytest.raises(VelaturaError, match=r"\(429\): slow down"):
        write(busy, waits)
    assert waits == [7.0, 7.0] and len(busy.bodies) == 3


def test_a_redirect_is_not_followed(serve):
    target = serve(lambda *_: answered("never"))
    away = serve(lambda *_: (307, "", {"Location": f"{target.url}/v1/chat/completions"}))
    with pytest.raises(VelaturaError, match="it redirects to another address"):
        write(away)
    assert target.bodies == []


def test_a_host_that_no_network_has_is_no_address():
    with pytest.raises(VelaturaError, match="is no address of a server"):
        list_server_models(CaptionServer(f"http://{'ä' * 80}.example", "m"))


def test_a_key_is_in_no_message_and_no_caption(serve, monkeypatch):
    monkeypatch.setenv(KEY, " sk-12345\n")
    echo = serve(lambda _, headers: (401, {"error": f"unknown {headers['Authorization']}"}, {}))
    with pytest.raises(VelaturaError, match=r"\(401\): unknown Bearer …"):
        write(echo)
    assert write(serve(lambda _, headers: answered(headers["Authorization"]))) == "Bearer …"
    for broken in ("sk-1\n2", "sk-ß"):
        monkeypatch.setenv(KEY, broken)
        with pytest.raises(VelaturaError, match="the key in VELATURA_CAPTION_KEY") as raised:
            write(echo)
        assert "sk-" not in str(raised.value)


def test_captions_are_printable_and_have_an_end(serve):
    assert write(serve(lambda *_: answered("a\0 fox\x1b[31m\ud800 in\nsnow"))) == "a fox [31m in snow"
    assert len(write(serve(lambda *_: answered("fox " * 9000)))) <= 2000
    assert write(serve(lambda *_: answered([{"type": "text", "text": "a fox"}]))) == "a fox"
    with pytest.raises(VelaturaError, match="returned an empty caption"):
        write(serve(lambda *_: answered("<think>it has no end", "length")))
    assert clean_caption("<think>" * 100_000) == ""


@pytest.mark.parametrize(
    "answer",
    [
        *((200, "hello", {}), (200, {"choices": []}, {}), (200, [1], {})),
        *((200, "[" * 100_000, {}), (200, '"' + "x" * 2_000_000 + '"', {})),
        (200, {"choices": [{"message": {"content": {"text": "a fox"}}}]}, {}),
        (200, {"choices": [{"message": {"content": ["a fox"]}}]}, {}),
    ],
)
def test_another_server_is_recognised(serve, answer):
    with pytest.raises(VelaturaError, match="answers, but not as a chat server does"):
        write(serve(lambda *_: answer))


def test_an_empty_caption_and_a_silent_server_are_sentences(serve):
    with pytest.raises(VelaturaError, match="returned an empty caption"):
        write(serve(lambda *_: answered("<think>nothing</think>")))
    waits: list[float] = []
    with pytest.raises(VelaturaError, match="does not answer"):
        server_captioner(CaptionServer("http://127.0.0.1:9", MODEL), waits.append)(picture())
    assert waits == [2.0, 4.0]


def test_a_server_lists_its_models(serve):
    assert list_server_models(CaptionServer(serve(lambda *_: answered("")).url, "")) == [MODEL, "llava"]


def test_words_about_the_medium_at_the_start_are_cut():
    lines = [
        "This image shows a fox in snow.", "The black and white drawing depicts a fox in snow.",
        "A simple line drawing of a fox in snow.", "An ink illustration showing a fox in snow.",
        "a detailed, whimsical watercolor painting of a fox in snow.", "Caption: a fox in snow.",
        "This is a fox in snow.", "The picture is of a fox in snow.", "A sketch depicting a fox in snow.",
        '"A fox in snow."',
    ]  # fmt: skip
    style = (
        "drawing",
        "illustration",
        "sketch",
        "painting",
        "line",
        "ink",
        "watercolor",
        "image",
        "picture",
        "caption",
    )
    for line in lines:
        caption = clean_caption(line).lower()
        assert caption.endswith("a fox in snow.") and not any(word in caption for word in style)
    assert (
        clean_caption("A man with a drawing of a cat sits on a bench.")
        == "A man with a drawing of a cat sits on a bench."
    )
