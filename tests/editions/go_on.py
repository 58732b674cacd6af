"""What people do with an edition's outputs later: `python -m tests.editions.go_on FOLDER INTERRUPTED EDITION …`.

The folder holds one folder for each edition; `INTERRUPTED` names those, with commas between them, of which the
interrupted run is trained to its end. Prints lines of an edition, a run, and its state or its steps.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from app.jobs import actions
from app.jobs.dispatcher import settle
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import Store
from tests.app.command import call
from tests.app.jobs.working import do_next
from tests.editions.edition import Edition, read_facts
from tests.tiny import tiny_folder
from tests.trainers.hurry import hurrying, without_pictures
from tests.trainers.tiny_runs import stopping_at
from trainers.config.build import as_table, build_config
from trainers.config.config import Config
from trainers.runs.run import open_run
from trainers.training.reopen import export_again
from trainers.training.train import resume, train


def main(place: Path, interrupted: str, *editions: str) -> None:
    """Make the base of the runs, and go on in each edition's folder."""
    tiny_folder("sd1", place / "sd1")
    with hurrying():
        for edition in editions:
            os.chdir(place / edition)
            shutil.copytree(place / "sd1", "bases/sd1")
            store = Store(Path("outputs").resolve())
            go_on(edition, store, edition in interrupted.split(","))


def go_on(edition: str, store: Store, with_interrupted: bool) -> None:
    """Clone a run, export all methods and train them longer, do what waits; print what became of the runs."""
    cloned = call("queue", "clone", "method-lora", "--name", "again", "--out", "outputs")
    assert cloned.code == 0, cloned.err
    Path("exported").mkdir()
    with without_pictures():
        for folder in sorted(Path("outputs").glob("method-*")):
            go_on_with_method(edition, folder)
    settle(store)
    for job in store.line():
        if job.name == "interrupted" and not with_interrupted:
            actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    while store.line():
        view = do_next(store)
        print(edition, view.job.name, view.state)
    if with_interrupted and not Edition(edition, Path(), read_facts(Path())).keeps_bits:
        train_uncut(open_run(Path("outputs/interrupted")).config())


def train_uncut(config: Config) -> None:
    """Train a run like the interrupted one, which nothing cuts."""
    with without_pictures():
        train(build_config(as_table(config), {"train": {"gradient_checkpointing": False}}), Path("uncut"))


def go_on_with_method(edition: str, folder: Path) -> None:
    run = open_run(folder)
    export_again(run, Path("exported") / f"{folder.name}.safetensors", None, False)
    after_one = stopping_at(run, run.checkpoint_steps()[-1] + 1)
    print(edition, folder.name, resume(run, after_one, steps=4).steps)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
