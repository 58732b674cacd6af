from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from app.jobs.accounts.audit import AuditLog
from app.jobs.permissions import MACHINE_OWNER, Actor, NotOwnerError
from app.studio.accounts.people import key_of_program
from app.studio.dataset.uploads import take_folder
from app.studio.paths import Paths
from app.studio.services import open_services
from app.studio.sweeps.sweep_file import read_sweep
from app.studio.sweeps.sweeps import end_sweep, move_sweep
from app.ui.api_sweeps import SweepApi
from app.ui.runs.actions import perform
from app.ui.runs.events import RunAction
from tests.trainers.tiny_runs import write_images

REQUEST = SimpleNamespace(username="", cookies={}, session_hash="")


@pytest.fixture
def api(tmp_path):
    paths = Paths(tmp_path / "outputs")
    paths.make()
    services = open_services(paths, tmp_path / "uploads")
    take_folder(services.drafts, key_of_program("mine"), write_images(tmp_path / "images"))
    yield SweepApi(services)
    services.close()


def test_a_sweep_of_methods_and_values_is_queued_and_followed(api) -> None:
    given = {"methods": ["lora", "lokr"], "grid": {"train.steps": [2, 3]}, "settings": {"train.warmup": 0}}
    made = api.sweep("mine", "dusk", **given, request=REQUEST)
    names = ["dusk-lora-steps2", "dusk-lora-steps3", "dusk-lokr-steps2", "dusk-lokr-steps3"]
    assert made == {"sweep": "dusk", "runs": names}
    now = api.sweep_status("dusk")
    assert (now["of"], now["waiting"], now["ended"], now["kept"]) == (4, 4, False, "")
    assert now["runs"][3]["method.name"] == "lokr" and now["runs"][3]["train.steps"] == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"methods": ["lora"]}, "at least two runs.*bad_setting"),
        ({"methods": ["lora", "x"]}, "no method 'x'.*bad_setting"),
        ({"grid": {"method.rank": 4}}, "a list of values for 'method.rank'.*bad_value"),
        ({"grid": {"base.model": ["/etc/a", "/etc/b"]}}, "'base.model' cannot differ.*bad_value"),
        ({"grid": {"base.parts": [["/etc/a"], ["/etc/b"]]}}, "'base.parts' cannot differ.*bad_value"),
        ({"grid": {"prior.folder": ["/etc", "/home"]}}, "'prior.folder' cannot differ.*bad_value"),
        ({"grid": {"data": [{"images": "/etc"}, {"images": "/home"}]}}, "'data' cannot differ.*bad_value"),
        ({"grid": {"data.images": ["/etc", "/home"]}}, "the same for all runs.*bad_setting"),
        ({"grid": {"method.name": [["lora"], {"a": 1}]}}, "no method.*bad_setting"),
        ({"grid": {"method.rank": [0, 4]}}, "nothing was started: dusk-r0: .*bad_setting"),
    ],
)
def test_what_is_wrong_gets_a_sentence_and_a_code_and_starts_nothing(api, given: dict, said: str) -> None:
    with pytest.raises(gr.Error, match=f"(?i){said}"):
        api.sweep("mine", "dusk", **given, request=REQUEST)
    assert not api.services.queue.store.exists()


def test_the_audit_log_has_what_was_refused_to_a_program_and_a_page(api) -> None:
    store, bob = api.services.queue.store, Actor("bob")
    log = AuditLog(store.runs)
    log.keep()
    made = api.sweep("mine", "dusk", methods=["lora", "loha"], request=REQUEST)
    sweep, name = read_sweep(store.runs, "dusk"), made["runs"][0]
    request = SimpleNamespace(username="bob", cookies={}, session_hash="")
    for act in (api.stop, api.resume, api.delete):
        with pytest.raises(gr.Error, match="not_yours"):
            act(name, request=request)
    with pytest.raises(NotOwnerError):
        end_sweep(store, sweep, "save", actor=bob)
    with pytest.raises(NotOwnerError):
        move_sweep(store, sweep, "first", actor=bob)
    for act in ("share", "unshare"):
        perform(api.services.queue, RunAction(what=act, about=name), MACHINE_OWNER)
    lines = [(line["who"], line["what"], line["about"], line.get("refused")) for line in log.lines()]
    assert lines[::-1][2:] == [
        *(("bob", what, name, True) for what in ("stop", "resume", "delete")),
        *(("bob", what, "dusk", True) for what in ("stop", "move")),
        ("", "share", name, None),
        ("", "unshare", name, None),
    ]
