"""The modules that processes of jobs run and import, as the studio names them: `JobModules`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobModules:
    """Names of modules, which run as `python -m module`."""

    job: str
    """Does one job, given RUNS NUMBER TOKEN, or with `--copy` FOLDER KIND ATTEMPT."""
    base_holder: str
    """Holds a base and forks drawings on it, given FD SECONDS REQUEST."""
    imports: tuple[str, ...] = ()
    """Modules that a drawing imports; a job may import more."""
    later_imports: tuple[str, ...] = ()
    """Modules that other jobs import, too: a fork server imports them while no job is requested."""
