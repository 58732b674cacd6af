"""A family of base models: one class in one file holds everything that sets it apart.

No other code asks for the family of a base. Importing a family does not import torch; its methods do where needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trainers.config.limits import SAMPLERS, Sampler
from trainers.messages import Message
from trainers.models.files.configs import config_tree
from trainers.models.files.parts import PartSource
from trainers.models.prediction import Prediction

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.config.config import Config
    from trainers.config.sections import Base
    from trainers.models.files.header import Header
    from trainers.models.networks import Networks
    from trainers.models.schedule import Schedule
    from trainers.models.text import Conditioning

OPENRAIL = Message("any use is allowed, except the harmful ones that it lists")
"""Terms of the OpenRAIL licences."""
NO_PARTS = Message("base.parts has no effect on {title}, whose files hold all parts; remove it")
Denoiser = Literal["unet", "transformer"]
Layout = Literal["clip", "open_clip"]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Licence:
    """The licence of a base, and of styles made on it."""

    name: str
    terms: Message
    """The use it allows, as the end of a sentence."""
    page: str


@dataclass(frozen=True)
class Variant:
    """Bases of a family with equal networks; `resolution` is native, in pixels."""

    prediction: Prediction
    resolution: int
    base_model_version: str
    """Value of `ss_base_model_version` in a style file."""
    architecture: str
    """ModelSpec architecture, before the slash."""
    configs: str
    """Name of the bundled config tree."""
    few_steps: Mapping[str, Any] = field(default_factory=dict)
    """Settings of bases distilled for few steps, which override the family's."""
    licence: Licence | None = None
    """None where licences differ between bases."""
    title: str = ""
    """Name for users, where it says more than the family's title."""

    @property
    def tree(self) -> Path:
        """Folder with the complete diffusers configs."""
        return config_tree(self.configs)


@dataclass(frozen=True)
class HubBase:
    """A base on the hub that the studio offers to download; `size` is in bytes, approximately."""

    model: str
    title: str
    size: int
    summary: Message
    licence: Licence
    gated: bool = False
    """Whether the hub sends it only to accounts that have accepted its terms."""


@dataclass(frozen=True)
class OriginalLayer:
    """A layer of the original layout, which concatenates the outputs of one or more layers of diffusers."""

    name: str
    """Dotted path in the original layout."""
    paths: tuple[str, ...]
    """Paths of diffusers' layers."""
    rows: tuple[int, ...] = ()
    """Rows of each, if there are several."""
    swapped: bool = False
    """Whether the two halves of its output are in the opposite order to diffusers'."""

    @property
    def is_same(self) -> bool:
        """Whether its weight equals that of a single layer of diffusers."""
        return len(self.paths) == 1 and not self.swapped


class Family(ABC):
    """A family of base models; a style fits any base of its family and no other."""

    name: ClassVar[str]
    title: ClassVar[str]
    """Name for users."""
    short_title: ClassVar[str]
    """Name for users where there is little room."""
    denoiser: ClassVar[Denoiser]
    """The denoising network: its folder in a base, and its name in settings and style files."""
    networks: ClassVar[Mapping[str, str]]
    """Class of each network by its folder, as `library.Class`; the denoiser first, text encoders in order."""
    tokenizers: ClassVar[Mapping[str, str]]
    """Class of each tokenizer by its folder, one for each text encoder."""
    optional: ClassVar[Mapping[str, str]] = {}
    """Text encoders at the end that a base may lack, and a note for users if it does."""
    trained_encoders: ClassVar[tuple[str, ...]]
    """Text encoders that a style can change."""
    encoder_layouts: ClassVar[Mapping[str, Layout]] = {}
    """The layout in which A1111 keeps each text encoder: transformers', or open_clip's."""
    variants: ClassVar[tuple[Variant, ...]]
    """All variants, the usual one first."""
    hub_tag: ClassVar[str] = ""
    """The hub's tag for its models and styles."""
    implementation: ClassVar[str] = "diffusers"
    """`modelspec.implementation` of its styles."""
    hub_names: ClassVar[tuple[str, ...]] = ()
    """Parts of hub ids, in lower case, that identify a base of this family before it is downloaded."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings that override a preset's on every base of this family."""
    part_sources: ClassVar[Mapping[str, PartSource]] = {}
    """Sources of the parts of a base whose file may hold its denoiser alone; empty if files hold all parts."""
    prefixes: ClassVar[tuple[str, ...]] = ("model.diffusion_model.", "")
    """Starts of the denoiser's tensor names in such files."""
    loose_tensors: ClassVar[Mapping[str, str]] = {}
    """Tensors of the denoiser that belong to no layer, by their names in the original layout."""
    named_as: ClassVar[str] = ""
    """A family with the same layer names: a style with only these, without metadata, may be of either."""
    lacks: ClassVar[tuple[str, ...]] = ()
    """Parts of layer names, with dots, that the family in `named_as` has and this one lacks."""
    style_form: ClassVar[Literal["kohya", "native", "diffusers"]] = "kohya"
    """Layer names in style files: kohya's for diffusers' layers; kohya's for the original layout, which joins several
    of diffusers' layers; or diffusers' own."""
    diffusers_path: ClassVar[str] = r"(?!)"
    """A pattern that diffusers' paths of a transformer's layers have, and the authors' lack; either may be flat."""
    authors_path: ClassVar[str] = ""
    """A pattern of authors' paths that differ from diffusers'; empty if all do."""
    known_by_authors_path: ClassVar[str] = ""
    """Start of the paths of layers that ComfyUI knows by the authors' paths alone; it knows the others by both."""
    loads_lokr: ClassVar[bool] = False
    """Whether diffusers loads LoKr into its transformer, under `diffusion_model.` and its own path as ComfyUI does."""
    samplers: ClassVar[tuple[Sampler, ...]] = SAMPLERS
    """Samplers that suit its schedule."""
    original_names: ClassVar[bool] = False
    """Whether style files use the original layout's paths of the denoiser's layers."""
    reads_guidance: ClassVar[bool] = False
    """Whether some bases of this family are distilled to read the guidance scale, which training sets."""
    offered: ClassVar[HubBase | None] = None
    """The base of this family to offer first."""
    text_positions: ClassVar[int] = 77
    """Positions of text that the denoiser reads."""
    own_presets: ClassVar[tuple[str, ...]] = ()
    """Presets whose layers only this family has."""

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of all text encoders, in order."""
        return tuple(part for part in self.networks if part.startswith("text_encoder"))

    @property
    def counting_tokenizer(self) -> str:
        """Name of the tokenizer that measures captions."""
        return next(iter(self.tokenizers))

    @property
    def tokenizer_of(self) -> dict[str, str]:
        """The folder of each text encoder's tokenizer."""
        return dict(zip(self.encoders, self.tokenizers, strict=True))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the networks that a style can change, the denoiser first."""
        return (self.denoiser, *self.trained_encoders)

    @property
    def resolution(self) -> int:
        """Native resolution of the usual variant, the side of a square in pixels."""
        return self.variants[0].resolution

    # ------------------------------------------------------------ which bases and styles are of this family
    @abstractmethod
    def owns_file(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether a checkpoint with tensors of these shapes is of this family."""

    def check_file(self, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:  # noqa: B027
        """Raise VelaturaError if this checkpoint of the family cannot be used; `name` is the file's."""

    @abstractmethod
    def owns_folder(self, pipeline: str, config: Mapping[str, Any]) -> bool:
        """Whether a folder is of this family, from its pipeline's class ("" if unknown) and its denoiser's config."""

    def check_config(self, config: Mapping[str, Any], name: str) -> None:  # noqa: B027
        """Raise VelaturaError if this folder of the family cannot be used; `config` is its denoiser's."""

    def may_own(self, config: Mapping[str, Any]) -> bool:
        """Whether a denoiser with this config leaves the choice of family to the user."""
        return False

    def owns_version(self, version: str) -> bool:
        """Whether a style with this `ss_base_model_version` is of this family."""
        return version in {variant.base_model_version for variant in self.variants}

    def owns_layers(self, layers: Mapping[str, str | None], width: int | None) -> bool:
        """Whether a style is of this family, from its layers' names, each with its part, and the context's width."""
        return False

    @abstractmethod
    def prediction_of_file(self, header: Header) -> Prediction | None:
        """The prediction type that a checkpoint states, if any."""

    @abstractmethod
    def prediction_of_scheduler(self, config: Mapping[str, Any]) -> Prediction | None:
        """The prediction type in a folder's scheduler config, if any; VelaturaError if unsupported."""

    @abstractmethod
    def variant(self, prediction: Prediction, config: Mapping[str, Any]) -> Variant:
        """The variant of a base, from its prediction type and its denoiser's config."""

    @abstractmethod
    def variant_of_file(self, header: Header) -> Variant:
        """The variant of a checkpoint, from its header."""

    def variant_called(self, name: str) -> Variant:
        """The variant of a base, from its name alone."""
        return self.variants[0]

    # ------------------------------------------------------------ loading
    @abstractmethod
    def sizes(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> Pair:
        """Native resolution and stride in pixels, from the configs of denoiser and VAE."""

    def note_size(self, denoiser: Any, resolution: int, vae_factor: int) -> None:  # noqa: B027
        """Write the native resolution of a checkpoint's variant into the loaded denoiser's config."""

    @abstractmethod
    def schedule(self, scheduler: Mapping[str, Any], prediction: Prediction, settings: Base) -> Schedule:
        """The noise schedule of a base with this scheduler config."""

    def config_problems(self, config: Config) -> Mapping[str, str]:
        """Settings that do not apply to this family, one sentence per key; loads nothing."""
        return {}

    # ------------------------------------------------------------ text, prediction, sampling
    @abstractmethod
    def encode(self, base: Networks, captions: Sequence[str], clip_skip: int, chunks: int) -> Conditioning:
        """Encode captions, differentiably in the trained encoders' weights and the rows of added words."""

    @abstractmethod
    def count_tokens(self, tokenizer: Any, caption: str, sizes: Mapping[str, int]) -> int:
        """Positions that a caption takes, without start and end; `sizes` is the number of tokens of each added word."""

    @abstractmethod
    def token_limit(self, chunks: int) -> int:
        """Maximum positions of a caption with `data.chunks = chunks`."""

    def unread_layers(self, base: Networks, clip_skip: int) -> tuple[str, ...]:
        """Text encoder layers whose output is not read, such as `text_encoder.encoder.layers.11`; they cannot learn."""
        return ()

    def time_ids(
        self, base: Networks, original: Sequence[Pair], crop: Sequence[Pair], target: Sequence[Pair]
    ) -> Tensor | None:
        """Size conditioning `(n, 6)` of images, each pair in pixels (height, width) or (top, left); None without."""
        return None

    @abstractmethod
    def middle_block(self, denoiser: Any) -> Any:
        """A block in the middle of the denoiser, whose activations describe pictures."""

    @abstractmethod
    def image_activations(self, output: Any) -> Tensor:
        """The image's part `(n, channels, places)` of that block's output."""

    @abstractmethod
    def predict(
        self,
        base: Networks,
        latents: Tensor,
        t: Tensor,
        text: Conditioning,
        time_ids: Tensor | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """The denoiser's prediction `(n, c, h, w)` for noisy latents `(n, c, h, w)` at timesteps `(n,)`.

        `guidance` is the scale that a distilled denoiser reads as an input; None in training.
        """

    def guides_itself(self, base: Networks) -> bool:
        """Whether the denoiser reads the guidance scale as an input, which replaces the pass without a caption."""
        return False

    # ------------------------------------------------------------ names in style files
    @property
    def numbers_encoders(self) -> bool:
        """Whether kohya's names number the first text encoder."""
        return len(self.trained_encoders) > 1

    def file_path(self, path: str, config: Mapping[str, Any]) -> str:
        """The path in style files of a layer or block of the denoiser with this config."""
        return path

    @abstractmethod
    def original_layers(self, config: Mapping[str, Any], paths: Sequence[str]) -> Iterator[OriginalLayer]:
        """The layers of the original layout that contain the denoiser's layers at these paths."""


def down_factor(config: Mapping[str, Any]) -> int:
    """Downsampling factor of the innermost level of a UNet or VAE, along a side."""
    return 2 ** (len(config["block_out_channels"]) - 1)
