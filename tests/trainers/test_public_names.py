"""What `trainers` offers: light to import, all of it there, documented, and at work in docs/library.md."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import trainers
from tests.app.user_files import write_pictures
from trainers.adapters.network import Network

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
FUNCTIONS = [name for name in trainers.__all__ if inspect.isfunction(getattr(trainers, name))]


def test_the_package_alone_imports_nothing() -> None:
    code = "import sys; before = set(sys.modules); import trainers; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in done.stdout.split() if name != "trainers"}
    assert loaded <= sys.stdlib_module_names, loaded


def test_every_name_is_where_it_is_said_to_be() -> None:
    tree = ast.parse(inspect.getsource(trainers))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {name.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert typed == dict(trainers.MODULES), "what types see is what is imported"
    assert trainers.__all__ == list(trainers.MODULES) and set(trainers.__all__) <= set(dir(trainers))
    with pytest.raises(AttributeError, match="module 'trainers' has no attribute 'trian'"):
        trainers.trian  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_takes_gives_and_refuses(name: str) -> None:
    function = getattr(trainers, name)
    words = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters
    assert len(parameters) == 0 or "Args:" in words
    for each in parameters:
        assert re.search(rf"^    {each}: ", words, re.MULTILINE), f"{each} is not described"
    assert re.search(r"^(Returns|Yields):", words, re.MULTILINE) or not parameters
    assert "Raises:\n    VelaturaError: " in words or name in ("draw", "list_presets")


def test_the_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "my-paintings", "fox in snow.png", "a boat.png")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    short = {
        '"steps": 200': '"steps": 1',
        '"steps": 20}': '"steps": 1}',
        "steps=20": "steps=1",
        "steps = 300": "steps = 3",
    }
    assert len(blocks) == 4 and all("".join(blocks).count(words) == 1 for words in short)
    names: dict[str, object] = {}
    for block in blocks:
        for words, fewer in short.items():
            block = block.replace(words, fewer)
        exec(block, names)
    assert (tmp_path / "outputs" / "dusk" / "style" / "dusk.safetensors").is_file()
    assert (tmp_path / "lighthouse.png").is_file()
    assert len(trainers.read_style(tmp_path / "mine.safetensors").layers) > 10
    changed, net = names["network"], names["net"]
    assert isinstance(changed, Network) and isinstance(net, torch.nn.Module) and len(changed.sites) == 2
    x = torch.randn(5, 8)
    with torch.no_grad(), changed.at_strength(0):
        bare = net(x)
    assert 1e-6 < float((net(x) - bare).abs().max()) < 1e-1
    used = {word for block in blocks for word in re.findall(r"from trainers import (.+)", block)}
    assert {"apply_styles", "attach", "draw", "train", "write_style"} <= set(re.findall(r"\w+", " ".join(used)))
