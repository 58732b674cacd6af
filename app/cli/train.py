"""Training commands: `velatura train`, `resume`, `stop`, `demo` and `estimate`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common.console import print_json, say
from app.cli.common.options import (
    BaseModel,
    ChangedImages,
    ConfigFile,
    Devices,
    Epochs,
    Images,
    Json,
    LongerSteps,
    Name,
    OtherDevices,
    Out,
    Overwrite,
    Preset,
    RunFolder,
    Seed,
    Settings,
    StartFrom,
    Steps,
    runs_folder,
    with_devices,
)
from app.units import counted, readable_size, readable_time
from trainers.errors import CHANGED_IMAGES, VelaturaError

if TYPE_CHECKING:
    from trainers.config.config import Config
    from trainers.training.estimate import Estimate
    from trainers.training.train import Result

commands = typer.Typer()


@commands.command(epilog="Example: velatura train --images my-paintings --name dusk --preset lora --steps 500")
def train(
    config: ConfigFile = None,
    images: Images = None,
    name: Name = None,
    preset: Preset = None,
    base: BaseModel = None,
    steps: Steps = None,
    epochs: Epochs = None,
    seed: Seed = None,
    devices: Devices = None,
    start_from: StartFrom = None,
    assignments: Settings = None,
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a style from a folder of images, or from a config file."""
    from app.cli.common.progress import TrainingView
    from app.cli.trash import tell_replaced
    from app.jobs.run_trash import put_aside
    from app.jobs.store import Store
    from app.studio.settings.gather import gather_settings
    from trainers.training.train import train as train_style

    options: dict[str, Any] = {"name": name, "seed": seed, "images": images, "base": base, "steps": steps}
    options |= {"start_from": start_from, "epochs": epochs}
    runs = runs_folder(out)
    settings = gather_settings(runs, config, preset, options, with_devices(assignments, devices))
    check_settings(settings)
    chosen = "" if config is not None else preset
    with TrainingView(lambda: note_recommendation(runs, settings.base.model, chosen)) as view:
        result = train_style(
            settings, runs, overwrite, view, lambda old: tell_replaced(put_aside(Store(runs), old), out)
        )
    report_result(result, json)


def note_recommendation(runs: Path, base: str, preset: str | None) -> None:
    """Print the source of the preset `recommended`, or, where no preset was chosen (None), whether the base has one."""
    from app.studio.paths import Paths
    from app.studio.settings.gather import RECOMMENDED
    from app.studio.settings.own_presets import OwnPresets
    from trainers.config.layers import DEFAULT_PRESET
    from trainers.config.presets import STARTER
    from trainers.models.bases.recognise import recommendation_of

    published = recommendation_of(base)
    if preset == RECOMMENDED and published is not None and OwnPresets(Paths(runs)).find_anywhere(preset) is None:
        say(f"recommended for {published.title}, from {published.source}; the preset {DEFAULT_PRESET} decides the rest")
    elif published is not None and preset is None:
        say(("note: ", "yellow"), f"--preset {RECOMMENDED} is known for {published.title}, from {published.source}")
    elif preset is None and base != STARTER:
        say("no recommendation is known for this base; these are Velatura's defaults")


def check_settings(config: Config) -> None:
    """Raise VelaturaError if this computer or the base cannot train a config, and print notes about it."""
    from trainers.planning.findings import check_ahead, in_options

    for finding in check_ahead(config):
        say(("note: ", "yellow"), f"{finding.problem}; {finding.repair}: {in_options(finding.changes)}")


@commands.command(epilog="Example: velatura resume outputs/dusk")
def resume(
    run: RunFolder,
    steps: LongerSteps = None,
    devices: OtherDevices = None,
    changed_images: ChangedImages = False,
    json: Json = False,
) -> None:
    """Resume a stopped or interrupted run exactly from its newest checkpoint."""
    from app.cli.common.progress import TrainingView
    from trainers.runs.run import open_run
    from trainers.training.train import resume as resume_run

    def go_on(changed: bool) -> Result:
        with TrainingView() as view:
            return resume_run(open_run(run), view, steps, devices=devices, changed_images=changed)

    try:
        result = go_on(changed_images)
    except VelaturaError as error:
        if error.code != CHANGED_IMAGES:
            raise
        if not sys.stdin.isatty():
            raise VelaturaError("{error}, with --changed-images", error=error, code=CHANGED_IMAGES) from error
        say(str(error))
        if not typer.confirm("Continue with the images as they are?"):
            raise typer.Exit(1) from None
        result = go_on(changed=True)
    report_result(result, json)


@commands.command(epilog="Example: velatura stop outputs/dusk")
def stop(run: RunFolder) -> None:
    """Ask a run to finish its step, save, export and stop."""
    from app.jobs.events.summary import read_summary
    from app.jobs.states import IN_WORDS, State
    from trainers.runs.run import open_run

    opened = open_run(run)
    summary = read_summary(run)
    if summary.ended:
        raise VelaturaError("{run} is not training: {in_words}", run=run, in_words=IN_WORDS[State(summary.ended)])
    if not summary.doing and not opened.is_training():
        raise VelaturaError(
            "{run} has not started; `velatura queue cancel {quoted}` removes it from the queue",
            run=run,
            quoted=shlex.quote(str(run)),
        )
    if not opened.is_training():
        way = (
            f"velatura resume {shlex.quote(str(run))}"
            if opened.checkpoint_steps()
            else f"velatura train {shlex.quote(str(run / 'config.toml'))} --overwrite"
        )
        raise VelaturaError("{run} is not training: its process died; continue with: {way}", run=run, way=way)
    opened.ask_to_stop()
    say(f"asked {run} to stop after this step; resume with: velatura resume {shlex.quote(str(run))}")


@commands.command(epilog="Example: velatura demo")
def demo(
    sample: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Bundled image set: black-line; the starter learns little from blob and photograph."
        ),
    ] = "black-line",
    preset: Annotated[str, typer.Option(metavar="PRESET", help="Preset; `velatura presets` lists them.")] = "balanced",
    out: Out = None,
    json: Json = False,
) -> None:
    """Train a style from bundled images on the bundled starter model and draw before and after."""
    from app.cli.common.progress import TrainingView
    from trainers.training.train import train as train_style

    runs = runs_folder(out)
    with TrainingView() as view:
        result = train_style(demo_config(sample, preset, runs), runs, listener=view)
    report_result(result, json)


@commands.command(epilog="Example: velatura estimate --images my-paintings --preset lora")
def estimate(
    config: ConfigFile = None,
    images: Images = None,
    preset: Preset = None,
    base: BaseModel = None,
    steps: Steps = None,
    devices: Devices = None,
    assignments: Settings = None,
    json: Json = False,
) -> None:
    """Estimate a run's time, memory and file size with a few real steps; keeps nothing."""
    from app.studio.runs.estimates import measure_config
    from app.studio.settings.gather import gather_settings

    options: dict[str, Any] = {"images": images, "base": base, "steps": steps}
    if config is None:
        options["name"] = "estimate"
    chosen = with_devices(assignments, devices)
    result = measure_config(gather_settings(runs_folder(None), config, preset, options, chosen))
    if json:
        print_json(asdict(result))
        return
    for line in in_words(result):
        say(line)


def in_words(estimate: Estimate) -> tuple[str, ...]:
    """An estimate as lines of text."""
    step, picture = f"{estimate.seconds_a_step:.3g} s", f"{estimate.seconds_a_picture:.3g} s"
    work = f"{estimate.steps} steps of {step}, {estimate.pictures} pictures of {picture}"
    most = "at most " if estimate.at_most else ""
    return (
        f"time    about {readable_time(estimate.seconds)} on {estimate.device} ({work})",
        f"memory  {readable_size(estimate.memory)} ({readable_size(estimate.free)} free)",
        f"file    {most}{readable_size(estimate.file)}",
        *(f"card    {line}" for line in estimate.cards),
    )


def demo_config(sample: str, preset: str, out: Path) -> Config:
    """A bundled sample set on the starter, under the next free name; samples show concepts outside the set."""
    import json

    from trainers.config.layers import gather_config
    from trainers.data.sample_sets import read_sets
    from trainers.runs.run import free_name

    sets = read_sets()
    if sample not in sets:
        raise VelaturaError(
            "there is no sample set {sample!r}; available are {sets}", sample=sample, sets=", ".join(sets)
        )
    prompts = json.dumps(sets[sample].demo_prompts)
    options = {"name": free_name(out, f"demo-{sample}"), "images": sets[sample].folder}
    return gather_config(None, preset, options, [f"sample.prompts={prompts}", "sample.seeds=[7]"])


def report_result(result: Result, json: bool) -> None:
    """Print a run's result; a run stopped by a signal exits with that signal's code."""
    if json:
        facts = {"run": result.run, "style": result.style, "steps": result.steps, "seconds": result.seconds}
        print_json(facts | {"parameters": result.parameters, "skipped": result.skipped})
    else:
        _tell(result)
    code = {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}.get(result.stopped_by, 0)
    if code:
        raise typer.Exit(code)


def _tell(result: Result) -> None:
    from trainers.score.recorded import best_of, recorded_scores

    spent = f"{counted(result.steps, 'step')} in {result.seconds:.0f} s"
    if result.style is None:
        say(f"stopped by {result.stopped_by} after {spent}, without a style file")
    else:
        size = readable_size(result.style.stat().st_size)
        say(("style file", "bold green"), f"    {result.style} ({size}, {spent})")
    if result.grid is not None:
        say(("before/after", "bold green"), f"  {result.grid}")
    if result.difference is not None:
        say(f"samples from the reloaded file differ from the live adapter's by at most {result.difference}/255")
    if result.skipped:
        words = f"{counted(result.skipped, 'step')} of {result.steps} changed nothing: the loss was not finite"
        say((words, "yellow"))
    best = best_of(recorded_scores(result.run))
    if best is not None:
        say(best.reason)
        say(f"compare the steps with: velatura score {shlex.quote(str(result.run))}")
    if result.stopped_by:
        say(f"continue with: velatura resume {shlex.quote(str(result.run))}")
