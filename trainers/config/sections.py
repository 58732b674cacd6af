"""The settings of a run by section, but for `[method]` and `[targets]`, which are the adapters' own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainers.config.limits import SEED, SIDE, DenoisingSteps, Guidance, Sampler
from trainers.section import Section

Fraction = Annotated[float, Field(ge=0, le=1)]
ScaleFormat = Literal["fp32", "linear", "dynamic"]
"""Of the scales of a weight in NF4."""


class Base(Section):
    model: str = "starter"
    """Base model: `starter`, a hub id, a diffusers folder, or a single `.safetensors` checkpoint."""
    family: Literal["auto", "sd1", "sd2", "sdxl"] = "auto"
    """Model family; `auto` reads it off the weights."""
    prediction: Literal["auto", "epsilon", "v_prediction"] = "auto"
    """What the network predicts; `auto` reads metadata and marker keys, then probes the network."""
    zero_terminal_snr: Literal["auto", "on", "off"] = "auto"
    """Rescale the noise schedule so that the last timestep is pure noise; `auto` follows the base."""
    clip_skip: int = Field(1, ge=1, le=4)
    """Which hidden state of the text encoder, from its end; 1 = the one its family uses (SDXL: the last but one)."""
    storage: Literal["full", "nf4"] = "full"
    """How the frozen weights are kept while training: `nf4` takes 4 bits a number (QLoRA), and a little more time."""
    double_quantisation: bool = True
    """Keep the scales of `nf4` in 8 bits too: 4.13 bits a number in place of 4.5."""
    scale_code: Literal["dynamic", "linear"] = "dynamic"
    """How 8-bit scales are spaced: `dynamic` as in bitsandbytes; `linear`, evenly, which loses more beside outliers."""

    @property
    def scale_format(self) -> ScaleFormat:
        """What the scales of `nf4` are kept in."""
        return self.scale_code if self.double_quantisation else "fp32"

    def whole(self) -> Base:
        """The same base with its weights in full, as those have it who use a style."""
        return self.model_copy(update={"storage": "full", "double_quantisation": True, "scale_code": "dynamic"})


class Data(Section):
    images: str = ""
    """Folder of images; captions are `.txt` files beside them. Relative to the config file."""
    resolution: int = Field(0, ge=0, le=2048)
    """Training size in pixels (a square's side; buckets keep its area); 0 = the base's own."""
    max_aspect: float = Field(2.0, ge=1, le=4)
    """Widest and tallest shape of an aspect-ratio bucket; 1 = squares only."""
    max_upscale: float = Field(1.5, ge=1, le=16)
    """Images that would be enlarged more than this are trained smaller where the base allows; a warning says so."""
    crop: Literal["centre", "random"] = "centre"
    """Where an image is cut to its bucket's shape; `random` draws anew each time and cannot use the latent cache."""
    flip: bool = False
    """Mirror half of the draws from left to right."""
    repeats: int = Field(1, ge=1, le=1000)
    """How often each image occurs in one epoch."""
    transparency: Literal["white", "mask"] = "white"
    """Lay transparent images on white, or also leave transparent parts out of the loss."""
    trigger: str = ""
    """Word or phrase put before every caption; it calls the style later."""
    caption: str = ""
    """Caption of images that have none of their own; `{name}` is the file's name in words. Empty = the name itself."""
    caption_dropout: Fraction = 0.05
    """Share of draws whose whole caption, trigger included, is left out, which classifier-free guidance needs."""
    shuffle_tags: bool = False
    """Shuffle comma-separated tags anew for each draw."""
    keep_tags: int = Field(0, ge=0, le=75)
    """Tags at the caption's start that shuffling leaves in place (the trigger always stays first)."""
    chunks: int = Field(1, ge=1, le=3)
    """Longest caption in chunks of 75 tokens; what is longer is cut, and the check says so."""
    cache: bool = True
    """Keep latents, and text embeddings where they do not vary by step, on disk instead of encoding them again."""


class Tokens(Section):
    word: str = Field("", max_length=64)
    """Word to learn by textual inversion, such as `<dusk>`; it is put before captions that lack it. Empty = off."""
    vectors: int = Field(1, ge=1, le=75)
    """Tokens that the word takes in a caption: more can say more, and leave less room."""
    initial: str = Field("style", max_length=1000)
    """Words whose meaning the word starts from."""
    learning_rate: float = Field(0.0, ge=0, le=10)
    """Learning rate of the word; 0 = five times that of the UNet's layers (Prodigy, or no layer trained: the same)."""
    stop: Fraction = 1.0
    """Share of the run after which the word stays as it is."""
    norm_prior: Fraction = 0.0
    """Share of the way to the vocabulary's mean length that the word's vectors are moved after each step; 0 = off."""

    @field_validator("word")
    @classmethod
    def _one_word(cls, word: str) -> str:
        if any(c.isspace() or not c.isprintable() or c == "," for c in word):
            raise ValueError(f"{word!r} is no single word: it may have no spaces and no commas, such as <dusk>")
        return word


class Loss(Section):
    kind: Literal["mse", "huber"] = "mse"
    """Squared error, or pseudo-Huber, which large errors (outliers among the images) sway less."""
    huber_delta: float = Field(0.1, gt=0, le=10)
    """Error beyond which pseudo-Huber grows linearly; used with `kind = "huber"`."""
    weighting: Literal["auto", "min-snr", "none"] = "auto"
    """How timesteps weigh: `auto` is min-SNR, and `none` where a base that predicts v ends in pure noise."""
    min_snr_gamma: float = Field(5.0, ge=0, le=100)
    """Timesteps weigh min(SNR, gamma) / SNR, for v-prediction / (SNR + 1) (Hang et al. 2023); 0 = all the same."""
    noise_offset: float = Field(0.0, ge=0, le=1)
    """Adds a constant to each noise channel so that very dark or bright images can be learned; 0 = off."""
    timestep_bias: float = Field(0.0, ge=-4, le=4)
    """Draws noisier timesteps (> 0: layout and palette) or cleaner ones (< 0: texture) more often; 0 = evenly."""


class Prior(Section):
    prompt: str = ""
    """DreamBooth: a class to keep, as `a drawing`; its pictures train along, yours need `data.trigger`. Empty = off."""
    images: int = Field(100, ge=1, le=10_000)
    """Class images: pictures of that prompt which the base draws before the first step, as samples are drawn."""
    weight: float = Field(1.0, ge=0, le=100)
    """Weight of the class images in the loss, beside 1 for the own ones; 0 = off."""

    @field_validator("prompt")
    @classmethod
    def _one_line(cls, prompt: str) -> str:
        return " ".join(prompt.split())

    @property
    def drawn(self) -> int:
        """How many class images are drawn and trained on."""
        return self.images if self.prompt and self.weight > 0 else 0


class Train(Section):
    steps: int = Field(300, ge=1, le=1_000_000)
    """Optimizer steps."""
    batch_size: int = Field(4, ge=1, le=256)
    """Images at once."""
    accumulation: int = Field(1, ge=1, le=256)
    """Batches whose gradients are added up for one optimizer step."""
    learning_rate: float = Field(1e-4, gt=0, le=10)
    """Learning rate of the UNet's layers (Prodigy: 1)."""
    text_encoder_learning_rate: float = Field(0.0, ge=0, le=10)
    """Learning rate of the text encoders' layers; 0 = half of the UNet's (Prodigy: the same)."""
    text_encoder_stop: Fraction = 1.0
    """Share of the run after which the text encoder's layers stay as they are."""
    optimizer: Literal["adamw", "adamw8bit", "paged-adamw", "paged-adamw8bit", "adafactor", "prodigy", "lion"] = "adamw"
    """AdamW suits nearly everything; Prodigy finds its step size; Adafactor and Lion save memory; paged needs CUDA."""
    offload_optimizer: bool = False
    """Keep the optimizer's state in main memory between steps: room on the graphics card for a little time."""
    weight_decay: float = Field(0.01, ge=0, le=10)
    """Decoupled weight decay."""
    schedule: Literal["constant", "cosine", "linear", "polynomial"] = "constant"
    """Course of the learning rate after warm-up."""
    warmup: int = Field(0, ge=0)
    """Steps of linear warm-up."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Clip the gradient's norm to this; 0 = off."""
    gradient_checkpointing: bool = False
    """Recompute activations in backward: less memory, about a third more time, the same result."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Number format of the frozen base; the trained factors are always fp32."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps` …"""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average that is exported instead of the last step; 0 = off."""
    tracker: Literal["none", "tensorboard", "wandb"] = "none"
    """Also log to TensorBoard (in the run folder) or Weights & Biases."""

    @property
    def text_rate(self) -> float:
        """The text encoders' learning rate: the one set, else half of the UNet's, or all of it under Prodigy."""
        share = 1.0 if self.optimizer == "prodigy" else 0.5
        return self.text_encoder_learning_rate or self.learning_rate * share


class Sample(Section):
    prompts: tuple[str, ...] = ()
    """Prompts drawn before the first step and along the way; empty = a few of the captions."""
    negative: str = ""
    """What should not be in the pictures."""
    seeds: tuple[int, ...] = (1,)
    """Each prompt is drawn once with each of these seeds."""
    every: int = Field(0, ge=0)
    """Draw every so many steps; 0 = only before the first step and after the last."""
    steps: DenoisingSteps = 25
    """Denoising steps."""
    guidance: Guidance = 7.0
    """Classifier-free guidance scale; 1 = off."""
    size: int = Field(0, ge=0, le=SIDE[1])
    """Side of a sample in pixels; 0 = the training resolution."""
    sampler: Sampler = "ddim"
    """How the noise is taken away."""

    @field_validator("seeds")
    @classmethod
    def _some_seed(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or min(seeds) < SEED[0] or max(seeds) > SEED[1]:
            raise ValueError("give at least one seed, and none below 0 or from 2**63 up")
        return seeds


class Save(Section):
    precision: Literal["fp16", "bf16", "fp32"] = "fp16"
    """Number format of the style file; what would lose too much in it, such as T-LoRA's factors, stays in fp32."""
    every: int = Field(0, ge=0)
    """Write a checkpoint every so many steps; 0 = ten times over the run."""
    keep: int = Field(2, ge=1, le=1000)
    """Newest checkpoints that are kept."""
    title: str = ""
    """Title in the file's metadata; empty = the run's name."""
    author: str = ""
    """Author in the file's metadata."""
    description: str = ""
    """Description in the file's metadata."""
    licence: str = ""
    """Licence in the file's metadata."""
    tags: bool = True
    """Store how often each caption tag occurred in the file (others can read it there)."""
