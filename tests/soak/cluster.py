"""python -m tests.soak.cluster [--runs 60] [--storage]: kill and freeze nodes of a real Ray cluster, and check.

It writes its section of docs/reliability.md.
"""

from __future__ import annotations

import datetime
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from tests.app.jobs.cluster.local_cluster import LocalCluster
from tests.soak.machine import ENVIRONMENT
from tests.soak.nodes import NodeSoak
from tests.soak.object_storage import serve_objects
from tools.markdown import table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
HOSTS = ("127.0.0.3", "127.0.0.4", "127.0.0.5")
KILLED, FROZEN = 30.0, 90.0
"""Seconds within which a killed and a frozen node should be noticed."""


def soak(
    runs: Annotated[int, typer.Option(help="Number of runs.")] = 60,
    seed: Annotated[int, typer.Option(help="Decides what is killed and when; timing varies with the machine.")] = 1,
    storage: Annotated[bool, typer.Option("--storage", help="Let files travel by an S3 server of its own.")] = False,
) -> None:
    """Kill and freeze nodes at random while they train, and check the guarantees."""
    folder, began = Path(tempfile.mkdtemp(prefix="velatura-nodes-")), time.monotonic()
    with ExitStack() as stack:
        url = stack.enter_context(serve_objects(folder / "objects")) if storage else ""
        local = LocalCluster(folder / "cluster", ENVIRONMENT)
        stack.callback(local.close)
        found = NodeSoak(local, seed, runs, url)
        local.open()
        local.add(*HOSTS)
        found.run()
    wrong = [*dict.fromkeys(found.wrong), *late(found.noticed)]
    wrong += [f"process {each.pid} was left" for each in local.left()]
    minutes = (time.monotonic() - began) / 60
    write_section(PAGE, report(found.counts, found.noticed, wrong, minutes, storage))
    print("\n".join([*(f"{name}: {count}" for name, count in found.counts.items()), *wrong]))
    if wrong:
        print(f"what was left is in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


def late(noticed: dict[str, list[float]]) -> list[str]:
    """The nodes that were missed too late."""
    limits = {"killed": KILLED, "frozen": FROZEN}
    return [
        f"a {kind} node was noticed after {seconds:.0f} s"
        for kind, times in noticed.items()
        for seconds in times
        if seconds > limits[kind]
    ]


def report(
    counts: Counter[str], noticed: dict[str, list[float]], wrong: list[str], minutes: float, storage: bool
) -> str:
    """The section on the last soak of a cluster."""
    names = {"killed": "nodes killed", "frozen": "nodes frozen"}
    rows = [
        (names[kind], str(counts[names[kind]]), str(len(times)), f"{sorted(times)[len(times) // 2]:.0f} s",
         f"{max(times):.0f} s")
        for kind, times in noticed.items() if times
    ]  # fmt: skip
    rows.append(("heads' processes of a job killed", str(counts["heads' processes killed"]), "", "", ""))
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    if wrong:
        result = ["Broken:", "", *(f"* {line}" for line in wrong)]
    else:
        result = [
            "Each run ended once, with the tensors of an uninterrupted run; no job had two writers; no process was "
            "left."
        ]
    way = ", whose files travel by an S3 server (SeaweedFS)" if storage else ""
    return "\n".join(
        [
            f"# Soak of a cluster{' with object storage' if storage else ''}",
            "",
            f"Runs of the starter (12 steps) on a Ray cluster of a head and {len(HOSTS)} nodes on one machine{way}. "
            "Nodes were killed with all that they had started (`SIGKILL`), or frozen for over a minute (`SIGSTOP`, "
            "then `SIGCONT`), and started again.",
            "",
            f"Written by `python -m tests.soak.cluster{' --storage' if storage else ''}` on {today}, in {minutes:.0f} "
            f"minutes: {machine()}.",
            "",
            *table(("what", "times", "while it had a job", "noticed, median", "at most"), rows),
            "",
            f"{counts['runs']} runs took {counts['attempts']} attempts: {counts['restarts by themselves']} automatic "
            f"restarts, and {counts['resumed by hand']} manual ones after no progress.",
            "",
            *result,
        ]
    )


if __name__ == "__main__":
    typer.run(soak)
