"""Clusters on the command line: joins one as a node, and lists the nodes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.common.console import print_json, print_table, say
from app.units import readable_size
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from app.jobs.cluster.cluster import Cluster


def join(address: str, name: str | None, labels: Sequence[str], token_file: Path | None, device: Sequence[str]) -> None:
    """Serve a cluster as a node until Ctrl-C, which returns its jobs to the queue."""
    import socket

    from app.jobs.cluster import ray_node
    from app.jobs.cluster.connection import environment
    from app.jobs.processes.devices import CPU, find_devices

    where, token = ray_node.parse_address(address), ray_node.given_token(token_file)
    devices = tuple(device) or find_devices().devices
    cards = sum(each.startswith("cuda") for each in devices)
    named = name or socket.gethostname()
    own_address = ray_node.own_address()
    command = ray_node.node_command(where, own_address, named, pairs(labels), None, cards, _card_memory(cards))
    if not where.answers():
        raise VelaturaError("nothing answers at {address}; start `velatura ui --cluster` there first", address=where)
    offered = ", ".join(each for each in devices if each != CPU) or CPU
    say((named, "bold"), f" serves the cluster at {where} with {offered}; Ctrl-C ends it and returns its jobs")
    node = subprocess.Popen(command, env={**os.environ, **environment(token)})
    try:
        code = node.wait()
    except KeyboardInterrupt:
        node.terminate()
        node.wait()
        say("stopped; its jobs continue elsewhere")
        return
    if code:
        raise VelaturaError(
            "Ray ended with status {status}; its lines above say why. The head must run the same version of Ray, and "
            "the token must be the same",
            status=code,
        )


def open_cluster(address: str | None, runs: Path, storage: str | None) -> Cluster | None:
    """The cluster of a studio on this machine, which becomes its head if there is none at the address.

    Raises VelaturaError if the object storage cannot be used.
    """
    if address is None:
        if storage:
            raise VelaturaError("--storage is for clusters; add --cluster auto")
        return None
    from app.jobs.cluster import ray_node
    from app.jobs.cluster.cluster import Cluster
    from app.jobs.cluster.connection import TOKEN, TOKEN_VARIABLE, read_token
    from app.jobs.cluster.storage import CHECKED, Storage, own_folder

    if storage:
        Storage(own_folder(storage, runs), CHECKED).check()
    where = ray_node.parse_address(address)
    began = ray_node.open_head(where, read_token(runs))
    token = "" if TOKEN_VARIABLE in os.environ else f" --token-file {TOKEN}"
    say(("cluster", "bold green"), f" {where}{' (started here)' if began else ''}")
    say(f"on each other machine: velatura worker --cluster {where}{token}")
    if token:
        say(f"its token is in {runs / TOKEN}; whoever has it can run programs on every machine of the cluster")
    if storage:
        say(f"large files travel by {storage}; each machine needs access to it (for S3: AWS_ACCESS_KEY_ID, …)")
    return Cluster(runs, str(where), storage or "")


def show_nodes(runs: Path, as_json: bool) -> None:
    """Print the nodes of the cluster that serves a folder of runs."""
    from dataclasses import asdict

    from app.jobs.cluster.nodes import read_seen

    seen = read_seen(runs)
    if as_json:
        print_json([asdict(node) | {"devices": node.devices} for node in seen.nodes] if seen else [])
    elif seen is None:
        say(f"no cluster serves {runs}; `velatura ui --cluster auto` opens one")
    elif seen.problem:
        say((seen.problem, "yellow"))
    elif seen.nodes:
        rows = [
            (node.name, node.address, ", ".join(each.partition("@")[0] for each in node.devices) or "–",
             readable_size(node.memory), node.problem or ", ".join(f"{k}={v}" for k, v in node.labels.items()))
            for node in seen.nodes
        ]  # fmt: skip
        print_table(("node", "address", "devices", "memory", ""), rows)
    else:
        say("the cluster has no node yet; `velatura worker --cluster ADDRESS` on another machine adds it")


def pairs(labels: Sequence[str]) -> dict[str, str]:
    """Labels by name. Raises VelaturaError if one is not `NAME=VALUE`."""
    pairs = [label.partition("=") for label in labels]
    for key, sign, value in pairs:
        if not (key and sign and value):
            raise VelaturaError("{label!r} is not a label; write NAME=VALUE, such as gpu=H100", label=key + sign)
    return {key: value for key, _, value in pairs}


def _card_memory(cards: int) -> float:
    """GB of the smallest of this machine's graphics cards; 0 without one."""
    if not cards:
        return 0.0
    import torch

    return min(torch.cuda.get_device_properties(index).total_memory for index in range(cards)) / 1e9
