"""A shared studio: what one person may do with another's things, listener by listener, over the wire."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from app.jobs.accounts.audit import AuditLog
from app.jobs.permissions import Actor
from app.jobs.processes.process import own_identity
from app.jobs.store import TRAIN, NewJob, Store
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People
from app.studio.accounts.tokens import Tokens
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.uploads import take_folder
from app.studio.generation.options import FOLDED
from app.studio.generation.record import Record
from app.studio.generation.request import GenerateRequest
from app.studio.paths import Paths
from app.studio.settings.own_presets import OwnPresets, as_preset
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from app.ui.components.events import PageEvent, read_event
from app.ui.pages import PAGES
from tests.app.jobs.working import CPU
from tests.app.ui.api_client import connect
from tests.app.ui.ended_runs import write_run
from tests.app.ui.server import Process
from tests.app.ui.visitor import blank_page
from tests.trainers.tiny_runs import write_images

pytestmark = pytest.mark.long

SHORT = {"train": {"steps": 4, "warmup": 0}}
RUN_ACTIONS = (
    "cancel",
    "up",
    "down",
    "place",
    "resume",
    "longer",
    "retry",
    "retry-half",
    "retry-low",
    "stop",
    "pause",
    "delete",
)
JOB_ACTIONS = ("cancel", "resume", "delete")
STYLE_ACTIONS = ("rename", "delete", "delete-with-run")
TRASH_ACTIONS = ("restore",)
DRAWING_ACTIONS = ("cancel", "dismiss", "hurry", "use", "again")
TRAIN_ACTIONS = (
    "remove", "take", "mask", "undo", "fresh", "preset", "set", "name", "measure", "use-preset", "rename-preset",
    "delete-preset", "put-back-preset", "save-preset",
)  # fmt: skip


@dataclass
class Shared:
    """A studio with something of Ann's of every kind, and two people's ways in."""

    process: Process
    paths: Paths
    ids: dict[str, str]

    def contents(self) -> dict[str, bytes]:
        """Everything that is Ann's: files of runs, styles, drawings and drafts, and the rows of the queue."""
        root = self.paths.root
        folders = [self.paths.runs / name for name in ("dusk", "dawn")] + [self.paths.styles, root / "drawings"]
        folders.append(OwnPresets(self.paths).folder_of("ann"))
        folders.append(self.paths.runs / ".trash" / self.ids["item"])
        folders.append(self.paths.drafts / self.ids["draft"])
        files = {str(path): path.read_bytes() for top in folders for path in top.rglob("*") if path.is_file()}
        store = Store(self.paths.runs)
        rows = [job for job in store.jobs() if job.owner == "ann"]
        store.close()
        return files | {"rows": repr(rows).encode()}

    def visitor(self, name: str, password: str) -> Visitor:
        client = connect(self.process.url, auth=(name, password))
        return Visitor(self.process.url, httpx.Client(cookies=dict(client.cookies), timeout=60), client)


@dataclass
class Visitor:
    """Somebody with a login who calls listeners by their numbers, as anything that speaks HTTP can."""

    url: str
    http: httpx.Client
    client: Any
    page: str = field(default_factory=lambda: uuid.uuid4().hex)
    """By which Gradio knows the page that they have open."""

    def listeners(self) -> list[dict[str, Any]]:
        """All listeners of all pages, each with the `package` of its page."""
        config = self.http.get(f"{self.url}config").json()
        package = {
            number: page.module.partition(".")[0]
            for page in PAGES
            for number in config["page"][page.path]["dependencies"]
        }
        return [each | {"package": package[each["id"]]} for each in config["dependencies"]]

    def call(self, listener: dict[str, Any], event: dict[str, Any]) -> str:
        """What a listener answers to an event, as text."""
        state = ["{}" if kind else "" for kind, _ in enumerate(listener["inputs"])]
        body = {"data": state, "fn_index": listener["id"], "event_data": event, "session_hash": self.page}
        if not listener["queue"]:
            return self.http.post(f"{self.url}gradio_api/run/predict", json=body).text
        assert self.http.post(f"{self.url}gradio_api/queue/join", json=body).status_code == 200
        answers = self.http.get(f"{self.url}gradio_api/queue/data", params={"session_hash": self.page})
        return answers.text


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared")
    paths = Paths(folder / "outputs")
    paths.make()
    queue = StudioQueue(paths)
    hold_the_device(queue.store)  # what is in line stays there
    done = queue.store.add(NewJob(TRAIN, write_run(paths.runs, "dusk", SHORT), owner="ann"), phase="ended")
    queue.store.add(NewJob(TRAIN, write_run(paths.runs, "dawn", SHORT), owner="ann"))
    queue.store.add(NewJob(TRAIN, write_run(paths.runs, "mine", SHORT, first=5), owner="bob"))
    gone = queue.store.add(NewJob(TRAIN, write_run(paths.runs, "gone", SHORT, first=7), owner="ann"), phase="ended")
    thrown = queue.delete(gone.id, actor=Actor("ann"))
    assert thrown is not None
    foreign = paths.styles / "ink.safetensors"
    foreign.write_bytes((write_run(folder, "ink", SHORT, first=3) / "style" / "ink.safetensors").read_bytes())
    library = StyleLibrary(queue)
    imported = next(item for item in library.entries() if item.name == "ink")
    (paths.styles / ".owners.json").write_text(json.dumps({imported.id: "ann"}))
    drawing = paths.root / "drawings" / "drawing-00000000000000000001-aa"
    drawing.mkdir(parents=True)
    (drawing / "picture.png").write_bytes((paths.runs / "dusk/samples/final/00.png").read_bytes())
    record = Record(
        request=GenerateRequest(prompts=("a fox",)), whose="user:ann", made=1.0, state="finished", number=99
    )
    (drawing / "generation.json").write_text(record.model_dump_json())
    OwnPresets(paths).save("ann", "Ink", as_preset(Draft(id="x", public="y")))
    drafts = Drafts(paths)
    draft = take_folder(drafts, "user:ann", write_images(folder / "images"))
    trained = library.of_run("dusk")
    assert trained is not None
    ids = {"trained": trained.id, "imported": imported.id, "drawing": drawing.name, "draft": draft.id}
    ids |= {"picture": draft.pictures[0].id, "job": f"job:{done.id}", "item": thrown.id}
    queue.store.close()
    database = PeopleDatabase(paths.people)
    People(database).add("eve", "walnut-tree")  # the first of the table, who is an admin
    database.close()
    process = Process(paths.runs, "--auth", "ann:pear", "--auth", "bob:plum")
    yield Shared(process, paths, ids)
    process.stop()


def hold_the_device(store: Store) -> None:
    """Let this process have the only device, as a run does, for as long as it lives."""
    store.add(NewJob(TRAIN, write_run(store.runs, "going", SHORT)))
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None and store.begin(claimed.id, claimed.token, own_identity())


def events(ids: dict[str, str]) -> list[dict[str, Any]]:
    """What a page could ask for about each thing of Ann's."""
    more = {"steps": "9", "over": "dawn", "name": "stolen", "text": "stolen", "id": ids["picture"]}
    more |= {"fold": "settings", "page": 1, "row": 0, "at": 1, "step": "start", "model": "starter"}
    more |= {"file": "style", "files": [{"name": "ink.safetensors", "path": str(Path("ink.safetensors").resolve())}]}
    more |= {"prompt": "9", "compose": "9", "options": {option.name: "9" for option in FOLDED}}
    more |= {
        "each": False,
        "compare": True,
        "count": 1,
        "place": 0,
        "styles": [{"id": ids["trained"], "strength": "1"}],
    }
    more |= {"find": "a", "replace": "stolen", "was": "", "seen": 1, "which": "all", "sample": "x", "mark": "x"}
    asked = [(what, run) for run in ("dusk", "dawn") for what in RUN_ACTIONS]
    asked += [(what, ids["job"]) for what in JOB_ACTIONS]
    asked += [(what, style) for style in (ids["trained"], ids["imported"]) for what in STYLE_ACTIONS]
    asked += [(what, ids["drawing"]) for what in DRAWING_ACTIONS]
    asked += [(what, ids["item"]) for what in TRASH_ACTIONS] + [("empty", "")]
    asked += [("place", "mine"), ("up", "mine"), ("keep", "")]
    asked += [(what, ids["picture"]) for what in TRAIN_ACTIONS] + [(what, "Ink") for what in TRAIN_ACTIONS]
    return [{"what": what, "run": about, "about": about, **more} for what, about in asked]


@cache
def understood(package: str) -> dict[str, set[type[PageEvent]]]:
    """What the pages of a package understand under each name."""
    kinds: dict[str, set[type[PageEvent]]] = {}
    module = f"app.ui.{package}.events"
    for value in vars(import_module(module)).values() if find_spec(module) else ():
        if isinstance(value, dict) and all(isinstance(kind, type) for kind in value.values()):
            for name, kind in value.items():
                kinds.setdefault(name, set()).add(kind)
    return kinds


def spoken(listener: dict[str, Any], event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An event in every form in which such a listener may understand it.

    That is with the fields of a model where there are models for it, as another field is refused, else as it is.
    """
    kinds_by_name = understood(listener["package"])
    kinds = [(name, kind) for _, name in listener["targets"] for kind in kinds_by_name.get(name, ())]
    if not kinds:
        yield event
    for name, kind in kinds:
        fields = {key: value for key, value in event.items() if key in kind.model_fields}
        if read_event(name, kind, fields) is not None:
            yield fields


def test_no_listener_lets_one_person_change_what_is_anothers(shared: Shared) -> None:
    bob, before = shared.visitor("bob", "plum"), shared.contents()
    listeners = bob.listeners()
    private = [listener for listener in listeners if listener["api_visibility"] == "private"]
    assert len(private) > 50
    refused: set[tuple[str, str]] = set()
    asked: dict[str, int] = {}
    """How many listeners of a package have been asked to do something."""
    for listener in private:
        package, sent = listener["package"], list[dict[str, Any]]()
        every, first = 30, 0  # those look at no button
        if any(event == "asked" for _, event in listener["targets"]):
            # The steps of Train have two each, and all of them understand the same.
            every, first = (5, asked.get(package, 0) % 5) if package == "train" else (1, 0)
            asked[package] = asked.get(package, 0) + 1
        for event in events(shared.ids)[first::every]:
            for form in spoken(listener, event):
                if form not in sent and "belongs to ann" in bob.call(listener, form):
                    refused.add((event["what"], event["about"]))
                sent.append(form)
        assert shared.contents() == before, listener["targets"]
    assert asked["train"] >= 10, "everything is asked of at least two"
    ids = shared.ids
    wanted = {(what, run) for run in ("dusk", "dawn") for what in RUN_ACTIONS}
    wanted |= {(what, ids["job"]) for what in JOB_ACTIONS}
    wanted |= {(what, style) for style in (ids["trained"], ids["imported"]) for what in STYLE_ACTIONS}
    wanted |= {(what, ids["item"]) for what in TRASH_ACTIONS}
    assert refused == wanted | {("place", "mine"), ("up", "mine")}


@pytest.mark.parametrize(
    ("endpoint", "given"),
    [("/stop", ("dawn", "cancel")), ("/resume", ("dawn",)), ("/stop", ("dusk",)), ("/delete", ("dusk",))],
)
def test_no_endpoint_lets_one_person_change_what_is_anothers(shared: Shared, endpoint: str, given: tuple[str]) -> None:
    from gradio_client.exceptions import AppError

    bob, before = shared.visitor("bob", "plum").client, shared.contents()
    with pytest.raises(AppError, match=rf"“{given[0]}” belongs to ann, and only they can change it\. \[not_yours\]"):
        bob.predict(*given, api_name=endpoint)
    assert shared.contents() == before


def test_the_trash_of_another_is_neither_listed_nor_restored_nor_emptied(shared: Shared) -> None:
    from gradio_client.exceptions import AppError

    bob, before, item = shared.visitor("bob", "plum").client, shared.contents(), shared.ids["item"]
    assert bob.predict(api_name="/trash") == {"items": [], "bytes": 0}
    assert bob.predict(api_name="/empty") == {"deleted": 0, "bytes": 0}
    for endpoint in ("/restore", "/empty"):
        with pytest.raises(AppError, match=r"“gone” belongs to ann, and only they can change it\. \[not_yours\]"):
            bob.predict(item, api_name=endpoint)
    assert shared.contents() == before
    (listed,) = shared.visitor("ann", "pear").client.predict(api_name="/trash")["items"]
    assert (listed["id"], listed["name"], listed["owner"]) == (item, "gone", "ann")


def test_a_programs_draft_is_its_logins_whatever_it_is_called(shared: Shared, tmp_path: Path) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    ann, bob = shared.visitor("ann", "pear").client, shared.visitor("bob", "plum").client
    pictures = sorted(write_images(tmp_path / "images").glob("*.png"))
    (mine,) = ann.predict([handle_file(str(pictures[0]))], "cats", api_name="/upload")["images"]
    for name in ("cats", "ann:cats"):
        with pytest.raises(AppError, match=r"no such draft.* \[no_draft\]"):
            bob.predict(name, {mine["id"]: "stolen"}, api_name="/captions")
    with pytest.raises(AppError, match=r"no such draft.* \[no_draft\]"):
        bob.predict("cats", "stolen", api_name="/start")
    (other,) = bob.predict([handle_file(str(pictures[1]))], "cats", api_name="/upload")["images"]
    assert other["id"] != mine["id"]
    assert ann.predict("cats", {mine["id"]: "a cat"}, api_name="/captions") == {"changed": 1}


def test_one_looks_at_anothers_things_and_is_told_whose_they_are(shared: Shared, browser: Any) -> None:
    with blank_page(browser) as page:
        form = {"username": "bob", "password": "plum"}
        assert page.request.post(f"{shared.process.url}login", form=form).ok
        page.goto(f"{shared.process.url}run?id=dusk")
        page.get_by_label("More actions for dusk").click()
        acts = page.get_by_role("group", name="Actions for dusk")
        offered = acts.get_by_role("button", disabled=False)
        expect(offered).to_have_text([re.compile("^Download step "), "Download samples"], use_inner_text=True)
        items = ["Try it", "Train again with changes"]
        expect(acts.get_by_role("link")).to_have_text(items, use_inner_text=True)
        expect(acts.get_by_text("Only ann can change this run.")).to_have_count(1)
        expect(acts.get_by_role("button", disabled=True)).to_have_count(0)
        page.goto(f"{shared.process.url}runs")
        row = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="dawn"))
        row.get_by_text("by ann").wait_for()
        expect(row.get_by_role("button", name="Move dawn")).to_be_hidden()
        own = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="mine"))
        expect(own.get_by_label("Move mine")).to_be_visible()
        page.goto(f"{shared.process.url}styles")
        card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="dusk"))
        card.get_by_text("by ann").wait_for()
        card.get_by_label("Actions for dusk").click()
        expect(card.get_by_role("link", name="Open its run")).to_be_visible()
        for name in ("Delete", "Rename", "Copy the prompt words"):  # it has no words
            expect(card.get_by_role("button", name=name)).to_have_count(0)


def test_an_admin_changes_what_is_anothers_and_empties_only_their_own_trash(shared: Shared) -> None:
    from gradio_client.exceptions import AppError

    database = PeopleDatabase(shared.paths.people)
    tokens = Tokens(database)
    token, secret = tokens.make("eve", "script")
    _, bobs = tokens.make("bob", "his")
    eve, bob = (connect(shared.process.url, headers={"Authorization": f"Bearer {each}"}) for each in (secret, bobs))
    with pytest.raises(AppError, match=r"belongs to ann.* \[not_yours\]"):
        bob.predict("dusk", api_name="/delete")
    assert eve.predict(api_name="/empty") == {"deleted": 0, "bytes": 0}
    item = eve.predict("dusk", api_name="/delete")["item"]
    assert item in [each["id"] for each in eve.predict(api_name="/trash")["items"]]
    assert eve.predict(item, api_name="/restore") == {"kind": "run", "name": "dusk"}
    (owner,) = [job.owner for job in Store(shared.paths.runs).jobs() if job.name == "dusk"]
    assert owner == "ann", "it is still hers"
    lines = [
        (line["who"], line["what"], line["about"], line["owner"], line["token"], line.get("refused"))
        for line in AuditLog(shared.paths.runs).lines()
        if line.get("token") == token.id and line.get("about")
    ]
    assert lines == [
        ("eve", "restore", "dusk", "ann", token.id, None),
        ("eve", "delete", "dusk", "ann", token.id, None),
    ]
    head = {"Authorization": f"Bearer {secret}"}
    assert "velatura_jobs{" in httpx.get(f"{shared.process.url}metrics", headers=head).text
    assert httpx.get(f"{shared.process.url}account", headers=head).status_code == 403
    tokens.revoke(token.id)
    refused = httpx.post(f"{shared.process.url}gradio_api/call/trash", headers=head, json={"data": []})
    assert refused.status_code == 401 and "was revoked" in refused.json()["detail"]
    database.close()


def test_the_owner_does_the_same_by_the_same_way(shared: Shared) -> None:
    """The walk above speaks as a page does: what it is refused, the owner gets."""
    ann = shared.visitor("ann", "pear")
    asked = [each for each in ann.listeners() if any(event == "asked" for _, event in each["targets"])]
    for what, about in (("rename", shared.ids["imported"]), ("cancel", "dawn")):
        before = shared.contents()
        for listener in asked:
            for form in spoken(listener, {"what": what, "run": about, "about": about, "name": "renamed"}):
                ann.call(listener, form)
        assert shared.contents() != before, what
    assert (shared.paths.styles / "renamed.safetensors").exists()
    assert Actor("ann").may_change(StyleLibrary(StudioQueue(shared.paths)).entries()[0].owner)
