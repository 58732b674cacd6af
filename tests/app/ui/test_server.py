"""The studios of tests begin as quickly as they can."""

from __future__ import annotations

import sys

import psutil
import pytest

from app.jobs.processes.fork_server import SERVER
from tests.app.ui.server import Process


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_studio_of_the_tests_is_forked_with_everything_imported(studio: Process) -> None:
    assert SERVER in " ".join(psutil.Process(studio.pid).parent().cmdline())
