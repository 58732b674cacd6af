"""Breaks in what Velatura says of families of flow-matching transformers."""

from __future__ import annotations

from tests.breaks.breaks import Break

FAMILIES, TESTS = "trainers/models/families", "tests/trainers/models/families"

FLOWS = (
    Break(
        "flow-shift",
        "trainers/models/flow.py",
        "- 2 * math.log(factor)",
        "- math.log(factor)",
        "a flow base is trained and drawn at other noise levels than its authors'",
        ("tests/trainers/models/test_flow.py::test_times_of_training",),
    ),
    Break(
        "flux-packing",
        f"{FAMILIES}/flux.py",
        ".permute(0, 2, 4, 1, 3, 5)",
        ".permute(0, 2, 4, 3, 5, 1)",
        "Flux reads each token's latents in another order than it was trained on",
        (f"{TESTS}/test_flux.py::test_packing_by_hand",),
    ),
    Break(
        "flux-time",
        f"{FAMILIES}/flux.py",
        "timestep=t.to(device) / base.schedule.steps,",
        "timestep=t.to(device),",
        "Flux is told of a thousand times as much noise as there is",
        (f"{TESTS}/test_flux.py::test_loss_is_that_of_diffusers_training_script",),
    ),
    Break(
        "flux-guidance",
        f"{FAMILIES}/flux.py",
        "scale = base.guidance if guidance is None else guidance",
        "scale = base.guidance",
        "Flux dev draws with the same guidance scale whatever is asked for",
        (f"{TESTS}/test_flux.py::test_guidance_is_an_input",),
    ),
    Break(
        "chroma-padding",
        f"{FAMILIES}/chroma.py",
        "places <= tokens.sum(1, keepdim=True)",
        "places < tokens.sum(1, keepdim=True)",
        "Chroma never sees the one padding token that it was trained with",
        (f"{TESTS}/test_chroma.py::test_one_padding_token_counts",),
    ),
    Break(
        "chroma-mask",
        f"{FAMILIES}/chroma.py",
        "*([self.mask] if single else [])",
        "*[]",
        "gradient checkpointing changes what Chroma computes",
        (f"{TESTS}/test_chroma.py::test_checkpointing_keeps_the_mask",),
    ),
    Break(
        "z-image-time",
        f"{FAMILIES}/z_image.py",
        "(steps - t.to(device)) / steps",
        "t.to(device) / steps",
        "Z-Image takes noise for a finished picture",
        (f"{TESTS}/test_z_image.py::test_text_and_prediction_are_those_of_diffusers",),
    ),
    Break(
        "z-image-sign",
        f"{FAMILIES}/z_image.py",
        "return -torch.stack",
        "return torch.stack",
        "Z-Image is trained towards the opposite of its flow",
        (f"{TESTS}/test_z_image.py::test_text_and_prediction_are_those_of_diffusers",),
    ),
    Break(
        "sd3-text-order",
        f"{FAMILIES}/sd3.py",
        "torch.cat([clip, t5.to(clip)], dim=1)",
        "torch.cat([t5.to(clip), clip], dim=1)",
        "SD 3 reads T5's states where it learned CLIP's",
        (f"{TESTS}/test_sd3.py::test_text_and_prediction_are_those_of_diffusers",),
    ),
    Break(
        "sd3-pooled-order",
        f"{FAMILIES}/sd3.py",
        "torch.cat(pooled, dim=-1)",
        "torch.cat(pooled[::-1], dim=-1)",
        "SD 3 reads the two CLIP encoders' summaries in the wrong order",
        (f"{TESTS}/test_sd3.py::test_text_and_prediction_are_those_of_diffusers",),
    ),
    Break(
        "flow-joint-rows",
        "trainers/formats/original/rows.py",
        "torch.arange(total).roll(total // 2)",
        "torch.arange(total)",
        "styles exchange scale and shift of the last layer in programs that read the authors' names",
        ("tests/trainers/formats/test_transformers.py::test_other_structures_under_native_names_mean_the_same_change",),
    ),
    Break(
        "flow-joint-ranks",
        "trainers/formats/original/join.py",
        "start = starts[places[path]]",
        "start = 0",
        "queries, keys and values of a style share the rank of the first in programs that read the authors' names",
        ("tests/trainers/formats/test_transformers.py::test_a_file_means_the_live_network",),
    ),
)
