"""`Facts`: what was counted while a model trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from infeed.cache import Encoding
from infeed.stages import PixelType


@final
@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What a cache did meanwhile.

    Attributes:
        encoding: how it keeps images.
        hits: images that came from it.
        misses: images that had to be decoded.
        not_stored: those of them that could not be put into it.
        is_closed: whether it takes no more, for whatever reason.
        limit_bytes: the limit, where that is the reason; otherwise None.
    """

    encoding: Encoding
    hits: int
    misses: int
    not_stored: int
    is_closed: bool
    limit_bytes: int | None

    @property
    def hit_rate(self) -> float:
        """Hits over all images; 0 where there were none."""
        images = self.hits + self.misses
        return self.hits / images if images else 0.0


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """An epoch, or a part of one, as it was counted. Seconds are wall time unless said otherwise.

    Attributes:
        seconds: of training; validation and compilation are not in it.
        stall_seconds: the part of it in which training stood still for want of a batch: one was
            asked for and not there, and no step was under way.
        steps: batches trained.
        images: images trained.
        made: images that the threads made meanwhile, which may be ahead of training.
        stage_seconds: thread seconds by stage, of `infeed.stream.meter.STAGES`, for `made` images.
        busy_seconds: thread seconds of whole tasks: all stages and what is between them.
        idle_seconds: thread seconds in which a thread had nothing to do, because the batches
            ahead were all made.
        input_cpu_seconds: processor's time of the stages.
        cpu_seconds: processor's time of the whole process.
        threads: how many make batches.
        tasks: so many threads would have something to do at once; more have not.
        cores: how many the process may use.
        free_cpu_seconds: what the machine's cores had left over for anybody; None: not known.
        decoded: images that were decoded, not taken from a cache.
        source_bytes: of their files.
        source_pixels: of their pictures, whole.
        least_pixels: those of them that decoding at reduced size has to make.
        image_pixels: of an image as it is trained, height times width.
        image_bytes: of it as uint8.
        dtype: of the batches.
        is_exact: whether pictures are decoded at full size whatever is needed of them.
        set_images: images of the whole set.
        cache: what the cache did; None without one.
        can_skip_reads: whether an image that a cache holds is not read again.
        disk_bytes: what a cache could take of the disk; None: not known.
        memory_bytes: what could keep files in memory; None: not known.

    Raises:
        ValueError: more waiting than time, or a number below 0.
    """

    seconds: float
    stall_seconds: float
    steps: int
    images: int
    made: int
    stage_seconds: Mapping[str, float]
    busy_seconds: float
    idle_seconds: float
    input_cpu_seconds: float
    cpu_seconds: float
    threads: int
    tasks: int
    cores: int
    free_cpu_seconds: float | None
    decoded: int
    source_bytes: int
    source_pixels: int
    least_pixels: int
    image_pixels: int
    image_bytes: int
    dtype: PixelType
    is_exact: bool
    set_images: int
    cache: CacheFacts | None
    can_skip_reads: bool
    disk_bytes: int | None
    memory_bytes: int | None

    def __post_init__(self) -> None:
        if self.threads < 1 or self.cores < 1:
            raise ValueError(f"threads and cores are at least 1, got {self.threads}, {self.cores}")
        if not 0 <= self.stall_seconds <= self.seconds:
            raise ValueError(
                f"stall_seconds must be in [0, seconds={self.seconds}], got {self.stall_seconds}"
            )
        if min(self.busy_seconds, self.idle_seconds, self.cpu_seconds, self.images) < 0:
            raise ValueError(f"nothing that was counted is below 0, got {self}")

    @property
    def cpu_capacity(self) -> float:
        """Processor's time that the process could have had: other programs had theirs."""
        most = self.cores * self.seconds
        if self.free_cpu_seconds is None:
            return most
        return min(most, self.cpu_seconds + self.free_cpu_seconds)

    @property
    def stall_share(self) -> float:
        """The share of the training time in which training stood still; 0 where there was none."""
        return self.stall_seconds / self.seconds if self.seconds > 0 else 0.0

    @property
    def wait_ms(self) -> float:
        """Milliseconds a step in which training stood still; 0 where there was no step."""
        return 1e3 * self.stall_seconds / self.steps if self.steps else 0.0
