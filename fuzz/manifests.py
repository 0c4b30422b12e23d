"""Coverage-guided fuzz of the readers of manifests: only `ManifestError` may escape.

    python fuzz/manifests.py -max_total_time=60 [CORPUS ...]

Needs atheris (`pip install atheris`); takes libFuzzer's arguments. An input's first byte chooses
the reader and its arguments, the second whether a part of the rest is repeated up to 256 KB, which
finds what is quadratic. An input that takes more than a second of processor time or 200 MB is a
finding too. Of a JSON text that both this and Python's own reader take, both must say the same.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["infeed"]):
    from infeed import Manifest, ManifestError

SECONDS = 1.0
MEGABYTES = 200
LARGEST = 1 << 18

# One for all runs: libFuzzer ends the process without a chance to remove it.
FOLDER = Path(tempfile.gettempdir()) / "infeed-fuzz-manifests"
INPUT = FOLDER / f"{os.getpid()}.txt"

SEEDS = (
    b'[{"image_id": "x.jpg", "disease_class": 3}, {"image_id": "y.JPG", "disease_class": 10}]',
    b'{"image": "a.jpg", "label": "7"}\n{"image": "b.jpg", "label": 7}\n',
    b'[{"image": "a.jpg", "label": NaN}, {"image": "\\ud83d.jpg", "label": [1, {"a": null}]}]',
    b'image,label,w\na.jpg,007,1\n"b,""c"".jpg",NA,2.5\n',
    b"label\timage\n3\ta.jpg\n\n4\tb.jpg\r\n",
    b'note, image, label\n"a\nb", a.jpg, 1\n',
    b"\xef\xbb\xbf" + b'[{"path": "\xe7\xa8\xbb.jpg", "class": true}]',
    '[{"image": "稻.jpg", "label": 1}]'.encode("utf-16"),
    b"\x1f\x8b\x08\x00",
)

# What mutations are made of.
WORDS = (
    *(b"[", b"{", b"}", b"]", b":", b",", b'"', b'""', b"\\", b"\n", b"\r\n", b"\t", b";", b"|"),
    *(b"image", b"label", b"w", b"path", b"a.jpg", b"image,label\n", b"image\tlabel\n", b"[{"),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"007", b'{"', b"},{", b"]}", b"[[["),
    *(b"\\u0000", b"\\ud800", b"\\udcff", b"\\u", b"\\u202e", b"\xef\xbb\xbf", b"\xff\xfe", b"\0"),
    *(
        b"\x1b[2J",
        b"\xc2\x9b",
        b"\x0b",
        b"\x1c",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\x81",
        b"\x1f\x8b",
    ),
)


def text_of(data: bytes) -> bytes:
    """The content of the file that an input stands for."""
    if len(data) < 4 or not data[0] & 1:
        return data[1:]
    begin, end = sorted((data[1] % len(data), data[2] % len(data)))
    body = data[3:]
    part = body[begin:end]
    times = min(1 << (data[3] % 23), LARGEST // max(len(part), 1))
    return body[:begin] + part * times + body[end:]


def read(how: int, path: Path) -> Manifest:
    """The manifest at `path`, by one of the ways to read it."""
    options: dict[str, Any] = {
        "duplicates": ("keep", "raise", "drop")[how % 3],
        "labelled": not how & 4,
        "encoding_errors": "surrogateescape" if how & 8 else "strict",
        "encoding": ("utf-8", "utf-8", "utf-16", "gb18030")[how >> 4 & 3],
    }
    if how & 0xC0 == 0xC0:
        options["weight_column"] = "w"
    if how & 0x40:
        return Manifest.from_csv(path, columns=["image", "label"] if how & 2 else None, **options)
    return Manifest.from_json(path, **options)


def check(manifest: Manifest) -> None:
    """What is true of every manifest."""
    assert len(manifest) >= 1
    for position in (0, len(manifest) - 1):
        record = manifest.record(position)
        assert record.uri.strip() or record.uri.encode("utf-8", "surrogateescape").strip()
        assert "\0" not in record.uri
        assert record.label_name is None or record.label_name.strip()
    assert manifest.labels is None or manifest.class_counts.sum() == len(manifest)
    assert len(manifest.fingerprint()) == 32


def agree(manifest: Manifest, text: bytes) -> None:
    """Compares a JSON list with what Python's own reader makes of it."""
    try:
        rows = json.loads(text.decode("utf-8-sig"), parse_int=str, parse_float=str)
    except ValueError:
        return  # JSON Lines
    if isinstance(rows, dict):
        rows = [rows]
    assert len(rows) == len(manifest)
    assert manifest.uri(0) in {value for value in rows[0].values() if isinstance(value, str)}


def one_input(data: bytes) -> None:
    """Reads what an input stands for."""
    if len(data) < 3:
        return
    how, text = data[0], text_of(data[1:])
    INPUT.write_bytes(text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        manifest = read(how, INPUT)
    except ManifestError as error:
        shown = str(error)
        assert len(shown) < 20_000, len(shown)
        assert shown.replace("\n", "").isprintable(), ascii(shown)
    else:
        check(manifest)
        if not how & 0x40 and how & 0x30 in (0, 0x10) and how % 3 == 0 and not how & 8:
            agree(manifest, text)
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if seconds > SECONDS:
        raise RuntimeError(f"took {seconds:.1f} s of processor time")
    if grown > MEGABYTES:
        raise RuntimeError(f"took {grown:.0f} MB more")


def main() -> None:
    """Fuzzes, from `SEEDS` and what is in the folders that are given."""
    FOLDER.mkdir(exist_ok=True)
    arguments = sys.argv
    if not any(Path(argument).is_file() for argument in arguments[1:]):  # one to be run again
        arguments = [*arguments, str(seeds())]
    if not any(argument.startswith("-rss_limit_mb") for argument in arguments):
        arguments = [arguments[0], "-rss_limit_mb=1500", *arguments[1:]]
    words = FOLDER / "words.dict"
    words.write_text("".join(f'"{quoted(word)}"\n' for word in WORDS))
    arguments = [arguments[0], f"-dict={words}", *arguments[1:]]
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


def quoted(word: bytes) -> str:
    """A word as dictionaries of libFuzzer write it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def seeds() -> Path:
    """A folder with `SEEDS`, each for several ways to read it, plain and repeated."""
    folder = FOLDER / "seeds"
    folder.mkdir(exist_ok=True)
    for number, seed in enumerate(SEEDS):
        for how in (0, 0x40, 0x42, 0x84, 0xC0, 0x20, 0x30, 0x08):
            name = f"{number}-{how:02x}"
            (folder / name).write_bytes(bytes([how, 0]) + seed)
            (folder / f"{name}-long").write_bytes(bytes([how, 1, 3, 40, 20]) + seed)
    return folder


if __name__ == "__main__":
    main()
