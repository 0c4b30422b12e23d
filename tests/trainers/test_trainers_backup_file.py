"""The file of a backup: the old one or the new one, whole, and never a wrong number."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed import ResumeError
from infeed.trainers.backup_file import read_backup, write_backup
from infeed.whole_file import remove_partial_files

ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array(7, np.int64),
    np.zeros((0, 4), np.uint8),
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    np.array([1.5, -2.0], ml_dtypes.bfloat16),
    np.array([True, False]),
]

WRITER = """
import sys
from pathlib import Path
import numpy as np
from infeed.trainers.backup_file import write_backup

number = 0
while True:
    number += 1
    write_backup(Path(sys.argv[1]), {"number": number}, [np.full(20_000, number)] * 5)
    print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "备份.npz"


def test_what_was_written_is_read_with_every_dtype_and_shape(path: Path) -> None:
    write_backup(path, {"loss": math.inf, "词": ["苹果", None]}, ARRAYS)
    backup = read_backup(path)
    assert backup.state == {"loss": math.inf, "词": ["苹果", None]}
    for read, written in zip(backup.arrays, ARRAYS, strict=True):
        assert (read.dtype, read.shape) == (written.dtype, written.shape)
        assert read.tobytes() == written.tobytes()


def test_numpy_reads_it_too(path: Path) -> None:
    write_backup(path, {}, ARRAYS[:2])
    with np.load(path) as archive:
        assert np.array_equal(archive["0"], ARRAYS[0])


def test_a_file_that_is_not_there_is_not_found(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_backup(path)


@pytest.mark.parametrize("data", [b"", b"no backup", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_backup_is_refused_by_name(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ResumeError, match=r"备份\.npz is damaged.*Remove it to start anew"):
        read_backup(path)


def test_an_object_is_not_written_as_a_pickle(path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_backup(path, {}, [np.array([{"object": 1}], dtype=object)])
    assert not list(path.parent.iterdir())


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "backup.npz"
    write_backup(path, {"epoch": 3}, ARRAYS)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(ResumeError, match="its checksum is wrong"):
        read_backup(path)


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_off_is_refused(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    path = tmp_path_factory.mktemp("cut") / "backup.npz"
    write_backup(path, {"epoch": 3}, ARRAYS)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ResumeError):
        read_backup(path)


# A file may have 100,000 bytes there, as on a full disk.
FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from infeed.trainers.backup_file import write_backup

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_backup(Path(sys.argv[1]), {"number": 2}, [np.zeros(100_000)])
except OSError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_is_said_and_leaves_the_old_backup_alone(path: Path) -> None:
    write_backup(path, {"number": 1}, ARRAYS)
    full = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True)
    assert "备份.npz cannot be written: File too large. Free some space there" in full.stderr
    assert read_backup(path).state == {"number": 1}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def kill_while_writing(path: Path, times: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(times):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(rng.integers(1, 6)):
                known = int(writer.stdout.readline())
            # Reading a random number of bytes of nothing takes a random time.
            hashed = sum(range(int(rng.integers(0, 400_000))))
            assert hashed >= 0
            writer.send_signal(signal.SIGKILL)
            later = [int(line) for line in writer.stdout if line.endswith("\n")]
        last = max([known, *later])
        backup = read_backup(path)
        number = backup.state["number"]
        # The last one that was reported, or the next, which was not reported any more.
        assert number in (last, last + 1)
        assert all((array == number).all() for array in backup.arrays)


def test_a_kill_at_any_instant_leaves_a_whole_backup(path: Path) -> None:
    kill_while_writing(path, 4)
    remove_partial_files(path.parent)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_kills_at_a_hundred_instants_leave_a_whole_backup(path: Path) -> None:
    kill_while_writing(path, 100)
