"""Time and memory of reading manifests of ten million rows, and of files that were made to do harm.

    python benchmarks/large_manifest.py [--rows 1000000 10000000] [--no-bombs] [--folder DIR]

Each file is read by a process of its own, which tells the seconds (wall and processor), the most
memory that it had beyond what it had before reading, what the manifest keeps, and the error if
there was one. Needs 1.5 GB of disk in DIR: a file is removed before the next one is written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

BLOCK: Final = 100_000
GIGABYTE: Final = 10**9

# A name as data sets have them, 36 bytes long.
NAME: Final = "train/{:08}-苹果黑星病-副本.jpg"


def json_list(rows: int) -> Iterator[str]:
    yield "["
    for start in range(0, rows, BLOCK):
        yield ",\n" * (start > 0) + ",\n".join(
            f'{{"disease_class": {number % 61}, "image_id": "{NAME.format(number)}"}}'
            for number in range(start, min(start + BLOCK, rows))
        )
    yield "]"


def json_lines(rows: int) -> Iterator[str]:
    for start in range(0, rows, BLOCK):
        yield "".join(
            f'{{"disease_class": {number % 61}, "image_id": "{NAME.format(number)}"}}\n'
            for number in range(start, min(start + BLOCK, rows))
        )


def csv_rows(rows: int, name: str = NAME, label: str = "{:02}", classes: int = 61) -> Iterator[str]:
    yield "image_id,disease_class\n"
    for start in range(0, rows, BLOCK):
        yield "".join(
            f"{name.format(number)},{label.format(number % classes)}\n"
            for number in range(start, min(start + BLOCK, rows))
        )


def repeated(head: str, part: str, times: int, tail: str = "") -> Iterator[str]:
    yield head
    block = max(1, 2**20 // len(part))
    for start in range(0, times, block):
        yield part * min(block, times - start)
    yield tail


Text = Callable[[], Iterator[str]]

BOMBS: Final[dict[str, tuple[str, Text]]] = {
    "CSV: a line of 1 GB": ("csv", lambda: repeated("image,label\n", "a", GIGABYTE)),
    "CSV: a quote that never closes, 1 GB": (
        "csv",
        lambda: repeated('image,label\n"', "b.jpg,1\n", GIGABYTE // 8),
    ),
    "CSV: a row of 200 million short fields": (
        "csv",
        lambda: repeated("image,label\n", '"\n",', GIGABYTE // 4 - 10**7),
    ),
    "CSV: a field of 100 MB": ("csv", lambda: repeated('image,label\n"', "b\n", 5 * 10**7, '",1')),
    "CSV: half a million columns in one line": (
        "csv",
        lambda: repeated("", "c,", 5 * 10**5, "d\n1\n"),
    ),
    "CSV: a billion blank lines": ("csv", lambda: repeated("", "\n", GIGABYTE)),
    "CSV: a header, then a billion blank lines": (
        "csv",
        lambda: repeated("image,label\n", "\n", GIGABYTE),
    ),
    "JSON: 100,000 lists in lists": (
        "json",
        lambda: repeated('[{"image": "a.jpg", "label": ', "[", 10**5),
    ),
    "JSON: 100,000 objects in objects, closed": (
        "json",
        lambda: repeated('[{"a":', '{"a":', 10**5, "1" + "}" * 10**5 + "}]"),
    ),
    "JSON: a text of 1 GB": ("json", lambda: repeated('[{"image": "', "a", GIGABYTE)),
    "JSON: one row with 250 million values": (
        "json",
        lambda: repeated('[{"image": [', "[0],", GIGABYTE // 4),
    ),
    "JSON: one object around all, as COCO has it, 1 GB": (
        "json",
        lambda: repeated('{"images": [', '{"id": 1, "file_name": "a.jpg"},', GIGABYTE // 33),
    ),
    "JSON: a billion blanks": ("json", lambda: repeated("", " ", GIGABYTE)),
    "JSON: one line of 1 GB, no text at its end": (
        "json",
        lambda: repeated('[{"image":"a.jpg","label":1},', " ", GIGABYTE, "\udcff"),
    ),
    "JSON: an integer of 100,000 digits as a weight": (
        "weighted",
        lambda: repeated('[{"image": "a.jpg", "label": 1, "w": ', "9", 10**5, "}]"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="*", default=[10**6, 10**7])
    parser.add_argument("--no-bombs", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child(*arguments.child)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "manifest.txt"
        for rows in arguments.rows:
            for title, how, text in (
                ("JSON list", "json", json_list(rows)),
                ("JSON Lines", "json", json_lines(rows)),
                ("CSV", "csv", csv_rows(rows)),
                ("CSV, all rows alike, dropped", "drop", csv_rows(rows, name="a.jpg")),
                ("CSV, a class for each row", "csv", csv_rows(rows, label="{}", classes=rows)),
            ):
                measure(f"{rows:,} rows, {title}", how, path, text)
        if not arguments.no_bombs:
            for title, (how, make) in BOMBS.items():
                measure(title, how, path, make())


def measure(title: str, how: str, path: Path, text: Iterator[str]) -> None:
    """Writes a file, has it read by another process, and prints a line of what that tells."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.writelines(text)
    size = path.stat().st_size
    command = [sys.executable, __file__, "--child", how, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    path.unlink()
    if done.returncode:
        raise SystemExit(f"{title}: ended with {done.returncode}\n{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout)
    print(
        f"{title} ({size / 1e6:,.0f} MB): {told['seconds']:.2f} s, {told['cpu']:.2f} s of CPU, "
        f"at most {told['peak']:,.0f} MB, keeps {told['kept']:,.0f} MB  {told['error']}",
        flush=True,
    )


def run_child(how: str, path: str) -> None:
    """Reads one manifest and prints what that took, as JSON."""
    from infeed import Manifest, ManifestError

    read = Manifest.from_json if how in ("json", "weighted") else Manifest.from_csv
    options: dict[str, Any] = {"duplicates": "drop" if how == "drop" else "raise"}
    if how == "weighted":
        options["weight_column"] = "w"
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark is what there is now
    before = resident("VmHWM")
    start, cpu = time.perf_counter(), time.process_time()
    error, kept = "", 0
    try:
        kept = read(path, **options).nbytes
    except ManifestError as refused:
        error = str(refused).replace(path, Path(path).name)[:160]
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "cpu": time.process_time() - cpu,
                "peak": resident("VmHWM") - before,
                "kept": kept / 1e6,
                "error": error,
            }
        )
    )


def resident(field: str) -> float:
    """Memory of this process, in MB."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(field)


if __name__ == "__main__":
    main()
