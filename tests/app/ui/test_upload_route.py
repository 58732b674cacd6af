"""Uploads over the wire: the same picture from many at once, and nobody's taken by another."""

from __future__ import annotations

import http.client
import io
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.ui.server import Process
from tests.app.ui.visitor import READY, blank_page
from tests.trainers.data.pictures import scene

CLIENTS = 20


def visitor(url: str) -> httpx.Client:
    """A browser that has opened the page once."""
    client = httpx.Client(base_url=url, timeout=60)
    client.get("", headers={"accept": "text/html"})
    assert client.cookies.get("velatura-visitor")
    return client


def png(seed: int) -> bytes:
    file = io.BytesIO()
    scene(seed, (64, 48)).save(file, "PNG")
    return file.getvalue()


def send(client: httpx.Client, *pictures: tuple[str, bytes]) -> list[str]:
    answer = client.post("gradio_api/upload", files=[("files", picture) for picture in pictures])
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def file(path: str, name: str) -> dict[str, Any]:
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def take(client: httpx.Client, files: list[dict[str, Any]]) -> str:
    """What `/upload` says of files that were sent, as a program reads it."""
    asked = client.post("gradio_api/call/upload", json={"data": [files, ""]}).json()["event_id"]
    return client.get(f"gradio_api/call/upload/{asked}").text


def left(out: Path) -> list[Path]:
    """Files among the uploads; a folder that goes meanwhile holds none, which `Path.rglob` does not bear."""
    walked = os.walk(out / ".studio" / "uploads")
    return [Path(folder) / name for folder, _, names in walked for name in names if name != ".held"]


def test_the_same_pictures_from_many_at_once_reach_all_of_them(studio: Process) -> None:
    others = set(left(studio.out))
    pictures = [("fox.png", png(1)), ("owl.png", png(2))]
    client = visitor(studio.url)
    with ThreadPoolExecutor(CLIENTS) as pool:
        sent = list(pool.map(lambda _: send(client, *pictures), range(CLIENTS)))
        assert len({path for paths in sent for path in paths}) == 2 * CLIENTS
        batches = [[file(path, name) for path, (name, _) in zip(paths, pictures, strict=True)] for paths in sent]
        answers = list(pool.map(lambda batch: take(client, batch), batches))
    whole = [answer for answer in answers if answer.count('"caption"') == 2 and '"left_out": []' in answer]
    assert len(whole) == CLIENTS, answers
    assert set(left(studio.out)) <= others


def test_a_file_that_is_gone_is_named_and_the_others_go_on(studio: Process) -> None:
    client = visitor(studio.url)
    fox, owl = send(client, ("fox.png", png(3)), ("owl.png", png(4)))
    Path(owl).unlink()
    answer = take(client, [file(fox, "fox.png"), file(owl, "owl.png")])
    assert answer.count('"caption"') == 1 and "complete" in answer
    assert '"name": "owl.png", "reason": "This file did not arrive completely. Add it again."' in answer


def test_an_upload_belongs_to_whoever_sent_it(studio: Process) -> None:
    """Knowing the path of somebody's upload is not enough to take it."""
    ann, ben = visitor(studio.url), visitor(studio.url)
    (path,) = send(ann, ("fox.png", png(5)))
    assert "did not arrive" in take(ben, [file(path, "fox.png")]) and Path(path).is_file()
    assert take(ann, [file(path, "fox.png")]).count('"caption"') == 1


def test_what_breaks_off_leaves_nothing(studio: Process) -> None:
    others = set(left(studio.out))
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="fox.png"\r\n\r\n'
    broken = http.client.HTTPConnection("127.0.0.1", studio.port)
    broken.putrequest("POST", "/gradio_api/upload")
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "100000"}
    for name, value in headers.items():
        broken.putheader(name, value)
    broken.endheaders(head + bytes(50_000))
    end = time.monotonic() + 120
    while set(left(studio.out)) <= others:
        assert time.monotonic() < end, "it has begun to come in"
        time.sleep(0.01)
    broken.close()
    while not set(left(studio.out)) <= others:
        assert time.monotonic() < end, left(studio.out)
        time.sleep(0.05)


@pytest.mark.thorough
def test_a_page_says_why_an_upload_was_refused(tmp_path: Path, browser: Any) -> None:
    full = "import app.jobs.trash.disk as disk\ndisk.RESERVE, disk.SMALL = 2**60, 1"  # all of the disk is to stay free
    process = Process(tmp_path / "outputs", before=full)
    (tmp_path / "fox.png").write_bytes(png(1))
    (tmp_path / "ink.safetensors").write_bytes(b"ink")
    try:
        with blank_page(browser) as page:
            page.goto(process.url)
            page.wait_for_selector(READY)
            page.set_input_files("#files", [str(tmp_path / "fox.png")])
            refused = page.locator(".left-out").get_by_role("listitem").filter(has_text="fox.png")
            refused.get_by_text("The disk is full, so this was not saved.").wait_for()
            page.goto(f"{process.url}styles")
            page.get_by_role("button", name="Import a style").wait_for()
            page.set_input_files("#styles-file", [str(tmp_path / "ink.safetensors")])
            page.get_by_text("“ink.safetensors” was not imported. The disk is full").wait_for()
    finally:
        process.stop()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Makes a folder's disk read-only for what opens a file meanwhile."""
    over = ["mount", "--bind", str(folder), str(folder)]
    if shutil.which("mount") is None or subprocess.run(over, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_becomes_read_only_is_said_until_it_can_be_written(tmp_path: Path, browser: Any) -> None:
    process = Process(tmp_path / "outputs")
    cannot = "The studio's disk cannot be written at the moment, so this was not saved."
    try:
        client = visitor(process.url)
        (path,) = send(client, ("owl.png", png(2)))
        with blank_page(browser) as page, read_only(process.out):
            assert client.get("health").json() == {
                "status": "failing",
                "queue": True,
                "dispatcher": True,
                "disk": False,
            }
            refused = client.post("gradio_api/upload", files=[("files", ("fox.png", png(1)))])
            assert (refused.status_code, refused.text.startswith(cannot)) == (507, True)
            answer = take(client, [file(path, "owl.png")])
            assert cannot in answer and "[not_kept]" in answer
            page.goto(process.url)
            page.get_by_text(cannot).wait_for()
        assert take(client, [file(path, "owl.png")]).count('"caption"') == 1
    finally:
        process.stop()
