"""Commands for style files: `velatura inspect`, `velatura merge` and `velatura extract`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import Json, Overwrite
from app.units import readable_size
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from trainers.formats.inspect import StyleSummary
    from trainers.ranks.history import RankHistory

commands = typer.Typer()

LONGEST_VALUE = 100
"""Maximum characters shown of a metadata value; some are whole configs or tag lists."""


@commands.command(epilog="Example: velatura inspect outputs/dusk/style/dusk.safetensors")
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Style file from any program, or a run folder.")],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    json: Json = False,
) -> None:
    """Show a style file's method, base, rank, alpha, words, tensors, metadata, and which programs load it."""
    show_style(file, tensors, json)


@commands.command(epilog="Example: velatura merge dusk.safetensors:0.8 ink.safetensors:0.5 --out both.safetensors")
def merge(
    styles: Annotated[
        list[str], typer.Argument(metavar="FILE[:STRENGTH]…", help="Style files, each with its strength.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Style file to write (.safetensors).")],
    rank: Annotated[
        int | None,
        typer.Option(metavar="R", min=1, max=1024, help="Truncate each layer to this rank; default the exact sum."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write the sum of several styles as one plain LoRA, exact or truncated to a rank with a report of the loss."""
    from app.studio.styles.strengths import about_merging, about_strengths, read_chosen
    from trainers.atomic_files import check_free, plain_disk_errors
    from trainers.composition.merge import merge_files
    from trainers.formats.embedding import embedding_of

    if out.suffix != ".safetensors":
        raise VelaturaError("cannot write {name!r}: the name of a style file must end in .safetensors", name=out.name)
    check_free(out, overwrite)
    with plain_disk_errors(out):
        read = read_chosen(styles)
        notes = [note for style, _ in read for note in style.notes]
        for note in dict.fromkeys((*about_strengths(read), *about_merging(read), *notes)):
            say((note, "yellow"))
        merged = merge_files(out, read, rank)
    if json:
        print_json({"style": out, "rank": merged.rank, "error": merged.error})
        return
    lost = "exact" if rank is None else f"{merged.error:.1%} of the change is lost"
    say(f"wrote {out} ({readable_size(out.stat().st_size)}): rank {merged.rank}, {lost}")
    for word in filter(None, (embedding_of(style.path) for style, _ in read)):
        say(
            (
                f"it does not contain the word trained with the style: also use {word}, and write the word in prompts",
                "yellow",
            )
        )


@commands.command(
    epilog="Example: velatura extract tuned.safetensors --base sd15.safetensors --rank 32 --out tuned-lora.safetensors"
)
def extract(
    tuned: Annotated[str, typer.Argument(metavar="TUNED", help="Fine-tuned base: a checkpoint, folder or hub id.")],
    base: Annotated[str, typer.Option(metavar="BASE", help="The base that it was tuned from.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Style file to write (.safetensors).")],
    rank: Annotated[int, typer.Option(metavar="R", min=1, max=1024, help="Rank of each layer.")] = 32,
    unet: Annotated[str, typer.Option(metavar="LAYERS", help="Layers of the UNet, as in targets.unet.")] = "full",
    text_encoder: Annotated[
        str, typer.Option(metavar="LAYERS", help="Layers of the text encoders, as in targets.text_encoder.")
    ] = "attn-mlp",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write what a fine-tuned base has learned as a plain LoRA of its base, and say how much of it is lost."""
    import torch

    from trainers.adapters.targets import Targets
    from trainers.atomic_files import check_free, plain_disk_errors
    from trainers.config.sections import Base
    from trainers.formats.write.difference import write_difference
    from trainers.formats.write.metadata import base_metadata
    from trainers.models.load import load_model

    if out.suffix != ".safetensors":
        raise VelaturaError("cannot write {name!r}: the name of a style file must end in .safetensors", name=out.name)
    check_free(out, overwrite)
    learned, plain = (load_model(Base(model=name), torch.float32, "cpu") for name in (tuned, base))
    with plain_disk_errors(out):
        targets, metadata = Targets(unet=unet, text_encoder=text_encoder), base_metadata(out.stem, plain, time.time())
        difference = write_difference(out, learned, plain, rank, targets, metadata)
    if json:
        print_json({"style": out, "rank": rank, "layers": difference.layers, "error": difference.error})
        return
    size = readable_size(out.stat().st_size)
    say(f"wrote {out} ({size}): rank {rank}, {difference.layers} layers, {difference.error:.1%} of the change is lost")


def show_style(path: Path, tensors: bool, as_json: bool) -> None:
    """Print a summary of a style file or of a run's style; in a run folder, also its rank history.

    VelaturaError if the folder has none.
    """
    from app.cli.models import is_base, show_base
    from trainers.formats.limits import read_style_header

    if is_base(path):
        show_base(path, as_json)
        return
    if not path.is_dir():
        read_style_header(path)  # before torch is loaded, which takes seconds

    from app.studio.runs.chosen import chosen_style
    from trainers.formats.inspect import describe_style
    from trainers.models.bases.recognise import describe, recognise_name

    file = chosen_style(path) if path.is_dir() else path
    if file is None:
        raise VelaturaError(
            "{path} is a folder without a style; give a style file, or the folder of a finished run", path=path
        )
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
        "base": ", ".join(filter(None, (base.name, base.title if base.twins else base.family))) or "not in the file",
        "known as": describe(recognise_name(base.name, base.family)) if base.name else "",
        "fits only": base.fits_only,
        "loads in": "Velatura only" if summary.only_here else "",
        "rank": ranks,
        "alpha in the file": _alphas(summary),
        "tokens": str(summary.vectors or ""),
        "trained words": ", ".join(summary.trained_words),
        "captions (the most frequent)": ", ".join((*summary.captions[:5], *"…"[: len(summary.captions) - 5])),
        "layers": ", ".join(f"{count} in {part}" for part, count in summary.modules.items()),
        "parameters in the file": f"{summary.parameters:,}",
        "size": readable_size(summary.size),
    }
    print_table(("", summary.name), [(key, value) for key, value in facts.items() if value])
    if summary.programs:
        print_table(("program", "this file"), [(reader.program, reader.sentence) for reader in summary.programs])
    for note in summary.notes:
        say((note, "yellow"))
    show_ranks(summary, file.absolute().parent.parent)
    if summary.metadata:
        print_table(("metadata", ""), [(key, _cut(value)) for key, value in sorted(summary.metadata.items())])
    if tensors:
        rows = [(t.key, "×".join(map(str, t.shape)) or "scalar", t.dtype) for t in summary.tensors]
        print_table(("tensor", "shape", "format"), rows)
    else:
        say(f"{len(summary.tensors)} tensors; --tensors lists them, --json prints everything in full")


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"


def _method(summary: StyleSummary) -> str:
    """The method in the file, and the trained method if its name differs."""
    known = summary.trained_as not in ("", summary.method)
    return f"{summary.method} (trained as {summary.trained_as})" if known else summary.method


def _alphas(summary: StyleSummary) -> str:
    """The meaningful alphas: LyCORIS expects one even for methods without alpha, where it is 0."""
    from trainers.adapters.method import RankedMethod
    from trainers.adapters.methods import METHODS

    if summary.vectors:
        return ""
    kinds = [METHODS.get(name, RankedMethod) for name in summary.method.split("+")]
    ranked = any(issubclass(kind, RankedMethod) for kind in kinds)
    return ", ".join(f"{alpha:g}" for alpha in summary.alphas if alpha or ranked) or "–"


def show_ranks(summary: StyleSummary, run: Path) -> None:
    """Print the rank of each layer if they differ, and the rank history if the method changes them."""
    from trainers.adapters.methods import METHODS
    from trainers.layer_names import by_block
    from trainers.ranks.history import read_ranks
    from trainers.runs.run import is_run

    history = read_ranks(run) if is_run(run) else None
    known = history is not None and history.rank_info.moves
    every = _with_closed(summary.ranks, history) if history is not None and known else summary.ranks
    if len(set(every.values())) > 1:
        print_table(("block", "rank of each layer"), by_block(every))
        infos = [METHODS[name].about.ranks for name in summary.trained_as.split("+") if name in METHODS]
        if not known and any(info is not None and info.moves for info in infos):
            say("the file omits layers whose rank fell to zero, so they are not listed")
    if history is not None:
        _show_history(history)


def _with_closed(ranks: Mapping[str, int], history: RankHistory) -> Mapping[str, int]:
    """The ranks in a run's file, and 0 for layers that are not in it.

    SDXL files name layers differently from the run: then use the run's last record.
    """
    from trainers.layer_names import dotted

    noted = {dotted(layer): rank for layer, rank in history.final.items()}
    if not ranks.keys() <= noted.keys():
        return noted
    # A file may hold some of the layers, like B-LoRA's halves: a missing layer is closed only if the run recorded it.
    return {layer: ranks.get(layer, 0) for layer, rank in noted.items() if layer in ranks or not rank}


def _show_history(history: RankHistory) -> None:
    from trainers.ranks.history import MARKS, summarise

    first, last = history.steps[0], history.steps[-1]
    mean_of = "mean rank" if history.rank_info.moves else f"{history.rank_info.word}, mean"
    title = f"{mean_of} ({MARKS[-1]} = {history.largest}), step {first} to {last}"
    rows = [(name, line, f"{mean:.1f}") for name, line, mean in summarise(history)]
    print_table(("block", title, "at the end"), rows)
    if history.rank_info.hint:
        say(history.rank_info.hint)
