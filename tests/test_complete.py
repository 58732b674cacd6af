"""Every method, setting and family of bases is in every list that names it; a gap names what closes it.

`make method-check NAME=…` runs this first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import getsourcefile
from pathlib import Path
from typing import get_args

import diffusers
import pytest
import torch

from app.language import ENGLISH, LANGUAGES
from app.studio.settings.fields import FOLDS, list_fields
from benchmarks.pictures import STRIPS, SUFFIX, THUMBS
from tests.golden.cases import tables as golden_cases
from tests.golden.record import FILE as GOLDEN
from tests.tiny import FAMILIES as TINY
from tests.tiny_flow import FLOWS
from tests.trainers.training.knobs import test_low_rank, test_other_methods, test_rank_choosing, test_settings
from tests.trainers.training.knobs.bench import settings_of
from tests.trainers.training.knobs.test_settings import settings
from tools import tables
from tools.messages import collect, find_problems
from trainers.adapters.methods import METHODS
from trainers.adapters.roles import layer_role
from trainers.config.presets import list_presets
from trainers.config.reference import list_settings
from trainers.config.sections import Base
from trainers.formats.programs.table import RULES
from trainers.models.families import FAMILIES
from trainers.models.families.family import Family

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests" / "trainers" / "adapters" / "methods"
PRESETS = {preset.name: preset for preset in list_presets()}
METHOD_CASES = test_low_rank.CASES | test_rank_choosing.CASES | test_other_methods.CASES


def gaps_of_method(name: str) -> Iterator[str]:
    """What a method lacks, each with what to do."""
    about, source = METHODS[name].about, Path(getsourcefile(METHODS[name]) or "")
    if name not in PRESETS or PRESETS[name].settings["method"]["name"] != name:
        yield f"presets/methods/{name}.toml: write it, or begin with python -m tools.new_method NAME"
    elif "TODO" in PRESETS[name].summary:
        yield f"presets/methods/{name}.toml: write what is marked TODO"
    if "TODO" in source.read_text(encoding="utf-8"):
        yield f"{source.relative_to(ROOT)}: write what is marked TODO"
    if not any(f"methods.{source.stem} import" in test.read_text(encoding="utf-8") for test in TESTS.glob("test_*.py")):
        yield f"tests/trainers/adapters/methods/test_{source.stem}.py: test its formula"
    if (
        missing := {case for case in golden_cases() if case.endswith(f"/{name}")}
        - json.loads(GOLDEN.read_text())["cases"].keys()
    ):
        yield f"tests/golden/numbers.json has no {', '.join(sorted(missing))}: python -m tests.golden.record"
    if not all((folder / f"{name}{SUFFIX}").exists() for folder in (STRIPS, THUMBS)):
        yield f"app/ui/static/methods has no pictures: python -m benchmarks.pictures {name} (two minutes)"
    if about.title != about.title.strip() or not about.parameters:
        yield f"{source.relative_to(ROOT)}: its About lacks title or parameters"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_in_every_list(name: str) -> None:
    gaps = list(gaps_of_method(name))
    assert not gaps, "\n".join(gaps)


def test_the_tables_of_the_documentation_are_current() -> None:
    assert not (pages := [page.name for page in tables.stale_pages()]), f"{', '.join(pages)}: {tables.COMMAND}"


def test_every_setting_says_what_it_does() -> None:
    short = [setting.key for setting in list_settings() if len(setting.meaning) < 10 or "TODO" in setting.meaning]
    assert not short, f"without a docstring below the field: {', '.join(short)}"


def test_every_setting_is_changed_in_a_case() -> None:
    lacking = {*settings()} - test_settings.CASES.keys() | {*settings_of(*METHODS)} - METHOD_CASES.keys()
    rows = "tests/trainers/training/knobs has no row that says in what these show: "
    assert not lacking, rows + ", ".join(sorted(lacking))


def test_every_setting_has_a_place_in_the_studio() -> None:
    for name in METHODS:
        assert all(field.fold in FOLDS and str(field.title) for field in list_fields(name))


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != ENGLISH])
def test_everything_is_translated(language: str) -> None:
    problems = find_problems(language, collect())
    where = f"app/locale/{language}/LC_MESSAGES/messages.po: make messages, then translate"
    assert not problems, "\n".join((where, *problems))


def gaps_of_family(family: Family) -> Iterator[str]:
    """What a family of base models lacks, each with what to do."""
    if family.name not in get_args(Base.model_fields["family"].annotation):
        yield f"trainers/config/sections.py: Base.family does not allow {family.name}"
    if not any(family.name in rule.families for rule in RULES):
        yield f"trainers/formats/programs/table.py: no rule says which programs read styles of {family.name}"
    if family.name not in (*TINY, *FLOWS):
        yield f"tests/tiny.py or tests/tiny_flow.py: no tiny base {family.name}, which all families' tests train"
    for variant in family.variants:
        if not (variant.tree / family.denoiser / "config.json").exists():
            yield f"trainers/models/configs/{variant.configs}: no config of its {family.denoiser}"
            return
    if missing := {"q", "k", "v", "out"} - roles_in(family):
        yield f"trainers/adapters/layouts: no layer of {family.name} is its {', '.join(sorted(missing))}"


def roles_in(family: Family) -> set[str]:
    """The roles of the layers of a family's denoiser, built without weights."""
    kind = getattr(diffusers, family.networks[family.denoiser].partition(".")[2])
    with torch.device("meta"):
        network = kind.from_config(json.loads((family.variants[0].tree / family.denoiser / "config.json").read_text()))
    return {role.role for path, _ in network.named_modules() if (role := layer_role(path))}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_in_every_list(family: Family) -> None:
    gaps = list(gaps_of_family(family))
    assert not gaps, "\n".join(gaps)
