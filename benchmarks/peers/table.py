"""Writes comparisons as a table for people: `python table.py RESULT.json ... [--markdown FILE]`.

Each RESULT.json is what `run.py --json` wrote, one for each set of photos.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalogue import INFEED, PEERS
from comparison import summary

BEGIN = "<!-- peers: begin, written by benchmarks/peers -->"
END = "<!-- peers: end -->"

DISTURBED = "†"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--markdown", type=Path, help="a file with the two marker lines")
    arguments = parser.parse_args()
    text = markdown([json.loads(path.read_text()) for path in arguments.results])
    print(text)
    if arguments.markdown:
        write_between_markers(arguments.markdown, text)


def has_markers(path: Path) -> bool:
    """Whether a file has the two marker lines, one after the other."""
    if not path.is_file():
        return False
    _, begin, rest = path.read_text("utf-8").partition(BEGIN)
    return bool(begin) and END in rest


def write_between_markers(path: Path, text: str) -> None:
    """Replaces what stands between the two marker lines of a file.

    Raises:
        ValueError: the file lacks them.
    """
    page = path.read_text("utf-8")
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for the table; add the lines\n{BEGIN}\n{END}")
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", "utf-8")


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """The table of speeds, one of what each peer delivers, and the conditions."""
    names = [name for name in PEERS if any(name in result["peers"] for result in results)]
    lines = [*_speeds(results, names), "", *_manners(results, names), ""]
    lines += [_conditions(result) for result in results]
    if any(DISTURBED in line for line in lines):
        lines.append(f"- {DISTURBED} Others used the machine in too many rounds: a rough figure.")
    lines += ["", _machine(results)]
    return "\n".join(lines)


def _speeds(results: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    head = ["images/s, in brackets infeed over it (lowest to highest round)"]
    head += [_set_name(result) for result in results]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in names:
        cells = [f"**{PEERS[name].title}**" if name == INFEED else PEERS[name].title]
        for result in results:
            if name not in result["peers"]:
                cells.append("")
                continue
            figures = summary(result["rounds"], name)
            cell = f"{figures.images_per_second:,.0f}"
            if figures.ratio is not None and figures.ratio_range is not None and name != INFEED:
                low, high = figures.ratio_range
                cell += f" ({figures.ratio:.2f}; {low:.2f} to {high:.2f})"
            cells.append(cell if figures.quiet else f"{cell} {DISTURBED}")
        lines.append(_line(cells))
    return lines


def _manners(results: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    head = ["", "shuffle", "images", "JPEG decoded at", "by"]
    head += ["first batch, s", "processor, ms an image", "versions"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in names:
        peer = PEERS[name]
        had = [result for result in results if name in result["peers"]]
        figures = [summary(result["rounds"], name) for result in had]
        versions = had[0]["versions"][name]
        lines.append(
            _line(
                [
                    peer.title,
                    peer.shuffle,
                    peer.dtype,
                    peer.decode,
                    peer.by,
                    _each([each.first_batch_seconds for each in figures]),
                    _each([each.cpu_ms_per_image for each in figures]),
                    ", ".join(f"{package} {versions[package]}" for package in peer.packages),
                ]
            )
        )
    return lines


def _each(values: Sequence[float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.2f}" for value in values)


def _set_name(result: dict[str, Any]) -> str:
    photos = result["photos"]
    return f"{photos['mean_bytes'] / 1000:,.0f} KB, {photos['mean_megapixels']:.1f} megapixels"


def _conditions(result: dict[str, Any]) -> str:
    photos = result["photos"]
    figures = [summary(result["rounds"], name) for name in result["peers"]]
    least = min((each.rounds for each in figures if each.quiet), default=0)
    which = "of all"
    if least:
        which = (
            f"of the {least} or more in which infeed and the peer had the machine for themselves"
        )
    return (
        f"- {_set_name(result)}: {photos['files']:,} photos, {photos['rows']:,} rows an epoch, "
        f"{result['size']}x{result['size']}, batch {result['batch']}; {len(result['rounds'])} "
        f"rounds, medians {which}; {result['date']}."
    )


def _machine(results: Sequence[dict[str, Any]]) -> str:
    machines = dict.fromkeys(
        f"{machine['cores']} cores of {machine['model']}, {machine['memory_gib']:.0f} GiB of "
        f"memory, {machine['system']}, Python {machine['python']}"
        for machine in (result["machine"] for result in results)
    )
    return (
        f"Measured on {'; '.join(machines)}. Files in the page cache, host batches, no model; each "
        "peer in a process and an environment of its own, in turns, the second epoch of the "
        "process. First batch: of the first epoch of the process, with the start of threads and "
        "processes. Processor: of all processes and threads of the peer, in the system too; what "
        "others took of the cores meanwhile does not count. Both for each set."
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
