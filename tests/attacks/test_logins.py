"""Guessing, forging and stealing of logins."""

from __future__ import annotations

import sqlite3

import httpx
import pytest

from app.studio.accounts.attempts import FROM_A_PROXY
from tests.app.ui.server import Process

ANN = {"username": "ann", "password": "pear-tree"}
BOB = {"username": "bob", "password": "plum-tree"}


def log_in(studio: Process, form: dict[str, str], **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{studio.url}login", data=form, headers=sent, timeout=60)


@pytest.fixture
def ann(shared_studio: Process) -> dict[str, str]:
    """Cookies of somebody who has logged in before anybody attacked."""
    answer = log_in(shared_studio, ANN)
    assert answer.status_code == 200, answer.text
    return dict(answer.cookies)


def test_a_login_that_was_ended_or_made_up_opens_nothing(shared_studio: Process, ann: dict[str, str]) -> None:
    token = ann["velatura-login"]
    for made_up in ("", "x", token[:-1], f"{token}x", token.upper(), "ann", "YW5u.9999999999.0000", "../people.db"):
        answer = httpx.get(f"{shared_studio.url}config", cookies={"velatura-login": made_up}, timeout=30)
        assert answer.status_code == 401, made_up
    config = f"{shared_studio.url}config"
    assert httpx.get(config, cookies=ann, timeout=30).status_code == 200
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for method in ("GET", "POST"):
        out = httpx.request(method, f"{shared_studio.url}logout", cookies=ann, headers=foreign, timeout=30)
        assert out.status_code == 403, method
    assert httpx.get(config, cookies=ann, timeout=30).status_code == 200, "nobody else can log her out"
    assert httpx.post(f"{shared_studio.url}logout", cookies=ann, timeout=30).status_code == 303
    assert httpx.get(config, cookies=ann, timeout=30).status_code == 401


def test_no_password_and_no_login_lies_in_the_files(shared_studio: Process, ann: dict[str, str]) -> None:
    files = [path for path in (shared_studio.out / ".studio").rglob("*") if path.is_file()]
    assert any(path.name == "people.db" for path in files)
    for path in files:
        content = path.read_bytes()
        for word in ("pear-tree", ann["velatura-login"]):
            assert word.encode() not in content, path
    table = sqlite3.connect(shared_studio.out / ".studio" / "people.db")
    assert table.execute("SELECT count(*) FROM sessions").fetchone()[0] >= 1
    table.close()


@pytest.mark.thorough
def test_a_proxy_that_was_not_named_cannot_try_any_number_of_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    studio = Process(
        tmp_path_factory.mktemp("guessed") / "outputs", "--auth", "ann:pear-tree", "--auth", "bob:plum-tree"
    )
    try:
        known = log_in(studio, ANN).cookies["velatura-device"]
        statuses = []
        for number in range(FROM_A_PROXY + 20):
            # Addresses that a local proxy names are believed for the count of passwords, and only so far.
            form = {"username": f"name{number}", "password": "summer"}
            statuses.append(log_in(studio, form, X_Forwarded_For=f"10.0.0.{number}").status_code)
        assert statuses == [400] * FROM_A_PROXY + [429] * 20
        through = {"X_Forwarded_For": "198.51.100.7"}
        assert log_in(studio, BOB, **through).status_code == 429, "through it nobody new gets in"
        assert log_in(studio, ANN, **through, Cookie=f"velatura-device={known}").status_code == 200
        assert log_in(studio, BOB).status_code == 200, "who sits at the machine comes through no proxy"
    finally:
        studio.stop()


def test_what_a_visitor_says_of_proxies_is_dropped(open_studio: Process) -> None:
    said = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "host=evil.example;proto=https",
        "X-Gradio-Server": "https://evil.example",
    }
    for path in ("", "runs", "config"):
        answer = httpx.get(open_studio.url + path, headers=said, timeout=30)
        assert answer.status_code == 200 and "evil" not in answer.text and "https://127.0.0.1" not in answer.text, path
        assert "Secure" not in answer.headers.get("set-cookie", "")


def test_a_named_proxy_sets_address_host_and_scheme(tmp_path_factory: pytest.TempPathFactory) -> None:
    options = ("--trusted-proxy", "127.0.0.1", "--name", "studio.example", "--auth", "ann:pear-tree")
    studio = Process(tmp_path_factory.mktemp("proxied") / "outputs", *options)
    said = {"X-Forwarded-Host": "studio.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    try:
        answer = httpx.post(f"{studio.url}login", data=ANN, headers=said, timeout=30)
        cookies = answer.headers.get_list("set-cookie")
        assert answer.status_code == 200 and len(cookies) == 2 and all("Secure" in one for one in cookies)
        config = httpx.get(f"{studio.url}config", headers=said, cookies=dict(answer.cookies), timeout=30).json()
        assert config["root"] == "https://studio.example"
        refused = httpx.get(studio.url, headers=said | {"X-Forwarded-Host": "evil.example"}, timeout=30)
        assert refused.status_code == 403
    finally:
        studio.stop()
