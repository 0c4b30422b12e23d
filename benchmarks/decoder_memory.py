"""What decoding one picture holds at its peak, and how long it takes, by format and kind.

    python benchmarks/decoder_memory.py [MEGAPIXELS]

Each picture is drawn, then decoded in a process of its own, whose anonymous memory (RssAnon) is
looked at every millisecond. Prints bytes a pixel beyond what the process had before (the file
itself not counted), what `peak_bytes` reckons with, and seconds.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image

from infeed.sample import ColorMode, Recipe, Scratch, decode_into, use_one_thread_per_call
from infeed.sample.header import read_header
from infeed.sample.peak import peak_bytes

COLOR_MODES: Final[tuple[ColorMode, ...]] = ("rgb", "grayscale", "rgba")


def draw(megapixels: float) -> np.ndarray:
    """uint8 (side, side, 3): smooth, with a little noise in part of it."""
    side = round((megapixels * 1e6) ** 0.5)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (side // 64 + 2, side // 64 + 2, 3), dtype=np.uint8)
    image: np.ndarray = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    image[: side // 4] += rng.integers(0, 9, (side // 4, side, 3), dtype=np.uint8)
    return image


def files(megapixels: float) -> Iterator[tuple[str, bytes]]:
    """(what it is, file) for every kind that takes a way of its own through a decoder."""
    rgb = Image.fromarray(draw(megapixels))
    grey = rgb.convert("L")
    rgba = rgb.copy()
    rgba.putalpha(grey)
    palette = rgb.quantize(64, method=Image.Quantize.FASTOCTREE)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6

    def saved(image: Image.Image, format_: str, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, format_, **options)
        return file.getvalue()

    yield "jpeg", saved(rgb, "JPEG")
    yield "jpeg turned", saved(rgb, "JPEG", exif=exif)
    yield "jpeg grey", saved(grey, "JPEG")
    yield "jpeg progressive", saved(rgb, "JPEG", progressive=True)
    yield "jpeg cmyk", saved(rgb.convert("CMYK"), "JPEG")
    yield "png", saved(rgb, "PNG", compress_level=1)
    yield "png grey", saved(grey, "PNG", compress_level=1)
    yield "png palette", saved(palette, "PNG", compress_level=1)
    yield "png rgba", saved(rgba, "PNG", compress_level=1)
    yield "png 16", saved(deep, "PNG", compress_level=1)
    yield "png 16 rgb", cv2.imencode(".png", np.asarray(rgb).astype(np.uint16) * 257)[1].tobytes()
    yield "webp", saved(rgb, "WEBP", method=0)
    yield "webp lossless", saved(rgb, "WEBP", lossless=True, method=0, quality=0)
    yield "webp alpha", saved(rgba, "WEBP", method=0)
    yield (
        "webp animated",
        saved(rgb, "WEBP", method=0, save_all=True, append_images=[rgb.rotate(180)]),
    )
    yield "bmp", saved(rgb, "BMP")
    yield "bmp palette", saved(palette, "BMP")
    yield "tiff", saved(rgb, "TIFF")
    yield "tiff lzw", saved(rgb, "TIFF", compression="tiff_lzw")
    yield "tiff deflate", saved(rgb, "TIFF", compression="tiff_adobe_deflate")
    yield "tiff jpeg", saved(rgb, "TIFF", compression="jpeg")
    yield "tiff cmyk", saved(rgb.convert("CMYK"), "TIFF", compression="tiff_lzw")
    yield "tiff 16", saved(deep, "TIFF", compression="tiff_lzw")
    yield "tiff palette", saved(palette, "TIFF", compression="tiff_lzw")
    yield "gif", saved(palette, "GIF")
    yield "avif", saved(rgb, "AVIF", speed=10)
    yield "avif alpha", saved(rgba, "AVIF", speed=10)


def anonymous() -> int:
    """The process' memory that no file stands behind, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon: this needs Linux")


def measure(path: Path, color_mode: ColorMode) -> dict[str, float]:
    """Peak and seconds of one call; in a process of its own."""
    data = path.read_bytes()
    use_one_thread_per_call()
    recipe = Recipe(224, 224, color_mode=color_mode, decode="exact", max_pixels=1 << 30)
    out = np.empty(recipe.shape, np.uint8)
    small = io.BytesIO()
    Image.new("RGB", (9, 9)).save(small, read_header(data).format)
    decode_into(small.getvalue(), recipe, out, Scratch())
    before = peak = anonymous()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    decode_into(data, recipe, out, Scratch())
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {"peak": peak - before, "seconds": seconds}


def main() -> None:
    """Draws, decodes, prints."""
    if len(sys.argv) == 3:
        (color_mode,) = (mode for mode in COLOR_MODES if mode == sys.argv[2])
        print(json.dumps(measure(Path(sys.argv[1]), color_mode)))
        return
    megapixels = float(sys.argv[1]) if len(sys.argv) > 1 else 16.0
    print(f"{'':18} {'MB':>7} {'mode':>10} {'bytes a pixel':>14} {'reckoned':>9} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files(megapixels):
            path = Path(folder, "picture")
            path.write_bytes(data)
            header = read_header(data)
            for color_mode in COLOR_MODES:
                printed = subprocess.run(
                    [sys.executable, __file__, str(path), color_mode],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
                result = json.loads(printed)
                pixels = header.width * header.height
                print(
                    f"{name:18} {len(data) / 1e6:7.1f} {color_mode:>10} "
                    f"{result['peak'] / pixels:14.2f} "
                    f"{peak_bytes(header, data, color_mode, 1) / pixels:9.2f} "
                    f"{result['seconds']:8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
