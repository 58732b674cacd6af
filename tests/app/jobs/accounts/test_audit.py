from __future__ import annotations

import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.accounts import audit
from app.jobs.accounts.audit import AuditLog
from app.jobs.job import NewJob
from app.jobs.permissions import MACHINE_OWNER, Actor, NotOwnerError
from app.jobs.store import CAPTION, TRAIN, Store

ANN, BOB = Actor("ann", address="10.0.0.1"), Actor("bob", address="10.0.0.2", token="ab12")
ADMIN = Actor("eve", is_admin=True)


@pytest.fixture
def kept(tmp_path: Path) -> AuditLog:
    log = AuditLog(tmp_path)
    log.keep()
    return log


def test_nothing_is_kept_before_the_first_account(tmp_path: Path):
    AuditLog(tmp_path).note("login", ANN)
    assert list(tmp_path.iterdir()) == [] and list(AuditLog(tmp_path).lines()) == []


def test_a_line_has_who_what_when_and_from_where(kept: AuditLog):
    kept.note("login", ANN)
    kept.note("role", BOB, "ann", role="admin", refused=None)
    kept.note("login_failed", None, address="10.0.0.3")
    lines = [json.loads(line) for line in kept.file.read_text().splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time")) for line in lines)
    assert lines == [
        {"who": "ann", "what": "login", "about": "", "address": "10.0.0.1"},
        {"who": "bob", "what": "role", "about": "ann", "address": "10.0.0.2", "token": "ab12", "role": "admin"},
        {"who": None, "what": "login_failed", "about": "", "address": "10.0.0.3"},
    ]
    assert [line["what"] for line in kept.lines()] == ["login_failed", "role", "login"]
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600 and stat.S_IMODE(kept.folder.stat().st_mode) == 0o700


def test_nobody_writes_lines_of_their_own(kept: AuditLog):
    kept.note("start", Actor('ann"}\n{"who": "eve'), "a\r\nb\x1b[31m\u2028" + "x" * 1000)
    text = kept.file.read_text()
    assert text.count("\n") == 1 and text.isascii() and "\x1b" not in text
    assert len(json.loads(text)["about"]) == 300


def test_full_files_are_kept_up_to_a_number(kept: AuditLog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audit, "LARGEST", 1000)
    monkeypatch.setattr(audit, "OLDER", 3)
    for number in range(100):
        kept.note("start", ANN, f"run {number}")
    files = {path.name: path.stat().st_size for path in kept.folder.glob("audit*")}
    assert {"audit.1.jsonl", "audit.2.jsonl", "audit.3.jsonl"} == files.keys() - {"audit.jsonl"}
    assert all(size < 1200 for size in files.values())
    numbers = [int(line["about"].removeprefix("run ")) for line in kept.lines()]
    assert numbers == list(range(99, 99 - len(numbers), -1)), "the newest, in their order"


def test_no_line_is_lost_while_several_write(kept: AuditLog, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(audit, "LARGEST", 1000)
    monkeypatch.setattr(audit, "OLDER", 60)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: kept.note("start", ANN, f"run {number}"), range(200)))
    assert {line["about"] for line in kept.lines()} == {f"run {number}" for number in range(200)}
    assert caplog.text == ""


def test_a_disk_that_refuses_is_in_the_log_and_nothing_fails(kept: AuditLog, monkeypatch, caplog):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit.os, "write", full)
    kept.note("login", ANN)
    assert "The audit log cannot be written" in caplog.text and "No space left" in caplog.text


def test_what_is_done_with_runs_is_noted_and_what_was_refused(kept: AuditLog, tmp_path: Path):
    store = Store(tmp_path)
    job = store.add(NewJob(TRAIN, tmp_path / "dusk", owner="ann"))
    small = store.add(NewJob(CAPTION, tmp_path / ".jobs" / "one", owner="ann"))
    with pytest.raises(NotOwnerError):
        actions.stop(store, job.id, "cancel", actor=BOB)
    actions.stop(store, job.id, "cancel", actor=ADMIN)
    actions.give(store, job.id, "bob", actor=MACHINE_OWNER)
    actions.stop(store, small.id, "cancel", actor=MACHINE_OWNER)
    said = [(line["who"], line["what"], line["about"], line["owner"], line.get("refused")) for line in kept.lines()]
    assert said == [
        ("", "give", "dusk", "ann", None),
        ("eve", "cancel", "dusk", "ann", None),
        ("bob", "cancel", "dusk", "ann", True),
    ]


def test_an_admin_passes_others_runs_and_gives_nobody_a_better_place_by_resuming(tmp_path: Path):
    store = Store(tmp_path)
    jobs = {owner: store.add(NewJob(TRAIN, tmp_path / owner, owner=owner)) for owner in ("ann", "bob", "eve")}
    with pytest.raises(NotOwnerError):
        actions.move(store, jobs["bob"].id, "first", actor=Actor("bob"))
    assert [job.owner for job in actions.move(store, jobs["bob"].id, 1, actor=ADMIN)] == ["bob", "ann", "eve"]
    assert actions._first_place(store, jobs["bob"], ADMIN) == 3
    assert actions._first_place(store, jobs["bob"], MACHINE_OWNER) == 1


def test_a_damaged_line_hides_no_other(kept: AuditLog):
    kept.note("login", ANN)
    with kept.file.open("a") as file:
        file.write("[" * 100_000 + "\n{half\n[]\n\n")
    kept.note("logout", ANN)
    assert [line["what"] for line in kept.lines()] == ["logout", "login"]
