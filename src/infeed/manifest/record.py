"""One row of a manifest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One image that exists, and what is known of it.

    Attributes:
        position: its number in the manifest, from 0.
        uri: its name as the manifest writes it; bytes that are no UTF-8 are surrogate escapes.
        label: the number of its class in `Manifest.class_names`; None without labels.
        label_name: the name of its class; None without labels.
        weight: its sample weight, 1.0 where the manifest has none.
    """

    position: int
    uri: str
    label: int | None
    label_name: str | None
    weight: float
