"""A dispatcher, forked: `python -m tests.app.jobs.serving RUNS DEVICES UNTIL`."""

from __future__ import annotations

import sys
from pathlib import Path

from app.jobs.dispatcher import Dispatcher
from app.jobs.processes.devices import DeviceOffer
from app.jobs.store import Store
from app.studio.job_modules import JOB_MODULES
from tests.forked import fork_a_server

if __name__ == "__main__":
    runs, devices, until = sys.argv[1:]
    offer, server = DeviceOffer(tuple(devices.split(",")), complete=True), fork_a_server()
    dispatcher = Dispatcher(Store(Path(runs)), JOB_MODULES, offer, interval=0.05, fork_server=server)
    dispatcher.serve(until_empty=until == "until-empty")
