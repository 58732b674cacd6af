"""Captions by a chat server, such as Ollama, LM Studio, vLLM or llama.cpp: `POST {base}/chat/completions` of OpenAI.

The picture travels as a JPEG data URL, which all four accept. Keys come from the environment alone (`KEY`).
"""

from __future__ import annotations

import base64
import io
import json
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
MOST_BYTES, MOST_LETTERS = 1_000_000, 2000
"""Maximum size of an answer, and of a caption in letters."""
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
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and halves of characters."""
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
        try:
            parts = urlsplit(url)
            is_web = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port or an IPv6 address
            is_web = False
        if not is_web:
            raise self.no_address()
        return url if parts.path.strip("/") else f"{url}/v1"

    def no_address(self) -> VelaturaError:
        """The error of an address that cannot be asked."""
        return VelaturaError(
            "{url!r:.120} is no address of a server; write one such as http://localhost:11434", url=self.url
        )

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
            text, reason = _as_text(choice["message"]["content"] or ""), choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _not_a_chat_server(server.host) from None
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
    answer = text.rpartition("</think>")[2].partition("<think>")[0]
    words = " ".join(UNPRINTABLE.sub(" ", answer).split())[:MOST_LETTERS].strip("\"'“”*` ")
    for lead in LEADS:
        match = lead.match(words)
        words = words[match.end() :] if match else words
    if is_cut and "." in words:
        words = words[: words.rindex(".") + 1]
    return words.strip("\"'“” ")


class _Client:
    """Sends requests one after another, with retries. VelaturaError if the key cannot be sent."""

    def __init__(self, server: CaptionServer, sleep: Callable[[float], None] = time.sleep) -> None:
        self._server, self._sleep, self._is_first = server, sleep, True
        self._key = os.environ.get(KEY, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise VelaturaError("the key in {name} has letters that no key has; copy it again", name=KEY)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The JSON of an answer; VelaturaError with the server's own sentence."""
        import httpx

        host = self._server.host
        for wait in (*WAITS, None):
            try:
                answer, content = self._request(method, path, body)
            except (httpx.InvalidURL, UnicodeError):
                raise self._server.no_address() from None
            except httpx.HTTPError as error:
                if wait is None:
                    raise VelaturaError(
                        "{host} does not answer: {error}", host=host, error=str(error) or type(error).__name__
                    ) from None
                self._sleep(wait)
                continue
            table = _read_json(content)
            if answer.is_success:
                self._is_first = False
                if table is None:
                    raise _not_a_chat_server(host)
                return table
            sentence = _sentence(answer, table or {}, content)
            lasting = answer.status_code < 500 and answer.status_code != 429
            if wait is None or lasting or "mmproj" in sentence:
                raise VelaturaError(
                    "{host} refuses ({status}): {sentence}", host=host, status=answer.status_code, sentence=sentence
                )
            self._sleep(_asked_wait(answer, wait))
        raise AssertionError

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[Any, str]:
        """An answer and its content, in which the key is crossed out; VelaturaError if it is too large."""
        import httpx

        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        longest = FIRST if self._is_first else READ
        timeout, end = httpx.Timeout(longest, connect=CONNECT), time.monotonic() + 2 * longest
        content = bytearray()
        with httpx.stream(
            method, self._server.base + path, json=body, headers=headers, timeout=timeout, follow_redirects=False
        ) as answer:
            for chunk in answer.iter_raw():  # never unpacked, since it was asked for plain
                content += chunk
                if len(content) > MOST_BYTES or time.monotonic() > end:
                    raise _not_a_chat_server(self._server.host)
        text = content.decode(errors="replace")
        return answer, text.replace(self._key, "…") if self._key else text


def _not_a_chat_server(host: str) -> VelaturaError:
    return VelaturaError("{host} answers, but not as a chat server does", host=host)


def _read_json(content: str) -> Mapping[str, Any] | None:
    try:
        table = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return table if isinstance(table, Mapping) else None


def _as_text(content: Any) -> str:
    """The text of a message, which may come in parts; TypeError if it has another shape."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    if not isinstance(content, str):
        raise TypeError(content)
    return content


def _sentence(answer: Any, table: Mapping[str, Any], content: str) -> str:
    """The server's own words on an error, in any of the four usual shapes."""
    import httpx

    if answer.is_redirect:
        return _("it redirects to another address; give that one")
    error = table.get("error")
    shapes = (error.get("message") if isinstance(error, Mapping) else error, table.get("detail"), table.get("message"))
    without = content or httpx.codes.get_reason_phrase(answer.status_code)
    sentence = next((str(shape) for shape in shapes if shape), without)
    return " ".join(UNPRINTABLE.sub(" ", sentence[: 2 * MOST_LETTERS]).split())[:300]


def _asked_wait(answer: Any, usual: float) -> float:
    """Seconds that the server asks to wait (`Retry-After`), or the usual ones."""
    try:
        return min(LONGEST_WAIT, max(usual, float(answer.headers.get("Retry-After", usual))))
    except ValueError:
        return usual
