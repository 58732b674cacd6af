"""What travels with a job, and where it lies afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.jobs.cluster.contents import Contents
from app.jobs.cluster.parcel import (
    BLOCK,
    SELF,
    Blob,
    digest_of,
    list_files,
    pack,
    read_content,
    rewrite_settings,
    safe_path,
)  # fmt: skip
from trainers.errors import VelaturaError


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def send(contents: Contents, parcel, places: dict[str, Path]) -> list[str]:
    missing = contents.missing(parcel)
    for digest in missing:
        data = places[digest].read_bytes()
        for begin in range(0, len(data), 3):
            contents.receive(digest, data[begin : begin + 3], "me")
        contents.finish(parcel.blobs()[digest], "me")
    return missing


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A drawing's folder, whose base and style lie elsewhere, and whose prompt is a path."""
    base = write(tmp_path / "base", {"unet/weights": b"u" * 10, "vae/weights": b"v", "empty": b""})
    style = write(tmp_path / "styles", {"dusk.safetensors": b"dusk"}) / "dusk.safetensors"
    request = {"base": str(base), "prompts": [str(tmp_path)], "styles": [{"path": str(style)}], "size": None}
    files = {
        "request.json": json.dumps(request).encode(),
        "events.jsonl": b"{}\n",
        "dataset/fox.png": b"u" * 10,
        "stop": b"save",
        ".training": b"",
        "checkpoints/.step-1.unfinished/network": b"half",
        "cache/latents.part": b"half",
    }
    return write(tmp_path / "head" / "dusk", files)


def test_a_job_is_laid_out_on_a_node_with_what_its_settings_name(job, tmp_path):
    parcel, places = pack(job)
    assert parcel.name == "dusk" and set(parcel.files) == {"request.json", "events.jsonl", "dataset/fox.png"}
    base, style = str(tmp_path / "base"), str(tmp_path / "styles" / "dusk.safetensors")
    assert set(parcel.inputs) == {base, style}, "a prompt is no path"
    assert set(parcel.inputs[base]) == {"unet/weights", "vae/weights", "empty"} and set(parcel.inputs[style]) == {SELF}

    contents = Contents(tmp_path / "node" / "contents")
    assert len(send(contents, parcel, places)) == 6, "equal contents travel once"
    assert send(contents, parcel, places) == [], "and what is there does not travel again"
    there = tmp_path / "node" / "jobs" / "1" / "dusk"
    put = contents.lay_out(parcel, there)
    rewrite_settings(there, put)
    assert {name: path.read_bytes() for name, path in list_files(there) if name != "request.json"} == {
        "events.jsonl": b"{}\n",
        "dataset/fox.png": b"u" * 10,
    }
    request = json.loads((there / "request.json").read_text())
    assert (Path(request["base"]) / "unet" / "weights").read_bytes() == b"u" * 10
    assert Path(request["base"]).name == "base" and (Path(request["base"]) / "empty").read_bytes() == b""
    given = Path(request["styles"][0]["path"])
    assert given.name == "dusk.safetensors" and given.read_bytes() == b"dusk"
    assert request["prompts"] == [str(tmp_path)] and request["size"] is None
    (there / "events.jsonl").write_bytes(b"{}\n{}\n")
    assert send(contents, parcel, places) == [], "a file that grows is the job's own"
    assert (contents._folder / digest_of(job / "events.jsonl").digest).read_bytes() == b"{}\n"


def test_a_run_keeps_its_settings_but_for_the_base_and_its_parts(tmp_path):
    base = write(tmp_path, {"base.safetensors": b"base", "t5.gguf": b"t5"}) / "base.safetensors"
    t5 = tmp_path / "t5.gguf"
    named = f'model = "{base}"\nparts = [\n    "{t5}",\n]\n'
    config = f'name = "dusk"\n[base]\n{named}[data]\nimages = "dataset"\ntrigger = "{tmp_path}"\n'
    run = write(tmp_path / "dusk", {"config.toml": config.encode()})
    parcel, _ = pack(run)
    assert set(parcel.inputs) == {str(base), str(t5)}
    places = {str(base): Path("/node/base.safetensors"), str(t5): Path("/node/t5.gguf"), str(tmp_path): Path("/wrong")}
    rewrite_settings(run, places)
    moved = config.replace(str(base), "/node/base.safetensors").replace(str(t5), "/node/t5.gguf")
    assert (run / "config.toml").read_text() == moved.replace("\n[", "\n\n[")


def test_a_content_that_arrives_damaged_is_refused(job, tmp_path):
    parcel, _ = pack(job)
    contents = Contents(tmp_path / "node")
    blob = digest_of(job / "dataset" / "fox.png")
    contents.receive(blob.digest, b"other data", "me")
    with pytest.raises(VelaturaError, match="arrived damaged"):
        contents.finish(blob, "me")
    assert blob.digest in contents.missing(parcel) and list((tmp_path / "node").iterdir()) == []
    contents.receive(blob.digest, b"u" * 4, "me")
    contents.receive(blob.digest, b"half", "another")
    contents.receive(blob.digest, b"u" * 6, "me")
    contents.finish(blob, "me")
    assert blob.digest not in contents.missing(parcel)
    (tmp_path / "node" / blob.digest).write_bytes(b"u")  # as a full disk would leave it
    assert blob.digest in contents.missing(parcel)


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    contents = Contents(tmp_path / "node")
    for age, digest in enumerate("abc"):
        path = tmp_path / "node" / digest
        path.write_bytes(b"x" * 10)
        os.utime(path, (1000 - age, 1000 - age))
    contents.tidy(most=25)
    assert {path.name for path in (tmp_path / "node").iterdir()} == {"a", "b"}


def test_a_large_file_has_its_digest_and_its_size(tmp_path):
    (tmp_path / "large").write_bytes(b"ab" * BLOCK)
    assert digest_of(tmp_path / "large").size == 2 * BLOCK
    assert digest_of(tmp_path / "large") != Blob(digest_of(tmp_path / "large").digest, 1)


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../out", "", "."])
def test_no_path_leads_out_of_a_folder(tmp_path, name):
    with pytest.raises(ValueError, match="is not a path in a folder"):
        safe_path(tmp_path, name)
    assert safe_path(tmp_path, "a/b") == tmp_path / "a" / "b"


def test_what_is_appended_while_a_job_is_sent_waits_for_the_next_attempt(job, tmp_path):
    parcel, places = pack(job)
    with (job / "events.jsonl").open("ab") as events:
        events.write(b"{}\n")
    contents, blob = Contents(tmp_path / "node"), parcel.files["events.jsonl"]
    for block in read_content(places[blob.digest], blob):
        contents.receive(blob.digest, block, "me")
    contents.finish(blob, "me")
    assert blob.digest not in contents.missing(parcel)
