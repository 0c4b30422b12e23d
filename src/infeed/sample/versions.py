"""What, besides bytes and recipe, pixels depend on."""

from __future__ import annotations

import platform
from typing import Final

import cv2
import PIL
import simplejpeg

PIXELS_VERSION: Final = 3
"""Of the way from bytes to pixels in this folder; a new one when equal input gives other pixels."""


def decoder_versions() -> dict[str, str]:
    """The codecs that made an image; equal versions, recipe and bytes give equal pixels."""
    return {
        "pixels": str(PIXELS_VERSION),
        "simplejpeg": simplejpeg.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "machine": platform.machine(),
    }
