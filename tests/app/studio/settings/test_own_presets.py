"""People's own presets: kept as files, used, renamed, deleted and put back; by two people and from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.studio.dataset.drafts import Draft
from app.studio.paths import Paths
from app.studio.settings.gather import gather_settings
from app.studio.settings.own_presets import OwnPresets, as_preset, is_preset, write_preset
from app.studio.settings.plan import choose, plan, with_choices, with_setting
from app.studio.settings.undo import take_back, with_undo
from trainers.config.tables import read_toml
from trainers.errors import VelaturaError

DRAFT = Draft(id="x", public="y")
LOHA = choose(choose(DRAFT, "preset", "faithful"), "method", "loha")
INKY = with_setting(with_setting(LOHA, "method.rank", "5"), "train.steps", "77")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "outputs")
    made.make()
    return made


@pytest.fixture
def presets(paths: Paths) -> OwnPresets:
    return OwnPresets(paths)


def names(presets: OwnPresets, owner: str = "") -> list[str]:
    return [one.name for one in presets.list(owner)]


def test_a_preset_gives_the_same_settings_on_any_base(presets: OwnPresets) -> None:
    assert presets.save("ann", " Inky/lines ", as_preset(INKY)) == ("Inky lines", False)
    (found,) = presets.list("ann")
    used = found.use(DRAFT)
    assert plan(used) == plan(INKY) and found.is_chosen(INKY.choices) and not found.is_chosen(DRAFT.choices)
    folders = found.use(with_setting(DRAFT, "data.wildcards", "on"))
    assert plan(folders).data.wildcards and found.is_chosen(folders.choices), "the pictures' settings stay"
    elsewhere = found.use(with_choices(DRAFT, base="owner/name"))
    assert plan(elsewhere) == plan(with_choices(INKY, base="owner/name"))
    lokr = with_setting(choose(DRAFT, "preset", "faithful"), "method.factor", "6")
    presets.save("ann", "Large", as_preset(lokr))
    assert plan(presets.find("ann", "large").use(DRAFT)).method.factor == 6


def test_presets_are_each_persons_own_and_nothing_is_lost(presets: OwnPresets) -> None:
    presets.save("ann", "Ink", as_preset(INKY))
    assert names(presets, "ben") == [] == names(presets)
    assert presets.save("ann", "INK", as_preset(DRAFT)) == ("INK", True), "case does not matter"
    presets.put_back("ann", "ink")
    assert names(presets, "ann") == ["Ink"] and presets.find("ann", "Ink").is_chosen(INKY.choices)
    presets.save("ann", "Chalk", as_preset(DRAFT))
    with pytest.raises(VelaturaError, match="Chalk already"):
        presets.rename("ann", "Ink", "chalk")
    assert presets.rename("ann", "Ink", "Deep ink") == "Deep ink"
    presets.delete("ann", "Deep ink")
    assert names(presets, "ann") == ["Chalk"]
    presets.put_back("ann", "Deep ink")
    assert names(presets, "ann") == ["Chalk", "Deep ink"]
    for act in (presets.delete, presets.find, presets.put_back):
        with pytest.raises(VelaturaError):
            act("ben", "Chalk")


@pytest.mark.parametrize("name", ["", "///", "balanced", "LoRA", "..", "\ud800"])
def test_names_that_cannot_be_used_are_refused(presets: OwnPresets, name: str) -> None:
    with pytest.raises(VelaturaError):
        presets.save("", name, as_preset(INKY))
    assert names(presets) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [("preset = ", "cannot be read"), ('preset = "quickest"', "quickest"), ("[train]\nspeed = 1", "train.speed"),
     ('preset = ["quick"]', "preset"), ('aim = 3', "aim"), ("schema_version = 99", "newer")],
)  # fmt: skip
def test_a_broken_file_says_so_and_breaks_nothing(presets: OwnPresets, paths: Paths, content: str, said: str) -> None:
    presets.save("", "Ink", as_preset(INKY))
    (paths.root / "presets" / "Broken.toml").write_text(content, encoding="utf-8")
    broken, fine = presets.list("")
    assert said in broken.problem and not fine.problem
    with pytest.raises(VelaturaError):
        broken.use(DRAFT)
    presets.delete("", "Broken")
    assert names(presets) == ["Ink"]


def test_the_command_line_finds_it(presets: OwnPresets, paths: Paths, tmp_path: Path) -> None:
    presets.save("ann", "Inky", as_preset(INKY))
    options = {"name": "x", "images": "pictures", "steps": 40}
    found = gather_settings(paths.runs, None, "inky", options, ["method.alpha=2"])
    assert (found.method.name, found.method.rank, found.method.alpha, found.train.steps) == ("loha", 5, 2.0, 40)
    (tmp_path / "own.toml").write_text('name = "y"\n[data]\nimages = "p"\ntrigger = "dusk"\n', encoding="utf-8")
    over = gather_settings(paths.runs, tmp_path / "own.toml", "Inky", {}, [])
    assert (over.name, over.data.trigger, over.train.steps) == ("y", "dusk", 77)
    assert gather_settings(paths.runs, None, "quick", options, []).method.rank == 8
    with pytest.raises(VelaturaError, match="no preset 'nothing'"):
        gather_settings(paths.runs, None, "nothing", options, [])
    presets.save("ben", "Inky", as_preset(DRAFT))
    with pytest.raises(VelaturaError, match="several people"):
        gather_settings(paths.runs, None, "Inky", options, [])


def test_a_preset_goes_out_and_comes_in(presets: OwnPresets, tmp_path: Path) -> None:
    presets.save("", "Ink", as_preset(INKY))
    file = tmp_path / "ink.toml"
    file.write_text(write_preset("Ink", presets.find("", "Ink").table), encoding="utf-8")
    table = read_toml(file)
    assert is_preset(table) and table["name"] == "Ink" and not is_preset({"train": {"steps": 3}})
    presets.save("ann", str(table["name"]), table)
    assert plan(presets.find("ann", "Ink").use(DRAFT)) == plan(INKY)


def test_many_settings_that_change_at_once_are_taken_back_at_once() -> None:
    named = DRAFT.with_(name="Dusk", prompts=("a fox",))
    changed = with_undo(lambda _: INKY.with_(name="Ink"))(named)
    back = take_back(changed)
    assert (back.choices, back.name, back.prompts) == (named.choices, "Dusk", ("a fox",))
    assert take_back(back).choices == INKY.choices, "and that is taken back, too"
    assert take_back(DRAFT) == DRAFT and with_undo(lambda draft: draft)(DRAFT).before is None
