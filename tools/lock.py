"""Writes `requirements.lock`: every package that `install.sh` installs, each with the SHA-256 of its files.

    python -m tools.lock

The versions are those that are installed here and that the tests ran with; for every system, and for Python 3.11 to
3.14. Needs the package index, and uv (`pip install -e '.[lock]'`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"


def main() -> None:
    """Write the file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    here: dict[str, str] = {}
    for each in distributions():
        here.setdefault(each.name, each.version.partition("+")[0])  # the first on the path is the one that is imported
    here.pop("velatura", None)
    with tempfile.TemporaryDirectory() as name:
        constraints, build = Path(name, "constraints.txt"), Path(name, "build.in")
        constraints.write_text("\n".join(f"{name}=={version}" for name, version in here.items()), encoding="utf-8")
        build.write_text("\n".join(project["build-system"]["requires"]), encoding="utf-8")
        options = ("--universal", "--generate-hashes", "--no-annotate", "--no-header", "--quiet")
        versions = ("--python-version", "3.11", "--constraints", constraints, "--output-file", Path(name, "lock"))
        command = (sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", build, *options, *versions)
        subprocess.run([*map(str, command)], cwd=ROOT, check=True)
        LOCK.write_text(Path(name, "lock").read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
