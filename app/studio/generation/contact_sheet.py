"""Labelled contact sheets of a request's pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.studio.generation.axes import Value
from app.studio.generation.request import GenerateRequest
from trainers.config.limits import AxisKind

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST, LEAST, MOST_CELL = 4096, 128, 512
"""Approximate side of a sheet, and limits of a picture's side on it, in pixels."""
LINE = 90
"""Maximum characters of a prompt."""
LABELS: dict[AxisKind, str] = {
    "strength": "strength {}",
    "second_strength": "second style {}",
    "step": "step {}",
    "guidance": "CFG {}",
    "seed": "seed {}",
    "steps": "{} steps",
}


class ContactSheet:
    """Collects the pictures of a request, reduced, and lays them out by its axes."""

    def __init__(self, request: GenerateRequest) -> None:
        self._request = request
        axes = request.axes
        self.columns = [_label(request, axes[0].kind, value) for value in axes[0].values]
        self.rows = [_label(request, axes[1].kind, value) for value in axes[1].values] if len(axes) > 1 else [""]
        self._cell = max(LEAST, min(MOST_CELL, LARGEST // max(len(self.columns), len(self.rows))))
        self._pictures: dict[int, Image] = {}

    def add(self, place: int, picture: Image) -> None:
        """Add a picture by its index, row by row."""
        reduced = picture.copy()
        reduced.thumbnail((self._cell, self._cell))
        self._pictures[place] = reduced

    def image(self) -> Image:
        """The finished sheet."""
        from PIL import Image

        from trainers.sampling.grid import PAPER, make_grid

        size = next(iter(self._pictures.values())).size
        empty = Image.new("RGB", size, PAPER)
        wide = len(self.columns)
        rows = [
            (name, [self._pictures.get(row * wide + column, empty) for column in range(wide)])
            for row, name in enumerate(self.rows)
        ]
        return make_grid(rows, self.columns, textwrap.shorten(self._request.prompt, LINE, placeholder=" …"), max(size))

    def parameters(self) -> dict[str, Any]:
        """Metadata of the sheet."""
        request = self._request
        axes = {axis.kind: axis.values for axis in request.axes}
        styles = [(style.path.name if style.path else style.name, style.strength) for style in request.styles]
        return {"prompts": request.prompts, "styles": styles, "axes": axes}


def _label(request: GenerateRequest, kind: AxisKind, value: Value) -> str:
    """The label of a value on an axis of a request."""
    if kind == "style":
        style = request.styles[int(value) - 1]
        return style.name or (style.path.stem if style.path else style.style)
    return label(kind, value)


def label(kind: AxisKind, value: Value) -> str:
    """The label of a value that is not a style."""
    written = f"{value:g}" if isinstance(value, float) else str(value)
    return LABELS.get(kind, "{}").format(written)


def file_ending(request: GenerateRequest, values: Sequence[tuple[AxisKind, Value]]) -> str:
    """The ending of a picture's file name, from its values."""
    strengths = [f"{value:g}" for kind, value in values if kind in ("strength", "second_strength")]
    others = [_label(request, kind, value) for kind, value in values if kind not in ("strength", "second_strength")]
    return " ".join([*([f"at {' and '.join(strengths)}"] if strengths else []), *others])
