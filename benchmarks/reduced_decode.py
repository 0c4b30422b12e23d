"""What decoding at reduced size costs in likeness and saves in time, over a folder of photos.

    python benchmarks/reduced_decode.py FOLDER [--size 224] [--limit 1000] [--enlarge 3]

The yardstick is the whole picture, shrunk by the mean over each area: what has no aliasing at all.
For `decode="fast"` and `"exact"`, with the filters bilinear and area: PSNR and SSIM against it
(median and worst photo), and how many images a second one thread decodes. SSIM is that of Wang,
Bovik, Sheikh and Simoncelli (2004), on luma, with their window of 11x11 and sigma 1.5. Also the
mean absolute difference of "fast" from "exact" (0..255 per channel).
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter

import cv2
import numpy as np
import numpy.typing as npt

from infeed.errors import DecodeError
from infeed.read.local import LocalStorage
from infeed.sample.decode import decode_into, use_one_thread_per_call
from infeed.sample.fit import reduction
from infeed.sample.header import read_header
from infeed.sample.orientation import swaps_sides
from infeed.sample.recipe import Interpolation, Recipe
from infeed.sample.scratch import Scratch

ROUNDS = 3


def read_photos(folder: str, limit: int) -> list[bytes]:
    """The files of the folder that can be decoded."""
    storage = LocalStorage(folder)
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    photos = []
    for name in names[:limit]:
        data = storage.read(name)
        try:
            read_header(data)
        except DecodeError as error:
            print(f"passed over: {name}: {error}")
        else:
            photos.append(data)
    return photos


def enlarge(data: bytes, factor: int) -> bytes:
    """The photo as a camera with `factor` times the pixels a side might have stored it."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LANCZOS4)
    return bytes(cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def decode_all(photos: list[bytes], recipe: Recipe) -> tuple[npt.NDArray[np.uint8], float]:
    """The fitted images, and the seconds that the fastest of some rounds took."""
    images = np.zeros((len(photos), *recipe.shape), np.uint8)
    scratch = Scratch()
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for row, data in zip(images, photos, strict=True):
            decode_into(data, recipe, row, scratch)
        best = min(best, time.perf_counter() - started)
    return images, best


def factor_of(data: bytes, recipe: Recipe) -> int:
    """By how much "fast" has the decoder reduce this photo."""
    header = read_header(data)
    if header.format != "jpeg":
        return 1
    sides = header.height, header.width
    if swaps_sides(header.orientation):
        sides = sides[::-1]
    return reduction(*sides, recipe)


def psnr(image: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> float:
    """Decibels; infinite where the two are the same."""
    return float(cv2.PSNR(image, truth))


def ssim(image: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> float:
    """Structural similarity of the two lumas, from -1 to 1."""
    x, y = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float64) for each in (image, truth))

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # Only windows that lie in the picture count.
        smooth: npt.NDArray[np.float64] = cv2.GaussianBlur(values, (11, 11), 1.5)
        return smooth[5:-5, 5:-5]

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return float(likeness.mean())


def tell_likeness(name: str, images: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> None:
    pairs = list(zip(images, truth, strict=True))
    signal, structure = [psnr(*pair) for pair in pairs], [ssim(*pair) for pair in pairs]
    print(
        f"{name:>28}: PSNR median {np.median(signal):.1f}, worst {min(signal):.1f} dB; "
        f"SSIM median {np.median(structure):.4f}, worst {min(structure):.4f}"
    )


def compare(
    photos: list[bytes],
    size: int,
    interpolation: Interpolation,
    truth: npt.NDArray[np.uint8],
) -> None:
    """Prints likeness and speed at one filter."""
    fast = Recipe(size, size, interpolation=interpolation)
    exact = Recipe(size, size, interpolation=interpolation, decode="exact")
    fast_images, fast_seconds = decode_all(photos, fast)
    exact_images, exact_seconds = decode_all(photos, exact)
    differences = np.array(
        [
            np.abs(one.astype(np.int16) - other).mean()
            for one, other in zip(fast_images, exact_images, strict=True)
        ]
    )
    factors = Counter(factor_of(data, fast) for data in photos)
    shares = ", ".join(f"1/{factor}: {count}" for factor, count in sorted(factors.items()))
    print(
        f"{interpolation:>9} {size}x{size}  difference mean {differences.mean():.2f}, "
        f"99th percentile {np.percentile(differences, 99):.2f}, worst {differences.max():.2f}; "
        f"fast {len(photos) / fast_seconds:.0f} images/s, "
        f"exact {len(photos) / exact_seconds:.0f}, "
        f"ratio {exact_seconds / fast_seconds:.2f}  ({shares})"
    )
    for name, images in (("fast", fast_images), ("exact", exact_images)):
        tell_likeness(f"{name}, {interpolation}, to the area mean", images, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", help="a folder of photos")
    parser.add_argument("--size", type=int, default=224, help="sides of the result")
    parser.add_argument("--limit", type=int, default=1000, help="photos at most")
    parser.add_argument("--enlarge", type=int, default=1, help="enlarge the photos beforehand")
    arguments = parser.parse_args()
    use_one_thread_per_call()
    photos = read_photos(arguments.folder, arguments.limit)
    if arguments.enlarge > 1:
        photos = [enlarge(data, arguments.enlarge) for data in photos]
    print(f"{len(photos)} photos, {np.mean([len(data) for data in photos]) / 1024:.0f} KiB each")
    size = arguments.size
    truth, _ = decode_all(photos, Recipe(size, size, interpolation="area", decode="exact"))
    for interpolation in ("bilinear", "area"):
        compare(photos, size, interpolation, truth)


if __name__ == "__main__":
    main()
