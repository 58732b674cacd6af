"""How a base is held for drawing is chosen by what fits, best first, from what drawing takes as measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.tiny_flow import tiny_flow_folder
from tests.trainers.planning.test_needs import WIDTHS, folder_of_width, profiled, resident
from tests.trainers.planning.test_plan import NEEDS
from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.models.text import Conditioning
from trainers.planning import drawing
from trainers.planning.activations import Activations, most_at_once
from trainers.planning.drawing import Drawn, drawing_needs, plan_drawing
from trainers.planning.needs import RESERVE, STORAGES, MemoryChoice, empty_model
from trainers.planning.plan import GB
from trainers.sampling.sample import SamplingParams, draw

pytestmark = [pytest.mark.long, pytest.mark.slow]

DRAWING = replace(NEEDS, trained=GB // 2, activations=Activations(GB, GB, 0), decoding=GB)
CARD, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny_flow_folder("sd3", tmp_path_factory.mktemp("base")))


def plan(folder, monkeypatch, room, device=CARD, storage="auto", drawn=None):
    monkeypatch.setattr(drawing, "drawing_needs", lambda *_given: DRAWING)
    monkeypatch.setattr(drawing, "free_memory", lambda _device: room * GB + (RESERVE if device is CARD else 0))
    return plan_drawing(Base(model=folder), storage, drawn or Drawn((1024, 1024), 4.0), torch.bfloat16, device)


@pytest.mark.parametrize(
    ("room", "storage", "expected"),
    [
        (23.5, "auto", MemoryChoice()),
        (23, "auto", MemoryChoice(offload_encoders=True)),
        (22, "auto", MemoryChoice("int8")),
        (12.7, "auto", MemoryChoice("int8", offload_encoders=True)),
        (11, "auto", MemoryChoice("nf4")),
        (7, "auto", MemoryChoice("nf4", offload_encoders=True)),
        (6.5, "auto", MemoryChoice("nf4", 4, offload_encoders=True)),
        (23.5, "nf4", MemoryChoice("nf4")),
        (22, "full", MemoryChoice("full", 4, offload_encoders=True)),
    ],
)
def test_on_a_card_what_costs_least_and_fits_is_chosen(folder, monkeypatch, room, storage, expected):
    found = plan(folder, monkeypatch, room, storage=storage)
    held = found.settings
    assert MemoryChoice(held.storage, held.swap_blocks, False, held.offload_encoders) == expected
    assert DRAWING.bytes_of(expected) <= room * GB
    assert (found.note is None) == (expected == MemoryChoice(storage if storage != "auto" else "full"))


def test_without_a_card_a_base_is_packed_alone(folder, monkeypatch):
    found = {room: plan(folder, monkeypatch, room, CPU) for room in (23.5, 23, 12, 5)}
    assert [each.settings.storage for each in found.values()] == ["full", "int8", "nf4", "nf4"]
    assert not any(each.settings.swap_blocks or each.settings.offload_encoders for each in found.values())
    assert found[23].note == "Drawn with the base as int8: whole it needs about 23.5 GB, and 23.0 GB are free."
    assert str(found[5].note).endswith("as NF4, and 5.0 GB are free: it may run out of memory.")


def test_a_batch_is_as_large_as_fits_and_as_asked_for(folder, monkeypatch):
    rows = {room: plan(folder, monkeypatch, room).most_rows for room in (23.5, 24.5, 26.6)}
    assert rows == {23.5: 1, 24.5: 2, 26.6: 4}
    assert plan(folder, monkeypatch, 5, drawn=Drawn((1024, 1024), 4.0, rows=3)).most_rows == 3


def test_unets_are_held_whole_unless_somebody_says_otherwise(tiny_bases, monkeypatch):
    monkeypatch.setattr(drawing, "free_memory", lambda _device: 0)
    base = Base(model=str(tiny_bases["sd1"]))
    for asked, storage in (("auto", "full"), ("int8", "int8")):
        found = plan_drawing(base, asked, Drawn((64, 64), 4.0), torch.float32, CPU)
        assert found == drawing.Holding(base.model_copy(update={"storage": storage}))


def test_two_passes_and_styles_are_counted(folder, tmp_path):
    base, drawn = Base(model=folder), Drawn((64, 96), 1.0)
    once, more = (drawing_needs(base, each, torch.float32) for each in (drawn, replace(drawn, style_bytes=1000)))
    assert (once.trained, more.trained) == (0, 2000)
    twice, three = (drawing_needs(base, replace(drawn, guidance=4.0, rows=n), torch.float32) for n in (1, 3))
    assert 1.9 < twice.activations.kept / once.activations.kept <= 2
    assert 2.8 < three.activations.kept / twice.activations.kept <= 3
    flux = Base(model=str(tiny_flow_folder("flux", tmp_path)))
    dev = [drawing_needs(flux, replace(drawn, guidance=g), torch.float32).activations.kept for g in (1.0, 4.0)]
    assert dev[0] == dev[1], "its network reads the scale"


def test_a_pass_takes_what_is_computed_within_a_tenth(folder):
    base = Base(model=folder)
    model, (empty, _encoders) = load_model(base, torch.float32, "cpu", "0" * 64), empty_model(base, torch.float32)
    text = model.encode(["a fox"])

    @torch.no_grad()
    def work() -> None:
        context = torch.randn(4, 77 + 256, text.context.shape[2])  # with T5's places, which the folder may lack
        given = Conditioning(context, text.pooled.repeat(4, 1), None)
        model.predict(torch.randn(4, model.latent_channels, 16, 16), torch.full((4,), 500.0), given)

    peak = profiled(work)
    side = 16 * model.vae_factor
    assert 0.9 < most_at_once(empty, 4, (side, side)) / peak < 1.1


@pytest.mark.thorough
@pytest.mark.parametrize("heads", WIDTHS[1:])
def test_drawing_takes_what_is_computed_within_a_tenth(heads, tmp_path):
    """The narrowest transformer takes less than decoding, which is an estimate for VAEs of the usual size."""
    base = Base(model=str(folder_of_width(heads, tmp_path)))
    ratios = {}
    for storage in STORAGES:
        model = load_model(base.model_copy(update={"storage": storage}), torch.float32, "cpu", "0" * 64)
        params = SamplingParams(("a fox", "an owl"), steps=1, guidance=4.0, size=(256, 256), sampler="euler", batch=2)
        list(draw(model, params))  # something is computed once
        held = sum(resident(network) for network in (model.denoiser, model.vae, *model.text_encoders))
        peak = profiled(lambda model=model, params=params: list(draw(model, params)))
        needs = drawing_needs(base, Drawn((256, 256), 4.0, rows=2), torch.float32)
        ratios[storage] = round(needs.bytes_of(MemoryChoice(storage)) / (held + peak), 3)
    print(heads, ratios)
    assert all(0.9 < ratio < 1.1 for ratio in ratios.values())
