from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.accounts.people import people_of
from tests.app.command import call

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="a terminal is opened as POSIX does")


def velatura(*words: object, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", *map(str, words)]
    return subprocess.run(command, input=said, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.mark.slow
def test_people_are_added_listed_and_taken_out(tmp_path):
    out = ("--out", tmp_path / "outputs")
    added = velatura("ui", "--add-person", "ann", *out, said="pear-tree\n")
    assert added.returncode == 0 and "ann can log in" in added.stdout + added.stderr
    again = velatura("ui", "--add-person", "ann", *out, said="fig-tree-2\n")
    assert "new password" in again.stdout + again.stderr
    short = velatura("ui", "--add-person", "bob", *out, said="no\n")
    assert short.returncode == 1 and "8 to 200 characters" in short.stderr
    with people_of(tmp_path / "outputs") as people:
        assert [one.name for one in people.all()] == ["ann"] and people.all()[0].password.matches("fig-tree-2")
    listed = velatura("ui", "--list-people", *out)
    assert "ann" in listed.stdout and "admin" in listed.stdout and "scrypt" not in listed.stdout
    assert velatura("ui", "--remove-person", "ann", *out).returncode == 0
    assert "no account ann" in velatura("ui", "--remove-person", "ann", *out).stderr


def test_a_password_file_is_taken_in(tmp_path):
    file = tmp_path / "people.txt"
    file.write_text("ann:pear\nbob:plum-tree\n", encoding="utf-8")
    assert "you can delete" in call("ui", "--import-people", file, "--out", tmp_path / "outputs").err
    with people_of(tmp_path / "outputs") as people:
        assert [one.name for one in people.all() if one.password.matches("pear")] == ["ann"]
        assert people.find("bob").password.matches("plum-tree")
    file.write_text("eve:apple\nb\x07b:plum\n", encoding="utf-8")
    assert "printable characters" in call("ui", "--import-people", file, "--out", tmp_path / "outputs").err
    with people_of(tmp_path / "outputs") as people:
        assert people.find("eve") is None, "all of a file, or nothing"


def test_on_a_terminal_it_is_asked_for_without_echo(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "app.cli", "ui", "--add-person", "ann", "--out", str(tmp_path / "outputs")]
    started = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True)
    os.close(theirs)
    shown = b""
    for question in (b"characters): ", b"the password: "):
        while not shown.endswith(question):
            shown += os.read(ours, 1000)
        os.write(ours, b"pear-tree\n")
    try:
        while part := os.read(ours, 1000):
            shown += part
    except OSError:  # how a terminal ends on Linux
        pass
    assert started.wait(timeout=60) == 0 and b"ann can log in" in shown and b"pear-tree" not in shown
    os.close(ours)
