"""The machines of a cluster on the page Runs."""

from __future__ import annotations

import re
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from app.jobs.cluster.nodes import ClusterSnapshot, Node, write_seen
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.process import own_identity
from app.jobs.store import NewJob
from app.studio.paths import Paths
from app.studio.studio_queue import StudioQueue
from app.ui.components.pagination import ListChoice
from app.ui.runs.list import listing
from trainers.errors import VelaturaError

OURS = version("velatura")


@pytest.fixture
def queue(tmp_path: Path) -> StudioQueue:
    paths = Paths(tmp_path)
    paths.make()
    return StudioQueue(paths)


def shown(queue: StudioQueue) -> str:
    return " ".join(re.sub("<[^>]*>", " ", listing(queue, queue.look(), ListChoice(), MACHINE_OWNER)).split())


def test_without_a_cluster_there_are_no_machines(queue):
    assert queue.machines() == () and "Machines" not in shown(queue)


def test_each_device_says_what_it_does_and_a_machine_why_it_is_not_used(queue):
    card = Node("a", "10.0.0.4", "gpu-box", cpus=8.0, gpus=2, version=OURS)
    nodes = (card, Node("b", "10.0.0.5", "cellar", cpus=8.0, version="0.0.1"), Node("c", "10.0.0.6", "<b>small</b>"))
    write_seen(queue.store.runs, ClusterSnapshot(nodes, time=time.time()))
    both = "cuda:0@10.0.0.4+cuda:1@10.0.0.4"
    (queue.store.runs / "dusk").mkdir()
    queue.store.add(NewJob("train", queue.store.runs / "dusk", wants="cuda*2"))
    assert "gpu-box cuda:0: free cuda:1: free" in shown(queue)
    claimed = queue.store.claim(ClusterSnapshot(nodes).offer(()).choose, own_identity())
    assert claimed is not None and claimed.device == both
    text = shown(queue)
    assert "Machines gpu-box cuda:0: dusk cuda:1: dusk" in text
    assert f"cellar It has Velatura 0.0.1; this studio has {OURS}. Update the older one." in text
    assert "&lt;b&gt;small&lt;/b&gt; It was not started by `velatura worker --cluster`." in text


def test_a_run_that_no_machine_can_do_says_so(queue):
    write_seen(queue.store.runs, ClusterSnapshot((Node("a", "10.0.0.4", cpus=8.0, version=OURS),), time=time.time()))
    queue.store.enter(own_identity(), ("cpu", "cpu@10.0.0.4"))
    for name, wants in (("dusk", "cuda gpu=H100"), ("dawn", "cpu")):
        (queue.store.runs / name).mkdir()
        queue.store.add(NewJob("train", queue.store.runs / name, wants=wants))
    lines = {view.job.name: view.line for view in queue.jobs()}
    assert lines["dusk"] == "No machine of the cluster has what it wants: cuda gpu=H100."
    assert lines["dawn"].startswith("2nd in line")


def test_a_lost_cluster_says_so(queue):
    write_seen(
        queue.store.runs, ClusterSnapshot(problem="the cluster at 10.0.0.4:6379 cannot be reached", time=time.time())
    )
    with pytest.raises(VelaturaError, match="cannot be reached"):
        queue.machines()
    assert "The cluster at 10.0.0.4:6379 cannot be reached." in shown(queue)
