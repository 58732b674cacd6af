"""Structured matrices: the algebra of a layer's change, for all methods."""

from trainers.adapters.updates.affine import Affine
from trainers.adapters.updates.dense import Dense
from trainers.adapters.updates.hadamard import Hadamard
from trainers.adapters.updates.inputs import InputRotation, InputScale
from trainers.adapters.updates.kronecker import Kronecker
from trainers.adapters.updates.normalised import Normalised, normalise
from trainers.adapters.updates.per_image import PerImage
from trainers.adapters.updates.rotation import Rotation
from trainers.adapters.updates.rows import Rows
from trainers.adapters.updates.update import LowRank, Update

__all__ = [
    "Affine",
    "Dense",
    "Hadamard",
    "InputRotation",
    "InputScale",
    "Kronecker",
    "LowRank",
    "Normalised",
    "PerImage",
    "Rotation",
    "Rows",
    "Update",
    "normalise",
]
