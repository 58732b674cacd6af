"""The process that holds a base: `python -m app.studio.base_holder FD SECONDS REQUEST`.

It loads the base of a request in one thread, because forks lose all others, computes nothing, and forks the drawings on
this base.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from app.jobs.processes.fork_server_process import adopt_request, serve_forks
from app.jobs.processes.free_memory import is_too_large
from app.jobs.processes.priority import lower_priority
from app.startup import prepare_process
from app.studio import run_job
from app.studio.generation.drawing import Styles
from app.studio.generation.held_base import HeldBase, base_request
from app.studio.generation.request import Resolved


def main(descriptor: str, idle: str, place: str) -> None:
    """Hold a base and fork drawings; in a fork, run the drawing."""
    import torch

    connection = socket.socket(fileno=int(descriptor))
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    request = Resolved.model_validate_json(Path(place).read_bytes())
    needed = base_request(request, [style for style, _ in Styles(request).all])
    holding = needed.plan()
    if is_too_large(holding.held_bytes):
        return  # before loading it: it would be released at once
    held = needed.load(holding)
    if job := serve_forks(connection, float(idle)):
        torch.set_num_threads(usual)
        _draw(job, held)


def _draw(job: dict[str, Any], held: HeldBase) -> None:
    """Run a drawing job on the held base."""
    arguments = adopt_request(job)
    lower_priority()  # of its new session
    code = run_job.main(*arguments, held=held)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # an interpreter with these libraries takes a third of a second to end


if __name__ == "__main__":
    prepare_process()
    lower_priority()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    main(*sys.argv[1:])
