"""What `encoding="auto"` takes where raw images fit the disk and not the memory."""

from __future__ import annotations

import pytest

from infeed.cache import Encoding
from infeed.cache.auto import Choice, choose_encoding


@pytest.mark.parametrize(
    ("images", "encoding", "reason"),
    [
        (400, "raw", "60.0 MB, which fit the disk and the 60.0 MB of free memory"),
        (
            401,
            "raw",
            "60.1 MB, which fit the disk; 60.0 MB of free memory hold half of them or more",
        ),
        (
            800,
            "raw",
            "120.0 MB, which fit the disk; 60.0 MB of free memory hold half of them or more",
        ),
        (801, "jpeg", "120.2 MB; 60.0 MB of free memory hold less than half of them"),
    ],
)
def test_auto_takes_jpeg_where_memory_holds_less_than_half_of_the_raw_images(
    images: int, encoding: Encoding, reason: str
) -> None:
    choice = choose_encoding(
        images=images,
        image_bytes=150_000,
        is_jpeg_possible=True,
        kept={},
        disk=1e9,
        limit=1e12,
        memory=60_000_000,
    )
    assert choice == Choice(encoding, f"raw images take {reason}")


def test_auto_takes_raw_where_no_jpeg_can_be_however_little_memory_there_is() -> None:
    choice = choose_encoding(
        images=1000,
        image_bytes=1000,
        is_jpeg_possible=False,
        kept={},
        disk=1e9,
        limit=1e9,
        memory=1,
    )
    assert choice == Choice("raw", "raw images take 1.0 MB, and JPEG has no transparency")
