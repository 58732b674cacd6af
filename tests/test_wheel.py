"""A wheel of this checkout, installed beside the dependencies, holds all that Velatura needs and runs anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from safetensors import safe_open

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "trainers", "presets")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
TRAINED = "steps = 40\n"
"""The steps of the preset `quick` on the bundled base."""


def run(*words: object, cwd: Path) -> str:
    """The standard output of a command that ends well, without what this process's environment says of Velatura."""
    named = {name: value for name, value in os.environ.items() if not name.startswith(("VELATURA", "PYTHON", "PIP"))}
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, env=named, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git has or would add, and nothing that was built."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    place = tmp_path_factory.mktemp("checkout")
    for name in run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0"):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    return place


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {path.relative_to(checkout) for name in PACKAGES for path in (checkout / name).rglob("*") if path.is_file()}
    place = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", place, checkout, cwd=place)
    (built,) = place.iterdir()
    with zipfile.ZipFile(built) as archive:
        assert {path.as_posix() for path in files} <= set(archive.namelist())
    names = {path.suffix for path in files}
    assert {".toml", ".safetensors", ".html", ".js", ".css", ".po", ".png"} <= names and len(files) > 700
    return built


@pytest.mark.thorough
def test_the_demo_runs_from_a_wheel_in_another_folder(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    tools = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    installed = Path(run(tools / "python", "-c", code, cwd=tmp_path).strip())
    # The .pth files in these folders are not read, so that an editable installation of the checkout is not found there.
    dependencies = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (installed / "dependencies.pth").write_text("\n".join(dependencies))
    run(*PIP, "--python", tools / "python", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    quick = installed / "presets" / "methods" / "quick.toml"
    assert quick.read_text("utf-8").count(TRAINED) == 1
    quick.write_text(quick.read_text("utf-8").replace(TRAINED, "steps = 2\n"), "utf-8")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = json.loads(run(tools / "velatura", "demo", "--preset", "quick", "--json", cwd=elsewhere))
    assert result["steps"] == 2
    style = elsewhere / "outputs" / "demo-black-line" / "style" / "demo-black-line.safetensors"
    with safe_open(style, "pt") as tensors:
        assert any("lora_up" in name for name in tensors.keys())  # noqa: SIM118 (it is no mapping)
    assert (style.parents[1] / "samples" / "before-after.png").is_file()
    assert run(tools / "velatura", "--version", cwd=elsewhere).startswith("velatura ")
