"""`SetUse`: which image sets have used a store, and how often they found what they looked for."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, final

from infeed.cache.counts import Counter, Counts
from infeed.cache.folder import SETS_FOLDER, STORE_FILE
from infeed.manifest import Manifest
from infeed.whole_file import write_json


@final
@dataclass(frozen=True, slots=True)
class SetUse:
    """What is kept of the uses of one set, for people: best effort, nothing depends on it.

    Several processes that end at the same moment may lose the counts of one.

    Attributes:
        fingerprint: of the manifest.
        source: what the manifest was read from; absolute where it is a file or folder.
        records: of the manifest.
        uses: how often it was opened and something was found or stored.
        last_used: when it was closed last, ISO 8601, UTC.
        last: what happened in that use.
        total: what happened in all uses.
    """

    fingerprint: str
    source: str
    records: int
    uses: int
    last_used: str
    last: Counts
    total: Counts

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `asdict` gave.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        given = {field.name: value[field.name] for field in fields(cls)}
        for name in ("last", "total"):
            given[name] = Counts(**given[name])
            if not all(isinstance(count, int) for count in asdict(given[name]).values()):
                raise ValueError(f"counts are whole numbers, got {given[name]}")
        for name, kind in (("source", str), ("last_used", str), ("records", int), ("uses", int)):
            if not isinstance(given[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}: {given[name]!r}")
        return cls(**given)


def read_uses(store: Path) -> list[SetUse]:
    """The sets that have used a store, the latest first; what is damaged is left out."""
    uses = []
    with contextlib.suppress(OSError):
        for path in (store / SETS_FOLDER).glob("*.json"):
            use = _read(path)
            if use is not None and use.fingerprint == path.stem:
                uses.append(use)
    return sorted(uses, key=lambda use: (use.last_used, use.fingerprint), reverse=True)


@final
class Use:
    """One use of a store by a set, from now on.

    Args:
        store: the folder.
        manifest: the set.
        counter: counts what happens.
    """

    def __init__(self, store: Path, manifest: Manifest, counter: Counter) -> None:
        self._store = store
        self._manifest = manifest
        self._counter = counter
        self._begin = counter.read()
        # By os, which takes any text.
        # Where the set lies, whatever folder the program was in; not all sets are files.
        source = manifest.source
        self._source = os.path.abspath(source) if os.path.exists(source) else source  # noqa: PTH100, PTH110

    def write(self) -> None:
        """Notes what has happened since it began, if anything was found or stored.

        A folder that cannot be written, or is gone, is none of the set's concern.
        """
        counts = self._counter.read() - self._begin
        if counts.hits or counts.stored:
            with contextlib.suppress(OSError):
                self._write(counts)

    def _write(self, counts: Counts) -> None:
        # Where there is no description there is no store: it was cleared.
        if not (self._store / STORE_FILE).is_file():
            return
        fingerprint = self._manifest.fingerprint()
        path = self._store / SETS_FOLDER / f"{fingerprint}.json"
        before = _read(path)
        use = SetUse(
            fingerprint=fingerprint,
            source=self._source,
            records=len(self._manifest),
            uses=1 if before is None else before.uses + 1,
            last_used=datetime.now(UTC).isoformat(timespec="seconds"),
            last=counts,
            total=counts if before is None else before.total + counts,
        )
        path.parent.mkdir(exist_ok=True)
        write_json(path, asdict(use))


def _read(path: Path) -> SetUse | None:
    try:
        # A pipe of that name would be waited for.
        text = path.read_text("utf-8") if path.is_file() else ""
        return SetUse.from_json(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
