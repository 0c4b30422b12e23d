"""How fast an image set is fed, and how fast it could be."""

from infeed.bench.feed import BenchResult, EpochResult, bench
from infeed.bench.limit import decoder_limit

__all__ = ["BenchResult", "EpochResult", "bench", "decoder_limit"]
