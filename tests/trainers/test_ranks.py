"""Where the rank went: what is noted, what is read of a run that was cut, and the colours of the map."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainers.adapters.layers import attach_to, make_layers
from trainers.adapters import AdaLoRA, DyLoRA, LoRA, SeLoRA, SoRA
from trainers.events import Recorder
from trainers.ranks import (
    FULL,
    LABEL,
    NONE,
    RANK_MAP,
    WIDTH,
    RankHistory,
    block,
    current_ranks,
    draw_rank_map,
    draw_ranks,
    note_ranks,
    read_ranks,
    shade,
    summarise,
)


def test_the_rank_of_a_layer_is_what_its_method_uses():
    for method, name, values, rank in (
        (AdaLoRA(rank=4, alpha=3.0, target_rank=2), "kept", torch.tensor([0.0, 1.0, 1.0, 0.0]), 2),
        (SoRA(rank=4, alpha=3.0), "g", torch.tensor([0.0, 0.0, 0.0, 0.5]), 1),
        (SeLoRA(rank=4, alpha=3.0), "use", torch.tensor([1.0, 0.0, 1.0, 2.0]), 2),
    ):
        network = attach_to(make_layers(), method)
        with torch.no_grad():
            network.sites[1].placed[0].values()[name].copy_(values)
        found = current_ranks(network)
        assert list(found) == [site.name for site in network.sites] and found[network.sites[1].name] == rank
    assert current_ranks(attach_to(make_layers(), LoRA(rank=4))) == {}


def test_the_rank_of_a_dylora_holds_nine_tenths_of_its_change():
    network = attach_to(make_layers(), DyLoRA(rank=6, alpha=3.0, unit=2))
    (first, second, *_), draw = network.sites, torch.Generator().manual_seed(0)
    theta = first.placed[0].values()
    with torch.no_grad():
        for band, size in enumerate((1.0, 0.6, 0.2)):
            theta[f"B{band}"].copy_(size * torch.randn(theta[f"B{band}"].shape, generator=draw))
    A, B = (torch.cat([theta[f"{x}{n}"] for n in range(3)], dim) for x, dim in (("A", 0), ("B", 1)))
    norms = [torch.linalg.matrix_norm(B[:, :b] @ A[:b]).item() for b in range(1, 7)]
    expected = 1 + sum(norm < 0.9 * norms[-1] for norm in norms)
    found = current_ranks(network)
    assert 1 < expected < 6 and (found[first.name], found[second.name]) == (expected, 0)


def test_ranks_are_noted_some_hundred_times_and_at_the_end(tmp_path):
    network = attach_to(make_layers(), SoRA(rank=4, alpha=3.0))
    record = Recorder(tmp_path)
    for step in range(1, 1251):
        note_ranks(record, network, step, 1250)
    history = read_ranks(tmp_path)
    assert history is not None and len(history.steps) == 105 and history.steps[-1] == 1250
    assert history.layers == tuple(site.name for site in network.sites) and set(sum(history.ranks, ())) == {4}
    assert not (tmp_path / "log.txt").exists(), "they are for the map, not for people's log"


def test_steps_done_again_after_a_cut_count_once(tmp_path):
    lines = [(1, 1), (2, 2), (3, 3), (2, 5), (3, 6)]
    events = [{"type": "ranks", "step": step, "ranks": {"unet.a": rank}} for step, rank in lines]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, events)) + "\n")
    assert read_ranks(tmp_path) == RankHistory(("unet.a",), (1, 2, 3), ((1,), (5,), (6,)))


def test_a_few_letters_say_where_the_rank_went():
    layers = ("unet.mid_block.attentions.0.a", "unet.mid_block.attentions.0.b", "unet.up_blocks.1.resnets.0.conv1")
    history = RankHistory(layers, (1, 2, 9), ((0, 2, 8), (4, 4, 8), (8, 7, 0)))
    assert summarise(history, 3) == [
        ("unet.mid_block.attentions.0", "▂▅█", 7.5),
        ("unet.up_blocks.1.resnets.0", "██▁", 0.0),
    ]
    assert [len(line) for _, line, _ in summarise(history)] == [24, 24]


def test_the_map_has_a_row_a_layer_and_a_column_a_moment(tmp_path):
    layers = ("unet.mid_block.attentions.0.a", "unet.mid_block.attentions.0.b", "unet.up_blocks.1.resnets.0.conv1")
    pixels = np.asarray(draw_ranks(RankHistory(layers, (1, 2), ((0, 4, 2), (4, 4, 2)))))
    left, right = LABEL + WIDTH // 4, LABEL + 3 * WIDTH // 4
    drawn = [[tuple(pixels[y, x]) for y in range(46, 110)] for x in (left, right)]
    assert [tuple(dict.fromkeys(c for c in column if c in (NONE, FULL, shade(2, 4)))) for column in drawn] == [
        (NONE, FULL, shade(2, 4)),
        (FULL, shade(2, 4)),
    ]
    assert draw_rank_map(tmp_path) is None
    record = Recorder(tmp_path)
    record("ranks", step=1, ranks={layers[0]: 3})
    place = draw_rank_map(tmp_path)
    assert place == tmp_path / RANK_MAP and Image.open(place).width == pixels.shape[1]


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", "unet.down_blocks.1.attentions.0"),
        ("unet.mid_block.resnets.1.conv1", "unet.mid_block.resnets.1"),
        ("text_encoder.encoder.layers.3.self_attn.q_proj", "text_encoder.encoder.layers.3"),
        ("unet.strided", "unet"),
    ],
)
def test_layers_are_named_by_their_block(layer, name):
    assert block(layer) == name
