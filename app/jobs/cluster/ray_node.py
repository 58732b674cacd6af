"""Starts Ray's processes on this machine, as the head or a node of a cluster."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from app.jobs.cluster.connection import TOKEN_VARIABLE, check_ray, environment
from app.jobs.cluster.nodes import CARD_MEMORY, HEAD, NAME, VERSION
from trainers.errors import VelaturaError

AUTO = "auto"
PORT = 6379
PATIENCE = 5.0
"""Connection timeout in seconds."""
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""Names and values of labels that Ray accepts."""
STORE = 2**28
"""Bytes of Ray's object store; files go through it in blocks."""
START = [
    *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start"),
    *("--disable-usage-stats", "--object-store-memory", str(STORE)),
    *("--include-log-monitor", "false"),  # which sends the logs of nodes to drivers, and ours do not take them
]


@dataclass(frozen=True)
class Address:
    """The address of a cluster's head."""

    host: str
    port: int = PORT

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def answers(self) -> bool:
        """Whether something listens there."""
        try:
            with socket.create_connection((self.host, self.port), PATIENCE):
                return True
        except OSError:
            return False

    def is_here(self) -> bool:
        """Whether this machine has that address."""
        with socket.socket() as probe:
            try:
                probe.bind((self.host, 0))
            except OSError:
                return False
        return True


def parse_address(text: str) -> Address:
    """`auto` for this machine's own address, or `HOST` or `HOST:PORT`. Raises VelaturaError for anything else."""
    if text == AUTO:
        return Address(own_address())
    host, colon, port = text.partition(":")
    if not host or "/" in host or (colon and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise VelaturaError(
            "{text!r} is not the address of a cluster; write auto, HOST or HOST:PORT, such as 10.0.0.5:6379", text=text
        )
    try:
        address = socket.gethostbyname(host)
    except OSError:
        raise VelaturaError("there is no host {host}; check the cluster's address", host=host) from None
    if address == "127.0.0.1":
        raise VelaturaError(
            "Ray does not bind to 127.0.0.1; write auto, or the address by which the other machines reach this one"
        )
    return Address(address, int(port) if port else PORT)


def own_address() -> str:
    """The address by which this machine reaches others; sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # reserved for documentation (RFC 5737)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostbyname(socket.gethostname())


def open_head(address: Address, token: str) -> bool:
    """Connect the studio's machine to a cluster; returns whether its head was started here.

    Ray's processes stay when the studio ends, like the jobs. Raises VelaturaError if nothing answers at another
    machine's address, or Ray does not start.
    """
    check_ray()
    nothing = [*_offers(cpus=0, gpus=0), *_labels({VERSION: HEAD})]
    if not address.answers():
        if not address.is_here():
            raise VelaturaError(
                "nothing answers at {address}; start `velatura ui --cluster {address}` there first", address=address
            )
        where = ["--head", "--node-ip-address", address.host, "--port", str(address.port)]
        _run([*START, *where, "--include-dashboard", "false", *nothing], token)
        return True
    if not address.is_here():
        _run([*START, "--address", str(address), "--node-ip-address", own_address(), *nothing], token)
    return False


def node_command(
    address: Address,
    host: str,
    name: str,
    labels: Mapping[str, str],
    cpus: int | None,
    gpus: int | None,
    card_memory: float = 0.0,
) -> list[str]:
    """The command that runs a node until it is stopped; `card_memory` is the GB of its smallest card.

    Raises VelaturaError for an invalid label.
    """
    check_ray()
    for text in (*labels, *labels.values()):
        if not LABEL.fullmatch(text):
            raise VelaturaError(
                "{text!r} cannot be a label: at most 63 letters, digits, dots, dashes and underscores", text=text
            )
    own = {VERSION: version("velatura"), NAME: re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("-._")[:60] or "node"}
    if card_memory:
        own[CARD_MEMORY] = f"{card_memory:.1f}"
    where = ["--address", str(address), "--node-ip-address", host, "--block"]
    return [*START, *where, *_offers(cpus, gpus), *_labels({**labels, **own})]


def given_token(file: Path | None) -> str:
    """The token of a cluster that this machine joins. Raises VelaturaError without one."""
    if file is not None:
        try:
            return file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise VelaturaError("the token cannot be read from {file}: {error}", file=file, error=error) from error
    if token := os.environ.get(TOKEN_VARIABLE, ""):
        return token
    raise VelaturaError(
        "a cluster needs its token: copy `.cluster-token` from the studio's folder of runs and name it with "
        "--token-file, or set {variable}",
        variable=TOKEN_VARIABLE,
    )


def _offers(cpus: int | None, gpus: int | None) -> list[str]:
    options = {"--num-cpus": cpus, "--num-gpus": gpus}
    return [word for name, number in options.items() if number is not None for word in (name, str(number))]


def _labels(labels: Mapping[str, str]) -> list[str]:
    return ["--labels", ",".join(f"{key}={value}" for key, value in labels.items())]


def _run(command: Sequence[str], token: str) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, **environment(token)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise VelaturaError("Ray could not be started: {reason}", reason=_reason(done.stdout + done.stderr))


def _reason(output: str) -> str:
    """The line of Ray's output with the error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line or "error" in line or "Version mismatch" in line]
    return (named or lines or ["it gave no reason"])[-1][:300]
