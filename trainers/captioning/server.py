"""Captions by a chat server, such as Ollama, LM Studio, vLLM or llama.cpp: `POST {base}/chat/completions` of OpenAI.

The picture travels as a JPEG data URL, which all four accept. Keys come from the environment alone (`KEY`).
"""

from __future__ import annotations

import base64
import io
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from trainers.errors import VelaturaError
from trainers.messages import Message as _

KEY = "VELATURA_CAPTION_KEY"
"""Environment variable with the server's key, if it asks for one."""
SIDE, QUALITY = 1024, 90
"""Longest side in pixels of a sent picture, and its JPEG quality."""
CONNECT, FIRST, READ = 10.0, 300.0, 120.0
"""Seconds to connect, to the first answer, for which a server loads its model, and to later ones."""
WAITS = (2.0, 4.0)
"""Seconds before each retry."""
LONGEST_WAIT = 60.0
SYSTEM = "You write captions for training a picture style."
USER = (
    "Name what is in the picture, as if it were seen through a window: who or what, how many, pose or action, "
    "clothing, objects, place, time of day, framing. One sentence of at most 30 words, beginning with the subject. "
    "Leave out how it is made: medium, technique, brush or line, colours as a scheme, mood, artist, quality. If "
    "text is visible, quote it."
)
KINDS = (
    "image|picture|photo|photograph|illustration|drawing|painting|sketch|artwork|print|rendering|cartoon|engraving|"
    "watercolou?r|etching|scene"
)
MODIFIERS = r"(?:(?!(?:with|of|in|on|at|by|a|an|the|holding)\b)[\w'-]+,?\s+){0,6}?"
LEADS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"caption\s*:\s*",
        rf"(?:this|the)\s+{MODIFIERS}(?:{KINDS})\s+(?:is\s+of|is|shows|depicts|features|portrays|displays)\s+",
        r"this\s+is\s+(?=an?\s)",
        rf"an?\s+{MODIFIERS}(?:{KINDS})\s+(?:of|showing|depicting|featuring)\s+",
    )
)
"""Words about the medium with which models begin, in the order in which they are cut."""
THOUGHT = re.compile(r"<think>.*?</think>|^.*?</think>", re.DOTALL)
WHOLE_CALL = re.compile(r"/(?:chat/completions|models|responses)$")


@dataclass(frozen=True)
class CaptionServer:
    """A server and the model that it should use."""

    url: str
    model: str

    @property
    def base(self) -> str:
        """The address before `/chat/completions`: a bare host gets `/v1`. VelaturaError if it is no web address."""
        url = WHOLE_CALL.sub("", self.url.strip().rstrip("/"))
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise VelaturaError(
                "{url!r:.120} is no address of a server; write one such as http://localhost:11434", url=self.url
            )
        return url if parts.path.strip("/") else f"{url}/v1"

    @property
    def is_local(self) -> bool:
        """Whether pictures stay on this computer."""
        return urlsplit(self.base).hostname in ("localhost", "127.0.0.1", "::1")

    @property
    def host(self) -> str:
        """Its host, for messages."""
        return urlsplit(self.base).netloc.rpartition("@")[2]


def list_server_models(server: CaptionServer) -> list[str]:
    """The names of the server's models. VelaturaError if it does not answer as such a server."""
    answer = _Client(server).send("GET", "/models", None)
    listed = answer.get("data")
    models = listed if isinstance(listed, list) else []
    return [str(model["id"]) for model in models if isinstance(model, Mapping) and "id" in model]


def server_captioner(
    server: CaptionServer, sleep: Callable[[float], None] = time.sleep
) -> Callable[[Image.Image], str]:
    """A function that returns the caption of an `RGB` image; VelaturaError if the server does not."""
    client = _Client(server, sleep)

    def write(image: Image.Image) -> str:
        content = [{"type": "text", "text": USER}, {"type": "image_url", "image_url": {"url": as_data_url(image)}}]
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
        options = {"stream": False, "temperature": 0.2, "max_tokens": 300, "seed": 0}
        answer = client.send("POST", "/chat/completions", {"model": server.model, "messages": messages, **options})
        try:
            choice = answer["choices"][0]
            text, reason = str(choice["message"]["content"] or ""), choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise VelaturaError("{host} answers, but not as a chat server does", host=server.host) from None
        if not (caption := clean_caption(text, is_cut=reason == "length")):
            raise VelaturaError("{model} on {host} returned an empty caption", model=server.model, host=server.host)
        return caption

    return write


def as_data_url(image: Image.Image) -> str:
    """A picture as a JPEG data URL of at most `SIDE` pixels, without metadata."""
    smaller = image.convert("RGB")
    smaller.thumbnail((SIDE, SIDE))
    smaller.info.clear()  # Pillow writes comments from there
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def clean_caption(text: str, is_cut: bool = False) -> str:
    """A model's answer as one line without its thoughts, quotes and words about the medium at the start.

    If the answer `is_cut`, it ends with its last whole sentence.
    """
    words = " ".join(THOUGHT.sub("", text).split()).strip("\"'“”*` ")
    for lead in LEADS:
        match = lead.match(words)
        words = words[match.end() :] if match else words
    if is_cut and "." in words:
        words = words[: words.rindex(".") + 1]
    return words.strip("\"'“” ")


class _Client:
    """Sends requests one after another, with retries."""

    def __init__(self, server: CaptionServer, sleep: Callable[[float], None] = time.sleep) -> None:
        self._server, self._sleep, self._is_first = server, sleep, True

    def send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The JSON of an answer; VelaturaError with the server's own sentence."""
        import httpx

        key = os.environ.get(KEY, "")
        timeout = httpx.Timeout(FIRST if self._is_first else READ, connect=CONNECT)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        host = self._server.host
        for wait in (*WAITS, None):
            try:
                answer = httpx.request(
                    method,
                    self._server.base + path,
                    json=body,
                    headers=headers,
                    timeout=timeout,
                    follow_redirects=False,
                )
            except httpx.HTTPError as error:
                if wait is None:
                    raise VelaturaError(
                        "{host} does not answer: {error}", host=host, error=str(error) or type(error).__name__
                    ) from None
                self._sleep(wait)
                continue
            if answer.is_success:
                self._is_first = False
                return _json(answer, host)
            sentence = _sentence(answer)
            lasting = answer.status_code < 500 and answer.status_code != 429
            if wait is None or lasting or "mmproj" in sentence:
                raise VelaturaError(
                    "{host} refuses ({status}): {sentence}", host=host, status=answer.status_code, sentence=sentence
                )
            self._sleep(_asked_wait(answer, wait))
        raise AssertionError


def _json(answer: Any, host: str) -> Mapping[str, Any]:
    try:
        table = answer.json()
    except ValueError:
        table = None
    if not isinstance(table, Mapping):
        raise VelaturaError("{host} answers, but not as a chat server does", host=host)
    return table


def _sentence(answer: Any) -> str:
    """The server's own words on an error, in any of the four usual shapes."""
    if answer.is_redirect:
        return _("it redirects to another address; give that one")
    try:
        table = answer.json()
    except ValueError:
        table = None
    if isinstance(table, Mapping):
        error = table.get("error")
        for found in (
            error.get("message") if isinstance(error, Mapping) else error,
            table.get("detail"),
            table.get("message"),
        ):
            if found:
                return str(found)[:300]
    return str(answer.text or answer.reason_phrase)[:300]


def _asked_wait(answer: Any, usual: float) -> float:
    """Seconds that the server asks to wait (`Retry-After`), or the usual ones."""
    try:
        return min(LONGEST_WAIT, max(usual, float(answer.headers.get("Retry-After", usual))))
    except ValueError:
        return usual
