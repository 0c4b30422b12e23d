"""WHAT exists: the table of images with their labels. See README.md in this folder."""

from __future__ import annotations

from infeed.manifest.extensions import IMAGE_EXTENSIONS
from infeed.manifest.labels import LabelMode, balanced_class_weight, check_label_mode, encode
from infeed.manifest.manifest import Manifest
from infeed.manifest.record import Record
from infeed.manifest.split import Split, split, split_positions

__all__ = [
    "IMAGE_EXTENSIONS",
    "LabelMode",
    "Manifest",
    "Record",
    "Split",
    "balanced_class_weight",
    "check_label_mode",
    "encode",
    "split",
    "split_positions",
]
