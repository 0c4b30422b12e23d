"""KEPT: fitted images on disk, so that later epochs decode nothing."""

from infeed.cache.auto import Choice, encoding_for
from infeed.cache.counts import Counts
from infeed.cache.encoding import can_be_jpeg, decode_jpeg_into, encode_jpeg
from infeed.cache.format import checksum
from infeed.cache.settings import Cache, Encoding, EncodingChoice, Identity
from infeed.cache.sources import Source
from infeed.cache.store import Store

__all__ = [
    "Cache",
    "Choice",
    "Counts",
    "Encoding",
    "EncodingChoice",
    "Identity",
    "Source",
    "Store",
    "can_be_jpeg",
    "checksum",
    "decode_jpeg_into",
    "encode_jpeg",
    "encoding_for",
]
