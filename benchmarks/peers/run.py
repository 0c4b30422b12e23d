"""infeed and its peers, side by side on one set of photos.

    python benchmarks/peers/run.py MANIFEST IMAGES [--rounds 7] [--size 224] [--batch 64]
        [--rows N] [--peers a,b] [--json FILE] [--markdown FILE] [--python PEER=PATH]

In each round every peer reads two epochs in a process of its own, one peer after the other, in an
order that changes from round to round. Only ratios within a round mean anything on a shared
machine. See README.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from catalogue import PEERS
from comparison import is_quiet, summary
from environments import ROOT, interpreter
from image_set import ImageSet
from processor import wait_until_quiet
from table import has_markers, markdown, write_between_markers

from infeed import Manifest
from infeed.sample.header import read_header
from infeed.stream import usable_cores

PROGRAM = Path(__file__).with_name("measure.py")
WORK = ROOT / ".venv-peers"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--rounds", type=_count, default=7)
    parser.add_argument("--size", type=_count, default=224)
    parser.add_argument("--batch", type=_count, default=64)
    parser.add_argument(
        "--rows", type=_count, help="an epoch, photos come again (default: as many)"
    )
    parser.add_argument("--peers", type=_peers, default=list(PEERS), help="default: all")
    parser.add_argument("--seed", type=int, default=7, help="of the order within the rounds")
    parser.add_argument("--json", type=Path, help="where the whole result goes")
    parser.add_argument("--markdown", type=Path, help="a file with the two marker lines")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the environments")
    parser.add_argument(
        "--python",
        type=_python,
        action="append",
        default=[],
        metavar="PEER=PATH",
        help="an interpreter that has what the peer needs, instead of its own environment",
    )
    parser.add_argument(
        "--quiet-seconds", type=float, default=30, help="to wait for a quiet machine"
    )
    parser.add_argument("--tries", type=_count, default=3, help="where others disturb it")
    parser.add_argument("--timeout-seconds", type=float, default=900, help="for one measurement")
    arguments = parser.parse_args()
    # Before environments of gigabytes are made, and not after an hour of measuring.
    if not arguments.manifest.is_file() or not arguments.images.is_dir():
        parser.error(f"{arguments.manifest} must be a manifest, and {arguments.images} a folder")
    if arguments.markdown and not has_markers(arguments.markdown):
        parser.error(f"{arguments.markdown} has not the two marker lines of benchmarks/peers")
    arguments.work.mkdir(parents=True, exist_ok=True)
    given = dict(arguments.python)
    pythons = {
        name: given.get(name) or interpreter(name, arguments.work) for name in arguments.peers
    }
    # Beside the environments and not in /tmp: links need the same file system more often.
    with tempfile.TemporaryDirectory(prefix="set-", dir=arguments.work) as folder:
        for result in compare(arguments, pythons, Path(folder)):
            # After each round, so that an hour is not lost to the one peer that fails at its end.
            if arguments.json:
                arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    text = markdown([result])
    print(text)
    if arguments.markdown:
        write_between_markers(arguments.markdown, text)


def compare(
    arguments: argparse.Namespace, pythons: dict[str, Path], folder: Path
) -> Iterator[dict[str, Any]]:
    """After each round: all rounds so far, and what is needed to read them."""
    images, photos = lay(arguments.manifest, arguments.images, folder, arguments.rows)
    order = random.Random(arguments.seed)
    rounds: list[dict[str, Any]] = []
    for number in range(arguments.rounds):
        round_: dict[str, Any] = {}
        for name in turns(arguments.peers, order, backwards=number % 2 == 1):
            warm_page_cache(images)
            tried: list[dict[str, Any]] = []
            while len(tried) < arguments.tries and not (tried and tried[-1]["warm"]["quiet"]):
                wait_until_quiet(arguments.quiet_seconds)
                tried.append(measure(name, pythons[name], images, arguments))
                print(f"round {number}: {name} {_said(tried[-1])}", file=sys.stderr, flush=True)
            round_[name] = min(tried, key=_disturbance)
        rounds.append(round_)
        yield {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(),
            "photos": photos,
            "size": arguments.size,
            "batch": arguments.batch,
            "peers": {name: _figures(name, rounds) for name in arguments.peers},
            "versions": {name: round_[name]["versions"] for name in arguments.peers},
            "disturbed_rounds": [n for n, each in enumerate(rounds) if not is_quiet(each, *each)],
            "rounds": rounds,
        }


def turns(names: Sequence[str], order: random.Random, *, backwards: bool) -> list[str]:
    """The peers from a random one on, round in a circle, every other time backwards."""
    start = order.randrange(len(names))
    turned = [*names[start:], *names[:start]]
    return turned[::-1] if backwards else turned


def lay(
    manifest: Path, folder: Path, into: Path, rows: int | None
) -> tuple[ImageSet, dict[str, Any]]:
    """The set that all peers read, and what it is made of.

    Raises:
        ValueError: a photo is no JPEG.
    """
    table = Manifest.from_json(manifest, images=folder)
    paths = [folder / table.uri(position) for position in range(len(table))]
    headers = [read_header(path.read_bytes()) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        if header.format != "jpeg":
            raise ValueError(f"{path} is {header.format}; some peers read JPEG alone")
    assert table.labels is not None
    rows = len(paths) if rows is None else rows
    images = ImageSet.lay(into, paths, [int(label) for label in table.labels], rows=rows)
    return images, {
        "manifest": manifest.name,
        "files": len(paths),
        "rows": rows,
        "mean_bytes": sum(path.stat().st_size for path in paths) / len(paths),
        "mean_megapixels": sum(each.width * each.height for each in headers) / len(paths) / 1e6,
    }


def warm_page_cache(images: ImageSet) -> None:
    """Reads each file once."""
    for path in images.paths:
        Path(path).read_bytes()


def measure(
    name: str, python: Path, images: ImageSet, arguments: argparse.Namespace
) -> dict[str, Any]:
    """What `measure.py` says of this peer.

    Raises:
        RuntimeError: it failed, did not end, or did not deliver what it should have.
    """
    command = [str(python), str(PROGRAM), name, str(images.folder.absolute())]
    command += ["--size", str(arguments.size), "--batch", str(arguments.batch)]
    command += ["--cores", str(usable_cores())]
    environ = os.environ | {"CUDA_VISIBLE_DEVICES": "", **PEERS[name].environ}
    environ["PYTHONPATH"] = str(ROOT / "src") if PEERS[name].requirements == "infeed" else ""
    process = subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its workers can be ended with it
    )
    try:
        said, complaints = process.communicate(timeout=arguments.timeout_seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{name} took over {arguments.timeout_seconds:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{complaints.strip()}")
    result: dict[str, Any] = json.loads(said)
    check(name, result)
    return result


def check(name: str, result: dict[str, Any]) -> None:
    """That a peer did the work that its figure is for.

    Raises:
        RuntimeError: images are missing or came twice, or are not of the type that is stated.
    """
    peer = PEERS[name]
    for epoch in (result[key] for key in ("cold", "warm") if "dtypes" in result.get(key, {})):
        if peer.once and not epoch["every_image_once"]:
            raise RuntimeError(f"{name} did not deliver every image once: {epoch}")
        if epoch["dtypes"] != [peer.dtype]:
            raise RuntimeError(f"{name} delivered {epoch['dtypes']}, the table says {peer.dtype}")


def machine() -> dict[str, Any]:
    """What this was measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [
        line.partition(":")[2].strip() for line in cpuinfo.splitlines() if "model name" in line
    ]
    return {
        "cores": usable_cores(),
        "model": models[0] if models else platform.machine(),
        "memory_gib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def _figures(name: str, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    peer = PEERS[name]
    return {
        "title": peer.title,
        "shuffle": peer.shuffle,
        "dtype": peer.dtype,
        "decode": peer.decode,
        **dataclasses.asdict(summary(rounds, name)),
    }


def _disturbance(measured: dict[str, Any]) -> float:
    warm = measured["warm"]
    return 0.0 if warm["quiet"] else float(warm["others_share"] + warm["steal_share"])


def _said(measured: dict[str, Any]) -> str:
    warm = measured["warm"]
    text = f"{warm['images_per_second']:,.0f} images/s"
    if warm["quiet"]:
        return text
    return f"{text}, disturbed: others {warm['others_share']:.0%}, host {warm['steal_share']:.0%}"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number, at least 1, got {text!r}")
    return int(text)


def _peers(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"no peer {name!r}; there are {', '.join(PEERS)}")
    return names


def _python(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if name not in PEERS or not path:
        raise argparse.ArgumentTypeError(f"PEER=PATH with a peer of {', '.join(PEERS)}, got {text}")
    return name, Path(path)


if __name__ == "__main__":
    main()
