"""Bytes of the style file of every preset on the real networks of SD 1.5 and SDXL.

python -m benchmarks.style_sizes                      all presets; writes docs/scale.md (ten minutes or more)
python -m benchmarks.style_sizes --preset lora        one, and writes nothing

The networks have their real shapes, and one number in the place of each weight: what a file holds does not depend on
them. Nothing is downloaded or trained.
"""

from __future__ import annotations

import datetime
import gc
import resource
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from torch import nn

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from tools.markdown import table
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import Network, attach
from trainers.adapters.tokens import Word
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.layers import layers
from trainers.config.presets import list_presets
from trainers.errors import VelaturaError
from trainers.formats.embedding import write_embedding
from trainers.formats.write.core import write_style
from trainers.models.families import get_family
from trainers.models.full_size import Part, build_on_meta
from trainers.models.networks import Networks

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
PARTS: Mapping[str, tuple[Part, ...]] = {
    "sd1": ("unet", "text_encoder"),
    "sdxl": ("unet", "text_encoder", "text_encoder_2"),
}
BASES = {"sd1": "stable-diffusion-v1-5/stable-diffusion-v1-5", "sdxl": "stabilityai/stable-diffusion-xl-base-1.0"}
WEIGHT, STEP = 0.01, 0.001
"""Every weight, and how far every trained number has moved: files leave out ranks that are zero."""


@dataclass(frozen=True)
class Size:
    """What a preset trains and writes on one family."""

    parameters: int
    bytes: int
    """Of the style file and the word's, without metadata."""
    counted: bool
    """Whether the file is that of a LoRA of the rank that it would be cut to, since computing the cut takes hours."""


def networks(family: str) -> dict[str, nn.Module]:
    """The parts of a base in their real shapes, whose weights share one number and take no memory."""
    built: dict[str, nn.Module] = {part: build_on_meta(family, part) for part in PARTS[family]}
    for network in built.values():
        for module in network.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is not None:
                    same = torch.full((), WEIGHT, dtype=torch.bfloat16).expand(parameter.shape)
                    module.register_parameter(name, nn.Parameter(same, requires_grad=False))
    return built


def unread(family: str, parts: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Layers that a run does not train, since nothing reads what they give."""
    unet, *encoders = parts.values()
    of, nothing = get_family(family), cast(Any, None)
    base = Networks(
        title="", denoiser=unet, vae=nothing, text_encoders=tuple(encoders), tokenizers=(), schedule=nothing
    )
    return of.unread_layers(base, 1)


def config_of(preset: str, family: str) -> Config:
    """The settings of a preset for a base of this family."""
    above = {"name": "style", "data": {"images": "images"}, "base": {"model": BASES[family]}}
    return build_config(*layers(preset=preset, above=[above]))


def measure(preset: str, family: str, parts: Mapping[str, nn.Module], folder: Path) -> Size:
    """Attach a preset's method to the networks, and write its style file."""
    config, parameters, counted, files = config_of(preset, family), 0, False, []
    if config.targets.unet != "none":
        network, parameters, counted = attached(config, family, parts)
        files.append(folder / "style.safetensors")
        write_style(files[-1], network, family, dict(cast(Any, parts["unet"]).config), {}, config.save.precision)
        network.remove()
    if config.tokens.word:
        encoders = [(part, cast(Any, encoder)) for part, encoder in parts.items() if part != "unet"]
        widths = {part: encoder.get_input_embeddings().weight.shape[1] for part, encoder in encoders}
        rows = {part: torch.full((config.tokens.vectors, width), WEIGHT) for part, width in widths.items()}
        files.append(folder / "word.safetensors")
        write_embedding(files[-1], Word(config.tokens.word, rows), {})
        parameters += sum(each.numel() for each in rows.values())
    return Size(parameters, sum(file.stat().st_size for file in files), counted)


def attached(config: Config, family: str, parts: Mapping[str, nn.Module]) -> tuple[Network, int, bool]:
    """What a preset puts on the networks, how many numbers it trains, and whether a LoRA stands in for it.

    A LoRA does for a change that the file holds cut to a rank: the singular values of all weights take hours.
    """
    method, skipped = config.method, unread(family, parts)
    rank, trained = method.file_form().extract_rank, 0
    if rank:
        empty: dict[str, nn.Module] = {part: build_on_meta(family, part) for part in PARTS[family]}
        with torch.device("meta"):
            trained = numbers(attach(empty, method, config.targets, 0, skipped))
        method = LoRA(rank=rank, alpha=float(rank))
    network = attach(parts, method, config.targets, 0, skipped)
    for each in network.methods:
        each.hooks.grow_to_max(network)
    for parameter in network.parameters():
        parameter.data += STEP
    return network, trained or numbers(network), rank > 0


def numbers(network: Network) -> int:
    """How many numbers a network trains."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def work(family: str) -> tuple[float, float]:
    """TFLOP of a pass through the UNet with one image of the family's resolution, and of the way back to its input."""
    from torch.utils.flop_counter import FlopCounterMode

    unet: Any = build_on_meta(family, "unet").requires_grad_(False)
    side, width = get_family(family).resolution // 8, unet.config.cross_attention_dim
    with torch.device("meta"):
        latents, text = torch.empty(1, 4, side, side, requires_grad=True), torch.empty(1, 77, width)
        step = torch.empty(1)
        added = {"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)} if family == "sdxl" else None
    with FlopCounterMode(display=False) as there:
        noise = unet(latents, step, text, added_cond_kwargs=added).sample
    with FlopCounterMode(display=False) as back:
        noise.sum().backward()
    return there.get_total_flops() / 1e12, back.get_total_flops() / 1e12


def report(found: Mapping[str, Mapping[str, Size]]) -> str:
    """The section of the page."""
    rows = []
    for preset, sizes in found.items():
        row = [f"`{preset}`"]
        for family in PARTS:
            size = sizes.get(family)
            row += (
                [f"{size.parameters:,}", megabytes(size.bytes) + (" ¹" if size.counted else "")] if size else ["", ""]
            )
        rows.append(row)
    works = []
    for family in PARTS:
        of, (there, back) = get_family(family), work(family)
        works.append((f"{of.title}, {of.resolution} px", f"{there:.2f}", f"{back:.2f}"))
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    return "\n".join(
        [
            "# Bytes of a style",
            "",
            "The style file of each preset on the real networks, in the preset's precision, without metadata (10 to "
            "30 kB) and without second files for other programs. Methods that grow are at the most they may grow to; "
            "those that prune have pruned nothing.",
            "",
            f"Written by `python -m benchmarks.style_sizes` on {today}: {machine()}; torch {torch.__version__}.",
            "",
            *table(("preset", "SD 1.5: trained", "MB", "SDXL: trained", "MB"), rows),
            "",
            "¹ Counted as the LoRA of the rank that the file is cut to. All other files were written.",
            "",
            "Work of one image in one step, counted by torch from the shapes. The method's own comes to that: on a "
            "CPU a LoRA adds 12 to 31 % of time ([speed.md](speed.md)).",
            "",
            *table(("base", "forward, TFLOP", "backward, TFLOP"), works),
        ]
    )


def megabytes(size: int) -> str:
    """Bytes in MB with three digits."""
    return f"{size / 1e6:,.0f}" if size >= 1e8 else f"{size / 1e6:.3g}"


def style_sizes(preset: Annotated[list[str] | None, typer.Option(help="Only these; writes nothing.")] = None) -> None:
    """Write every preset's style file for both families, and docs/scale.md."""
    names = preset or [each.name for each in list_presets()]
    found: dict[str, dict[str, Size]] = {name: {} for name in names}
    for family in PARTS:
        parts = networks(family)
        for name in names:
            with tempfile.TemporaryDirectory(prefix="velatura-sizes-") as folder:
                try:
                    size = measure(name, family, parts, Path(folder))
                except VelaturaError as error:  # it has nothing to train on this family
                    print(f"{name:18} {family:5} {error}", flush=True)
                    continue
            found[name][family] = size
            gc.collect()
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(
                f"{name:18} {family:5} {size.parameters:>13,} {megabytes(size.bytes):>8} MB  {most:.1f} GB", flush=True
            )
    if not preset:
        write_section(PAGE, report(found))


if __name__ == "__main__":
    typer.run(style_sizes)
