"""`velatura inspect`, `velatura methods` and `velatura models`: what a file is, which methods and bases there are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from app.cli.console import answers, notes, print_json, print_paragraphs, print_table, say
from app.cli.listing_ranks import show_ranks
from app.units import readable_size

if TYPE_CHECKING:
    from trainers.formats.inspect import StyleSummary

LETTERS = (
    "in, out: a layer's widths; k: the side of its kernel, 1 where it has none; r: the rank; u v: the widths, each as "
    "a product of two; b: the block size; m: an adapter's width, of BOFT the number of its factors; n: tokens, each d "
    "or in_text numbers wide"
)
WIDE = 130
"""Columns from which on a table of five is easier to read than a paragraph for each of its rows."""
LONGEST_VALUE = 100
"""Letters of a metadata value that are shown; whole configs and tag lists are among them."""


def show_style(path: Path, tensors: bool, as_json: bool) -> None:
    """Print what a style file is, or that of a run's folder; where it lies in one, also where its rank went.

    VelaturaError where the folder has none.
    """
    from trainers.errors import VelaturaError
    from trainers.formats.embedding import style_of_run
    from trainers.formats.inspect import describe_style

    file = style_of_run(path) if path.is_dir() else path
    if file is None:
        raise VelaturaError(f"{path} is a folder without a style; name a style file, or the folder of a finished run")
    summary = describe_style(file)
    if as_json:
        print_json(summary.model_dump(mode="json"))
        return
    rank, base = summary.rank, summary.base
    ranks = "" if summary.vectors else "–"
    if rank is not None:
        ranks = f"{rank.most_common}" if rank.smallest == rank.largest else f"{rank.smallest} to {rank.largest}"
    facts = {
        "method": _method(summary),
        "base": ", ".join(filter(None, (base.name, base.family))) or "the file does not say",
        "fits only": base.fits_only,
        "loads in": "Velatura only" if summary.only_here else "",
        "rank": ranks,
        "alpha in the file": _alphas(summary),
        "tokens": str(summary.vectors or ""),
        "trained words": ", ".join(summary.trained_words),
        "captions (the most frequent)": ", ".join((*summary.captions[:5], *"…"[: len(summary.captions) - 5])),
        "layers": ", ".join(f"{count} in {part}" for part, count in summary.modules.items()),
        "numbers in the file": f"{summary.parameters:,}",
        "size": readable_size(summary.size),
    }
    print_table(("", summary.name), [(key, value) for key, value in facts.items() if value])
    for note in summary.notes:
        say((note, "yellow"))
    show_ranks(summary.ranks, file.absolute().parent.parent)
    if summary.metadata:
        print_table(("metadata", ""), [(key, _cut(value)) for key, value in sorted(summary.metadata.items())])
    if tensors:
        rows = [(t.key, "×".join(map(str, t.shape)) or "scalar", t.dtype) for t in summary.tensors]
        print_table(("tensor", "shape", "format"), rows)
    else:
        say(f"{len(summary.tensors)} tensors; --tensors lists them, --json gives everything in full")


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"


def _method(summary: StyleSummary) -> str:
    """What the file holds, and what it was trained as where that is called otherwise."""
    known = summary.trained_as not in ("", summary.method)
    return f"{summary.method} (trained as {summary.trained_as})" if known else summary.method


def _alphas(summary: StyleSummary) -> str:
    """The alphas that mean something: LyCORIS wants one of methods that have none, and it is 0 there."""
    from trainers.adapters.method import RankedMethod
    from trainers.adapters.methods import METHODS

    if summary.vectors:
        return ""
    kinds = [METHODS.get(name, RankedMethod) for name in summary.method.split("+")]
    ranked = any(issubclass(kind, RankedMethod) for kind in kinds)
    return ", ".join(f"{alpha:g}" for alpha in summary.alphas if alpha or ranked) or "–"


def show_methods(as_json: bool) -> None:
    """Print the methods, and the techniques beside them."""
    from trainers.config.techniques import list_techniques

    techniques = list_techniques()
    if as_json:
        print_json([asdict(one) for one in techniques])
        return
    heads = ("method", "paper", "numbers a layer", "places", "what for")
    rows = [(one.name, one.paper, one.parameters, ", ".join(one.places), one.summary) for one in techniques]
    if answers().width >= WIDE:
        print_table(heads, rows)
    else:
        print_paragraphs(heads, rows)
    say(LETTERS)
    say("use one with --preset METHOD; --json also says which setting turns it on")


def show_models(as_json: bool) -> None:
    """Print the base models found on this machine."""
    from trainers.models.files.find import find_models

    rows = [
        {"name": found.name, "family": found.family.name, "kind": found.kind, "path": str(found.path)}
        for found in find_models()
    ]
    if as_json:
        print_json(rows)
        return
    # What is found by its path is called by it: once is enough.
    shown = [(*list(row.values())[:3], "" if row["path"] == row["name"] else row["path"]) for row in rows]
    print_table(("model", "family", "kind", "path"), shown)
    say("use one with --base MODEL; download one with: velatura models get OWNER/NAME")


def download(identifier: str) -> None:
    """Download a base from the hub, with a progress bar."""
    from trainers.models.files.download import download_model

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = notes()
    if not console.is_terminal:
        say(f"downloading {identifier}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(identifier, total=None)
        path = download_model(identifier, lambda done, total: bar.update(task, completed=done, total=total))
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say(f"{identifier} is here now ({readable_size(size)}): train on it with --base {identifier}")
