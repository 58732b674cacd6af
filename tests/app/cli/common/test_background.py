"""A launcher's studio: it is started once, found again, and stopped."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.request import urlopen

import pytest

from app.cli.common import background
from app.jobs.processes.process import Child, own_identity
from app.studio.paths import Paths
from tests.app.command import call
from tests.app.ui.server import Process, free_port
from tests.forked import IMPORTED_WITH, fork
from tests.waiting import wait_until


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a browser was asked to open."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    return addresses


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork new studios from a process that has imported everything."""

    def start(_module: str, words: Sequence[str], log: Path, _variables: Mapping[str, str]) -> Child:
        return fork("tests.app.ui.studio_process", ["", *words], log, IMPORTED_WITH)

    monkeypatch.setattr(background, "start_detached", start)


def test_a_launcher_opens_the_studio_that_runs_and_stops_it(tmp_path: Path, opened: list[str]) -> None:
    runs = tmp_path / "outputs"
    studio = Process(runs)
    running = wait_until(lambda: background.running(Paths(runs).root), studio.said)
    assert (running.url, running.process.pid) == (studio.url, studio.pid)
    outcome = call("ui", "--background", "--open", "--out", runs)
    assert outcome.code == 0 and studio.url in outcome.err and opened == [studio.url]
    outcome = call("ui", "--stop", "--out", runs)
    assert outcome.code == 0 and "stopped; trainings continue" in outcome.err
    assert not studio.is_running() and "\nstopped\n" in studio.said()
    assert not (Paths(runs).root / background.FILE).exists()
    assert "no studio runs" in call("ui", "--stop", "--out", runs).err


def test_a_studio_that_was_killed_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    studio = Process(tmp_path / "outputs")
    folder = Paths(tmp_path / "outputs").root
    wait_until(lambda: background.running(folder), studio.said)
    studio.stop(hard=True)
    assert (folder / background.FILE).exists() and background.running(folder) is None


@pytest.mark.usefixtures("forking")
def test_a_studio_that_runs_nowhere_is_started_with_the_words_of_the_command(tmp_path: Path, opened: list[str]) -> None:
    port = free_port()
    outcome = call("ui", "--background", "--open", "--port", port, "--out", tmp_path / "outputs")
    folder = Paths(tmp_path / "outputs").root
    running = background.running(folder)
    assert outcome.code == 0 and running is not None and running.url == f"http://127.0.0.1:{port}/", outcome.err
    assert opened == [running.url] and running.process.pid != own_identity().pid
    with urlopen(f"{running.url}health", timeout=30) as answer:
        assert answer.status == 200
    assert background.stop(folder) and background.running(folder) is None


@pytest.mark.usefixtures("forking")
def test_the_browser_shows_why_a_studio_did_not_start(tmp_path: Path, opened: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ("--port", taken.getsockname()[1], "--out", tmp_path / "outputs")
        outcome = call("ui", "--background", "--open", *words)
    problem = Paths(tmp_path / "outputs").root / background.PROBLEM
    assert outcome.code == 1 and opened == [problem.as_uri()]
    for text in (outcome.err, problem.read_text(encoding="utf-8")):
        assert "the studio did not start: the studio cannot listen on 127.0.0.1" in " ".join(text.split())
        assert background.LOG in text
    assert "choose another port" in (problem.parent / background.LOG).read_text(encoding="utf-8")
