"""A bench for settings: runs that differ in one of them, and what that shows in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from PIL import Image
from pydantic.fields import FieldInfo
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import tiny_weights
from tests.trainers.hurry import without_pictures
from tests.trainers.tiny_runs import METHODS as SMALL
from tests.trainers.tiny_runs import (
    both,
    equal,
    files_in,
    one,
    quick_settings,
    state_of,
    style_metadata,
    style_tensors,
    write_images,
)
from trainers.adapters.methods import METHODS
from trainers.config.config import Config
from trainers.config.reference import list_settings
from trainers.config.sections import Base
from trainers.data.ingest import ingest
from trainers.errors import VelaturaError
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.runs.events import Recorder, read_events
from trainers.runs.run import Run
from trainers.training.export import export_style
from trainers.training.loop import take_steps
from trainers.training.opening import open_dataset, open_session
from trainers.training.prior import open_prior
from trainers.training.step.trainee import fingerprint
from trainers.training.train import train

Table = Mapping[str, Any]
STEPS = one("train.steps", 4)
DECAY = one("train.weight_decay", 0.5)
CONVOLUTIONS = one("targets.unet", ["mid_block.resnets.0.conv1", "mid_block.resnets.1.conv1"])
DROPOUTS = {"dropout": 0.5, "module_dropout": 0.5}
LORA_DROPOUTS = {**DROPOUTS, "rank_dropout": 0.5}

LOW_RANK = ("lora", "loha", "lokr", "krona", "vera", "tied")
RANK_CHOOSING = ("dylora", "adalora", "sora", "selora", "t-lora")
FIELDS = {setting.key: setting.field for setting in list_settings() if not setting.method}
OTHER_METHODS = tuple(name for name in METHODS if name not in LOW_RANK + RANK_CHOOSING)


@dataclass
class Outcome:
    """What a run left: the style's tensors and metadata, the pictures' bytes, the files' names, the events' types."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    pictures: dict[str, bytes]
    files: set[str]
    saved: int
    """Numbers that autograd kept for backward."""
    checkpointed: set[str]
    """Names of the tensors in the last checkpoint's network."""
    events: set[str]
    """Types of the recorded events."""


@dataclass(frozen=True)
class Case:
    """`changes` says what the change shows in: `weights`, `pictures`, a test of two outcomes, or words of a refusal."""

    change: Table
    changes: str | Callable[[Outcome, Outcome], bool] = "weights"
    within: Table = field(default_factory=dict)


def cases(within: Table, changes: Table) -> dict[str, Case]:
    """Settings of one method, each changed by itself, that show in the weights."""
    method = within["method"]["name"]
    return {f"{method}.{key}": Case(one(f"method.{key}", value), within=within) for key, value in changes.items()}


def complete(rows: Mapping[str, Case], settings: Iterable[str]) -> dict[str, Case]:
    """The cases of these settings: the rows, and derived ones where there is no row but a value to change to."""
    return dict(rows) | {name: case for name in settings if name not in rows and (case := derive(name))}


def derive(name: str) -> Case | None:
    """The case of a setting without a row, `section.key` or `method.key`: another value shows in the weights.

    Methods have their small settings. None where the type does not say what another value is.
    """
    method, _, key = name.partition(".")
    if method in METHODS:
        small, name = SMALL[method], f"method.{key}"
        field, value = METHODS[method].__pydantic_fields__[key], small.get(key)
        within = both(one("method", small), one("targets.unet", "attn-mlp"))
    else:
        field, value, within = FIELDS[name], None, {}
    other = other_value(field, field.default if value is None else value)
    return None if other is None else Case(one(name, other), within=within)


def other_value(field: FieldInfo, value: Any) -> Any:
    """A value that a setting may have, other than this one; None where its type does not say."""
    if isinstance(value, bool):
        return not value
    if get_origin(field.annotation) is Literal:
        return next(choice for choice in get_args(field.annotation) if choice != value)
    if isinstance(value, int):
        return 2 * value or 1  # an even rank stays even
    if not isinstance(value, float):
        return None
    below_one = any(getattr(limit, "lt", getattr(limit, "le", 2)) <= 1 for limit in field.metadata)
    return 0.5 if below_one and value != 0.5 else 2.0 * value or 0.25


def settings_of(*methods: str) -> Iterator[str]:
    """Names of all settings that these methods have; their own name is a setting of `lora` alone."""
    for method in methods:
        # To choose another method has an effect, whichever it is.
        yield from (f"{method}.{each.name}" for each in fields(METHODS[method]) if each.name != "name")
        if method == "lora":
            yield "lora.name"


class Bench:
    """Runs settings and remembers what came of them, so that a context's own run is made once."""

    def __init__(self, root: Path, base: Path):
        self.root, self._base = root, base
        self._outcomes: dict[str, Outcome] = {}
        self._styles: dict[str, dict[str, Tensor]] = {}
        self._models: dict[str, Model] = {}
        self._states: dict[str, Any] = {}
        self._places = {
            "{bare}": write_images(root / "bare", captions=False),
            "{small}": write_images(root / "small", {"fox": (32, 32), "house": (40, 36)}),
            "{transparent}": _transparent(write_images(root / "transparent")),
            "{three}": write_images(root / "three"),
            "{folders}": write_images(write_images(root / "folders") / "2_ink").parent,
            "{folder}": write_images(root / "folder" / "2_ink").parent,
            "{bare folders}": write_images(root / "bare-folders" / "2_ink", captions=False).parent,
        }

    def settings(self, *tables: Table) -> Config:
        """Settings of a quick run, with the bench's own folders in the place of their names."""
        table = both(*tables)
        named = {section: dict(value) if isinstance(value, Mapping) else value for section, value in table.items()}
        for section, key in (("base", "model"), ("data", "images"), ("prior", "folder")):
            if section in named and key in named[section]:
                named[section][key] = str(self._place(named[section][key]))
        return quick_settings(self._base, self._places["{three}"], named)

    def _place(self, name: str) -> Path:
        if name == "{other base}" and name not in self._places:
            self._places[name] = _other_base(self._base, self.root / "other")
        return self._places[name]

    def style(self, *tables: Table) -> dict[str, Tensor]:
        """The exported tensors of a run's steps alone: nothing is prepared, drawn or saved on the way."""
        key = repr(both(*tables))
        if key not in self._styles:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("trainers.training.opening.load_model", self._load)
                patch.setattr("trainers.training.loop.save_checkpoint", lambda *_: None)
                self._styles[key] = self._style(self.settings(*tables))
        return self._styles[key]

    def _style(self, config: Config) -> dict[str, Tensor]:
        run = Run(self.root / "steps")
        run.folder.mkdir(exist_ok=True)
        session = open_session(run, config, Recorder(run.folder))
        dataset, _ = open_dataset(session, self._images(config))
        progress = take_steps(session, dataset, False, lambda _: None, open_prior(session, dataset))
        with session.as_exported():
            tensors = style_tensors(export_style(session, dataset, progress, started=0.0))
        session.network.remove()
        return tensors

    def _images(self, config: Config) -> Path:
        """A folder of images as a run takes them in, which all runs with them share."""
        mask = config.data.transparency == "mask"
        folder = self.root / f"images-{Path(config.data.images).name}{'-mask' * mask}{''.join(config.data.sets)}"
        if not folder.exists():
            ingest(Path(config.data.images), folder, mask, subfolders=config.data.sets)
        return folder

    def _load(self, base: Base, dtype: torch.dtype, device: torch.device) -> Model:
        """A base that is loaded once for all runs, each of which leaves it as it was."""
        key = f"{base!r} {dtype}"
        if key not in self._models:
            self._models[key] = load_model(base, dtype, device)
            self._models[key].encode([""])  # transformers leaves hooks of its own at the first call
            self._states[key] = _state(self._models[key])
        return self._models[key]

    def check_bases(self) -> None:
        """Fail where a run has left something on a base that the next one was to find as it was."""
        assert {key: _state(model) for key, model in self._models.items()} == self._states

    def outcome(self, *tables: Table, draws: bool = True) -> Outcome:
        """What a whole run leaves, with its pictures or without."""
        key = repr((both(*tables), draws))
        if key not in self._outcomes:
            with nullcontext() if draws else without_pictures():
                self._outcomes[key] = self.run(*tables)
        return self._outcomes[key]

    def run(self, *tables: Table) -> Outcome:
        """Train, whether that was done before or not."""
        config, counts = self.settings(*tables), list[int]()

        def keep(tensor: Tensor) -> Tensor:
            counts.append(tensor.numel())
            return tensor

        out = self.root / f"run-{len(self._outcomes)}-{torch.randint(10**9, ()).item()}"
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = train(config, out)
        assert result.style is not None
        drawn = {str(p.relative_to(result.run)): p.read_bytes() for p in (result.run / "samples").glob("*/*.png")}
        style, state = result.style, state_of(Run(result.run), result.steps)
        kept = {name.removeprefix("network ") for name in state if name.startswith("network ")}
        events = {event["type"] for event in read_events(result.run)}
        return Outcome(
            style_tensors(style), style_metadata(style), drawn, files_in(result.run), sum(counts), kept, events
        )

    def check(self, case: Case) -> None:
        """Fail where a case's change does not show in what it should."""
        if case.changes == "weights":
            same = equal(self.style(case.within), self.style(case.within, case.change))
            assert not same, f"{case.change} shows in no weights: write a row in which it matters, or refuse it there"
        elif isinstance(case.changes, str) and case.changes.startswith("refused"):
            with pytest.raises(VelaturaError, match=case.changes.removeprefix("refused: ")):
                self.outcome(case.within, case.change)
        else:
            draws = "sample" in case.change
            before = self.outcome(case.within, draws=draws)
            after = self.outcome(case.within, case.change, draws=draws)
            if case.changes == "pictures":
                assert before.pictures.keys() == after.pictures.keys()
                assert all(before.pictures[name] != after.pictures[name] for name in before.pictures)
                assert equal(before.tensors, after.tensors)
            else:
                assert callable(case.changes) and case.changes(before, after)


def _state(model: Model) -> Any:
    """What a run could leave of itself on a base: other weights, hooks, training mode, or words."""
    parts = model.parts
    layers = [(f"{name}.{path}", layer) for name, part in parts.items() for path, layer in part.named_modules()]
    hooked = [
        path for path, each in layers if each._forward_hooks or each._forward_pre_hooks or "forward" in vars(each)
    ]
    training = [path for path, layer in layers if layer.training]
    return fingerprint(*parts.values()), hooked, training, model.words.sizes


def _other_base(base: Path, target: Path) -> Path:
    shutil.copytree(base, target)
    weights = tiny_weights("sd1", seed=1)["unet"]
    save_file(weights, target / "unet" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    return target


def _transparent(folder: Path) -> Path:
    """The left third of every image becomes transparent."""
    for path in folder.glob("*.png"):
        picture = Image.open(path).convert("RGBA")
        picture.paste((0, 0, 0, 0), (0, 0, picture.width // 3, picture.height))
        picture.save(path)
    return folder
