"""Two pictures of each method: how it makes the change of a layer out of few numbers, and what it has learned.

The second is made by `python -m benchmarks.pictures`.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from trainers.adapters.about import Formula

STRIPS = Path(str(files("app.ui"))) / "static" / "methods"
SUFFIX = ".webp"
WIDTH, HEIGHT = 176, 56
MIDDLE = HEIGHT / 2


def method_picture(formula: Formula) -> str:
    """The drawing of a kind of formula as SVG."""
    drawings = {
        "low-rank": _lora,
        "hadamard": _loha,
        "kronecker": _lokr,
        "rotation": _oft,
        "scale": _rows,
        "bias": _bias,
        "block": _coat,
    }
    drawn = drawings[formula]()
    return (
        f'<svg class="formula" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" preserveAspectRatio="xMinYMid meet">'
        f"{drawn}</svg>"
    )


def method_strip(name: str, words: str) -> str:
    """What a method has learned, before and after, `words` saying so; nothing where it has not been drawn."""
    if not (STRIPS / f"{name}{SUFFIX}").is_file():
        return ""
    return f'<img class="strip" src="look/methods/{name}{SUFFIX}" alt="{words}" loading="lazy">'


def _lora() -> str:
    """A tall thin matrix times a wide thin one is a square."""
    return _thin(0) + _sign(60, "=") + _square(78)


def _loha() -> str:
    """Two such products, multiplied number by number, are one."""
    return _thin(0) + _sign(57, "⊙") + _thin(64) + _sign(124, "=") + _square(132)


def _lokr() -> str:
    """A small square in which every number becomes a whole block."""
    small = "".join(_box(2 + 8 * (k % 2), MIDDLE - 8 + 8 * (k // 2), 7, 7, 0.35 + 0.18 * k) for k in range(4))
    blocks = "".join(_box(80 + 22 * (k % 2), MIDDLE - 22 + 22 * (k // 2), 21, 21, 0.35 + 0.18 * k) for k in range(4))
    return small + _sign(28, "⊗") + _box(38, MIDDLE - 11, 21, 21, 0.6) + _sign(69, "=") + blocks


def _oft() -> str:
    """Blocks along a diagonal turn the rows of a square."""
    blocks = "".join(_box(2 + 15 * k, MIDDLE - 22 + 15 * k, 14, 14, 0.75) for k in range(3))
    return blocks + _sign(57, "·") + _rest(66) + _sign(121, "=") + _square(132)


def _rows() -> str:
    """A number for each row of a square."""
    scales = "".join(_box(2, MIDDLE - 22 + 7.5 * k, 7, 6.5, 0.3 + 0.11 * (k * 5 % 6)) for k in range(6))
    rows = "".join(_box(80, MIDDLE - 22 + 7.5 * k, 44, 6.5, 0.3 + 0.11 * (k * 5 % 6)) for k in range(6))
    return scales + _sign(16, "⊙") + _rest(23) + _sign(73, "=") + rows


def _bias() -> str:
    """A square as it was, and a row of numbers that is added."""
    return _rest(2) + _sign(55, "+") + _box(64, MIDDLE - 22, 7, 44, 0.75)


def _rest(left: float) -> str:
    """A square that stays as it is."""
    return _box(left, MIDDLE - 22, 44, 44, 0.2)


def _coat() -> str:
    """A square with another over it."""
    return _box(2, MIDDLE - 22, 44, 44, 0.25) + _box(10, MIDDLE - 14, 44, 36, 0.45)


def _thin(left: float) -> str:
    return _box(left + 2, MIDDLE - 22, 7, 44, 0.75) + _box(left + 12, MIDDLE - 22, 40, 7, 0.75)


def _square(left: float) -> str:
    return _box(left, MIDDLE - 22, 44, 44, 0.45)


def _box(x: float, y: float, width: float, height: float, strength: float) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" opacity="{strength:.2f}"/>'


def _sign(x: float, words: str) -> str:
    return f'<text x="{x:g}" y="{MIDDLE + 5:g}" text-anchor="middle">{words}</text>'
