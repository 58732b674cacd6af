"""The nodes of a cluster as values: their devices, and why a node is not used."""

from __future__ import annotations

import json
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.jobs.processes.devices import CPU, DeviceOffer, NodeDevice
from trainers.atomic_files import whole_file
from trainers.messages import Message as _
from trainers.messages import from_record, to_record

FILE = ".cluster.json"
"""File in the folder of runs with the nodes as last seen."""
STALE = 20.0
"""Seconds after which it is out of date."""
VERSION, NAME, CARD_MEMORY = "velatura.version", "velatura.name", "velatura.card-memory"
"""Labels that `velatura worker` gives its node."""
HEAD = "head"
"""The version label of a node that only connects the studio."""
OWN = ("velatura.", "ray.io/")
"""Prefixes of labels that people do not set."""
FOREIGN = _("It was not started by `velatura worker --cluster`.")
OTHER_VERSION = _("It has Velatura {theirs}; this studio has {ours}. Update the older one.")


@dataclass(frozen=True)
class Node:
    """A machine of a cluster."""

    id: str
    address: str
    name: str = ""
    """Display name."""
    cpus: float = 0.0
    gpus: int = 0
    memory: int = 0
    """Bytes that Ray gives to jobs."""
    card_memory: float = 0.0
    """GB of its smallest graphics card; 0 if unknown."""
    labels: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    """Its Velatura; empty if `velatura worker` has not started it."""

    @property
    def problem(self) -> str:
        """Why it is not used; empty for a node that is."""
        ours = version("velatura")
        if not self.version:
            return FOREIGN
        return "" if self.version == ours else OTHER_VERSION.format(theirs=self.version, ours=ours)

    @property
    def device_memory(self) -> float:
        """GB of each of its devices; 0 if unknown."""
        return self.card_memory if self.gpus else self.memory / 1e9

    @property
    def devices(self) -> tuple[str, ...]:
        """Its devices as in the queue: `cuda:0@ADDRESS` …, or `cpu@ADDRESS`."""
        if self.problem:
            return ()
        cards = tuple(f"cuda:{index}@{self.address}" for index in range(self.gpus))
        return cards or ((f"{CPU}@{self.address}",) if self.cpus >= 1 else ())


@dataclass(frozen=True)
class ClusterSnapshot:
    """A cluster at one moment."""

    nodes: tuple[Node, ...] = ()
    problem: str = ""
    """Why it cannot be reached."""
    time: float = 0.0
    """Unix seconds."""

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices of all nodes."""
        return tuple(device for node in self.nodes for device in node.devices)

    def offer(self, own: Sequence[str], avoided: Container[str] = ()) -> DeviceOffer:
        """The devices of the nodes, then this machine's `own`; `avoided` are ids of nodes.

        The offer is not complete: a job that fits nowhere waits for another node.
        """
        nodes = [node for node in self.nodes if node.id not in avoided]
        known = {each: NodeDevice(node.labels, node.device_memory) for node in nodes for each in node.devices}
        return DeviceOffer((*known, *own), complete=False, nodes=known)


def from_ray(nodes: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """The living nodes that may take jobs, from `ray.nodes()`."""
    living = [each for each in nodes if each["Alive"] and each["Labels"].get(VERSION) != HEAD]
    return tuple(sorted(map(_read_node, living), key=lambda node: (node.name, node.address)))


def node_of(device: str, nodes: Sequence[Node]) -> Node | None:
    """The node of a device; None if it is gone, or this machine."""
    address = device.rpartition("@")[2] if "@" in device else ""
    return next((node for node in nodes if address and node.address == address), None)


def write_seen(runs: Path, seen: ClusterSnapshot) -> None:
    """Write the cluster's state for other processes."""
    table = asdict(seen) | {"problem": to_record(seen.problem)}
    with whole_file(runs / FILE) as building:
        building.write_text(json.dumps(table), encoding="utf-8")


def read_seen(runs: Path) -> ClusterSnapshot | None:
    """The cluster as last seen; None without a cluster, or if its state is out of date."""
    try:
        table = json.loads((runs / FILE).read_bytes())
        seen = ClusterSnapshot(
            tuple(Node(**each) for each in table["nodes"]), from_record(table["problem"]), table["time"]
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return seen if abs(time.time() - seen.time) < STALE else None


def _read_node(node: Mapping[str, Any]) -> Node:
    labels, resources, address = node["Labels"], node["Resources"], str(node["NodeManagerAddress"])
    return Node(
        id=str(node["NodeID"]),
        address=address,
        name=labels.get(NAME, "") or address,
        cpus=float(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        memory=int(resources.get("memory", 0)),
        card_memory=_number(labels.get(CARD_MEMORY, "")),
        labels={key: value for key, value in labels.items() if not key.startswith(OWN)},
        version=labels.get(VERSION, ""),
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
