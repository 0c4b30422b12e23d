"""What `infeed bench` says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from infeed.cli.output import count

if TYPE_CHECKING:
    from infeed.bench import BenchResult, EpochResult
    from infeed.bench.comparison import Comparison

# What of a row is shown in the table of thread time; less is nothing.
_LEAST_SHARE = 0.0005

# Runs of the same work on a machine of one's own are closer together.
_QUIET = 1.15


def in_words(result: BenchResult) -> str:
    """A measurement for people."""
    lines = _epochs(result)
    lines += ["", *_thread_time(result), ""]
    lines += _limits(result)
    if result.fit is not None:
        lines += _fit(result)
    if result.bad_images:
        lines.append(f"Replaced: {count(result.bad_images, 'bad image')}")
    return "\n".join(lines)


def compared_in_words(comparison: Comparison, file: str) -> str:
    """Two measurements side by side."""
    rows = [(file, "then", "now", "now/then")]
    for figure in comparison.figures:
        name = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        rows.append((name, _figure(figure.then), _figure(figure.now), ratio))
    lines = _table(rows)
    if comparison.differences:
        lines.append("These are two different things:")
        lines += [f"  {difference}" for difference in comparison.differences]
    return "\n".join(lines)


def _epochs(result: BenchResult) -> list[str]:
    rows = [("epoch", "images", "seconds", "images/s", "source", "files in memory")]
    rows += [
        (
            str(epoch.epoch + 1),
            f"{epoch.images:,}",
            f"{epoch.seconds:.2f}",
            f"{epoch.images_per_second:,.0f}",
            epoch.source,
            _in_memory(epoch),
        )
        for epoch in result.epochs
    ]
    return _table(rows, left=(4, 5))


def _in_memory(epoch: EpochResult) -> str:
    if epoch.files_in_memory is None:
        return "cannot be told"
    return f"{epoch.files_in_memory:.0%}" + ", given up" * epoch.is_cold


def _thread_time(result: BenchResult) -> list[str]:
    """Seconds, share and microseconds an image of all that threads did, for each kind of epoch."""
    kinds: dict[str, list[EpochResult]] = {}
    for epoch in result.epochs:
        name = "from the cache" if epoch.source == "cache" else epoch.source
        kinds.setdefault(name + ", cold" * epoch.is_cold, []).append(epoch)
    rows = [["thread time"], [""]]
    for kind in kinds:
        rows[0] += ["", "", kind]
        rows[1] += ["seconds", "share", "us/image"]
    shown = [
        stage
        for stage in result.stages
        if any(_share(epochs, stage) >= _LEAST_SHARE for epochs in kinds.values())
    ]
    for stage in shown:
        row = [stage.replace("_", " ")]
        for epochs in kinds.values():
            seconds = sum(epoch.stages[stage] for epoch in epochs)
            images = sum(epoch.images for epoch in epochs)
            row += [
                f"{seconds:.2f}",
                f"{_share(epochs, stage):.1%}",
                f"{1e6 * seconds / images:,.1f}",
            ]
        rows.append(row)
    lines = _table(rows)
    for kind, epochs in kinds.items():
        spent = {name: sum(epoch.reader[name] for epoch in epochs) for name in epochs[0].reader}
        total = sum(spent.values())
        lines.append(
            f"Reader, {kind}: waiting for a batch {spent['wait'] / total:.1%}, hand-over "
            f"{spent['hand_over'] / total:.1%}, its own {spent['own'] / total:.1%} of the time"
        )
    return lines


def _share(epochs: Iterable[EpochResult], stage: str) -> float:
    whole = sum(sum(epoch.stages.values()) for epoch in epochs)
    return sum(epoch.stages[stage] for epoch in epochs) / whole if whole else 0.0


def _limits(result: BenchResult) -> list[str]:
    lines = [
        f"The decoder alone, {count(result.limit_processes, 'process')}: "
        f"{result.limit_images_per_second:,.0f} images/s. "
        + (
            "No epoch was decoded, so that there is no ratio."
            if result.decoded_images_per_second is None
            and result.cold_decoded_images_per_second is None
            else "No epoch was decoded from files in memory, so that there is no ratio."
            if result.ratio is None
            else f"Ratio: {result.ratio:.2f}"
        )
    ]
    slowest, fastest = min(result.limit_runs), max(result.limit_runs)
    if fastest > _QUIET * slowest:
        lines.append(
            f"The machine was not quiet: the decoder alone reached {slowest:,.0f} to "
            f"{fastest:,.0f} images/s. Let other programs end, or measure more --epochs."
        )
    if result.cached_images_per_second is not None:
        times = result.cached_images_per_second / result.limit_images_per_second
        lines.append(
            f"From the cache: {result.cached_images_per_second:,.0f} images/s, {times:.1f} times "
            "what the decoder can"
        )
    if result.copy_images_per_second is not None:
        ratio = "" if result.cached_ratio is None else f" Ratio: {result.cached_ratio:.2f}"
        lines.append(
            f"Copies alone, 1 process: {result.copy_images_per_second:,.0f} images/s.{ratio}"
        )
    for name, cold, warm in (
        (
            "Files",
            result.cold_decoded_images_per_second,
            result.decoded_images_per_second,
        ),
        ("Cache", result.cold_cached_images_per_second, result.cached_images_per_second),
    ):
        if cold is not None:
            against = "" if warm is None else f", {cold / warm:.2f} of {warm:,.0f} from memory"
            lines.append(f"{name} not in memory: {cold:,.0f} images/s{against}")
    if result.cold_failure is not None:
        lines.append(f"Cold epochs: {result.cold_failure}")
    return lines


def _fit(result: BenchResult) -> list[str]:
    fit = result.fit
    assert fit is not None
    rows = [
        (f"fit of {fit.model} on {fit.backend}", "ms a step", "images/s", "waiting for data"),
        ("from memory", f"{fit.memory_step_ms:,.2f}", f"{fit.memory_images_per_second:,.0f}", ""),
        (
            "fed",
            f"{fit.fed_step_ms:,.2f}",
            f"{fit.fed_images_per_second:,.0f}",
            f"{fit.wait_fraction:.1%}",
        ),
        ("fed / from memory", f"{fit.ratio:.2f}", "", ""),
    ]
    measured = f"Medians of {count(fit.runs, 'run')} of {count(fit.steps, 'step')} each way"
    return ["", *_table(rows), f"{measured}; the ratio is that of the pairs"]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Lines with their columns one below the other; those of `left` begin at the same place."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
