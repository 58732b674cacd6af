from __future__ import annotations

from typing import Any

import pytest

from app.ui.login.sender import FORWARDED_FOR
from app.ui.middleware.proxy import ForwardedMiddleware, check_proxies
from tests.app.ui.asking import ask
from trainers.errors import VelaturaError

PROXY = ("10.0.0.2", 4000)
FORWARDED = {
    "x_forwarded_for": "203.0.113.9, 10.0.0.2",
    "x_forwarded_proto": "https",
    "x_forwarded_host": "studio.example",
    "forwarded": "for=203.0.113.9",
    "x_real_ip": "203.0.113.9",
    "x_gradio_server": "http://evil.example",
}


async def telling(scope: Any, receive: Any, send: Any) -> None:
    """What an application behind the middleware sees."""
    names = sorted(name.decode() for name, _ in scope["headers"])
    host = dict(scope["headers"]).get(b"host", b"").decode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = f"{scope['client'][0]} {scope['scheme']} {host} {','.join(names)}"
    await send({"type": "http.response.body", "body": body.encode()})


def test_nobody_is_believed_unless_named():
    for proxies in ((), ("10.0.0.3",)):
        seen = ask(ForwardedMiddleware(telling, proxies), peer=PROXY, **FORWARDED).text
        assert seen == "10.0.0.2 http localhost:7860 host"
    local = ask(ForwardedMiddleware(telling), peer=("127.0.0.1", 1), **FORWARDED).text
    assert local == "127.0.0.1 http localhost:7860 host", "not programs on this machine either"


@pytest.mark.parametrize("proxies", [(), ("10.0.0.2",)])
def test_an_unnamed_proxy_is_reported_once_and_names_clients_only_for_the_count_of_passwords(proxies, caplog):
    seen: list[str | None] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope.get(FORWARDED_FOR))
        await telling(scope, receive, send)

    stack = ForwardedMiddleware(noting, proxies)
    for peer in ("127.0.0.1", "::1", "192.168.1.7", "203.0.113.200"):
        assert ask(stack, peer=(peer, 1), **FORWARDED).text == f"{peer} http localhost:7860 host"
    assert ask(stack, peer=("127.0.0.1", 1)).status == 200
    assert seen == ["10.0.0.2", "10.0.0.2", None, None, None], "the last, which the proxy itself has added"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "start with --trusted-proxy 127.0.0.1" in caplog.text


def test_a_named_proxy_is_not_reported(caplog):
    assert ask(ForwardedMiddleware(telling, ("127.0.0.1",)), peer=("127.0.0.1", 1), **FORWARDED).status == 200
    assert ask(ForwardedMiddleware(telling), peer=("198.51.99.1", 1), **FORWARDED).status == 200
    assert not caplog.records, "nor what a stranger makes up"


def test_a_named_proxy_is_believed_and_its_headers_go_no_further():
    for proxies in (("10.0.0.2",), ("10.0.0.0/24",)):
        seen = ask(ForwardedMiddleware(telling, proxies), peer=PROXY, **FORWARDED).text
        assert seen == "203.0.113.9 https studio.example host"


def test_an_address_that_a_visitor_made_up_is_not_taken():
    made_up = FORWARDED | {"x_forwarded_for": "1.2.3.4, 203.0.113.9"}
    seen = ask(ForwardedMiddleware(telling, ("10.0.0.2",)), peer=PROXY, **made_up).text
    assert seen.startswith("203.0.113.9 "), "the last one that the proxy itself has added"


def test_what_a_proxy_may_be_called():
    check_proxies(["10.0.0.2", "10.0.0.0/24", "::1"])
    for wrong in ("proxy.example", "*", "", "10.0.0.1/24"):
        with pytest.raises(VelaturaError, match="--trusted-proxy"):
            check_proxies([wrong])
