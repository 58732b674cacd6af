"""Captioners as small as they can be, with random weights, in the files that the real ones have."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "fox", "in", "snow", "lake"]


def shaken(model: torch.nn.Module) -> Any:
    """The model with weights large enough for what it says to depend on what it is shown."""
    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.5)
    return model


def write_blip(folder: Path) -> Path:
    """BLIP with one layer and a vocabulary of six words; as in the real one, the first token is beyond them."""
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = size | {"vocab_size": len(WORDS) + 1, "encoder_hidden_size": 16, "bos_token_id": len(WORDS)}
    config = BlipConfig(
        text_config=text | {"pad_token_id": 0, "sep_token_id": 3, "eos_token_id": 3, "max_position_embeddings": 64},
        vision_config=size | {"image_size": 32, "patch_size": 16},
        projection_dim=16,
        image_text_hidden_size=16,
    )
    shaken(BlipForConditionalGeneration(config)).save_pretrained(folder)
    processor = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def write_tagger(folder: Path, side: int = 8) -> Path:
    """A tagger in ONNX: the mean of each colour, of 255, is the probability of a tag; the last one is a rating's."""
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir(parents=True, exist_ok=True)
    pick = np.eye(3, dtype=np.float32)[:, [0, 1, 2, 0]] / 255  # blue, green, red -> four tags
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "pick"], ["chances"]),
        ],
        "tagger",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", side, side, 3])],
        [helper.make_tensor_value_info("chances", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("pick", TensorProto.FLOAT, pick.shape, pick.ravel()),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx"
    )
    with (folder / "selected_tags.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["tag_id", "name", "category", "count"])
        rows.writerows([(1, "blue_sky", 0, 9), (2, "green_tree", 0, 9), (3, "red_fox", 4, 9), (4, "general", 9, 9)])
    return folder


def write_florence(folder: Path) -> Path:
    """Florence-2 with one layer a part, and a tokenizer of single letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        PreTrainedTokenizerFast,
    )

    folder.mkdir(parents=True, exist_ok=True)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<image>"]
    letters = {token: number for number, token in enumerate([*special, *"abcdefghijklmnopqrstuvwxyz ."])}
    core = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    text = {
        "vocab_size": len(letters), "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": 2,
    }  # fmt: skip
    vision = {
        "depths": [1, 1, 1, 1], "embed_dim": [8, 8, 8, 16], "num_heads": [1, 1, 1, 2], "num_groups": [1, 1, 1, 2],
        "window_size": 2, "projection_dim": 16,
    }  # fmt: skip
    config = Florence2Config(text_config=text, vision_config=vision, image_token_id=4)
    shaken(Florence2ForConditionalGeneration(config)).save_pretrained(folder)
    images = CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    images.image_seq_length = 5
    Florence2Processor(images, tokenizer).save_pretrained(folder)
    return folder
