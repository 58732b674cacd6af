"""`attach` on any module: what it changes is right, or it is refused and the module stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from trainers.adapters.method import Theta
from trainers.adapters.methods import METHODS
from trainers.adapters.methods.adapter import Adapter
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import Network, attach
from trainers.adapters.site import Site
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.errors import VelaturaError
from trainers.formats.read import read_style
from trainers.formats.write.style_file import write_style
from trainers.wrappers import module_at

EVERY = Targets(unet=("*",))
ADDING = ("lora", "loha", "lokr")
"""Methods whose changes of one layer add up, whoever put them there."""


class Odd(nn.Module):
    """Layers that most networks lack, beside an ordinary one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.plain = nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.same, self.grouped = nn.Conv2d(8, 8, 3, padding="same"), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.circular = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")

    def forward(self, x: Tensor) -> Tensor:
        """`(n, 4, 8)` to the same."""
        x = self.plain(x)
        x = self.attention(x, x, x)[0]
        return self.circular(self.grouped(self.same(x.mT[..., None]))).squeeze(-1).mT


def hooks_on(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules())


def shaken(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))


def test_layers_that_no_update_can_reach_are_left_out_with_a_warning() -> None:
    net, x = Odd(), torch.randn(2, 4, 8)
    with pytest.warns(UserWarning, match=r"left out attention\.out_proj, same, grouped, circular: a grouped conv"):
        network = attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0)
    assert [site.name for site in network.sites] == ["unet.plain"]
    shaken(network)
    net(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    with torch.no_grad():
        live = net(x)
        network.merge()
        torch.testing.assert_close(net(x), live)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 4))


def pruned() -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    prune.random_unstructured(net[0], "weight", 0.5)
    return net


def computed(computation: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(computation(nn.Linear(8, 8)), nn.Linear(8, 4))


COMPUTATIONS = (
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    parametrizations.orthogonal,
    nn.utils.weight_norm,
    nn.utils.spectral_norm,
)
with_computed_weights = pytest.mark.parametrize("build", [pruned, *(partial(computed, each) for each in COMPUTATIONS)])


@with_computed_weights
def test_a_layer_whose_weight_is_computed_is_left_out_or_refused(build: Callable[[], nn.Module]) -> None:
    net = build()
    with pytest.warns(UserWarning, match="left out 0: its weight is computed"):
        network = attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0)
    assert [site.path for site in network.sites] == ["1"]
    with pytest.raises(VelaturaError, match="such as 0, which this method cannot change: its weight is computed"):
        attach({"unet": build()}, METHODS["lora"](rank=2), Targets(unet=("0",)), seed=0)


@with_computed_weights
@torch.no_grad()
def test_a_style_on_computed_weights_acts_and_is_not_merged(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    plain, x = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)), torch.randn(3, 8)
    network = attach({"net": plain}, METHODS["lora"](rank=2), EVERY, seed=0)
    shaken(network)
    write_style(network, tmp_path / "net.safetensors", precision="fp32")
    net = build().eval()
    base, weight = net(x), net[1].weight.clone()
    style = apply_styles({"net": net}, "", [(read_style(tmp_path / "net.safetensors"), 1.0)])
    live = net(x)
    assert (live - base).abs().max() > 1e-2
    with pytest.raises(VelaturaError, match=r"^cannot merge into net\.0: its weight is computed"):
        style.merge()
    assert torch.equal(net[1].weight, weight) and torch.equal(net(x), live)


def test_a_layer_without_a_size_is_left_out() -> None:
    with pytest.warns(UserWarning, match="left out 0: its size is not known"):
        network = attach({"unet": lazy()}, METHODS["lora"](rank=2), EVERY, seed=0)
    assert [site.path for site in network.sites] == ["1"]


@pytest.mark.parametrize(
    ("settings", "width"), [({}, 3), ({}, 1), ({"side": "input"}, 1), ({"butterfly": True}, 5)], ids=str
)
def test_oft_leaves_out_layers_whose_channels_cannot_rotate_together(settings: dict[str, Any], width: int) -> None:
    net = nn.Sequential(nn.Linear(width, width), nn.Linear(width, 8), nn.Linear(8, 8))
    with pytest.warns(UserWarning, match="left out 0.*: oft has nothing to train there"):
        network = attach({"unet": net}, METHODS["oft"](**settings), EVERY, seed=0)
    assert all(placed.theta["q"].numel() for site in network.sites for placed in site.placed)


def test_a_second_merge_is_refused() -> None:
    net = nn.Sequential(nn.Linear(8, 8))
    network = attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0)
    shaken(network)
    network.merge()
    merged = net[0].weight.clone()
    with pytest.raises(VelaturaError, match="merged already"):
        network.merge()
    assert torch.equal(net[0].weight, merged)


def test_remove_lets_the_base_learn_as_before() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    net[1].bias.requires_grad_(False)
    network = attach({"unet": net}, METHODS["lora"](rank=2), Targets(unet=("0",)), seed=0)
    assert not any(p.requires_grad for p in net.parameters())
    network.remove()
    assert [p.requires_grad for p in net.parameters()] == [True, True, True, False]


def test_the_base_stays_frozen_until_the_last_network_is_removed() -> None:
    net = nn.Sequential(nn.Linear(8, 8))
    net[0].bias.requires_grad_(False)
    with pytest.warns(UserWarning, match="already has a method"):
        networks = [attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=seed) for seed in (0, 1)]
    for network, learns in zip(networks, (False, True), strict=True):
        network.remove()
        network.remove()  # a second time changes nothing
        assert (net[0].weight.requires_grad, net[0].bias.requires_grad) == (learns, False)
    assert not vars(net[0].weight), "nothing is left that would be saved with the network"


def reference(net: nn.Module, network: Network, x: Tensor) -> Tensor:
    """What the layer gives once the change is in its weights."""
    network.merge()
    return net(x)


@pytest.mark.parametrize("method", ["lora", "loha", "lokr", "oft", "ia3", "ssf", "full", "krona", "vera", "dylora"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (partial(nn.Conv2d, 4, 4, 3, padding=1), (4, 4, 6)),
        (partial(nn.Conv2d, 4, 8, 1), (4, 5, 6)),
        (partial(nn.Linear, 4, 8), (4,)),
        (partial(nn.Linear, 8, 4), (8, 8)),
    ],
    ids=["conv", "pointwise", "vector", "matrix"],
)
@torch.no_grad()
def test_inputs_without_a_batch_are_taken(method: str, layer: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(layer()), torch.randn(shape)
    settings = {"everywhere": True} if method == "ia3" else {"block_size": 4} if method == "oft" else {}
    network = attach({"unet": net}, METHODS[method](**settings), EVERY, seed=0).eval()
    shaken(network)
    live = net(x)
    assert torch.equal(net[0](input=x), live)
    torch.testing.assert_close(live, reference(net, network, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["ssf", "bitfit"])
@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 5), (2, 4, 5, 6), (2, 4, 3, 2, 5)], ids=len)
@torch.no_grad()
def test_group_norms_of_any_number_of_dimensions_are_changed(method: str, shape: tuple[int, ...]) -> None:
    net, x = nn.Sequential(nn.GroupNorm(2, 4)), torch.randn(shape)
    network = attach({"unet": net}, METHODS[method](), EVERY, seed=0).eval()
    shaken(network)
    live = net(x)
    torch.testing.assert_close(live, reference(net, network, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_torch_s_encoder_calls_its_layers_while_they_are_changed(masked: bool) -> None:
    torch.manual_seed(0)
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    x, mask = torch.randn(2, 5, 8), torch.arange(5).expand(2, 5) >= torch.tensor([[5], [3]]) if masked else None
    base = net(x, src_key_padding_mask=mask)
    with pytest.warns(UserWarning, match="left out"):
        network = attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0).eval()
    shaken(network)
    live = net(x, src_key_padding_mask=mask)
    network.merge()
    network.remove()
    assert net.use_nested_tensor
    real = slice(3) if masked else slice(5)  # torch's fast path leaves padded places at zero
    merged = net(x, src_key_padding_mask=mask)
    torch.testing.assert_close(live[:, real], merged[:, real], rtol=1e-4, atol=1e-4)
    assert (live - base).abs().max() > 0.1


def test_a_second_network_on_the_same_layers_names_remove() -> None:
    net = nn.Sequential(nn.Linear(8, 8))
    attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0)
    with pytest.warns(UserWarning, match=r"unet\.0 already has a method of another network, and .* remove\(\) first"):
        attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0)


def test_a_step_that_drops_every_module_trains_nothing() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4))
    network = attach({"unet": net}, METHODS["lora"](rank=2, module_dropout=0.95), EVERY, seed=0)
    optimizer, without = torch.optim.AdamW(network.parameter_groups(1e-2)), 0
    for step in range(12):
        with network.training_step(step, of=12):
            net(torch.randn(3, 4)).square().mean().backward()
            without += all(parameter.grad is None for parameter in network.parameters())
            optimizer.step()
            optimizer.zero_grad()
    assert 6 < without <= 12


@pytest.mark.parametrize("start", ["zero", "pissa"])
def test_dora_takes_a_base_in_fp64(start: str) -> None:
    net, x = nn.Sequential(nn.Linear(8, 8)).double(), torch.randn(3, 8).double()
    with torch.no_grad():
        base = net(x)
    network = attach({"unet": net}, METHODS["lora"](rank=2, dora=True, start=start), EVERY, seed=0)
    torch.testing.assert_close(net(x), base, rtol=1e-5, atol=1e-5)
    net(x).square().mean().backward()
    shaken(network)
    with torch.no_grad():
        live = net(x)
        network.merge()
        torch.testing.assert_close(net(x), live, rtol=1e-5, atol=1e-5)


class Untyped(LoRA):
    """A method whose update is no update."""

    def update(self, theta: Theta, site: Site) -> Any:
        """A tensor."""
        return theta["B"]


@pytest.mark.parametrize(
    ("parts", "method", "targets", "sentence"),
    [
        (
            {"unet": nn.Sequential(nn.Linear(2, 2))},
            LoRA,
            EVERY,
            r'^method must be like METHODS\["lora"\]\(rank=4\), and is ',
        ),
        ({"unet": nn.Sequential(nn.Linear(2, 2))}, "lora", EVERY, r"^method must be like .*, and is 'lora'$"),
        (nn.Sequential(nn.Linear(2, 2)), LoRA(), EVERY, r'^parts must be like \{"net": net\}, and is Sequential$'),
        ({"unet": 3}, LoRA(), EVERY, r"^parts must be like .*, and is dict$"),
        (
            {"unet": nn.Sequential(nn.Linear(2, 2))},
            LoRA(),
            "*",
            r"^targets must be like Targets\(.*, and is '\*'$",
        ),
        (
            {"unet": nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 1)},
            Adapter(),
            EVERY,
            r"matches no block of u",
        ),
    ],
)
def test_arguments_of_other_types_are_refused_in_one_sentence(
    parts: Any, method: Any, targets: Any, sentence: str
) -> None:
    with pytest.raises(VelaturaError, match=sentence):
        attach(parts, method, targets, seed=0)


def test_an_update_that_is_a_tensor_and_rates_of_other_types_are_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    network = attach({"unet": net}, Untyped(rank=2), EVERY, seed=0)
    with pytest.raises(VelaturaError, match=r"^Untyped\.update returned a tensor on 0; return an update"):
        net(torch.randn(3, 2))
    rates: Any
    for rates in (0.5, ("a", "b")):
        with pytest.raises(VelaturaError, match="must be a number for each step"), network.training_step(0, 2, rates):
            pass


def partly_compiled() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 4))
    for index in (1, 2):
        net[index] = torch.compile(net[index], backend="eager")
    return net


@pytest.mark.slow
def test_compiled_blocks_of_a_network_keep_their_names_in_states_and_files(tmp_path: Path) -> None:
    net, file, x = partly_compiled(), tmp_path / "net.safetensors", torch.randn(2, 4)
    base = net(x)
    network = attach({"net": net}, METHODS["lora"](rank=2), EVERY, seed=0)
    assert [site.name for site in network.sites] == ["net.0", "net.1.0", "net.2"]
    shaken(network)
    write_style(network, file, precision="fp32")
    changed = net(x).detach()
    assert (changed - base).abs().max() > 1e-2
    network.remove()
    for other in (partly_compiled(), uncompiled(partly_compiled())):
        again = attach({"net": other}, METHODS["lora"](rank=2), EVERY, seed=1)
        again.load_state_dict(network.state_dict())
        torch.testing.assert_close(other(x), changed)
        again.remove()
        assert apply_styles({"net": other}, "", [(read_style(file), 1.0)]).warnings == []
        torch.testing.assert_close(other(x), changed)


def uncompiled(net: nn.Module) -> nn.Module:
    return nn.Sequential(*(module_at(net, path) for path in "012"))


@pytest.mark.slow
@pytest.mark.parametrize("in_place", [False, True])
def test_graphs_compiled_before_see_networks_come_and_go(in_place: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, file, x = (
        nn.Sequential(nn.Linear(4, 4), nn.ReLU()).requires_grad_(False),
        tmp_path / "net.safetensors",
        torch.randn(2, 4),
    )
    if in_place:
        net.compile(backend="eager")
    compiled = net if in_place else torch.compile(net, backend="eager")
    base = compiled(x)
    network = attach({"net": compiled}, METHODS["lora"](rank=2), EVERY, seed=0)
    shaken(network)
    changed = compiled(x).detach()
    assert (changed - base).abs().max() > 1e-2
    write_style(network, file, precision="fp32")
    network.remove()
    assert torch.equal(compiled(x), base)
    style = apply_styles({"net": compiled}, "", [(read_style(file), 1.0)])
    torch.testing.assert_close(compiled(x), changed)
    style.merge()
    torch.testing.assert_close(compiled(x), changed)


@pytest.mark.parametrize("wrap", [partial(torch.compile, backend="eager"), nn.DataParallel])
@torch.no_grad()
def test_a_wrapped_network_has_the_names_of_the_network_in_it(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net, x = nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4)
    wrapped = wrap(net)
    base = wrapped(x)
    network = attach({"unet": wrapped}, METHODS["lora"](rank=2), EVERY, seed=0)
    assert [site.name for site in network.sites] == ["unet.0"]
    shaken(network)
    torch.testing.assert_close(wrapped(x), net(x))
    assert (wrapped(x) - base).abs().max() > 1e-3


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net[2].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("net", "method", "targets", "sentence"),
    [
        (tied(), "lora", ("*",), r"^unet\.0 and unet\.2 share one weight, so .* leave unet\.0 out"),
        (nn.Sequential(nn.Conv1d(2, 2, 1), nn.ReLU()), "lora", ("*",), r"^unet has no layer that this method can cha"),
        (nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)), "lora", ("*",), r"layers such as 0, which this method cannot"),
        (Odd(), "lora", ("attention.*",), r"layers such as attention\.out_proj, which this method cannot change"),
        (nn.Sequential(nn.Linear(2, 2)), "t-lora", ("*",), r"^t-lora depends on the timestep, and Sequential\.forward"),
        (
            nn.Sequential(nn.Linear(2, 2)),
            "lora",
            "attn",
            r"^the preset .attn. selects no layer of unet; use .* or patterns",
        ),
    ],
)
def test_other_networks_are_refused_and_stay_as_they_were(
    net: nn.Module, method: str, targets: str | tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(VelaturaError, match=sentence):
        attach({"unet": net}, METHODS[method](), Targets(unet=targets), seed=0)
    assert hooks_on(net) == 0 and all(p.requires_grad for p in net.parameters())


class Open(nn.Sequential):
    """A network whose signature does not say whether it takes a timestep."""

    def forward(self, x: Tensor, **_: Tensor) -> Tensor:
        """`(n, 2)` to the same."""
        return super().forward(x)


def test_a_call_without_the_timestep_that_the_method_needs_is_one_sentence() -> None:
    net = Open(nn.Linear(2, 2))
    network = attach({"unet": net}, METHODS["t-lora"](rank=2, orthogonal=False), EVERY, seed=0)
    with pytest.raises(VelaturaError, match=r"depends on the timestep: call the network with `timestep=`"):
        net(torch.randn(3, 2))
    assert net(torch.randn(3, 2), timestep=torch.tensor(10)).shape == (3, 2)
    network.remove()
    assert hooks_on(net) == 0


def test_one_of_two_layers_with_one_weight_can_be_left_out() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    network = attach({"unet": net}, METHODS["lora"](), Targets(unet=("0",)), seed=0)
    assert [site.path for site in network.sites] == ["0"]


@pytest.mark.parametrize("second", METHODS)
@pytest.mark.parametrize("first", [*ADDING, "oft", "full"])
def test_two_networks_on_one_layer_add_up_or_the_second_is_refused(first: str, second: str) -> None:
    net, x = nn.Sequential(nn.Linear(8, 8)), torch.randn(3, 8)
    below = attach({"unet": net}, METHODS[first](), EVERY, seed=0).eval()
    shaken(below)
    with torch.no_grad():
        alone = net(x)
    try:
        above = attach({"unet": net}, METHODS[second](), EVERY, seed=0).eval()
    except VelaturaError:
        assert second not in ADDING or first == "full"
        with torch.no_grad():
            assert torch.equal(net(x), alone)
        return
    shaken(above)
    with torch.no_grad():
        found = net(x)
        expected = x @ (net[0].weight + below.sites[0].dense() + above.sites[0].dense()).T + net[0].bias
        shift = above.sites[0].shift()
        torch.testing.assert_close(found, expected if shift is None else expected + shift, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("part", ["model", "unet", "backbone"])
def test_any_name_that_is_no_text_encoder_s_is_the_denoiser(part: str) -> None:
    network = attach({part: nn.Sequential(nn.Linear(2, 2))}, METHODS["lora"](), EVERY, seed=0)
    assert [site.name for site in network.sites] == [f"{part}.0"]
    assert [group["lr"] for group in network.parameter_groups(1e-3, 1e-5)] == [1e-3]
