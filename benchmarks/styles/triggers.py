"""Measures trigger words on the starter, before and after training: `python -m benchmarks.styles.triggers`.

Presets of the studio train on the bundled sets, whose captions have the word in front, behind or not at all, or whose
text encoder or word learns too; what is drawn of held-out concepts is compared with these. Before training, pictures
with the word are compared with those without. Rows are kept as they end, so it can be stopped and goes on where it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.pages import write_section
from benchmarks.styles.measure import PERCEPTION, SEEDS
from benchmarks.styles.rows import SCHEDULE, append_line, base_hash, read_lines
from benchmarks.styles.times import HELD_OUT, put_images
from tools.markdown import table
from tools.starter.measure import as_tensor
from tools.starter.networks.perception import Perception, load_perception
from trainers.config.build import build_config
from trainers.config.presets import STARTER, find_preset
from trainers.config.sections import Base
from trainers.config.tables import overlay
from trainers.data.dataset import CENTRE, Draw, load_dataset, pixels
from trainers.data.sample_sets import read_sets
from trainers.data.subjects import NEW_ON_STARTER
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.runs.run import Run
from trainers.sampling.sample import SamplingParams, draw, drawing_context
from trainers.training.reopen import reopened
from trainers.training.train import train

WORDS = ("inkgeo style", "ohwx", "sks", "dusk style")
"""Trigger words; the first one is trained."""
LEARNED = "<inkgeo>"
STARTS = ("zeros", "mean", "padding")
"""Embeddings that replace the tokens of the first word, which stands in front of the subject."""
TEXT: Mapping[str, Any] = MappingProxyType({"targets": {"text_encoder": "attn"}})
ROW: Mapping[str, Any] = MappingProxyType({"tokens": {"word": LEARNED, "initial": "<|endoftext|>"}})
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "none": ("{subject}", {}),
        "first": ("{word}, {subject}", {}),
        "last": ("{subject}, {word}", {}),
        "first, text encoder": ("{word}, {subject}", TEXT),
        "last, learned row": (f"{{subject}} {LEARNED}", ROW),
    }
)
"""The caption and the settings of each way to train a trigger word."""
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "none": "no word, or one that is not read",
        "first": "in front",
        "last": "behind the subject",
        "first, text encoder": "in front, and the text encoder learns",
        "last, learned row": "behind, as a learned row that starts as padding",
    }
)
BEFORE: Mapping[str, str] = MappingProxyType(
    {
        "none": NAMES["none"],
        "first": NAMES["first"],
        "last": NAMES["last"],
        "zeros": "in front, as a row of zeros",
        "mean": "in front, as the mean of all rows",
        "padding": "in front, as a row of padding",
    }
)
SETS = ("black-line", "blob", "photograph")
PRESETS = ("quick", "balanced")
RUNS = (("quick", 1), ("balanced", 1), ("quick", 2), ("balanced", 2))
"""Presets and seeds; only the first two ways are trained with the balanced preset."""
PAGE = Path(__file__).parents[2] / "docs" / "starter.md"
RESULTS = Path(__file__).parents[1] / "triggers.jsonl"
SCRATCH = Path("outputs/triggers-benchmark")
DRAWN = SamplingParams((), SEEDS, steps=15, guidance=3.0, size=(128, 128), sampler="dpm++ 2m quick", batch=8)
SUBJECTS = tuple(subject for group in NEW_ON_STARTER for subject in group)
ABOUT = """# Trigger words

The starter's text encoder knows few words. A new one changes all that the denoiser reads: *inkgeo style, penguin* was
no penguin before training, and the training began from there. The starter's presets therefore set
`data.read_trigger = false`: the word stays in captions, prompts and the style file, and the base reads them as if it
were not there. The style is then drawn with and without its word. Subjects and class images need theirs, which is read.

{before}

Before training: how often, of {subjects} subjects, a picture is nearest to that of the same subject which was drawn
without a word from another seed; after the dot, the mean cosine to the picture without a word from the same seed.

{after}

After training: the distance to the held-out images in style and, after the dot, in content (1 − cosine of the
embeddings); less is better. Figures are means of the seeds, at most {seeds}. The last column is the mean of the three
sets with the quick preset, for prompts without the word.

* **A word that is not read** costs nothing on drawings: they are as near in style, within what seeds change, and
  nearer in content than with the word in front. On photographs, which the starter does not reach either way, balanced
  came nearer in style with the word in front.
* **Behind the subject** does not help: the padding behind the text reads the word all the same.
* **Training the text encoder** changes nothing before training. After it, drawings are a little nearer in style, not in
  content, and *black line* needs the word in the prompt.
* **A neutral start** of the word's row helps if it is the row of padding, which the denoiser knows; zeros and the mean
  of all rows are as new to it as the word. Behind the subject and without a comma, a row of padding is exactly as if
  the word were not there.
* **Learning that row** comes to the same as a word that is not read: the style is there with the word and without it.
* **In front**, as it was, the word has an effect of its own, and *black line* needs it in the prompt.

Measured by `python -m benchmarks.styles.triggers` on the starter `{base}…`, with one thread.
"""


@dataclass(frozen=True)
class Row:
    """One training: a way to train a trigger word, with a preset, on a set of images, with a seed."""

    variant: str
    preset: str
    images: str
    seed: int


def rows() -> Iterator[Row]:
    """All trainings."""
    for preset, seed in RUNS:
        for variant in [*VARIANTS][: 2 if preset == "balanced" else None]:
            yield from (Row(variant, preset, images, seed) for images in SETS)


def measure(row: Row, folder: Path) -> dict[str, float]:
    """Train a row in a folder; the distances of what it draws of held-out concepts, with the word and without."""
    sample = read_sets()[row.images]
    held_out = sample.concepts[HELD_OUT]
    caption, more = VARIANTS[row.variant]
    trained = put_images(sample, [c for c in sample.concepts if c not in held_out], folder / "trained")
    for path in [*trained.iterdir()]:
        text = caption.format(word=WORDS[0], subject=path.stem.replace("-", " "))
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    settings = overlay(find_preset(row.preset).settings_for(STARTER), overlay({"train": dict(SCHEDULE)}, more))
    options: dict[str, Any] = {
        "name": "row",
        "seed": row.seed,
        "data": {"images": str(trained)},
        "sample": {"seeds": (1,), "steps": 1, "guidance": 3.0, "every": 0, "subjects": "captions"},
        "save": {"every": 10_000, "keep": 1},
    }
    result = train(build_config(settings, options), folder / "runs", overwrite=True)
    perception = load_perception(PERCEPTION, torch.device("cpu"))
    with reopened(Run(result.run)) as opened:
        model, config = opened.session.model, opened.session.config
        unseen = put_images(sample, held_out, folder / "unseen")
        dataset = load_dataset(unseen, config.data, 0, model.resolution, model.stride)
        truth = torch.stack([pixels(item, Draw(0, False, CENTRE, "")) for item in dataset.items])
        opened.session.network.holder.context = drawing_context(model, DRAWN)
        figures = {}
        for key, form in {"": caption, **({} if row.variant == "none" else {"bare ": "{subject}"})}.items():
            drawn = pictures(model, [form.format(word=WORDS[0], subject=item.caption) for item in dataset.items])
            nearness = perception.embed(drawn).unflatten(0, (-1, len(SEEDS))) * perception.embed(truth)[:, None]
            figures[f"{key}style"] = round(perception.style_distance(drawn, truth), 4)
            figures[f"{key}content"] = round(1 - float(nearness.sum(-1).mean()), 4)
    return figures


def pictures(model: Model, prompts: Sequence[str], params: SamplingParams = DRAWN) -> Tensor:
    """Pictures of each prompt with each seed in turn, `(n, 3, h, w)` from −1 to 1."""
    return as_tensor(list(draw(model, replace(params, prompts=tuple(prompts)))))


def measure_before() -> Iterator[dict[str, Any]]:
    """For each place and trigger word: how many subjects are recognised, and how near they are to those without it."""
    model, perception = load_model(Base(), torch.float32, "cpu"), load_perception(PERCEPTION, torch.device("cpu"))
    known, same = (_embedded(model, perception, SUBJECTS, seed) for seed in (101, 1))
    embeddings = model.text_encoders[0].get_input_embeddings().weight.detach()
    starts = dict(
        zip(
            STARTS,
            (torch.zeros_like(embeddings[0]), embeddings.mean(0), embeddings[model.tokenizers[0].pad_token_id]),
            strict=True,
        )
    )
    places = [("none", ""), *((place, word) for place in ("first", "last") for word in WORDS)]
    for place, word in [*places, *((start, WORDS[0]) for start in STARTS)]:
        if place in starts:
            model.words.put(word, [starts[place][None]])
        form = VARIANTS["first" if place in starts else place][0]
        drawn = _embedded(model, perception, [form.format(word=word, subject=subject) for subject in SUBJECTS], 1)
        if place in starts:
            model.words.remove(word)
        hits = (drawn @ known.T).argmax(1) == torch.arange(len(SUBJECTS))
        near = float((drawn * same).sum(1).mean())
        yield {"before": place, "word": word, "nearest": round(float(hits.float().mean()), 3), "near": round(near, 3)}


def _embedded(model: Model, perception: Perception, prompts: Sequence[str], seed: int) -> Tensor:
    return perception.embed(pictures(model, prompts, replace(DRAWN, seeds=(seed,), steps=8)))


def main(
    row: Annotated[str, typer.Option(help="Measure only this row, given as JSON, and print its figures.")] = "",
    report: Annotated[bool, typer.Option("--report", help="Only write the section, from existing rows.")] = False,
    results: Annotated[Path, typer.Option(help="File with all rows.")] = RESULTS,
) -> None:
    """Train each row that the file lacks and append it there; then write the section of the starter's page."""
    if row:
        each = Row(**json.loads(row))
        print(json.dumps(measure(each, SCRATCH / "-".join(map(str, asdict(each).values())))))
        return
    if not report:
        base = {"base": base_hash()[:8]}
        known = [entry for entry in read_lines(results) if base.items() <= entry.items()]
        if not any("before" in entry for entry in known):
            for entry in measure_before():
                append_line(results, {**base, **entry})
        for each in rows():
            if not any(asdict(each).items() <= entry.items() for entry in known):
                append_line(results, {**base, **asdict(each), **_in_a_process(each)})
    write_section(PAGE, section([*read_lines(results)]))


def section(known: Sequence[Mapping[str, Any]]) -> str:
    """The section, from the rows there are."""
    before = [(title, *(_before(known, place, word) for word in WORDS)) for place, title in BEFORE.items()]
    after = [
        (
            title,
            *(_after(known, variant, preset, (images,)) for preset in PRESETS for images in SETS),
            _after(known, variant, PRESETS[0], SETS, "" if variant == "none" else "bare "),
        )
        for variant, title in NAMES.items()
    ]
    heads = [f"{preset}: {images}" for preset in PRESETS for images in SETS]
    return ABOUT.format(
        before="\n".join(table(["the word", *(f"*{word}*" for word in WORDS)], before)),
        after="\n".join(table(["the word", *heads, "not in the prompt"], after)),
        subjects=len(SUBJECTS),
        seeds=max(seed for _, seed in RUNS),
        base=known[-1]["base"],
    )


def _before(known: Sequence[Mapping[str, Any]], place: str, word: str) -> str:
    fits = (entry for entry in known if entry.get("before") == place and entry["word"] in (word, ""))
    return next((f"{100 * entry['nearest']:.0f} % · {entry['near']:.2f}" for entry in fits), "–")


def _after(known: Sequence[Mapping[str, Any]], variant: str, preset: str, sets: Sequence[str], key: str = "") -> str:
    """Mean distances in style and content over seeds, then over sets; a dash if one of these has no row."""
    of_sets = [
        [entry for entry in known if fits.items() <= entry.items()]
        for fits in ({"variant": variant, "preset": preset, "images": images} for images in sets)
    ]
    if not all(of_sets):
        return "–"
    figures = (mean(mean(entry[f"{key}{what}"] for entry in rows) for rows in of_sets) for what in ("style", "content"))
    return " · ".join(f"{figure:.3f}" for figure in figures)


def _in_a_process(row: Row) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.styles.triggers", "--row", json.dumps(asdict(row))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)
    typer.run(main)
