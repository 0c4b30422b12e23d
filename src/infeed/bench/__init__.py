"""How fast an image set is fed, and how fast it could be."""

from infeed.bench.copies import copy_limit
from infeed.bench.feed import bench
from infeed.bench.limit import decoder_limit
from infeed.bench.machine import Machine
from infeed.bench.result import BenchResult, EpochResult, FitResult

__all__ = [
    "BenchResult",
    "EpochResult",
    "FitResult",
    "Machine",
    "bench",
    "copy_limit",
    "decoder_limit",
]
