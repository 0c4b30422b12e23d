"""How long the slowest pictures take that the pixel budget lets through.

    python benchmarks/slow_pictures.py [PART OF A NAME]

Each is as large as `Recipe.max_pixels` allows, or made to keep a decoder busy. Prints what became
of it, the clock's seconds and the processor's. The aim: none over 5 seconds. For their memory see
`decoder_memory.py`.
"""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from infeed.errors import DecodeError
from infeed.sample import Recipe, Scratch, decode_into, use_one_thread_per_call

SIDE = 9459  # squared, just below the 89,478,485 pixels that a recipe allows


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def flat(width: int = SIDE, height: int = SIDE, mode: str = "RGB") -> Image.Image:
    """One colour: a small file of many pixels."""
    return Image.new(mode, (width, height), 77)


def noise(width: int, height: int) -> Image.Image:
    """A square of noise, again and again."""
    square = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    tiled = np.tile(square, (height // 1024 + 1, width // 1024 + 1, 1))
    return Image.fromarray(tiled[:height, :width])


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(
    width: int, height: int, depth: int, color_type: int, nbytes: int, interlaced: int = 0
) -> bytes:
    """A black PNG; nbytes: of its rows, with their filters."""
    head = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced)
    packed = zlib.compress(bytes(nbytes), 9)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", packed), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def interlaced_bytes(side: int, pixel: int) -> int:
    """How many bytes an interlaced square has."""
    total = 0
    for top, left, down, across in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):  # fmt: skip
        rows, columns = -(-(side - top) // down), -(-(side - left) // across)
        total += rows * (columns * pixel + 1)
    return total


def more_scans(data: bytes, count: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * count + b"\xff\xd9"


def run_lengths(side: int, run: int) -> bytes:
    """A BMP of 8 bits in runs."""
    row = bytes((run, 7)) * (side // run) + b"\0\0"
    pixels = row * side + b"\0\1"
    colors = b"".join(bytes((grey, grey, grey, 0)) for grey in range(256))
    start = 54 + len(colors)
    head = struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    width = side // run * run
    info = struct.pack("<IiiHHIIiiII", 40, width, side, 1, 8, 1, len(pixels), 0, 0, 256, 256)
    return b"BM" + head + info + colors + pixels


def gif_with(extension: bytes) -> bytes:
    """A small GIF with something before its picture."""
    data = saved(flat(9, 9, "L"), "GIF")
    colors = 3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0
    return data[: 13 + colors] + extension + data[13 + colors :]


def pictures() -> Iterator[tuple[str, Callable[[], bytes], Recipe]]:
    """(name, how it is made, how it is wanted)."""
    fast = Recipe(height=64, width=64)
    exact = Recipe(height=64, width=64, decode="exact")
    rgba = Recipe(height=64, width=64, color_mode="rgba")
    yield "jpeg, noise", lambda: saved(noise(SIDE, SIDE), "JPEG", quality=95), exact
    yield (
        "jpeg, noise, progressive",
        lambda: saved(noise(SIDE, SIDE), "JPEG", quality=95, progressive=True),
        exact,
    )
    progressive = {"progressive": True}
    yield (
        "jpeg, 20 scans more",
        lambda: more_scans(saved(flat(), "JPEG", **progressive), 20),
        exact,
    )
    yield "jpeg, 300 scans", lambda: more_scans(saved(flat(), "JPEG", **progressive), 290), exact
    yield (
        "jpeg of 3 megapixels, 480 scans",
        lambda: more_scans(saved(flat(1731, 1731), "JPEG", **progressive), 470),
        exact,
    )
    stray = b"\xff\xfe\0\x04ab" + b"stray" * 9
    yield (
        "jpeg with strays",
        lambda: (lambda data: data[:2] + stray + data[2:])(saved(flat(), "JPEG")),
        exact,
    )
    yield "png", lambda: saved(flat(), "PNG"), fast
    yield "png, noise", lambda: saved(noise(SIDE, SIDE), "PNG", compress_level=1), fast
    for name, recipe in (("", fast), (", kept", rgba)):
        nbytes = interlaced_bytes(SIDE, 8)
        yield (
            f"png, 16 bits rgba, interlaced{name}",
            lambda nbytes=nbytes: png(SIDE, SIDE, 16, 6, nbytes, 1),  # type: ignore[misc]  # bound
            recipe,
        )
    yield "png of 4 million rows", lambda: png(20, 1 << 22, 8, 0, 21 << 22), fast
    yield "png of one column", lambda: png(1, 89_000_000, 8, 0, 178_000_000), fast
    yield "png of one row", lambda: png(89_000_000, 1, 8, 0, 89_000_001), fast
    yield "webp, noise", lambda: saved(noise(15_360, 5_120), "WEBP", method=0, quality=60), fast
    yield (
        "webp, noise, lossless",
        lambda: saved(noise(15_360, 5_120), "WEBP", lossless=True, method=0, quality=0),
        fast,
    )
    yield "webp, alpha kept", lambda: saved(flat(16_383, 5_461, "RGBA"), "WEBP", method=0), rgba
    yield "gif", lambda: saved(flat(mode="L"), "GIF"), fast
    blocks = b"!\xfe" + b"\1a" * 20_000_000 + b"\0"
    yield "gif with 20 million blocks", lambda: gif_with(blocks), fast
    yield "bmp", lambda: saved(flat(), "BMP"), fast
    yield "bmp, long runs", lambda: run_lengths(9435, 255), fast
    yield "bmp of 8 megapixels, runs of one", lambda: run_lengths(2890, 1), fast
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma"):
        yield (
            f"tiff, {compression}",
            lambda packed=compression: saved(flat(), "TIFF", compression=packed),  # type: ignore[misc]  # bound
            fast,
        )
    yield (
        "tiff, 60,000 strips",
        lambda: saved(flat(1480, 60_000), "TIFF", compression="tiff_lzw", tiffinfo={278: 1}),
        fast,
    )
    yield "avif", lambda: saved(flat(), "AVIF", speed=10), fast
    yield (
        "avif of 17 megapixels, noise",
        lambda: saved(noise(4096, 4096), "AVIF", speed=10, quality=60),
        fast,
    )


def measure(data: bytes, recipe: Recipe) -> tuple[str, float, float]:
    """(what became of it, seconds, the processor's seconds)."""
    row, scratch = np.empty(recipe.shape, np.uint8), Scratch()
    start, busy = time.perf_counter(), time.process_time()
    try:
        outcome = decode_into(data, recipe, row, scratch) or "decoded"
    except DecodeError as error:
        outcome = error.reason
    return outcome, time.perf_counter() - start, time.process_time() - busy


def main() -> None:
    """Draws, decodes, prints."""
    use_one_thread_per_call()
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"{'':34} {'file MB':>8} {'seconds':>8} {'busy':>6}")
    for name, make, recipe in pictures():
        if wanted in name:
            data = make()
            outcome, seconds, busy = measure(data, recipe)
            print(
                f"{name:34} {len(data) / 1e6:8.1f} {seconds:8.2f} {busy:6.2f}  {outcome}",
                flush=True,
            )


if __name__ == "__main__":
    main()
