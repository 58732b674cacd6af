"""The rows of the check, and the page that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.clients.check import AS_FAST, DRAWN, FASTER, FURTHEST, LEAST_CHANGE, LOOKS, SET, STEPS, Found
from benchmarks.styles.rows import read_lines
from tools.markdown import table

RESULTS = Path(__file__).parents[1] / "clients.jsonl"
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "lycoris-lora")
HEADINGS = ("method", "files", "client", "mean", "largest", "change", "pictures", "commit")
Row = Mapping[str, Any]


def read(results: Path) -> list[dict[str, Any]]:
    """The rows of each method's last commit, in the file's order; half a line is passed over."""
    rows = list(read_lines(results))
    last = {row["method"]: row["commit"] for row in rows}
    newest = {
        (row["method"], row["client"], *row["files"]): row for row in rows if row["commit"] == last[row["method"]]
    }
    return list(newest.values())


def complaint(row: Row) -> str:
    """What is wrong with a row; empty if nothing is."""
    return str(row["error"]) if "error" in row else Found(row["mean"], row["largest"], row["change"]).complaint


def failures(rows: Sequence[Row], methods: Sequence[str]) -> list[str]:
    """Of these methods, those with a row that something is wrong with, or with none."""
    right = {row["method"] for row in rows} - {row["method"] for row in rows if complaint(row)}
    return [method for method in methods if method not in right]


def page(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """The page `docs/clients.md`."""
    ordered = sorted(rows, key=lambda row: methods.index(row["method"]))
    right = sum(not complaint(row) for row in rows)
    missing = [f"`{method}`" for method in methods if method not in {row["method"] for row in rows}]
    lines = [
        "# What other programs draw",
        "",
        f"Each method was trained for {STEPS} steps on the {SET} images with its preset, at {FASTER:g} times the "
        f"learning rate (only {' and '.join(AS_FAST)} at the preset's rate). A process without Velatura's code then "
        "loaded the files on the same base in fp32: in diffusers as the run's `how-to-load.txt` says, or with the "
        "LyCORIS library's kohya module if diffusers cannot read the format or has a file of its own. If both would "
        "lose something, a separate `velatura generate` loaded them. The process then drew "
        f"{' and '.join(DRAWN)} as the trainer had at the end: same seed, sampler, guidance and {LOOKS} steps.",
        "",
        "*Mean* and *largest* are absolute differences between the client's picture and the trainer's in 255ths; the "
        "mean is that of the worst channel of the worst picture. *Change* is the mean difference between the trainer's "
        "picture and the bare base's, the smallest over the pictures. A row passes with a mean of at most "
        f"{FURTHEST:g} and a change of at least {LEAST_CHANGE:g}: {right} of {len(rows)} pass."
        + (f" Not checked yet: {', '.join(missing)}." if missing else ""),
        "",
        f"Written by `make clients`; {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}.",
        "",
        *table(HEADINGS, [*map(_cells, ordered)]),
        "",
    ]
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    files = ", ".join(f"`{name}`" for name in row["files"])
    figures = ["–"] * 3 if "error" in row else [f"{row['mean']:.4f}", str(row["largest"]), f"{row['change']:.1f}"]
    said = complaint(row).replace("\n", " ")
    return [f"`{row['method']}`", files, row["client"], *figures, said or "the same", row["commit"]]
