"""What `trainers` offers: light to import, all of it there, documented, and at work in docs/library.md."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


NET = {"net": torch.nn.Sequential(torch.nn.Linear(2, 2))}
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "preset": (lambda: trainers.Targets(unet="*"), r"^unet: '\*' is not one of none, .*; give patterns as a list"),
    "part": (lambda: trainers.Targets(net=("*",)), "^there is no setting net; allowed are blocks, text_encoder, trans"),
    "override": (lambda: trainers.Targets(blocks={"*": 3}), r"^blocks\.\* = 3: this is a section"),
    "rank": (lambda: trainers.METHODS["lora"](rank=0), "^rank = 0: it should be greater than or equal to 1$"),
    "place": (lambda: trainers.METHODS["lora"](3), "^module_dropout = 3: it should be less than 1$"),
    "setting": (lambda: trainers.METHODS["lora"](rnk=2), "^there is no setting rnk; allowed are alpha, .*rank, "),
    "contradiction": (lambda: trainers.METHODS["lora"](tucker=True, start="pissa"), "^tucker needs start = "),
    "method": (lambda: trainers.METHODS["lorax"], "^there is no method 'lorax'; available are lora, loha, "),
    "family": (lambda: trainers.Base(family="sd9"), "^family = 'sd9': it should be 'auto', 'sd1', "),
    "section": (lambda: trainers.Config(name="a", train=3), "^train = 3: this is a section"),
    "name": (lambda: trainers.Config(), "^name is not set"),
    "rate": (lambda: a_network().parameter_groups("1e-4"), "^learning_rate must be like 0.001, and is '1e-4'$"),
    "large strength": (lambda: a_network().merge(10**400), "^strength must be like 0.001, and is 1000"),
    "strength": (lambda: a_network().merge("1"), "^strength must be like 0.001, and is '1'$"),
    "step": (lambda: a_network().training_step("0", of=3).__enter__(), "^step must be like 0, and is '0'$"),
    "steps": (lambda: a_network().training_step(0, of="3").__enter__(), "^of must be like 300, and is '3'$"),
    "named": (lambda: trainers.attach({1: NET["net"]}, trainers.METHODS["lora"](), EVERY, 0), "^parts must be like "),
    "module": (lambda: trainers.apply_styles(NET["net"], "", []), "^parts must be like .*, and is Sequential$"),
    "paths": (lambda: trainers.apply_styles(NET, "", [("a.safetensors", 1.0)]), r"^styles must be like \[\(read_style"),
    "layer": (lambda: trainers.build_config("a.toml"), "^a layer must be like .*, and is 'a.toml'$"),
    "above": (lambda: trainers.layers(above={"train": {}}), r"^above must be like \[\{.*, and is dict$"),
    "config": (lambda: trainers.train({"name": "a"}, "outputs"), "^config must be like build_config.*, and is dict$"),
    "run": (lambda: trainers.resume("outputs/a"), "^run must be like open_run.*, and is 'outputs/a'$"),
    "base": (lambda: trainers.load_model("starter", torch.float32, "cpu"), "^settings must be like Base.*'starter'$"),
    "dtype": (lambda: trainers.load_model(trainers.Base(), "fp32", "cpu"), "^dtype must be like torch.float32, and is"),
    "device": (lambda: trainers.load_model(trainers.Base(), torch.float32, "gpu"), "^device = 'gpu' cannot be used on"),
    "prompt": (lambda: trainers.SamplingParams("a fox"), "^prompts must be like .*, and is 'a fox'$"),
    "seed": (lambda: trainers.SamplingParams(("a fox",), seeds=3), r"^seeds must be like \(3,\), and is 3$"),
    "size": (lambda: trainers.SamplingParams(("a fox",), size=64), r"^size must be like \(512, 512\), and is 64$"),
    "no steps": (lambda: trainers.SamplingParams(("a fox",), steps=0), "^steps must be like 25, and is 0$"),
    "network": (lambda: trainers.write_style("a.safetensors", a_network()), "^network must be like attach"),
    "model": (lambda: trainers.write_style(a_network(), "a.safetensors", "fp32"), "^model must be like load_model"),
}


def a_network() -> Any:
    network = trainers.attach(NET, trainers.METHODS["lora"](rank=1), EVERY, seed=0)
    network.remove()
    return network


EVERY = trainers.Targets(unet=("*",))


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_one_sentence(case: str) -> None:
    call, sentence = WRONG[case]
    with pytest.raises(trainers.VelaturaError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)


def test_paths_may_be_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\n', encoding="utf-8")
    assert trainers.read_config(str(tmp_path / "a.toml")).name == "a"
    trainers.write_style(a_network(), str(tmp_path / "a.safetensors"))
    assert trainers.describe_style(str(tmp_path / "a.safetensors")).name == "a.safetensors"
    with pytest.raises(trainers.VelaturaError, match="is not a run folder"):
        trainers.open_run(str(tmp_path))


def test_the_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "my-paintings", "fox in snow.png", "a boat.png")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    short = {
        '"steps": 200': '"steps": 1',
        '"steps": 20}': '"steps": 1, "prompts": ["a fox"]}',
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
