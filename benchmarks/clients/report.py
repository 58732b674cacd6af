"""The rows of the check, and the page that shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.clients.check import AS_FAST, DRAWN, FASTER, FURTHEST, LEAST_CHANGE, LOOKS, SET, STEPS, Found
from benchmarks.pages import table

RESULTS = Path(__file__).parents[1] / "clients.jsonl"
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "lycoris-lora")
HEADINGS = ("method", "files", "client", "mean", "largest", "change", "pictures", "commit")
Row = Mapping[str, Any]


def read(results: Path) -> list[dict[str, Any]]:
    """The rows of each method's last commit, in the file's order; half a line is passed over."""
    rows = []
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else []:
        try:
            rows.append(dict(json.loads(line)))
        except ValueError:
            continue
    last = {row["method"]: row["commit"] for row in rows}
    newest = {
        (row["method"], row["client"], *row["files"]): row for row in rows if row["commit"] == last[row["method"]]
    }
    return list(newest.values())


def append(results: Path, row: Row) -> None:
    """Add a line; one that a kill cut short is ended first."""
    cut = results.exists() and results.stat().st_size and not results.read_bytes().endswith(b"\n")
    with results.open("a", encoding="utf-8") as file:
        file.write("\n" * bool(cut) + json.dumps(row) + "\n")


def complaint(row: Row) -> str:
    """What is wrong with a row; empty where nothing is."""
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
        f"Each method was trained for {STEPS} steps on the {SET} images by the preset that bears its name, at "
        f"{FASTER:g} times its learning rate ({' and '.join(AS_FAST)} at the rate itself). A process that has none of "
        "Velatura's code then loaded the files on the same base in fp32 (as the run's `how-to-load.txt` says in "
        "diffusers; by the LyCORIS library's kohya module where diffusers has no form, or one of its own; where that "
        "would leave something out, `velatura generate` did in a process of its own) and "
        f"drew {' and '.join(DRAWN)} as the trainer had at the end: same seed, sampler, guidance and {LOOKS} steps.",
        "",
        "*Mean* and *largest* are the absolute difference between the client's picture and the trainer's in 255ths, "
        "the mean that of the worst channel of the worst picture; *change* is the mean difference between the "
        "trainer's picture and that of the bare base, the least of the pictures. A row holds with a mean of at most "
        f"{FURTHEST:g} and a change of at least {LEAST_CHANGE:g}: {right} of {len(rows)} do."
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
    said = complaint(row).replace("|", "\\|").replace("\n", " ")
    return [f"`{row['method']}`", files, row["client"], *figures, said or "the same", row["commit"]]
