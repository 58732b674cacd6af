"""Reads Prometheus' text format strictly: every sample belongs to a family that was announced, and none comes twice."""

from __future__ import annotations

import re

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?[0-9.e+-]+|\+Inf)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def read_figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Values by name and labels. AssertionError where the text is not in the format."""
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds and kind in ("gauge", "counter", "histogram")
            kinds[name] = kind
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            family = re.sub(r"_(bucket|sum|count)$", "", sample[1])
            assert kinds.get(sample[1]) in ("gauge", "counter") or kinds.get(family) == "histogram", line
            key = sample[1], frozenset(LABEL.findall(sample[2] or ""))
            assert key not in found, line
            found[key] = float(sample[3])
    return found
