"""GIF: its blocks up to the first picture, and a file that holds nothing else."""

from __future__ import annotations

from typing import Final

from infeed.errors import DecodeError

_EXTENSION: Final = 0x21
_GRAPHIC_CONTROL: Final = 0xF9
_PICTURE: Final = 0x2C
_END: Final = 0x3B

# What comes before a first picture is a handful of blocks, a comment or a profile of some
# hundred; the picture itself has one for each 255 bytes.
_MOST_BLOCKS_BEFORE: Final = 65_536
_MOST_BLOCKS_SKIPPED: Final = 1 << 18
_MOST_BLOCKS_WITHIN: Final = 1 << 20


def read_gif(data: bytes) -> tuple[int, int]:
    """(width, height) of the screen, or of the first picture where that reaches beyond it.

    Raises:
        DecodeError: `truncated` or `corrupt`.
    """
    at, _ = _find_picture(data)
    return _sides(data, at)


def strip_gif(data: bytes) -> bytes:
    """The GIF up to its first picture, without comments, profiles and later frames.

    Pillow adds up comments in a time that grows with the square of their length.

    Raises:
        DecodeError: `truncated` or `corrupt`.
    """
    at, control = _find_picture(data)
    width, height = _sides(data, at)
    screen = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    flags = data[at + 9]
    end = at + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
    for _ in range(_MOST_BLOCKS_WITHIN):
        # A file that ends here is left to the decoder, which knows whether pixels are missing.
        if end >= len(data):
            break
        length = data[end]
        end += 1 + length
        if not length:
            break
    else:
        raise DecodeError(
            f"the GIF's first picture has more than {_MOST_BLOCKS_WITHIN} blocks", reason="corrupt"
        )
    return b"".join(
        (data[:6], screen, data[10 : _colors_end(data)], control, data[at:end], b"\x3b")
    )


def _find_picture(data: bytes) -> tuple[int, bytes]:
    """Where the first picture begins, and the graphic control block that belongs to it."""
    if len(data) < 13:
        raise DecodeError(f"the GIF ends after {len(data)} bytes", reason="truncated")
    at = _colors_end(data)
    control = b""
    left = _MOST_BLOCKS_SKIPPED
    for _ in range(_MOST_BLOCKS_BEFORE):
        if at + 10 > len(data):
            raise DecodeError(
                f"the GIF ends after {len(data)} bytes, before its first picture",
                reason="truncated",
            )
        kind = data[at]
        if kind == _PICTURE:
            return at, control
        if kind == _END:
            raise DecodeError("the GIF ends without a picture", reason="corrupt")
        if kind != _EXTENSION:
            at += 1  # as all decoders do: what is no block is passed over
            continue
        if data[at + 1] == _GRAPHIC_CONTROL and data[at + 2] == 4 and not data[at + 7]:
            control = data[at : at + 8]
        at += 2
        while left and at < len(data) and data[at]:
            at += 1 + data[at]
            left -= 1
        if not left:
            break
        at += 1
    raise DecodeError("the GIF has too many blocks before its first picture", reason="corrupt")


def _sides(data: bytes, at: int) -> tuple[int, int]:
    left, top, width, height = (
        int.from_bytes(data[field : field + 2], "little") for field in range(at + 1, at + 9, 2)
    )
    right = max(int.from_bytes(data[6:8], "little"), left + width)
    bottom = max(int.from_bytes(data[8:10], "little"), top + height)
    if max(right, bottom) > 0xFFFF:
        raise DecodeError("the GIF's first picture lies beyond all screens", reason="corrupt")
    return right, bottom


def _colors_end(data: bytes) -> int:
    """Where the blocks begin: after the colours of the whole file, if it has any."""
    return 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
