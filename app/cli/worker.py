"""`velatura worker`: serve the queue of this machine, or as a node of a cluster another one's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.common.console import say
from app.cli.common.options import ClusterAddress, Out, WebhookAddress, runs_folder

commands = typer.Typer()


@commands.command(epilog="Example: velatura worker --until-empty")
def worker(
    once: Annotated[bool, typer.Option("--once", help="Start what can start now, and exit.")] = False,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="Exit when nothing waits or runs.")] = False,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Use only this device: cpu, cuda:0, mps; repeatable.")
    ] = None,
    webhook: WebhookAddress = None,
    cluster: ClusterAddress = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --cluster: name of this machine; default its host name.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="With --cluster: a label of it; repeatable.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --cluster: file with its token; default $RAY_AUTH_TOKEN.")
    ] = None,
    out: Out = None,
) -> None:
    """Serve the queue: start one run on each free device, in order. Stopping the worker stops no run.

    With --cluster, this machine serves the queue of another one.
    """
    if cluster is not None:
        from app.cli.cluster import join

        join(cluster, name, label or (), token_file, device or ())
        return
    from app.jobs.dispatcher import Dispatcher
    from app.jobs.processes.devices import DeviceOffer
    from app.jobs.store import Store
    from app.studio.job_modules import JOB_MODULES, job_server
    from app.studio.webhook import Webhook

    offer = DeviceOffer(tuple(device), complete=False) if device else None
    ended = Webhook(webhook).send if webhook else None
    fork_server = None if once else job_server()
    store = Store(runs_folder(out))
    dispatcher = Dispatcher(store, JOB_MODULES, offer, notify=say, fork_server=fork_server, ended=ended)
    if once:
        dispatcher.serve_once()
        return
    say(
        f"serving the queue in {runs_folder(out)} on {', '.join(dispatcher.offer.devices)}; "
        "Ctrl-C stops the worker, not the runs"
    )
    try:
        dispatcher.serve(until_empty=until_empty)
    except KeyboardInterrupt:
        say("stopped; running jobs continue, waiting jobs wait for the next worker")
