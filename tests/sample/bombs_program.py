"""Small files that ask for much: what each costs, one after the other, in a process of its own.

    python bombs_program.py

Prints a JSON object: for each bomb its size, what became of it, the processor's seconds (the
best of three) and the most memory beyond what the process had before, in MB.
"""

from __future__ import annotations

import ctypes
import importlib.util
import io
import json
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from infeed import Recipe
from infeed.errors import DecodeError
from infeed.sample import Scratch, decode_into


def load_mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", Path(__file__).with_name("mutants.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    return module


mutants = load_mutants()


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def replaced(data: bytes, at: int, content: bytes) -> bytes:
    return data[:at] + content + data[at + len(content) :]


def png(width: int, height: int, depth: int, color_type: int, packed: bytes) -> bytes:
    chunk = mutants.png_chunk
    head = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def bombs() -> Iterator[tuple[str, bytes]]:
    """What is to be refused."""
    small = Image.new("RGB", (32, 32), (200, 30, 90))
    # 1.6 gigapixels that are really there, in 200 KB.
    zeros = zlib.compressobj(9)
    rows = b"".join(zeros.compress(bytes(5001 * 400)) for _ in range(100)) + zeros.flush()
    yield "png 40,000 square, whole", png(40_000, 40_000, 1, 0, rows)
    for side in (10_000, 20_000, 40_000):
        yield f"png {side:,} square, 16 bits rgba", png(side, side, 16, 6, zlib.compress(b"\0"))
    yield "png of the largest sides", png(2**31 - 1, 2**31 - 1, 16, 6, zlib.compress(b"\0"))
    jpeg = saved(small, "JPEG")
    for side in (30_000, 65_535):
        sides = struct.pack(">HH", side, side)
        yield f"jpeg {side:,} square", replaced(jpeg, jpeg.index(b"\xff\xc0") + 5, sides)
    progressive = saved(small, "JPEG", progressive=True)
    sides = struct.pack(">HH", 65_535, 65_535)
    at = progressive.index(b"\xff\xc2") + 5
    yield "jpeg 65,535 square, progressive", replaced(progressive, at, sides)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    sides = struct.pack(">HH", 9_000, 9_000)
    many = replaced(progressive, at, sides)[:-2] + scan * 400 + b"\xff\xd9"
    yield "jpeg 81 megapixels, 400 scans", many
    yield "jpeg of 10,000 scans", progressive[:-2] + scan * 10_000 + b"\xff\xd9"
    gif = saved(small, "GIF")
    yield "gif 65,535 square", replaced(gif, 6, b"\xff\xff\xff\xff")
    picture = gif.index(b",", 13)
    yield "gif with a picture of 65,535 square", replaced(gif, picture + 5, b"\xff\xff\xff\xff")
    webp = saved(small, "WEBP", lossless=True)
    yield "webp 16,384 square, lossless", replaced(webp, 21, b"\xff\xff\xff\x0f")
    webp = saved(small, "WEBP")
    yield "webp 16,383 square", replaced(webp, 26, b"\xff\x3f\xff\x3f")
    moving = mutants.originals()["webp animated"]
    yield "webp 2^24 square, animated", replaced(moving, 24, b"\xff" * 6)
    bmp = saved(small, "BMP")
    yield "bmp 30,000 square", replaced(bmp, 18, struct.pack("<ii", 30_000, 30_000))
    yield "bmp 9,000 square without pixels", replaced(bmp, 18, struct.pack("<ii", 9000, 9000))
    runs = mutants.run_length_bmp(8, 8)
    yield "bmp 60,000 square, run lengths", replaced(runs, 18, struct.pack("<ii", 60_000, 60_000))
    tiff = saved(small, "TIFF", compression="tiff_lzw")
    for name, tag, value in (
        ("width of 4 billion", 256, 0xFFFF_FFFF),
        ("height of 4 million", 257, 4_000_000),
        ("rows in 4 million parts", 279, None),
    ):
        entry = next(j.at for j in mutants.joints(tiff) if tiff[j.at : j.at + 2] == _short(tag))
        if value is None:
            yield f"tiff {name}", replaced(tiff, entry + 4, struct.pack("<I", 4_000_000))
        else:
            yield f"tiff {name}", replaced(tiff, entry + 2, struct.pack("<HII", 4, 1, value))
    tiled = struct.pack("<HHIIHHII", 322, 4, 1, 60_000, 323, 4, 1, 60_000)
    yield "tiff tile of 60,000 square", _with_entries(tiff, tiled)
    avif = saved(small, "AVIF", speed=10)
    at = avif.index(b"ispe") + 8
    yield "avif 65,535 square", replaced(avif, at, struct.pack(">II", 65_535, 65_535))
    big = saved(Image.new("RGB", (8192, 8192)), "AVIF", speed=10)
    at = big.index(b"ispe") + 8
    yield "avif 16 square with frames of 8,192", replaced(big, at, struct.pack(">II", 16, 16))


def harmless() -> Iterator[tuple[str, bytes]]:
    """What looks like a bomb, and is decoded within the same bounds: its first frame is small."""
    small = Image.new("RGB", (32, 32), (200, 30, 90))
    gif = saved(small, "GIF")
    picture = gif.index(b",", 13)
    yield "gif of 65,535 frames", gif[:-1] + gif[picture:-1] * 65_534 + b";"
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * 20_000 + b"\0"
    yield "gif with a comment of 5 MB", gif[:picture] + comment + gif[picture:]
    base = saved(small, "PNG")
    zeros = zlib.compress(bytes(100_000_000), 9)
    for kind, content in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")):
        chunk = mutants.png_chunk(kind, content + zeros)
        yield f"png with 1 GB in ten {kind.decode()}", base[:33] + chunk * 10 + base[33:]
    raw = zlib.compress(bytes(100_000_000), 9)
    yield "png 32 square with 100 MB of pixels", png(32, 32, 8, 2, raw)
    control = mutants.png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    yield "png of two billion frames", base[:33] + control + base[33:]
    pages = saved(small, "TIFF", save_all=True, append_images=[small] * 500)
    yield "tiff of 501 pages", pages
    frames = [Image.new("RGB", (32, 32), (number % 256, 0, number // 256)) for number in range(500)]
    yield "webp of 501 frames", saved(small, "WEBP", save_all=True, append_images=frames)
    yield "avif of 21 frames", saved(small, "AVIF", save_all=True, append_images=frames[:20])
    jpeg = saved(small, "JPEG")
    notes = (b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65_527)) * 100
    yield "jpeg with 6 MB of Exif", jpeg[:2] + notes + jpeg[2:]


def _short(value: int) -> bytes:
    return struct.pack("<H", value)


def _with_entries(tiff: bytes, entries: bytes) -> bytes:
    """A little-endian TIFF with more entries at the end of its directory."""
    (at,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, at)
    old = tiff[at + 2 : at + 2 + 12 * count]
    directory = struct.pack("<H", count + len(entries) // 12) + old + entries + bytes(4)
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:8] + tiff[8:] + directory


# Of glibc; others keep less.
give_back = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: 0)


def status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field}: this needs Linux")


def measure(data: bytes) -> dict[str, Any]:
    recipe = Recipe(height=32, width=32)
    row, scratch = np.empty(recipe.shape, np.uint8), Scratch()
    seconds, peak = [], 0.0
    outcome = "decoded"
    for _ in range(3):
        # What malloc keeps of memory that was freed would be used again, and not be seen.
        give_back(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = status("VmRSS")
        start = time.thread_time()
        try:
            decode_into(data, recipe, row, scratch)
        except DecodeError as error:
            outcome = error.reason
        seconds.append(time.thread_time() - start)
        peak = max(peak, status("VmHWM") - before)
    return {"bytes": len(data), "outcome": outcome, "seconds": min(seconds), "peak_mb": peak}


def main() -> None:
    """Warms the decoders up, measures, prints."""
    for data in mutants.originals().values():
        measure(data)
    result = {
        "refused": {name: measure(data) for name, data in bombs()},
        "decoded": {name: measure(data) for name, data in harmless()},
        # So that a measurement that measures nothing is noticed.
        "photo": measure(saved(Image.new("RGB", (4000, 4000)), "BMP")),
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
