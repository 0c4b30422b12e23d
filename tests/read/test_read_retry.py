"""RetryingStorage: waits out what may pass, raises the rest at once, and never waits for long."""

from __future__ import annotations

import errno
import random
import socket
import ssl
import struct
import threading
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler
from infeed.errors import LoaderClosedError, StorageError
from infeed.read import LocalStorage, RetryingStorage, StampedStorage, Storage
from infeed.read.transient import is_transient


class Faulty:
    """Raises the errors that it is given, one a read, and then has the file."""

    def __init__(self, *errors: Exception, always: Exception | None = None) -> None:
        self.errors = list(errors)
        self.always = always
        self.reads = 0

    def read(self, uri: str) -> bytes:
        self.reads += 1
        if self.always is not None:
            raise self.always
        if self.errors:
            raise self.errors.pop(0)
        return uri.encode()


class Time:
    """A clock that only waits move."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def retrying(storage: Storage, time: Time, **options: object) -> RetryingStorage:
    return RetryingStorage(storage, wait=time.wait, clock=time.clock, **options)


TRANSIENT = [
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENFILE, "Too many open files in system"),
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ConnectionResetError("without a number"),
    TimeoutError("timed out"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    urllib.error.URLError(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")),
    StorageError("the service is busy", reason="io", is_transient=True),
]
FINAL = [
    (FileNotFoundError(errno.ENOENT, "No such file or directory"), "missing"),
    (NotADirectoryError(errno.ENOTDIR, "Not a directory"), "missing"),
    (IsADirectoryError(errno.EISDIR, "Is a directory"), "not_a_file"),
    (PermissionError(errno.EACCES, "Permission denied"), "io"),
    (OSError(errno.ELOOP, "Too many levels of symbolic links"), "io"),
    (OSError("without a number"), "io"),
    (ssl.SSLCertVerificationError("certificate verify failed"), "io"),
    (urllib.error.URLError("unknown url type: nonsense"), "io"),
    (StorageError("no file", reason="missing"), "missing"),
    (StorageError("it leads out", reason="outside"), "outside"),
    (StorageError("a pipe", reason="not_a_file"), "not_a_file"),
    (StorageError("too large", reason="io"), "io"),
    # Whatever it says of itself, a file that is not there is not waited for.
    (StorageError("no file", reason="missing", is_transient=True), "missing"),
]


def named(value: object) -> str | None:
    return repr(value) if isinstance(value, Exception) else None


@pytest.mark.parametrize("error", TRANSIENT, ids=named)
def test_what_may_pass_is_tried_again_until_it_has(error, time):
    storage = Faulty(error, error)
    assert retrying(storage, time).read("a.jpg") == b"a.jpg"
    assert storage.reads == 3
    assert len(time.waits) == 2


@pytest.mark.parametrize("error", TRANSIENT, ids=named)
def test_what_does_not_pass_ends_as_io_and_says_how_often_and_how_long(error, time):
    storage = Faulty(always=error)
    with pytest.raises(StorageError) as caught:
        retrying(storage, time, attempts=4).read("a.jpg")
    assert caught.value.reason == "io"
    assert storage.reads == 4
    assert f"(tried 4 times, for {time.now - 100:.1f} s)" in str(caught.value)


@pytest.mark.parametrize(("error", "reason"), FINAL, ids=named)
def test_what_cannot_pass_is_raised_at_once(error, reason, time):
    storage = Faulty(always=error)
    with pytest.raises(StorageError) as caught:
        retrying(storage, time).read("a.jpg")
    assert caught.value.reason == reason
    assert storage.reads == 1
    assert not time.waits
    assert "tried" not in str(caught.value)


def test_an_error_raised_from_one_that_may_pass_is_tried_again(time):
    """As a storage does that knows nothing of `is_transient`."""

    class Old(Faulty):
        def read(self, uri: str) -> bytes:
            try:
                return super().read(uri)
            except OSError as error:
                raise StorageError("cannot be read", reason="io") from error

    assert retrying(Old(OSError(errno.EIO, "")), time).read("a.jpg") == b"a.jpg"
    with pytest.raises(StorageError, match=r"^cannot be read$"):
        retrying(Old(always=PermissionError(errno.EACCES, "")), time).read("a.jpg")


@pytest.mark.parametrize("error", [ValueError("a mistake"), MemoryError(), KeyboardInterrupt()])
def test_what_is_no_failure_of_a_system_passes_through(error, time):
    storage = Faulty(always=error)
    with pytest.raises(type(error)) as caught:
        retrying(storage, time).read("a.jpg")
    assert caught.value is error
    assert storage.reads == 1


def test_the_first_failure_is_the_cause(time):
    error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(
        StorageError, match=r"'a\.jpg' cannot be read: Input/output error"
    ) as caught:
        retrying(Faulty(always=error), time).read("a.jpg")
    assert caught.value.__cause__ is error
    assert caught.value.is_transient


@given(st.integers(1, 12), st.floats(0, 30), st.floats(0, 5), st.floats(0, 5))
def test_waits_double_stay_below_the_longest_and_end_by_the_deadline(
    attempts, deadline, first, longest
):
    time = Time()
    storage = Faulty(always=OSError(errno.EIO, ""))
    with pytest.raises(StorageError):
        retrying(
            storage,
            time,
            attempts=attempts,
            deadline_seconds=deadline,
            first_wait_seconds=first,
            longest_wait_seconds=longest,
        ).read("a.jpg")
    assert storage.reads == len(time.waits) + 1 <= attempts
    assert all(wait <= min(first * 2**n, longest) for n, wait in enumerate(time.waits))
    assert time.now - 100 <= deadline + 1e-9


def test_by_default_no_wait_is_longer_than_two_seconds_and_all_end_in_ten():
    for _ in range(50):
        time = Time()
        with pytest.raises(StorageError):
            retrying(Faulty(always=OSError(errno.EIO, "")), time).read("a.jpg")
        assert max(time.waits) <= 2.0
        assert sum(time.waits) <= 10.0
        assert len(time.waits) == 7


def test_a_slow_storage_is_not_tried_again_after_the_deadline(time):
    class Slow(Faulty):
        def read(self, uri: str) -> bytes:
            time.now += 30  # as a disk does that repairs itself
            return super().read(uri)

    storage = Slow(always=OSError(errno.EIO, ""))
    with pytest.raises(StorageError, match=r"\(tried once, for 30\.0 s\)$"):
        retrying(storage, time, attempts=2).read("a.jpg")
    assert storage.reads == 1


def test_waits_are_spread_over_their_whole_range():
    """Else all threads of all processes would come back at once."""
    waits = []
    for _ in range(400):
        time = Time()
        retrying(Faulty(OSError(errno.EIO, "")), time, first_wait_seconds=1.0).read("a.jpg")
        waits += time.waits
    counts, _ = np.histogram(waits, bins=4, range=(0, 1))
    assert counts.min() > 50


def test_waits_leave_the_seeds_of_the_program_alone(time):
    random.seed(7)
    np.random.seed(7)
    before = random.getstate(), np.random.get_state()[1].tolist()
    retrying(Faulty(OSError(errno.EIO, "")), time).read("a.jpg")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_a_storage_that_is_down_is_no_longer_waited_for_until_it_is_up_again(time, caplog):
    broken = Faulty(always=OSError(errno.EIO, "Input/output error"))
    storage = retrying(broken, time, attempts=3)
    for number in range(8):
        with pytest.raises(StorageError, match="tried 3 times"):
            storage.read(f"{number}\x1b[2J.jpg")
    waits = len(time.waits)
    for _ in range(100):
        with pytest.raises(StorageError, match=r"tried once.*, as so many failed before it"):
            storage.read("a.jpg")
    assert len(time.waits) == waits
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].isprintable()
    assert r"'7\x1b[2J.jpg'" in caplog.messages[0]
    broken.always = None
    assert storage.read("a.jpg") == b"a.jpg"
    broken.errors = [OSError(errno.EIO, "")]
    assert storage.read("a.jpg") == b"a.jpg"


def test_files_that_are_missing_do_not_count_as_a_storage_that_is_down(time):
    storage = Faulty(*[FileNotFoundError(errno.ENOENT, "")] * 100, OSError(errno.EIO, ""))
    again = retrying(storage, time)
    for _ in range(100):
        with pytest.raises(StorageError):
            again.read("a.jpg")
    assert again.read("a.jpg") == b"a.jpg"


def test_an_event_ends_every_wait_and_the_image_is_not_called_bad():
    closing = threading.Event()
    waiting = threading.Barrier(5)

    def wait(seconds: float) -> bool:
        waiting.wait()
        return closing.wait(600)

    storage = RetryingStorage(Faulty(always=OSError(errno.EIO, "")), wait=wait)
    with ThreadPoolExecutor(4) as threads:
        reads = [threads.submit(storage.read, "a.jpg") for _ in range(4)]
        waiting.wait()
        closing.set()
        for read in reads:
            with pytest.raises(LoaderClosedError, match="nobody waits for it"):
                read.result()


def test_it_has_stamps_where_the_other_storage_has_them(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"...")
    local = LocalStorage(tmp_path)
    storage = RetryingStorage(local)
    assert isinstance(storage, StampedStorage)
    assert storage.stamps(["a.jpg", "none"]) == local.stamps(["a.jpg", "none"])
    assert storage.name("a.jpg") == local.name("a.jpg")
    assert isinstance(RetryingStorage(MemoryStorage({})), Storage)
    assert not isinstance(RetryingStorage(MemoryStorage({})), StampedStorage)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "attempts must be a whole number, at least 1, got 0"),
        ({"attempts": True}, "attempts must be a whole number"),
        ({"deadline_seconds": -1}, "deadline_seconds must be a number of seconds, 0 or more"),
        ({"longest_wait_seconds": float("nan")}, "longest_wait_seconds must be"),
        ({"first_wait_seconds": float("inf")}, "first_wait_seconds must be"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RetryingStorage(MemoryStorage({}), **options)


def test_one_attempt_is_as_if_it_were_not_there(time):
    with pytest.raises(StorageError, match=r"^'a\.jpg' cannot be read: Input/output error$"):
        retrying(Faulty(always=OSError(errno.EIO, "Input/output error")), time, attempts=1).read(
            "a.jpg"
        )


def test_its_text_names_the_other_storage():
    assert repr(RetryingStorage(MemoryStorage({}))) == "RetryingStorage(MemoryStorage(<0 files>))"


def test_a_reason_that_names_itself_ends():
    error = urllib.error.URLError("x")
    error.reason = error
    assert not is_transient(error)


class Server:
    """Serves files by name over TCP, and resets every third connection when half is sent."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.connections = self.resets = 0
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                name = lines.readline().decode().rstrip("\n")
                if not name:
                    continue
                data = self._files[name]
                self.connections += 1
                connection.sendall(struct.pack("<I", len(data)))
                if self.connections % 3 == 0:
                    self.resets += 1
                    connection.sendall(data[: len(data) // 2])
                    # Closing at once, without the end of the stream: the other side is reset.
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                else:
                    connection.sendall(data)


class Remote:
    """A storage as a user writes one: what the system raises, it raises."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def read(self, uri: str) -> bytes:
        with socket.create_connection(self._address, timeout=20) as connection:
            connection.sendall(uri.encode() + b"\n")
            with connection.makefile("rb") as answer:
                (size,) = struct.unpack("<I", self._all(answer, 4))
                return self._all(answer, size)

    def _all(self, answer: object, size: int) -> bytes:
        data = answer.read(size)
        if len(data) < size:
            raise ConnectionResetError("the answer ends too early")
        return data


def test_a_run_over_a_network_that_resets_every_third_connection_misses_nothing(time):
    pixels = np.random.default_rng(7).integers(0, 256, (24, 8, 8, 3), np.uint8)
    files = {f"{n}.bmp": bitmap(image) for n, image in enumerate(pixels)}
    manifest = Manifest.from_rows(files, [0, 1] * 12)
    recipe = Recipe(height=8, width=8)

    def epoch(storage: Storage) -> list[np.ndarray]:
        loader = Loader(manifest, recipe, Sampler(seed=3, batch_size=5), storage=storage, threads=3)
        with loader.epoch(0) as batches:
            images = [batch.images.copy() for batch in batches]
        assert loader.quarantine.count() == 0
        return images

    with Server(files) as server:
        # Waits take no time here, so that three threads may come in turns, and always the same one
        # third: it is through when the others have nothing left to ask for.
        remote = Remote(server.address)
        seen = epoch(retrying(remote, time, attempts=1000, deadline_seconds=1e6))
        assert server.resets >= 8
    for image, expected in zip(seen, epoch(MemoryStorage(files)), strict=True):
        np.testing.assert_array_equal(image, expected)


def bitmap(image: np.ndarray) -> bytes:
    """An 8x8 picture as a BMP file, which loses nothing."""
    rows = image[::-1, :, ::-1].tobytes()  # from below, blue first; 24 bytes need no padding
    head = struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 24, 0, len(rows), 0, 0, 0, 0) + rows
