"""The text encoder and its first training: the end token of a phrase predicts the teacher's embedding of the phrase."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.icons import icon_name
from tools.starter.drawings.captions import OPENINGS, article, describe, open_with
from tools.starter.drawings.render import open_drawings
from tools.starter.drawings.sets import read_concepts, read_icon_sets
from tools.starter.drawings.tokens import END, POSITIONS, START, whole_words
from tools.starter.networks.stage import Schedule, Stage, autocast_on
from tools.starter.networks.teacher import embed, fetch_teacher, whiten
from trainers.atomic_files import whole_file

WIDTH = 192
LAYERS = 3
SCHEDULE = Schedule(steps=1_500, batch=64, rate=0.02, plain_rate=2e-3, ema_decay=0.99, measure_every=250)
UNSEEN = 20  # every so many phrases one is kept out, to measure by


def make_text_encoder(tokenizer: Any) -> Any:
    """A `CLIPTextModel` with random values for this tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel

    start, end = tokenizer.convert_tokens_to_ids([START, END])
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            max_position_embeddings=POSITIONS,
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def tokenize(tokenizer: Any, captions: list[str]) -> Tensor:
    """Token numbers `(n, 77)`, padded with the end token and cut."""
    tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt")
    return tokens.input_ids


def list_phrases(drawings: Path, tokenizer: Any) -> list[str]:
    """The training phrases: concepts with every style, names of icons, single words, pairs of words."""
    concepts, sets = read_concepts(), read_icon_sets()
    styles = ["", *(icon_set.style for icon_set in sets)]
    named = [*concepts.taught, *concepts.held_out, *(word for words in concepts.synonyms.values() for word in words)]
    names = {name for icon_set in sets for name in open_drawings(drawings, icon_set.name).names}
    words = whole_words(tokenizer)
    pairs = zip(words[::2], words[1::2], strict=False)
    phrases = {describe(name, style) for name in named for style in styles}
    phrases |= {open_with(opening, name) for name in named for opening in OPENINGS}
    phrases |= {name.replace("-", " ") for name in names - {icon_name(concept) for concept in named}}
    phrases |= set(words) | {article(word) + word for word in words} | {f"{first} {second}" for first, second in pairs}
    return sorted(phrases)


def train_text_encoder(
    folder: Path, drawings: Path, tokenizer: Any, device: torch.device, schedule: Schedule = SCHEDULE
) -> Any:
    """Train and return it; resumes an interrupted training."""
    torch.manual_seed(schedule.seed)
    model = make_text_encoder(tokenizer).to(device)
    phrases = list_phrases(drawings, tokenizer)
    targets = _cached(folder / "targets.pt", lambda: whiten(embed(fetch_teacher(folder), phrases, device), WIDTH))
    tokens = tokenize(tokenizer, phrases)
    kept = torch.arange(len(phrases)) % UNSEEN != 0

    def agreement(places: Tensor) -> Tensor:
        ids = tokens[places].to(device)
        with autocast_on(device):
            hidden = model(ids).last_hidden_state  # (n, 77, width)
        after = (ids == tokenizer.eos_token_id)[..., None]  # the end token and the padding all predict
        target = targets[places].to(device)[:, None]
        cosine = torch.nn.functional.cosine_similarity(hidden.float(), target, dim=-1)[..., None]
        return (cosine * after).sum() / after.sum()

    seen, unseen = kept.nonzero()[:, 0], (~kept).nonzero()[:, 0]

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        places = seen[torch.randint(len(seen), (schedule.batch,), generator=generator)]
        return {"loss": 1 - agreement(places)}

    def measure() -> dict[str, float]:
        return {"unseen phrases' cosine": round(float(agreement(unseen[::4])), 3)}

    Stage(folder, model, schedule, plain).train(loss, measure)
    return model.eval()


def plain(name: str) -> bool:
    """Whether AdamW trains a parameter: embeddings are tables, not matrices that mix."""
    return "embedding" in name


def _cached(path: Path, make: Callable[[], Tensor]) -> Tensor:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make()
        with whole_file(path) as building:
            torch.save(made, building)
    return torch.load(path, weights_only=True)
