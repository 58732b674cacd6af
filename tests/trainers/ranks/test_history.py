"""Where the rank went: what is noted, and what is read of a run that was cut."""

from __future__ import annotations

import json

import pytest
import torch

from tests.trainers.adapters.layers import attach_to, make_layers
from trainers.adapters.methods.adalora import AdaLoRA
from trainers.adapters.methods.dylora import DyLoRA
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.selora import SeLoRA
from trainers.adapters.methods.sora import SoRA
from trainers.ranks.history import RankHistory, current_ranks, note_ranks, rank_info_of, read_ranks, summarise
from trainers.runs.events import Recorder


def test_the_rank_of_a_layer_is_what_its_method_uses():
    for method, name, values, rank in (
        (AdaLoRA(rank=4, alpha=3.0, target_rank=2), "kept", torch.tensor([0.0, 1.0, 1.0, 0.0]), 2),
        (SoRA(rank=4, alpha=3.0), "g", torch.tensor([0.0, 0.0, 0.0, 0.5]), 1),
        (SeLoRA(rank=4, alpha=3.0), "use", torch.tensor([1.0, 0.0, 1.0, 2.0]), 2),
    ):
        network = attach_to(make_layers(), method)
        with torch.no_grad():
            network.sites[1].placed[0].theta[name].copy_(values)
        found = current_ranks(network)
        assert list(found) == [site.name for site in network.sites] and found[network.sites[1].name] == rank
    assert current_ranks(attach_to(make_layers(), LoRA(rank=4))) == {}


def test_the_rank_of_a_dylora_holds_nine_tenths_of_its_change():
    network = attach_to(make_layers(), DyLoRA(rank=6, alpha=3.0, unit=2))
    (first, second, *_), draw = network.sites, torch.Generator().manual_seed(0)
    theta = first.placed[0].theta
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


def test_ranks_of_before_a_restart_are_history(tmp_path):
    record = Recorder(tmp_path)
    record("ranks", step=1, ranks={"a": 4})
    record("anew")
    assert read_ranks(tmp_path) is None
    record("ranks", step=2, ranks={"a": 3})
    assert read_ranks(tmp_path).steps == (2,)


def test_a_few_letters_say_where_the_rank_went():
    layers = ("unet.mid_block.attentions.0.a", "unet.mid_block.attentions.0.b", "unet.up_blocks.1.resnets.0.conv1")
    history = RankHistory(layers, (1, 2, 9), ((0, 2, 8), (4, 4, 8), (8, 7, 0)))
    assert summarise(history, 3) == [
        ("unet.mid_block.attentions.0", "▂▅█", 7.5),
        ("unet.up_blocks.1.resnets.0", "██▁", 0.0),
    ]
    assert [len(line) for _, line, _ in summarise(history)] == [24, 24]


def test_blocks_come_in_the_order_of_the_way_through_the_unet(tmp_path):
    """A run notes the middle last, and a block with a rank of its own after all others."""
    names = (
        "down_blocks.1.resnets.0.a",
        "up_blocks.0.resnets.0.a",
        "mid_block.resnets.0.a",
        "down_blocks.0.resnets.0.a",
    )
    ranks = {f"unet.{name}": place for place, name in enumerate(names)} | {"text_encoder.encoder.layers.0.a": 4}
    Recorder(tmp_path)("ranks", step=1, ranks=ranks)
    history = read_ranks(tmp_path)
    assert history is not None and history.ranks == ((3, 0, 2, 1, 4),)
    assert [name for name, *_ in summarise(history)] == [
        "unet.down_blocks.0.resnets.0",
        "unet.down_blocks.1.resnets.0",
        "unet.mid_block.resnets.0",
        "unet.up_blocks.0.resnets.0",
        "text_encoder.encoder.layers.0",
    ]


@pytest.mark.parametrize(
    ("written", "names", "word"),
    [
        ('name = "dusk"\n[method]\nname = "dylora"\n', ("dusk", "dylora"), "components with 90 % of the change"),
        ('name = "dusk"\n[method]\nname = "adalora"\n', ("dusk", "adalora"), "rank"),
        ('name = "dusk"\n', ("", ""), "rank"),
        ("{", ("", ""), "rank"),
    ],
)
def test_what_is_counted_has_the_word_of_the_run_s_method(tmp_path, written, names, word):
    (tmp_path / "config.toml").write_text(written, encoding="utf-8")
    Recorder(tmp_path)("ranks", step=1, ranks={"unet.a": 3})
    history = read_ranks(tmp_path)
    assert history is not None and (history.run, history.method) == names
    assert history.rank_info.word == word and history.rank_info.moves == (word == "rank")
    assert history.final == {"unet.a": 3}
    assert "latest cut" in rank_info_of("adalora").hint and rank_info_of("sora").hint == ""
