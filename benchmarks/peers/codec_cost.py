"""What decoding and resizing alone cost in each library.

    python benchmarks/peers/codec_cost.py IMAGES [--size 224] [--count 200]

Milliseconds of the processor for an image, in the thread that calls and those that the library
starts, the least of some passes over files in memory; what this Python does not have is left out.
It says why peers tie: no loader can be cheaper than its codec. For each way it
also says how far its pixels are from simplejpeg's at full size with its defaults, as PSNR.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

PASSES = 4

Codec = Callable[[bytes], Any]
"""Of the bytes of a JPEG: the image, (size, size, 3), RGB, 0..255."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    paths = itertools.islice(sorted(arguments.images.glob("*.jpg")), arguments.count)
    files = [path.read_bytes() for path in paths]
    cv2.setNumThreads(0)
    exact = [np.asarray(_simplejpeg(arguments.size)(file), np.float32) for file in files[:32]]
    print("| codec | ms an image | PSNR, dB |\n| --- | --- | --- |")
    for name, codec in _codecs(arguments.size):
        images = [np.asarray(codec(file), np.float32) for file in files[:32]]
        error = float(np.mean([((a - b) ** 2).mean() for a, b in zip(images, exact, strict=True)]))
        psnr = f"{10 * math.log10(255**2 / error):.1f}" if error else "the same"
        print(f"| {name} | {_cost(codec, files):.3f} | {psnr} |", flush=True)


def _cost(codec: Codec, files: list[bytes]) -> float:
    least = math.inf
    for _ in range(PASSES):
        start = time.process_time()
        for file in files:
            codec(file)
        least = min(least, time.process_time() - start)
    return least / len(files) * 1e3


def _codecs(size: int) -> Iterator[tuple[str, Codec]]:
    yield "simplejpeg, cv2.resize", _simplejpeg(size)
    yield "the same at a reduced size", _simplejpeg(size, reduced=True)
    yield "the same, fastdct", _simplejpeg(size, reduced=True, fastdct=True)
    yield "the same, fastupsample", _simplejpeg(size, reduced=True, fastupsample=True)
    yield "cv2.imdecode, cv2.resize", _cv2(size)
    if importlib.util.find_spec("PIL"):
        yield "Pillow", _pillow(size)
    if importlib.util.find_spec("tensorflow"):
        yield "tf.io.decode_jpeg, tf.image.resize", _tensorflow(size, "")
        yield "the same, INTEGER_ACCURATE", _tensorflow(size, "INTEGER_ACCURATE")


def _simplejpeg(size: int, *, reduced: bool = False, **options: bool) -> Codec:
    def codec(file: bytes) -> Any:
        height, width = simplejpeg.decode_jpeg_header(file, strict=False)[:2]
        short = min(height, width) if reduced else 0
        factor = next((f for f in (8, 4, 2) if short >= size * f), 1)
        image = simplejpeg.decode_jpeg(
            file,
            "RGB",
            min_height=-(-height // factor),
            min_width=-(-width // factor),
            strict=False,
            **options,
        )
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)

    return codec


def _cv2(size: int) -> Codec:
    def codec(file: bytes) -> Any:
        image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB)
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)

    return codec


def _pillow(size: int) -> Codec:
    from PIL import Image

    def codec(file: bytes) -> Any:
        with Image.open(io.BytesIO(file)) as image:
            return image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)

    return codec


def _tensorflow(size: int, dct: str) -> Codec:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    def decode(file: Any) -> Any:
        return tf.image.resize(tf.io.decode_jpeg(file, 3, dct_method=dct), (size, size))

    graph = tf.function(decode, input_signature=[tf.TensorSpec((), tf.string)])
    return lambda file: graph(tf.constant(file))


if __name__ == "__main__":
    main()
