"""`decode_into`: the bytes of an image, decoded, turned upright and fitted into a batch's row."""

from __future__ import annotations

from time import perf_counter

import cv2
import numpy as np
import numpy.typing as npt

from infeed.errors import DecodeError
from infeed.sample.fit import fit_into, reduction, shrinks
from infeed.sample.header import Header, read_header
from infeed.sample.jpeg import decode_jpeg
from infeed.sample.orientation import UPRIGHT, swaps_sides, turn_upright
from infeed.sample.peak import FREE_BYTES, MOST_BYTES_A_PIXEL, peak_bytes
from infeed.sample.raster import decode_raster
from infeed.sample.recipe import Recipe
from infeed.sample.scratch import Scratch


def decode_into(
    data: bytes, recipe: Recipe, out: npt.NDArray[np.uint8], scratch: Scratch
) -> str | None:
    """Writes the image into `out`, and says how it was recovered, if it had to be.

    Args:
        data: the whole file: JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF.
        recipe: the form that is wanted.
        out: uint8 of `recipe.shape`, C-contiguous: the row of a batch. Undefined after an error.
        scratch: of the calling thread. A large picture waits for room in its budget.

    Returns:
        None, or a short stable note: "recovered: <why>".

    Raises:
        DecodeError: with one of `DECODE_REASONS`. Nothing else escapes for any `data`.
    """
    if out.shape != recipe.shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(
            f"out must be C-contiguous uint8 of shape {recipe.shape}, "
            f"got {out.dtype} of shape {out.shape}"
        )
    start = perf_counter()
    header = read_header(data)
    scratch.header_seconds += perf_counter() - start
    pixels = header.height * header.width
    if pixels > recipe.max_pixels:
        raise DecodeError(
            f"the header says {header.width} x {header.height} pixels, more than "
            f"{recipe.max_pixels:,}. If it is not a decompression bomb, make it smaller, or give a "
            "Loader a Recipe with more max_pixels.",
            reason="too_large",
        )
    least = 1
    smooth = True
    if header.format == "jpeg":
        sides = _upright_sides(header)
        least = reduction(*sides, recipe)
        smooth = recipe.decode == "exact" or not shrinks(*sides, recipe)
    scratch.source_pixels += pixels
    scratch.least_pixels += pixels // (least * least)
    factor = least if recipe.decode == "fast" else 1
    if pixels * MOST_BYTES_A_PIXEL > FREE_BYTES:
        peak = peak_bytes(header, data, recipe.color_mode, factor)
        if peak > FREE_BYTES:
            with scratch.budget.hold(peak):
                return _decode(data, header, factor, smooth, recipe, out, scratch)
    return _decode(data, header, factor, smooth, recipe, out, scratch)


def _decode(
    data: bytes,
    header: Header,
    factor: int,
    smooth: bool,
    recipe: Recipe,
    out: npt.NDArray[np.uint8],
    scratch: Scratch,
) -> str | None:
    note = None
    start = perf_counter()
    if header.format == "jpeg":
        image, note = decode_jpeg(data, header, recipe.color_mode, factor, scratch, smooth=smooth)
    else:
        image = decode_raster(data, header, recipe.color_mode, recipe.max_pixels)
    decoded = perf_counter()
    if header.orientation != UPRIGHT:
        image = turn_upright(image, header.orientation, scratch)
    height, width = _upright_sides(header)
    fit_into(image, height, width, recipe, out)
    scratch.decode_seconds += decoded - start
    scratch.fit_seconds += perf_counter() - decoded
    return note


def _upright_sides(header: Header) -> tuple[int, int]:
    """(height, width) as the picture is to be seen."""
    if swaps_sides(header.orientation):
        return header.width, header.height
    return header.height, header.width


def use_one_thread_per_call() -> None:
    """Tells OpenCV to work in the calling thread only. For the whole process.

    Whoever decodes on several threads calls it when starting them; else each call of OpenCV
    would ask a pool of its own for help, and the pools would fight for the cores. Importing
    infeed does not call it.
    """
    cv2.setNumThreads(0)
