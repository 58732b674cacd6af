"""`velatura …`: the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.console import TrainingView, notes, print_json, print_table, readable_size
from trainers.errors import VelaturaError

app = typer.Typer(
    name="velatura",
    help="From a few images to a style file for Stable Diffusion.",
    epilog="Example: velatura train --images my-paintings --name dusk --preset lora",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print data as one line of JSON on standard output.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of runs; default $VELATURA_HOME, else ./outputs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there under this name.")]
BaseModel = Annotated[
    str | None, typer.Option("--base", help="Base model: starter, a hub id, a diffusers folder or a .safetensors file.")
]


@app.callback()
def settings_for_all(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the full traceback of an error (works anywhere).")
    ] = False,
) -> None:
    """`--debug` is taken off the arguments before they are parsed; it is here for the help."""


@app.command(epilog="Example: velatura train --images my-paintings --name dusk --preset lora --steps 500")
def train(
    config: Annotated[Path | None, typer.Argument(help="A config.toml, complete or partial.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of images, with .txt captions beside them.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run and of the style file.")] = None,
    preset: Annotated[str | None, typer.Option(help="A preset; `velatura presets` lists them.")] = None,
    base: BaseModel = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and settings give the same file.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any other setting; repeatable.")
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a style from a folder of images, or from a config file."""
    from app.settings import gather_config
    from trainers.train import train as train_style

    options: dict[str, Any] = {"name": name, "seed": seed, "images": images, "base": base, "steps": steps}
    settings = gather_config(config, preset, options, assignments or [])
    with TrainingView() as view:
        result = train_style(settings, runs_folder(out), overwrite, view)
    report_result(result, json)


@app.command(epilog="Example: velatura resume outputs/dusk")
def resume(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    steps: Annotated[int | None, typer.Option(help="Train longer: the new number of steps in all.")] = None,
    json: Json = False,
) -> None:
    """Go on with a run that was stopped or cut, exactly where its newest checkpoint is."""
    from trainers.run import open_run
    from trainers.train import resume as resume_run

    with TrainingView() as view:
        result = resume_run(open_run(run), view, steps)
    report_result(result, json)


@app.command(epilog="Example: velatura stop outputs/dusk")
def stop(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Ask a run to finish its step, save, export and end."""
    from trainers.events import read_events
    from trainers.run import open_run

    opened = open_run(run)
    last = [event["type"] for event in read_events(run)][-1:]
    if last in (["done"], ["stopped"], ["error"]):
        raise VelaturaError(f"{run} is not training: it ended with {last[0]!r}")
    opened.ask_to_stop()
    notes().print(f"asked {run} to stop after this step; resume it with: velatura resume {run}")


@app.command(epilog="Example: velatura check my-paintings")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    base: BaseModel = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE")] = None,
    json: Json = False,
) -> None:
    """Say what is right and wrong with images, in plain words, with a fix for each finding."""
    from app.checking import show_findings

    ok = show_findings(folder, base, assignments or [], json)
    if not ok:
        raise typer.Exit(1)


@app.command(epilog='Example: velatura generate --style dusk.safetensors:0.8 --prompt "a fox" --out fox.png')
def generate(
    prompt: Annotated[list[str], typer.Option(help="What to draw; repeat for several pictures in one grid.")],
    out: Annotated[Path, typer.Option(help="The picture to write (.png, .jpg or .webp).")],
    style: Annotated[list[str] | None, typer.Option(metavar="FILE[:STRENGTH]", help="A style; repeatable.")] = None,
    negative: Annotated[str, typer.Option(help="What should not be in the picture.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same picture.")] = 1,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps.")] = 25,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size in pixels; default the base's own.")] = "",
    guidance: Annotated[float, typer.Option(min=1, max=50, help="How closely to follow the prompt.")] = 7.0,
    sampler: Annotated[str, typer.Option(help="ddim, euler or dpm++.")] = "ddim",
    base: BaseModel = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw a picture with one or several styles."""
    from app.drawing import Request, draw_to_file

    request = Request(tuple(prompt), tuple(style or ()), negative, seed, steps, size, guidance, sampler, base)
    path = draw_to_file(request, out, overwrite)
    if json:
        print_json({"image": path, "seed": seed})
    else:
        notes().print(f"wrote {path} ({readable_size(path.stat().st_size)})")


@app.command(epilog="Example: velatura inspect outputs/dusk/style/dusk.safetensors")
def inspect(
    file: Annotated[Path, typer.Argument(help="A style file, from here or elsewhere.")],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    json: Json = False,
) -> None:
    """Show a style file's method, base, rank, alpha, trained words, tensors and metadata."""
    from app.listing import show_style

    show_style(file, tensors, json)


models_app = typer.Typer(help="Base models: list what is found here, or download one.", invoke_without_command=True)
app.add_typer(models_app, name="models", epilog="Example: velatura models")


@models_app.callback()
def models(context: typer.Context, json: Json = False) -> None:
    """Show the base models found on this machine."""
    if context.invoked_subcommand is None:
        from app.listing import show_models

        show_models(json)


@models_app.command("get", epilog="Example: velatura models get stable-diffusion-v1-5/stable-diffusion-v1-5")
def get_model(identifier: Annotated[str, typer.Argument(metavar="ID", help="A hub id: owner/name.")]) -> None:
    """Download a base model from the hub, with progress."""
    from app.listing import download

    download(identifier)


@app.command(epilog="Example: velatura methods --json")
def methods(json: Json = False) -> None:
    """List the methods: where each comes from, where it sits, what it is good at."""
    from trainers.adapters import METHODS

    rows = [
        {"name": name, "paper": kind.paper, "places": list(kind.places), "summary": kind.summary}
        for name, kind in METHODS.items()
    ]
    if json:
        print_json(rows)
    else:
        print_table(("method", "paper", "places", "what for"), [(*r.values(),) for r in _joined(rows)])


@app.command(epilog="Example: velatura presets")
def presets(json: Json = False) -> None:
    """List the presets and what each is good at."""
    from trainers.presets import list_presets

    rows = [{"name": p.name, "method": p.settings["method"]["name"], "summary": p.summary} for p in list_presets()]
    if json:
        print_json(rows)
    else:
        print_table(("preset", "method", "what for"), [(*row.values(),) for row in rows])


@app.command(epilog="Example: velatura demo")
def demo(
    sample: Annotated[str, typer.Option(help="Which bundled images: black-line or blob.")] = "black-line",
    preset: Annotated[str, typer.Option(help="A preset.")] = "balanced",
    out: Out = None,
    json: Json = False,
) -> None:
    """Train a style from bundled images on the bundled starter model and draw before and after."""
    from app.demo import run_demo

    with TrainingView() as view:
        result = run_demo(sample, preset, runs_folder(out), view)
    report_result(result, json)


def runs_folder(out: Path | None) -> Path:
    """Where runs go: `--out`, else $VELATURA_HOME, else `outputs/` here."""
    home = os.environ.get("VELATURA_HOME")
    return out or (Path(home) if home else Path("outputs"))


def report_result(result: Any, json: bool) -> None:
    """Say what a run gave; a run cut by a signal ends with that signal's exit code."""
    if json:
        facts = {"run": result.run, "style": result.style, "steps": result.steps, "seconds": result.seconds}
        print_json(facts | {"parameters": result.parameters, "stopped_by": result.stopped_by})
    else:
        say = notes().print
        size = readable_size(result.style.stat().st_size)
        say(f"[bold green]style file[/]    {result.style} ({size}, {result.steps} steps in {result.seconds:.0f} s)")
        if result.grid is not None:
            say(f"[bold green]before/after[/]  {result.grid}")
            say(f"the file, loaded afresh, differs from the live adapter by at most {result.difference}/255")
    code = {"SIGINT": 130, "SIGTERM": 143}.get(result.stopped_by, 0)
    if code:
        raise typer.Exit(code)


def _joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "places": ", ".join(row["places"])} for row in rows]


def main() -> None:
    """Run a command; an error is one sentence on standard error and exit code 1."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app()
    except VelaturaError as error:
        if debug:
            raise
        notes().print(f"[bold red]error:[/] {error}", markup=True)
        sys.exit(1)
    except KeyboardInterrupt:
        notes().print("stopped; a run that had a checkpoint can be resumed")
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        name = type(error).__name__
        notes().print(f"[bold red]error:[/] something unexpected went wrong ({name}: {error}); --debug shows where")
        sys.exit(2)


if __name__ == "__main__":
    main()
