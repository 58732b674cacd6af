"""An `outputs/` that the first edition made: unpacked, as if it had been left there.

The first edition's own programs made it. `train` made nineteen runs, one for each method. In a studio with two people,
ann and ben, ann prepared a draft, imported a style, trained `Harbour` on the starter and drew with it. The queue
trained `interrupted`, which was killed at step 14 of 40 together with the studio; `waiting` was added after that.
`facts.json` holds the digest of the style that `interrupted` gives when nothing cuts it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.golden.measure import PORTABLE

ARCHIVE = Path(__file__).with_name("first.tar.xz")
ROOT = Path(__file__).parents[2]
MAKE_BASE = "from pathlib import Path; from tests.tiny import tiny_folder; tiny_folder('sd1', Path('bases/sd1'))\n"
"""For `Edition.python`: random numbers, too, depend on the vector instructions."""
PASSWORDS = ("--auth", "ann:ink-and-paper", "--auth", "ben:plum")


@dataclass(frozen=True)
class Edition:
    """The folder in which people worked: `outputs/`, `images/` and `bases/sd1` lie in it."""

    folder: Path
    facts: dict[str, Any]

    @property
    def outputs(self) -> Path:
        """The folder of runs."""
        return self.folder / "outputs"

    @property
    def methods(self) -> list[str]:
        """The methods of the first edition, each of which trained the run `method-NAME`."""
        return [path.name.removeprefix("method-") for path in sorted(self.outputs.glob("method-*"))]

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this code from the folder, and to compute the bits of the first edition."""
        return os.environ | PORTABLE | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}

    def python(self, code: str) -> str:
        """What a Python program prints, run in the folder."""
        line = [sys.executable, "-c", code]
        done = subprocess.run(line, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def check_base(self) -> None:
        """Fail where the base that was made is not the one that the runs were trained on."""
        found = sha256()
        for file in sorted((self.folder / "bases" / "sd1").rglob("*.safetensors")):
            found.update(file.read_bytes())
        assert found.hexdigest() == self.facts["base"], "tests.tiny makes another base than the runs were trained on"


def unpack(folder: Path) -> Edition:
    """Unpack the first edition's outputs into an empty folder, without the base that its runs name."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return Edition(folder, json.loads((folder / "facts.json").read_text(encoding="utf-8")))
