"""`read_frame_size`: how large the frames of an AV1 stream are, from its sequence header."""

from __future__ import annotations

from typing import Final

_SEQUENCE_HEADER: Final = 1
_MOST_UNITS: Final = 16


def read_frame_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that frames have at most; None where there is no whole sequence header.

    Args:
        data: the beginning of the stream, as an item of an AVIF holds it.

    As in the AV1 Bitstream & Decoding Process Specification, 5.3 to 5.5.
    """
    at = 0
    for _ in range(_MOST_UNITS):
        if at + 2 > len(data):
            return None
        kind, has_extension, has_size = data[at] >> 3 & 15, data[at] & 4, data[at] & 2
        at += 2 if has_extension else 1
        size = len(data) - at
        if has_size:
            size = shift = 0
            for place in range(at, min(at + 8, len(data))):
                size |= (data[place] & 0x7F) << shift
                shift += 7
                at = place + 1
                if not data[place] & 0x80:
                    break
        if kind == _SEQUENCE_HEADER:
            return _sequence_size(_Bits(data[at : at + size]))
        at += size
    return None


class _Bits:
    """Bits from the first on; zeros after the last."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[:256], "big")
        self._left = len(data[:256]) * 8

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            return 0
        return self._value >> self._left & ((1 << count) - 1)

    @property
    def is_over(self) -> bool:
        return self._left < 0


def _sequence_size(bits: _Bits) -> tuple[int, int] | None:
    bits.read(4)  # profile, whether it is a still picture
    if bits.read(1):  # reduced
        bits.read(5)
    else:
        _skip_operation(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    return None if bits.is_over else (width, height)


def _skip_operation(bits: _Bits) -> None:
    """Timing and operating points, which stand before the size where it is no still picture."""
    delay_bits = 0
    if bits.read(1):  # timing
        bits.read(64)
        if bits.read(1):  # equal intervals, and how many ticks, in a code of variable length
            zeros = 0
            while not bits.is_over and not bits.read(1):
                zeros += 1
            bits.read(min(zeros, 32))
        if bits.read(1):  # a model of the decoder
            delay_bits = bits.read(5) + 1
            bits.read(42)
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)
