"""Style files out and in."""

from trainers.composition.apply import StyleNetwork, apply_styles
from trainers.formats.clients.diffusers import how_to_load, write_for_diffusers
from trainers.formats.inspect import StyleSummary, describe_style
from trainers.formats.metadata import TrainingFacts, style_metadata
from trainers.formats.read import Style, read_style
from trainers.formats.write import write_style

__all__ = [
    "Style",
    "StyleNetwork",
    "StyleSummary",
    "TrainingFacts",
    "apply_styles",
    "describe_style",
    "how_to_load",
    "read_style",
    "style_metadata",
    "write_for_diffusers",
    "write_style",
]
