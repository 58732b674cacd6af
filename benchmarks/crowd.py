"""Twenty people at once on one studio with a long queue and a large library: how soon every page and endpoint answers.

python -m benchmarks.crowd                 nothing written
python -m benchmarks.crowd --write         writes docs/reliability.md
"""

from __future__ import annotations

import datetime
import http.client
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import psutil
import typer

from benchmarks.full_unet import machine
from benchmarks.open_pages import PATIENCE, ROOT, SAMPLES, Line, command, fill, studio
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from tools.markdown import table

PAGE = ROOT / "docs" / "reliability.md"
PEOPLE, WAITING, ENDED, STYLES = 20, 500, 50, 2000
SLOWEST = 8
THINKS = 1.0
"""Seconds on average between an answer and the next request of the same person."""
PAGES = ("", "runs", "run?id=ended 0", "compare?runs=ended 0,ended 1", "styles", "playground", "trash", "account")
Act = Callable[["Person"], object]


@dataclass
class Found:
    """What was measured."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Until each request was answered in full, by what was asked for."""
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    busy: float = 0.0
    """Processor time of the studio for each second."""
    load: list[float] = field(default_factory=list)


class Person(Line):
    """Somebody who has logged in, with one connection for what they do and a stream that their page follows."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(port)
        self.port, self.number, self.run = port, number, f"waiting {number}"
        self.cookie = ""
        self.draft, self.picture, self.page = "", "", f"page-{number}"
        fields = urlencode({"username": f"person {number}", "password": "a-long-password"})
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("POST", "/login", fields, {"content-type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        self.cookie = "; ".join(each.partition(";")[0] for each in answer.headers.get_all("set-cookie") or ())

    def _answer(self, how: str, path: str, content: Any = None, headers: dict[str, str] | None = None) -> bytes:
        return super()._answer(how, path.replace(" ", "%20"), content, (headers or {}) | {"cookie": self.cookie})

    def call(self, name: str, *given: Any) -> Any:
        """An endpoint of the API, as `curl` calls it."""
        event = self.post(f"/gradio_api/call/{name}", {"data": given})["event_id"]
        said = self.get(f"/gradio_api/call/{name}/{event}").decode()
        found = re.search(r"event: complete\ndata: (.*)", said)
        if found is None:
            raise RuntimeError(f"{name}: {said[:200]}")
        return json.loads(found[1])[0]

    def follow(self, ended: threading.Event) -> None:
        """Hold a stream of the state of the computer, as every open page does."""
        while not ended.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                connection.request("GET", "/now/stream", headers={"cookie": self.cookie})
                answer = connection.getresponse()
                while not ended.is_set() and answer.read1(65536):
                    pass
            except OSError:
                ended.wait(1)
            finally:
                connection.close()

    def upload(self) -> str:
        """Send a picture; its path on the server."""
        picture = next(SAMPLES.glob("*.png")).read_bytes()
        body = (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        )
        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = self._answer("POST", "/gradio_api/upload", body + picture + b"\r\n--x--\r\n", headers)
        return str(json.loads(answer)[0])


def make_library(runs: Path) -> None:
    """Put copies of a trained style into the library, each with another name and another number in its file."""
    words, options = command(ROOT, "train", "--images", str(SAMPLES), "--name", "style", "--out", str(runs / "made"))
    words += ["--preset", "lora", "--steps", "1", "--set", "sample.every=0", "--set", "method.rank=1"]
    subprocess.run(words, **options, check=True, capture_output=True)
    content = bytearray(next((runs / "made" / "style" / "style").glob("*.safetensors")).read_bytes())
    shutil.rmtree(runs / "made")
    folder = runs / ".studio" / "styles"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(STYLES):
        content[-4:] = struct.pack("<f", 1e-4 * (number + 1))
        (folder / f"style {number}.safetensors").write_bytes(content)


def prepare(runs: Path) -> None:
    """Fill a studio: the queue with a run at work, the library, the people, whose each twentieth job is."""
    fill(ROOT, runs, WAITING, ENDED)
    make_library(runs)
    file = runs.with_name("people.txt")
    file.write_text("".join(f"person {number}:a-long-password\n" for number in range(PEOPLE)))
    for arguments in (("ui", "--import-people", str(file)), ("people", "limit", "--waiting", "1000")):
        words, options = command(ROOT, *arguments, "--out", str(runs))
        subprocess.run(words, **options, check=True, capture_output=True)
    with closing(sqlite3.connect(runs / "queue.db")) as queue:
        queue.execute("UPDATE jobs SET owner = 'person ' || (id % ?) WHERE phase != 'running'", (PEOPLE,))
        queue.commit()


def page_acts(person: Person) -> dict[str, Act]:
    """Each page as a document, and what it asks for when it is opened."""
    config = json.loads(person.get("/config"))
    by_id = {each["id"]: each for each in config["dependencies"]}
    acts: dict[str, Act] = {}
    for address in PAGES:
        path = address.partition("?")[0]
        acts[f"/{path}"] = partial(visited, address=address)
        numbers = config["page"].get(path, {}).get("dependencies", [])
        loads = [by_id[one] for one in numbers if any(event == "load" for _, event in by_id[one]["targets"])]
        if loads:
            acts[f"/{path}, its content"] = partial(opened, loads=loads, address=address)
    return acts


def visited(who: Person, address: str) -> None:
    """A page as a document, or another address."""
    who.get(f"/{address}")


def opened(who: Person, loads: list[dict[str, Any]], address: str) -> None:
    """What Gradio's script asks for when a page has been opened."""
    for each in loads:
        inputs = ["" for _ in each["inputs"]]
        body = {"fn_index": each["id"], "data": inputs, "session_hash": who.page}
        who.post(f"/gradio_api/run/predict?{address.partition('?')[2]}".rstrip("?"), body)


def api_acts() -> dict[str, Act]:
    """Endpoints in an order that can be repeated.

    `/generate` and `/resume` are left out: the first takes the time of the device, the second needs a run that trained.
    """

    def upload(who: Person) -> None:
        file = {"path": who.upload(), "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
        sent = who.call("upload", [file], "")
        who.draft, who.picture = sent["draft"], sent["images"][0]["id"]

    def start(who: Person) -> None:
        name, settings = f"new {who.number} {time.time_ns()}", {"train.steps": 20, "method": "lora"}
        who.run = who.call("start", who.draft, name, "balanced", "starter", settings)["run"]

    def delete(who: Person) -> None:
        who.item = who.call("delete", who.run)["item"]  # type: ignore[attr-defined]

    def restore(who: Person) -> None:
        who.run = who.call("restore", who.item)["name"]  # type: ignore[attr-defined]

    def download(who: Person) -> None:
        style = who.call("styles", f"style {who.number}", 1)["styles"][0]["id"]
        begun = time.perf_counter()
        who.call("download", style, "safetensors")
        who.since = begun  # type: ignore[attr-defined]

    return {
        "/upload": upload,
        "/captions": lambda who: who.call("captions", who.draft, {who.picture: "a red boat"}, "dusk style"),
        "/drafts": lambda who: who.call("drafts"),
        "/start": start,
        "/status": lambda who: who.call("status", who.run),
        "/stop": lambda who: who.call("stop", who.run, "cancel"),
        "/delete": delete,
        "/trash (API)": lambda who: who.call("trash"),
        "/restore": restore,
        "/empty": lambda who: who.call("empty", ""),
        "/remove": lambda who: who.call("remove", who.draft, []),
        "/styles (API)": lambda who: who.call("styles", "", 1 + who.number),
        "/download": download,
        "/methods": lambda who: who.call("methods"),
        "/presets": lambda who: who.call("presets"),
        "/bases": lambda who: who.call("bases"),
    }


def plain_acts() -> dict[str, Act]:
    """What other programs and every page ask for."""
    return {f"/{name}": partial(visited, address=name) for name in ("now", "health", "config")}


def visit(person: Person, acts: dict[str, Act], until: float, found: Found, lock: threading.Lock) -> None:
    """Do everything in turn, pages between the endpoints, with pauses, until the time is over."""
    chance = random.Random(person.number)
    for name, act in rounds(acts, chance):
        if time.monotonic() > until:
            return
        time.sleep(chance.expovariate(1 / THINKS))
        begun = time.perf_counter()
        try:
            act(person)
        except (OSError, RuntimeError, KeyError, IndexError, AttributeError) as error:
            with lock:
                found.failed[f"{name}: {str(error)[:150]}"] += 1
            continue
        with lock:
            found.seconds[name].append(time.perf_counter() - getattr(person, "since", begun))
        person.__dict__.pop("since", None)


def rounds(acts: dict[str, Act], chance: random.Random) -> Iterator[tuple[str, Act]]:
    """Endpoints in their order, which depend on each other, with pages and other requests at random between them."""
    api = api_acts()
    others = [(name, act) for name, act in acts.items() if name not in api]
    while True:
        chance.shuffle(others)
        left = list(others)
        for each in api.items():
            yield each
            for _ in range(2):
                if left:
                    yield left.pop()


def measure(seconds: float) -> Found:
    """Let everybody work for so long."""
    found, lock, ended = Found(), threading.Lock(), threading.Event()
    out = Path(tempfile.mkdtemp(prefix="velatura-crowd-"))
    try:
        prepare(out / "runs")
        with studio(ROOT, out / "runs") as (process, port):
            people = [Person(port, number) for number in range(PEOPLE)]
            acts = page_acts(people[0]) | plain_acts() | api_acts()
            people[0].get("/metrics")
            for act in page_acts(people[0]).values():
                act(people[0])  # what is read once is read before
            found.load.append(os.getloadavg()[0])
            until = time.monotonic() + seconds
            threads = [threading.Thread(target=one.follow, args=(ended,), daemon=True) for one in people]
            threads += [threading.Thread(target=visit, args=(one, acts, until, found, lock)) for one in people]
            threads.append(threading.Thread(target=scrape, args=(people[0], port, until, found, lock)))
            before, begun = cpu(process), time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                if not thread.daemon:
                    thread.join()
            found.busy = (cpu(process) - before) / (time.monotonic() - begun)
            found.load.append(os.getloadavg()[0])
            ended.set()
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return found


def scrape(admin: Person, port: int, until: float, found: Found, lock: threading.Lock) -> None:
    """Read the figures as Prometheus does, more often."""
    line = Person(port, admin.number)
    while time.monotonic() < until:
        begun = time.perf_counter()
        line.get("/metrics")
        with lock:
            found.seconds["/metrics"].append(time.perf_counter() - begun)
        time.sleep(2)


def cpu(process: psutil.Process) -> float:
    """Processor time of a process so far."""
    return float(sum(process.cpu_times()[:2]))


def report(found: Found) -> str:
    """The section of the page."""
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    slowest = sorted(found.seconds.items(), key=lambda pair: late(pair[1]), reverse=True)[:SLOWEST]
    rows = [
        (f"`{name}`", str(len(times)), *(f"{1000 * each:.0f}" for each in (middle(times), late(times), max(times))))
        for name, times in slowest
    ]
    everything = [one for times in found.seconds.values() for one in times]
    rows.append(("all", str(len(everything)), *(f"{1000 * f(everything):.0f}" for f in (middle, late, max))))
    return "\n".join(
        [
            "# Twenty people at once",
            "",
            f"{PEOPLE} people are logged in on one studio with {WAITING} waiting runs, {ENDED} that have ended, one at "
            f"work and {STYLES:,} styles. Each follows `/now/stream` and sends a request {THINKS:.0f} s on average "
            "after the last answer: pages, what a page asks for when it is opened (its content), and API calls in two "
            "requests, as `curl` makes them. Times in ms until the whole answer is there, of the "
            f"{SLOWEST} kinds with the largest 95 % and of all {len(found.seconds)}. `/generate` is left out, whose "
            "time is that of the device, and `/resume`. The run at work is simulated.",
            "",
            f"Written by `python -m benchmarks.crowd --write` on {today}: {machine()}. The clients run on the same "
            f"processors; the load was {found.load[0]:.1f} before and {found.load[-1]:.1f} after. The studio took "
            f"{100 * found.busy:.0f} % of one core. {sum(found.failed.values())} requests failed.",
            "",
            *table(("", "requests", "median", "95 %", "worst"), rows),
        ]
    )


def middle(times: list[float]) -> float:
    """The median."""
    return statistics.median(times)


def late(times: list[float]) -> float:
    """What 19 of 20 are within."""
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]


@quiet()
def crowd(
    seconds: Annotated[float, typer.Option(help="How long everybody works.")] = 120.0,
    write: Annotated[bool, typer.Option("--write", help="Write docs/reliability.md.")] = False,
) -> None:
    """Measure a studio that twenty people use at once."""
    found = measure(seconds)
    said = report(found)
    print(said)
    for what, count in sorted(found.failed.items()):
        print(count, what)
    if write:
        write_section(PAGE, said + "\n")


if __name__ == "__main__":
    typer.run(crowd)
