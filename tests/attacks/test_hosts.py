"""Names that were rebound to this machine, and pages of other sites."""

from __future__ import annotations

import httpx
import pytest

from tests.app.ui.server import Process

FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example",
    "localhost.evil.example:{port}",
    "localhost@evil.example",
    "[::1",
    "",
)
FOREIGN_PAGES = (
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)
PATHS = ("", "config", "gradio_api/info", "gradio_api/queue/data?session_hash=x", "look/0/icon.svg", "now")
SENT = (
    "gradio_api/upload",
    "gradio_api/queue/join",
    "gradio_api/run/predict",
    "gradio_api/call/stop",
    "login",
    "logout",
)


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_rebound_name_gets_nothing(open_studio: Process, host: str) -> None:
    host = host.format(port=open_studio.port)
    for path in PATHS:
        answer = httpx.get(open_studio.url + path, headers={"Host": host}, timeout=30)
        assert answer.status_code in (400, 403), (host, path)
    for path in SENT:
        assert httpx.post(open_studio.url + path, headers={"Host": host}, timeout=30).status_code in (400, 403)


@pytest.mark.parametrize("headers", FOREIGN_PAGES, ids=str)
def test_another_sites_page_sends_and_reads_nothing(open_studio: Process, headers: dict[str, str]) -> None:
    for path in SENT:
        answer = httpx.post(open_studio.url + path, headers=headers, json={"data": []}, timeout=30)
        assert answer.status_code == 403, path
    for path in PATHS:
        answer = httpx.get(open_studio.url + path, headers=headers, timeout=30)
        assert answer.status_code == 403, path
