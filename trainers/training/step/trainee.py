"""The module that a training step runs: the frozen networks and the trained adapters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.adapters.network import Network
from trainers.adapters.op import weights_on_device
from trainers.models.model import Model
from trainers.models.text import Conditioning


class Trainee(nn.Module):
    """Base and adapters as one module, prepared for a device."""

    def __init__(self, model: Model, network: Network, clip_skip: int, chunks: int):
        super().__init__()
        self.denoiser, self.text_encoders, self.network = model.denoiser, nn.ModuleList(model.text_encoders), network
        self._model, self._clip_skip, self._chunks = (model,), clip_skip, chunks

    def encode(self, captions: list[str]) -> Conditioning:
        """Encode captions."""
        return self._model[0].encode(captions, self._clip_skip, self._chunks)

    def forward(self, noisy: Tensor, t: Tensor, text: Conditioning | list[str], time_ids: Tensor | None) -> Tensor:
        """The prediction `(n, c, h, w)` for noisy latents at timesteps `(n,)`; captions as text are encoded here."""
        conditioning = self.encode(text) if isinstance(text, list) else text
        return self._model[0].predict(noisy, t, conditioning, time_ids)

    @torch.no_grad()
    def predict_with_base(
        self, noisy: Tensor, t: Tensor, text: Conditioning | list[str], time_ids: Tensor | None
    ) -> Tensor:
        """The bare base's prediction `(n, c, h, w)`."""
        with self.network.at_strength(0):
            prediction: Tensor = self(noisy, t, text, time_ids)
            return prediction

    def checkpoint_gradients(self, with_text: bool) -> None:
        """Turn on gradient checkpointing: keep each block's input and recompute the rest in backward."""
        self.denoiser.enable_gradient_checkpointing()
        self.denoiser.train()  # has no dropout: this only enables checkpointing
        trained = len(self._model[0].family.trained_encoders)  # not T5, which has dropout
        for encoder in self._model[0].text_encoders[:trained] if with_text else ():
            encoder.gradient_checkpointing_enable()
            encoder.train()


class Objective(nn.Module):
    """A trainee that returns the methods' penalty with the prediction, so that all gradients come from its output.

    With `shared`, other processes take the same step and wait for each other's gradients, so a pass that reaches no
    trained parameter here gives zeros. `reaches` is whether the last pass reached one.
    """

    def __init__(self, trainee: Trainee, shared: bool = False) -> None:
        super().__init__()
        self.trainee, self._shared = trainee, shared
        self.reaches = False
        if shared:  # torch warns if no parameter is unused, as for some methods in some steps
            self.unused = nn.Parameter(torch.zeros(()))
        frozen = [name for name, parameter in self.named_parameters() if not parameter.requires_grad]
        packed = [f"trainee.denoiser.{name}" for name, _ in trainee.denoiser.named_buffers()]
        self._ddp_params_and_buffers_to_ignore = frozen + packed  # the base is the same in all processes

    def forward(
        self, noisy: Tensor, t: Tensor, text: Conditioning | list[str], time_ids: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The prediction `(n, c, h, w)` and the methods' penalty, a scalar in fp32, if there is one."""
        prediction, network = self.trainee(noisy, t, text, time_ids), self.trainee.network
        assert network.step is not None
        penalty = network.step.penalty()
        penalties = [] if penalty is None else [penalty]
        self.reaches = any(output.requires_grad for output in (prediction, *penalties))
        if self._shared and not self.reaches:
            parameter = next((p for p in network.parameters() if p.requires_grad), None)
            prediction = prediction if parameter is None else prediction + 0 * parameter.sum()
        return prediction, *penalties


def fingerprint(*modules: nn.Module) -> str:
    """A short hash of networks' weights, from names, shapes and sampled values."""
    import hashlib

    digest = hashlib.sha256()
    for path, layer in (pair for module in modules for pair in module.named_modules(remove_duplicate=False)):
        tensors: dict[str, Tensor] = {}
        with weights_on_device(layer):
            layer._save_to_state_dict(tensors, f"{path}." if path else "", False)
        for name, tensor in tensors.items():
            flat = tensor.flatten()
            picked = flat[:: max(1, len(flat) // 64)].float().cpu()
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(picked.numpy().tobytes())
    return digest.hexdigest()[:16]


def finite(tensors: list[Tensor]) -> bool:
    """Whether all values are finite."""
    return all(bool(torch.isfinite(t).all()) for t in tensors)
