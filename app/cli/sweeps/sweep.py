"""`velatura sweep …`: many runs that differ in a few settings, as one item of the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import (
    BaseModel,
    ConfigFile,
    Images,
    Json,
    Out,
    Preset,
    Seed,
    Settings,
    Steps,
    is_alone,
    runs_folder,
)
from app.cli.sweeps.tables import plan_facts, sweep_facts, tell_plan, tell_results
from app.jobs.permissions import MACHINE_OWNER
from app.units import counted
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from app.studio.sweeps.plan import SweepPlan
    from app.studio.sweeps.sweep_file import Sweep
    from app.studio.sweeps.sweeps import Member

OF_ALL = {"--json", "--out"}
"""Options of `velatura sweep` without a command, which lists the sweeps; others start one."""


class SweepGroup(TyperGroup):
    """Reads `velatura sweep CONFIG.toml …` as `sweep start …`, and `velatura sweep NAME` as `sweep show NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after `velatura sweep`, with the implied command."""
        first = next(iter(args), "")
        options = {word.partition("=")[0] for word in args if word.startswith("--")}
        if first.startswith("-"):
            word = [] if "--help" in args[:1] or options <= OF_ALL else ["start"]
        elif not first or first in self.commands:
            word = []
        else:
            word = ["start"] if first.endswith(".toml") or options & {"--grid", "--methods", "--seeds"} else ["show"]
        return super().parse_args(ctx, [*word, *args])


Which = Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep.")]
GridOption = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="KEY=V1,V2",
        help="Values of a setting, or of several that change together (method.rank+method.alpha=4,8); repeatable, "
        "every combination is trained.",
    ),
]
Methods = Annotated[str | None, typer.Option("--methods", metavar="A,B", help="Methods, each with its own preset.")]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="N|LIST", help="How many seeds, counted from --seed, or a list: 1,5,9."),
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Name of the sweep, with which those of its runs begin.")
]

sweep_app = typer.Typer(help="Train many runs that differ in a few settings, and compare them.", cls=SweepGroup)
commands = typer.Typer()
commands.add_typer(sweep_app, name="sweep", invoke_without_command=True, epilog="Example: velatura sweep")


@sweep_app.callback()
def sweep(context: typer.Context, out: Out = None, json: Json = False) -> None:
    """List the sweeps; with a config or options start one, with a name show it."""
    if is_alone(context, "sweep", out, json):
        _list(out, json)


@sweep_app.command(
    epilog="Example: velatura sweep start --images my-paintings --name dusk --methods lora,loha --seeds 3"
)
def start(
    config: ConfigFile = None,
    images: Images = None,
    preset: Preset = None,
    grid: GridOption = None,
    methods: Methods = None,
    seeds: Seeds = None,
    name: Name = None,
    base: BaseModel = None,
    steps: Steps = None,
    seed: Seed = None,
    assignments: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show the runs; start nothing.")] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Queue a run for every combination of methods, settings and seeds: all of them, or none."""
    from app.cli.queue import mention_worker
    from app.jobs.store import Store
    from app.studio.sweeps.sweeps import start_sweep

    options: dict[str, Any] = {"seed": seed, "images": images, "base": base, "steps": steps}
    runs = runs_folder(out)
    plan = _plan(runs, config, preset, options, assignments or [], (grid or [], methods, seeds, name))
    if not json:
        tell_plan(plan, dry_run)
    if dry_run:
        if json:
            print_json(plan_facts(plan))
        return
    store = Store(runs)
    _, jobs = start_sweep(store, plan, actor=MACHINE_OWNER)
    if json:
        print_json(plan_facts(plan) | {"jobs": [job.id for job in jobs]})
        return
    say(f"queued {counted(len(jobs), 'run')}; see how far they are with: velatura sweep show {_quoted(plan.name)}")
    mention_worker(store, out, json)


@sweep_app.command("list", epilog="Example: velatura sweep list --json")
def list_all(out: Out = None, json: Json = False) -> None:
    """List the sweeps, newest first."""
    _list(out, json)


@sweep_app.command(epilog="Example: velatura sweep show dusk --sheet dusk.png")
def show(
    name: Which,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE.png", help="Write the runs' pictures as one grid.")
    ] = None,
    prompt: Annotated[
        int, typer.Option("--prompt", metavar="N", min=1, help="Which prompt, if runs differ in several settings.")
    ] = 1,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Write the runs' smoothed losses as one plot.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Show a sweep's progress and results, best first."""
    from app.studio.sweeps.results import as_csv, as_record, means_over_seeds, ranked, read_result

    sweep, its_runs = _open(out, name)
    results = ranked([read_result(member) for member in its_runs])
    _write_pictures(sweep, its_runs, sheet, plot, prompt, overwrite)
    if csv:
        print(as_csv(sweep.axes, results), end="")
    elif json:
        means = [asdict(mean) for mean in means_over_seeds(sweep.axes, results)]
        records = [as_record(sweep.axes, result) for result in results]
        print_json(sweep_facts(sweep, its_runs) | {"kept": sweep.kept, "runs": records, "means": means})
    else:
        tell_results(sweep, its_runs, results)


@sweep_app.command(epilog="Example: velatura sweep cancel dusk")
def cancel(name: Which, out: Out = None, json: Json = False) -> None:
    """Take a sweep's waiting runs out of the queue and end the others without saving; finished ones stay."""
    from app.studio.sweeps.sweeps import end_sweep

    sweep, _ = _open(out, name)
    _report(out, name, "cancelled", end_sweep(_store(out), sweep, "cancel", actor=MACHINE_OWNER), json)


@sweep_app.command("continue", epilog="Example: velatura sweep continue dusk")
def continue_(name: Which, out: Out = None, json: Json = False) -> None:
    """Queue the runs of a sweep again that are not done: from their checkpoint, or else from zero."""
    from app.cli.queue import mention_worker
    from app.studio.sweeps.sweeps import continue_sweep

    sweep, _ = _open(out, name)
    count = continue_sweep(_store(out), sweep, actor=MACHINE_OWNER)
    _report(out, name, "queued again", count, json)
    if count:
        mention_worker(_store(out), out, json)


@sweep_app.command(epilog="Example: velatura sweep move dusk first")
def move(
    name: Which,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="first or last.")],
    out: Out = None,
    json: Json = False,
) -> None:
    """Move a sweep's waiting runs within the queue, in their order."""
    from app.studio.sweeps.sweeps import move_sweep

    sweep, _ = _open(out, name)
    _report(out, name, f"moved {place}", move_sweep(_store(out), sweep, place, actor=MACHINE_OWNER), json)


@sweep_app.command(epilog="Example: velatura sweep forget dusk")
def forget(name: Which, out: Out = None, json: Json = False) -> None:
    """Forget a sweep; its runs stay in the queue as any others."""
    from app.studio.sweeps.sweep_file import remove_sweep

    sweep, its_runs = _open(out, name)
    remove_sweep(_store(out).runs, sweep.name)
    if json:
        print_json(sweep_facts(sweep, its_runs))
    else:
        say((sweep.name, "bold"), " was forgotten; its runs stay")


# ---------------------------------------------------------------- within
def _plan(
    runs: Path,
    file: Path | None,
    preset: str | None,
    options: Mapping[str, Any],
    assignments: list[str],
    wanted: tuple[list[str], str | None, str | None, str | None],
) -> SweepPlan:
    from app.studio.paths import Paths
    from app.studio.runs.estimates import Measured
    from app.studio.settings.gather import gather_settings
    from app.studio.sweeps.axes import METHOD, read_axes
    from app.studio.sweeps.plan import plan_sweep
    from app.studio.sweeps.sweep_file import check_free
    from trainers.config.config import Config
    from trainers.config.tables import read_toml
    from trainers.data.ingest import list_folder
    from trainers.training.prepare import NO_IMAGES

    grid, methods, seeds, name = wanted
    if name is None:
        name = str(read_toml(file).get("name", "")) if file is not None else ""
    if not name:
        raise VelaturaError("the sweep has no name; give it one with --name")
    method = next((str(axis.values[0]) for axis in read_axes(grid, methods) if METHOD in axis.keys), None)
    first = gather_settings(runs, file, preset, {**options, "name": name}, assignments, method)
    check_free(runs, name)
    axes = read_axes(grid, methods, seeds, first.seed)

    def make(method: str | None, more: Mapping[str, Any]) -> Config:
        return gather_settings(runs, file, preset, options, assignments, method, more)

    if not first.data.images:
        raise VelaturaError(NO_IMAGES)
    pictures = len(list_folder(Path(first.data.images)).images)
    return plan_sweep(name, axes, make, runs, Measured(Paths(runs)), pictures)


def _list(out: Path | None, as_json: bool) -> None:
    from app.jobs.views import Watcher
    from app.studio.sweeps.sweep_file import list_sweeps
    from app.studio.sweeps.sweeps import members, progress

    runs = runs_folder(out)
    sweeps, problems = list_sweeps(runs)
    views = Watcher(_store(out)).history() if sweeps else ()
    rows = [(sweep, members(sweep, views)) for sweep in sweeps]
    for problem in problems:
        say(("warning:", "bold yellow"), f" {problem}")
    if as_json:
        print_json([sweep_facts(sweep, its_runs) for sweep, its_runs in rows])
    elif rows:
        print_table(
            ("sweep", "differs in", "runs"),
            [(sweep.name, _differs(sweep), progress(its_runs).line) for sweep, its_runs in rows],
        )
    elif not problems:
        say(f"there is no sweep in {runs}; `velatura sweep start` makes one")


def _report(out: Path | None, name: str, what: str, count: int, as_json: bool) -> None:
    from app.studio.sweeps.sweeps import progress

    sweep, its_runs = _open(out, name)
    if as_json:
        print_json(sweep_facts(sweep, its_runs) | {"changed": count})
    else:
        say((sweep.name, "bold"), f": {counted(count, 'run')} {what}; {progress(its_runs).line}")


def _write_pictures(
    sweep: Sweep, its_runs: list[Member], sheet: Path | None, plot: Path | None, prompt: int, overwrite: bool
) -> None:
    from app.studio.sweeps.pictures import draw_sheet, make_grid
    from app.studio.sweeps.plot import draw_plot
    from trainers.atomic_files import check_free, whole_file

    drawings = []
    for place in (sheet, plot):
        if place is not None:
            if place.suffix.lower() != ".png":
                raise VelaturaError("{name} must end in .png", name=place.name)
            check_free(place, overwrite)
    if sheet is not None:
        drawings.append((sheet, draw_sheet(make_grid(sweep.axes, its_runs, prompt), sweep.name)))
    if plot is not None:
        drawings.append((plot, draw_plot(its_runs, sweep.name)))
    for place, drawing in drawings:
        with whole_file(place) as building:
            drawing.save(building)
        say(f"wrote {place}")


def _open(out: Path | None, name: str) -> tuple[Sweep, list[Member]]:
    from app.jobs.dispatcher import settle
    from app.jobs.views import Watcher
    from app.studio.sweeps.sweep_file import read_sweep
    from app.studio.sweeps.sweeps import members

    store = _store(out)
    sweep = read_sweep(store.runs, name)
    if store.exists() and store.is_writable:
        settle(store)
    return sweep, members(sweep, Watcher(store).history())


def _store(out: Path | None) -> Any:
    from app.jobs.store import Store

    return Store(runs_folder(out))


def _differs(sweep: Sweep) -> str:
    return ", ".join(axis.title for axis in sweep.axes)


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)
