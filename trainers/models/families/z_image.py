"""Z-Image: a transformer of single blocks over image and text, with Qwen 3 as text encoder.

Its time τ = 1 − σ and its output go from noise to image, so `predict` reverses both. Text is the penultimate state of
Qwen 3 for the caption as a chat message; padding is cut off, so a batch is a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.messages import Message as _
from trainers.models.families.family import Licence, OriginalLayer, Pair, Variant, down_factor
from trainers.models.families.flow import FlowFamily
from trainers.models.files.parts import PartSource

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.models.networks import Networks
    from trainers.models.text import Conditioning

LENGTH = 512
"""Maximum tokens of a caption, including those of the chat template."""
MESSAGE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
"""Qwen 3's chat template; other Qwen tokenizers, such as ComfyUI's, have another one."""
PATCH = 2
"""Latents along the side of a token, the only patch size of the network."""
ENDS: Mapping[str, str] = {
    "x_embedder": "all_x_embedder.2-1",
    "final_layer.linear": "all_final_layer.2-1.linear",
    "final_layer.adaLN_modulation.1": "all_final_layer.2-1.adaLN_modulation.1",
}
"""Layers with another name in the original layout, by that name."""
NORMS: Mapping[str, str] = {"norm_q": "q_norm", "norm_k": "k_norm"}
JOINT = ("to_q", "to_k", "to_v")
LICENCE = Licence("Apache-2.0", _("any use is allowed"), "https://huggingface.co/Tongyi-MAI/Z-Image-Turbo")


class ZImage(FlowFamily):
    name = "z-image"
    title = "Z-Image"
    short_title = "Z-Image"
    text_positions = LENGTH
    networks: ClassVar[Mapping[str, str]] = {
        "transformer": "diffusers.ZImageTransformer2DModel",
        "vae": "diffusers.AutoencoderKL",
        "text_encoder": "transformers.Qwen3Model",
    }
    tokenizers: ClassVar[Mapping[str, str]] = {"tokenizer": "transformers.Qwen2Tokenizer"}
    part_sources: ClassVar[Mapping[str, PartSource]] = {
        "vae": PartSource("vae.", ("ae", "flux*vae*", "*vae*flux*", "*z*image*vae*", "ae*")),
        "text_encoder": PartSource("text_encoders.qwen3_4b.transformer.", ("qwen_3_4b*", "qwen3*4b*")),
    }
    loose_tensors: ClassVar[Mapping[str, str]] = {name: name for name in ("x_pad_token", "cap_pad_token")}
    variants = (Variant("flow", 1024, "z_image", "z-image", "z-image", licence=LICENCE),)
    hub_names = ("z-image",)
    joint_blocks = ("feed_forward", "self_attention")
    marks = (("cap_embedder.1.weight", "x_pad_token"),)
    style_form = "diffusers"
    style_mark = r"(?:^|[._])(?:layers|refiner)[._]\d+[._](?:attention|feed[._]forward|adaLN)"
    diffusers_path = r"[._]to_(?:[qkv]|out)|^all_|[._]norm_[qk]$"
    authors_path = r"attention[._](?:qkv|out)$|[._][qk]_norm$|^(?:x_embedder|final_layer)"
    loads_lokr = True
    settings: ClassVar[Mapping[str, Any]] = {
        "loss": {"timesteps": "logit-normal 0 1 shifted auto"},
        "sample": {"sampler": "euler", "steps": 28, "guidance": 5.0},
    }

    # ------------------------------------------------------------ loading
    def sizes(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> Pair:
        return self.resolution, PATCH * down_factor(vae)

    # ------------------------------------------------------------ text, prediction, sampling
    def encode(self, base: Networks, captions: Sequence[str], clip_skip: int, chunks: int) -> Conditioning:
        import torch

        from trainers.models.text import Conditioning

        (tokenizer,), (encoder,) = base.tokenizers, base.text_encoders
        texts = [MESSAGE.format(caption) for caption in captions]
        settings = {"padding": "max_length", "max_length": LENGTH, "truncation": True, "return_tensors": "pt"}
        tokens = tokenizer(texts, **settings)
        ids, mask = tokens.input_ids.to(encoder.device), tokens.attention_mask.to(encoder.device)
        with torch.no_grad():
            out = encoder(input_ids=ids, attention_mask=mask.bool(), output_hidden_states=True)
        return Conditioning(out.hidden_states[-2], mask=mask)

    def count_tokens(self, tokenizer: Any, caption: str, sizes: Mapping[str, int]) -> int:
        return len(tokenizer(MESSAGE.format(caption), verbose=False).input_ids)

    def token_limit(self, chunks: int) -> int:
        return LENGTH

    def predict(
        self,
        base: Networks,
        latents: Tensor,
        t: Tensor,
        text: Conditioning,
        time_ids: Tensor | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        import torch

        transformer, device, dtype = base.denoiser, latents.device, base.dtype
        text = text.to(device, dtype)
        assert text.mask is not None, "text of this family has a mask"
        captions = [states[mask.bool()] for states, mask in zip(text.context, text.mask, strict=True)]
        images = list(latents.to(dtype).unsqueeze(2).unbind(0))  # (c, 1, h, w) each
        steps = base.schedule.steps
        velocities = transformer(images, (steps - t.to(device)) / steps, captions, return_dict=False)[0]
        return -torch.stack(list(velocities)).squeeze(2)

    def middle_block(self, denoiser: Any) -> Any:
        return denoiser.noise_refiner[-1]  # the last one that reads the image alone

    def image_activations(self, output: Any) -> Tensor:
        tokens: Tensor = output
        return tokens.transpose(1, 2)

    # ------------------------------------------------------------ names in style files
    def original_layers(self, config: Mapping[str, Any], paths: Sequence[str]) -> Iterator[OriginalLayer]:
        width, selected = config["dim"], set(paths)
        kv = width // config["n_heads"] * config["n_kv_heads"]
        ends = {path: name for name, path in ENDS.items()}
        for path in paths:
            start, _, last = path.rpartition(".")
            if start.endswith(".attention") and last in JOINT:
                if last == next(name for name in JOINT if f"{start}.{name}" in selected):  # once for all three
                    yield OriginalLayer(f"{start}.qkv", tuple(f"{start}.{name}" for name in JOINT), (width, kv, kv))
            elif path.endswith(".attention.to_out.0"):
                yield OriginalLayer(f"{path.removesuffix('to_out.0')}out", (path,))
            elif start.endswith(".attention"):
                yield OriginalLayer(f"{start}.{NORMS[last]}", (path,))
            else:
                yield OriginalLayer(ends.get(path, path), (path,))
