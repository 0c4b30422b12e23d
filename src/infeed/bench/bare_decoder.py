"""Reads, decodes and resizes pictures, and does nothing else.

Run as `python -m infeed.bench.bare_decoder`, one process for each core, by `limit.py`: what such
processes reach together is the limit that the loader is measured against. Speaks lines on
standard input and output: gets one JSON object, says `ready`, waits for a line, decodes, and
prints `{"images": ..., "seconds": ...}`.
"""

from __future__ import annotations

import json
import os
import sys
from time import perf_counter

import cv2
import numpy as np
import simplejpeg

BUFFER_BYTES = 1 << 24


def main() -> None:
    """Serves one measurement; ends where whoever asked for it has ended."""
    parent = os.getppid()
    order = json.loads(sys.stdin.readline())
    height, width = int(order["height"]), int(order["width"])
    factors = (8, 4, 2) if order["reduced"] else ()
    paths = order["paths"]
    for path in paths:  # into the page cache, where the loader finds its files too
        read(path)
        if os.getppid() != parent:
            return
    # Each process has its core; OpenCV's own pool would only fight the others.
    cv2.setNumThreads(0)
    buffer = np.empty(BUFFER_BYTES, np.uint8)
    row = np.empty((height, width, 3), np.uint8)
    for path in paths[:8]:
        decode(read(path), buffer, row, factors)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    start = perf_counter()
    for path in paths:
        decode(read(path), buffer, row, factors)
        if os.getppid() != parent:
            return
    seconds = perf_counter() - start
    sys.stdout.write(json.dumps({"images": len(paths), "seconds": seconds}) + "\n")


def read(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def decode(picture: bytes, buffer: np.ndarray, row: np.ndarray, factors: tuple[int, ...]) -> None:
    """The least that turns these bytes into that row: no checks, no orientation.

    Raises:
        ValueError, cv2.error: the bytes are not in one of the usual forms.
    """
    height, width = row.shape[:2]
    if picture[:2] != b"\xff\xd8":
        image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    else:
        h, w = simplejpeg.decode_jpeg_header(picture, strict=False)[:2]
        # The loader's own shortcuts, written anew.
        coarse = bool(factors) and h > height and w > width
        factor = next((f for f in factors if -(-h // f) >= height and -(-w // f) >= width), 1)
        h, w = -(-h // factor), -(-w // factor)
        if buffer.nbytes < h * w * 3:
            buffer = np.empty(h * w * 3, np.uint8)
        image = simplejpeg.decode_jpeg(
            picture,
            "RGB",
            fastupsample=coarse,
            min_height=h,
            min_width=w,
            buffer=buffer,
            strict=False,
        )
    cv2.resize(image, (width, height), dst=row, interpolation=cv2.INTER_LINEAR)


if __name__ == "__main__":
    main()
