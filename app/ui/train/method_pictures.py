"""Two pictures of each method: a diagram of its formula, and an example of its result.

`python -m benchmarks.pictures` makes the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.ui.document.assets import STATIC, asset
from trainers.adapters.about import Formula

SUFFIX = ".webp"
MIDDLE = 28
"""Half the height of a diagram of 176 × 56."""


@dataclass(frozen=True)
class Box:
    """A rectangle, the darker the larger its share of the change."""

    x: float
    y: float
    width: float
    height: float
    strength: float
    """Opacity."""


@dataclass(frozen=True)
class Sign:
    """A sign of the formula, centred at `x`."""

    x: float
    words: str
    y: float = MIDDLE + 5


Shapes = Sequence[Box | Sign]


def draw_formula(formula: Formula) -> Shapes:
    """The diagram of a kind of formula."""
    drawings = {
        "low-rank": _lora,
        "hadamard": _loha,
        "kronecker": _lokr,
        "rotation": _oft,
        "scale": _rows,
        "bias": _bias,
        "block": _coat,
    }
    return drawings[formula]()


def find_picture(name: str) -> str:
    """The URL of a bundled picture; "" if it does not exist."""
    return asset(f"{name}{SUFFIX}") if (STATIC / f"{name}{SUFFIX}").is_file() else ""


def _lora() -> Shapes:
    """A tall thin matrix times a wide thin one gives a square."""
    return *_thin(0), Sign(60, "="), _square(78)


def _loha() -> Shapes:
    """Two such products multiplied element by element give one."""
    return *_thin(0), Sign(57, "⊙"), *_thin(64), Sign(124, "="), _square(132)


def _lokr() -> Shapes:
    """Each element of a small square becomes a block."""
    small = [Box(2 + 8 * (k % 2), MIDDLE - 8 + 8 * (k // 2), 7, 7, 0.35 + 0.18 * k) for k in range(4)]
    blocks = [Box(80 + 22 * (k % 2), MIDDLE - 22 + 22 * (k // 2), 21, 21, 0.35 + 0.18 * k) for k in range(4)]
    return *small, Sign(28, "⊗"), Box(38, MIDDLE - 11, 21, 21, 0.6), Sign(69, "="), *blocks


def _oft() -> Shapes:
    """Diagonal blocks rotate the rows of a square."""
    blocks = [Box(2 + 15 * k, MIDDLE - 22 + 15 * k, 14, 14, 0.75) for k in range(3)]
    return *blocks, Sign(57, "·"), _rest(66), Sign(121, "="), _square(132)


def _rows() -> Shapes:
    """A factor for each row of a square."""
    scales = [Box(2, MIDDLE - 22 + 7.5 * k, 7, 6.5, 0.3 + 0.11 * (k * 5 % 6)) for k in range(6)]
    rows = [Box(80, MIDDLE - 22 + 7.5 * k, 44, 6.5, 0.3 + 0.11 * (k * 5 % 6)) for k in range(6)]
    return *scales, Sign(16, "⊙"), _rest(23), Sign(73, "="), *rows


def _bias() -> Shapes:
    """An unchanged square and a row that is added."""
    return _rest(2), Sign(55, "+"), Box(64, MIDDLE - 22, 7, 44, 0.75)


def _coat() -> Shapes:
    """A square on top of another."""
    return Box(2, MIDDLE - 22, 44, 44, 0.25), Box(10, MIDDLE - 14, 44, 36, 0.45)


def _thin(left: float) -> Shapes:
    return Box(left + 2, MIDDLE - 22, 7, 44, 0.75), Box(left + 12, MIDDLE - 22, 40, 7, 0.75)


def _rest(left: float) -> Box:
    """An unchanged square."""
    return Box(left, MIDDLE - 22, 44, 44, 0.2)


def _square(left: float) -> Box:
    return Box(left, MIDDLE - 22, 44, 44, 0.45)
