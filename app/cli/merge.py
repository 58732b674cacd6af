"""`velatura merge`: several style files as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import print_json, say
from app.cli.options import Json, Overwrite
from app.studio.styles.strengths import about_strengths, read_chosen
from app.units import readable_size
from trainers.errors import VelaturaError


def merge(
    styles: Annotated[list[str], typer.Argument(metavar="FILE[:STRENGTH]…", help="The styles, each at its strength.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The style file to write (.safetensors).")],
    rank: Annotated[
        int | None,
        typer.Option(metavar="R", min=1, max=1024, help="Cut each layer to this rank; default the exact sum."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write the sum of several styles as one plain LoRA, exact or cut to a rank, and say what the cut has lost."""
    from trainers.composition.files import merge_files
    from trainers.formats.embedding import embedding_beside
    from trainers.runs.run import check_free, plain_disk_errors

    if out.suffix != ".safetensors":
        raise VelaturaError(f"cannot write {out.name!r}: the name of a style file ends in .safetensors")
    check_free(out, overwrite)
    with plain_disk_errors(out):
        read = read_chosen(styles)
        notes = [note for style, _ in read for note in style.notes]
        for said in dict.fromkeys((*about_strengths(read), *notes)):
            say((said, "yellow"))
        merged = merge_files(out, read, rank)
    if json:
        print_json({"style": out, "rank": merged.rank, "error": merged.error})
        return
    lost = "exact" if rank is None else f"{merged.error:.1%} of the change is lost"
    say(f"wrote {out} ({readable_size(out.stat().st_size)}): rank {merged.rank}, {lost}")
    for word in filter(None, (embedding_beside(style.path) for style, _ in read)):
        say((f"a word that was trained along is not in it: take {word} too, and say it in prompts", "yellow"))
