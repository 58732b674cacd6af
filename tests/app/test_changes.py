"""What pages follow beside the queue changes its stamp, whoever has changed it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.trash.trash import Trash
from app.studio.dataset.uploads import take_folder
from app.studio.downloads.downloads import OFFERS
from app.studio.paths import Paths
from app.studio.runs import estimate_jobs
from app.studio.runs.estimates import Cost, Pace, pace_key, work_of
from app.studio.services import Services, open_services
from app.studio.settings.plan import plan
from tests.app.ui.ended_runs import write_run
from tests.trainers.tiny_runs import write_images


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """The services of an empty studio."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    services = open_services(paths, tmp_path / "uploads")
    yield services
    services.close()


def count_changes(services: Services, *steps: Callable[[], object]) -> int:
    """After how many of some steps the stamps were others than before; looking again changes nothing."""
    before, count = services.changes.look(), 0
    for step in steps:
        step()
        now = services.changes.look()
        assert services.changes.look() == now
        count, before = count + (now != before), now
    return count


def test_files_copied_into_and_taken_from_the_folder_of_styles(services: Services) -> None:
    services.paths.styles.mkdir(parents=True, exist_ok=True)
    file, loop = services.paths.styles / "harbour.safetensors", services.paths.styles / "loop.safetensors"
    steps = (
        lambda: file.write_bytes(b"half"),
        lambda: file.write_bytes(b"copied"),
        file.unlink,
        lambda: loop.symlink_to(loop.name),
    )
    assert count_changes(services, *steps) == 4
    assert count_changes(services, lambda: (services.paths.styles / ".owners.json").write_text("{}")) == 0


def test_what_goes_into_the_trash_and_comes_back(services: Services) -> None:
    queue = services.queue
    for name in ("dusk", "dawn"):
        write_run(queue.store.runs, name)
    thrown = [queue.delete(queue.number(name, actor=MACHINE_OWNER), actor=MACHINE_OWNER) for name in ("dusk", "dawn")]
    trash = Trash(queue.store)
    assert thrown[0] is not None and len(trash.items(MACHINE_OWNER)) == 2
    assert count_changes(services, lambda: trash.empty(MACHINE_OWNER)) == 1 and trash.items(MACHINE_OWNER) == []


def test_how_far_a_download_is(services: Services) -> None:
    model = OFFERS[0].model
    services.downloads.look(model)  # as a page does
    (worker,) = services.downloads._workers.values()
    events = worker.folder / "events.jsonl"

    def report(done: int) -> None:
        with events.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"type": "download", "done": done, "of": 100}) + "\n")

    worker.folder.mkdir(parents=True)
    assert count_changes(services, lambda: report(1), lambda: report(20), lambda: None) == 2


def test_that_a_computer_is_quieter_than_when_it_was_measured(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = [4.0]
    monkeypatch.setattr(estimate_jobs, "load_now", lambda: load[0])
    draft = take_folder(services.drafts, "me", write_images(tmp_path / "images"))
    config = plan(draft, name="style")
    pace = Pace(pace_key(config), work_of(config), 0.5, 20.0, time.time(), load=4.0)
    services.measured.keep(config, 0, Cost(40.0, 1, 1, 1, pace=pace))
    services.estimate_jobs.begin_pace(draft, config, "")
    assert services.queue.small_jobs() == []
    steps = (lambda: load.__setitem__(0, 3.0), lambda: load.__setitem__(0, 1.0), lambda: load.__setitem__(0, 0.5))
    assert count_changes(services, *steps) == 1
    services.estimate_jobs.begin_pace(draft, config, "")
    assert len(services.queue.small_jobs()) == 1
