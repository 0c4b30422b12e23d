"""What the commands of `infeed cache` say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from infeed.cli.output import count, duration
from infeed.report.printable import printable

if TYPE_CHECKING:
    from infeed.cache.check import StoreReport
    from infeed.cache.contents import StoreContents
    from infeed.cache.folder import Cleared
    from infeed.cache.sets import SetUse
    from infeed.cache_fill import FillResult


def filled(result: FillResult, size: int, *, with_reasons: bool) -> str:
    """What `fill` has done.

    Args:
        size: bytes of the cache now.
        with_reasons: tell also what was told when it happened.
    """
    from infeed.cache.space import format_bytes

    parts = [f"{result.stored:,} stored", f"{result.there:,} there already"]
    parts += [
        f"{number:,} {what}"
        for number, what in (
            (result.not_stored, "not stored"),
            (result.not_seen, "not looked at any more"),
            (result.recovered, "recovered from faulty files, which are not kept"),
            (result.bad, "bad"),
        )
        if number
    ]
    speed = f"{duration(result.seconds)}, {result.images_per_second:,.0f} images/s."
    lines = [
        f"{count(result.records, 'image')}: {', '.join(parts)}.",
        f"{speed} The cache has {format_bytes(size)}.",
    ]
    if with_reasons:
        lines += map(printable, result.complaints.values())
    if result.not_stored and not result.complaints:
        lines.append(
            "What is not stored was changed within the last two seconds, or another process was "
            "in the way: the same command stores it."
        )
    return "\n".join(lines)


def checked(report: StoreReport) -> str:
    """What `verify` has found in a store."""
    from infeed.cache.space import format_bytes

    found = f"{count(report.images, 'image')}, {format_bytes(report.bytes)}"
    verdict = "all right" if report.is_right else "DAMAGED"
    lines = [f"{report.store}: {found}, in {count(report.segments, 'segment')}: {verdict}"]
    if report.damaged:
        left = report.damaged - report.repaired
        lines.append(
            f"  {count(report.damaged, 'image')} not what was stored: {report.repaired:,} given "
            f"back, to be stored again, {left:,} left as they are (and not used)"
        )
    lines += [
        f"  {printable(file.name)}: {printable(file.text)}"
        + (" (mended or removed)" if file.is_repaired else " (left as it is)")
        for file in report.files
    ]
    return "\n".join(lines)


def described(store: StoreContents) -> str:
    """What `info` knows of a store."""
    from infeed.cache.space import format_bytes
    from infeed.sample import decoder_versions

    recipe = store.recipe
    form = (
        f"{recipe['height']}x{recipe['width']} {recipe['color_mode']}, {recipe['fit']}, "
        f"{recipe['interpolation']}, decode {recipe['decode']}"
        if {"height", "width", "color_mode", "fit", "interpolation", "decode"} <= set(recipe)
        else "not known: its description is damaged"
    )
    files = f"{count(store.segments, 'segment')}, with {format_bytes(store.free_bytes)} free"
    lines = [
        f"{store.store}: {count(store.images, 'image')}, {format_bytes(store.bytes)} in {files}",
        f"  recipe: {printable(form)}; kept as {store.encoding}",
    ]
    if not store.is_current:
        now = decoder_versions()
        others = [
            f"{name} {store.decoder.get(name, '(none)')} (now {now.get(name, 'none')})"
            for name in sorted({*now, *store.decoder})
            if store.decoder.get(name) != now.get(name)
        ]
        lines.append(
            f"  decoder: another than now, so it is not used: {printable(', '.join(others))}"
        )
    if store.unreadable:
        lines.append(f"  no segments: {', '.join(map(printable, store.unreadable))}")
    lines += map(_used, store.sets)
    return "\n".join(lines)


def _used(use: SetUse) -> str:
    last, total = use.last, use.total
    return (
        f"  used by {printable(use.source)}, {count(use.records, 'record')}: last "
        f"{printable(use.last_used)}, {last.hits:,} of {last.hits + last.misses:,} found "
        f"({last.hit_rate:.1%}), {last.stored:,} stored; in {count(use.uses, 'use')} "
        f"{total.hit_rate:.1%} found"
    )


def removed(cleared: Cleared, folder: Path) -> str:
    """What `clear` has removed, and what it has left."""
    from infeed.cache.space import format_bytes

    what = f"{count(cleared.segments, 'segment')} of {count(len(cleared.stores), 'store')}"
    lines = [f"Removed {what}, {format_bytes(cleared.bytes)}, from {folder}"]
    if cleared.left:
        lines.append("Left, since it is not infeed's: " + ", ".join(map(printable, cleared.left)))
    return "\n".join(lines)
