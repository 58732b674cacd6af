"""The rows of the queue: order, claims, and files that are no queue or another version's."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.jobs.database.migrations import VERSION
from app.jobs.processes.devices import DeviceOffer, NodeDevice
from app.jobs.processes.process import Identity, own_identity
from app.jobs.store import Job, NewJob, Store
from trainers.errors import VelaturaError

CPU = DeviceOffer(("cpu",), complete=True)
WORKER = Identity("somewhere", 7, 1.0)


def add(store: Store, name: str, priority: int = 0, wants: str = "auto") -> Job:
    return store.add(NewJob("train", store.runs / name, priority=priority, wants=wants))


def claim(store: Store, offer: DeviceOffer = CPU) -> Job | None:
    return store.claim(offer.choose, own_identity())


def line(store: Store) -> list[str]:
    return [job.name for job in store.line()]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# ---------------------------------------------------------------- order
def test_higher_priorities_go_first_and_equal_ones_in_order(store):
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)):
        add(store, name, priority)
    assert line(store) == ["b", "d", "a", "c", "e"]
    started = []
    while (job := claim(store)) is not None:
        assert claim(store) is None  # the device is taken
        started.append(job.name)
        assert store.end(job)
    assert started == ["b", "d", "a", "c", "e"]


def test_moving_past_another_priority_takes_it_over(store):
    jobs = {name: add(store, name, priority) for name, priority in (("a", 5), ("b", 3), ("c", 3), ("d", 0))}
    assert store.move(jobs["d"], 2) and line(store) == ["a", "d", "b", "c"]
    assert store.job(jobs["d"].id).priority == 3
    assert store.move(jobs["a"], 99) and line(store) == ["d", "b", "c", "a"]
    assert store.job(jobs["a"].id).priority == 3
    assert store.move(jobs["c"], -4) and line(store) == ["c", "d", "b", "a"]
    add(store, "e", 3)
    assert line(store)[-1] == "e"
    assert not store.move(claim(store), 1)  # it does not wait any more


def test_one_that_steps_aside_waits_behind_what_is_small_and_before_every_run(store):
    add(store, "run", 3)
    begun = claim(store)
    assert begun is not None and not store.step_aside(begun), "it has not begun"
    begun = store.begin(begun.id, begun.token, WORKER)
    add(store, "urgent", 7), add(store, "plain")
    for name in ("one", "two"):
        store.add(NewJob("generate", store.runs / name, ("generate",), priority=10))
    assert begun is not None and store.request(begun, "yield") and store.step_aside(store.job(begun.id))
    assert line(store) == ["one", "two", "run", "urgent", "plain"]
    again = store.job(begun.id)
    assert (again.priority, again.requested, again.device, again.process.pid) == (7, "", "", 0)
    assert not store.step_aside(begun), "once"


def test_work_in_the_background_is_last_wherever_others_are_moved(store):
    store.add(NewJob("trial", store.runs / "trial", priority=20))
    measurement = store.add(NewJob("estimate", store.runs / "measurement", priority=10))
    jobs = {name: add(store, name) for name in ("a", "b")}
    assert store.move(jobs["a"], 99) and line(store) == ["b", "a", "measurement", "trial"]
    assert store.move(jobs["a"], 2) and store.move(jobs["b"], 2) and line(store) == ["a", "b", "measurement", "trial"]
    assert {store.job(job.id).priority for job in jobs.values()} == {0}, "none takes over that of the measurement"
    assert not store.move(measurement, 1)
    assert [job.name for job in store.jobs()] == ["a", "b", "measurement", "trial"]


class Line(RuleBasedStateMachine):
    """The line against a plain list."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name))
        self.store.enter(WORKER, ())  # which begins the file
        self.line: list[tuple[str, int]] = []
        self.out: list[str] = []
        self.count = 0

    def _job(self, name: str) -> Job:
        job = self.store.job_in(self.store.runs / name)
        assert job is not None
        return job

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(priority=st.integers(-1, 2))
    def add(self, priority: int) -> None:
        self.count += 1
        name = f"j{self.count}"
        add(self.store, name, priority)
        index = next((i for i, (_, other) in enumerate(self.line) if other < priority), len(self.line))
        self.line.insert(index, (name, priority))

    @rule(which=st.integers(0, 50), place=st.integers(-1, 12))
    def move(self, which: int, place: int) -> None:
        if not self.line:
            return
        name, priority = self.line.pop(which % len(self.line))
        assert self.store.move(self._job(name), place)
        index = min(max(place, 1), len(self.line) + 1) - 1
        if index < len(self.line):
            priority = max(priority, self.line[index][1])
        if index > 0:
            priority = min(priority, self.line[index - 1][1])
        self.line.insert(index, (name, priority))

    @rule()
    def start_and_end(self) -> None:
        job = claim(self.store)
        assert (job.name if job else None) == (self.line[0][0] if self.line else None)
        if job is not None:
            self.line.pop(0)
            self.out.append(job.name)
            assert self.store.begin(job.id, job.token, WORKER) is not None
            assert self.store.end(job) is False and self.store.end(self._job(job.name))

    @rule(which=st.integers(0, 50), first=st.booleans())
    def put_back(self, which: int, first: bool) -> None:
        if not self.out:
            return
        name = self.out.pop(which % len(self.out))
        job = self._job(name)
        assert self.store.put_in_line(job, first)
        highest = max([job.priority, *(priority for _, priority in self.line)])
        if first:
            self.line.insert(0, (name, highest))
            return
        index = next((i for i, (_, other) in enumerate(self.line) if other < job.priority), len(self.line))
        self.line.insert(index, (name, job.priority))

    @invariant()
    def same(self) -> None:
        assert [(job.name, job.priority) for job in self.store.line()] == self.line


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=15, stateful_step_count=30)


# ---------------------------------------------------------------- claims
def test_captions_are_claimed_for_this_machine_and_a_run_for_a_node(store):
    offer = DeviceOffer(("cpu@10.0.0.3", "cpu"), True, {"cpu@10.0.0.3": NodeDevice({}, 16.0)})
    store.add(NewJob("caption", store.runs / "captions"))
    add(store, "run")
    claimed = [claim(store, offer) for _ in range(2)]
    assert [(job.name, job.device) for job in claimed if job] == [("captions", "cpu"), ("run", "cpu@10.0.0.3")]


def test_many_threads_and_connections_claim_each_job_once(tmp_path):
    stores = [Store(tmp_path) for _ in range(4)]
    for number in range(40):
        add(stores[0], f"job{number}")
    offer = DeviceOffer(("cpu", "cuda:0", "cuda:1"), complete=True)
    won: list[str] = []

    def work(store: Store) -> None:
        while store.line() or store.active():
            job = claim(store, offer)
            if job is not None:
                assert store.begin(job.id, job.token, WORKER) is not None
                won.append(job.name)
                assert store.end(replace(job, phase="running"))

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(f"job{number}" for number in range(40))


def test_a_claim_is_begun_once_and_only_while_it_holds(store):
    add(store, "a")
    job = claim(store)
    assert job is not None and (job.phase, job.device, job.attempts) == ("claimed", "cpu", 0)
    assert store.begin(job.id, "another token", WORKER) is None
    assert store.give_back(job) and not store.give_back(job)
    assert store.begin(job.id, job.token, WORKER) is None  # too late
    again = claim(store)
    begun = store.begin(again.id, again.token, WORKER)
    assert begun is not None and (begun.phase, begun.attempts, begun.process) == ("running", 1, WORKER)
    assert store.begin(again.id, again.token, WORKER) is None
    assert not store.end(job) and not store.give_back(again) and store.end(begun)


def test_a_job_that_is_given_back_is_the_first_of_its_priority_again(store):
    jobs = [add(store, name) for name in "abc"]
    add(store, "d", 1)
    store.move(jobs[2], 2)
    store.end(claim(store))
    job = claim(store)
    assert job.name == "c" and line(store) == ["a", "b"]
    assert store.give_back(job) and line(store) == ["c", "a", "b"]


def test_what_fits_no_free_device_does_not_hold_up_what_does(store):
    offer = DeviceOffer(("cuda:0", "cuda:1", "cpu"), complete=True)
    for name, wants in (("a", "cuda:1"), ("b", "cuda:1"), ("c", "auto"), ("d", "cpu"), ("e", "auto")):
        add(store, name, wants=wants)
    claimed = []
    while (job := claim(store, offer)) is not None:
        claimed.append((job.name, job.device))
    assert claimed == [("a", "cuda:1"), ("c", "cuda:0"), ("d", "cpu")]
    assert line(store) == ["b", "e"]


def test_a_job_for_two_cards_is_not_overtaken_card_by_card(store):
    offer = DeviceOffer(("cuda:0", "cuda:1", "cpu"), complete=True)
    for name, wants in (("a", "auto"), ("b", "auto*2"), ("c", "auto"), ("d", "cpu")):
        add(store, name, wants=wants)
    first = claim(store, offer)
    assert (first.name, first.device) == ("a", "cuda:0")
    assert claim(store, offer).name == "d" and claim(store, offer) is None, "b waits for both, and c behind it"
    store.end(first)
    both = claim(store, offer)
    assert (both.name, both.device) == ("b", "cuda:0+cuda:1") and claim(store, offer) is None


def test_devices_of_another_machine_are_not_taken_here(store):
    add(store, "a")
    add(store, "b")
    assert store.claim(CPU.choose, WORKER) is not None
    job = claim(store)
    assert job is not None and job.name == "b"


def test_a_held_job_is_nobody_else_s(store):
    job = add(store, "a")
    assert store.hold(job, own_identity()) and not store.hold(job, own_identity())
    assert claim(store) is None and not store.remove(job) and not store.put_in_line(job)
    assert not store.end(store.job(job.id)), "somebody else has taken it out of the line"
    store.release(job, WORKER)
    assert store.job(job.id).phase == "held", "one who does not hold it has let go of it"
    store.release(job, own_identity())
    assert store.job(job.id) == replace(job, process=replace(job.process, host=own_identity().host))
    assert line(store) == ["a"] and claim(store) is not None


def test_one_folder_is_one_job_until_it_has_ended(store):
    first = add(store, "a")
    with pytest.raises(VelaturaError, match="a is already in the queue"):
        add(store, "a")
    job = claim(store)
    store.end(job)
    second = add(store, "a")
    assert second.id > first.id and [job.id for job in store.jobs()] == [second.id]


def test_running_ones_come_first_then_the_line_then_the_newest(store):
    for name in "abcde":
        add(store, name)
    for _ in range(2):
        store.end(claim(store))
    store.move(store.job_in(store.runs / "e"), 1)
    claim(store)
    assert [job.name for job in store.jobs()] == ["e", "c", "d", "b", "a"]


# ---------------------------------------------------------------- the file
def test_a_queue_can_be_moved_with_its_runs(tmp_path):
    store = Store(tmp_path / "a")
    add(store, "dusk")
    store.add(NewJob("train", tmp_path / "elsewhere"))
    store.close()
    (tmp_path / "a").rename(tmp_path / "b")
    moved = Store(tmp_path / "b")
    assert [job.folder for job in moved.line()] == [tmp_path / "b" / "dusk", tmp_path / "elsewhere"]


def test_there_is_no_file_before_the_first_job(tmp_path):
    store = Store(tmp_path / "runs")
    with pytest.raises(VelaturaError, match=r"there is no queue in .*runs yet; `velatura queue add` creates one"):
        store.jobs()
    assert not store.exists() and list(tmp_path.iterdir()) == []


def test_it_is_kept_in_wal_mode_and_waits_for_the_disk(store):
    add(store, "a")
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with store._database.reading() as connection:  # of the connection alone; less than FULL may lose what was said
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def broken(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


def another_program_s(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (words TEXT)")


def of_the_future(path: Path) -> None:
    store = Store(path.parent)
    add(store, "a")
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")


def emptied(path: Path) -> None:
    path.touch()


def zeroed(path: Path) -> None:
    cut_in_half(path)
    path.write_bytes(bytes(path.stat().st_size))


def cut_in_half(path: Path) -> None:
    store = Store(path.parent)
    for number in range(200):
        add(store, f"job{number}")
    store.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (broken, "is damaged or not a Velatura queue"),
        (another_program_s, "is not a Velatura queue; `velatura queue repair` keeps this file"),
        (
            of_the_future,
            rf"a queue of version 99, and this Velatura reads up to version {VERSION}; update Velatura",
        ),
        (cut_in_half, "is damaged or not a Velatura queue"),
        (emptied, "is empty; `velatura queue repair` keeps this file"),
        (zeroed, "is damaged or not a Velatura queue"),
    ],
)
def test_a_file_that_is_no_queue_is_one_sentence_and_stays_as_it_is(spoil, words, tmp_path):
    spoil(tmp_path / "queue.db")
    before = (tmp_path / "queue.db").read_bytes()
    store = Store(tmp_path)
    for use in (store.jobs, store.line, lambda: add(store, "b"), lambda: claim(store)):
        with pytest.raises(VelaturaError, match=words) as caught:
            use()
        assert re.search("queue repair|move the file away", str(caught.value)) and "\n" not in str(caught.value)
    assert (tmp_path / "queue.db").read_bytes() == before


def test_a_transaction_that_fails_changes_nothing(store):
    add(store, "a")
    with pytest.raises(RuntimeError), store._database.writing() as db:
        db.execute("DELETE FROM jobs")
        raise RuntimeError
    assert line(store) == ["a"]
    add(store, "b")
    assert line(store) == ["a", "b"]


# ---------------------------------------------------------------- what has changed
def test_the_revision_is_another_after_every_change_whoever_made_it(store):
    job = add(store, "dusk")
    other, seen = Store(store.runs), {store.revision()}
    assert store.revision() in seen and other.line() and store.revision() in seen, "looking changes nothing"
    for number, change in enumerate((lambda: other.want(job, "cuda"), lambda: store.want(job, "cpu")), 2):
        change()
        seen.add(store.revision())
        assert len(seen) == number
    looking = Store(store.runs)
    before = looking.revision()
    looking.close()
    store.want(job, "mps")  # while that one is not connected
    assert looking.revision() != before


def test_a_read_only_queue_has_another_revision_once_it_was_changed_elsewhere(tmp_path):
    """One disk at two places, of which only one can be written to, as on a network."""
    disk, view = tmp_path / "disk", tmp_path / "view"
    view.mkdir()
    store = Store(disk)
    disk.mkdir()
    job = add(store, "dusk")
    if shutil.which("mount") is None or subprocess.run(["mount", "--bind", disk, view], capture_output=True).returncode:
        pytest.skip("needs the right to mount a folder")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", view], check=True)
        looking = Store(view)
        before = looking.revision()
        assert not looking.is_writable and looking.revision() == before
        store.want(job, "cuda")
        assert looking.revision() != before and looking.line()[0].wants == "cuda"
    finally:
        subprocess.run(["umount", view], check=True)
