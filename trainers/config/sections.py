"""The settings of a run by section, except `[method]` and `[targets]`, which the adapters define."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from trainers.config.limits import SEED, SIDE, DenoisingSteps, Guidance, Sampler
from trainers.config.optimizers import PRODIGIES, SCHEDULE_FREE, parse_arguments
from trainers.config.times import Times, parse_times
from trainers.messages import Message as _
from trainers.section import Section, Shown


def _check_sides(sides: tuple[int, ...]) -> tuple[int, ...]:
    for side in sides:
        if not 16 <= side <= 2048:
            raise ValueError(_("{side} is not a resolution from 16 to 2048", side=side))
    return sides


Fraction = Annotated[float, Field(ge=0, le=1)]
Sides = Annotated[tuple[int, ...], AfterValidator(_check_sides)]
"""Resolutions in pixels."""
SCORED = 4
"""Pictures of a step that its scores need at least: the style of fewer cannot be told from the noise of seeds."""
SAMPLED = 6
"""Samples of a run with `sample.every = "auto"`, including the last step."""
AutoOrWhole = Literal["auto"] | int
Subjects = Literal["new", "scenes", "captions"]
ScaleFormat = Literal["fp32", "linear", "dynamic"]
"""Number format of the scales of an NF4 weight."""


BIAS = "timestep_bias"
"""Name of `loss.timesteps = "power …"` in earlier versions."""


def power_of(bias: object) -> str:
    """The value of `loss.timesteps` for a value of `timestep_bias`."""
    return f"power {bias}"


def auto_or_whole(value: object) -> object:
    """The value; ValueError if it is neither `auto` nor a whole number."""
    number = str(value).strip().removesuffix(".0")
    if value != "auto" and (isinstance(value, bool) or not number.isdecimal()):
        raise ValueError(_("{every!r:.120} is neither `auto` nor a whole number from 0", every=value))
    return value


class Base(Section):
    model: Annotated[
        str, Shown(title="Base model", place="above", words="pretrained_model_name_or_path checkpoint ckpt")
    ] = "starter"
    """Base model: `starter`, a hub id, a diffusers folder, or a single `.safetensors` checkpoint."""
    parts: Annotated[tuple[str, ...], Shown(place="command line")] = ()
    """Files and folders of parts that a transformer's file lacks: VAE, text encoders, tokenizer; others are found."""
    family: Literal["auto", "sd1", "sd2", "sdxl", "sd3", "flux", "chroma", "z-image"] = "auto"
    """Model family; `auto` detects it from the weights."""
    prediction: Annotated[Literal["auto", "epsilon", "v_prediction"], Shown(group="noise", words="v-pred")] = "auto"
    """Prediction type of the network; `auto` reads metadata and marker keys, then probes the network."""
    zero_terminal_snr: Annotated[Literal["auto", "on", "off"], Shown(title="Zero terminal SNR", group="noise")] = "auto"
    """Rescale the noise schedule so that the last timestep is pure noise; `auto` follows the base model."""
    clip_skip: Annotated[int, Shown(title="CLIP skip", group="captions")] = Field(1, ge=1, le=4)
    """Hidden state of the text encoder to use, from the last; 1 = the family's default (SDXL: second to last)."""
    guidance: float = Field(1.0, ge=1, le=50)
    """Guidance scale in training, for networks that are distilled to read it, such as Flux.1 dev."""
    storage: Annotated[
        Literal["full", "int8", "nf4"],
        Shown(
            title="Storage of the base", group="memory", words="qlora nf4 4-bit int8 8-bit quantization bitsandbytes"
        ),
    ] = "full"
    """Storage of the frozen weights in training: `int8` 8 bits each, `nf4` 4 (QLoRA); both are slightly slower."""
    double_quantisation: Annotated[bool, Shown(group="memory")] = True
    """Store the scales of `nf4` in 8 bits too: 4.13 bits per weight instead of 4.5."""
    scale_code: Annotated[Literal["dynamic", "linear"], Shown(group="memory")] = "dynamic"
    """Spacing of 8-bit scales: `dynamic` as in bitsandbytes, or `linear`, which loses more precision near outliers."""

    swap_blocks: Annotated[
        int, Shown(title="Blocks in main memory", group="memory", words="blocks_to_swap block swap offload")
    ] = Field(0, ge=0, le=200)
    """Blocks of a transformer that wait in main memory and are copied in for each pass, recomputed; 0 = none."""
    offload_encoders: Annotated[bool, Shown(title="Encoders in main memory", group="memory")] = False
    """Keep text encoders and VAE in main memory while they are idle: with the cache, for most of a run."""

    @property
    def scale_format(self) -> ScaleFormat:
        """Number format of the scales of `nf4`."""
        return self.scale_code if self.double_quantisation else "fp32"

    def whole(self) -> Base:
        """The same base without quantisation, as users of a style load it."""
        return self.model_copy(update={"storage": "full", "double_quantisation": True, "scale_code": "dynamic"})


class ImageSet(Section):
    """Settings of the images of one subfolder; what is not set is as for all images."""

    weight: float = Field(1.0, gt=0, le=100)
    """Factor of the loss of these images."""
    repeats: int = Field(1, ge=1, le=1000)
    """Factor of their repeats per epoch."""
    resolutions: Sides = ()
    """Training resolutions; each image is trained at each of them."""
    flip: bool | None = None
    crop: Literal["centre", "random"] | None = None
    caption: str | None = None
    caption_dropout: Fraction | None = None
    wildcards: bool | None = None
    tag_dropout: Fraction | None = None
    shuffle_tags: bool | None = None
    keep_tags: Annotated[int, Field(ge=0, le=75)] | None = None


class Data(Section):
    images: Annotated[str, Shown(place="pictures")] = ""
    """Folder of images, relative to the config file, with `NAME.txt` captions, `NAME-mask.png` and `NAME.crop.json`."""
    resolution: Annotated[int, Shown(words="size")] = Field(0, ge=0, le=2048)
    """Training resolution in pixels (side of a square; buckets keep its area); 0 = the base model's."""
    more_resolutions: Annotated[Sides, Shown(title="Further resolutions", words="multi resolution")] = ()
    """Further resolutions at which each image is trained, too, as further images: `768, 1024`."""
    max_aspect: Annotated[float, Shown(words="aspect ratio bucket enable_bucket min_bucket_reso max_bucket_reso")] = (
        Field(2.0, ge=1, le=4)
    )
    """Largest aspect ratio of a bucket; 1 = squares only."""
    max_upscale: Annotated[float, Shown(words="bucket_no_upscale")] = Field(1.5, ge=1, le=16)
    """Upscaling limit; images that need more are trained at a lower resolution if possible, with a warning."""
    crop: Literal["centre", "random"] = "centre"
    """Position of the crop to the bucket's shape; `random` changes every time and cannot use the latent cache."""
    flip: Annotated[bool, Shown(words="mirror")] = False
    """Flip half of the samples horizontally."""
    repeats: Annotated[int, Shown(words="num_repeats folder")] = Field(1, ge=1, le=1000)
    """Repeats of each image per epoch."""
    transparency: Annotated[Literal["white", "mask"], Shown(words="alpha_mask masked_loss")] = "white"
    """Put transparent images on white; `mask` also excludes transparent areas from the loss."""
    trigger: Annotated[str, Shown(group="captions", place="step 1", words="activation")] = ""
    """Trigger word or phrase in front of every caption; use it in prompts to get the style."""
    read_trigger: Annotated[bool, Shown(title="Read the trigger word", group="captions", words="activation")] = True
    """Let the base read the trigger word; the starter, which knows few words, reads texts as if it were not there."""
    caption: Annotated[str, Shown(group="captions")] = ""
    """Caption for images without one; `{name}` is the file name as words. Empty = the file name."""
    caption_dropout: Annotated[Fraction, Shown(group="captions")] = 0.05
    """Share of samples trained without caption and trigger word; classifier-free guidance needs some."""
    wildcards: Annotated[bool, Shown(title="Alternatives in captions", group="captions", words="enable_wildcard")] = (
        False
    )
    """Each line of a caption file, and each part of `{a|b}`, is an alternative, one at random for each sample."""
    tag_dropout: Annotated[Fraction, Shown(group="captions", words="caption_tag_dropout_rate")] = 0.0
    """Share of comma-separated tags left out of each sample; the trigger word and `keep_tags` stay."""
    shuffle_tags: Annotated[bool, Shown(group="captions")] = False
    """Shuffle comma-separated tags for each sample."""
    keep_tags: Annotated[int, Shown(group="captions")] = Field(0, ge=0, le=75)
    """Tags at the start of the caption that are neither shuffled nor left out (the trigger word always stays first)."""
    chunks: Annotated[int, Shown(group="captions")] = Field(1, ge=1, le=3)
    """Maximum caption length in chunks of 75 tokens; longer captions are truncated, with a warning."""
    held_out: Annotated[float, Shown(title="Held-out images", words="validation split overfitting")] = Field(
        0.0, ge=0, le=0.5
    )
    """Share of the images kept out of training, whose loss is measured at each sampled step; 0 = none."""
    sets: Annotated[dict[str, ImageSet], Shown(title="Settings by folder", words="dataset subset concept")] = Field(
        default_factory=dict
    )
    """Settings for the images of subfolders: `[data.sets."10_dusk"]` with `weight`, `repeats`, `resolutions` …"""
    cache: Annotated[bool, Shown(group="memory")] = True
    """Cache latents, and text embeddings that do not vary by step, on disk."""

    def of_folder(self, folder: str) -> Data:
        """The settings of the images of a subfolder."""
        chosen = self.sets.get(folder)
        if chosen is None:
            return self
        own = chosen.model_dump(exclude_none=True, exclude={"weight", "repeats", "resolutions"})
        first, *more = chosen.resolutions or (self.resolution, *self.more_resolutions)
        return self.model_copy(update={**own, "resolution": first, "more_resolutions": tuple(more)})

    def count_shown(self, folder: str, repeats: int) -> int:
        """The number of times that an epoch shows each image of `folder`, whose name asks for `repeats`."""
        times = 1 + len(self.of_folder(folder).more_resolutions)
        return times * repeats * self.repeats * self.sets.get(folder, ImageSet()).repeats

    @property
    def of_folders(self) -> tuple[Data, ...]:
        """These settings, then those of each subfolder in `sets`."""
        return (self, *map(self.of_folder, self.sets))


class Tokens(Section):
    word: Annotated[
        str, Shown(title="Word to learn", words="textual inversion embedding placeholder_token pivotal tuning")
    ] = Field("", max_length=64)
    """Word to learn by textual inversion, such as `<dusk>`; captions without it get it in front. Empty = off."""
    vectors: Annotated[int, Shown(title="Tokens of the word", words="num_vectors_per_token")] = Field(1, ge=1, le=75)
    """Number of tokens for the word: more can express more, but leave less room in prompts."""
    initial: Annotated[str, Shown(title="Meaning it starts from", words="initializer_token")] = Field(
        "style", max_length=1000
    )
    """Words that initialise the new word."""
    learning_rate: Annotated[float, Shown(title="Learning rate of the word")] = Field(0.0, ge=0, le=10)
    """Learning rate of the word; 0 = five times the UNet's (the same with Prodigy, or if no layer is trained)."""
    stop: Annotated[Fraction, Shown(title="Stop of the word")] = 1.0
    """Share of the run after which the word stops training."""
    norm_prior: Annotated[Fraction, Shown(title="Norm prior")] = 0.0
    """Pull of the word's vectors towards the vocabulary's mean norm after each step; 0 = off, 1 = all the way."""

    @field_validator("word")
    @classmethod
    def _one_word(cls, word: str) -> str:
        if any(c.isspace() or not c.isprintable() or c == "," for c in word):
            raise ValueError(
                _("{word!r:.120} is not a single word; use one without spaces or commas, such as <dusk>", word=word)
            )
        return word


class Loss(Section):
    kind: Annotated[Literal["mse", "huber", "smooth-l1"], Shown(title="Loss", words="l2")] = "mse"
    """Squared error, or pseudo-Huber, which is less sensitive to outlier images; `smooth-l1` is that divided by δ."""
    huber_delta: Annotated[float, Shown(words="huber_c")] = Field(0.1, gt=0, le=10)
    """Error δ above which pseudo-Huber grows linearly; a schedule's value at pure noise."""
    huber_schedule: Literal["constant", "exponential", "snr"] = "constant"
    """δ by time, from 1 at the clean image to `huber_delta` at pure noise: δ^(t/T), or δ + (1 − δ) / (1 + σ)²."""
    weighting: Literal[
        "auto", "min-snr", "debiased", "debiased-v", "debiased-v-root", "sigma-squared", "cosmap", "none"
    ] = "auto"
    """By time: `auto` is min-SNR, or `none` for flows and v ending in noise; `debiased` for ε; the rest for flows."""
    min_snr_gamma: Annotated[float, Shown(title="Min-SNR gamma", words="snr")] = Field(5.0, ge=0, le=100)
    """Timestep weight min(SNR, gamma) / SNR, or / (SNR + 1) for v-prediction (Hang et al. 2023); 0 = equal weights."""
    noise_offset: float = Field(0.0, ge=0, le=1)
    """Constant offset added to each noise channel, to learn very dark or bright images; 0 = off."""
    noise_offset_random: bool = False
    """Draw each image's offset from 0 up to `noise_offset`."""
    multires_iterations: Annotated[int, Shown(title="Multi-resolution noise", words="pyramid")] = Field(0, ge=0, le=10)
    """Levels of coarser noise that are added to the noise, to learn very dark or bright images; 0 = off."""
    multires_discount: Annotated[float, Shown(title="Strength of coarser noise")] = Field(0.3, gt=0, le=1)
    """Factor of each coarser level of multi-resolution noise to the one before."""
    input_perturbation: float = Field(0.0, ge=0, le=1)
    """Further noise on the input alone, which need not be predicted, as a share of the noise; 0 = off."""
    input_perturbation_random: bool = False
    """Draw each image's share of further noise from 0 up to `input_perturbation`."""
    timesteps: Annotated[
        str,
        Shown(words="timestep_bias min_timestep max_timestep timestep_sampling logit_normal sigmoid flow shift snr"),
    ] = Field("uniform", max_length=100)
    """Drawn `uniform 0 1000`, `power 1`, `logit-normal 0 1`, `mode 1.29`, `shifted 3`, `style-friendly -6 2`."""

    @property
    def distribution(self) -> Times:
        """The distribution that `timesteps` names."""
        return parse_times(self.timesteps)

    @field_validator("timesteps")
    @classmethod
    def _known_times(cls, text: str) -> str:
        parse_times(text)
        return " ".join(text.split())

    @model_validator(mode="before")
    @classmethod
    def _with_bias(cls, table: object) -> object:
        """Accept the setting's old name, `timestep_bias`, in files and changes of any version."""
        if not isinstance(table, dict) or BIAS not in table:
            return table
        rest, bias = {key: value for key, value in table.items() if key != BIAS}, table[BIAS]
        return rest if not bias or "timesteps" in rest else rest | {"timesteps": power_of(bias)}


class Prior(Section):
    kind: Annotated[
        Literal["images", "output"], Shown(title="What is kept", words="dop differential output preservation")
    ] = "images"
    """Keep `images` of a class, or the base's `output` for your captions with the class prompt as the trigger word."""
    prompt: Annotated[
        str, Shown(title="Class prompt", words="dreambooth class_prompt prior preservation regularization reg_data_dir")
    ] = ""
    """DreamBooth: class prompt to preserve, such as `a drawing`; your own images need `data.trigger`. Empty = off."""
    images: Annotated[int, Shown(title="Class images", words="num_class_images regularization")] = Field(
        100, ge=1, le=10_000
    )
    """Number of class images, which the base generates from that prompt before the first step."""
    weight: Annotated[float, Shown(title="Weight of the class images", words="prior_loss_weight")] = Field(
        1.0, ge=0, le=100
    )
    """Weight of class images in the loss, relative to your own images; 0 = off."""
    folder: Annotated[
        str,
        Shown(title="Folder of class images", place="command line", words="reg_data_dir regularization class images"),
    ] = ""
    """Folder of class images of your own in place of generated ones; `prior.prompt` is their caption."""

    @field_validator("prompt")
    @classmethod
    def _one_line(cls, prompt: str) -> str:
        return " ".join(prompt.split())

    @property
    def image_count(self) -> int:
        """Number of class images to generate and train on."""
        return self.images if self.kind == "images" and self.is_on else 0

    @property
    def is_on(self) -> bool:
        """Whether the loss has a second term, for which each batch has as many images again."""
        return bool(self.prompt) and self.weight > 0

    @property
    def keeps_output(self) -> bool:
        """Whether that term is the difference from the base's prediction."""
        return self.kind == "output" and self.is_on


class Train(Section):
    steps: Annotated[int, Shown(words="iterations epochs")] = Field(300, ge=1, le=1_000_000)
    """Optimizer steps."""
    batch_size: int = Field(4, ge=1, le=256)
    """Images per batch, over all devices."""
    accumulation: int = Field(1, ge=1, le=256)
    """Batches per optimizer step (gradient accumulation)."""
    learning_rate: Annotated[float, Shown(words="lr")] = Field(1e-4, gt=0, le=10)
    """Learning rate of the UNet layers (Prodigy: 1)."""
    text_encoder_learning_rate: Annotated[float, Shown(words="lr te_lr text_encoder_lr clip")] = Field(0.0, ge=0, le=10)
    """Learning rate of the text encoder layers; 0 = half of the UNet's (Prodigy: the same)."""
    text_encoder_2_learning_rate: Annotated[float, Shown(words="lr text_encoder_lr2 learning_rate_te2 clip")] = Field(
        0.0, ge=0, le=10
    )
    """Learning rate of the second text encoder's layers; 0 = that of the first."""
    text_encoder_stop: Fraction = 1.0
    """Share of the run after which the text encoder layers stop training."""
    optimizer: Literal[
        "adamw",
        "adamw8bit",
        "paged-adamw",
        "paged-adamw8bit",
        "adafactor",
        "prodigy",
        "lion",
        "came",
        "schedule-free",
        "prodigy-schedule-free",
    ] = "adamw"
    """AdamW suits most; Prodigy finds its step size; Adafactor, Lion, CAME save memory; schedule-free ones average."""
    optimizer_args: Annotated[str, Shown(title="Optimizer arguments", words="optimizer_args betas eps")] = Field(
        "", max_length=500
    )
    """Further arguments of the optimizer, from a list for each: `betas=0.9,0.99 eps=1e-8`."""
    d_coef: Annotated[float, Shown(title="Step size of Prodigy", words="prodigy")] = Field(1.0, gt=0, le=100)
    """Prodigy: factor of the step size that it finds."""
    offload_optimizer: Annotated[bool, Shown(group="memory")] = False
    """Keep the optimizer state in main memory between steps: saves graphics memory, slightly slower."""
    fused: Annotated[bool, Shown(place="command line")] = True
    """AdamW: step all parameters in one kernel; off keeps the rounding of earlier versions and is slower."""
    weight_decay: float = Field(0.01, ge=0, le=10)
    """Decoupled weight decay."""
    schedule: Literal["constant", "cosine", "linear", "polynomial", "rex"] = "constant"
    """Learning rate schedule after the warm-up."""
    rex_d: Annotated[float, Shown(title="d of REX")] = Field(0.5, gt=0, lt=1)
    """REX: at a remaining share z of the run the rate is z / (1 − d + d z); a larger d keeps it high for longer."""
    floor: Annotated[Fraction, Shown(title="Lowest learning rate", words="lr_scheduler_min_lr_ratio min_lr")] = 0.0
    """Share of the peak learning rate to which a falling schedule falls, instead of 0."""
    cycles: Annotated[int, Shown(words="lr_scheduler_num_cycles cosine_with_restarts")] = Field(1, ge=1, le=1000)
    """Cycles of a cosine schedule: each one falls from the peak again; 1 = it falls once."""
    warmup: Annotated[int, Shown(words="lr_warmup_steps")] = Field(0, ge=0)
    """Steps of linear learning rate warm-up."""
    max_grad_norm: Annotated[float, Shown(title="Gradient clipping", words="gradient clipping")] = Field(1.0, ge=0)
    """Maximum gradient norm (clipping); 0 = off, and always off for Prodigy schedule-free."""
    max_norm: Annotated[float, Shown(title="Maximum norm of a layer's change", words="scale_weight_norms")] = Field(
        0.0, ge=0, le=1000
    )
    """After each step, scale a layer's change down to this Frobenius norm if it is larger; 0 = off."""
    gradient_checkpointing: Annotated[bool, Shown(group="memory")] = False
    """Recompute activations in the backward pass: less memory, about a third slower, same result."""
    compile: Annotated[bool, Shown(group="memory", words="torch_compile torch.compile inductor")] = False
    """Compile the denoiser's blocks: the first steps take a minute or more, the others less time; other rounding."""
    memory: Annotated[
        AutoOrWhole, Shown(title="Memory to fit into", group="memory", words="vram gpu memory low lowvram planner")
    ] = "auto"
    """GB to fit into by packing, recomputing and swapping blocks; `auto` = free memory, for transformers; 0 = off."""
    precision: Annotated[
        Literal["auto", "bf16", "fp16", "fp32"], Shown(title="Precision of the base", group="memory")
    ] = "auto"
    """Number format of the frozen base model; trained parameters are always fp32."""
    device: Annotated[str, Shown(group="memory")] = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps` …"""
    devices: Annotated[int, Shown(group="memory", words="num_processes multi gpu ddp distributed")] = Field(
        1, ge=1, le=64
    )
    """Devices that train the run together, such as graphics cards; each computes its share of every batch."""
    ema: Annotated[float, Shown(title="EMA")] = Field(0.0, ge=0, lt=1)
    """Decay of the exponential moving average that is exported instead of the last step; 0 = off."""
    early_stop: Annotated[
        Literal["off", "advise", "act"], Shown(title="Early stopping", words="early stop overfitting patience")
    ] = "off"
    """When two further samples are farther from your style than the nearest: `advise` says so, `act` ends the run."""
    tracker: Annotated[Literal["none", "tensorboard", "wandb"], Shown(group="memory", words="log_with logging")] = (
        "none"
    )
    """Also log to TensorBoard (in the run folder) or Weights & Biases."""
    start_from: Annotated[
        str, Shown(title="Style to train on", place="styles", words="network_weights continue lora_network_weights")
    ] = ""
    """Style file to train on: of this base, with LoRA any that changes weights. Empty = start from nothing."""

    @field_validator("memory", mode="before")
    @classmethod
    def _auto_or_whole(cls, memory: object) -> object:
        return auto_or_whole(memory)

    @property
    def text_rate(self) -> float:
        """The text encoders' learning rate: the configured one, or half of the UNet's, or the UNet's with Prodigy."""
        share = 1.0 if self.optimizer in PRODIGIES else 0.5
        return self.text_encoder_learning_rate or self.learning_rate * share

    @property
    def clipping(self) -> float:
        """Maximum gradient norm; infinite if gradients are not clipped."""
        off = self.optimizer == "prodigy-schedule-free"  # which scales its updates itself
        return math.inf if off or not self.max_grad_norm else self.max_grad_norm

    @property
    def averages(self) -> bool:
        """Whether the style is an average of steps, not the last one."""
        return bool(self.ema) or self.optimizer in SCHEDULE_FREE

    @model_validator(mode="after")
    def _known_arguments(self) -> Train:
        parse_arguments(self.optimizer, self.optimizer_args)
        return self


class Sample(Section):
    prompts: Annotated[tuple[str, ...], Shown(place="step 3", words="sample_prompts")] = ()
    """Prompts of the samples, with options as in `a fox --n dull --d 3 --s 20 --l 7 --w 512`; empty = by `subjects`."""
    subjects: Annotated[Subjects, Shown(title="Preview subjects")] = "new"
    """Without prompts: `new` subjects that no caption names, the trigger word in new `scenes`, or `captions`."""
    prefix: str = Field("", max_length=500)
    """Words in front of every sample prompt, such as the quality tags that a base was trained with."""
    negative: Annotated[str, Shown(title="Negative prompt")] = ""
    """Negative prompt of the samples."""
    seeds: tuple[int, ...] = (1,)
    """Seeds of the samples; each prompt is drawn once per seed."""
    every: Annotated[AutoOrWhole, Shown(title="Preview every", words="preview sample_every_n_epochs")] = "auto"
    """Steps between samples; `auto` = six times, every prompt at a third and two thirds; 0 = only before and after."""
    steps: Annotated[DenoisingSteps, Shown(title="Denoising steps")] = 25
    """Denoising steps."""
    guidance: Annotated[Guidance, Shown(words="cfg scale")] = 7.0
    """Classifier-free guidance scale; 1 = off."""
    size: Annotated[int, Shown(title="Preview size")] = Field(0, ge=0, le=SIDE[1])
    """Side of a sample in pixels; 0 = the training resolution."""
    sampler: Sampler = "ddim"
    """Sampler (noise scheduler)."""
    score: Annotated[bool, Shown(title="Score the steps", words="best checkpoint overfitting validation")] = True
    """Score each step's pictures by style and change, which marks the best step; takes no further picture."""

    def interval(self, steps: int) -> int:
        """Steps between samples of a run of `steps`; 0 = only before the first step and after the last.

        With `auto` a sixth of the run; in long runs a multiple of ten.
        """
        if self.every != "auto":
            return self.every
        sixth = math.ceil(steps / SAMPLED)
        return math.ceil(sixth / 10) * 10 if sixth >= 50 else sixth

    @field_validator("every", mode="before")
    @classmethod
    def _auto_or_whole(cls, every: object) -> object:
        return auto_or_whole(every)

    @field_validator("seeds")
    @classmethod
    def _some_seed(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or min(seeds) < SEED[0] or max(seeds) > SEED[1]:
            raise ValueError(_("give at least one seed, each from 0 to 2**63 - 1"))
        return seeds


class Save(Section):
    precision: Annotated[Literal["fp16", "bf16", "fp32"], Shown(title="Precision of the file", words="fp16")] = "fp16"
    """Number format of the style file; tensors that would lose too much, such as T-LoRA's factors, stay in fp32."""
    every: Annotated[int, Shown(title="Save every", words="checkpoint save_every_n_epochs")] = Field(0, ge=0)
    """Steps between checkpoints; 0 = ten over the run."""
    keep: Annotated[int, Shown(title="Checkpoints kept")] = Field(2, ge=1, le=1000)
    """Number of checkpoints to keep."""
    title: str = ""
    """Title in the file's metadata; empty = the run's name."""
    author: str = ""
    """Author in the file's metadata."""
    description: str = ""
    """Description in the file's metadata."""
    licence: str = ""
    """Licence in the file's metadata."""
    tags: Annotated[bool, Shown(title="Store tags")] = True
    """Store tag frequencies of the captions in the file, where anybody can read them."""
