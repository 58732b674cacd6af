"""Writes tasks for SkyPilot, which train a run on the cheapest machine of a kind and continue it on another if the
provider takes the machine back. The run is stored in a bucket and copied to and from the machine.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import VelaturaError

BUCKET, PLACE = "/velatura", "velatura-runs"
ACCELERATORS = re.compile(r"[A-Za-z0-9-]+(:[0-9]+)?")

SETUP = """\
python3 -m venv ~/velatura-env
~/velatura-env/bin/pip install --quiet .
"""
RUN = """\
run=~/{place}/{name}
mkdir -p "$run"
rsync --archive {bucket}/ "$run/"
# New files go to the bucket every minute; the SHA-256 of a checkpoint shows whether it is complete.
(while sleep 60; do rsync --archive --delete "$run/" {bucket}/; done) &
copying=$!
~/velatura-env/bin/velatura resume "$run"
code=$?
kill "$copying"
rsync --archive --delete "$run/" {bucket}/
exit "$code"
"""


@dataclass(frozen=True)
class SkyTask:
    """The resources of a task."""

    accelerators: str = "L4:1"
    spot: bool = True
    """Whether the machine may be taken back, at a third to half the price."""
    bucket: str = ""
    """Name of the bucket; by default derived from the run's name."""


def write_task(run: Path, task: SkyTask, source: Path | None = None) -> str:
    """The task for a run's folder as YAML; `source` is the folder of Velatura's source, by default this process's.

    VelaturaError if there is no source to install, or a name is invalid.
    """
    run, source = run.resolve(), source or Path(__file__).parents[3]
    if not (source / "pyproject.toml").is_file():
        raise VelaturaError("{source} is not Velatura's source; name its folder with --source", source=source)
    if not ACCELERATORS.fullmatch(task.accelerators):
        raise VelaturaError(
            "{accelerators!r} does not name an accelerator; write --gpu L4 or --gpu H100:2",
            accelerators=task.accelerators,
        )
    name = re.sub(r"[^a-z0-9-]+", "-", run.name.lower()).strip("-") or "style"
    content = {
        "name": f"velatura-{name}"[:50],
        "resources": {"accelerators": task.accelerators, "use_spot": task.spot},
        "workdir": str(source),
        "file_mounts": {
            BUCKET: {"name": task.bucket or f"velatura-{name}"[:50], "source": str(run), "mode": "MOUNT"},
        },
        "setup": SETUP,
        "run": RUN.format(place=PLACE, name=shlex.quote(run.name), bucket=BUCKET),
    }
    return "\n".join(f"{key}: {_yaml(value)}" for key, value in content.items()) + "\n"


def _yaml(value: object) -> str:
    """A value as YAML: multi-line text as a block, everything else as JSON."""
    if isinstance(value, str) and "\n" in value:
        return "|\n" + "".join(f"  {line}\n" if line else "\n" for line in value.splitlines()).rstrip("\n")
    return json.dumps(value, ensure_ascii=False)
