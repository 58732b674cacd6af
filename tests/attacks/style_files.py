"""Hostile style files, small on disk, and every way into the program for each of them.

`python -m tests.attacks.style_files` writes them to a folder that is gone afterwards, tries each and says what came of
it: one sentence, or what was not foreseen.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from trainers.errors import VelaturaError

K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
"""A layer of the tiny base, (32, 24)."""
OUT, IN = 32, 24
PEFT = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
WIDE = 40_000
"""Two vectors of this length multiply to 6.4 GB in fp32."""
INTEGERS = (torch.int8, torch.bool, torch.int64)
FAMILY = {"velatura.family": "sd1"}


def lora(rank: int = 2, stem: str = K, value: float = 1.0) -> dict[str, Tensor]:
    return {
        f"{stem}.lora_up.weight": torch.full((OUT, rank), value),
        f"{stem}.lora_down.weight": torch.full((rank, IN), value),
        f"{stem}.alpha": torch.tensor(1.0),
    }


def of(stem: str = K, **tensors: Tensor) -> dict[str, Tensor]:
    return {f"{stem}.{name.replace('__', '.')}": tensor for name, tensor in tensors.items()}


ones, half = torch.ones, torch.half
BOMBS: dict[str, dict[str, Tensor]] = {
    "w1_a @ w1_b": of(lokr_w1_a=ones(WIDE, 1).to(half), lokr_w1_b=ones(1, WIDE).to(half), lokr_w2=ones(1, 1)),
    "w1_a @ w1_b of nothing": of(lokr_w1_a=ones(10**6, 0), lokr_w1_b=ones(0, 10**6), lokr_w2=ones(1, 1)),
    "w2_a @ w2_b": of(lokr_w1=ones(1, 1), lokr_w2_a=ones(WIDE, 1).to(half), lokr_w2_b=ones(1, WIDE).to(half)),
    "w1 ⊗ w2": of(lokr_w1=ones(1, 40_000), lokr_w2=ones(40_000, 1)),
    "lora up · down": of(lora_up__weight=ones(WIDE, 1), lora_down__weight=ones(1, WIDE)),
    "lora_mid": of(
        lora_mid__weight=ones(1, 1, 200, 200), lora_down__weight=ones(1, WIDE, 1, 1), lora_up__weight=ones(4, 1, 1, 1)
    ),
    "hada_t1": of(
        **{f"hada_t{i}": ones(1, 1, 200, 200) for i in (1, 2)},
        **{f"hada_w{i}_a": ones(1, 4) for i in (1, 2)},
        **{f"hada_w{i}_b": ones(1, WIDE) for i in (1, 2)},
    ),
    "lokr_t2": of(lokr_w1=ones(1, 1), lokr_t2=ones(1, 1, 200, 200), lokr_w2_a=ones(1, 4), lokr_w2_b=ones(1, WIDE)),
    "hada": of(**{f"hada_w{i}_{s}": ones(WIDE, 1) if s == "a" else ones(1, WIDE) for i in (1, 2) for s in "ab"}),
    "many layers of 67 million": {
        key: tensor
        for n in range(64)
        for key, tensor in of(
            f"lora_unet_{n}", lokr_w1_a=ones(8000, 1), lokr_w1_b=ones(1, 8000), lokr_w2=ones(1, 1)
        ).items()
    },
}
FILES: dict[str, dict[str, Tensor]] = {
    **{f"bomb: {name}": tensors for name, tensors in BOMBS.items()},
    "rank 0": lora(0),
    "rank 0 of LoKr": of(lokr_w1_a=ones(4, 0), lokr_w1_b=ones(0, 4), lokr_w2=ones(8, 6), alpha=torch.tensor(1.0)),
    "rank 0 of LoHA": of(
        **{f"hada_w{i}_a": ones(OUT, 0) for i in (1, 2)}, **{f"hada_w{i}_b": ones(0, IN) for i in (1, 2)}
    ),
    "rank 0 of GLoRA": of(
        a1__weight=ones(IN, 0), a2__weight=ones(0, IN), b1__weight=ones(OUT, 0), b2__weight=ones(0, IN)
    ),
    "a product beyond fp32": lora(value=1e30),
    "a Kronecker product beyond fp32": of(lokr_w1=torch.full((4, 4), 1e30), lokr_w2=torch.full((8, 6), 1e30)),
    "a DoRA beyond fp32": lora(value=1e30) | of(dora_scale=ones(OUT, 1)),
    "PEFT's DoRA beyond fp32": of(
        PEFT,
        lora_A__weight=torch.full((2, IN), 1e30),
        lora_B__weight=torch.full((OUT, 2), 1e30),
        lora_magnitude_vector=ones(OUT),
    ),
    "an infinite factor times zeros": lora(value=0.0)
    | of(lora_up__weight=ones(OUT, 2) * 1e30, alpha=torch.tensor(1e30)),
    "two names for one layer": lora() | lora(stem=K.replace("lora_unet_", "lycoris_"), value=2.0),
    **{f"weights as {kind}": {key: t.to(kind) for key, t in lora().items()} for kind in INTEGERS},
    "one number for a layer": of(diff=ones(1)),
    "an alpha of two numbers": lora() | of(alpha=ones(2)),
    "a rotation of no block": of(oft_blocks=ones(2, 0, 0)),
    "a rotation of half a block": of(PEFT, oft_R__weight=ones(3, 5)),
    "a rotation of another width": of(PEFT, oft_R__weight=ones(7, 6)),
    "a rotation without its settings": of(PEFT, oft_R__weight=ones(6, 6)),
    "scales of another width": of(PEFT, ia3_l=ones(7, 1)),
    "GLoRA of another width": of(
        a1__weight=ones(5, 2), a2__weight=ones(2, 5), b1__weight=ones(OUT, 2), b2__weight=ones(2, IN)
    ),
}
HEADERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "metadata as a list": lambda header: header | {"__metadata__": ["a", "b"]},
    "metadata as a text": lambda header: header | {"__metadata__": "a"},
    "metadata as a number": lambda header: header | {"__metadata__": 7},
    "a header of 17 MB": lambda header: header | {"__metadata__": {"a": "x" * 17 * 2**20}},
}
SETTINGS: dict[str, str] = {
    "a list": "[1]",
    "no JSON": "{oops",
    "deep JSON": "[" * 60_000,
    "too long": '{"a": "' + "x" * 2**20 + '"}',
    "no alpha": '{"lora_alpha": "much"}',
    "an alpha that is none": '{"lora_alpha": NaN}',
    "an endless alpha": '{"lora_alpha": 1%s}' % ("0" * 400),
    "a slow pattern": json.dumps({"lora_alpha": 2, "alpha_pattern": {"(([a-z_.]+)+)+!": 4}}),
    "patterns that are a list": '{"lora_alpha": 2, "alpha_pattern": [1]}',
    "a base that was changed": '{"lora_alpha": 2, "init_lora_weights": "pissa_niter_4"}',
    "DoRA without magnitudes": '{"lora_alpha": 2, "use_dora": true}',
}


def write_all(folder: Path) -> dict[str, Path]:
    """Write every hostile file, by what is wrong with it."""
    files = {}
    for number, (name, tensors) in enumerate(FILES.items()):
        files[name] = folder / f"style-{number}.safetensors"
        files[name].write_bytes(save({key: tensor.contiguous() for key, tensor in tensors.items()}, FAMILY))
    whole = save(lora())
    length = struct.unpack("<Q", whole[:8])[0]
    for number, (name, changed) in enumerate(HEADERS.items()):
        text = json.dumps(changed(json.loads(whole[8 : 8 + length]))).encode()
        files[name] = folder / f"header-{number}.safetensors"
        files[name].write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + length :])
    adapter = {f"{PEFT}.lora_A.weight": ones(2, IN), f"{PEFT}.lora_B.weight": ones(OUT, 2)}
    for number, (name, text) in enumerate(SETTINGS.items()):
        place = folder / f"adapter-{number}"
        place.mkdir()
        (place / "adapter_config.json").write_text(text, encoding="utf-8")
        files[f"settings: {name}"] = place / "adapter_model.safetensors"
        files[f"settings: {name}"].write_bytes(save(adapter))
    return files


def ways(path: Path, parts: Mapping[str, nn.Module], out: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every way in for a style file, by name; `parts` is the base that it is put on, `out` where files are written."""
    from app.studio.styles.entry import check_numbers, read_found
    from trainers.composition.apply import apply_styles
    from trainers.composition.merge import merge_files
    from trainers.formats.inspect import describe_style
    from trainers.formats.read import read_style
    from trainers.formats.write.convert import write_plain

    yield "inspect", lambda: describe_style(path)
    yield "library", lambda: read_found(path)
    yield "import", lambda: check_numbers(path)
    yield "convert", lambda: write_plain(out, read_style(path))
    yield "merge", lambda: merge_files(out, [(read_style(path), 1.0), (read_style(path), 0.5)])
    yield "cut", lambda: merge_files(out, [(read_style(path), 1.0)], 4)
    yield "apply", lambda: apply_styles(parts, "sd1", [(read_style(path), 1.0)]).remove()


def try_one(path: Path, parts: Mapping[str, nn.Module], out: Path) -> dict[str, str]:
    """What each way in says of a file, empty where it takes it; anything but a sentence of ours goes on."""
    found = {}
    for way, go in ways(path, parts, out):
        try:
            go()
            found[way] = ""
        except VelaturaError as error:
            found[way] = str(error)
    return found


def tiny_parts() -> dict[str, nn.Module]:
    """The UNet of a tiny base."""
    from tests.tiny import tiny_configs, tiny_weights
    from trainers.models.full_size import build_from_config

    unet = build_from_config(tiny_configs("sd1")["unet"]).to_empty(device="cpu")
    unet.load_state_dict(tiny_weights("sd1")["unet"])
    return {"unet": unet.requires_grad_(False)}


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1024 if sys.platform != "darwin" else used / 2**20


def main(only: str = "") -> None:
    """Try the files whose names begin with `only`, and print what came of it and how much memory it took."""
    with tempfile.TemporaryDirectory() as folder:
        place, parts = Path(folder), tiny_parts()
        files = write_all(place)
        for _ in ways(files["rank 0"], parts, place):  # whatever is imported on the way is no file's doing
            pass
        before = peak_mb()
        for name, path in files.items():
            if name.startswith(only):
                said = try_one(path, parts, place / "out.safetensors")
                print(f"{name}: {said['apply'] or said['import'] or 'taken'}")
        print(json.dumps({"grown_mb": math.ceil(peak_mb() - before)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
