"""The services that every page receives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.changes import Changes, file_stamps
from app.jobs.trash.trash import Trash
from app.studio.base_models import Bases
from app.studio.caption_servers import CaptionServers
from app.studio.dataset.caption_jobs import CaptionJobs
from app.studio.dataset.checks import Checker
from app.studio.dataset.drafts import Drafts
from app.studio.downloads.downloads import Downloads
from app.studio.generation.generations import Generations
from app.studio.paths import Paths
from app.studio.preferences import PreferenceFiles
from app.studio.programs.find import Nearby
from app.studio.runs.choice_files import lock_of
from app.studio.runs.estimate_jobs import EstimateJobs
from app.studio.runs.estimates import Measured
from app.studio.runs.trials import Trials
from app.studio.settings.own_presets import OwnPresets
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary, imported_files


@dataclass(frozen=True)
class Services:
    """The services of a server's pages."""

    paths: Paths
    preferences: PreferenceFiles
    presets: OwnPresets
    uploads: Path
    """The folder for this server's uploads."""
    drafts: Drafts
    checker: Checker
    caption_jobs: CaptionJobs
    caption_servers: CaptionServers
    queue: StudioQueue
    bases: Bases
    downloads: Downloads
    measured: Measured
    estimate_jobs: EstimateJobs
    trials: Trials
    library: StyleLibrary
    generations: Generations
    programs: Nearby
    changes: Changes
    """Changes outside of the queue that pages follow."""

    def sweep(self) -> None:
        """End jobs of drafts that no page waits for."""
        self.estimate_jobs.sweep()
        self.trials.sweep()

    def close(self) -> None:
        """End this studio's downloads."""
        self.downloads.stop_all()


def open_services(paths: Paths, uploads: Path, shared: bool = False) -> Services:
    """The services of a studio in `paths`; a `shared` one takes no paths from people."""
    drafts, queue, measured = Drafts(paths), StudioQueue(paths), Measured(paths)
    bases, library = Bases(anywhere=not shared), StyleLibrary(queue)
    downloads, changes = Downloads(paths), Changes()
    estimate_jobs, trials = EstimateJobs(drafts, queue, measured), Trials(drafts, queue, measured)
    trash = Trash(queue.store).folder
    changes.follow(lambda: file_stamps(imported_files(paths.styles)))  # people also copy files there by hand
    changes.follow(lambda: file_stamps([trash]))
    changes.follow(lambda: file_stamps([lock_of(paths.runs)]))
    changes.follow(downloads.stamp)
    changes.follow(estimate_jobs.stamp)
    changes.follow(trials.stamp)
    return Services(
        paths,
        PreferenceFiles(paths),
        OwnPresets(paths),
        uploads,
        drafts,
        Checker(drafts),
        CaptionJobs(drafts, queue),
        CaptionServers(paths),
        queue,
        bases,
        downloads,
        measured,
        estimate_jobs,
        trials,
        library,
        Generations(queue, library, bases),
        Nearby(paths.runs, allowed=not shared),
        changes,
    )
