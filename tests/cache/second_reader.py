"""A reader of the cache written from `src/infeed/cache/README.md` alone: no import of infeed."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import xxhash


def store_id(description: dict[str, object]) -> bytes:
    text = json.dumps(description, sort_keys=True).encode("ascii")
    return hashlib.blake2b(text, digest_size=16, person=b"infeed store").digest()


def key_of_file(path: bytes, size: int, mtime_ns: int) -> bytes:
    text = str(size).encode() + b" " + str(mtime_ns).encode() + b" " + path
    return hashlib.blake2b(text, digest_size=16, person=b"infeed file").digest()


def read_cache(folder: Path) -> Iterator[tuple[Path, bytes, np.ndarray]]:
    """(store, key, image) of every image that counts."""
    assert json.loads((folder / "infeed-cache.json").read_text())["format"] == 1
    for store in sorted(path for path in folder.iterdir() if path.is_dir()):
        description = json.loads((store / "store.json").read_text())
        expected = store_id(description)
        assert store.name.endswith(expected.hex()[:12])
        recipe = description["recipe"]
        channels = {"grayscale": 1, "rgba": 4}.get(recipe["color_mode"], 3)
        shape = (recipe["height"], recipe["width"], channels)
        for path in sorted(store.glob("*.seg")):
            for key, data in read_segment(path.read_bytes(), expected, path.stem):
                if description["kept"]["encoding"] == "raw":
                    image = np.frombuffer(data, np.uint8).reshape(shape)
                else:
                    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
                    assert decoded is not None
                    image = decoded.astype(np.uint8)
                yield store, key, image


def read_segment(data: bytes, store: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    """(key, bytes of the image) of each entry that counts."""
    if data[:8] != b"infeedsg" or struct.unpack_from("<I", data, 8)[0] != 1:
        return
    if struct.unpack_from("<Q", data, 4088)[0] != xxhash.xxh3_64_intdigest(data[:4088]):
        return
    segment_id = data[16:32]
    if data[32:48] != store or segment_id.hex() != name:
        return
    entries, slot = struct.unpack_from("<II", data, 48)
    table, _, _ = struct.unpack_from("<QQQ", data, 56)
    seed = struct.unpack_from("<Q", segment_id, 0)[0]
    for number in range(entries):
        entry = data[table + 48 * number : table + 48 * (number + 1)]
        key, offset, length, _, checksum, check = struct.unpack("<16sQIIQQ", entry)
        if not length or check != xxhash.xxh3_64_intdigest(entry[:40], seed):
            continue
        if slot and length != slot:
            continue
        image = data[offset : offset + length]
        if xxhash.xxh3_64_intdigest(image) == checksum:
            yield key, image
