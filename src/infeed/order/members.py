"""Which records belong to which class, grouped once for all epochs."""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from infeed.order.keyed import check_integers
from infeed.order.quotas import class_quotas
from infeed.order.sampling import ClassWeights, Sampling


@final
class ClassMembers:
    """The positions of the records of each class, and the quotas of samplings over them.

    Args:
        labels: integers (n,), the class number of each record, in 0..num_classes-1; not kept.
        num_classes: how many classes there are, also those without a record; by default as
            many as the largest label asks for.

    Attributes:
        counts: int64 (num_classes,), the number of records of each class; read-only.
        starts: int64 (num_classes,), where each class begins in `positions`; read-only.
        positions: int32, or int64 from 2**31 records on, (n,): the records of class 0,
            ascending, then those of class 1, and so on; read-only.

    Raises:
        ValueError: a label is negative, or not below `num_classes`; there is none.
        TypeError: the labels are no integers.

    >>> members = ClassMembers([1, 0, 1, 1])
    >>> members.counts.tolist(), members.positions.tolist()
    ([1, 3], [1, 0, 2, 3])
    """

    __slots__ = ("_quotas", "counts", "positions", "starts")

    def __init__(self, labels: npt.ArrayLike, num_classes: int | None = None) -> None:
        table = np.asarray(labels)
        check_integers("ClassMembers", table)
        if table.ndim != 1 or not table.size:
            raise ValueError(f"ClassMembers needs one label a record, got shape {table.shape}")
        smallest, largest = int(table.min()), int(table.max())
        if num_classes is None:
            num_classes = largest + 1
        if smallest < 0 or largest >= num_classes:
            wrong = smallest if smallest < 0 else largest
            raise ValueError(f"labels must be in [0, {num_classes}), got {wrong}")
        self.counts = np.bincount(table, minlength=num_classes).astype(np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        order = np.argsort(table, kind="stable")
        self.positions = order.astype(np.int32) if len(order) < 1 << 31 else order
        for array in (self.counts, self.starts, self.positions):
            array.flags.writeable = False
        self._quotas: dict[Sampling | ClassWeights, _Quotas] = {}

    def __len__(self) -> int:
        """The number of records."""
        return len(self.positions)

    def quotas(
        self, sampling: Sampling | ClassWeights
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """How many samples of an epoch each class gets, and where they end, by `class_quotas`.

        Returns:
            int64 (num_classes,) each, read-only: the quotas, and their cumulative sums, the
            last of which is n. Computed once for a sampling, and kept.

        Raises:
            ValueError: the sampling does not fit the classes.
        """
        quotas = self._quotas.get(sampling)
        if quotas is None:
            exact = np.array(class_quotas(sampling, self.counts.tolist()), dtype=np.int64)
            quotas = exact, np.cumsum(exact)
            for array in quotas:
                array.flags.writeable = False
            self._quotas[sampling] = quotas
        return quotas


_Quotas = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
