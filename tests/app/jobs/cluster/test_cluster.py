"""Jobs on a real Ray cluster on this machine, whose nodes are killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.cluster.cluster import Cluster
from app.jobs.cluster.nodes import read_seen
from app.jobs.dispatcher import Dispatcher
from app.jobs.events.summary import read_summary
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.devices import DeviceOffer
from app.jobs.small_jobs import PICTURE, add_small_job
from app.jobs.store import GENERATE, Store
from app.jobs.views import Watcher
from app.studio.generation.compatibility import resolve_files
from app.studio.generation.request import GenerateRequest
from app.studio.job_modules import JOB_MODULES
from tests.app.command import process
from tests.app.jobs.cluster.local_cluster import LocalCluster
from tests.app.jobs.working import add_quick
from tests.trainers.tiny_runs import equal, style_tensors
from tests.waiting import wait_until
from trainers.runs.events import read_events
from trainers.runs.run import Run

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.skipif(find_spec("ray") is None, reason="it is not installed"),
]
HOSTS = ("127.0.0.3", "127.0.0.4")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    found = LocalCluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.open()
        yield found
    finally:
        found.close()
        shutil.rmtree(found.folder, ignore_errors=True)


@pytest.fixture
def told() -> list[str]:
    """What the dispatcher says."""
    return []


@pytest.fixture
def store(local: LocalCluster, told: list[str]) -> Iterator[Store]:
    """A queue that the nodes serve, and this machine for what has to be done here."""
    store = Store(local.folder / "runs")
    cluster, own = Cluster(store.runs, str(local.address)), DeviceOffer(("cpu",), complete=True)
    with Dispatcher(store, JOB_MODULES, own, interval=0.2, notify=told.append, cluster=cluster).in_background():
        yield store


def devices(store: Store) -> tuple[str, ...]:
    seen = read_seen(store.runs)
    return seen.devices if seen is not None else ()


def test_pictures_are_drawn_there_and_captions_written_here(local, store, told, tiny_bases):
    local.add(HOSTS[0])
    wait_until(lambda: devices(store), "the node does not join")
    request = resolve_files(GenerateRequest(prompts=("a fox",), steps=2, size=(32, 32), base=str(tiny_bases["sd1"])))
    picture = add_small_job(store, GENERATE, request)
    captions = add_quick(store, store.runs / "captions")
    for job in (picture, captions):
        wait_until(lambda job=job: Watcher(store).view(job.id).state == "finished", "it does not end")
    assert (picture.folder / PICTURE).is_file()
    assert any(said.startswith(f"{picture.name}: starts on cpu@127.0.0.") for said in told)
    assert f"{captions.name}: starts on cpu" in told


def test_a_run_whose_node_is_killed_is_begun_again_elsewhere(local, store, told, quick):
    local.add(HOSTS[0])
    wait_until(lambda: devices(store) == (f"cpu@{HOSTS[0]}",), "the node does not join")
    job = actions.add(store, quick("lost", {"train": {"steps": 5000}}), actor=MACHINE_OWNER)
    wait_until(local.trainings, "it is not begun there")
    local.kill(HOSTS[0])

    def is_begun_again() -> bool:
        assert Watcher(store).view(job.id).state != "failed"
        return store.job(job.id).attempts == 2

    wait_until(is_begun_again, "it is not begun again")
    assert [said for said in told if said.startswith("lost:")] == [
        f"lost: starts on cpu@{HOSTS[0]}",
        "lost: it was interrupted and restarts by itself",
        "lost: starts on cpu",
    ]
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    wait_until(lambda: Watcher(store).view(job.id).state == "cancelled", "it does not end")


def test_a_run_whose_node_is_killed_goes_on_elsewhere_with_the_bits_of_an_uncut_one(local, store, quick, tmp_path):
    local.add(*HOSTS)
    wait_until(lambda: len(devices(store)) == 2, "the nodes do not join")
    config = quick("dusk", {"train": {"steps": 120, "ema": 0.9}, "save": {"every": 5}, "data": {"flip": True}})
    job = actions.add(store, config, actor=MACHINE_OWNER)
    run = Run(job.folder)
    whole = Run(tmp_path / "dusk")
    shutil.copytree(run.folder, whole.folder)
    wait_until(run.checkpoint_steps, "there is no checkpoint")
    first = store.job(job.id).device
    assert first in ("cpu@127.0.0.3", "cpu@127.0.0.4")
    local.kill(first.partition("@")[2])
    wait_until(lambda: Watcher(store).view(job.id).state == "finished", "it does not end")
    last = store.job(job.id)
    assert last.attempts == 2, "it restarted once, and not on the node that was gone"
    assert [event["number"] for event in read_events(run.folder) if event["type"] == "attempt"] == [1, 2]
    assert run.table() == whole.table(), "its settings are the head's"
    # In a process of its own: what lies elsewhere in memory has other last digits on some processors.
    assert process("resume", whole.folder, cwd=tmp_path).code == 0
    style = Path("style", "dusk.safetensors")
    assert equal(style_tensors(whole.folder / style), style_tensors(run.folder / style))


def test_a_run_is_stopped_there_and_a_cancelled_one_leaves_no_process(local, store, quick):
    local.add(*HOSTS)
    wait_until(lambda: len(devices(store)) == 2, "the nodes do not join")
    stopped = actions.add(store, quick("stopped", {"train": {"steps": 5000}}), actor=MACHINE_OWNER)
    cancelled = actions.add(store, quick("cancelled", {"train": {"steps": 5000}}), actor=MACHINE_OWNER)
    for job in (stopped, cancelled):
        wait_until(lambda job=job: read_summary(job.folder).step, "it does not begin")
    assert {store.job(job.id).device for job in (stopped, cancelled)} == set(devices(store)), "each on one node"
    assert len(local.trainings()) == 2
    actions.stop(store, stopped.id, "save", actor=MACHINE_OWNER)
    actions.stop(store, cancelled.id, "cancel", actor=MACHINE_OWNER)
    wait_until(lambda: Watcher(store).view(stopped.id).state == "stopped", "it does not end")
    assert (stopped.folder / "style" / "stopped.safetensors").is_file() and not (stopped.folder / "stop").exists()
    wait_until(lambda: not local.trainings(), "a process is left")
    wait_until(lambda: Watcher(store).view(cancelled.id).state == "cancelled", "it does not end")


def test_a_run_whose_process_on_the_head_is_killed_ends_on_its_node_and_restarts(local, store, quick):
    local.add(HOSTS[0])
    wait_until(lambda: devices(store), "the node does not join")
    job = actions.add(store, quick("headless", {"train": {"steps": 5000}, "save": {"every": 5}}), actor=MACHINE_OWNER)
    wait_until(Run(job.folder).checkpoint_steps, "there is no checkpoint")
    first = local.trainings()
    store.job(job.id).process.kill()
    wait_until(lambda: not any(each.is_running() for each in first), "it goes on without its head")
    wait_until(lambda: read_summary(job.folder).attempt == 2, "it does not restart")
    wait_until(lambda: len(local.trainings()) == 1, "it does not train")
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    wait_until(lambda: Watcher(store).view(job.id).state == "cancelled", "it does not end")
