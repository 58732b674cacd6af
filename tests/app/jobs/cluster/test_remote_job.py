"""The head's process of a job on a node, without a cluster: what becomes of a job whose node is lost."""

from __future__ import annotations

import time
from importlib.metadata import version
from importlib.util import find_spec

import pytest

from app.jobs.cluster.cluster import Cluster
from app.jobs.cluster.nodes import ClusterSnapshot, Node, write_seen
from app.jobs.cluster.remote_job import LOST_NODE, LostNodeError, _RemoteJob
from app.jobs.processes.devices import DeviceOffer
from app.jobs.processes.process import own_identity
from app.jobs.store import Store
from app.studio.job_modules import JOB_MODULES
from tests.app.jobs.working import add_quick

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="it is not installed")
BOX = Node("0" * 56, "10.0.0.3", "box", cpus=1.0, memory=2**34, version=version("velatura"))
DEVICE = "cpu@10.0.0.3"


def test_an_error_of_ray_is_a_lost_node(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    # As when the connection is gone. Else it would begin a cluster of its own.
    monkeypatch.setattr("ray._private.auto_init_hook.enable_auto_connect", False)
    add_quick(store, store.runs / "job")
    job = store.claim(lambda *_: DEVICE, own_identity())
    assert job is not None
    with pytest.raises(LostNodeError, match="the machine box was lost"):
        _RemoteJob(ray, JOB_MODULES.job, job, BOX).perform()


def test_a_node_that_lost_a_job_gets_no_other_for_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, own = Cluster(store.runs, "127.0.0.2:1"), DeviceOffer(("cpu",), complete=True)
    monkeypatch.setattr(cluster, "_begun", time.monotonic())  # nothing follows the nodes that are written here
    write_seen(store.runs, ClusterSnapshot((BOX,), time=time.time()))
    for code, device in ((0, DEVICE), (1, DEVICE), (LOST_NODE, "cpu")):
        cluster.note_end(DEVICE, code)
        assert cluster.offer(own).choose("auto", frozenset()) == device
