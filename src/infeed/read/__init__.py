"""BYTES: one protocol, `Storage`, and its implementations."""

from infeed.read.local import LocalStorage
from infeed.read.memory import MemoryStorage
from infeed.read.retry import RetryingStorage
from infeed.read.storage import Stamp, StampedStorage, Storage

__all__ = [
    "LocalStorage",
    "MemoryStorage",
    "RetryingStorage",
    "Stamp",
    "StampedStorage",
    "Storage",
]
