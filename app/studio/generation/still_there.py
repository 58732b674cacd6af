"""Whether what a request was resolved to is still there when its turn comes."""

from __future__ import annotations

from pathlib import Path

from app.studio.generation.request import GenerateRequest
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.files.hub import local_path

LOST_STYLE = _("the style “{name}” has been deleted since; choose another one")
LOST_STEP = _("step {step} of “{name}” has been deleted since; choose another one")
LOST_BASE = _("the base model {name} is no longer on this computer; choose another one, or put it back")


def check_there(request: GenerateRequest) -> None:
    """Raise VelaturaError if a style or the base of a resolved request has been deleted since it was queued."""
    for style in request.styles:
        if style.path is not None and not style.path.is_file():
            raise VelaturaError(LOST_STYLE.format(name=style.name))
    for axis in request.axes:
        for step, path in zip(axis.values, axis.paths, strict=False):
            if not path.is_file():
                raise VelaturaError(LOST_STEP.format(step=step, name=request.styles[0].name))
    place = Path(request.base)
    if (place.is_absolute() or request.base.startswith("~")) and local_path(request.base) is None:
        raise VelaturaError(LOST_BASE.format(name=place.name))
