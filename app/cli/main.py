"""`velatura …`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.caption import caption
from app.cli.console import print_json, print_table, say, write_what_fits
from app.cli.estimate import estimate
from app.cli.export import RunFolder, export, ranks
from app.cli.merge import merge
from app.cli.options import (
    BaseModel,
    Compose,
    ConfigFile,
    Images,
    Json,
    LongerSteps,
    Name,
    Out,
    Overwrite,
    Preset,
    Seed,
    Settings,
    Steps,
)
from app.cli.queue import add_queue_commands
from app.cli.results import report_result, runs_folder
from app.cli.ui import add_studio_command
from app.errors import sentence
from app.studio.progress import progress_of
from app.units import readable_size
from trainers.config.limits import BATCH, GUIDANCE, SEED, STEPS
from trainers.errors import VelaturaError
from trainers.runs.threads import limit_spinning

app = typer.Typer(
    name="velatura",
    help="From a few images to a style file for Stable Diffusion.",
    epilog="Example: velatura train --images my-paintings --name dusk --preset lora",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool) -> None:
    """Print the version and end, where it was asked for."""
    if wanted:
        from importlib.metadata import version

        print(f"velatura {version('velatura')}")
        raise typer.Exit


@app.callback()
def settings_for_all(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the full traceback of an error (works anywhere).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """`--debug` is taken off the arguments before they are parsed; it is here for the help."""


@app.command(epilog="Example: velatura train --images my-paintings --name dusk --preset lora --steps 500")
def train(
    config: ConfigFile = None,
    images: Images = None,
    name: Name = None,
    preset: Preset = None,
    base: BaseModel = None,
    steps: Steps = None,
    seed: Seed = None,
    assignments: Settings = None,
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a style from a folder of images, or from a config file."""
    from app.cli.progress import TrainingView
    from app.cli.trash import tell_replaced
    from app.jobs.store import Store
    from app.jobs.trash.runs import put_aside
    from trainers.config.layers import gather_config
    from trainers.training.train import train as train_style

    options: dict[str, Any] = {"name": name, "seed": seed, "images": images, "base": base, "steps": steps}
    settings = gather_config(config, preset, options, assignments or [])
    runs = runs_folder(out)
    with TrainingView() as view:
        result = train_style(
            settings, runs, overwrite, view, lambda old: tell_replaced(put_aside(Store(runs), old), out)
        )
    report_result(result, json)


@app.command(epilog="Example: velatura resume outputs/dusk")
def resume(
    run: RunFolder,
    steps: LongerSteps = None,
    json: Json = False,
) -> None:
    """Go on with a run that was stopped or cut, exactly where its newest checkpoint is."""
    from app.cli.progress import TrainingView
    from trainers.runs.run import open_run
    from trainers.training.train import resume as resume_run

    with TrainingView() as view:
        result = resume_run(open_run(run), view, steps)
    report_result(result, json)


@app.command(epilog="Example: velatura stop outputs/dusk")
def stop(run: RunFolder) -> None:
    """Ask a run to finish its step, save, export and end."""
    from app.jobs.states import IN_WORDS, State
    from app.jobs.summary import read_summary
    from trainers.runs.run import open_run

    opened = open_run(run)
    said = read_summary(run)
    if said.ended:
        raise VelaturaError(f"{run} is not training: {IN_WORDS[State(said.ended)]}")
    if not said.doing and not opened.is_training():
        raise VelaturaError(f"{run} has not begun; `velatura queue cancel {run}` takes it out of the queue")
    if not opened.is_training():
        way = (
            f"velatura resume {run}"
            if opened.checkpoint_steps()
            else f"velatura train {run / 'config.toml'} --overwrite"
        )
        raise VelaturaError(f"{run} is not training: its process has died; go on with: {way}")
    opened.ask_to_stop()
    say(f"asked {run} to stop after this step; resume it with: velatura resume {run}")


@app.command(epilog="Example: velatura check my-paintings")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    base: BaseModel = None,
    assignments: Settings = None,
    json: Json = False,
) -> None:
    """Say what is right and wrong with images, in plain words, with a fix for each finding."""
    from app.cli.dataset import show_findings

    ok = show_findings(folder, base, assignments or [], json)
    if not ok:
        raise typer.Exit(1)


@app.command(epilog='Example: velatura generate --style dusk.safetensors:0.8 --prompt "a fox" --out fox.png')
def generate(
    context: typer.Context,
    prompt: Annotated[
        list[str], typer.Option(metavar="TEXT", help="What to draw; repeat for several pictures in one grid.")
    ],
    out: Annotated[Path, typer.Option(metavar="IMG", help="The picture to write (.png, .jpg or .webp).")],
    style: Annotated[list[str] | None, typer.Option(metavar="FILE[:STRENGTH]", help="A style; repeatable.")] = None,
    negative: Annotated[str, typer.Option(metavar="TEXT", help="What should not be in the picture.")] = "",
    seed: Annotated[
        int, typer.Option(metavar="N", min=SEED[0], max=SEED[1], help="The same seed gives the same picture.")
    ] = 1,
    steps: Annotated[int, typer.Option(metavar="N", min=STEPS[0], max=STEPS[1], help="Denoising steps.")] = 25,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size in pixels; default the base's own.")] = "",
    guidance: Annotated[
        float | None,
        typer.Option(
            metavar="G",
            min=GUIDANCE[0],
            max=GUIDANCE[1],
            help="How closely to follow the prompt, 1 to 50; default the base's.",
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(metavar="NAME", help="ddim, euler or dpm++.")] = "ddim",
    base: BaseModel = None,
    compose: Compose = "sum",
    each: Annotated[
        bool, typer.Option("--each", help="One picture with every style, numbered, all in one batch.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=BATCH[0], max=BATCH[1], help="Most pictures at once; default 4 with --each, else 1."
        ),
    ] = None,
    plain: Annotated[
        Path | None, typer.Option(metavar="IMG", help="Where to write the same picture without the styles.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw a picture with one or several styles, or one with each of them."""
    from app.studio.generation.generate import Request, draw_to_files

    asked = (tuple(prompt), tuple(style or ()), negative, seed, steps, size, guidance, sampler, base)
    paths = draw_to_files(Request(*asked, compose, each, batch), out, overwrite, plain, progress_of(context))
    if json:
        print_json(({"images": paths} if each else {"image": paths[0]}) | {"seed": seed})
    else:
        for path in paths:
            say(f"wrote {path} ({readable_size(path.stat().st_size)})")


@app.command(epilog="Example: velatura inspect outputs/dusk/style/dusk.safetensors")
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A style file from anywhere, or a run's folder.")],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    json: Json = False,
) -> None:
    """Show a style file's method, base, rank, alpha, trained words, tensors and metadata."""
    from app.cli.listing import show_style

    show_style(file, tensors, json)


models_app = typer.Typer(help="Base models: list what is found here, or download one.", invoke_without_command=True)
app.add_typer(models_app, name="models", epilog="Example: velatura models")


@models_app.callback()
def models(context: typer.Context, json: Json = False) -> None:
    """Show the base models found on this machine."""
    if context.invoked_subcommand is None:
        from app.cli.listing import show_models

        show_models(json)


@models_app.command("get", epilog="Example: velatura models get stable-diffusion-v1-5/stable-diffusion-v1-5")
def get_model(identifier: Annotated[str, typer.Argument(metavar="ID", help="A hub id: owner/name.")]) -> None:
    """Download a base model from the hub, with progress."""
    from app.cli.listing import download

    download(identifier)


@app.command(epilog="Example: velatura methods --json")
def methods(json: Json = False) -> None:
    """List the methods: where each comes from, how many numbers it trains, where it sits, what it is good at."""
    from app.cli.listing import show_methods

    show_methods(json)


@app.command(epilog="Example: velatura presets")
def presets(json: Json = False) -> None:
    """List the presets and what each is good at."""
    from trainers.config.presets import list_presets
    from trainers.config.techniques import techniques_in

    rows = [{"name": p.name, "method": techniques_in(p.settings), "summary": p.summary} for p in list_presets()]
    if json:
        print_json(rows)
    else:
        print_table(("preset", "method", "what for"), [(*row.values(),) for row in rows])


@app.command(epilog="Example: velatura demo")
def demo(
    sample: Annotated[
        str, typer.Option(metavar="NAME", help="Which bundled images: black-line, blob or photograph.")
    ] = "black-line",
    preset: Annotated[str, typer.Option(metavar="PRESET", help="`velatura presets` lists them.")] = "balanced",
    out: Out = None,
    json: Json = False,
) -> None:
    """Train a style from bundled images on the bundled starter model and draw before and after."""
    from app.cli.demo import run_demo
    from app.cli.progress import TrainingView

    with TrainingView() as view:
        result = run_demo(sample, preset, runs_folder(out), view)
    report_result(result, json)


app.command(epilog="Example: velatura estimate --images my-paintings --preset lora")(estimate)
app.command(epilog="Example: velatura merge dusk.safetensors:0.8 ink.safetensors:0.5 --out both.safetensors")(merge)
app.command(epilog="Example: velatura caption my-paintings --model blip")(caption)
app.command(epilog="Example: velatura export outputs/dusk --rank 8 --out dusk-small.safetensors")(export)
app.command(epilog="Example: velatura ranks outputs/dusk")(ranks)
add_queue_commands(app)
add_studio_command(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error is one sentence on standard error, and an exit code other than 0."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    limit_spinning()
    write_what_fits()
    try:
        app([argument for argument in given if argument != "--debug"], prog_name="velatura")
    except Exception as error:  # the one place where any error ends: what is not foreseen is said in a sentence too
        if debug:
            raise
        say(("error:", "bold red"), f" {sentence(error)}")
        sys.exit(1 if isinstance(error, VelaturaError) else 2)
