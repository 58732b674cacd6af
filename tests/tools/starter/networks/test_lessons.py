"""Lessons: every concept in every look and kind of picture, encoded once, and what is beside the concepts."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from tests.tools.starter.small import ODD, TAUGHT
from tools.starter.drawings.looks import read_looks
from tools.starter.drawings.scenes import BACKGROUNDS, PLACES, RELATIONS
from tools.starter.networks.lessons import (
    PLAIN,
    SHARES,
    VIEWS,
    choose_scene,
    draw_lessons,
    other_names,
    prepare_lessons,
)

CPU = torch.device("cpu")


def test_each_concept_is_taught_in_each_look_and_kind(lessons):
    found = Counter((entry.style, entry.scene.things[0], entry.kind) for entry in lessons.entries)
    looks = Counter(look.style for look in read_looks())
    for style, count in looks.items():
        scales = style != "pixel art"  # whose squares lie on the grid of the latents
        for kind, views in VIEWS.items():
            expected = count * views if scales or kind == "whole" else 0
            assert {found[style, concept, kind] for concept in TAUGHT} == {expected}, (style, kind)
    others = {entry.style for entry in lessons.entries if entry.kind == "other"}
    assert others == {look.style for look in read_looks() if look.is_plain} and len(others) == 5
    assert {*SHARES} == {entry.kind for entry in lessons.entries} == {*VIEWS, "other"}


def test_kinds_and_the_sets_as_they_are_are_shown_as_often_as_planned(lessons):
    assert len(lessons.weights) == len(lessons.entries) and sum(SHARES.values()) == pytest.approx(1)
    plain = {look.style for look in read_looks() if look.is_plain}
    shown, of_sets = Counter[str](), Counter[str]()
    for entry, weight in zip(lessons.entries, lessons.weights.tolist(), strict=True):
        shown[entry.kind] += weight
        of_sets[entry.kind] += weight * (entry.style in plain)
    for kind, share in SHARES.items():
        assert shown[kind] == pytest.approx(share, rel=1e-3)
        assert of_sets[kind] == pytest.approx(share if kind == "other" else share * PLAIN, rel=1e-3)
    whole = [
        weight
        for entry, weight in zip(lessons.entries, lessons.weights.tolist(), strict=True)
        if entry.kind == "whole" and entry.style in plain
    ]
    assert min(whole) == max(whole) > 0  # drawings of one group are equally likely


def test_latents_are_those_of_the_pictures_at_unit_variance(lessons, drawings, autoencoder):
    count = len(lessons.entries)
    assert lessons.latents.shape == (count, 4, 16, 16) and lessons.latents.dtype == torch.float16
    assert float(lessons.latents.float().std() * lessons.scale) == pytest.approx(1, rel=1e-4)
    number = 40  # in the second batch that was encoded
    lesson, picture = next(islice(draw_lessons(drawings), number, None))
    assert lesson == lessons.entries[number]
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latents = autoencoder.encode(pixels).latent_dist.mode().float()
    assert torch.allclose(lessons.latents[number].float(), latents[0], atol=0.02)


def test_lessons_are_encoded_once(lessons, lessons_folder, drawings):
    again = prepare_lessons(lessons_folder, drawings, None, torch.device("cpu"))
    assert torch.equal(lessons.latents, again.latents) and lessons.entries == again.entries


def test_others_are_what_all_sets_share_beside_concepts_and_signs(drawings):
    assert other_names(drawings) == [ODD]


def test_scenes_are_of_their_kind():
    rng = np.random.default_rng(0)
    scenes = {kind: [choose_scene(kind, "fox", ("owl", "ant"), rng) for _ in range(200)] for kind in VIEWS}
    for kind, found in scenes.items():
        assert all(scene.things[0] == "fox" and len(scene.things) == 1 + (kind == "pair") for scene in found)
        assert {scene.small for scene in found} == {kind == "placed"}
        assert {scene.background for scene in found} == ({*BACKGROUNDS} if kind == "coloured" else {""})
    assert {scene.where for scene in scenes["placed"]} == {*PLACES}
    assert {scene.where for scene in scenes["pair"]} == {*RELATIONS}
    assert {scene.things[1] for scene in scenes["pair"]} == {"owl", "ant"}
