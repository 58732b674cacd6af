"""What a cluster's nodes offer to the queue."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from app.cli.cluster import open_cluster
from app.jobs.cluster.connection import LostClusterError, connected
from app.jobs.cluster.nodes import FILE, STALE, ClusterSnapshot, Node, from_ray, node_of, read_seen, write_seen
from app.jobs.cluster.ray_node import Address, given_token, node_command, parse_address
from app.jobs.processes.devices import DeviceOffer, DeviceRequest, NodeDevice
from trainers.errors import VelaturaError

OURS = version("velatura")


def ray_node(address: str, version: str = OURS, alive: bool = True, labels: dict[str, str] | None = None, **has: Any):
    own = {"velatura.version": version, "velatura.name": f"box-{address[-1]}"} if version else {}
    return {
        "NodeID": f"id-{address}",
        "Alive": alive,
        "NodeManagerAddress": address,
        "Resources": {"CPU": 8.0, "memory": 2.0**34, **has},
        "Labels": {"ray.io/node-id": "x", **own, **(labels or {})},
    }


def test_nodes_are_read_with_what_they_offer_and_why_one_is_not_used():
    found = [
        ray_node("10.0.0.4", GPU=2.0, labels={"gpu": "H100"}),
        ray_node("10.0.0.3"),
        ray_node("10.0.0.5", alive=False),
        ray_node("10.0.0.6", version="head"),
        ray_node("10.0.0.7", version="1.1"),
        ray_node("10.0.0.8", version=""),
        ray_node("10.0.0.9", CPU=0.0),
    ]
    nodes = {node.address: node for node in from_ray(found)}
    assert list(nodes) == ["10.0.0.8", "10.0.0.3", "10.0.0.4", "10.0.0.7", "10.0.0.9"]
    assert nodes["10.0.0.4"].devices == ("cuda:0@10.0.0.4", "cuda:1@10.0.0.4")
    assert nodes["10.0.0.4"].labels == {"gpu": "H100"} and nodes["10.0.0.4"].name == "box-4"
    assert nodes["10.0.0.3"].devices == ("cpu@10.0.0.3",) and nodes["10.0.0.9"].devices == ()
    assert nodes["10.0.0.7"].problem == "It has Velatura 1.1; this studio has " + OURS + ". Update the older one."
    assert nodes["10.0.0.8"].problem == "It was not started by `velatura worker --cluster`."
    assert nodes["10.0.0.7"].devices == nodes["10.0.0.8"].devices == ()


def test_the_nodes_go_before_this_machine_and_captions_stay_here():
    card, box = NodeDevice({"gpu": "H100"}, 80.0), NodeDevice({}, 16.0)
    offer = DeviceOffer(
        ("cuda:0@10.0.0.4", "cpu@10.0.0.3", "cpu"), True, {"cuda:0@10.0.0.4": card, "cpu@10.0.0.3": box}
    )
    assert offer.choose("auto", frozenset()) == "cuda:0@10.0.0.4"
    assert offer.choose("auto", frozenset({"cuda:0@10.0.0.4"})) is None, "a CPU would take a hundred times as long"
    assert offer.choose("cuda", frozenset()) == "cuda:0@10.0.0.4" and offer.choose("cpu", frozenset()) == "cpu@10.0.0.3"
    assert offer.choose("auto", frozenset(), True) == "cpu"
    slow = DeviceOffer(("cpu@10.0.0.3", "cpu@10.0.0.4", "cpu"), False, {"cpu@10.0.0.3": box, "cpu@10.0.0.4": box})
    assert slow.choose("cuda", frozenset()) is None, "it waits: another node may join"
    assert slow.choose("auto", frozenset({"cpu@10.0.0.3"})) == "cpu@10.0.0.4"
    assert slow.choose("auto", frozenset({"cpu@10.0.0.3", "cpu@10.0.0.4"})) == "cpu"


@pytest.mark.parametrize(
    ("wants", "device"),
    [
        ("auto gpu=H100", "cuda:0@10.0.0.4"),
        ("cuda gpu=A100", None),
        ("auto memory=79.5", "cuda:0@10.0.0.4"),
        ("auto memory=81", None),
        ("cpu memory=17", "cpu"),
        ("cpu place=cellar", None),
        ("cpu memory=much", "cpu@10.0.0.3"),
    ],
)
def test_a_job_gets_a_node_with_its_labels_and_its_memory(wants, device):
    nodes = (
        Node("a", "10.0.0.4", cpus=8.0, gpus=1, memory=2**34, card_memory=80.0, labels={"gpu": "H100"}, version=OURS),
        Node("b", "10.0.0.3", cpus=8.0, memory=16 * 10**9, version=OURS),
    )
    assert ClusterSnapshot(nodes).offer(("cpu",)).choose(wants, frozenset()) == device
    assert ClusterSnapshot(nodes).offer(("cpu",), ["a"]).choose("auto", frozenset()) == "cpu@10.0.0.3", (
        "it has just lost a job"
    )


def test_several_devices_are_those_of_one_machine():
    a, b = (Node(each, f"10.0.0.{each}", cpus=8.0, gpus=count, version=OURS) for each, count in (("4", 1), ("5", 2)))
    offer = ClusterSnapshot((a, b)).offer(("cuda:0", "cpu"))
    both = "cuda:0@10.0.0.5+cuda:1@10.0.0.5"
    assert offer.choose("cuda*2", frozenset()) == offer.choose("auto*2", frozenset()) == both
    assert offer.choose("cuda*2", frozenset({"cuda:1@10.0.0.5"})) == f"~{both}"
    assert offer.choose("cuda*3", frozenset()) is None and offer.choose("cpu*3", frozenset()) == "cpu"
    assert node_of(both, (a, b)) == b


def test_a_request_is_written_as_it_is_read():
    request = DeviceRequest("cuda", 2, {"gpu": "H100"}, 20.5)
    assert str(request) == "cuda*2 gpu=H100 memory=20.5" and DeviceRequest.parse(str(request)) == request
    assert (
        DeviceRequest.parse("cuda:1") == DeviceRequest("cuda:1")
        and str(DeviceRequest("auto")) == "auto"
        and DeviceRequest.parse("").device == "auto"
    )


def test_what_was_seen_is_read_by_other_processes_for_a_while(tmp_path):
    seen = ClusterSnapshot((Node("id", "10.0.0.3", "box", 2.0, 1, 5, 80.0, {"gpu": "H100"}, OURS),), time=time.time())
    assert read_seen(tmp_path) is None
    write_seen(tmp_path, seen)
    assert read_seen(tmp_path) == seen and seen.devices == ("cuda:0@10.0.0.3",)
    assert node_of("cuda:0@10.0.0.3", seen.nodes) == seen.nodes[0]
    assert node_of("cuda:0", seen.nodes) is node_of("cpu@10.0.0.4", seen.nodes) is None
    write_seen(tmp_path, replace(seen, time=time.time() - STALE - 1))
    assert read_seen(tmp_path) is None
    for damaged in (b"", b"{}", b"[]", b'{"nodes": [1], "problem": "", "time": 0}'):
        (tmp_path / FILE).write_bytes(damaged)
        assert read_seen(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ray://10.0.0.5", "is not the address of a cluster"),
        ("10.0.0.5:port", "is not the address of a cluster"),
        ("10.0.0.5:0", "is not the address of a cluster"),
        ("", "is not the address of a cluster"),
        ("no such host", "there is no host no such host"),
        ("127.0.0.1", "does not bind to 127.0.0.1"),
    ],
)
def test_a_wrong_address_is_refused(text, words):
    with pytest.raises(VelaturaError, match=words):
        parse_address(text)


def test_an_address_has_rays_port_unless_it_names_one():
    assert str(parse_address("127.0.0.2")) == "127.0.0.2:6379"
    assert parse_address("127.0.0.2:99") == Address("127.0.0.2", 99)
    assert Address("127.0.0.2").is_here() and not Address("203.0.113.1").is_here()
    assert parse_address("auto").is_here()


def test_a_node_says_who_it_is_and_takes_no_wrong_label():
    command = node_command(Address("127.0.0.2"), "127.0.0.3", "Anna's box!", {"gpu": "H100"}, 4, 1)
    assert command[command.index("--labels") + 1] == (f"gpu=H100,velatura.version={OURS},velatura.name=Anna-s-box")
    assert command[command.index("--num-gpus") + 1] == "1" and "--disable-usage-stats" in command
    for labels in ({"a b": "c"}, {"a": ""}, {"a": "ü"}, {"a": "-"}):
        with pytest.raises(VelaturaError, match="cannot be a label"):
            node_command(Address("127.0.0.2"), "127.0.0.3", "box", labels, 4, 1)


def test_a_node_needs_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with pytest.raises(VelaturaError, match=r"copy `\.cluster-token`"):
        given_token(None)
    with pytest.raises(VelaturaError, match="cannot be read from"):
        given_token(tmp_path / "none")
    (tmp_path / "token").write_text("secret\n")
    assert given_token(tmp_path / "token") == "secret"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
    assert given_token(None) == "other"


def test_a_cluster_that_does_not_answer_is_a_sentence_at_once(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr("os.environ", dict(os.environ))  # the connection's variables stay here
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(LostClusterError, match=r"cannot be reached: .*refused"), connected(address, "token"):
            raise AssertionError("it is not there")


def test_storage_is_for_clusters(tmp_path):
    assert open_cluster(None, tmp_path, None) is None
    with pytest.raises(VelaturaError, match="--storage is for clusters; add --cluster auto"):
        open_cluster(None, tmp_path, "s3://bucket")
