"""The process of a studio: `python -m tests.app.ui.studio_process BEFORE WORD …` is `velatura WORD …` after some code.

Where it was forked with everything imported, the server of its jobs is forked from it in turn.
"""

from __future__ import annotations

import sys

from app.cli.main import main
from app.studio import studio_queue
from tests.app.ui.slow_answers import answer_slowly_if_asked
from tests.forked import fork_a_server
from tests.quick_passwords import hash_quickly

if __name__ == "__main__":
    before, *words = sys.argv[1:]
    exec(before)
    answer_slowly_if_asked()
    if "trainers.training.train" in sys.modules:
        hash_quickly()
        server = fork_a_server()
        vars(studio_queue)["job_server"] = lambda: server
    main(words)
