"""An `outputs/` that an earlier edition made: unpacked, as if it had been left there.

The editions' own programs made them. In a studio with two people, ann and ben, ann prepared a draft, trained `Harbour`
on the starter and drew with it; `train` made a run `method-NAME` for each of several methods. The queue trained
`interrupted`, which was killed at step 14 of 40 together with the studio; `waiting` was added after that. In the first
edition (6abdd52, 26 November 2026) ann also imported a style. In the second one (51d5dab3, 30 November 2026) she
compared two ranks, deleted a run, kept a preset and learned a word. `facts.json` holds the digest of the style that
`interrupted` gives when nothing cuts it.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from app.jobs.processes.process import own_identity
from tests.golden.measure import is_recorded_make

EDITIONS = ("first", "second")
PASSWORDS = ("--auth", "ann:ink-and-paper")


@dataclass(frozen=True)
class Edition:
    """The folder in which people worked: `outputs/`, `images/` and `bases/sd1` lie in it."""

    name: str
    folder: Path
    facts: dict[str, Any]

    @property
    def outputs(self) -> Path:
        """The folder of runs."""
        return self.folder / "outputs"

    @property
    def methods(self) -> list[str]:
        """The methods that trained a run `method-NAME`."""
        return [path.name.removeprefix("method-") for path in sorted(self.outputs.glob("method-*"))]

    @property
    def keeps_bits(self) -> bool:
        """Whether its runs train to the same bits here: the second one was made on another processor."""
        return self.name == "first" and is_recorded_make(self.facts["torch"])

    def check_base(self) -> None:
        """Fail where the base that was made is not the one that the runs were trained on."""
        found = sha256()
        for file in sorted((self.folder / "bases" / "sd1").rglob("*.safetensors")):
            found.update(file.read_bytes())
        assert found.hexdigest() == self.facts["base"], "tests.tiny makes another base than the runs were trained on"


def unpack(name: str, folder: Path) -> Edition:
    """Unpack an edition's outputs into an empty folder, without the base that its runs name."""
    with tarfile.open(Path(__file__).with_name(f"{name}.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    with sqlite3.connect(folder / "outputs" / "queue.db") as queue:
        columns = {row[1] for row in queue.execute("PRAGMA table_info(jobs)")}
        if "host" in columns:  # it was left on this computer
            queue.execute("UPDATE jobs SET host = ? WHERE host != ''", (own_identity().host,))
        if "boot" in columns:  # and before its last start
            queue.execute("UPDATE jobs SET boot = 'an earlier one' WHERE boot != ''")
    queue.close()
    return Edition(name, folder, read_facts(folder))


def read_facts(folder: Path) -> dict[str, Any]:
    """What was noted when the edition was made: `torch`, the digests of its base and of a style, and more."""
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return facts
