"""How soon the Playground shows a picture after a click, from a studio that has just been started.

python -m benchmarks.first_picture                        this version alone
python -m benchmarks.first_picture --before FOLDER        and those in other folders, in turn
python -m benchmarks.first_picture --after 8              with a base that was loaded before the click
python -m benchmarks.first_picture --training             beside a run that trains, and is paused for it
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.full_unet import machine
from benchmarks.open_pages import ROOT, studio, training
from benchmarks.quiet import quiet
from tools.markdown import table

PATIENCE = 240_000
"""Milliseconds to wait for a picture."""
WATCH = """() => {
  window.seen = {};
  const note = (name, image) => image && (window.seen[name] ??= Date.now() / 1000);
  const look = () => {
    note('rough', document.querySelector('#pg-picture img.rough'));
    const image = document.querySelector('#pg-picture button img');
    if (image?.complete && image.naturalWidth) note('picture', image);
    requestAnimationFrame(look);
  };
  look();
  const draw = document.querySelector('[data-draw]');
  draw.addEventListener('click', () => (window.seen.click = Date.now() / 1000));
  draw.click();
}"""
PARTS = {
    "queued": "click until it is in the queue",
    "begun": "queue until its process works on it",
    "first": "base, style and text until the first step",
    "last": "first step until the last",
    "written": "decoding and writing the first picture",
    "shown": "until the page shows it",
}


def measure(root: Path, after: float, trains: bool) -> dict[str, float]:
    """Seconds from the click to each moment, with a studio of the version in a folder."""
    from playwright.sync_api import sync_playwright

    out = Path(tempfile.mkdtemp(prefix="velatura-first-picture-"))
    try:
        with ExitStack() as stack:
            _, port = stack.enter_context(studio(root, out / "runs"))
            playwright = stack.enter_context(sync_playwright())
            if trains:
                stack.enter_context(training(root, out / "runs", served=True))
            path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}/playground")
            page.wait_for_selector("#pg-form form [data-draw]")
            page.wait_for_selector("#pg-picture .pair")
            time.sleep(after)
            page.evaluate(WATCH)
            if trains:
                page.get_by_role("button", name="Pause it and draw now").click()
            page.wait_for_function("window.seen.picture", timeout=PATIENCE)
            seen = page.evaluate("window.seen")
            page.wait_for_selector("#pg-going .going", state="detached", timeout=PATIENCE)
            browser.close()
        return {name: moment - seen["click"] for name, moment in (_moments(out) | seen).items()}
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _moments(out: Path) -> dict[str, float]:
    """When what happened to the drawing, in Unix seconds."""
    (folder,) = out.rglob("drawing-*")
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    steps = [event["time"] for event in events if event["type"] == "working" and event.get("done")]
    begun = next(event["time"] for event in events if event["type"] == "attempt")
    number = re.search(r"drawing-(\d+)-", folder.name)
    assert number is not None
    pictures = sorted(path.stat().st_mtime for path in folder.glob("picture*.png"))
    done = [step for step in steps if step <= pictures[0]]
    queued = int(number[1]) / 1e6
    return {"queued": queued, "begun": begun, "first": done[0], "last": done[-1], "written": pictures[0]}


@quiet()
def main(
    before: Annotated[list[Path] | None, typer.Option(help="A folder with another version; repeatable.")] = None,
    rounds: Annotated[int, typer.Option(help="Pictures of each version.")] = 5,
    after: Annotated[float, typer.Option(help="Seconds for which the page is open before the click.")] = 0.0,
    trains: Annotated[bool, typer.Option("--training", help="Train a run in the same studio meanwhile.")] = False,
) -> None:
    """Measure the versions in turn and print the medians."""
    roots = [*(path.resolve() for path in before or ()), ROOT]
    found: dict[Path, list[dict[str, float]]] = {root: [] for root in roots}
    for _ in range(rounds):
        for root in roots:
            found[root].append(measure(root, after, trains))
            print(root.name, {name: round(value, 2) for name, value in found[root][-1].items()}, flush=True)
    print(f"\n{machine()}\nClicked {after:g} s after the page was there; medians of {rounds}, in seconds.\n")
    print(
        "\n".join(table(["", *(root.name for root in roots)], [_row(name, found) for name in (*PARTS, "rough", "all")]))
    )


def _row(name: str, found: dict[Path, list[dict[str, float]]]) -> list[str]:
    """A part of the way, by version."""
    if name in ("rough", "all"):
        label = "click until a rough picture" if name == "rough" else "**click until the picture**"
        key = "rough" if name == "rough" else "picture"
        cells = [[one[key] for one in runs if key in one] for runs in found.values()]
    else:
        label, names = PARTS[name], [*PARTS]
        last = names[names.index(name) - 1] if name != "queued" else ""
        own = "picture" if name == "shown" else name
        cells = [[one[own] - (one[last] if last else 0) for one in runs] for runs in found.values()]
    return [label, *(f"{statistics.median(values):.2f}" if values else "–" for values in cells)]


if __name__ == "__main__":
    typer.run(main)
