"""Why a setting of another program was not taken, as sentences."""

from __future__ import annotations

from collections.abc import Mapping

from app.studio.settings.imports.report import Reason
from trainers.messages import Message as _

REASONS: Mapping[Reason, str] = {
    "base": _("The base model is chosen here. Choose the same one for the same result."),
    "hub": _("A model of the hub. Choose it here under Base model, or download it there."),
    "epochs": _("Epochs need repeats."),
    "value": _("There is no such value here."),
    "algorithm": _("There is no such method here. LoRA is taken instead."),
    "method": _("This method has no such setting."),
    "refused": _("It does not fit."),
    "prior": _("The base model draws the class pictures here: Extras, Pictures against forgetting."),
    "masks": _(
        "A mask is a file beside its picture here, such as fox-mask.png, and what is black in it is not learned."
    ),
    "captions": _("Captions are read from .txt files here."),
    "concepts": _("The concepts are in that file. Choose both files together."),
    "subsets": _("The subsets differ in it. Here it is one value for all images."),
    "dataset": _("The pictures are described in that file. Choose both files together."),
    "start": _("It starts from a file. Nothing is read from that file here."),
    "unknown": _("There is nothing like it here."),
    "path": _("A path of that computer."),
    "elsewhere": _("It is set in another step."),
    "family": _("It follows from the base model."),
    "logging": _("The page of a training shows loss and previews. train.tracker logs them elsewhere too."),
    "files": _("It is about files beside the style. Every sampled step keeps its style here."),
    "machine": _("It is about the computer. The studio sees to that."),
    "instead": _("Another setting decides there."),
    "time": _("It counts time. Previews and checkpoints count steps here."),
    "idle": _("It has no effect there with the other settings."),
}
