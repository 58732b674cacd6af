"""`install.sh`, `install.ps1` and the lock file: what they verify, what they say, and that they agree."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from installer.layout import PYTHONS, RefusedError
from installer.packages import locked
from installer.source import _HttpsRedirects, open_source
from tests.installer.tiny import ROOT

LOCK = dict(locked((ROOT / "requirements.lock").read_text(encoding="utf-8")))
SHELL, POWERSHELL = (ROOT.joinpath(name).read_text(encoding="utf-8") for name in ("install.sh", "install.ps1"))
SHELLCHECK = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
TOOLS = ("uname", "mktemp", "grep", "tr", "head", "cut", "sha256sum", "dirname", "rm", "cat", "mkdir", "sed")
PROGRAMS = ("sh", "curl", *TOOLS)


def test_every_package_is_locked_with_its_hashes_in_a_version_that_the_project_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [Requirement(each) for each in (*project["project"]["dependencies"], *project["build-system"]["requires"])]
    for each in wanted:
        version = LOCK[each.name].split("==")[1].split()[0]
        assert each.specifier.contains(version), f"{each} is locked as {version}: run `make lock`"
    assert len(LOCK) > len(wanted) and all("--hash=sha256:" in block for block in LOCK.values())


def test_both_scripts_fetch_the_same_uv_and_look_for_the_same_pythons() -> None:
    pins = re.compile(r"^\$?(?:UV_VERSION|UvVersion|PYTHON_VERSION|PythonVersion) ?= ?\"?([0-9.]+)", re.MULTILINE)
    assert len(pins.findall(SHELL)) == 2 and pins.findall(SHELL) == pins.findall(POWERSHELL)
    bounds = re.compile(r"\((\d+), (\d+)\) <= sys.version_info\[:2\] <= \((\d+), (\d+)\)")
    assert (
        bounds.findall(SHELL) == bounds.findall(POWERSHELL) == [tuple(str(part) for each in PYTHONS for part in each)]
    )


@pytest.mark.skipif(not SHELLCHECK, reason="shellcheck is not installed")
def test_the_scripts_for_shells_are_clean() -> None:
    done = subprocess.run([SHELLCHECK, "install.sh", "install.command"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index whose uv is not the one that PyPI has."""
    folder = tmp_path / "index" / "uv"
    folder.mkdir(parents=True)
    version = re.search("UV_VERSION=([0-9.]+)", SHELL)
    files = re.findall(r"manylinux[\w.]+", SHELL)
    assert version and files
    names = [f"uv-{version[1]}-py3-none-{each}.whl" for each in files]
    (folder / "index.html").write_text("".join(f'<a href="files/{name}#sha256=0">{name}</a>' for name in names))
    (folder / "files").mkdir()
    for name in names:
        (folder / "files" / name).write_bytes(b"something else")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=tmp_path / "index")  # type: ignore[arg-type]

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def without_python(tmp_path: Path, index: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`install.sh` on a machine without a Python."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        if there := shutil.which(name):
            (programs / name).symlink_to(there)
    named = {"HOME": str(tmp_path / "home"), "PATH": str(programs), "PIP_INDEX_URL": index}
    command = [str(programs / "sh"), str(ROOT / "install.sh"), *words]
    return subprocess.run(command, env=named, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("curl"), reason="install.sh on Linux, with curl")
@pytest.mark.parametrize(
    ("words", "said"),
    [(["--yes"], "has another SHA-256 than expected. Nothing was run."), ([], "say --yes if you agree")],
)
def test_without_a_python_it_says_what_it_fetches_and_verifies_it(
    tmp_path: Path, index: str, words: list[str], said: str
) -> None:
    done = without_python(tmp_path, index, *words)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert f"from {index}/uv/ and check that its SHA-256 is" in done.stdout
    assert not (tmp_path / "home").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="install.sh on Linux")
def test_a_python_that_was_fetched_before_is_used(tmp_path: Path) -> None:
    fetched = tmp_path / "home" / ".local" / "share" / "velatura" / "python" / "cpython-3.13" / "bin" / "python3"
    fetched.parent.mkdir(parents=True)
    fetched.symlink_to(getattr(sys, "_base_executable", sys.executable))
    done = without_python(tmp_path, "http://127.0.0.1:9")
    assert f"Python     {'.'.join(map(str, sys.version_info[:3]))}, {fetched}" in done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("curl"), reason="install.sh on Linux, with curl")
def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    done = without_python(tmp_path, "http://127.0.0.1:9", "--yes")
    assert done.returncode == 1 and "http://127.0.0.1:9/uv/ cannot be reached: check the network" in done.stderr


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("curl"), reason="install.sh on Linux, with curl")
def test_the_login_of_an_index_is_not_printed(tmp_path: Path) -> None:
    done = without_python(tmp_path, "http://ann:secret@127.0.0.1:9", "--yes")
    assert "from http://127.0.0.1:9/uv/" in done.stdout and "http://127.0.0.1:9/uv/ cannot be reached" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_a_source_is_a_folder_or_a_zip_of_one_or_an_https_address(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="holds no Velatura"):
        open_source(str(tmp_path), tmp_path)
    with pytest.raises(RefusedError, match="not an https:// address"):
        open_source("http://example.org/velatura.zip", tmp_path)
    redirects = _HttpsRedirects()
    request = urllib.request.Request("https://example.org/velatura.zip")
    for address in ("http://example.org/velatura.zip", "ftp://example.org/velatura.zip"):
        with pytest.raises(RefusedError, match=f"{address} is not an https:// address"):
            redirects.redirect_request(request, None, 302, "Found", {}, address)
    onward = redirects.redirect_request(request, None, 302, "Found", {}, "https://example.com/velatura.zip")
    assert onward.full_url == "https://example.com/velatura.zip"
