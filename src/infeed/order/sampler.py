"""The order of an epoch, cut into batches: a pure function of (settings, n, epoch, number).

Words: the *global order* of an epoch is its n samples in the order of the whole job; the
*global batch* is count * batch_size samples of it, `step` after `step`; a shard's batch is
its share of the global batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np

from infeed.order.cursor import Cursor, Place
from infeed.order.cuts import REMAINDERS, Cuts, Remainder
from infeed.order.epoch_order import EpochOrder
from infeed.order.members import ClassMembers
from infeed.order.permutation import MAX_RECORDS
from infeed.order.plan import BatchPlan
from infeed.order.sampling import ClassWeights, Sampling, checked_sampling, is_by_class
from infeed.order.shard import Shard, check_keys, whole_number

# Counts up whenever the same settings would give another order: an order that was begun
# under one version must not be continued under another.
ORDER_VERSION: Final = 1

MAX_BATCH_SIZE: Final = (1 << 31) - 1


@final
@dataclass(frozen=True, slots=True)
class Sampler:
    """Says which records make up batch `number` of epoch `epoch`, for any of them, at once.

    Args:
        seed: any int; another seed is an unrelated order.
        batch_size: rows of a batch on *this* shard; the global batch is `shard.count` times it.
        sampling: the order of an epoch.
            "shuffle": every record once, in an order drawn anew for every epoch;
            "sequential": every record once, as the manifest has them;
            "replacement": n draws, each of any record with the same probability;
            "balanced", "sqrt", "effective", or a dict {class number: weight}: n samples in
            which every class has the same quota in every epoch, as `class_quotas` says.
            `plan` then needs the classes of the records. The dict is kept as sorted pairs.
        remainder: what becomes of the samples that do not fill a global batch.
            "keep": a shorter last batch, ceil(rest / count) rows on every shard;
            "drop": they are left out of this epoch;
            "pad": the last batch is filled up with rows of weight 0;
            "carry": they begin the next epoch's first batch, so that all batches are full.
        shard: this process among those that share the epochs.

    Raises:
        ValueError: a value is out of range.
        TypeError: a value is of the wrong type.

    Row i of shard w is sample i * count + w of the global batch. Every shard has the same
    number of steps, and batches of the same shape at every step. Where a shard has no sample
    left for a row ("keep", "pad"), the row continues at the beginning of the epoch's own
    global order, with weight 0: a real picture that does not count.

    "carry" cuts the endless stream in which sample s is sample s % n of epoch s // n; an
    epoch owns the global batches whose last sample is one of its own. So the steps of epochs
    differ by one at most, can be 0 where the global batch is larger than n, and the first
    batch of an epoch can hold samples of the epochs before.

    >>> sampler = Sampler(seed=7, batch_size=4, sampling="sequential", remainder="pad")
    >>> sampler.steps(10)
    3
    >>> plan = sampler.plan(10, epoch=0, number=2)
    >>> plan.positions.tolist(), plan.weights.tolist()
    ([8, 9, 0, 1], [1.0, 1.0, 0.0, 0.0])
    """

    seed: int = 0
    batch_size: int = 32
    sampling: Sampling | Mapping[int, float] | ClassWeights = "shuffle"
    remainder: Remainder = "keep"
    shard: Shard = field(default_factory=Shard)

    def __post_init__(self) -> None:
        seed = whole_number("Sampler.seed", self.seed)
        batch_size = whole_number("Sampler.batch_size", self.batch_size)
        if not 1 <= batch_size <= MAX_BATCH_SIZE:
            raise ValueError(
                f"Sampler.batch_size must be in [1, {MAX_BATCH_SIZE}], got {batch_size}"
            )
        if self.remainder not in REMAINDERS:
            known = ", ".join(map(repr, REMAINDERS))
            raise ValueError(f"Sampler.remainder must be one of {known}, got {self.remainder!r}")
        if not isinstance(self.shard, Shard):
            raise TypeError(f"Sampler.shard must be a Shard, got {self.shard!r}")
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "batch_size", batch_size)
        object.__setattr__(self, "sampling", checked_sampling(self.sampling))

    @property
    def needs_classes(self) -> bool:
        """Whether `plan` needs the classes of the records."""
        return is_by_class(self.stored_sampling)

    @property
    def stored_sampling(self) -> Sampling | ClassWeights:
        """`sampling` as it is kept: a name, or the sorted pairs of class weights."""
        assert not isinstance(self.sampling, Mapping)  # a mapping was turned into pairs
        return self.sampling

    @property
    def global_batch_size(self) -> int:
        """Samples of a full step, over all shards."""
        return self.batch_size * self.shard.count

    def steps(self, n: int, epoch: int = 0, *, phase: int = 0) -> int:
        """The number of batches of an epoch over n records, the same on every shard.

        Only "carry" looks at the epoch.

        Args:
            phase: how many samples of the epoch lie before its batch 0; with "carry", of the
                stream of all epochs. 0, except after a resume with another global batch size.

        Raises:
            ValueError: `n` is outside 0..2**62, `phase` outside 0..global_batch_size-1, or
                `epoch` is negative.
        """
        cuts, epoch, phase = self._cuts(n), _check_epoch(epoch), self._check_phase(phase)
        return cuts.steps(epoch, phase)

    def place(self, n: int, cursor: Cursor) -> Place:
        """Which batch comes next at a cursor: its epoch, its number, and the phase of the cuts.

        The cursor may have been saved with another batch size or number of shards.

        Raises:
            ValueError: no epoch has a batch, or the cursor lies beyond the end of its epoch (with
                "carry" there is no end: it goes on into the next), or its epoch beyond 2**62.

        >>> Sampler(batch_size=4).place(10, Cursor(epoch=2, sample=6))
        Place(epoch=2, number=1, phase=2)
        """
        _check_epoch(cursor.epoch)
        return self._cuts(n).place(cursor)

    def cursor(self, n: int, epoch: int, number: int, *, phase: int = 0) -> Cursor:
        """The place before batch `number` of an epoch; with number = steps, after its last.

        A place has one cursor: where no batch of an epoch is left it is the beginning of the
        next one, also where "drop" leaves samples out.

        Raises:
            IndexError: `number` is outside 0..steps(n, epoch, phase=phase).
            ValueError: `n`, `epoch` or `phase` is out of range, or no epoch has a batch.
        """
        cuts, epoch, phase = self._cuts(n), _check_epoch(epoch), self._check_phase(phase)
        number, steps = whole_number("number", number), cuts.steps(epoch, phase)
        if not 0 <= number <= steps:
            raise IndexError(f"number must be in [0, {steps}], got {number}")
        first_epoch, first = cuts.begin(epoch, number, phase)
        # After a short last batch, `first` lies beyond the epoch.
        return cuts.settled(Cursor(first_epoch, min(first, n)))

    def advance(self, n: int, cursor: Cursor, batches: int) -> Cursor:
        """The place `batches` batches later, over ends of epochs; no step is walked.

        Raises:
            ValueError: `batches` is negative, no epoch has a batch, or the cursor lies beyond
                the end of its epoch.

        >>> Sampler(batch_size=4).advance(10, Cursor(0, 8), 2)  # [8, 9], then [0, 1, 2, 3]
        Cursor(epoch=1, sample=4)
        """
        batches = whole_number("batches", batches)
        if batches < 0:
            raise ValueError(f"batches must be at least 0, got {batches}")
        return self._cuts(n).advance(cursor, batches)

    def locate(self, n: int, step: int) -> tuple[int, int]:
        """(epoch, number) of batch `step` of the stream of all epochs, one after the other.

        Raises:
            ValueError: `n` or `step` is out of range, or no epoch has a batch.

        >>> sampler = Sampler(batch_size=4, remainder="carry")
        >>> [sampler.steps(6, epoch) for epoch in (0, 1)]
        [1, 2]
        >>> [sampler.locate(6, step) for step in range(4)]
        [(0, 0), (1, 0), (1, 1), (2, 0)]
        """
        step = whole_number("step", step)
        if step < 0:
            raise ValueError(f"step must be 0 or more, got {step}")
        epoch, number, _ = self.place(n, self.advance(n, Cursor(), step))
        return epoch, number

    def plan(
        self,
        n: int,
        epoch: int,
        number: int,
        *,
        phase: int = 0,
        members: ClassMembers | None = None,
    ) -> BatchPlan:
        """Batch `number` of an epoch over n records, in time and memory O(batch_size).

        Args:
            phase: where the cuts between batches lie, as for `steps`.
            members: the classes of the n records, which samplings by class need.

        Raises:
            IndexError: `number` is outside 0..steps(n, epoch, phase=phase)-1.
            ValueError: `n` is outside 0..2**62, `epoch` too, or `phase` outside
                0..global_batch_size-1; `members` are missing or do not fit.
        """
        number = whole_number("number", number)
        return self.plans(n, epoch, range(number, number + 1), phase=phase, members=members)[0]

    def plans(
        self,
        n: int,
        epoch: int,
        numbers: range,
        *,
        phase: int = 0,
        members: ClassMembers | None = None,
    ) -> list[BatchPlan]:
        """`plan` of several batches, one after the other, for a fraction of the time of each.

        Args:
            numbers: of step 1, ascending.

        Raises:
            IndexError, ValueError: as `plan`.
        """
        if not numbers:
            return []
        n, epoch = _check_n(n), _check_epoch(epoch)
        cuts, phase = self._cuts(n), self._check_phase(phase)
        steps = cuts.steps(epoch, phase)
        for number in (numbers.start, numbers.stop - 1):
            if not 0 <= number < steps:
                raise IndexError(
                    f"epoch {epoch} over {n} records has {steps} batches of {self.batch_size} "
                    f"on each of {self.shard.count} shards: number must be in [0, {steps}), "
                    f"got {number}"
                )
        if numbers.step != 1:
            raise ValueError(f"numbers must be of step 1, got {numbers}")
        size, count = self.global_batch_size, self.shard.count
        # (weights, index, epochs, turns of padding) of each batch.
        frames: list[tuple[Any, Any, Any, Any]] = []
        for number in numbers:
            first_epoch, first = cuts.begin(epoch, number, phase)
            samples = size if self.remainder == "carry" else min(size, n - first)
            rows = -(-samples // count) if self.remainder == "keep" else self.batch_size
            offset = np.arange(
                self.shard.index, self.shard.index + rows * count, count, dtype=np.int64
            )
            if samples == size:
                weights = np.ones(rows, dtype=np.float32)
            else:
                weights = (offset < samples).astype(np.float32)
            # Past the end of an epoch: with "carry" the next one, otherwise padding.
            offset += first
            later, index = np.divmod(offset, n)
            if self.remainder == "carry":
                frames.append((weights, index, later + first_epoch, None))
            else:
                # Turns below 0, and each another one: no sample of the epoch has the same.
                padding = None if samples == size else np.where(later > 0, n - 1 - offset, 0)
                frames.append((weights, index, np.full(rows, epoch, np.int64), padding))
        order = EpochOrder(n, self.seed, self.stored_sampling, members)
        positions, turns = order.samples(
            np.concatenate([index for _, index, _, _ in frames]),
            np.concatenate([epochs for _, _, epochs, _ in frames]),
        )
        plans, end = [], 0
        for number, (weights, _, epochs, padding) in zip(numbers, frames, strict=True):
            begin, end = end, end + len(weights)
            turn = turns[begin:end]
            plans.append(
                BatchPlan(
                    epoch=epoch,
                    number=number,
                    phase=phase,
                    # Of its own: a batch that is kept must not keep the others' plans.
                    positions=positions[begin:end].copy(),
                    weights=weights,
                    sample_epochs=epochs,
                    turns=turn.copy() if padding is None else np.where(padding < 0, padding, turn),
                )
            )
        return plans

    def to_json(self) -> dict[str, Any]:
        """A dict that `json` can write and `from_json` reads."""
        sampling = self.stored_sampling
        return {
            "order_version": ORDER_VERSION,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "sampling": sampling if isinstance(sampling, str) else [list(p) for p in sampling],
            "remainder": self.remainder,
            "shard": self.shard.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sampler:
        """The sampler that `to_json` described.

        Raises:
            ValueError: it is not such a dict, or was written for another order version.
        """
        fields = {"order_version", "seed", "batch_size", "sampling", "remainder", "shard"}
        check_keys("Sampler", data, fields)
        if data["order_version"] != ORDER_VERSION:
            raise ValueError(
                f"the sampler was saved with order version {data['order_version']}, this infeed "
                f"has {ORDER_VERSION}: the same seed would give another order. Continue with the "
                "infeed that saved it, or start anew."
            )
        return cls(
            seed=data["seed"],
            batch_size=data["batch_size"],
            sampling=data["sampling"],
            remainder=data["remainder"],
            shard=Shard.from_json(data["shard"]),
        )

    def _cuts(self, n: int) -> Cuts:
        return Cuts(_check_n(n), self.global_batch_size, self.remainder)

    def _check_phase(self, phase: int) -> int:
        phase = whole_number("phase", phase)
        if not 0 <= phase < self.global_batch_size:
            raise ValueError(f"phase must be in [0, {self.global_batch_size}), got {phase}")
        return phase


def _check_n(n: int) -> int:
    n = whole_number("n", n)
    if not 0 <= n <= MAX_RECORDS:
        raise ValueError(f"n, the number of records, must be in [0, 2**62], got {n}")
    return n


def _check_epoch(epoch: int) -> int:
    epoch = whole_number("epoch", epoch)
    if not 0 <= epoch <= MAX_RECORDS:
        raise ValueError(f"epoch must be in [0, 2**62], got {epoch}")
    return epoch
