"""Makes the sets that the benchmarks read, out of a folder of photos or of drawn leaves.

    python benchmarks/photos.py small  OUT [--from FOLDER] [--count 1000]    as they are, 30 KB
    python benchmarks/photos.py medium OUT [--from FOLDER] [--count 1000]    twice as wide, 110 KB
    python benchmarks/photos.py large  OUT [--from FOLDER] [--count 48]      12 megapixels, 2.5 MB

Writes OUT/0000.jpg, ... and OUT.json, `[{"disease_class": 3, "image_id": "0000.jpg"}, ...]`. Sizes
hold for photos of 400x533 pixels and 28 KB. The same photos make the same files, with the same
library: the noise that a camera would have, without which an enlarged photo is far too smooth
and small, is drawn from the number of the photo. File times lie in the past, so that a cache takes
the files for settled.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from infeed.demo import draw_set

MODIFIED_AT = 1_700_000_000
CLASSES = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """How a photo is changed.

    Attributes:
        count: photos by default.
        pixels: of the enlarged photo, in height times width; 0 keeps the file as it is.
        noise: standard deviation of what is added to each value of 0..255.
        quality: of the JPEG.
    """

    count: int
    pixels: int
    noise: float
    quality: int


KINDS = {
    "small": Kind(1000, 0, 0, 0),
    "medium": Kind(1000, 800 * 1066, 3, 84),
    "large": Kind(48, 3000 * 4000, 4, 93),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--from", dest="source", type=Path, help="a folder of JPEG photos")
    parser.add_argument("--count", type=int)
    arguments = parser.parse_args()
    kind = KINDS[arguments.kind]
    count = kind.count if arguments.count is None else arguments.count
    with tempfile.TemporaryDirectory() as scratch:
        photos = arguments.source or drawn(Path(scratch), count)
        sizes = make_set(photos, arguments.out, kind, count)
    print(f"{len(sizes)} photos, {sum(sizes) / len(sizes) / 1000:.1f} KB each, in {arguments.out}")


def drawn(folder: Path, count: int) -> Path:
    """A folder of `count` leaves or more, 448x448 and about 30 KB each."""
    leaves = draw_set(folder / "leaves", train=max(count + 1, 100), validation=20, size=448)
    (leaves.train_images / leaves.truncated).unlink()
    return leaves.train_images


def make_set(source: Path, out: Path, kind: Kind, count: int) -> list[int]:
    """Writes the set and its manifest.

    Returns:
        The size of each file in bytes.

    Raises:
        ValueError: no file in `source` is a JPEG that decodes.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, int | str]] = []
    sizes: list[int] = []
    for path in sorted(source.iterdir()):
        if len(rows) == count:
            break
        encoded = path.read_bytes()
        photo = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        if encoded[:2] != b"\xff\xd8" or photo is None:
            continue
        if kind.pixels:
            encoded = enlarged(photo, kind, seed=len(rows))
        file = out / f"{len(rows):04}.jpg"
        file.write_bytes(encoded)
        os.utime(file, (MODIFIED_AT, MODIFIED_AT))
        rows.append({"disease_class": len(rows) % CLASSES, "image_id": file.name})
        sizes.append(len(encoded))
    if not rows:
        raise ValueError(f"{source} holds no JPEG that decodes; name a folder of photos")
    manifest = out.with_name(out.name + ".json")
    manifest.write_text(json.dumps(rows))
    os.utime(manifest, (MODIFIED_AT, MODIFIED_AT))
    return sizes


def enlarged(photo: np.ndarray, kind: Kind, *, seed: int) -> bytes:
    """The photo with about `kind.pixels` pixels and noise, as a JPEG.

    Args:
        photo: uint8 (height, width, 3), BGR.
    """
    height, width = photo.shape[:2]
    factor = math.sqrt(kind.pixels / (height * width))
    size = (round(width * factor), round(height * factor))
    larger = cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    random = np.random.default_rng(seed)
    larger += kind.noise * random.standard_normal(larger.shape, np.float32)
    noisy = np.clip(larger, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, kind.quality])[1])


if __name__ == "__main__":
    main()
