"""Every format but JPEG, each by the library that was found right about it.

    PNG, WebP, BMP    OpenCV; Pillow where transparency is kept, or several frames
    TIFF              Pillow: OpenCV blends transparent colours into black
    GIF, AVIF         Pillow: the oldest OpenCV that we take reads neither

The two agree on every pixel of the others. Both read 16 bits as their upper 8.
"""

from __future__ import annotations

import io
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from infeed.errors import DecodeError
from infeed.sample.header import Format, Header
from infeed.sample.png import strip_png
from infeed.sample.recipe import ColorMode

TURNED_BY_DECODER: Final[frozenset[Format]] = frozenset({"tiff"})
"""Formats that arrive upright, because their decoder cannot be told to leave them as stored."""

_BY_CV2: Final[frozenset[Format]] = frozenset({"png", "webp", "bmp"})
_PILLOW_MODES: Final = {"rgb": "RGB", "bgr": "RGB", "grayscale": "L", "rgba": "RGBA"}


def decode_raster(
    data: bytes, header: Header, color_mode: ColorMode, max_pixels: int
) -> npt.NDArray[np.uint8]:
    """The picture as stored (not turned upright, but see `TURNED_BY_DECODER`).

    Args:
        data: the whole file.
        header: what `read_header` said of it.
        color_mode: the channels of the result.
        max_pixels: for the sizes that only the decoder gets to see.

    Returns:
        uint8 (height, width, channels), or (height, width) for "grayscale". Of several pages
        or frames the first.

    Raises:
        DecodeError: `truncated`, `corrupt`, `unsupported` or `too_large`.
    """
    if header.format == "png":
        data = strip_png(data)
    if header.format in _BY_CV2 and color_mode != "rgba" and not _is_animated_webp(data):
        return decode_by_cv2(data, header.format, color_mode)
    image = load_by_pillow(data, header.format, max_pixels)
    if image.mode.startswith("I;16"):
        # Pillow's own conversion to 8 bits clips at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DecodeError(
            f"the {header.format.upper()} has 32-bit pixels, of which nobody says where white is. "
            f"Convert it to 8 or 16 bits.",
            reason="unsupported",
        )
    try:
        pixels = np.asarray(image.convert(_PILLOW_MODES[color_mode]))
    except ValueError as error:
        raise DecodeError(
            f"the {header.format.upper()} has pixels of kind {image.mode!r}: {error}",
            reason="unsupported",
        ) from error
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if color_mode == "bgr" else pixels


def decode_by_cv2(data: bytes, format_: Format, color_mode: ColorMode) -> npt.NDArray[np.uint8]:
    """The picture as stored; transparency is dropped.

    Returns:
        uint8 (height, width, channels), or (height, width) for "grayscale".

    Raises:
        DecodeError: `corrupt`. OpenCV does not say why; libpng may say so on stderr.
    """
    flag = cv2.IMREAD_GRAYSCALE if color_mode == "grayscale" else cv2.IMREAD_COLOR
    try:
        image: npt.NDArray[np.uint8] | None = cv2.imdecode(
            np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as error:
        raise _refusal(format_, "OpenCV", error) from error
    if image is None:
        raise DecodeError(
            f"the {format_.upper()} contradicts itself: OpenCV gives no picture", reason="corrupt"
        )
    if color_mode == "rgb":
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    elif color_mode == "rgba":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)
    return image


def load_by_pillow(data: bytes, format_: Format, max_pixels: int) -> Image.Image:
    """The first frame, its pixels read, in Pillow's own mode.

    Raises:
        DecodeError: `truncated`, `corrupt` or `too_large`.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=[format_.upper()])
        if image.width * image.height <= max_pixels:
            image.load()
            return image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise DecodeError(
            f"the {format_.upper()} is larger than Pillow allows: {error}", reason="too_large"
        ) from error
    except Exception as error:  # Pillow's readers raise all there is on hostile bytes
        raise _refusal(format_, "Pillow", error) from error
    raise DecodeError(
        f"the {format_.upper()} has {image.width} x {image.height} pixels within, more than "
        f"{max_pixels:,}",
        reason="too_large",
    )


def _is_animated_webp(data: bytes) -> bool:
    # OpenCV reads these since 4.11.
    return data[8:16] == b"WEBPVP8X" and bool(data[20] & 0x02)


def _refusal(format_: Format, decoder: str, error: Exception) -> DecodeError:
    text = f"the {format_.upper()} cannot be decoded: {decoder} says {str(error) or repr(error)}"
    if "truncated" in str(error):
        return DecodeError(text, reason="truncated")
    return DecodeError(text, reason="corrupt")
