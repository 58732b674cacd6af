"""How the house is built: what may import what, how long things are, what every method says of itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainers.adapters.methods import METHODS

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "trainers", "presets", "tools", "benchmarks")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
HEAVY = ("torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "gradio", "numpy", "PIL")

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports at run time, inside functions too, but not for type checking alone."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            pending += ast.iter_child_nodes(node)


def test_there_is_something_to_look_at():
    assert {name_of(path).split("/")[0] for path in SOURCES} == set(PACKAGES) and len(SOURCES) > 50
    found = set(imports(ROOT / "trainers" / "training" / "train.py"))
    assert {
        "torch",
        "trainers.training.loop",
        "trainers.training.loop.take_steps",
    } <= found and "trainers.sampling.sample" not in found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path):
    own, found = name_of(path).split("/")[0], set(imports(path))
    inward = {"trainers", "presets"}
    outward = {"app": (), "tools": (), "benchmarks": ("tools",)}
    allowed = {outer: {outer, *more, *inward} for outer, more in outward.items()}
    assert {name.split(".")[0] for name in found} & {*PACKAGES, "tests"} <= allowed.get(own, inward)
    if name_of(path).startswith("trainers/adapters/"):
        inner = {name for name in found if name.startswith("trainers.")}
        assert all(re.match(r"trainers\.(adapters|randomness|errors|section)\b", name) for name in inner), inner
        assert not {"diffusers", "transformers", "peft"} & {name.split(".")[0] for name in found}


def test_the_command_line_starts_without_anything_heavy():
    code = f"import sys, app.cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    functions = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno is not None}
    assert {name: length for name, length in long.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_says_what_it_is_for(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if tree.body:
        words = ast.get_docstring(tree) or ""
        assert re.match(r".{10,}?[.:]", words, re.DOTALL), f"{name_of(path)} begins with {words!r}"


def texts() -> Iterator[tuple[str, str]]:
    skipped = {".git", ".venv", "outputs", "build", "dist", "__pycache__", "node_modules", ".hypothesis"}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - skipped - {f for f in folders if f.endswith((".egg-info", "_cache"))})
        for path in (Path(folder, name) for name in sorted(set(names) - skipped)):
            if path.stat().st_size > 2**20:
                continue
            try:
                yield name_of(path), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a picture, weights


def test_no_text_names_a_place_on_somebody_s_machine():
    places = re.compile(
        "|".join((r"(?<![\w.])/" + "work/", "/tmp" + "/w/", r"\.\./" + "shared", r"(?<!\w)/" + "root/"))
    )
    found = {name: match[0] for name, text in texts() if (match := places.search(text))}
    assert found == {} and {"README.md", "docs/design.md", "app/cli/main.py"} <= dict(texts()).keys()
    assert places.search("see .." + "/shared/x") and places.search(" /" + "work/main")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name):
    kind = METHODS[name]
    module = sys.modules[kind.__module__].__doc__ or ""
    assert kind().name == name
    assert re.fullmatch(r"[A-Z].{20,110}\.", kind.summary)
    assert re.search(r"\d{4}\.\d{5}", kind.paper) and all(
        number in module for number in re.findall(r"\d{4}\.\d{5}", kind.paper)
    )
    assert all(re.search(r"(ΔW|ΔW\(t\)|y|b') = ", text or "") for text in (module, kind.__doc__))
    assert re.search(r"\w \((out|u_out|b|n),", module)  # shapes of what is trained
