"""Styles combined on a base, and how pictures come out of that."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.pairs import seldom_but
from tests.trainers.formats.other_clients import MIXED, output, parts_of, write_trained
from trainers.adapters.context import ForwardContext
from trainers.adapters.methods.adapter import Adapter
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.prompts import Prompts
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.site import Site
from trainers.adapters.targets import Targets
from trainers.adapters.updates import Update
from trainers.composition.apply import apply_styles
from trainers.composition.batched import batch_styles
from trainers.composition.compose import compose
from trainers.composition.k_lora import KLoRA
from trainers.composition.schedule import StylePerImage
from trainers.composition.ways import read_composition
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.read import OWN_FORM, Style, read_style
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.sampling import sample

PARAMS = sample.SamplingParams(prompts=("a fox",), seeds=(3,), steps=4, guidance=5.0, size=(32, 32), batch=4)


@pytest.fixture(scope="module")
def model(tiny_bases) -> Model:
    """SDXL, whose text has a pooled part, too."""
    return load_model(Base(model=str(tiny_bases["sdxl"])), torch.float32, "cpu")


@pytest.fixture(scope="module")
def styles(model: Model, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Style, float]]:
    """A LoRA and a LoKr that differ in the layers they change, too."""
    folder = tmp_path_factory.mktemp("styles")
    targets = (MIXED, Targets(unet="attn-mlp", text_encoder="attn"))
    for number, method in enumerate((LoRA(rank=2, alpha=3.0), LoKr(rank=2, alpha=3.0, factor=4))):
        write_trained(folder / f"{number}.safetensors", model, method, targets[number])
    return [(read_style(folder / f"{number}.safetensors"), (0.8, 0.5)[number]) for number in range(2)]


@pytest.fixture(scope="module")
def odd(model: Model, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Style, float]]:
    """Styles that change biases and norms, or turn weights."""
    folder = tmp_path_factory.mktemp("odd")
    for name, method in (("ssf", SSF()), ("oft", OFT(block_size=4))):
        targets = Targets(unet="attn-mlp", text_encoder="attn")
        write_trained(folder / f"{name}.safetensors", model, method, targets)
    return [(read_style(folder / f"{name}.safetensors"), 0.7) for name in ("ssf", "oft")]


def latents(model: Model, way: str, styles: list[tuple[Style, float]], **changed: Any) -> list[Tensor]:
    """The latents of what is drawn."""
    found: list[Tensor] = []

    def keep(model: Model, value: Tensor) -> Tensor:
        found.append(value)
        return torch.zeros(3, 8, 8)

    params = replace(PARAMS, **changed)
    network, styling = compose(model, styles, read_composition(way), params.steps, 7)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sample, "decode", keep)
            list(sample.draw(model, params, None, styling))
    finally:
        network.remove()
    return found


def changed_by(model: Model, way: str, styles: list[tuple[Style, float]]) -> tuple[Tensor, list[str]]:
    network, _ = compose(model, styles, read_composition(way), 4, 7)
    with torch.no_grad():
        found = output(model)
    network.remove()
    return found, network.warnings


@pytest.mark.parametrize("way", seldom_but(("svd:64",), ("svd:64", "dare:0")))
def test_a_merge_that_leaves_nothing_out_is_the_sum(model, styles, way):
    whole, _ = changed_by(model, "sum", styles)
    found, said = changed_by(model, way, styles)
    assert (found - whole).abs().max() <= 1e-5
    assert said == (["at rank 64, 0.0% of the styles' change is lost"] if way == "svd:64" else [])


@pytest.mark.parametrize("way", seldom_but(("dare:0.5",), ("svd:1", "dare:0.5")))
def test_a_merge_that_leaves_something_out_is_another_picture(model, styles, way):
    whole, _ = changed_by(model, "sum", styles)
    found, said = changed_by(model, way, styles)
    assert (found - whole).abs().max() > 0.01
    assert said == [] or (len(said) == 1 and " 0.0%" not in said[0])


def test_ties_of_a_style_with_itself_is_that_style(model, styles):
    alone, _ = changed_by(model, "sum", [styles[0]])
    found, _ = changed_by(model, "ties:1", [styles[0], styles[0]])
    assert (found - alone).abs().max() <= 1e-5
    apart, _ = changed_by(model, "ties:0.2", styles)
    assert (apart - alone).abs().max() > 0.01


@pytest.mark.parametrize("which", seldom_but(("styles",), ("styles", "odd")))
def test_the_mean_of_predictions_is_the_mean_of_one_step(model, which, request):
    """A DDIM step is affine in the prediction, and the guidance is linear."""
    styles = request.getfixturevalue(which)
    (both,) = latents(model, "composite", styles, steps=1, negative="snow")
    alone = [latents(model, "sum", [style], steps=1, negative="snow")[0] for style in styles]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2, rtol=1e-4, atol=1e-4)
    assert (alone[0] - alone[1]).abs().max() > 0.01
    _, second = latents(model, "composite", styles, seeds=(3, 4), steps=2)
    (expected,) = latents(model, "composite", styles, seeds=(4,), steps=2)
    torch.testing.assert_close(second, expected, rtol=1e-3, atol=1e-4)


def test_taking_turns_changes_style_and_words_together(model, styles):
    seen: list[tuple[list[int], Tensor]] = []
    network, styling = compose(model, styles, read_composition("switch:1"), 4)

    def note(unet: Any, args: Any, given: dict[str, Any]) -> None:
        assert network.holder.context.styles is not None
        seen.append((network.holder.context.styles.tolist(), given["encoder_hidden_states"]))

    handle = model.denoiser.register_forward_pre_hook(note, with_kwargs=True)
    list(sample.draw(model, replace(PARAMS, seeds=(3, 4)), None, styling))
    handle.remove()
    network.remove()
    assert [index for index, _ in seen] == [[0, 0], [1, 1], [0, 0], [1, 1]]
    for number in range(2):
        alone = apply_styles(parts_of(model), model.family.name, [styles[number]])
        with torch.no_grad():
            text = model.encode(["", "a fox"]).context.repeat_interleave(2, 0)
        alone.remove()
        for _, given in seen[number::2]:
            torch.testing.assert_close(given, text, rtol=1e-4, atol=1e-5)
    (long,) = latents(model, "switch:4", styles, steps=2)
    torch.testing.assert_close(long, latents(model, "sum", [styles[0]], steps=2)[0], rtol=1e-3, atol=1e-4)


def change(site: Site, updates: tuple[Update, ...]) -> Tensor:
    """What updates of one layer change of its weight and its bias, `(out·in·kh·kw + out,)`."""
    W = site.weight()
    return sum(torch.cat([u.dense(W).flatten(), W.new_zeros(len(W)) if u.shift is None else u.shift]) for u in updates)


@pytest.mark.parametrize("which", seldom_but(("styles",), ("styles", "odd")))
def test_layers_turn_from_the_content_to_the_style(model, which, request):
    styles = request.getfixturevalue(which)
    network, styling = compose(model, styles, read_composition("k-lora:3"), 10)
    only = [apply_styles(parts_of(model), model.family.name, [style]) for style in styles]
    for each in only:
        each.remove()
    alone = [{site.name: change(site, site.updates()) for site in each.sites} for each in only]
    turned = {0: 0, 2: 0, 10: 0}
    for site in network.sites:
        own = [each[site.name] for each in alone if site.name in each]
        if len(own) == 1 or site.part != "unet":  # all of it, always
            torch.testing.assert_close(change(site, site.updates()), sum(own))
            continue
        (placed,) = site.placed
        assert isinstance(placed.method, KLoRA)
        for step in turned:
            late = 3 * step / 10 + 0.5 >= placed.method.turns[site.name]
            torch.testing.assert_close(change(site, site.updates(ForwardContext(step=step))), own[late])
            turned[step] += late
    assert turned[0] < turned[2] <= turned[10]
    list(sample.draw(model, replace(PARAMS, steps=2), None, styling))
    network.remove()


@pytest.mark.parametrize("way", seldom_but(("dare:0",), ("svd:64", "dare:0")))
def test_biases_norms_and_turned_weights_are_combined_too(model, odd, way):
    (found, _), (whole, _) = changed_by(model, way, odd), changed_by(model, "sum", odd)
    assert (found - whole).abs().max() <= 1e-4
    for style in odd:
        alone, _ = changed_by(model, "sum", [style])
        assert (found - alone).abs().max() > 0.01


def test_where_no_weight_is_changed_by_both_they_add_up_and_that_is_said(model, tmp_path):
    chosen = []
    for name, method in (("biases", BitFit()), ("more", BitFit())):
        path = write_trained(tmp_path / f"{name}.safetensors", model, method, Targets(unet="attn-mlp"))
        chosen.append((read_style(path), 0.7 if chosen else -0.4))
    (found, said), (whole, _) = changed_by(model, "k-lora", chosen), changed_by(model, "sum", chosen)
    assert (found - whole).abs().max() <= 1e-5
    assert said == ["the styles change no UNet weight in common, so they are only added up"]


@pytest.fixture(scope="module")
def own_forms(model: Model, styles: list[tuple[Style, float]], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What depends on the picture, on the timestep and on whether there is a caption, with a change of layers."""
    folder = tmp_path_factory.mktemp("own")
    found = [styles[0]]
    for method in (Adapter(width=3), TLoRA(rank=4), Prompts(tokens=2, unconditional=False)):
        text = "attn-mlp" if isinstance(method, Adapter) else "none"
        targets = Targets(unet="full", text_encoder=text)
        file = write_trained(folder / f"{method.name}.safetensors", model, method, targets)
        found.append((read_style(file), 0.7))
    assert [style.is_own for style, _ in found] == [False, True, True, True]
    return found


@pytest.mark.parametrize("guidance", seldom_but((7.0,), (7.0, 1.0)))
def test_the_mean_of_predictions_takes_what_is_no_change_of_layers(model, own_forms, guidance):
    """Each is applied alone, at its timestep and to its own rows, whether there is guidance or not."""
    (found,) = latents(model, "composite", own_forms, steps=1, negative="snow", guidance=guidance)
    alone = [latents(model, "sum", [style], steps=1, guidance=guidance, negative="snow")[0] for style in own_forms]
    torch.testing.assert_close(found, torch.stack(alone).mean(0), rtol=1e-4, atol=1e-4)
    assert min((one - other).abs().max() for one, other in combinations(alone, 2)) > 0.01


@pytest.mark.thorough
def test_the_mean_of_predictions_of_an_image_does_not_depend_on_the_others(model, own_forms):
    _, second = latents(model, "composite", own_forms, seeds=(3, 4), steps=2, batch=8)
    (expected,) = latents(model, "composite", own_forms, seeds=(4,), steps=2)
    torch.testing.assert_close(second, expected, rtol=1e-3, atol=1e-4)


def test_what_is_no_change_of_layers_takes_turns(model, own_forms):
    (found,) = latents(model, "switch:1", own_forms[:2], steps=2)
    (long,) = latents(model, "switch:8", own_forms[:2], steps=2)
    (alone,) = latents(model, "sum", own_forms[:1], steps=2)
    torch.testing.assert_close(long, alone, rtol=1e-3, atol=1e-4)
    assert (found - alone).abs().max() > 0.01


def test_every_style_draws_its_own_picture_whatever_it_changes(model, own_forms):
    network = batch_styles(model.parts, model.family.name, own_forms, model.words)
    drawn: list[Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "decode", lambda _, value: (drawn.append(value), torch.zeros(3, 8, 8))[1])
        list(
            sample.draw(
                model, replace(PARAMS, batch=5, steps=1), None, StylePerImage(network, (*range(len(own_forms)), -1))
            )
        )
    network.remove()
    for style, found in zip([[one] for one in own_forms] + [[]], drawn, strict=True):
        torch.testing.assert_close(found, latents(model, "sum", style, steps=1)[0], rtol=1e-3, atol=1e-4)


def test_a_change_that_depends_on_the_picture_is_in_no_other_way_combined(model, styles, own_forms):
    for way in ("ties", "svd", "dare", "k-lora"):
        with pytest.raises(VelaturaError, match=r"no weights to combine; use sum, switch or composite"):
            compose(model, [styles[0], own_forms[1]], read_composition(way), 4)
    strange = Style(Path("timed.safetensors"), {"lora_unet_mid_block.x": torch.ones(1)}, {OWN_FORM: "{}"})
    with pytest.raises(VelaturaError, match="has an unknown method or setting"):
        compose(model, [styles[0], (strange, 1.0)], read_composition("switch"), 4)
    layers = [m for part in model.parts.values() for m in part.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert all(not layer._forward_hooks for layer in layers)
    assert all("forward" not in part.__dict__ for part in model.parts.values())


def test_a_number_of_styles_that_cannot_be_combined(model, styles):
    with pytest.raises(VelaturaError, match="k-lora needs two styles"):
        compose(model, styles[:1], read_composition("k-lora"), 4)
