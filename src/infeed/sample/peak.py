"""`peak_bytes`: what decoding a picture will hold at its peak, known before it is decoded."""

from __future__ import annotations

from typing import Final

from infeed.sample.header import Format, Header
from infeed.sample.orientation import UPRIGHT
from infeed.sample.recipe import ColorMode

FREE_BYTES: Final = 16 * 1024 * 1024
"""A picture that takes no more than this asks nobody: 32 threads make 512 MiB of them."""

MOST_BYTES_A_PIXEL: Final = 36
"""No picture takes more: what fits into `FREE_BYTES` by this need not be looked at."""

# Measured by benchmarks/decoder_memory.py, rounded up. RGB, and RGBA where that costs more.
_BYTES_A_PIXEL: Final[dict[Format, tuple[int, int]]] = {
    "webp": (8, 18),
    "bmp": (7, 10),
    "tiff": (10, 11),  # and the file twice
    "gif": (6, 8),
    "avif": (18, 20),  # 12 with 8 bits, but there are 10 and 12
}
_WEBP_ANIMATED: Final = 18
_CHANNELS: Final[dict[ColorMode, int]] = {"rgb": 3, "bgr": 3, "grayscale": 1, "rgba": 4}
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def peak_bytes(header: Header, data: bytes, color_mode: ColorMode, factor: int) -> int:
    """Bytes of memory, beyond the file, that decoding will hold at its peak; rather too many.

    Args:
        header: what `read_header` said of `data`.
        data: the whole file.
        color_mode: the channels of the result.
        factor: by which a JPEG is reduced while it is decoded; 1 for all others.
    """
    pixels = header.width * header.height
    channels = _CHANNELS[color_mode]
    made = pixels * channels // (factor * factor)
    turned = 0 if header.orientation == UPRIGHT else made
    if header.format == "jpeg":
        # Where the pixels come in several scans, all coefficients are kept: 2 bytes each, of up
        # to four colours. Reducing saves none of that.
        scans = 1 if header.one_scan else data.count(b"\xff\xda")
        kept = 8 * pixels if header.progressive or scans > 1 else 0
        # Inks come as four colours, whatever is made of them.
        return max(made, 3 * pixels // (factor * factor)) * 3 // 2 + kept + turned
    if header.format == "png":
        # Unpacked twice, as it is checked and handed on.
        bits = _PNG_CHANNELS.get(data[25], 4) * data[24]
        return pixels * (8 + bits * 9 // 32) + turned
    rgb, rgba = _BYTES_A_PIXEL[header.format]
    each = rgba if color_mode == "rgba" else rgb
    if header.format == "webp" and data[12:16] == b"VP8X" and data[20] & 0x02:
        each = _WEBP_ANIMATED
    copies = 2 * len(data) if header.format == "tiff" else 0
    return pixels * each + copies + turned
