"""Starts a method: `python -m tools.new_method NAME`, with NAME as in settings, such as `glora`.

Writes the method's file, its preset and its test, which hold plain LoRA and pass as they are. TODO marks the lines that
are yours to write; `make method-check NAME=…` lists what is missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tools.command import reports_errors
from trainers.errors import VelaturaError

ROOT = Path(__file__).parents[1]
METHOD = '''"""TODO: in one sentence, what {title} changes.

    ΔW = (α / r) B A        A (r, in·kh·kw),  B (out, r)

A starts Kaiming-uniform and B at zero, so ΔW = 0 before the first step.

TODO: authors and year (arXiv number), section or equation.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About
from trainers.adapters.method import SETTINGS, RankedMethod, Theta
from trainers.adapters.methods.initial import kaiming
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank


@dataclass(frozen=True, config=SETTINGS)
class {kind}(RankedMethod):
    """ΔW = (α / r) B A."""

    about: ClassVar[About] = About(
        title="{title}",
        summary="TODO: what it learns, and when to choose it.",
        paper="arXiv TODO",
        parameters="r (in k² + out)",
        group="like-lora",
    )
    bounds_rank: ClassVar[bool] = True

    name: Literal["{name}"] = "{name}"
    """The method."""

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return {{
            "A": nn.Parameter(kaiming(draw, self.rank, site.op.fan_in)),
            "B": nn.Parameter(torch.zeros(site.op.out, self.rank)),
        }}

    def update(self, theta: Theta, site: Site) -> LowRank:
        gate = self.rank_gate(site, self.rank, theta["A"].device)
        return LowRank(self.scale * theta["B"], theta["A"], site.op.shape, gate)
'''
PRESET = """summary = "TODO: {title} in half a line"

[method]
name = "{name}"
rank = 16
alpha = 16.0

[train]
steps = 1000
batch_size = 1
learning_rate = 1e-4 # TODO: from the paper, or why

[starter.train]
steps = 300
batch_size = 4
learning_rate = 3e-4
"""
TEST = '''"""{title} against its formula, written out anew."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.layers import LAYERS, make_site, theta_of
from trainers.adapters.methods.{module} import {kind}


@pytest.mark.parametrize("layer", LAYERS)
def test_the_change_is_that_of_the_formula(layer):
    site = make_site(layer, {kind}(rank=3, alpha=2.0))
    theta = theta_of(site)
    expected = 2 / 3 * theta["B"] @ theta["A"]
    torch.testing.assert_close(site.dense(), expected.reshape(site.op.shape))
'''
NEXT = """
Yours to write, where it says TODO:
  {files}
docs/own-method.md explains the contract, the updates and what About says. In the background, since it takes minutes:
  python -m benchmarks.pictures {name}
Translate what is new in app/locale/*/LC_MESSAGES/messages.po, then run
  python -m tests.golden.record
  make method-check NAME={name}
"""


def files_of(name: str) -> dict[Path, str]:
    """The files of a new method, with their text, from the folder of the repository."""
    module, title = name.replace("-", "_"), name.replace("_", "-")
    kind = "".join(part.capitalize() for part in module.split("_"))
    words = {"name": name, "module": module, "title": title, "kind": kind}
    return {
        Path("trainers", "adapters", "methods", f"{module}.py"): METHOD.format(**words),
        Path("presets", "methods", f"{name}.toml"): PRESET.format(**words),
        Path("tests", "trainers", "adapters", "methods", f"test_{module}.py"): TEST.format(**words),
    }


def check_name(name: str) -> None:
    """VelaturaError for a name that cannot be that of a new method."""
    from trainers.adapters.methods import METHODS
    from trainers.config.presets import list_presets

    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name):
        raise VelaturaError("a method's name is of small letters, digits and hyphens, and this is {name!r}", name=name)
    if name in METHODS or any(preset.name == name for preset in list_presets()):
        raise VelaturaError("there is a method or a preset with the name {name} already", name=name)
    if existing := [str(path) for path in files_of(name) if (ROOT / path).exists()]:
        raise VelaturaError("there is {file} already", file=existing[0])


@reports_errors
def main(*names: str) -> int:
    """Write the files of a new method, and what is generated from them."""
    if len(names) != 1:
        raise VelaturaError("give one name: python -m tools.new_method NAME")
    (name,) = names
    check_name(name)
    for path, text in files_of(name).items():
        (ROOT / path).write_text(text, encoding="utf-8")
    generate()
    print(NEXT.format(files="\n  ".join(map(str, files_of(name))), name=name), end="")
    return 0


def generate() -> None:
    """Write what is generated from methods and settings: pages of the documentation and catalogues."""
    for module in ("tools.tables", "tools.messages"):  # in processes of their own: this one has loaded what was there
        subprocess.run([sys.executable, "-m", module], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
