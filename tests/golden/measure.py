"""Trains cases in a process of its own and reports the results: `python -m tests.golden.measure CASES RESULT`.

Bits depend on the processor: on its vector instructions, all of which the parent process switches off (`PORTABLE`), and
on more that cannot be switched off. Processors of one make gave the same bits; another make differs in the last digits.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
}
"""Environment in which torch computes the same bits on every processor of one make."""
RECORDED_ON = "AMD EPYC"
"""The make of the processors on which all kept numbers were recorded."""
Outcome = dict[str, Any]


def measure(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Outcome]:
    """Losses and style tensors of each case (`family/name`: a complete settings table), with portable instructions."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "cases.json"), Path(folder, "result.json")
        asked.write_text(json.dumps(cases), encoding="utf-8")
        command = [sys.executable, "-m", "tests.golden.measure", str(asked), str(answered)]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, env=os.environ | PORTABLE, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-4000:])
        found: dict[str, Outcome] = json.loads(answered.read_text(encoding="utf-8"))
        return found


def is_recorded_make(torch: str) -> bool:
    """Whether kept numbers must come out to the bit here: on the make of processor and the torch that gave them."""
    processors = Path("/proc/cpuinfo")
    known = processors.exists() and f"model name\t: {RECORDED_ON}" in processors.read_text(encoding="utf-8")
    return known and version("torch").split("+")[0] == torch.split("+")[0]


def main(asked: str, answered: str) -> None:
    """Train each case and write what came out."""
    cases: dict[str, dict[str, Any]] = json.loads(Path(asked).read_text(encoding="utf-8"))
    Path(answered).write_text(json.dumps(measure_here(cases)), encoding="utf-8")


def measure_here(cases: dict[str, dict[str, Any]]) -> dict[str, Outcome]:
    """`measure` in this process, with the instructions that it computes with: equal but for rounding."""
    from tests.tiny import tiny_folder
    from tests.trainers.hurry import hurrying, without_pictures
    from tests.trainers.tiny_runs import write_images

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bases = {family: tiny_folder(family, root / family) for family in {name.split("/")[0] for name in cases}}
        images = write_images(root / "images")
        found = {}
        with hurrying(), without_pictures():
            for name, table in copy.deepcopy(cases).items():
                table["base"]["model"], table["data"]["images"] = str(bases[name.split("/")[0]]), str(images)
                found[name] = _train(table, root / name.replace("/", "-"))
    return found


def _train(table: Mapping[str, Any], out: Path) -> Outcome:
    import tomli_w

    from tests.trainers.tiny_runs import stopping_at
    from trainers.config.build import read_config
    from trainers.runs.events import read_events
    from trainers.runs.run import Run
    from trainers.training.train import train

    out.mkdir()
    file = out / "settings.toml"
    file.write_text(tomli_w.dumps(table), encoding="utf-8")
    stop = stopping_at(Run(out / "runs" / table["name"]), table["train"]["steps"] - 1)
    result = train(read_config(file), out / "runs", listener=stop)
    losses = [event["loss"] for event in read_events(result.run) if event["type"] == "step"]
    tensors = {}
    for path in sorted((result.run / "style").glob("*.safetensors")):
        if not path.stem.endswith("-diffusers"):
            tensors |= _tensors(path)
    digest = sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(_bytes()).numpy().tobytes())
    numbers = [tensor.double().reshape(-1) for _, tensor in sorted(tensors.items())]
    return {
        "losses": losses,
        "digest": digest.hexdigest(),
        "tensors": len(tensors),
        "norm": float(sum(t.square().sum() for t in numbers)) ** 0.5,
        "waves": float(sum((t * (t.new_tensor(range(len(t))) * 0.7 + 1).sin()).sum() for t in numbers)),
    }


def _tensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {f"{path.stem} {name}": tensor for name, tensor in load_file(path).items()}


def _bytes() -> Any:
    import torch

    return torch.uint8


if __name__ == "__main__":
    main(*sys.argv[1:])
