"""Every method, setting and family of bases is in every list that names it; a gap names what closes it.

`make method-check NAME=…` and `make family-check NAME=…` run this first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from inspect import getsourcefile
from pathlib import Path
from typing import Any, get_args

import pytest

from app.language import ENGLISH, LANGUAGES
from app.studio.settings.fields import FOLDS, list_fields
from benchmarks.flow.memory import BASES
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
from trainers.adapters.layouts import LAYOUTS
from trainers.adapters.methods import METHODS
from trainers.adapters.roles import layer_role
from trainers.config.presets import list_presets
from trainers.config.reference import list_settings
from trainers.config.sections import Base
from trainers.formats.names import network_config
from trainers.formats.programs.table import RULES
from trainers.layer_names import STAGES, dotted
from trainers.models.families import FAMILIES
from trainers.models.families.family import Family, OriginalLayer
from trainers.models.files.configs import config_tree
from trainers.models.files.other_bases import (
    other_by_index,
    other_by_name,
    other_by_part,
    other_in_file,
    other_of_style,
)
from trainers.models.full_size import build_on_meta

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
        if f"`{variant.configs}`" not in (variant.tree.parent / "README.md").read_text(encoding="utf-8"):
            yield f"trainers/models/configs/README.md does not name {variant.configs}"
        if not (variant.tree / family.denoiser / "config.json").exists():
            yield f"trainers/models/configs/{variant.configs}: no config of its {family.denoiser}"
            return
    network = build_on_meta(family.variants[0].configs, family.denoiser)
    paths = [path for path, layer in network.named_modules() if getattr(layer, "weight", None) is not None]
    layers = list(family.original_layers(network_config(network), paths))
    yield from gaps_in_layouts(family, paths, layers)
    yield from rows_that_refuse(family, network, layers)
    if family.denoiser == "transformer":
        yield from gaps_of_transformer(family, paths, layers)


def gaps_in_layouts(family: Family, paths: Sequence[str], layers: Sequence[OriginalLayer]) -> Iterator[str]:
    """Roles and names that the layouts lack, of layers at these paths of a denoiser and in its original layout."""
    where = "trainers/adapters/layouts:"
    if missing := {"q", "k", "v", "out"} - {role.role for path in paths if (role := layer_role(path))}:
        yield f"{where} no layer of {family.name} is its {', '.join(sorted(missing))}"
    names = dict.fromkeys((*paths, *(layer.name for layer in layers)))
    modules = {name for layout in LAYOUTS if layout.network == family.denoiser for name in layout.modules}
    if strange := {path.partition(".")[0] for path in names} - modules:
        yield f"{where} {', '.join(sorted(strange))} of {family.name} must be in `stages`, or `outside` of the blocks"
    flat = {path: f"lora_unet_{path.replace('.', '_')}" for path in names}
    if split := [path for path, stem in flat.items() if dotted(stem) != f"{family.denoiser}.{path}"]:
        yield f"{where} `inside` lacks a name with an underscore in {split[0]} of {family.name}"
    stages = [STAGES.get(path.partition(".")[0], 0) for path in paths]
    if family.denoiser == "transformer" and (order := [*filter(None, stages)]) != sorted(order):
        yield f"{where} `stages` of {family.name} are not in the order of the forward pass"


def rows_that_refuse(family: Family, network: Any, layers: Sequence[OriginalLayer]) -> Iterator[str]:
    """Rows on bases that are not trained that fit a family's folders, or files of its denoiser in either layout."""
    ours = {name: tuple(tensor.shape) for name, tensor in network.named_parameters()}
    rows = {layer: sum(layer.rows) or len(network.get_submodule(layer.paths[0]).weight) for layer in layers}
    shapes = {layer: (rows[layer], *ours[f"{layer.paths[0]}.weight"][1:]) for layer in layers}
    theirs = {f"{layer.name}.weight": shape for layer, shape in shapes.items()}
    styles = ({name.removesuffix(".weight"): shape for name, shape in file.items()} for file in (ours, theirs))
    trees = [variant.tree for variant in family.variants]
    others = (
        *map(other_by_index, trees),
        *(other_by_part(tree / family.denoiser) for tree in trees),
        *map(other_in_file, (ours, theirs)),
        *map(other_of_style, styles),
        other_by_name([*family.hub_names, *(variant.configs for variant in family.variants)]),
    )
    for name in {other.name for other in others if other}:
        yield f"presets/other_bases.toml: the row {name} refuses {family.name}"


def gaps_of_transformer(family: Family, paths: Sequence[str], layers: Sequence[OriginalLayer]) -> Iterator[str]:
    """What a family of flow-matching transformers lacks beside the others."""
    module = Path(getsourcefile(type(family)) or "").stem
    if not (ROOT / f"tests/trainers/models/families/test_{module}.py").exists():
        yield f"tests/trainers/models/families/test_{module}.py: test its sizes, text, prediction and names"
    page = (ROOT / "docs" / "bases.md").read_text(encoding="utf-8")
    titles = [set(line.split()) for line in page.splitlines() if line.startswith("## ")]
    if not any({*family.title.split()} - {"/"} <= title for title in titles):
        yield f"docs/bases.md: no section on {family.title}"
    if short := [name for name, tree in BASES.items() if config_tree(tree) in {v.tree for v in family.variants}
                 and page.count(f"\n| {name} |") < 3 - (name != family.title)]:  # fmt: skip
        yield f"docs/bases.md: no memory of {', '.join(short)}: python -m benchmarks.flow.memory (a minute)"
    marks = {path: path != layer.name for layer in layers for path in layer.paths}
    marks |= {layer.name: False for layer in layers if layer.name not in marks}
    if wrong := [path for path, ours in marks.items() if bool(re.search(family.diffusers_path, path)) != ours]:
        yield f"trainers/models/families/{module}.py: `diffusers_path` takes {wrong[0]} for a path of the other layout"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_in_every_list(family: Family) -> None:
    gaps = list(gaps_of_family(family))
    assert not gaps, "\n".join(gaps)
