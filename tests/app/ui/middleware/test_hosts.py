from __future__ import annotations

import pytest

from app.ui.middleware.hosts import HostsMiddleware, OriginsMiddleware, check_address, is_loopback
from tests.app.ui.asking import ask, inner
from trainers.errors import VelaturaError

HOSTS = HostsMiddleware(inner, frozenset({"localhost"}))
ORIGINS = OriginsMiddleware(inner)


@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1:1", "[::1]:7860", "192.168.1.7:80"])
def test_hosts_that_are_ours(host):
    assert ask(HOSTS, host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "a b",
        "localhost:x",
        "localhost:1:2",
        "localhost/x",
        "localhost?x",
        "localhost#x",
        "x@localhost",
        "localhost, x",
        "[::1]x",
    ],
)
def test_a_name_that_was_rebound_is_refused(host):
    assert ask(HOSTS, host=host).status == 403


@pytest.mark.parametrize(
    "head",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://localhost:3000"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/logout", "/gradio_api/upload", "/gradio_api/queue/join"])
def test_other_sites_cannot_send_anything(head, path):
    assert ask(ORIGINS, path, "POST", **head).status == 403


def test_other_sites_read_nothing_and_lead_only_to_pages():
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask(ORIGINS, "/", **link).status == 200 and ask(ORIGINS, "/runs", **link).status == 200
    for document in ("/shared/x", "/invitation"):
        assert ask(ORIGINS, document, **link).status == 200, "people send these links by mail"
    for path in (
        "/config",
        "/logout",
        "/account",
        "/shared/x/y.webp",
        "/gradio_api/file=/public/a.webp",
        "/look/tokens.css",
    ):
        assert ask(ORIGINS, path, **link).status == 403
    assert ask(ORIGINS, "/", origin="http://evil.example", **link).status == 403, "a script's request, not a link"
    assert ask(ORIGINS, "/", sec_fetch_site="cross-site", sec_fetch_mode="cors").status == 403


def test_pages_of_ours_and_programs_can():
    same = {"origin": "http://localhost:7860", "sec_fetch_site": "same-origin"}
    assert ask(ORIGINS, "/gradio_api/queue/join", "POST", **same).status == 200
    assert ask(ORIGINS, "/gradio_api/queue/join", "POST").status == 200
    assert ask(ORIGINS, "/config", **same).status == 200 and ask(ORIGINS, "/config").status == 200


def test_listening_to_others_needs_passwords():
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost") and not is_loopback("0.0.0.0")
    with pytest.raises(VelaturaError, match="--auth"):
        check_address("0.0.0.0", people=False, insecure=False)
    with pytest.raises(VelaturaError, match="--insecure"):
        check_address("studio.example", people=False, insecure=False)
    check_address("127.0.0.1", people=False, insecure=False)
    check_address("0.0.0.0", people=True, insecure=False)
    check_address("0.0.0.0", people=False, insecure=True)
