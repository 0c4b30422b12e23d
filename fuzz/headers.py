"""Fuzzes what reads the structure of a picture: `read_header`, and what rebuilds it for a decoder.

Only a `DecodeError` may escape, within a second of the processor, for any bytes; and what
`read_header` returns must make sense. Arguments: see the README beside it.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["infeed.sample"]):
    from infeed.errors import DECODE_REASONS, DecodeError
    from infeed.sample.av1 import read_frame_size
    from infeed.sample.avif import read_avif, strip_avif
    from infeed.sample.gif import read_gif, strip_gif
    from infeed.sample.header import read_header
    from infeed.sample.ifd import read_ifd
    from infeed.sample.png import read_png, strip_png
    from infeed.sample.tiff import read_tiff, strip_tiff

from PIL import Image

SECONDS_AT_MOST: Final = 1.0
_TAGS: Final = frozenset({0x0100, 0x0101, 0x0112, 0x0142, 0x0143})
# What `read_header` passes on, by the first bytes, and what a decoder's file is made with after it.
# Each is called whether or not `read_header` found the rest of the magic bytes right.
_READERS: Final[dict[bytes, tuple[Callable[[bytes], object], ...]]] = {
    b"\x89P": (
        read_png,
        partial(strip_png, keep_transparency=True),
        partial(strip_png, keep_transparency=False),
    ),
    b"GI": (read_gif, strip_gif),
    b"II": (read_tiff, strip_tiff),
    b"MM": (read_tiff, strip_tiff),
    b"\0\0": (read_avif, strip_avif),
    b"\x12\0": (read_frame_size,),
}


class FoundError(Exception):
    """A promise was broken; the input is kept by libFuzzer."""


def test_one(data: bytes) -> None:
    """Runs every reader on `data`.

    Raises:
        FoundError: a reader took too long, gave nonsense or a reason that is none.
        Exception: whatever else a reader let out.
    """
    # The processor's time: another program on the same core is no finding.
    start = time.thread_time()
    try:
        header = read_header(data)
    except DecodeError as error:
        _check_reason(error)
    else:
        if header.width < 1 or header.height < 1 or not 1 <= header.orientation <= 8:
            raise FoundError(f"nonsense: {header}")
    for read in _READERS.get(data[:2], ()):
        try:
            read(data)
        except DecodeError as error:
            _check_reason(error)
    read_ifd(data, 0, len(data), _TAGS)
    seconds = time.thread_time() - start
    if seconds > SECONDS_AT_MOST:
        raise FoundError(f"{seconds:.2f} s for {len(data)} bytes")


def _check_reason(error: DecodeError) -> None:
    if error.reason not in DECODE_REASONS:
        raise FoundError(f"no reason of ours: {error.reason!r}") from error


def seeds() -> Iterator[bytes]:
    """Small whole files of every format, so that the fuzzer need not invent their structure."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("RGB", "L", "RGBA"):
        image = Image.new(mode, (5, 3), 77)
        for format_ in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"):
            if (format_, mode) == ("JPEG", "RGBA"):
                continue
            variants: tuple[dict[str, Any], ...] = (
                {},
                {"exif": exif},
                {"save_all": True, "append_images": [image]},
            )
            for options in variants:
                if "save_all" in options and format_ in ("JPEG", "BMP"):
                    continue
                file = io.BytesIO()
                image.save(file, format_, **options)
                yield file.getvalue()
    for options in ({"progressive": True}, {"quality": 30, "restart_marker_blocks": 1}):
        file = io.BytesIO()
        Image.new("RGB", (20, 20)).save(file, "JPEG", **options)
        yield file.getvalue()
    file = io.BytesIO()
    Image.new("RGB", (5, 3)).save(file, "TIFF", big_tiff=True)
    yield file.getvalue()
    # What an item of an AVIF holds: a delimiter, a sequence header of 5 x 3, no frame.
    yield bytes.fromhex("12000a0918157fbda2021a0d08")


def main() -> None:
    """Writes the seeds into the corpus folder, the first argument, and hands over to libFuzzer."""
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup(sys.argv, test_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
