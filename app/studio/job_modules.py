"""The modules of the studio's jobs, for its dispatchers."""

from __future__ import annotations

from app.jobs.processes.fork_server import ForkServer
from app.jobs.processes.job_modules import JobModules

JOB_MODULES = JobModules(
    job="app.studio.run_job",
    base_holder="app.studio.base_holder",
    imports=(
        "app.studio.generation.generate",
        "app.jobs.restarts",
        "trainers.models.storage.packed",
        "diffusers.models.unets.unet_2d_condition",
        "diffusers.models.autoencoders.autoencoder_kl",
        "diffusers.schedulers.scheduling_ddpm",
        "diffusers.schedulers.scheduling_ddim",
        "transformers.models.clip.modeling_clip",
        "transformers.models.clip.tokenization_clip",
        "trainers.sampling.sample",
        "trainers.composition.compose",
        "trainers.composition.sweep",
        "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
        "PIL.PngImagePlugin",
        "PIL.WebPImagePlugin",
    ),
    later_imports=("trainers.training.train", "torch._dynamo", "app.studio.dataset.captions"),
)


def job_server() -> ForkServer:
    """A fork server that imports the libraries of jobs, some of them after the first job."""
    return ForkServer(JOB_MODULES.imports, later=JOB_MODULES.later_imports)
