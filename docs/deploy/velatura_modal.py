"""Trains a run on Modal: `modal run docs/deploy/velatura_modal.py --run dusk`; docs/deploy/modal.md has the rest."""

import subprocess
from pathlib import Path

import modal

SOURCE = Path(__file__).parents[2] if len(Path(__file__).parents) > 2 else Path("/source")
LEFT_OUT = [".git", ".venv", "outputs", "tests", "benchmarks", "docs", "**/__pycache__"]

app = modal.App("velatura")
outputs = modal.Volume.from_name("velatura-outputs", create_if_missing=True)
image = (
    modal.Image.debian_slim(python_version="3.12")
    .add_local_dir(SOURCE, "/source", copy=True, ignore=LEFT_OUT)
    .run_commands("pip install '/source[8bit]'")
    .env({"VELATURA_HOME": "/outputs", "HF_HOME": "/outputs/.huggingface"})
)


@app.function(image=image, gpu="L4", volumes={"/outputs": outputs}, timeout=24 * 3600, retries=3)
def resume(run: str) -> None:
    """Train a run of the volume from its newest checkpoint; a retry continues it."""
    subprocess.run(["velatura", "resume", f"/outputs/{run}"], check=True)


@app.local_entrypoint()
def main(run: str) -> None:
    """Train a run and wait for it."""
    resume.remote(run)
