"""Real-size networks on the meta device: parameter counts, and the original layout's names and shapes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from diffusers.loaders import single_file_utils as converter

from tests.trainers.models.ldm_names import single_file
from trainers.errors import VelaturaError
from trainers.models.bases.detect import family_of_file
from trainers.models.files.header import Header
from trainers.models.full_size import build_on_meta

AT_ONCE = """
import threading
from trainers.models.full_size import build_on_meta
start, built = threading.Barrier(4), []
def build():
    start.wait()
    built.append(build_on_meta("sd1", "vae"))
threads = [threading.Thread(target=build) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(built))
"""
COUNTS = {
    ("sd1", "unet"): (859_520_964, 686),
    ("sd1", "vae"): (83_653_863, 248),
    ("sd1", "text_encoder"): (123_060_480, 196),
    ("sd2", "unet"): (865_910_724, 686),
    ("sd2", "text_encoder"): (340_387_840, 372),
    ("sd2-v", "unet"): (865_910_724, 686),
    ("sdxl", "unet"): (2_567_463_684, 1680),
    ("sdxl", "vae"): (83_653_863, 248),
    ("sdxl", "text_encoder"): (123_060_480, 196),
    ("sdxl", "text_encoder_2"): (694_659_840, 517),
}
PARTS = {
    "sd1": ("unet", "vae", "text_encoder"),
    "sd2": ("unet", "vae", "text_encoder"),
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2"),
}
ATTENTIVE = {"sd1": {1, 2, 3}, "sd2": {1, 2, 3}, "sdxl": {0, 1}}

# Names and shapes as the published checkpoints have them.
PUBLISHED = {
    "sd1": {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "model.diffusion_model.input_blocks.1.1.proj_in.weight": (320, 320, 1, 1),
        "model.diffusion_model.input_blocks.3.0.op.weight": (320, 320, 3, 3),
        "model.diffusion_model.input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
        "model.diffusion_model.input_blocks.8.1.transformer_blocks.0.ff.net.0.proj.weight": (10240, 1280),
        "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (1280, 768),
        "model.diffusion_model.output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "model.diffusion_model.output_blocks.5.2.conv.bias": (1280,),
        "model.diffusion_model.output_blocks.11.0.skip_connection.weight": (320, 640, 1, 1),
        "model.diffusion_model.time_embed.2.weight": (1280, 1280),
        "model.diffusion_model.out.2.weight": (4, 320, 3, 3),
        "first_stage_model.encoder.down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
        "first_stage_model.encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
        "first_stage_model.decoder.up.0.block.2.conv2.weight": (128, 128, 3, 3),
        "first_stage_model.decoder.up.3.upsample.conv.weight": (512, 512, 3, 3),
        "first_stage_model.post_quant_conv.weight": (4, 4, 1, 1),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
        "cond_stage_model.transformer.text_model.encoder.layers.11.mlp.fc1.weight": (3072, 768),
        "cond_stage_model.transformer.text_model.final_layer_norm.bias": (768,),
    },
    "sd2": {
        "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
        "model.diffusion_model.input_blocks.1.1.proj_in.weight": (320, 320),
        "cond_stage_model.model.positional_embedding": (77, 1024),
        "cond_stage_model.model.transformer.resblocks.22.attn.in_proj_weight": (3072, 1024),
        "cond_stage_model.model.transformer.resblocks.0.mlp.c_fc.weight": (4096, 1024),
        "cond_stage_model.model.ln_final.weight": (1024,),
    },
    "sdxl": {
        "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
        "model.diffusion_model.input_blocks.4.1.transformer_blocks.1.attn2.to_v.weight": (640, 2048),
        "model.diffusion_model.input_blocks.8.1.transformer_blocks.9.attn1.to_out.0.weight": (1280, 1280),
        "model.diffusion_model.output_blocks.2.2.conv.weight": (1280, 1280, 3, 3),
        "model.diffusion_model.output_blocks.5.2.conv.weight": (640, 640, 3, 3),
        "model.diffusion_model.output_blocks.8.0.emb_layers.1.weight": (320, 1280),
        "conditioner.embedders.0.transformer.text_model.encoder.layers.11.self_attn.q_proj.weight": (768, 768),
        "conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_bias": (3840,),
        "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias": (1280,),
        "conditioner.embedders.1.model.text_projection": (1280, 1280),
    },
}


@pytest.fixture(scope="module")
def states() -> dict[str, dict[str, dict[str, torch.Tensor]]]:
    return {tree: {part: build_on_meta(tree, part).state_dict() for part in parts} for tree, parts in PARTS.items()}


@pytest.mark.parametrize(("tree", "part"), COUNTS)
def test_parameters_as_published(tree, part):
    network = build_on_meta(tree, part)
    parameters = list(network.parameters())
    assert (sum(p.numel() for p in parameters), len(parameters)) == COUNTS[tree, part]
    assert all(p.is_meta for p in parameters)


def test_no_such_part():
    with pytest.raises(VelaturaError, match="no 'text_encoder_2' in a 'sd1' base"):
        build_on_meta("sd1", "text_encoder_2")


@pytest.mark.parametrize("tree", PARTS)
def test_original_names_and_shapes(tree, states):
    tensors = single_file(states[tree], ATTENTIVE[tree])
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert {name: shapes.get(name) for name in PUBLISHED[tree]} == PUBLISHED[tree]
    for prefix, part in (("model.diffusion_model.", "unet"), ("first_stage_model.", "vae")):
        assert sum(name.startswith(prefix) for name in shapes) == len(states[tree][part])
    assert family_of_file(Header(shapes, {}), "x").name == tree


@pytest.mark.parametrize("tree", PARTS)
def test_loader_finds_every_tensor_of_a_real_checkpoint(tree, states):
    """The loader's own converter, fed with the independently written names, gives each network exactly its tensors."""
    tensors = single_file(states[tree], ATTENTIVE[tree])
    unet, vae = build_on_meta(tree, "unet"), build_on_meta(tree, "vae")
    assert _shapes(converter.convert_ldm_unet_checkpoint(tensors, dict(unet.config))) == _shapes(states[tree]["unet"])
    assert _shapes(converter.convert_ldm_vae_checkpoint(tensors, dict(vae.config))) == _shapes(states[tree]["vae"])


def _shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_threads_that_are_first_to_need_a_library_all_get_it():
    """The libraries replace their modules while they are imported."""
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True)
    assert done.stdout == "4\n", done.stderr
