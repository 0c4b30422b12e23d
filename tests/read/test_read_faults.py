"""LocalStorage and RetryingStorage on a system that fails: real errors of real system calls."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infeed.errors import STORAGE_REASONS, StorageError
from infeed.read import LocalStorage, RetryingStorage

# Reads one image and says what came of it, and how often it was waited for.
PROGRAM = """
import json, sys
from infeed.errors import StorageError
from infeed.read import LocalStorage, RetryingStorage
waits = []
storage = RetryingStorage(LocalStorage(sys.argv[1]), wait=waits.append)
sys.stderr.write("ready\\n")
try:
    found = storage.read(sys.argv[2]).decode()
except StorageError as error:
    found = [error.reason, str(error)]
print(json.dumps([found, len(waits)]))
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"inside")
    return tmp_path


def with_faults(root: Path, *faults: str, uri: str = "a.jpg") -> tuple[object, int]:
    """What a read comes to, and its waits, when strace spoils the calls on that file."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    options = [part for fault in faults for part in ("-e", f"inject={fault}")]
    program = [sys.executable, "-c", PROGRAM, root, uri]
    done = subprocess.run(
        # Only the calls on this path are counted.
        ["strace", "-qq", "-o", root / "log", "-P", root / uri, *options, *program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode or not done.stdout:
        if "ready" not in done.stderr:
            pytest.skip(f"strace cannot be used here: {done.stderr}")
        pytest.fail(done.stderr)
    assert "INJECTED" in (root / "log").read_text()
    found, waits = json.loads(done.stdout)
    return found, waits


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "EMFILE", "ENFILE", "ETIMEDOUT", "ENOMEM"])
def test_an_open_that_fails_twice_succeeds_the_third_time(root, error):
    assert with_faults(root, f"openat:error={error}:when=1..2") == ("inside", 2)


@pytest.mark.parametrize("call", ["read", "newfstatat", "openat"])
def test_a_call_that_fails_for_ever_is_io_and_says_how_often(root, call):
    found, waits = with_faults(root, f"{call}:error=EIO")
    assert waits == 7
    assert found[0] == "io"
    assert "cannot be read: Input/output error (tried 8 times, for " in found[1]


@pytest.mark.parametrize("error", ["EACCES", "EPERM", "ELOOP", "EOVERFLOW"])
def test_a_refusal_is_not_tried_again(root, error):
    found, waits = with_faults(root, f"openat:error={error}")
    assert waits == 0
    assert found[0] == "io"


def test_a_read_that_comes_back_empty_is_as_short_as_the_file_is_now(root):
    assert with_faults(root, "read:retval=0") == ("", 0)


def test_descriptors_that_are_short_pass_when_other_threads_close_theirs(root):
    """32 threads that read at once have fewer descriptors than threads."""
    waited = threading.Event()
    storage = RetryingStorage(
        LocalStorage(root), attempts=10_000, wait=lambda seconds: waited.set() or os.sched_yield()
    )
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        # Other tests may have left any number of them open.
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 33, limits[1]))
        while True:
            try:
                taken.append(os.open(root, os.O_RDONLY))
            except OSError:
                break
        with ThreadPoolExecutor(32) as threads:
            # Not one is free: whoever comes first has to wait.
            reads = [threads.submit(storage.read, "a.jpg") for _ in range(32 * 5)]
            waited.wait()
            os.close(taken.pop())
            assert {read.result() for read in reads} == {b"inside"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)


def test_without_a_free_descriptor_it_is_io_and_may_pass(root):
    storage = LocalStorage(root)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        with pytest.raises(StorageError, match="Too many open files") as caught:
            storage.read("a.jpg")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.reason == "io"
    assert caught.value.is_transient


def test_a_name_whose_file_becomes_something_else_all_the_time_never_hangs(root, tmp_path):
    """File, pipe, folder, loop and nothing take turns while it is read."""
    storage = LocalStorage(root)
    (tmp_path / "kept").mkdir()
    done = threading.Event()
    path = root / "changing"

    make = [
        lambda other: other.write_bytes(b"inside"),
        os.mkfifo,
        lambda other: other.symlink_to("changing"),
        lambda other: other.symlink_to("/etc/passwd"),
        lambda other: other.symlink_to("folder"),
    ]

    def change():
        try:
            for number in range(900):
                other = tmp_path / "kept" / str(number)
                make[number % len(make)](other)
                other.replace(path)
        finally:
            done.set()

    writer = threading.Thread(target=change)
    writer.start()
    reasons = set()
    try:
        while not done.is_set():
            try:
                assert storage.read("changing") == b"inside"
            except StorageError as error:
                reasons.add(error.reason)
            storage.stamps(["changing"])
    finally:
        writer.join()
    assert reasons <= set(STORAGE_REASONS)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: os.mkfifo(path), "not_a_file"),
        (lambda path: path.symlink_to("/dev/zero"), "not_a_file"),
        (lambda path: path.symlink_to("/dev/tty"), "not_a_file"),
        (lambda path: path.symlink_to("/proc/self/fd/0"), None),
        (lambda path: path.symlink_to(path), "io"),
        (lambda path: path.symlink_to("/proc/self/mem"), "outside"),
        (lambda path: path.symlink_to("/"), "not_a_file"),
    ],
    ids=["pipe", "zero", "terminal", "stdin", "loop", "memory", "root"],
)
def test_whatever_lies_there_is_refused_and_not_waited_for(root, make, reason):
    make(root / "odd.jpg")
    storage = LocalStorage(root)
    with pytest.raises(StorageError) as caught:
        storage.read("odd.jpg")
    assert reason is None or caught.value.reason == reason
    assert not caught.value.is_transient
    assert storage.stamps(["odd.jpg"]) == [None]


def test_a_file_that_another_one_replaces_meanwhile_is_read_whole(root):
    """It is looked at, then opened: what is opened may be longer, or shorter."""
    path = root / "replaced"
    path.write_bytes(b"x" * 10)
    contents = {bytes([65 + number % 26]) * (number % 7 * 5000 + 10) for number in range(60)}
    done = threading.Event()

    def replace():
        try:
            for content in [*contents] * 12:
                (root / "new").write_bytes(content)
                (root / "new").replace(path)
        finally:
            done.set()

    storage = LocalStorage(root)
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        while not done.is_set():
            assert storage.read("replaced") in {b"x" * 10, *contents}
    finally:
        writer.join()


def test_a_pipe_behind_a_link_in_a_folder_behind_a_link_is_refused(root):
    os.mkfifo(root / "folder" / "pipe")
    (root / "link").symlink_to("folder")
    (root / "folder" / "a.jpg").symlink_to("pipe")
    with pytest.raises(StorageError, match="is a pipe, not a file"):
        LocalStorage(root).read("link/a.jpg")


def test_a_file_that_is_cut_short_between_its_opening_and_its_end_is_read_as_far_as_it_goes(root):
    """The size is looked at, then the file is read: in between it may be another one."""
    path = root / "shrinking"
    storage = LocalStorage(root)
    for _ in range(300):
        path.write_bytes(b"x" * 300_000)
        cut = threading.Thread(target=os.truncate, args=(path, 10))
        cut.start()
        data = storage.read("shrinking")
        cut.join()
        assert data == b"x" * len(data)
        assert 10 <= len(data) <= 300_000


@pytest.mark.parametrize(
    "uri",
    [
        "C:\\leaf.jpg",
        "\\\\server\\share\\leaf.jpg",
        "//server/share/leaf.jpg",
        "a.jpg ",
        "a.jpg.",
        "A.JPG",
        "a.jpg/",
        "CON",
        "a.jpg:stream",
        "x" * 4096,
        "%2e%2e/a.jpg",
        "file:///etc/passwd",
        "~/a.jpg",
        "$HOME/a.jpg",
        "a.jp?",
    ],
)
def test_a_name_is_taken_as_it_stands_and_leads_nowhere_else(root, uri):
    with pytest.raises(StorageError) as caught:
        LocalStorage(root).read(uri)
    assert caught.value.reason in ("missing", "outside")


@pytest.mark.parametrize("uri", ["\x1b[2J\n.jpg", "\u202egpj\u200b.exe", "x" * 5000, "\x9b31m"])
def test_a_message_neither_steers_a_terminal_nor_fills_it(root, uri):
    with pytest.raises(StorageError) as caught:
        LocalStorage(root).read(uri)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("part", ["\u0300\u0316", "y/", "./", "x/../", "\\"])
def test_a_name_of_a_million_parts_is_missing_at_once(root, part):
    """Folders that are followed, and accents that are ordered, take quadratic time."""
    storage = LocalStorage(root)
    for ask in (storage.read, storage.name):
        with pytest.raises(StorageError, match=r"no file can have the name .* bytes") as caught:
            ask("a" + part * 1_000_000)
        assert caught.value.reason == "missing"
    assert storage.stamps(["a" + part * 1_000_000]) == [None]
