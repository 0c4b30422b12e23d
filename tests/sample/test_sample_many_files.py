"""Some hundred valid files in every form we know how to write: each is what Pillow shows."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from infeed.sample.decode import decode_into
from infeed.sample.header import read_header
from infeed.sample.recipe import Recipe
from infeed.sample.scratch import Scratch

HERE = Path(__file__).parent
SIZES = ((1, 1), (1, 2), (2, 1), (3, 7), (16, 16), (17, 15), (53, 37))  # height, width
FILES: dict[str, Callable[[], bytes]] = {}


def load_mutants():
    spec = importlib.util.spec_from_file_location("mutants", HERE / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("mutants", module)
    spec.loader.exec_module(module)
    return module


mutants = load_mutants()


def drawn(height, width):
    """uint8 (height, width, 3): smooth, so that lossy formats keep it, and without symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1)
    return np.stack([red, green, (red + 2 * green) // 3], -1).astype(np.uint8)


def image(height, width, mode="RGB"):
    pixels = drawn(height, width)
    if mode == "I;16":
        return Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    if mode == "P":
        return Image.fromarray(pixels).quantize(32)
    made = Image.fromarray(pixels).convert({"RGBA": "RGB", "LA": "L"}.get(mode, mode))
    if mode in ("RGBA", "LA"):
        made.putalpha(Image.fromarray(255 - pixels[:, :, 1] // 2))
    return made


def saved(picture, format_, orientation=None, **options):
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def add(name, make, *arguments, **options):
    assert name not in FILES, name
    FILES[name] = functools.partial(make, *arguments, **options)


def save(height, width, mode, format_, **options):
    return saved(image(height, width, mode), format_, **options)


def name_of(size):
    return f"{size[1]}x{size[0]}"


# JPEG

for size in SIZES:
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        for name, options in (
            ("baseline", {}),
            ("progressive", {"progressive": True}),
            ("restarts", {"restart_marker_blocks": 1}),
        ):
            add(
                f"jpeg {sampling} {name} {name_of(size)}",
                save, *size, "RGB", "JPEG", subsampling=sampling, quality=90, **options,
            )  # fmt: skip
    for mode in ("L", "CMYK"):
        add(f"jpeg {mode} {name_of(size)}", save, *size, mode, "JPEG")
        add(f"jpeg {mode} progressive {name_of(size)}", save, *size, mode, "JPEG", progressive=True)
    add(f"jpeg rgb inside {name_of(size)}", save, *size, "RGB", "JPEG", keep_rgb=True)

add(
    "jpeg 4:4:0",
    lambda: simplejpeg.encode_jpeg(drawn(40, 64), quality=90, colorsubsampling="440"),
)
add("jpeg 4:1:0", mutants.encode_410, np.arange(512).reshape(16, 32) % 160 + 40)
add("jpeg best quality", save, 40, 64, "RGB", "JPEG", quality=100, subsampling=0)
add("jpeg own tables", save, 40, 64, "RGB", "JPEG", optimize=True)
for path in sorted(HERE.glob("golden/*.jpg")):
    add(f"jpeg {path.stem}", path.read_bytes)


def with_adobe(transform):
    """A CMYK JPEG whose Adobe marker says 2: YCCK; or that has none."""
    data = save(40, 64, "CMYK", "JPEG", quality=95)
    at = data.find(b"Adobe")
    if transform is None:
        return data[: at - 4] + data[at + 12 :]
    return data[: at + 11] + bytes([transform]) + data[at + 12 :]


add("jpeg ycck", with_adobe, 2)
add("jpeg cmyk without adobe", with_adobe, None)


# PNG, all the kinds there are, which Pillow cannot all write

PASSES = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
    (1, 0, 2, 1),
)  # fmt: skip


def png(height, width, depth, color_type, interlaced, *, transparent=False):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color_type]
    pixels = drawn(height, width)
    values = np.concatenate([pixels, 255 - pixels[:, :, :1] // 2], -1)
    values = values[:, :, [0, 3] if color_type == 4 else slice(channels)].astype(np.uint32)
    values = values * 257 if depth == 16 else values >> (8 - depth)
    rows = b""
    for top, left, down, across in PASSES if interlaced else ((0, 0, 1, 1),):
        part = values[top::down, left::across]
        if not part.size:
            continue
        for row in part.reshape(len(part), -1):
            if depth == 16:
                rows += b"\0" + row.astype(">u2").tobytes()
            else:
                bits = "".join(f"{value:0{depth}b}" for value in row.tolist())
                bits += "0" * (-len(bits) % 8)
                rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    head = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced)
    chunks = [mutants.png_chunk(b"IHDR", head)]
    if color_type == 3:
        colors = np.random.default_rng(1).integers(0, 256, (1 << depth, 3), dtype=np.uint8)
        chunks.append(mutants.png_chunk(b"PLTE", colors.tobytes()))
    if transparent:
        content = bytes(range(1 << depth)) if color_type == 3 else b"\0\1" * channels
        chunks.append(mutants.png_chunk(b"tRNS", content))
    chunks += [mutants.png_chunk(b"IDAT", zlib.compress(rows)), mutants.png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


KINDS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
for color_type, depths in KINDS.items():
    for depth in depths:
        for interlaced in (0, 1):
            for size in ((1, 1), (5, 3), (40, 65)):
                kind = f"png type {color_type}, {depth} bits, interlace {interlaced}"
                add(f"{kind} {name_of(size)}", png, *size, depth, color_type, interlaced)
        if color_type in (0, 2, 3):
            kind = f"png type {color_type}, {depth} bits, transparent colour"
            add(kind, png, 40, 65, depth, color_type, 0, transparent=True)

# The others

for size in SIZES:
    for mode in ("RGB", "RGBA"):
        add(f"webp {mode} {name_of(size)}", save, *size, mode, "WEBP", quality=95)
        add(
            f"webp {mode} lossless {name_of(size)}",
            save, *size, mode, "WEBP", lossless=True, exact=True,
        )  # fmt: skip
    for mode in ("RGB", "L", "1", "P", "RGBA"):
        add(f"bmp {mode} {name_of(size)}", save, *size, mode, "BMP")
    for mode in ("L", "1", "P"):
        add(f"gif {mode} {name_of(size)}", save, *size, mode, "GIF")
    add(f"avif {name_of(size)}", save, *size, "RGB", "AVIF", quality=95, speed=10)
for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:0:0"):
    options = {"quality": 95, "subsampling": sampling, "speed": 10}
    add(f"avif {sampling}", save, 40, 64, "RGB", "AVIF", **options)
    add(f"avif {sampling} alpha", save, 40, 64, "RGBA", "AVIF", **options)
add("bmp run lengths", mutants.run_length_bmp, 40, 64)


def bmp_16(masks=()):
    """A BMP with 5 bits a colour, or as many as the masks say."""
    pixels = (np.arange(40 * 64) * 137 % 65536).astype("<u2").tobytes()
    start = 54 + 4 * len(masks)
    head = struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    packing = 3 if masks else 0
    info = struct.pack("<IiiHHIIiiII", 40, 64, 40, 1, 16, packing, len(pixels), 0, 0, 0, 0)
    return b"BM" + head + info + struct.pack(f"<{len(masks)}I", *masks) + pixels


add("bmp 16 bits, 5 5 5", bmp_16)
add("bmp 16 bits, 5 6 5", bmp_16, (0xF800, 0x07E0, 0x001F))
add("gif interlaced", save, 40, 64, "P", "GIF", interlace=1)
add("gif transparent", save, 40, 64, "P", "GIF", transparency=3)
add("webp animated", lambda: mutants.originals()["webp animated"])
add("gif animated", lambda: mutants.originals()["gif animated"])
add("png animated", lambda: mutants.originals()["png animated"])
add("avif animated", lambda: mutants.originals()["avif animated"])

for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma", "jpeg"):
    if compression == "zstd" and not mutants.HAS_ZSTD:
        continue
    for mode in ("RGB", "L", "RGBA", "CMYK", "P", "LA", "I;16"):
        if compression == "jpeg" and mode not in ("RGB", "L"):
            continue
        for size in ((1, 1), (37, 53)):
            add(
                f"tiff {mode} {compression} {name_of(size)}",
                save, *size, mode, "TIFF", compression=compression,
            )  # fmt: skip
for compression in ("raw", "packbits", "group3", "group4", "tiff_ccitt", "tiff_lzw"):
    add(f"tiff 1 {compression}", save, 37, 53, "1", "TIFF", compression=compression)
add("tiff predictor", save, 37, 53, "RGB", "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
add("tiff rows apart", save, 37, 53, "RGB", "TIFF", compression="tiff_lzw", tiffinfo={278: 3})
add("tiff raw rows apart", save, 37, 53, "RGB", "TIFF", tiffinfo={278: 3})
add("tiff big", save, 37, 53, "RGB", "TIFF", big_tiff=True)
add("tiff by opencv", lambda: cv2.imencode(".tiff", drawn(37, 53))[1].tobytes())


def tiff_by_hand(order, *, tiled=False, planes=False):
    """An RGB TIFF 48 x 40 in tiles, or with its colours apart, which Pillow does not write."""
    pixels = drawn(40, 48)
    if planes:
        parts = [pixels[:, :, channel].tobytes() for channel in range(3)]
    elif tiled:
        padded = np.zeros((48, 48, 3), np.uint8)
        padded[:40] = pixels
        parts = [
            padded[top : top + 16, left : left + 16].tobytes()
            for top in range(0, 48, 16)
            for left in range(0, 48, 16)
        ]
    else:
        parts = [pixels.tobytes()]
    tags = {256: [48], 257: [40], 258: [8, 8, 8], 259: [1], 262: [2], 277: [3]}
    places = np.cumsum([8, *map(len, parts)])[:-1].tolist()
    tags |= {284: [2 if planes else 1]}
    if tiled:
        tags |= {322: [16], 323: [16], 324: places, 325: [*map(len, parts)]}
    else:
        tags |= {273: places, 278: [40], 279: [*map(len, parts)]}
    at = 8 + sum(map(len, parts))
    beyond, entries = b"", b""
    beyond_at = at + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, letter = (4, "I") if tag in (273, 279, 324, 325) else (3, "H")
        content = struct.pack(f"{order}{len(tags[tag])}{letter}", *tags[tag])
        if len(content) > 4:
            shown = struct.pack(order + "I", beyond_at + len(beyond))
            beyond += content
        else:
            shown = content.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(tags[tag])) + shown
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "I", at)
    count = struct.pack(order + "H", len(tags))
    return head + b"".join(parts) + count + entries + bytes(4) + beyond


for order, name in (("<", "little"), (">", "big")):
    add(f"tiff {name} words", tiff_by_hand, order)
    add(f"tiff {name} words, tiled", tiff_by_hand, order, tiled=True)
    add(f"tiff {name} words, colours apart", tiff_by_hand, order, planes=True)

# Held in all ways

for orientation in range(1, 9):
    for name, mode, format_, options in (
        ("jpeg", "RGB", "JPEG", {"quality": 95}),
        ("jpeg progressive", "RGB", "JPEG", {"quality": 95, "progressive": True}),
        ("jpeg grey", "L", "JPEG", {"quality": 95}),
        ("png", "RGB", "PNG", {}),
        ("png alpha", "RGBA", "PNG", {}),
        ("webp", "RGB", "WEBP", {"quality": 95}),
        ("webp lossless", "RGBA", "WEBP", {"lossless": True, "exact": True}),
        ("tiff", "RGB", "TIFF", {}),
        ("tiff lzw", "RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("avif", "RGB", "AVIF", {"quality": 95, "speed": 10}),
    ):
        add(
            f"{name} orientation {orientation}",
            save, 40, 64, mode, format_, orientation=orientation, **options,
        )  # fmt: skip


def pillow_shows(data):
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if shown.mode.startswith("I;16"):
        shown = Image.fromarray((np.asarray(shown) >> 8).astype(np.uint8))
    if shown.mode == "P":
        shown.info.pop("transparency", None)  # else Pillow warns that it is dropped
    return np.asarray(shown.convert("RGB"))


@pytest.mark.parametrize("name", FILES)
def test_a_valid_file_is_what_pillow_shows(name):
    data = FILES[name]()
    expected = pillow_shows(data)
    recipe = Recipe(*expected.shape[:2])
    out = np.empty(recipe.shape, np.uint8)
    assert decode_into(data, recipe, out, Scratch()) is None
    assert np.abs(out.astype(int) - expected).mean() <= 2


def test_they_are_three_hundred_different_files():
    assert len({hashlib.sha256(make()).digest() for make in FILES.values()}) >= 300


@pytest.mark.parametrize("name", [name for name in FILES if "orientation" in name])
def test_red_and_green_are_at_the_sides_where_they_are_to_be_seen(name):
    """Without Pillow: as stored, a picture is reddest at its right and greenest at its bottom."""
    orientation = int(name[-1])
    sides = (40, 64) if orientation < 5 else (64, 40)
    out = np.empty((*sides, 3), np.uint8)
    decode_into(FILES[name](), Recipe(*sides), out, Scratch())
    red, green = {
        1: ("right", "bottom"), 2: ("left", "bottom"), 3: ("left", "top"), 4: ("right", "top"),
        5: ("bottom", "right"), 6: ("bottom", "left"), 7: ("top", "left"), 8: ("top", "right"),
    }[orientation]  # fmt: skip
    edges = {"left": out[:, :4], "right": out[:, -4:], "top": out[:4], "bottom": out[-4:]}
    reddest, greenest = (
        max(edges, key=lambda edge: edges[edge][..., channel].mean()) for channel in (0, 1)
    )
    if "grey" in name:  # which mixes the two; green counts most
        assert greenest == green
    else:
        assert (reddest, greenest) == (red, green)


def test_the_header_is_right_about_every_file():
    for name, make in FILES.items():
        data = make()
        header = read_header(data)
        assert header.format == name.split()[0], name
        sides = (header.width, header.height)
        if header.format == "tiff" and header.orientation >= 5:
            sides = sides[::-1]  # Pillow tells of a TIFF as it is to be seen
        assert sides == Image.open(io.BytesIO(data)).size, name
