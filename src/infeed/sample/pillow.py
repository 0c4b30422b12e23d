"""Pillow, asked for one format only, and without a word on stderr."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable
from functools import cache
from typing import Final

from PIL import Image, _imaging
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from infeed.errors import DecodeError
from infeed.sample.header import Format

# Made directly, so that no other reader of Pillow's ever sees the bytes: `Image.open` would load
# all of its plugins, take a JPEG for an MPO, and warn of sizes by rules of its own.
_READERS: Final[dict[Format, Callable[[io.BytesIO], ImageFile]]] = {
    "avif": AvifImageFile,
    "bmp": BmpImageFile,
    "gif": GifImageFile,
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "tiff": TiffImageFile,
    "webp": WebPImageFile,
}


def load_by_pillow(
    data: bytes | bytearray, format_: Format, max_pixels: int, *, luma: bool = False
) -> Image.Image:
    """The first frame, its pixels read, in Pillow's own mode.

    Args:
        luma: of a JPEG, only how bright it is, as it is stored.

    Raises:
        DecodeError: `truncated`, `corrupt` or `too_large`.
    """
    if format_ == "tiff":
        quiet_libtiff()
    try:
        image = _READERS[format_](io.BytesIO(data))
        if luma:
            image.draft("L", None)
        if image.width * image.height <= max_pixels:
            image.load()
            return image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise DecodeError(
            f"the {format_.upper()} is larger than Pillow allows: {error}", reason="too_large"
        ) from error
    except Exception as error:  # Pillow's readers raise all there is on hostile bytes
        raise refusal(format_, "Pillow", error) from error
    raise DecodeError(
        f"the {format_.upper()} has {image.width} x {image.height} pixels within, more than "
        f"{max_pixels:,}",
        reason="too_large",
    )


def refusal(format_: Format, decoder: str, error: Exception) -> DecodeError:
    """What to raise of a decoder's error: `truncated` where it says so, else `corrupt`."""
    text = f"the {format_.upper()} cannot be decoded: {decoder} says {str(error) or repr(error)}"
    if "truncated" in str(error):
        return DecodeError(text, reason="truncated")
    return DecodeError(text, reason="corrupt")


@cache
def quiet_libtiff() -> bool:
    """Keeps Pillow's libtiff from writing errors to stderr; says whether that was possible.

    For the whole process, as Pillow does with the warnings of libtiff. The errors reach us as
    exceptions all the same. Only the libtiff that Pillow itself is linked with is meant: it is
    looked up through Pillow's own library.
    """
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):  # a build that hides it within
        return False
    set_handler.argtypes = [ctypes.c_void_p]
    set_handler.restype = ctypes.c_void_p
    set_handler(None)
    return True
