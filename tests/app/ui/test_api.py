"""The studio for programs, over the wire, with the client that people use."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from itertools import cycle, product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import httpx
import pytest
from safetensors import safe_open

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import Store
from app.jobs.trash.trash import Trash
from app.studio.accounts.people import key_of_program
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.uploads import take_folder
from app.studio.paths import Paths
from app.studio.runs.notes import write_notes
from app.studio.services import open_services
from app.ui.api import Api
from app.ui.api_sweeps import SweepApi
from tests.app.ui.api_client import connect
from tests.app.ui.ended_runs import write_run
from tests.app.ui.server import Process
from tests.app.user_files import write_pictures
from tests.trainers.data.pictures import scene
from trainers.config.build import read_config

ROOT = Path(__file__).parents[3]
FEW = {"train.steps": 2, "train.batch_size": 1, "sample.steps": 1, "sample.prompts": ["a boat"], "save.every": 2}
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"^```python\n(import time.*?)^```", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("programs") / "outputs")
    yield process
    process.close()


@pytest.fixture(scope="module")
def client(place: Process) -> Any:
    return connect(place.url)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ZIP with two pictures, one of them with a caption."""
    place = tmp_path_factory.mktemp("packed") / "my-paintings.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for seed, name in enumerate(("a boat.png", "house.png")):
            scene(seed, (160, 160)).save(place.parent / name)
            archive.write(place.parent / name, name)
        archive.writestr("house.txt", "a house by the sea")
    return place


@pytest.fixture(scope="module")
def saved(place: Process, packed: Path, tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path]) -> Path:
    """The style that the ten lines of the page train and download."""
    assert EXAMPLE is not None
    program = EXAMPLE[1]
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
    for old, new in (
        ("http://127.0.0.1:7860/", place.url),
        ("my-paintings.zip", str(packed)),
        ('{"train.steps": 200}', repr(FEW | {"base.model": str(tiny_bases["sd1"]), "data.trigger": "dusk"})),
        ("time.sleep(5)", "time.sleep(0.3)"),
    ):
        assert program.count(old) == 1
        program = program.replace(old, new)
    cwd = tmp_path_factory.mktemp("program")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


def refused(client: Any, *given: Any, api_name: str, **named: Any) -> str:
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError) as caught:
        client.predict(*given, api_name=api_name, **named)
    return str(caught.value)


def uploaded(client: Any, *files: Path) -> dict[str, Any]:
    from gradio_client import handle_file

    return client.predict([handle_file(str(file)) for file in files], api_name="/upload")


def test_the_ten_lines_of_the_page_train_and_download_a_style(place: Process, saved: Path) -> None:
    assert saved.name == "harbour blue.safetensors"
    with safe_open(saved, "pt") as style:
        assert any("lora_up" in key for key in style.keys())  # noqa: SIM118 (it is no mapping)
    assert [path.name for path in (place.out / "harbour blue").rglob("0*.png")] != []


def test_a_style_is_listed_fetched_in_its_forms_and_drawn_with(client: Any, place: Process, saved: Path) -> None:
    run = saved.stem
    now = client.predict(run, api_name="/status")
    assert (now["state"], now["step"], now["steps"]) == ("finished", 2, 2) and 0 < now["loss"] < 3
    assert len(now["samples"]) == 1 and now["samples"][0].startswith("gradio_api/file=")

    assert now["bytes"] > sum(path.stat().st_size for path in (place.out / run).rglob("*.safetensors")) // 2

    (style,) = client.predict("dusk", api_name="/styles")["styles"]
    assert (style["id"], style["method"], style["words"], style["run"]) == (now["style"], "lora", ["dusk"], run)
    assert style["step"] == now["step"]
    write_notes(place.out / run, "too strong", "blue")
    (style,) = client.predict("#BLUE", api_name="/styles")["styles"]
    told = client.predict(run, api_name="/status")
    assert (style["note"], style["tags"]) == (told["note"], told["tags"]) == ("too strong", ["blue"])
    for form, suffix in (("safetensors", ".safetensors"), ("diffusers", ".safetensors"), ("toml", ".toml")):
        file = Path(client.predict(style["id"], form, api_name="/download"))
        assert file.suffix == suffix and file.stat().st_size > 300 and file.stem.startswith(run)
    drawn = client.predict("a boat", {style["id"]: 0.8}, {"steps": 2, "seed": 5}, api_name="/generate")
    assert len(drawn) == 2 and len({Path(path).read_bytes() for path in drawn}) == 2
    assert "[ended]" in refused(client, run, api_name="/stop")
    assert "[nothing]" in refused(client, run, api_name="/resume")


def test_a_style_is_fetched_under_its_name_in_any_script(client: Any, place: Process) -> None:
    write_run(place.out, "狐の絵", {"train": {"steps": 4, "warmup": 0}})
    style = client.predict("狐の絵", api_name="/status")["style"]
    assert Path(client.predict(style, "safetensors", api_name="/download")).name == "狐の絵.safetensors"
    (offered,) = (place.out / ".studio" / "public").rglob("狐の絵.safetensors")
    headers = httpx.get(f"{place.url}gradio_api/file={quote(str(offered))}").headers
    assert headers["content-disposition"].endswith(f"; filename*=utf-8''{quote('狐の絵.safetensors')}")


def test_a_run_trains_what_was_sent_and_is_stopped_while_it_is_busy(client: Any, place: Process, packed: Path) -> None:
    sent = uploaded(client, packed)
    assert [image["caption"] for image in sent["images"]] == ["a boat", "a house by the sea"]
    first = {sent["images"][0]["id"]: "a red boat"}
    assert client.predict(sent["draft"], first, "dusk style", api_name="/captions") == {"changed": 1}
    long = FEW | {"method": "lokr", "train.steps": 100_000, "sample.every": 0}
    run = client.predict(sent["draft"], "狐", settings=long, api_name="/start")["run"]
    config = read_config(place.out / run / "config.toml")
    assert (run, config.method.name, config.data.trigger) == ("狐", "lokr", "dusk style")
    captions = {path.read_text().strip() for path in (place.out / run).rglob("0*.txt")}
    assert captions == {"a red boat", "a house by the sea"}
    said = refused(client, run, api_name="/delete")
    assert "狐 cannot be deleted: it is " in said and said.endswith("[busy]")
    state = client.predict(run, "cancel", api_name="/stop")["state"]
    assert state in ("cancelled", "stopping")


def test_a_run_is_deleted_listed_in_the_trash_brought_back_and_deleted_for_good(client: Any, place: Process) -> None:
    folder, store = write_run(place.out, "fading", {"train": {"steps": 4, "warmup": 0}}), Store(place.out)
    style = client.predict("fading", api_name="/status")["style"]
    item = client.predict("fading", api_name="/delete")["item"]
    assert "[no_run]" in refused(client, "fading", api_name="/status") and not folder.exists()
    listed = client.predict(api_name="/trash")
    (thrown,) = [one for one in listed["items"] if one["id"] == item]
    assert (thrown["kind"], thrown["name"], thrown["owner"]) == ("run", "fading", "")
    assert thrown["expires"] - thrown["deleted"] == 30 * 86_400 and listed["bytes"] >= thrown["bytes"] > 0
    assert client.predict(item, api_name="/restore") == {"kind": "run", "name": "fading"}
    assert client.predict("fading", api_name="/status")["style"] == style
    assert "This is no longer in the trash. [no_item]" in refused(client, item, api_name="/restore")
    assert "[no_item]" in refused(client, "../fading", api_name="/empty")
    again = client.predict("fading", api_name="/delete")["item"]
    assert client.predict(again, api_name="/empty") == {"deleted": 1, "bytes": thrown["bytes"]}
    write_run(place.out, "gone", {"train": {"steps": 4, "warmup": 0}}, first=3)
    client.predict("gone", api_name="/delete")
    assert client.predict(api_name="/empty")["deleted"] == 1 and Trash(store).items(MACHINE_OWNER) == []
    assert client.predict(api_name="/trash") == {"items": [], "bytes": 0}
    store.close()


def test_captions_are_counted_whatever_is_added_meanwhile(packed: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Another request adds a picture between the look at a draft and its change."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    api = Api(open_services(paths, paths.uploads))
    drafts, key, pictures = api.services.drafts, key_of_program("cats"), write_pictures(tmp_path / "in", "fox.png")
    fox = take_folder(drafts, key, pictures).pictures[0]
    look = Drafts.look

    def looking(*given: Any) -> Draft:
        found = look(*given)
        take_folder(drafts, key, pictures)
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Drafts, "look", looking)
        assert api.captions("cats", {fox.id: "a red fox"}) == {"changed": 1}
    assert [one.caption for one in drafts.read(key).pictures] == ["a red fox", "fox"]
    assert api.captions("cats", {fox.id: "a red fox"}) == {"changed": 0}
    api.services.close()


def test_what_cannot_be_is_refused_in_a_sentence(client: Any, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("no picture")
    said = refused(client, [_file(tmp_path / "note.png")], api_name="/upload")
    assert "note.png" in said and "[no_images]" in said
    sent = uploaded(client, packed)
    draft = sent["draft"]
    for name in ("///", "🦊", "\u202e"):
        assert "no letter or digit" in refused(client, draft, name, settings=FEW, api_name="/start")
    for settings, word in (
        ({"train.stepz": 3}, "stepz"),
        ({"train.steps": "many"}, "steps"),
        ({"method": "lara"}, "lokr"),
        ({"data.images": "/etc"}, "data.images"),
    ):
        said = refused(client, draft, "x", settings=settings, api_name="/start")
        assert word in said and "[bad_setting]" in said, said
    for settings, words in (
        ({"data": "x"}, "must be a table of settings"),
        ({"name": "y"}, "cannot be set here"),
        ({"base.parts": ["/etc/passwd"]}, "base.parts cannot be set here"),
        ({"train.steps": True}, "steps must be a number, not true"),
        ({"train.device": "$(touch x)"}, "is not a device"),
        ({"nothing": {"x": 1}}, "nothing"),
    ):
        said = refused(client, draft, "x", settings=settings, api_name="/start")
        assert words in said and "[bad_setting]" in said, said
    assert "[bad_setting]" in refused(client, draft, "x", preset="nothing", api_name="/start")
    assert "[no_base]" in refused(client, draft, "x", base="nobody/nothing", api_name="/start")
    assert "[no_base]" in refused(client, draft, "x", settings={"base.model": "nobody/nothing"}, api_name="/start")
    known = {each["name"]: each for each in client.predict(api_name="/methods")}
    assert (known["boft"]["setting"], known["boft"]["method"]) == ("method.butterfly=true", "oft")
    assert "[no_draft]" in refused(client, "guessed", "x", api_name="/start")
    assert "[no_image]" in refused(client, draft, {"other": "x"}, api_name="/captions")
    for name in ("nothing", "../outputs", ""):
        assert "[no_run]" in refused(client, name, api_name="/status")
    assert "[no_sweep]" in refused(client, "../x", api_name="/sweep_status")
    assert "[no_style]" in refused(client, "../../etc/passwd", api_name="/download")
    assert "[no_style]" in refused(client, "a boat", {"nothing": 1.0}, api_name="/generate")
    assert "[bad_value]" in refused(client, "a boat", {}, {"steps": 0}, api_name="/generate")


WRONG: tuple[Any, ...] = (5, True, None, 1.5, ["x"], {"x": 1}, "x" * 20_000)
"""Values of types that a field may not have."""


def calls(draft: str) -> dict[str, dict[str, Any]]:
    """What each endpoint takes, as it might be."""
    return {
        "/captions": {"draft": draft, "captions": {}, "trigger": ""},
        "/start": {"draft": draft, "name": "x", "preset": "lora", "base": "starter", "settings": {"train.steps": 0}},
        "/sweep": {"draft": draft, "name": "x", "methods": ["lora"], "grid": {}, "preset": "lora", "settings": {}},
        "/sweep_status": {"sweep": "none"},
        "/remove": {"draft": draft, "images": ["none"]},
        "/status": {"run": "none"},
        "/stop": {"run": "none", "how": "save"},
        "/resume": {"run": "none"},
        "/delete": {"run": "none"},
        "/restore": {"item": "none"},
        "/empty": {"item": "none"},
        "/styles": {"search": "", "page": 1},
        "/download": {"style": "none", "format": "toml"},
        "/generate": {"prompt": "x", "styles": {"none": 1.0}, "options": {}},
    }


def is_coded(said: str) -> bool:
    """Whether a refusal is a sentence with a code, and an expected one."""
    return bool(re.search(r"\[[a-z_]+\]$", said)) and "[unexpected]" not in said


def test_every_value_of_a_wrong_type_gets_a_sentence_and_a_code(packed: Path, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "outputs")
    paths.make()
    api = SweepApi(open_services(paths, paths.uploads))
    take_folder(api.services.drafts, key_of_program("cats"), packed.parent)
    for name, fine in calls("cats").items():
        for field, value in product(fine, WRONG):
            if (name, field, value) == ("/styles", "page", 5):
                continue
            with pytest.raises(gr.Error) as caught:
                getattr(api, name[1:])(**fine | {field: value})
            assert is_coded(caught.value.message), (name, field, value, caught.value.message)
    api.services.close()


def test_a_value_of_a_wrong_type_is_refused_over_the_wire(client: Any, packed: Path) -> None:
    draft = uploaded(client, packed)["draft"]
    for name, fine in calls(draft).items():
        for field, value in zip(fine, cycle((None, {"x": 1}, True, ["x"])), strict=False):
            said = refused(client, api_name=name, **fine | {field: value})
            assert is_coded(said), (name, field, value, said)
    long = {"save.title": "x" * 20_000}
    assert "[bad_value]" in refused(client, draft, "x", settings=long, api_name="/start")


def test_too_few_values_are_refused_in_words_before_the_queue(place: Process) -> None:
    for way, values in (("call", ["x", "n"]), ("run", []), ("api", ["x"] * 4)):
        answer = httpx.post(f"{place.url}gradio_api/{way}/start", json={"data": values}, timeout=60)
        assert answer.status_code == 400 and answer.json()["detail"] == (
            "/start takes these values, in a list: draft, name, preset, base, settings. "
            f"The call has {len(values)}. [bad_call]"
        )
    for endpoint in httpx.get(f"{place.url}gradio_api/info", timeout=60).json()["named_endpoints"].items():
        name, parameters = endpoint[0], endpoint[1]["parameters"]
        if parameters:
            answer = httpx.post(f"{place.url}gradio_api/call{name}", json={"data": []}, timeout=60)
            assert answer.status_code == 400 and parameters[0]["parameter_name"] in answer.json()["detail"], name
    assert "Traceback" not in place.said()


def test_only_the_named_endpoints_are_shown_and_documented(client: Any) -> None:
    shown = client.view_api(return_format="dict")
    documented = re.findall(r"`(/\w+)`", PAGE)
    assert set(shown["named_endpoints"]) == set(documented) and shown["unnamed_endpoints"] == {}
    assert all(len(each["parameters"]) <= 6 for each in shown["named_endpoints"].values())


def _file(path: Path) -> Any:
    from gradio_client import handle_file

    return handle_file(str(path))
