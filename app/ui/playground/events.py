"""Events of the Playground's scripts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from app.studio.generation.form import MOST_STYLES, GenerateForm
from app.studio.generation.options import FOLDED
from app.ui.components.events import Id, PageEvent, Typed, Whole
from trainers.composition.ways import SUM


class ChosenStyle(PageEvent):
    """A style in the form with its strength as typed."""

    id: Id
    strength: Id


def _with_all_names(options: dict[str, str]) -> dict[str, str]:
    if options.keys() != {option.name for option in FOLDED}:
        raise ValueError("other options than the form has")
    return options


class Fields(PageEvent):
    """The values of all fields."""

    count: Whole
    """Sequence number of the page's request, for matching its answer."""
    prompt: Typed
    options: Annotated[dict[str, Typed], AfterValidator(_with_all_names)]
    """The values of the folded options, by name."""
    count_of_pictures: Typed
    compose: Typed
    """How styles are combined; "" if the page has no such field."""
    each: bool
    across: Typed
    """The kind of axis along a row; this and the next three are "" if the page has no such fields."""
    across_values: Typed
    down: Typed
    down_values: Typed
    compare: bool
    styles: tuple[ChosenStyle, ...] = Field(max_length=100)

    def form(self) -> GenerateForm:
        """The fields as a form to store and parse."""
        others = self.model_dump(exclude={"count", "count_of_pictures", "what", "place", "compose", "styles"})
        styles = tuple((style.id, style.strength) for style in self.styles[:MOST_STYLES])
        return GenerateForm(**others, count=self.count_of_pictures, compose=self.compose or SUM, styles=styles)


class FormEdited(Fields):
    """A field or a button of the form was used."""

    what: Literal["keep", "restyle", "add", "take-out"]
    place: Whole
    """Index of the style to remove."""


class FormSubmitted(Fields):
    """*Draw* was pressed."""


class GenerationAction(PageEvent):
    """A button at a generation was pressed."""

    what: Literal["use", "keep", "again", "dismiss", "cancel", "cancel-all", "hurry"]
    about: Id = ""
    """The generation's id; for a picture of a comparison `id:index`."""


EDITING = {"form_edited": FormEdited}
DRAWING = {"form_submitted": FormSubmitted}
GENERATIONS = {"asked": GenerationAction}
