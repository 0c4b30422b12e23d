"""How the commands end when they are interrupted at random instants.

    python benchmarks/interrupting.py [--count 50] [--seed 1] [--resume-every 5] [COMMAND ...]

Each command is run whole once, and then interrupted `count` times at instants that are drawn
evenly over its whole life: by Ctrl-C (SIGINT to the process group), SIGTERM or SIGHUP, once or
twice. Each end is judged: the exit code, the time it took, what was said, what was left in the
run's folder, the cache, TMPDIR and /dev/shm, processes of the group, the checksums of the cache;
and whether the run goes on to the very weights of one that was never interrupted. Prints the
distribution of seconds, and every fault; the exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from infeed.cache.check import check
from infeed.demo import LeafSet, draw_set
from infeed.trainers.backup_file import read_backup
from infeed.whole_file import PARTIAL

# The contract; a machine with others on it may add a little.
LIMIT_SECONDS = 2.0
HANG_SECONDS = 30.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_SHARES = (5, 4, 1)
SHARE_OF_DOUBLES = 0.3
# Of Python's, PyTorch's and our own; others on the machine have theirs.
OURS = re.compile(r'infeed/cli/main\.py", line \d+, in (main|run)')
SHARED_MEMORY = Path("/dev/shm")
SHARED_NAMES = ("psm_", "mp-", "sem.mp-", "torch_", "infeed")
RUN_FILES = {
    *("model.keras", "class_names.json", "recipe.json", "data.json", "log.csv", "run.json"),
    *("backup", "backup.npz", "bad_images.jsonl"),
}

MODEL = """
import keras

def tiny(input_shape, num_classes):
    image = keras.Input(input_shape, dtype="uint8")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(num_classes, activation="softmax")(x))
"""


@dataclass
class Setting:
    """Where one command runs: everything that it writes lies in `folder`."""

    folder: Path
    leaves: LeafSet
    model: Path
    filled: Path
    trained: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"


Arguments = Callable[[Setting], list[object]]


def train(setting: Setting, *, model: str | None = None) -> list[object]:
    leaves = setting.leaves
    return [
        *("train", leaves.train_manifest, "--images", leaves.train_images),
        *("--val", leaves.validation_manifest, "--val-images", leaves.validation_images),
        *("--model", model or f"{setting.model}:tiny", "--size", 32, "--batch", 8),
        *("--epochs", 4, "--backup-every", 3, "--cache", setting.cache, "--out", setting.run),
    ]


def train_small(setting: Setting) -> list[object]:
    return train(setting, model="small")


def fill(setting: Setting) -> list[object]:
    leaves = setting.leaves
    return [
        *("cache", "fill", leaves.train_manifest, "--images", leaves.train_images),
        *("--cache", setting.cache, "--size", 96, "--batch", 8),
    ]


def verify(setting: Setting) -> list[object]:
    return ["cache", "verify", setting.filled]


def bench(setting: Setting) -> list[object]:
    leaves = setting.leaves
    return [
        *("bench", leaves.train_manifest, "--images", leaves.train_images),
        *("--cache", setting.cache, "--size", 64, "--batch", 8),
    ]


def bench_fit(setting: Setting) -> list[object]:
    return [*bench(setting), "--epochs", 4, "--cold", "--fit", f"{setting.model}:tiny"]


def demo(setting: Setting) -> list[object]:
    return ["demo", "--folder", setting.folder / "demo", "--train", 60, "--val", 20, "--epochs", 2]


def replay(setting: Setting) -> list[object]:
    return ["replay", setting.trained, "--step", 7, "-o", setting.folder / "sheet.html"]


COMMANDS: dict[str, Arguments] = {
    each.__name__: each
    for each in (train, train_small, fill, verify, bench, bench_fit, demo, replay)
}


@dataclass
class Ending:
    """How one interrupted command ended."""

    at: float
    numbers: list[int]
    code: int
    seconds: float
    faults: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume-every", type=int, default=5, metavar="N")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--json", type=Path, help="Write every ending into this file.")
    arguments = parser.parse_args()
    for number in SIGNALS[1:]:
        # Or what this program ignores, as below `nohup`, the commands ignore, too.
        signal.signal(number, signal.SIG_DFL)
    faults = 0
    told: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        setting = prepared(Path(scratch), arguments.images)
        for name in arguments.commands or COMMANDS:
            rng = random.Random(f"{arguments.seed} {name}")  # the same instants again
            life, endings = interrupted(name, setting, rng, arguments)
            faults += sum(bool(each.faults) for each in endings)
            told[name] = {"life": life, "endings": [vars(each) for each in endings]}
            print_summary(name, life, endings)
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=1), "utf-8")
    raise SystemExit(1 if faults else 0)


def prepared(scratch: Path, images: int) -> Setting:
    """A drawn set, a filled cache and a finished run, for the commands that need them."""
    leaves = draw_set(scratch / "leaves", train=images, validation=30, size=128)
    for path in (scratch / "leaves").rglob("*"):
        os.utime(path, (time.time() - 60,) * 2)  # what is two seconds old is not kept yet
    model = scratch / "model.py"
    model.write_text(MODEL, "utf-8")
    setting = Setting(scratch / "first", leaves, model, scratch / "filled", scratch / "trained")
    renew(setting)
    run_whole(setting, train(setting))
    setting.run.rename(setting.trained)
    shutil.rmtree(setting.cache)
    run_whole(setting, fill(setting))
    setting.cache.rename(setting.filled)
    return setting


def interrupted(
    name: str, setting: Setting, rng: random.Random, options: argparse.Namespace
) -> tuple[float, list[Ending]]:
    """The seconds of the whole command, and how it ended each time that it was interrupted."""
    arguments = COMMANDS[name]
    renew(setting)
    life = run_whole(setting, arguments(setting))
    whole = weights_of(setting.run) if name.startswith("train") else None
    endings: list[Ending] = []
    while len(endings) < options.count:
        renew(setting)
        ending = interrupt(setting, arguments(setting), rng.uniform(0, 1.02 * life), rng)
        endings.append(ending)
        is_resumed = whole is not None and len(endings) % options.resume_every == 0
        if is_resumed and ending.code:
            again = [*arguments(setting), "--resume"]
            done = start(setting, again)
            if done.wait(HANG_SECONDS * 4):
                ending.faults.append(f"not resumed: {(setting.folder / 'stderr').read_text()}")
            elif not same_weights(weights_of(setting.run), whole):
                ending.faults.append("resumed to other weights")
        for fault in ending.faults:
            names = "+".join(signal.Signals(each).name for each in ending.numbers)
            print(f"{name}, {names} after {ending.at:.3f} s: {fault}", flush=True)
    return life, endings


def renew(setting: Setting) -> None:
    """An empty folder for the next run."""
    shutil.rmtree(setting.folder, ignore_errors=True)
    setting.temporary.mkdir(parents=True)


def start(setting: Setting, arguments: Sequence[object]) -> subprocess.Popen[bytes]:
    """The command, in a process group of its own, as in a terminal."""
    with (
        (setting.folder / "stdout").open("wb") as stdout,
        (setting.folder / "stderr").open("wb") as stderr,
    ):
        return subprocess.Popen(
            [Path(sys.executable).with_name("infeed"), *map(str, arguments)],
            cwd=setting.folder,
            env={**os.environ, "TMPDIR": str(setting.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            process_group=0,
        )


def run_whole(setting: Setting, arguments: Sequence[object]) -> float:
    """Runs a command to its end; its seconds."""
    begin = time.perf_counter()
    if start(setting, arguments).wait():
        raise SystemExit((setting.folder / "stderr").read_text())
    return time.perf_counter() - begin


def interrupt(
    setting: Setting, arguments: Sequence[object], at: float, rng: random.Random
) -> Ending:
    """Starts a command, interrupts it after `at` seconds, and judges how it ends."""
    number = rng.choices(SIGNALS, SIGNAL_SHARES)[0]
    numbers, gap = [number], rng.uniform(0.15, 0.4)
    if rng.random() < SHARE_OF_DOUBLES:
        numbers.append(number)
    shared = names_in(SHARED_MEMORY)
    process = start(setting, arguments)
    has_ended = ended_within(process, at)
    begin = time.perf_counter()
    if not has_ended:
        send(process, number)
        if len(numbers) > 1 and not ended_within(process, gap):
            send(process, number)
    if not ended_within(process, HANG_SECONDS):
        os.killpg(process.pid, signal.SIGKILL)
    seconds = time.perf_counter() - begin
    ending = Ending(at, list(map(int, numbers)), process.wait(), 0 if has_ended else seconds)
    said = (setting.folder / "stderr").read_text()
    judge(ending, said)
    ending.faults += leftovers(setting, shared)
    if is_group_left(process.pid, begin + LIMIT_SECONDS):
        ending.faults.append("a process of the group is left")
        os.killpg(process.pid, signal.SIGKILL)
    return ending


def send(process: subprocess.Popen[bytes], number: int) -> None:
    """As a terminal sends Ctrl-C and its end: to all; as a service sends SIGTERM: to one."""
    try:
        if number == signal.SIGTERM:
            os.kill(process.pid, number)  # not by Popen, which may have looked already
        else:
            os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits for a process, without asking again and again; whether it has ended."""
    handle = os.pidfd_open(process.pid)
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def judge(ending: Ending, said: str) -> None:
    """Notes what is wrong with the exit code, the time, and the words."""
    number = ending.numbers[0]
    # Before Python runs anything of ours, and when it has gone down, the system's own handler ends
    # the process; to a shell it is the same code.
    is_start = ending.code == 1 and "init_import_site" in said
    if ending.code not in (0, 128 + number, -number) and not is_start:
        ending.faults.append(f"exit code {ending.code}, said {said!r}")
    if ending.seconds > LIMIT_SECONDS:
        ending.faults.append(f"took {ending.seconds:.2f} s")
    words = said.strip().splitlines()
    if ending.code == 128 + number and words[-1:] not in (
        ["infeed: interrupted"],
        ["infeed: terminated"],
        ["infeed: its terminal was closed"],
    ):
        ending.faults.append(f"said {said!r}")
    # What Python says of a Ctrl-C before it has come to `main` is its own affair, and while it
    # starts it has an exit code of its own.
    is_early = ending.code in (-number, 1) and not OURS.search(said)
    words_of_faults = ("Traceback", "Exception ignored", "Fatal", "rror")
    if not is_early and any(each in said for each in words_of_faults):
        ending.faults.append(f"a traceback: {said!r}")


def leftovers(setting: Setting, shared: set[str]) -> list[str]:
    """What the command has left that it should not have."""
    faults = [f"left {path}" for path in setting.folder.rglob(f"*{PARTIAL}*")]
    faults += [f"left {path}" for path in setting.folder.rglob("*.partial")]
    faults += [f"left {path}" for path in setting.temporary.iterdir()]
    if setting.run.is_dir():
        others = {path.name for path in setting.run.rglob("*")} - RUN_FILES
        faults += [f"left {name} in the run" for name in others]
        if not any(setting.run.iterdir()):
            faults.append("left an empty folder for the run")
    new = names_in(SHARED_MEMORY) - shared
    faults += [f"left {name} in shared memory" for name in new if name.startswith(SHARED_NAMES)]
    for cache in (setting.cache, setting.filled):
        if cache.is_dir() and (cache / "infeed-cache.json").exists():
            faults += [
                f"the cache: {report}"
                for report in check(cache, repair=False)
                if not report.is_right
            ]
    return faults


def names_in(folder: Path) -> set[str]:
    """The names in a folder; none where it is not there."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def is_group_left(group: int, until: float) -> bool:
    """Whether any process of the group is there at a moment of the future."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        if time.perf_counter() > until:
            return True
        time.sleep(0.02)


def weights_of(run: Path) -> list[np.ndarray]:
    """The weights and everything else that the backup of a finished run keeps."""
    return read_backup(run / "backup" / "backup.npz").arrays


def same_weights(some: list[np.ndarray], others: list[np.ndarray] | None) -> bool:
    """Whether they are the same, bit for bit."""
    return others is not None and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(some, others, strict=True)
    )


def print_summary(name: str, life: float, endings: Sequence[Ending]) -> None:
    """One line: how long the ends took, and with which codes."""
    seconds = sorted(each.seconds for each in endings if each.code)
    codes = Counter(each.code for each in endings)
    spread = ", ".join(
        f"{share:.0%} {np.quantile(seconds, share):.3f}" for share in (0.5, 0.9, 1) if seconds
    )
    faults = sum(bool(each.faults) for each in endings)
    print(
        f"{name}: life {life:.2f} s, {len(endings)} ends, seconds {spread}; codes "
        f"{dict(sorted(codes.items()))}; {faults} with faults",
        flush=True,
    )


if __name__ == "__main__":
    main()
