"""Styles of transformers: what is written means the live network, in Velatura's own reader and in diffusers' loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.pairs import covering_pairs, seldom_but
from tests.tiny_flow import FLOWS, tiny_flow, tiny_flow_folder
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.krona import KronA
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.vera import VeRA
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.composition.start import start_from
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.original.split import split_joint
from trainers.formats.peft_settings import PeftSettings
from trainers.formats.programs.check import check_programs
from trainers.formats.programs.table import DIFFUSERS
from trainers.formats.read import Style, read_outline, read_style
from trainers.formats.write.convert import is_plain
from trainers.formats.write.core import write_style
from trainers.formats.write.diffusers import describe_loading, write_for_diffusers
from trainers.models.families import FAMILIES
from trainers.models.load import load_model
from trainers.models.model import Model

pytestmark = pytest.mark.slow

METHODS: dict[str, LayerMethod] = {
    "lora": LoRA(rank=3, alpha=2.0),
    "dora": LoRA(rank=3, alpha=2.0, dora=True),
    "loha": LoHA(rank=2, alpha=3.0),
    "lokr": LoKr(rank=3, alpha=2.0, factor=4),
    "lokr-low": LoKr(rank=2, alpha=3.0, factor=4, full_matrix=False, decompose_both=True),
    "oft": OFT(),
    "ia3": IA3(),
    "vera": VeRA(rank=3),
    "bitfit": BitFit(),
    "full": Full(),
}
"""One for every way in which changes are written."""
PRESENT = tuple(family.name for family in FAMILIES if family.name in FLOWS)


@pytest.fixture(scope="module", params=PRESENT)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tiny_flow_folder(request.param, tmp_path_factory.mktemp("base") / request.param)
    return load_model(Base(model=str(folder)), torch.float32, "cpu")


@torch.no_grad()
def output(model: Model) -> Tensor:
    draw = torch.Generator().manual_seed(4)
    latents = torch.randn(2, model.latent_channels, 8, 8, generator=draw)
    text = model.encode(["a fox", "the moon"])
    return model.predict(latents, torch.tensor([300.0, 800.0]), text, None, 3.0)


def trained(model: Model, method: LayerMethod, preset: str = "full") -> Network:
    """A network with all factors moved away from their start."""
    text = "attn-mlp" if model.family.trained_encoders else "none"
    network = attach(model.parts, method, Targets(transformer=preset, text_encoder=text), seed=7)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return network


@pytest.fixture
def written(request: pytest.FixtureRequest, model: Model, tmp_path: Path) -> Iterator[tuple[Tensor, Path, Path | None]]:
    """The live network's output, and the files of its change."""
    bare = output(model)
    network = trained(model, METHODS[request.param])
    live, family = output(model), model.family.name
    assert (live - bare).abs().max() > 1e-3
    write_style(tmp_path / "style.safetensors", network, family, model.config, {"velatura.family": family}, "fp32")
    second = write_for_diffusers(tmp_path / "second.safetensors", network, family, model.config, {}, "fp32")
    network.remove()
    assert torch.equal(output(model), bare)
    yield live, tmp_path / "style.safetensors", second


@pytest.mark.parametrize(("model", "written"), covering_pairs(PRESENT, [*METHODS], ()), indirect=True)
def test_a_file_means_the_live_network(written: tuple[Tensor, Path, Path | None], model: Model) -> None:
    live, core, second = written
    for file in filter(None, (core, second)):
        network = apply_styles(model.parts, model.family.name, [(read_style(file), 1.0)])
        found = output(model)
        network.remove()
        assert network.warnings == [], file.name
        assert (found - live).abs().max() <= 1e-5 * max(1, live.abs().max().item()), file.name


@pytest.mark.parametrize("model", seldom_but(("flux", "z-image"), PRESENT), indirect=True)
def test_other_programs_starts_of_names_mean_the_same(model: Model, tmp_path: Path) -> None:
    """Such as ai-toolkit's, which has `diffusion_model.` before diffusers' paths."""
    network, family = trained(model, LoRA(rank=2, alpha=2.0)), model.family.name
    live = output(model)
    core, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write_style(core, network, family, model.config, {}, "fp32")
    file = write_for_diffusers(second, network, family, model.config, {}, "fp32") or core
    network.remove()
    for start in ("diffusion_model.", "base_model.model.", "lora_transformer_", "lora_unet_", ""):
        renamed = dict[str, Tensor]()
        for key, tensor in load_file(file).items():
            path, side, _ = key.removeprefix("transformer.").rsplit(".", 2)
            flat = path.replace(".", "_") if start.endswith("_") else path
            name = f"{path}.{side}" if key.startswith("text_encoder") else f"{start}{flat}.{side}"
            renamed[f"{name}.weight"] = tensor
        again = apply_styles(model.parts, family, [(Style(tmp_path / "c", renamed, {}, PeftSettings({})), 1.0)])
        found = output(model)
        again.remove()
        assert again.warnings == [] and len(again.sites) == len(network.sites), start
        assert (found - live).abs().max() <= 1e-5 * max(1, live.abs().max().item()), start


def test_a_file_says_its_family_by_its_layers(model: Model, tmp_path: Path) -> None:
    from trainers.formats.origin import origin_of

    network = trained(model, LoRA(rank=2, alpha=2.0))
    write_style(tmp_path / "a.safetensors", network, model.family.name, model.config, {"velatura.family": "x"}, "fp32")
    network.remove()
    tensors = load_file(tmp_path / "a.safetensors")
    save_file(tensors, tmp_path / "bare.safetensors")
    if any(key.startswith("lora_unet") for key in tensors):
        assert origin_of(read_style(tmp_path / "bare.safetensors")).family is model.family


def test_layers_that_were_one_stay_of_its_rank(model: Model, tmp_path: Path) -> None:
    """Queries, keys and values that were read from a native file have one down matrix."""
    linears = [path for path, layer in model.denoiser.named_modules() if isinstance(layer, torch.nn.Linear)]
    joined = any(layer.rows for layer in model.family.original_layers(model.config, linears))
    if model.family.style_form != "native" or not joined:
        pytest.skip("files of this family have diffusers' layers")
    network, family, file = (
        trained(model, LoRA(rank=3, alpha=3.0), "attn"),
        model.family.name,
        tmp_path / "a.safetensors",
    )
    for site in network.sites:
        theta = site.placed[0].theta
        theta["A"].data = torch.randn(3, site.op.fan_in, generator=torch.Generator().manual_seed(site.op.fan_in))
    write_style(file, network, family, model.config, {"velatura.family": family}, "fp32")
    live = output(model)
    network.remove()
    own = [tensors for stem, tensors in read_style(file).layers.items() if stem.endswith("qkv")]
    assert own and {len(tensors["lora_down.weight"]) for tensors in own} == {3}
    again = apply_styles(model.parts, family, [(read_style(file), 1.0)])
    found = output(model)
    again.remove()
    assert (found - live).abs().max() <= 1e-5 * max(1, live.abs().max().item())


def test_training_goes_on_from_a_file(model: Model, tmp_path: Path) -> None:
    """Its layers are put together from several of ours where programs know only the native ones."""
    network = trained(model, LoRA(rank=3, alpha=2.0), "attn")
    live, family, file = output(model), model.family.name, tmp_path / "a.safetensors"
    write_style(file, network, family, model.config, {"velatura.family": family}, "fp32")
    network.remove()
    second = trained(model, LoRA(rank=3, alpha=2.0), "attn")
    assert start_from(read_style(file), second, model.parts, family).layers > 0
    found = output(model)
    second.remove()
    assert (found - live).abs().max() <= 1e-5 * max(1, live.abs().max().item())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("other inputs", "has 40 inputs, and the layer has the shape"),
        ("dora", "is several layers here, and its change is not"),
        ("no rank", "has rank 0"),
        ("one number", "do not fit together"),
        ("half", "lacks lora_down"),
        ("twice", "layer twice"),
    ],
)
def test_a_damaged_layer_that_is_several_layers(model: Model, tmp_path: Path, damage: str, said: str) -> None:
    if model.family.name != "flux":
        pytest.skip("one family is enough")
    stem, start = "lora_unet_double_blocks_0_img_attn_qkv", "transformer.transformer_blocks.0.attn.to_q"
    up, down = torch.ones(96, 2), torch.ones(2, 32)
    kron = {f"{stem}.lokr_w1": torch.ones(2, 1), f"{stem}.lokr_w2": torch.ones(48, 32)}
    tensors = {
        "other inputs": {**kron, f"{stem}.lokr_w2": torch.ones(48, 40)},
        "dora": {**kron, f"{stem}.dora_scale": torch.ones(96, 1)},
        "no rank": {f"{stem}.lora_up.weight": up[:, :0], f"{stem}.lora_down.weight": down[:0]},
        "one number": {f"{stem}.lora_up.weight": torch.tensor(1.0), f"{stem}.lora_down.weight": down},
        "half": {f"{stem}.lora_up.weight": up},
        "twice": {
            **{f"{stem}.lora_up.weight": up, f"{stem}.lora_down.weight": down},
            **{f"{start}.lora_B.weight": up[:32].clone(), f"{start}.lora_A.weight": down.clone()},
        },
    }[damage]
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "s.safetensors")
    with pytest.raises(VelaturaError, match=said):
        apply_styles(model.parts, "flux", [(read_style(tmp_path / "s.safetensors"), 1.0)])


def test_a_layer_that_changes_nothing_is_read(model: Model, tmp_path: Path) -> None:
    """As a LoRA is before its first step; without metadata, a style of Chroma looks like one of Flux.1."""
    network = attach(model.parts, LoRA(rank=2, alpha=2.0), Targets(transformer="attn"), seed=1)
    write_style(tmp_path / "a.safetensors", network, model.family.name, model.config, {}, "fp32")
    network.remove()
    apply_styles(model.parts, model.family.name, [(read_style(tmp_path / "a.safetensors"), 1.0)]).remove()


def test_other_structures_under_native_names_mean_the_same_change(model: Model, tmp_path: Path) -> None:
    """LoKr of each native layer: of several layers side by side, and of one whose halves change places."""
    linears = [(path, layer) for path, layer in model.denoiser.named_modules() if isinstance(layer, torch.nn.Linear)]
    weights = {path: layer.weight.clone() for path, layer in linears}
    layers = list(model.family.original_layers(model.config, list(weights)))
    tensors, expected, draw = dict[str, Tensor](), dict[str, Tensor](), torch.Generator().manual_seed(3)
    for layer in layers:
        total = sum(len(weights[path]) for path in layer.paths)
        small = torch.randn(2, 1, generator=draw)
        large = 0.1 * torch.randn(total // 2, weights[layer.paths[0]].shape[1], generator=draw)
        stem = f"lora_unet_{layer.name.replace('.', '_')}"
        tensors |= {f"{stem}.lokr_w1": small, f"{stem}.lokr_w2": large}
        change = torch.kron(small, large)
        change = change.roll(total // 2, 0) if layer.swapped else change
        expected |= dict(zip(layer.paths, change.split([len(weights[path]) for path in layer.paths]), strict=True))
    save_file(tensors, tmp_path / "lokr.safetensors")
    style = read_style(tmp_path / "lokr.safetensors")
    split = split_joint(style, model.parts, model.family.name)
    assert not any(key.endswith(".diff") for key in split.tensors), "multiplied out, it would be as large as the base"
    network = apply_styles(model.parts, model.family.name, [(style, 1.0)])
    live = output(model)
    network.remove()
    with torch.no_grad():
        for path, change in expected.items():
            model.denoiser.get_submodule(path).weight.add_(change)
        merged = output(model)
        for path in expected:
            model.denoiser.get_submodule(path).weight.copy_(weights[path])
    assert network.warnings == [] and (live - merged).abs().max() <= 1e-4 * max(1, live.abs().max().item())


@pytest.mark.parametrize(
    ("model", "method"),
    covering_pairs(PRESENT, ["lora", "loha", "lokr", "lokr-low", "krona"], ()),
    indirect=["model"],
)
def test_diffusers_draws_the_same(model: Model, tmp_path: Path, method: str) -> None:
    """With every layer; with the file for ComfyUI where diffusers loads its names."""
    network = trained(model, METHODS.get(method, KronA()), "full")
    live, family = output(model), model.family.name
    core = tmp_path / "core.safetensors"
    write_style(core, network, family, model.config, {"velatura.family": family}, "fp32")
    second = write_for_diffusers(tmp_path / "second.safetensors", network, family, model.config, {}, "fp32")
    said = describe_loading(network, core, second, family)
    network.remove()
    file = second or core
    one = model.family.style_form == "diffusers" and not model.family.known_by_authors_path and (
        method == "lora" or (model.family.loads_lokr and method != "loha")
    )  # fmt: skip
    assert (second is None) == one and f'pipe.load_lora_weights("{file.name}")' in said
    assert is_plain(read_outline(file)) and is_plain(read_outline(core)) == one
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(file).items()}
    known = check_programs(shapes, family, (DIFFUSERS,))[0]
    assert known.whole, f"trainers/formats/programs/table.py: no rule that diffusers loads {known.lost}, as shown below"
    pipeline = tiny_flow(family)
    pipeline.load_lora_weights(str(file))
    adapted = [
        module for module in pipeline.transformer.modules() if hasattr(module, "lora_A") or hasattr(module, "lokr_w1")
    ]
    assert len(adapted) == sum(site.part == "transformer" for site in network.sites)
    encoders = tuple(getattr(pipeline, name) for name in model.encoder_names)
    loaded = Model(**{**vars(model), "denoiser": pipeline.transformer, "text_encoders": encoders})
    assert (output(loaded) - live).abs().max() <= 1e-5 * max(1, live.abs().max().item())
