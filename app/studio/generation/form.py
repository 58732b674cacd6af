"""The Playground's form as typed, stored on the server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.state_file import StateFile
from app.studio.generation.axes import NEEDED_STYLES, Axis
from app.studio.generation.cells import Cell
from app.studio.generation.options import FOLDED, OPTIONS
from app.studio.generation.request import GenerateRequest, read_request
from app.studio.paths import Paths
from app.studio.studio_queue import StudioQueue
from app.studio.styles.entry import StyleEntry
from trainers.composition.ways import SUM

FIRST_STRENGTH = "0.8"
MOST_STYLES = 4
"""Maximum number of styles in the form."""
RESTORED, LOST = "restored", "lost"
AXIS_FIELDS = ("across", "across_values", "down", "down_values")


class GenerateForm(BaseModel):
    """The form's fields as typed, valid or not."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str = ""
    styles: tuple[tuple[str, str], ...] = ()
    """Styles by id, with strengths."""
    count: str = "1"
    """Number of pictures."""
    options: Mapping[str, str] = Field(default_factory=lambda: {each.name: each.write(each.default) for each in FOLDED})
    """Folded options by name; empty for the base's default."""
    compose: str = SUM
    each: bool = False
    across: str = ""
    """Kind compared along a row; empty for a single picture, or several seeds."""
    across_values: str = ""
    down: str = ""
    """Kind compared from row to row."""
    down_values: str = ""
    compare: bool = True
    notice: Literal["", "restored", "lost"] | str = ""
    """Notice about a damaged file, until the next edit."""

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        """Read versions whose options were not nested, or whose only comparison was of strengths."""
        if not isinstance(values, Mapping):
            return values
        options = {option.name: values[option.name] for option in FOLDED if option.name in values}
        defaults = cls.model_fields["options"].get_default(call_default_factory=True)
        values = {**values, "options": defaults | options | dict(values.get("options", {}))}
        if not values.get("ribbon") or "across" in values:
            return values
        return {**values, "across": "strength", "down": "second_strength" if len(values.get("styles", ())) > 1 else ""}

    @classmethod
    def of(cls, request: GenerateRequest) -> GenerateForm:
        """The form of a request."""
        axes = () if request.each or request.count > 1 else request.axes
        compared = {
            name: value
            for axis, place in zip(axes, ("across", "down"), strict=False)
            for name, value in ((place, axis.kind), (f"{place}_values", _written(axis)))
        }
        return cls(
            prompt=request.prompt,
            styles=tuple((ref.style, f"{ref.strength:g}") for ref in request.styles),
            options={option.name: option.write(getattr(request, option.name)) for option in FOLDED},
            compose=request.compose,
            count=str(request.count),
            each=request.each,
            compare=request.compare or bool(axes),
            **compared,
        )

    def with_(self, **changes: Any) -> GenerateForm:
        """A copy with changed fields or options."""
        options = {option.name: changes.pop(option.name) for option in FOLDED if option.name in changes}
        return self.model_copy(update=changes | {"options": {**self.options, **options}})

    def parse(self) -> tuple[GenerateRequest, dict[str, str]]:
        """The request, and one sentence per invalid field, which gets its default."""
        several, axes = len(self.styles) > 1, self.axes()
        each = self.each and several and not axes
        alone = each or any(axis["kind"] == "style" for axis in axes)
        options = {name: text for name, text in self.options.items() if text.strip() or not OPTIONS[name].may_be_empty}
        return read_request(
            options
            | {
                "prompts": (self.prompt,),
                "styles": [{"style": style, "strength": strength} for style, strength in self.styles],
                "compose": self.compose if several and not alone else SUM,
                "each": each,
                "compare": self.compare and not axes,
                "axes": axes,
                "count": "1" if each or axes else self.count,
            }
        )

    def axes(self) -> list[dict[str, str]]:
        """The axes of comparison that the number of styles allows."""
        typed = ((self.across, self.across_values), (self.down if self.across else "", self.down_values))
        possible = [(kind, values) for kind, values in typed if kind and len(self.styles) >= NEEDED_STYLES.get(kind, 0)]
        return [{"kind": kind, "values": values} for kind, values in possible]


class FormStore:
    """All forms, by owner key."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.root / "desks"

    def read(self, key: str) -> GenerateForm | None:
        """The form of `key`; None if nothing was typed.

        For a damaged file it is the previous state, with a `notice`.
        """
        return self._file(key).read()

    def keep(self, key: str, form: GenerateForm) -> None:
        """Save the form."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._file(key).write(form)

    def _file(self, key: str) -> StateFile[GenerateForm]:
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        return StateFile(path, GenerateForm.model_validate_json, GenerateForm.model_dump_json, _restored)


def _restored(before: GenerateForm | None) -> GenerateForm:
    return (before or GenerateForm()).with_(notice=RESTORED if before else LOST)


def keep_cell(form: GenerateForm, request: GenerateRequest, cell: Cell[Any]) -> GenerateForm:
    """The form with the values of one compared picture instead of the comparison."""
    kinds = {kind for kind, _ in cell.values}
    changes: dict[str, Any] = dict.fromkeys(AXIS_FIELDS, "")
    changes |= {kind: OPTIONS[kind].write(getattr(cell.request, kind)) for kind in kinds if kind in OPTIONS}
    changes |= {"prompt": cell.request.prompt} if "words" in kinds else {}
    strengths = dict(zip((style.style for style in request.styles), cell.strengths, strict=True))
    styles = tuple((style, f"{strengths[style]:g}" if style in strengths else typed) for style, typed in form.styles)
    if cell.alone is not None:
        only = request.styles[cell.alone].style
        styles = tuple((style, typed) for style, typed in styles if style == only) or styles
    elif not kinds & {"strength", "second_strength"}:
        styles = form.styles
    return form.with_(styles=styles, **changes)


def is_kept(form: GenerateForm, request: GenerateRequest, cell: Cell[Any]) -> bool:
    """Whether the form has the values of one compared picture."""
    return not form.axes() and keep_cell(form, request, cell) == form.with_(**dict.fromkeys(AXIS_FIELDS, ""))


def _written(axis: Axis) -> str:
    """The values of an axis as text."""
    values = [f"{value:g}" if isinstance(value, float) else str(value) for value in axis.values]
    return ("; " if any("," in value for value in values) else ", ").join(values)


def begin_with(
    style: StyleEntry | None, prompt: str, before: GenerateForm | None = None, drawn: Iterable[str] = ()
) -> GenerateForm:
    """The form for trying a style, or none, with `prompt`; other settings as `before`.

    A typed prompt that was not `drawn` yet is kept.
    """
    before = before or GenerateForm()
    if before.prompt.strip() and before.prompt not in drawn:
        prompt = before.prompt
    styles = ((style.id, FIRST_STRENGTH),) if style is not None else ()
    return before.with_(prompt=prompt, styles=styles, base="", size="")


def draw_prompts(form: GenerateForm, prompts: Sequence[str]) -> GenerateForm:
    """The form for drawing these prompts; several are compared, along a row if that is free."""
    if len(prompts) < 2:
        return form.with_(prompt=prompts[0]) if prompts else form
    first, *others = (prompt.replace(";", ",") for prompt in prompts)
    place = "down" if form.across else "across"
    return form.with_(prompt=first, **{place: "words", f"{place}_values": "; ".join((first, *others))})


def first_prompt(style: StyleEntry | None, queue: StudioQueue) -> str | None:
    """The first sample prompt of a style's run; None if unknown."""
    view = queue.run(style.run) if style is not None and style.run else None
    prompts = dict(view.summary.facts).get("prompts") if view is not None else None
    if isinstance(prompts, list | tuple) and prompts and isinstance(prompts[0], str):
        return prompts[0]
    return None
