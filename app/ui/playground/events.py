"""What the scripts of the Playground may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from app.studio.generation.form import MOST_STYLES, GenerateForm
from app.studio.generation.options import FOLDED
from app.ui.components.events import Id, PageEvent, Typed, Whole
from trainers.composition.ways import SUM


class ChosenStyle(PageEvent):
    """A style in the fields, and its strength as it was typed."""

    id: Id
    strength: Id


def _with_all_names(options: dict[str, str]) -> dict[str, str]:
    if options.keys() != {option.name for option in FOLDED}:
        raise ValueError("other options than the form has")
    return options


class Fields(PageEvent):
    """What stands in the fields."""

    count: Whole
    """Of the page's request, by which it knows the answer."""
    prompt: Typed
    options: Annotated[dict[str, Typed], AfterValidator(_with_all_names)]
    """The folded options, by name."""
    count_of_pictures: Typed
    compose: Typed
    """Empty where there are not several styles: then the page does not ask."""
    each: bool
    across: Typed
    """What is compared along a row; the next three empty where the page does not ask."""
    across_values: Typed
    down: Typed
    down_values: Typed
    compare: bool
    styles: tuple[ChosenStyle, ...] = Field(max_length=100)

    def form(self) -> GenerateForm:
        """The same as it is kept and parsed."""
        others = self.model_dump(exclude={"count", "count_of_pictures", "what", "place", "compose", "styles"})
        styles = tuple((style.id, style.strength) for style in self.styles[:MOST_STYLES])
        return GenerateForm(**others, count=self.count_of_pictures, compose=self.compose or SUM, styles=styles)


class FormEdited(Fields):
    """Something was typed, chosen or pressed in the form."""

    what: Literal["keep", "restyle", "add", "take-out"]
    place: Whole
    """Of the style that is taken out, the first being 0."""


class FormSubmitted(Fields):
    """Something is to be drawn."""


class GenerationAction(PageEvent):
    """A button at a generation was pressed."""

    what: Literal["use", "keep", "again", "dismiss", "cancel", "cancel-all", "hurry"]
    about: Id = ""
    """Which generation; of a picture that is to be kept also its place, behind a colon."""


EDITING = {"form_edited": FormEdited}
DRAWING = {"form_submitted": FormSubmitted}
GENERATIONS = {"asked": GenerationAction}
