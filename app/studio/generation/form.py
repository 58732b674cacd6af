"""The Playground's form as typed, stored on the server so that no reload loses it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from app.state_file import StateFile
from app.studio.generation.request import RIBBON, GenerateRequest, pixels_in_words, read_request
from app.studio.paths import Paths
from app.studio.studio_queue import StudioQueue
from app.studio.styles.entry import StyleEntry
from trainers.composition.ways import SUM

FIRST_STRENGTH = "0.8"
MOST_STYLES = 4
"""Maximum number of styles in the form."""
RESTORED, LOST = "restored", "lost"
OPTIONAL = ("steps", "guidance", "size", "sampler")
"""Fields that may be empty for the base's default."""


class GenerateForm(BaseModel):
    """The form's fields as typed, valid or not."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str = ""
    styles: tuple[tuple[str, str], ...] = ()
    """Styles by id, with strengths."""
    negative: str = ""
    seed: str = "1"
    count: str = "1"
    """Number of pictures."""
    steps: str = ""
    guidance: str = ""
    size: str = ""
    sampler: str = ""
    base: str = ""
    compose: str = SUM
    each: bool = False
    ribbon: bool = False
    """Whether to draw at several strengths."""
    compare: bool = True
    notice: Literal["", "restored", "lost"] | str = ""
    """Notice about a damaged file, until something is typed."""

    @classmethod
    def of(cls, request: GenerateRequest) -> GenerateForm:
        """The form of a request."""
        return cls(
            prompt=request.prompt,
            styles=tuple((one.style, f"{one.strength:g}") for one in request.styles),
            negative=request.negative,
            seed=str(request.seed),
            steps="" if request.steps is None else str(request.steps),
            guidance="" if request.guidance is None else f"{request.guidance:g}",
            size="" if request.size is None else pixels_in_words(request.size),
            sampler=request.sampler or "",
            base=request.base,
            compose=request.compose,
            count=str(request.count),
            each=request.each,
            ribbon=bool(request.strengths),
            compare=request.compare,
        )

    def with_(self, **changes: Any) -> GenerateForm:
        """A copy with changed fields."""
        return self.model_copy(update=changes)

    def parse(self) -> tuple[GenerateRequest, dict[str, str]]:
        """The request, and one sentence per invalid field, which gets its default."""
        several, ribbon = len(self.styles) > 1, self.ribbon and bool(self.styles)
        each = self.each and several and not ribbon
        values = self.model_dump(exclude={"prompt", "styles", "notice", "ribbon"})
        values = {name: value for name, value in values.items() if name not in OPTIONAL or value.strip()}
        return read_request(
            values
            | {
                "prompts": (self.prompt,),
                "styles": [{"style": style, "strength": strength} for style, strength in self.styles],
                "compose": self.compose if several and not each and not ribbon else SUM,
                "each": each,
                "strengths": RIBBON if ribbon else (),
                "count": "1" if each or ribbon else self.count,
            }
        )


class FormStore:
    """All forms, by owner key."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.root / "desks"

    def read(self, key: str) -> GenerateForm | None:
        """A person's form; None if nothing was typed.

        After damage it is the previous state, with a `notice`.
        """
        return self._file(key).read()

    def keep(self, key: str, form: GenerateForm) -> None:
        """Save the form."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._file(key).write(form)

    def _file(self, key: str) -> StateFile[GenerateForm]:
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        return StateFile(path, GenerateForm.model_validate_json, GenerateForm.model_dump_json, _restored)


def _restored(damaged: bytes, before: GenerateForm | None) -> GenerateForm:
    return (before or GenerateForm()).with_(notice=RESTORED if before else LOST)


def keep_strengths(form: GenerateForm, kept: Mapping[str, float]) -> GenerateForm:
    """The form with these strengths, by style, instead of several."""
    styles = ((style, f"{kept[style]:g}" if style in kept else strength) for style, strength in form.styles)
    return form.with_(styles=tuple(styles), ribbon=False)


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


def first_prompt(style: StyleEntry | None, queue: StudioQueue) -> str | None:
    """The first sample prompt of a style's run; None if unknown."""
    view = queue.run(style.run) if style is not None and style.run else None
    prompts = dict(view.summary.facts).get("prompts") if view is not None else None
    if isinstance(prompts, list | tuple) and prompts and isinstance(prompts[0], str):
        return prompts[0]
    return None
