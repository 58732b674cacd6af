"""`velatura ui`: the studio in a browser."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from app.console import say
from app.options import Out
from app.results import runs_folder
from trainers.errors import VelaturaError


def add_studio_command(app: typer.Typer) -> None:
    """Add `ui` to the commands."""
    app.command("ui", epilog="Example: velatura ui --open")(ui)


def ui(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help="Port; without one, the first free from 7860.")
    ] = None,
    auth: Annotated[
        list[str] | None, typer.Option(metavar="USER:PASSWORD", help="Who may come in; repeatable.")
    ] = None,
    auth_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with one user:password a line.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A host name it is called by, as behind a proxy.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let a whole network in without passwords.")] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    out: Out = None,
) -> None:
    """Open the studio: train, watch and try styles in a browser."""
    serve(Serving(host, port, name or (), auth or (), auth_file, insecure, open_browser), out)


@dataclass(frozen=True)
class Serving:
    """Where the studio listens and who may come in."""

    host: str
    port: int | None
    names: Sequence[str]
    people: Sequence[str]
    people_file: Path | None
    insecure: bool
    open_browser: bool


def serve(options: Serving, out: Path | None) -> None:
    """Serve the studio until it is interrupted. VelaturaError where it may not or cannot listen there."""
    from app.ui import words
    from app.ui.web.authenticator import read_people
    from app.ui.web.hosts import check_address, is_loopback

    people = read_people(options.people, options.people_file)
    check_address(options.host, bool(people), options.insecure)
    from app.ui.studio import Address, start
    from trainers.signals import asking_to_stop

    try:
        server = start(runs_folder(out), Address(options.host, options.port, tuple(options.names)), people)
    except OSError as error:
        where = f"{options.host}:{options.port}" if options.port else f"{options.host}, ports 7860 to 7959,"
        raise VelaturaError(f"the studio cannot listen on {where}: {error}; choose another with --port") from error
    say(("studio", "bold green"), f"  {server.url}")
    if not people and not is_loopback(options.host):
        say(("warning:", "bold yellow"), f" {words.INSECURE}")
    say("stop it with Ctrl-C; trainings go on")
    if options.open_browser:
        import webbrowser

        webbrowser.open(server.url)
    stopped = threading.Event()

    def stop(signal: str) -> bool:
        stopped.set()
        return True

    with asking_to_stop(stop), server.studio.queue.dispatcher().in_background():
        stopped.wait()
        server.close()
    say("stopped")
