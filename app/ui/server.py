"""The studio's server and its pages."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from app.jobs.accounts.audit import AuditLog
from app.jobs.accounts.limits import Limits
from app.jobs.cluster.cluster import Cluster
from app.jobs.dispatcher import Ended
from app.jobs.trash.disk import missing, room
from app.jobs.trash.trash import Trash
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People
from app.studio.accounts.quota import USUAL, Quota, Sent
from app.studio.accounts.received import Received
from app.studio.accounts.sessions import Sessions
from app.studio.cleanup import sweep_public
from app.studio.dataset.draft_owners import kept_by, settle
from app.studio.dataset.uploads import MOST_BYTES_A_FILE
from app.studio.paths import Paths, UploadFolder
from app.studio.runs.links import RunLinks
from app.studio.services import Services, open_services
from app.ui import api, api_sweeps
from app.ui.account.routes import AccountRoute
from app.ui.components import text
from app.ui.connections import server_options
from app.ui.document.assets import asset_routes, bundles
from app.ui.document.language import speaking_to
from app.ui.document.theme import Velatura
from app.ui.gradio_internals import (
    Studio,
    is_waiting,
    keep_files_in,
    look_seldom,
    parameters_missing,
    uvicorn_with,
    without_apps,
)
from app.ui.links.routes import SCRIPTS, link_routes
from app.ui.login.authenticator import Authenticator, check_given
from app.ui.login.sender import USER
from app.ui.manifest import manifest_route
from app.ui.middleware.hosts import is_loopback, names_of_machine
from app.ui.middleware.limits import Shares
from app.ui.middleware.stack import checks
from app.ui.monitoring.health import HealthRoute
from app.ui.monitoring.metrics import MetricsRoute, Requests
from app.ui.now import NowRoutes
from app.ui.pages import PAGES
from app.ui.playground.page import expect_page
from app.ui.upload_route import upload_route
from trainers.errors import VelaturaError

FORGET_UPLOADS = (60, 900)
"""Unused uploads are deleted after so many seconds; the interval of the check in seconds."""

NO_DOCS = {"docs_url": None, "redoc_url": None, "openapi_url": None}
"""FastAPI's documentation pages are not served."""
LONGEST_STOP = 1
"""Seconds after which a stopping server closes open connections; pages hold theirs open."""
LAUNCH: dict[str, Any] = {
    "footer_links": [],
    "run_history": False,
    "enable_monitoring": False,
    "mcp_server": False,
    "share": False,
    "ssr_mode": False,
    "pwa": False,
    "show_error": False,
    "quiet": True,
    "prevent_thread_lock": True,
    "_frontend": False,  # else a page that takes a busy machine more than three seconds ends the studio
}
"""Launch options that override Gradio's environment variables."""


@dataclass
class Server:
    """A running studio."""

    demo: gr.Blocks
    services: Services
    uploads: UploadFolder
    people: PeopleDatabase
    url: str
    dispatching: ExitStack
    now: NowRoutes

    def close(self) -> None:
        """Stop serving and background work, and delete uploads; runs continue."""
        self.now.close()
        self.dispatching.close()
        self.demo.close(verbose=False)
        self.services.close()
        self.uploads.close()
        self.people.close()


@dataclass(frozen=True)
class Address:
    """A studio's address, other host names, and trusted proxies; port None for the first free one.

    `root_path` is the path below which a proxy shows the studio, such as `/studio`; "" for a host of its own.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    names: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    root_path: str = ""


def build(services: Services) -> gr.Blocks:
    """Build all pages."""
    options: dict[str, Any] = {"title": text.PRODUCT, "analytics_enabled": False, "delete_cache": FORGET_UPLOADS}
    with Studio(speaking_to, fill_width=True, **options) as demo:
        PAGES[0].load().build(services, demo)
        api.build(services)
        api_sweeps.build(services)
    for page in PAGES[1:]:
        with demo.route(str(page.title), page.path):
            page.load().build(services, demo)
    return demo


def start(
    folder: Path,
    address: Address,
    given: dict[str, str],
    most_kept: int = USUAL,
    ended: Ended | None = None,
    cluster: Cluster | None = None,
) -> Server:
    """Serve a studio with its runs in `folder`; returns once it accepts requests. OSError if the port is taken.

    `given` has passwords by name of additional temporary accounts; each person may keep `most_kept` bytes.
    `ended` is called for each ended job; the nodes of `cluster` serve the queue, too.
    """
    paths = Paths(folder)
    paths.make()
    uploads = UploadFolder(paths)
    keep_files_in(uploads.path)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["FORWARDED_ALLOW_IPS"] = (
        ""  # uvicorn trusts programs on this machine by default; the proxy middleware decides instead
    )
    people = PeopleDatabase(paths.people)
    check_given(People(people), given)
    authenticator = Authenticator(People(people), Sessions(people), paths.secret(), given)
    shared = not authenticator.open or not is_loopback(address.host)
    services = open_services(paths, uploads.path, shared=shared)
    if not authenticator.open:
        AuditLog(paths.runs).keep()
    sweep_public(services.queue, services.drafts, services.generations.root)
    services.checker.warm_up()
    with without_apps():
        demo = build(services).queue(default_concurrency_limit=8, max_size=200)
    look_seldom(demo)
    now, requests = NowRoutes(services.queue, services.changes), Requests()
    dispatcher = services.queue.dispatcher(ended, cluster, services.sweep)
    ours = [
        *HealthRoute(services.queue, lambda: dispatcher.last_pass).routes(),
        *MetricsRoute(services.queue, requests).routes(),
        *AccountRoute(authenticator, People(people), services.queue.store).routes(),
    ]
    shares = _shares(services, uploads.path, most_kept, Received(people) if shared else None)
    with uvicorn_with(timeout_graceful_shutdown=LONGEST_STOP, **server_options(address.proxies)):
        _, url, _ = demo.launch(
            server_name=address.host,
            server_port=address.port,
            theme=Velatura(),
            app_kwargs={
                "middleware": _checks(demo, address, authenticator, services, uploads.path, shares, requests),
                "routes": [*_routes(demo, services, uploads.path), *now.routes(), *ours],
                **NO_DOCS,
            },
            auth_dependency=None if authenticator.open else lambda request: request.scope.get(USER),
            allowed_paths=[str(paths.public.resolve())],
            max_file_size=MOST_BYTES_A_FILE,
            **LAUNCH | {"root_path": address.root_path},
        )
    dispatching = ExitStack()
    dispatching.enter_context(dispatcher.in_background())
    services.library.read_ahead()
    return Server(demo, services, uploads, people, url, dispatching, now)


def _scripts_run(demo: gr.Blocks) -> dict[str, list[str]]:
    """The `js_on_load` lines of each page, by its path."""
    scripts: dict[str, list[str]] = {page.path: [] for page in PAGES}
    for block in demo.blocks.values():
        if isinstance(block, gr.HTML) and block.js_on_load:
            scripts[block.page].append(block.js_on_load)
    return scripts


def _routes(demo: gr.Blocks, services: Services, uploads: Path) -> list[BaseRoute]:
    """The routes beside Gradio's."""
    return [
        *asset_routes(bundles(_scripts_run(demo) | SCRIPTS)),
        manifest_route(),
        *link_routes(RunLinks(services.queue)),
        upload_route(uploads),
    ]


def _shares(services: Services, uploads: Path, most_kept: int, received: Received | None) -> Shares:
    """The storage limits of uploads; who has reached their own begins no trials either."""
    trash, storage = Trash(services.queue.store), Limits(services.queue.store.settings).storage
    quota = Quota(most_kept, trash, partial(_sent, services), partial(settle, services.drafts), storage)
    services.trials.refuses = lambda owner: bool(owner) and quota.is_used_up(owner)
    return Shares(_room(uploads, trash), received, quota)


def _sent(services: Services, person: str) -> Sent:
    """A person's stored data."""
    kept = kept_by(services.drafts, person)
    return Sent(kept.pictures, services.library.imported(person), kept.undone)


def _checks(
    demo: gr.Blocks,
    address: Address,
    authenticator: Authenticator,
    services: Services,
    uploads: Path,
    shares: Shares,
    requests: Requests,
) -> list[Middleware]:
    """The request checks, by name."""
    return checks(
        hosts=names_of_machine(address.host) | {name.lower() for name in address.names},
        authenticator=authenticator,
        audit=AuditLog(services.paths.runs),
        public=services.paths.public,
        uploads=uploads,
        shares=shares,
        is_waiting=partial(is_waiting, demo),
        parameters_missing=partial(parameters_missing, demo),
        opened={"/playground": partial(expect_page, services)},
        note=requests.note,
        proxies=address.proxies,
    )


def _room(folder: Path, trash: Trash) -> Callable[[], int]:
    """Bytes available for uploads beyond the reserve, after emptying the trash if needed."""

    def look() -> int:
        if missing(folder):
            with suppress(VelaturaError):  # without it there is only less room
                trash.make_room()
        return room(folder)

    return look
