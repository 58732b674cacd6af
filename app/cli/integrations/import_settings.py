"""`velatura import`: converts settings of kohya_ss, sd-scripts, OneTrainer and ai-toolkit to a config."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common.console import print_json, say
from app.cli.common.options import Json, Overwrite
from app.units import counted
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from app.studio.settings.epochs import Pictures
    from app.studio.settings.imports.report import Imported, Left, Unsaid
    from trainers.planning.findings import Finding

commands = typer.Typer()

NAMED_FILES = {"dataset_config": "datasets", "concept_file_name": "concepts", "sample_prompts": ""}
"""Settings that name another file, which is read if it exists and its table is missing."""
BASES = ("pretrained_model_name_or_path", "base_model_name", "unet.model_name", "model.name_or_path")
"""Settings that name the base."""
HERE = {
    "base": "it is not on this machine, nor a file of its name; choose it with --base (see `velatura models`)",
    "hub": "a model of the hub; choose it with --base after `velatura models get`",
    "epochs": "epochs have a length with --images, a folder with repeats in its subfolders' names; or set --steps",
    "prior": "without a folder of this machine the base draws the class images: --set prior.prompt, prior.folder",
    "dataset": "that file is not here; give it as well",
    "concepts": "that file is not here; give it as well",
    "start": "that file is not here, or has no counterpart; `velatura train --start-from` trains a style on",
}
"""Reasons with another sentence on the command line than on pages."""


@commands.command(name="import", epilog="Example: velatura import kohya.json --images my-paintings --out dusk.toml")
def import_settings(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="Config (JSON, TOML, YAML), style file, dataset config, or a script or text with a command line of "
            "train_network.py; several are read as one, with kohya's prompts in a .txt; - is standard input.",
        ),
    ],
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="Folder of images, whose repeats turn epochs into steps; default that in the file, if it is here.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Config to write (.toml); default standard output.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Change what this computer or the base cannot train, and epochs to steps.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Turn settings of kohya_ss, sd-scripts, OneTrainer or ai-toolkit into a config; report what is taken and left."""
    import tomli_w

    from app.studio.settings.epochs import each_once
    from app.studio.settings.imports.read import read_foreign
    from trainers.atomic_files import check_free, plain_disk_errors, whole_file

    if out is not None:
        check_free(out, overwrite)
    table = read_tables(files)
    folder = joined_folder(folders := [images] if images else find_folders(table))
    pictures, bases = count_folders(folders), find_here(table)
    imported = read_foreign(table, pictures, bases)
    if imported is not None and imported.findings and repair:
        imported = read_foreign(table, each_once(pictures), bases)
    if imported is None:
        raise VelaturaError("{files}: these are no settings of another trainer", files=", ".join(files))
    config, findings = repaired(imported, repair)
    unsaid = left_to_preset(imported, config)
    if folder:
        config["data"] = {**config.get("data", {}), "images": str(Path(folder).resolve())}
    if json:
        print_json({"program": imported.program, "config": config, **_listed(imported, findings, unsaid)})
    else:
        for line in (*report_lines(imported), *unsaid_lines(unsaid), *finding_lines(findings, repair)):
            say(*line)
    written = tomli_w.dumps(config)
    if out is not None:
        with plain_disk_errors(out), whole_file(out) as building:
            building.write_text(written, encoding="utf-8")
        missing = ("" if has_base(imported) else " --base BASE") + ("" if folder else " --images DIR")
        say(f"wrote {out}; train it with: velatura train {shlex.quote(str(out))}{missing}")
    elif not json:
        sys.stdout.write(written)


def read_tables(files: Sequence[str], before: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """Read several files, and the files that they name, as one table.

    `before` has tables of files already read, by name. VelaturaError if one cannot be read.
    """
    from app.studio.settings.imports.read import check_size, join_tables, read_file

    tables = dict(before or {})
    for name in files:
        try:
            tables[name] = read_file(name, _read(name))
        except VelaturaError as error:
            if len(files) == 1 or not name.lower().endswith(".txt"):
                raise VelaturaError("{file}: {reason}", file=name, reason=error.message) from error
            tables[name] = {"sample_prompts": _read(name, "replace")}
        except (OSError, ValueError) as error:
            raise VelaturaError("{file} cannot be read: {reason}", file=name, reason=error) from error
    table = join_tables(tables.values())
    for section in (table, *(each for each in table.values() if isinstance(each, dict))):
        for name, part in NAMED_FILES.items():
            named = Path(str(section.get(name) or ""))
            if not (_is_here(str(named)) and named.is_file()):
                continue
            if part and not table.get(part) and str(named) not in tables:
                return read_tables([str(named)], tables)
            if name == "sample_prompts" and named.suffix == ".txt":
                section[name] = _read(str(named), "replace")
    check_size(table)
    return table


def _read(file: str, errors: str = "strict") -> str:
    """The text of a file or of standard input, up to the limit of settings."""
    from app.studio.settings.imports.read import LONGEST, MOST_LETTERS

    if file == "-":
        return sys.stdin.read(MOST_LETTERS + 1)
    if file.lower().endswith(".safetensors"):
        from trainers.formats.read import read_outline

        metadata = read_outline(Path(file)).metadata
        return dumps({name: text for name, text in metadata.items() if len(text) < LONGEST})
    with Path(file).open(encoding="utf-8-sig", errors=errors) as opened:
        return opened.read(MOST_LETTERS + 1)


def find_folders(table: Mapping[str, Any]) -> list[str]:
    """The folders of images that the settings name, if all exist; empty otherwise."""
    from app.studio.settings.imports import kohya_datasets, onetrainer

    shares = kohya_datasets.read_shares(table) if kohya_datasets.is_dataset_config(table) else []
    folders = [share.folder for share in shares or onetrainer.read_shares(table)]
    folders = folders or list(_named(table, "train_data_dir"))[:1]
    return folders if all(_is_here(folder) and Path(folder).is_dir() for folder in folders) else []


def joined_folder(folders: Sequence[str]) -> str:
    """The parent of several folders if it contains nothing else; empty otherwise."""
    from trainers.data.ingest import list_folder

    if len(folders) < 2:
        return "".join(folders)
    parent = Path(folders[0]).parent
    wanted = {image for folder in folders for image in list_folder(Path(folder)).images}
    return str(parent) if parent.is_dir() and set(list_folder(parent).images) == wanted else ""


def find_here(table: Mapping[str, Any]) -> list[str]:
    """Existing paths that the settings name as base, style to start from and class images, and all known bases."""
    from trainers.models.bases.find import find_models

    names = ("pretrained_model_name_or_path", "network_weights", "lora_network_weights", "reg_data_dir")
    named = [path for name in names for path in _named(table, name) if _is_here(path)]
    return [*named, *(model.name for model in find_models())]


def _is_here(path: str) -> bool:
    """Whether a path exists; values may be longer than paths."""
    with suppress(OSError, ValueError):
        return bool(path) and Path(path).exists()
    return False


def _named(table: Mapping[str, Any], name: str) -> Iterator[str]:
    for section in (table, *(each for each in table.values() if isinstance(each, Mapping))):
        if isinstance(path := section.get(name), str) and path:
            yield path


def count_folders(folders: Sequence[str]) -> Pictures:
    """The images of folders with their repeats. VelaturaError if one is not a folder."""
    from app.studio.settings.epochs import count_names
    from trainers.data.ingest import list_folder

    names: list[str] = []
    for folder in folders:
        root = folder if len(folders) == 1 else Path(folder).parent
        names += [str(image.relative_to(root)) for image in list_folder(Path(folder)).images]
    return count_names(names)


def has_base(imported: Imported) -> bool:
    """Whether the base that the settings name is here, or they name none."""
    return "model" in imported.table.get("base", {}) or not any(left.name in BASES for left in imported.left)


def repaired(imported: Imported, repair: bool) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """The settings, with `repair` repaired, and findings about this computer or the base."""
    from app.studio.settings.plan import UNNAMED, nested
    from trainers.config.build import build_config
    from trainers.config.tables import lay_over
    from trainers.planning.findings import changes_of, find_ahead

    ahead = find_ahead(build_config({"name": UNNAMED}, imported.table), has_base=has_base(imported))
    findings = (*imported.findings, *ahead)
    return dict(lay_over(imported.table, nested(changes_of(findings)) if repair else {})), findings


def finding_lines(findings: Sequence[Finding], are_repaired: bool) -> Iterator[tuple[str | tuple[str, str], ...]]:
    """A line for each finding, with its repair."""
    from trainers.planning.findings import in_options

    for finding in findings:
        if are_repaired:
            yield (f"changed {finding.key}: {finding.repair}",)
        else:
            yield (
                ("! ", "yellow"),
                f"{finding.problem}  {finding.repair}: --repair, or {in_options(finding.changes)} in training",
            )


def report_lines(imported: Imported) -> Iterator[tuple[str | tuple[str, str], ...]]:
    """A line for each setting that was taken or left out; those that affect the result come last."""
    for taken in imported.taken:
        yield (
            f"{taken.name} = {taken.value}  →  ",
            (f"{taken.key} = {taken.became}", "green"),
            f"  {taken.how}".rstrip(),
        )
    idle = [left.name for left in imported.left if not (left.matters or left.said)]
    if idle:
        yield (f"left out without effect on the result: {', '.join(idle)}",)
    for left in imported.left:
        if left.said and not left.matters:
            yield (f"{left.name} = {left.value}  {left.said}",)
        if left.matters:
            yield (f"! {left.name} = {left.value}", "yellow"), f"  {why(left)}"
    matter = sum(left.matters for left in imported.left)
    yield (f"took {counted(len(imported.taken), 'setting')}; {matter} left out that may change the result",)


def left_to_preset(imported: Imported, config: Mapping[str, Any]) -> list[Unsaid]:
    """The decisive settings that the config lacks, with their values in the default preset."""
    from app.studio.dataset.drafts import EMPTY
    from app.studio.settings.imports.read import find_unsaid

    return find_unsaid(EMPTY, replace(imported, table=config))


def unsaid_lines(unsaid: Sequence[Unsaid]) -> Iterator[tuple[str]]:
    """A line that lists the decisive settings that the file lacks."""
    if unsaid:
        settings = ", ".join(f"{setting.key} = {setting.value}" for setting in unsaid)
        yield (f"not in the file, so the preset decides: {settings}",)


def why(left: Left) -> str:
    """Why a setting was left out, as a sentence."""
    from app.studio.settings.imports.report import REASONS

    return HERE.get(left.reason) or left.said or REASONS[left.reason]


def _listed(imported: Imported, findings: Sequence[Finding], unsaid: Sequence[Unsaid]) -> dict[str, Any]:
    return {
        "taken": [asdict(taken) for taken in imported.taken],
        "left": [{**asdict(left), "why": why(left), "matters": left.matters} for left in imported.left],
        "findings": [asdict(finding) for finding in findings],
        "unsaid": [asdict(setting) for setting in unsaid],
    }
