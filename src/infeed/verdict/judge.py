"""`judge`: from what was counted to what would help."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, final

from infeed.cache.encoding import JPEG_SHARE
from infeed.cache.format import ENTRY_BYTES
from infeed.cache.space import format_bytes
from infeed.verdict.facts import Facts
from infeed.verdict.verdict import Cause, Remedy, RemedyKind, Verdict

INPUT_SHARE: Final = 0.05
"""From this share of the training time on that is spent standing still, input is the limit."""

# Below it a change is not worth a word, and neither is the error of predicting it.
WORTH_IT = 1.05
# Where training does not wait: a change must do more than that to be worth the trouble.
WORTH_SHARING = 1.15

# Of all there is to have of the cores: from here on, threads only take from each other.
_SATURATED: Final = 0.85

# A process that has so much of all cores, and could not have more, waits for cores, not for disks.
_BUSY: Final = 0.25

# From so much processor's time a second on, steps compute on the processor: less is what it takes
# to keep an accelerator busy.
_COMPUTES: Final = 0.3

MOST_THREADS: Final = 32

# What an image from a cache takes of a thread: per image, and per byte. 18 to 20 µs at 150 kB raw,
# 250 µs as JPEG: `benchmarks/README.md`, rounded up.
_HIT_SECONDS: Final = 1e-5
_HIT_SECONDS_A_BYTE: Final = {"raw": 1e-10, "jpeg": 1.7e-9}
# Of a disk, for what memory does not hold of a cache.
_DISK_BYTES_A_SECOND: Final = 0.5e9

# Decoding JPEG at reduced size leaves the reading of its code words: with 1/2, 1/4, 1/8 of the
# sides 0.75, 0.66 and 0.58 of the time of full size, on photos of 0.2 to 10 megapixels at quality
# 90 (simplejpeg 1.9.0).
_ENTROPY_SHARE: Final = 0.55

_LIMIT_SLACK: Final = 10e6

# Source files with so many times the pixels that are trained are worth making smaller; to sides
# that are so much longer than the trained ones, for crops and other uses.
_TOO_LARGE: Final = 4.0
_ROOMY_SIDE: Final = 1.25

# The easier one where two promise about the same.
_EASE: Final[tuple[RemedyKind, ...]] = (
    "filled_cache",
    "threads",
    "uint8",
    "cache_limit",
    "reduced_decode",
    "cache",
    "smaller_files",
    "cheaper_augment",
    "faster_storage",
)
_ABOUT_THE_SAME: Final = 0.9
_WORTH_TYPING: Final = 1.5


def judge(facts: Facts) -> Verdict:
    """What holds training back, and what would help, best first.

    The model behind the prediction: input and steps overlap, so that an epoch takes the longest of
    three: the steps alone (the training time without its standing still), the making of the
    batches (thread seconds over threads), and the work of all cores (processor's time over cores).
    A remedy changes the second and the third; and the first, where the steps compute on the cores
    that it frees.
    """
    load = _Load(facts)
    groups = load.groups()
    total = sum(groups.values())
    if facts.stall_share < INPUT_SHARE:
        shared = [
            each
            for each in _ranked(load, WORTH_SHARING)
            if load.is_shared and each.kind not in ("threads", "faster_storage")
        ]
        cores = facts.cores if shared else 0
        remedies = tuple(shared[:1])
        return Verdict("model", "model", remedies, facts.stall_share, facts.wait_ms, 0.0, cores)
    remedies = tuple(_ranked(load, WORTH_IT))
    best = remedies[0].kind if remedies else None
    # What the best remedy would take away, if it is one thing; otherwise what takes most.
    cause: Cause
    if best == "cache_limit":
        cause, cost = "cache_too_small", groups["storage"] + groups["decode"]
    elif best == "uint8":
        cause, cost = "float32", groups["float32"]
    elif best == "cheaper_augment":
        cause, cost = "augment", groups["augment"]
    else:
        cause = max(groups, key=groups.__getitem__)
        cost = groups[cause]
    share = cost / total if total > 0 else 0.0
    return Verdict("input", cause, remedies, facts.stall_share, facts.wait_ms, share)


@final
@dataclass(frozen=True, slots=True)
class _Load:
    """What the making of the trained images takes, and what would become of an epoch."""

    facts: Facts

    def stage(self, *names: str) -> float:
        """Thread seconds of stages, for the images that were made."""
        return sum(self.facts.stage_seconds.get(name, 0.0) for name in names)

    def groups(self) -> dict[Cause, float]:
        """Thread seconds of what may be the cause."""
        stages = sum(self.facts.stage_seconds.values())
        return {
            "storage": self.stage("read"),
            "decode": self.stage("header", "decode", "fit"),
            "augment": self.stage("augment"),
            "float32": self.stage("convert"),
            "cache": self.stage("from_cache", "to_cache"),
            "engine": max(0.0, self.facts.busy_seconds - stages),
        }

    @property
    def is_crowded(self) -> bool:
        """Whether there was hardly anything left to have of the cores."""
        return self.facts.cpu_seconds >= _SATURATED * self.facts.cpu_capacity

    @property
    def is_busy(self) -> bool:
        """Whether it computes so much that it must share cores, not only ask now and then."""
        return self.facts.cpu_seconds >= _BUSY * self.facts.cores * self.facts.seconds

    @property
    def cores(self) -> float:
        """So many were there on average: who hardly computes gets one beside other programs."""
        facts = self.facts
        return facts.cpu_capacity / facts.seconds if self.is_busy else facts.cores

    @property
    def waiting(self) -> float:
        """Thread seconds in which a thread waited for storage, not for the processor."""
        facts = self.facts
        if self.is_crowded and self.is_busy:
            return 0.0  # whoever shares the cores waits for them, in reads as anywhere
        outside = max(0.0, facts.busy_seconds - facts.input_cpu_seconds)
        # What memory holds of a cache is not waited for: its threads wait for each other.
        kept = facts.set_images * facts.image_bytes
        is_on_disk = facts.memory_bytes is not None and kept > facts.memory_bytes
        names = ("read", "from_cache") if is_on_disk else ("read",)
        return min(self.stage(*names), outside)

    @property
    def is_shared(self) -> bool:
        """Whether steps and the making of batches take all cores, and the steps compute there."""
        facts = self.facts
        least = _COMPUTES * (facts.seconds - facts.stall_seconds)
        return self.is_crowded and self.is_busy and self.step_cpu >= least

    @property
    def step_cpu(self) -> float:
        """Processor's time of the steps."""
        return max(0.0, self.facts.cpu_seconds - self.facts.input_cpu_seconds)

    def gain(
        self,
        *,
        saved: float = 0.0,
        saved_waiting: float = 0.0,
        threads: float = 1.0,
        at_least: float = 0.0,
    ) -> float:
        """How many times as fast an epoch would be.

        Args:
            saved: thread seconds that would be left out, of `busy_seconds`.
            saved_waiting: those of them in which the processor had nothing to do.
            threads: how many times as many threads there would be.
            at_least: seconds that the making of the batches would take in any case.
        """
        facts = self.facts
        if facts.busy_seconds <= 0 or facts.made <= 0 or facts.seconds <= 0:
            return 1.0
        saved = min(saved, facts.busy_seconds)
        # Ahead of the training, or behind what was made ahead before.
        per_trained = facts.images / facts.made
        # Where training waits, the making of batches is what takes the time. Where it does not,
        # threads had nothing to do for a part of it.
        use = 1.0
        if facts.stall_share < INPUT_SHARE:
            use = facts.busy_seconds / (facts.busy_seconds + facts.idle_seconds)
        making = facts.seconds * use * (1 - saved / facts.busy_seconds) / threads
        made_before = facts.seconds * use
        # What of the processor's time would go with the thread seconds.
        computing = max(facts.busy_seconds - self.waiting, 1e-9)
        share = min(1.0, max(0.0, saved - saved_waiting) / computing)
        freed = share * facts.input_cpu_seconds * min(1.0, per_trained)
        computed = max(0.0, facts.cpu_seconds - freed) / self.cores
        steps = facts.seconds - facts.stall_seconds
        before = max(steps, made_before, facts.cpu_seconds / self.cores)
        if self.is_shared:
            # The steps were slow because the making of batches took their cores. On cores of their
            # own they take something between what they compute, spread over all of these, and
            # what they took: nobody knows what, so the middle of the two.
            steps = math.sqrt(steps * min(steps, self.step_cpu / self.cores))
        after = max(steps, making, computed, at_least)
        # Time that none of the three explains stays.
        other = max(0.0, facts.seconds - before)
        return max(1.0, facts.seconds / max(other + after, 1e-9))


def _ranked(load: _Load, worth: float) -> list[Remedy]:
    """Remedies that are worth a word: the easiest of the best first, then by gain."""
    found = sorted(
        (each for each in _remedies(load) if each.gain >= worth), key=lambda each: -each.gain
    )
    if not found:
        return []
    if load.is_shared:
        found = [
            replace(each, precision="roughly") if each.precision == "about" else each
            for each in found
        ]
    # What can be typed goes before what has to be bought, if it is worth something.
    typed = [each for each in found if each.kind != "faster_storage"]
    if typed and typed[0].gain >= min(_WORTH_TYPING, found[0].gain):
        found = [*typed, *(each for each in found if each.kind == "faster_storage")]
    best = [each for each in found if each.gain >= _ABOUT_THE_SAME * found[0].gain]
    first = min(best, key=lambda each: _EASE.index(each.kind))
    return [first, *(each for each in found if each is not first)]


def _remedies(load: _Load) -> Iterator[Remedy]:
    yield from _more_threads(load)
    yield from _keeping(load)
    yield from _smaller_pictures(load)
    convert, augment, read = load.stage("convert"), load.stage("augment"), load.stage("read")
    if load.facts.dtype == "float32":
        words = 'dtype="uint8" (with keras.layers.Rescaling in the model)'
        yield Remedy("uint8", words, load.gain(saved=convert))
    yield Remedy(
        "cheaper_augment",
        "a cheaper augment=, or augmentation layers in the model,",
        load.gain(saved=augment),
        "up to",
    )
    gain = load.gain(saved=read, saved_waiting=min(read, load.waiting))
    yield Remedy("faster_storage", "faster storage", gain, "up to")


def _more_threads(load: _Load) -> Iterator[Remedy]:
    """More of them, where cores are left, or where they wait for storage rather than compute."""
    facts = load.facts
    steps = max(facts.seconds - facts.stall_seconds, 1e-9)
    waits = load.waiting > 0.3 * facts.busy_seconds
    wanted, capacity = facts.cores, facts.cpu_capacity
    if waits:
        # Whoever waits asks for the processor now and then, and gets it beside other programs.
        capacity = facts.cores * facts.seconds
        # As many as would hide the waiting, in powers of two.
        wanted = max(wanted, math.ceil(facts.threads * min(facts.seconds / steps, MOST_THREADS)))
        wanted = 2 ** math.ceil(math.log2(wanted))
    wanted = min(wanted, MOST_THREADS, facts.tasks)
    if wanted <= facts.threads or facts.cpu_seconds >= _SATURATED * capacity:
        return
    # An augmentation in Python holds the interpreter's lock: no thread makes it faster.
    computing = max(facts.busy_seconds - load.waiting, 1e-9)
    serial = load.stage("augment") * min(1.0, facts.input_cpu_seconds / computing)
    # Of what other programs leave, this process has `cpu_seconds` already.
    at_least = max(serial, facts.seconds * facts.cpu_seconds / max(capacity, 1e-9))
    gain = load.gain(threads=wanted / facts.threads, at_least=at_least)
    # Whether a storage answers more requests at once, nobody knows before it is asked to.
    yield Remedy("threads", f"threads={wanted}", gain, "up to" if waits else "about")


def _keeping(load: _Load) -> Iterator[Remedy]:
    """A cache that holds everything."""
    facts = load.facts
    raw = facts.set_images * (facts.image_bytes + ENTRY_BYTES)
    encoding = "raw" if facts.cache is None else facts.cache.encoding
    if facts.cache is None and facts.disk_bytes is not None and raw > facts.disk_bytes:
        encoding = "jpeg"
    size = raw if encoding == "raw" else JPEG_SHARE * raw
    if facts.cache is None and facts.disk_bytes is not None and size > facts.disk_bytes:
        return
    misses = facts.made if facts.cache is None else facts.decoded
    if misses < 0.05 * facts.made:
        return
    reads = load.stage("read") if facts.can_skip_reads else 0.0
    left_out = reads + load.stage("header", "decode", "fit", "to_cache")
    hit = _HIT_SECONDS + _HIT_SECONDS_A_BYTE[encoding] * facts.image_bytes
    saved = max(0.0, left_out - misses * hit)
    at_least = 0.0
    if facts.memory_bytes is not None and size > facts.memory_bytes:
        at_least = facts.images * size / max(facts.set_images, 1) / _DISK_BYTES_A_SECOND
    waiting = min(reads, load.waiting)
    gain = load.gain(saved=saved, saved_waiting=waiting, at_least=at_least)
    if facts.cache is None:
        words = f"cache=FOLDER ({format_bytes(size)} for this set)"
        yield Remedy("cache", words, gain)
    elif not facts.cache.is_closed:
        yield Remedy("filled_cache", "the cache, once it is filled,", gain)
    elif facts.cache.limit_bytes is not None:
        # On top of what is there, which other recipes may have a part in. Segments are reserved
        # whole: a little more than their images take.
        seen = max(facts.cache.hits + facts.cache.misses, 1)
        lacking = 1.1 * size * facts.cache.not_stored / seen + _LIMIT_SLACK
        yield Remedy(
            "cache_limit", f'cache_limit="{_as_limit(facts.cache.limit_bytes + lacking)}"', gain
        )


def _smaller_pictures(load: _Load) -> Iterator[Remedy]:
    """Pictures with fewer pixels that nobody sees: decoded smaller, or kept smaller."""
    facts = load.facts
    if facts.decoded <= 0 or facts.source_pixels <= 0:
        return
    decode = load.stage("decode")
    reduced = facts.least_pixels / facts.source_pixels
    kept = _ENTROPY_SHARE + (1 - _ENTROPY_SHARE) * math.sqrt(reduced)
    if facts.is_exact and reduced < 0.9:
        yield Remedy("reduced_decode", 'decode="fast"', load.gain(saved=(1 - kept) * decode))
    pixels = facts.source_pixels / facts.decoded
    roomy = _ROOMY_SIDE**2 * facts.image_pixels
    if pixels >= _TOO_LARGE * roomy:
        # At its new size a picture is decoded whole.
        whole = decode if facts.is_exact else decode / kept
        side = round(_ROOMY_SIDE * math.sqrt(facts.image_pixels))
        yield Remedy(
            "smaller_files",
            f"source files of about {side} pixels a side instead of {math.sqrt(pixels):,.0f}",
            load.gain(saved=max(0.0, decode - whole * roomy / pixels)),
        )


def _as_limit(size: float) -> str:
    """A size as `cache_limit` takes it, rounded up."""
    if size >= 1e10:
        return f"{math.ceil(size / 1e9)}GB"
    return f"{math.ceil(size / 1e7) / 100:.2f}GB" if size >= 1e9 else f"{math.ceil(size / 1e6)}MB"
