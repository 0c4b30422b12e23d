"""Every format but JPEG, each by the library that was found right about it.

    PNG, WebP    OpenCV; Pillow where transparency is kept, or several frames
    BMP          OpenCV for 24 and 32 bits; Pillow for palettes, of which OpenCV speaks on
                 stderr, and 16 bits, whose white OpenCV leaves at 248
    TIFF         Pillow: OpenCV blends transparent colours into black
    GIF, AVIF    Pillow: the oldest OpenCV that we take reads neither

The two agree on every pixel of the others. Both read 16 bits as their upper 8.

PNG, TIFF, GIF and AVIF are rebuilt before a decoder sees them, of what their first picture needs
and nothing else: what is left out can neither cost time or memory, nor be complained of.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from infeed.errors import DecodeError
from infeed.sample.avif import strip_avif
from infeed.sample.gif import strip_gif
from infeed.sample.header import Format, Header
from infeed.sample.pillow import load_by_pillow, refusal
from infeed.sample.png import strip_png
from infeed.sample.recipe import ColorMode
from infeed.sample.tiff import strip_tiff

_BAND_PIXELS: Final = 1 << 20
_LARGEST_SIDE_IN_CV2: Final = 1 << 20
_BMP_PLAIN: Final = (b"\0\0\0\0", b"\3\0\0\0")  # not packed; without masks, or with
_PILLOW_MODES: Final = {"rgb": "RGB", "bgr": "RGB", "grayscale": "L", "rgba": "RGBA"}


def decode_raster(
    data: bytes, header: Header, color_mode: ColorMode, max_pixels: int
) -> npt.NDArray[np.uint8]:
    """The picture as stored (not turned upright).

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
    stripped: bytes | bytearray = data
    if header.format == "png":
        stripped = strip_png(data, keep_transparency=color_mode == "rgba")
    elif header.format == "tiff":
        stripped = strip_tiff(data)
    elif header.format == "gif":
        stripped = strip_gif(data)
    elif header.format == "avif":
        stripped = strip_avif(data)
    if color_mode != "rgba" and _is_for_cv2(data, header):
        return decode_by_cv2(stripped, header.format, color_mode)
    return from_pillow(
        load_by_pillow(stripped, header.format, max_pixels), header.format, color_mode
    )


def from_pillow(
    image: Image.Image, format_: Format, color_mode: ColorMode
) -> npt.NDArray[np.uint8]:
    """A picture that Pillow has read, in the channels that are asked for.

    Returns:
        uint8 (height, width, channels), or (height, width) for "grayscale".

    Raises:
        DecodeError: `unsupported`: nobody says how its values are to be seen.
    """
    if image.mode in ("I", "F"):
        raise DecodeError(
            f"the {format_.upper()} has 32-bit pixels, of which nobody says where white is. "
            f"Convert it to 8 or 16 bits.",
            reason="unsupported",
        )
    channels = {"grayscale": (), "rgba": (4,)}.get(color_mode, (3,))
    pixels = np.empty((image.height, image.width, *channels), np.uint8)
    # In bands, since Pillow holds four bytes a pixel, and makes three copies on the way to numpy.
    rows = max(_BAND_PIXELS // image.width, 1)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        whole = rows >= image.height
        band = image if whole else image.crop((0, top, image.width, bottom))
        pixels[top:bottom] = _converted(band, format_, color_mode)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR, dst=pixels) if color_mode == "bgr" else pixels


def _converted(image: Image.Image, format_: Format, color_mode: ColorMode) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion to 8 bits clips at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    try:
        return np.asarray(image.convert(_PILLOW_MODES[color_mode]))
    except ValueError as error:
        raise DecodeError(
            f"the {format_.upper()} has pixels of kind {image.mode!r}: {error}",
            reason="unsupported",
        ) from error


def decode_by_cv2(
    data: bytes | bytearray, format_: Format, color_mode: ColorMode
) -> npt.NDArray[np.uint8]:
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
        raise refusal(format_, "OpenCV", error) from error
    if image is None:
        raise DecodeError(
            f"the {format_.upper()} contradicts itself: OpenCV gives no picture", reason="corrupt"
        )
    if color_mode == "rgb":
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    elif color_mode == "rgba":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)
    return image


def _is_for_cv2(data: bytes, header: Header) -> bool:
    """Whether OpenCV decodes this without a word, whatever is in it."""
    if max(header.width, header.height) > _LARGEST_SIDE_IN_CV2:
        return False
    if header.format == "webp":
        # OpenCV reads animated ones since 4.11.
        return data[8:16] != b"WEBPVP8X" or not data[20] & 0x02
    if header.format == "bmp":
        header_size = int.from_bytes(data[14:18], "little")
        return 40 <= header_size <= 124 and data[28] in (24, 32) and data[30:34] in _BMP_PLAIN
    return header.format == "png"
