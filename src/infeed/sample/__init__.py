"""PIXELS: from the bytes of an image to a row of a batch."""

from infeed.sample.convert import to_float32
from infeed.sample.decode import decode_into, use_one_thread_per_call
from infeed.sample.recipe import ColorMode, Decode, Fit, Interpolation, Recipe
from infeed.sample.scratch import Scratch
from infeed.sample.versions import decoder_versions

__all__ = [
    "ColorMode",
    "Decode",
    "Fit",
    "Interpolation",
    "Recipe",
    "Scratch",
    "decode_into",
    "decoder_versions",
    "to_float32",
    "use_one_thread_per_call",
]
