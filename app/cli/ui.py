"""`velatura ui`: the studio in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Annotated

import typer

from app.cli.common.console import say, warn_of_starter
from app.cli.common.options import ClusterAddress, ClusterStorage, Out, WebhookAddress, runs_folder
from trainers.errors import VelaturaError

commands = typer.Typer()

LOOK_EVERY = 1.0
"""Seconds between checks for a stop signal."""


@commands.command(epilog="Example: velatura ui --open")
def ui(
    context: typer.Context,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help="Port; default the first free one from 7860.")
    ] = None,
    auth: Annotated[
        list[str] | None,
        typer.Option(metavar="USER:PASSWORD", help="Temporary account for this session; repeatable."),
    ] = None,
    auth_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of temporary accounts, one user:password per line."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Host name of the studio, as behind a proxy; repeatable.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Proxy whose X-Forwarded-… headers to trust (address or network)."),
    ] = None,
    root_path: Annotated[
        str, typer.Option(metavar="PATH", help="Path below which a proxy shows the studio, such as /studio.")
    ] = "",
    quota: Annotated[int, typer.Option(metavar="GB", min=1, help="Storage per account, including its trash.")] = 50,
    webhook: WebhookAddress = None,
    cluster: ClusterAddress = None,
    storage: ClusterStorage = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow a whole network without passwords.")] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the studio in the browser.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Start it without this terminal, unless it already runs.")
    ] = False,
    stop_it: Annotated[bool, typer.Option("--stop", help="Stop the studio that runs; trainings continue.")] = False,
    add: Annotated[
        str | None,
        typer.Option("--add-person", metavar="NAME", help="Add account NAME, or change its password."),
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove-person", metavar="NAME", help="Remove account NAME and end its logins.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list-people", help="List the accounts.")] = False,
    imported: Annotated[
        Path | None,
        typer.Option("--import-people", metavar="FILE", help="Import accounts from a password file, hashed."),
    ] = None,
    out: Out = None,
) -> None:
    """Open the studio to train and use styles in a browser."""
    if add is not None or remove is not None or listed or imported:
        change_people(runs_folder(out), add, remove, listed, imported)
    elif background or stop_it:
        in_background(runs_folder(out), context.find_root().obj, open_browser, stop_it)
    else:
        proxies = trusted_proxy or ()
        who = (host, port, name or (), auth or (), auth_file, proxies, quota, insecure)
        serve(Serving(*who, open_browser, webhook, cluster, storage, root_path), out)


def in_background(runs: Path, words: Sequence[str], open_browser: bool, stop_it: bool) -> None:
    """Start the studio in the background with the words of this command, or stop it."""
    from app.cli.common.background import open_in_background, stop
    from app.studio.paths import Paths

    studio = Paths(runs).root
    if stop_it:
        say("stopped; trainings continue" if stop(studio) else f"no studio runs with {runs.absolute()}")
        return
    url = open_in_background(studio, [word for word in words if word not in ("--background", "--open")], open_browser)
    say(("studio", "bold green"), f"  {url}")
    say("stop it with: velatura ui --stop")


def change_people(runs: Path, add: str | None, remove: str | None, listed: bool, imported: Path | None) -> None:
    """Change or list the accounts, without opening the studio."""
    from app.cli.accounts import people as commands

    if imported:
        commands.import_people(runs, imported)
    if add is not None:
        commands.add_person(runs, add)
    if remove is not None:
        commands.remove_person(runs, remove)
    if listed:
        commands.list_people(runs)


@dataclass(frozen=True)
class Serving:
    """Options of the server: address, accounts, services."""

    host: str
    port: int | None
    names: Sequence[str]
    people: Sequence[str]
    people_file: Path | None
    proxies: Sequence[str]
    quota: int
    """Storage per person in GB."""
    insecure: bool
    open_browser: bool
    webhook: str | None = None
    """Address to which ended runs are posted."""
    cluster: str | None = None
    """Address of a Ray cluster whose nodes serve the queue, too."""
    storage: str | None = None
    """Address of the object storage for files between its machines."""
    root_path: str = ""
    """Path below which a proxy serves the studio."""


def serve(options: Serving, out: Path | None) -> None:
    """Serve the studio until it is interrupted. VelaturaError if it cannot or may not listen."""
    from app.cli.accounts.people import has_people
    from app.cli.cluster import open_cluster
    from app.cli.common.background import announced
    from app.studio.accounts.people import read_people
    from app.studio.webhook import Webhook
    from app.ui.components import text
    from app.ui.middleware.hosts import check_address, is_loopback
    from app.ui.middleware.proxy import check_proxies, check_root_path

    webhook = Webhook(options.webhook) if options.webhook else None
    accounts, runs = read_people(options.people, options.people_file), runs_folder(out)
    people = bool(accounts) or has_people(runs)
    check_address(options.host, people, options.insecure)
    check_proxies(options.proxies)
    root_path = check_root_path(options.root_path)
    from app.studio.accounts.quota import GB
    from app.ui.server import Address, start
    from trainers.process.signals import asking_to_stop

    address = Address(options.host, options.port, tuple(options.names), tuple(options.proxies), root_path)
    cluster = open_cluster(options.cluster, runs, options.storage)
    try:
        server = start(runs, address, accounts, options.quota * GB, webhook.send if webhook else None, cluster)
    except OSError as error:
        if error.filename:  # of a file, not of a port
            refused = f"the studio cannot write to {runs_folder(out)}: {error.strerror}"
            raise VelaturaError("{refused}; choose another folder with --out", refused=refused) from error
        where = f"{options.host}:{options.port}" if options.port else f"{options.host}, ports 7860 to 7959,"
        raise VelaturaError(
            "the studio cannot listen on {where}: {error}; choose another port with --port", where=where, error=error
        ) from error
    say(("studio", "bold green"), f"  {server.url}")
    warn_of_starter()
    if not people and not is_loopback(options.host):
        say(("warning:", "bold yellow"), f" {text.INSECURE}")
    if options.people_file:
        say(f"passwords in {options.people_file} are plain text; `velatura ui --import-people` stores them hashed")
    say("stop it with Ctrl-C; trainings continue")
    if options.open_browser:
        import webbrowser

        webbrowser.open(server.url)
    stopped = SimpleQueue[str]()  # setting an Event in a signal handler may deadlock

    def stop(signal: str) -> bool:
        stopped.put(signal)
        return True

    with asking_to_stop(stop), announced(server.services.paths.root, server.url):  # it has its own dispatcher
        signal = ""
        while not signal:
            with suppress(Empty):  # a signal just before the wait is handled only after it
                signal = stopped.get(timeout=LOOK_EVERY)
        server.close()
    with suppress(OSError):  # the terminal may be closed
        say("stopped")
