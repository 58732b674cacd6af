"""The denoiser: what it is shown with which words, what it is to predict, and that training it helps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import diffusers
import pytest
import torch

from tests.tools.starter.small import SCHEDULE, make_small_denoiser, read_log
from tools.starter.drawings.scenes import Scene
from tools.starter.drawings.sets import Concepts
from tools.starter.networks import text
from tools.starter.networks.denoiser import (
    SCHEDULER,
    Pair,
    pick_rows,
    plain,
    train_denoiser,
    write_captions,
)
from tools.starter.networks.lessons import SHARES, Lesson, Lessons
from tools.starter.networks.text import make_text_encoder
from trainers.models.schedule import schedule_from_config
from trainers.randomness import generator

CPU = torch.device("cpu")


def test_adamw_trains_embeddings_and_the_ends(tokenizer):
    pair = Pair(make_text_encoder(tokenizer), make_small_denoiser())
    names = {name for name, parameter in pair.named_parameters() if parameter.ndim > 1 and plain(name)}
    ends = {"unet.conv_in.weight", "unet.conv_out.weight"}
    assert ends < names and {name.split("embedding.")[0].split(".")[-1] for name in names - ends} == {
        "token_", "position_", "time_",
    }  # fmt: skip


def test_lessons_are_picked_by_kind_and_get_their_words():
    concepts = Concepts({"animals": ("fox", "ant", "owl")}, {}, {})
    styles = ("glossy", "sticker", "ink")
    entries = tuple(
        Lesson(kind, Scene((concept,), background="red" if kind == "coloured" else ""), style)
        for concept, style in zip(concepts.taught, styles, strict=True)
        for kind in ("whole", "coloured")
    )
    known = Lessons(entries, torch.zeros(6, 4, 16, 16, dtype=torch.float16), 1.0)
    rows = pick_rows(known, 4_000, generator("rows"))
    captions = write_captions(known, rows, concepts, frozenset(styles[:2]), generator("captions"))
    assert len(rows) == len(captions) == 4_000
    drawn, unsaid = Counter(), Counter()
    for row, caption in zip(rows, captions, strict=True):
        lesson = entries[row]
        drawn[lesson.kind] += 1
        if caption:
            assert lesson.scene.things[0] in caption
            assert caption.endswith(", red background") == (lesson.kind == "coloured")
            unsaid[lesson.style] += lesson.style not in caption
    assert unsaid["glossy"] and unsaid["sticker"] and not unsaid["ink"]  # else a bare prompt draws in ink, too
    shares = {kind: SHARES[kind] / (SHARES["whole"] + SHARES["coloured"]) for kind in ("whole", "coloured")}
    assert {kind: count / 4_000 for kind, count in drawn.items()} == pytest.approx(shares, abs=0.025)


def test_diffusers_draws_on_the_schedule_that_was_trained():
    schedule = schedule_from_config(SCHEDULER, "v_prediction")
    scheduler = diffusers.DDIMScheduler(**SCHEDULER)
    assert scheduler.alphas_cumprod.numpy() == pytest.approx(schedule.alphas_cumprod.numpy(), abs=1e-6)
    t = torch.tensor([0, 500, 999])
    latents, noise = (torch.randn(3, 4, 2, 2, generator=generator("v", name)) for name in ("latents", "noise"))
    kept = schedule.alphas_cumprod[t].view(3, 1, 1, 1)
    signal, sigma = kept.sqrt().float(), (1 - kept).sqrt().float()
    velocity = schedule.target(latents, noise, t)
    assert torch.allclose(velocity, signal * noise - sigma * latents, atol=1e-6)
    assert torch.allclose(velocity, scheduler.get_velocity(latents, noise, t), atol=1e-4)
    assert torch.allclose(velocity[2], -latents[2], atol=1e-6)  # of pure noise, the picture is to be predicted
    noisy = schedule.add_noise(latents, noise, t)
    assert torch.allclose(signal * noisy - sigma * velocity, latents, atol=1e-5)
    scheduler.set_timesteps(25)
    assert scheduler.timesteps[0] == 999


@pytest.mark.thorough
@pytest.mark.slow
def test_training_lowers_the_loss_on_fixed_noise(lessons, tokenizer, tmp_path, monkeypatch, every_step_is_logged):
    monkeypatch.setattr(text, "LAYERS", 1)
    torch.manual_seed(1)
    encoder = make_text_encoder(tokenizer)
    before = encoder.final_layer_norm.weight.detach().clone()
    schedule = replace(SCHEDULE, steps=20, measure_every=5)
    pair = Pair(encoder, make_small_denoiser())
    train_denoiser(tmp_path, lessons, pair, tokenizer, schedule)
    lines = read_log(tmp_path)
    measured = [line["fixed noise"] for line in lines if "fixed noise" in line]
    assert len(measured) == 4 and len(lines) == 24
    assert lines[0]["loss"] > 0.8 and measured[-1] < 0.9 * measured[0] and not pair.unet.training
    assert not torch.equal(encoder.final_layer_norm.weight, before)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    rates = {(group["use_muon"], round(group["highest"], 6)) for group in state["optimizer"]["param_groups"]}
    assert rates == {(True, 0.02), (True, 0.006), (False, 0.002), (False, 0.0006)}
