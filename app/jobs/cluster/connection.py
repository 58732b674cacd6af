"""The connection to a Ray cluster: token, environment and errors."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError
from trainers.messages import Message as _

EXTRA = _("clusters need Ray; install it with: pip install ray")
TOKEN = ".cluster-token"
"""File with a cluster's token, among the runs."""
TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}
"""Environment of every process of a cluster."""
PATIENCE = 5.0
"""Connection timeout in seconds; Ray's own is a minute."""


class LostClusterError(VelaturaError):
    """The cluster cannot be reached."""


def check_ray() -> None:
    """Raise VelaturaError if Ray is not installed."""
    if find_spec("ray") is None:
        raise VelaturaError(EXTRA)


def read_token(runs: Path) -> str:
    """A cluster's token from the environment, or from the folder of runs, where it is created if needed."""
    if token := os.environ.get(TOKEN_VARIABLE, ""):
        return token
    path = runs / TOKEN
    if not path.is_file():
        runs.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as building:
            building.touch(mode=0o600)
            building.write_text(secrets.token_hex(32), encoding="ascii")
    return path.read_text(encoding="ascii").strip()


def environment(token: str) -> dict[str, str]:
    """Environment of a process of a cluster."""
    return {**SETTINGS, TOKEN_VARIABLE: token}


@contextmanager
def connected(address: str, token: str) -> Iterator[Any]:
    """Ray, connected to a cluster as a driver. Raises LostClusterError if it cannot be reached.

    Ray may end this process: it does so when the machine's own Ray processes die.
    """
    check_ray()
    os.environ.update(environment(token))
    import ray

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
        ray.init(
            address=address,
            log_to_driver=False,
            include_dashboard=None,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LostClusterError(
            "the cluster at {address} cannot be reached: {reason}; check that its head runs and that the token is the "
            "same",
            address=address,
            reason=reason,
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
