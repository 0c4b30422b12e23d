"""LocalStorage: any name, only regular files, never out of its folder."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from infeed.errors import StorageError
from infeed.read.local import LocalStorage, leads_inside, lies_inside


@pytest.fixture
def root(tmp_path):
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    (images / "a.jpg").write_bytes(b"inside")
    (images / "sub" / "b.jpg").write_bytes(b"below")
    (tmp_path / "secret.txt").write_bytes(b"outside")
    (tmp_path / "images-other").mkdir()
    (tmp_path / "images-other" / "c.jpg").write_bytes(b"beside")
    return images


def refused(storage, uri):
    with pytest.raises(StorageError) as caught:
        storage.read(uri)
    return caught.value


@pytest.mark.parametrize(
    "uri",
    ["../secret.txt", "sub/../../secret.txt", "../images/a.jpg", "..", "../images-other/c.jpg"],
)
def test_dots_that_leave_are_refused_with_the_cure(root, uri):
    error = refused(LocalStorage(root), uri)
    assert error.reason == "outside"
    assert "leads out of it by '..'" in str(error)
    assert "pass outside=True to LocalStorage" in str(error)
    assert str(root) in str(error)


@pytest.mark.parametrize("uri", ["sub/../a.jpg", "./a.jpg", "sub//../a.jpg", "sub/./../a.jpg"])
def test_dots_that_stay_are_fine(root, uri):
    assert LocalStorage(root).read(uri) == b"inside"


def test_names_that_only_look_like_dots_are_fine(root):
    for name in ("..a", "a..b", "...", "sub/..c"):
        (root / name).write_bytes(b"dots")
        assert LocalStorage(root).read(name) == b"dots"


def test_absolute_names_are_refused_even_where_they_lead_inside(root):
    for path in (root.parent / "secret.txt", root / "a.jpg", "/etc/passwd", "//etc/passwd"):
        error = refused(LocalStorage(root), str(path))
        assert error.reason == "outside"
        assert "is an absolute name" in str(error)


def test_outside_true_lets_every_name_through(root):
    storage = LocalStorage(root, outside=True)
    (root / "link").symlink_to(root.parent / "secret.txt")
    assert storage.read("../secret.txt") == b"outside"
    assert storage.read(str(root.parent / "secret.txt")) == b"outside"
    assert storage.read("link") == b"outside"
    assert storage.read("a.jpg") == b"inside"


def test_links_that_lead_out_are_refused(root):
    (root / "file").symlink_to(root.parent / "secret.txt")
    (root / "folder").symlink_to(root.parent / "images-other")
    (root / "chain").symlink_to("file")
    for uri in ("file", "folder/c.jpg", "chain"):
        error = refused(LocalStorage(root), uri)
        assert error.reason == "outside"
        assert "through a symbolic link" in str(error)
        assert "outside=True" in str(error)


def test_links_that_stay_are_fine(root):
    (root / "relative").symlink_to("sub/b.jpg")
    (root / "absolute").symlink_to(root / "a.jpg")
    (root / "folder").symlink_to("sub")
    storage = LocalStorage(root)
    assert storage.read("relative") == b"below"
    assert storage.read("absolute") == b"inside"
    assert storage.read("folder/b.jpg") == b"below"


def test_the_kernel_and_the_path_agree_on_what_is_inside(root):
    (root / "out").symlink_to(root.parent / "secret.txt")
    (root / "in").symlink_to("sub/b.jpg")
    prefix = os.fsencode(root.resolve()) + b"/"
    for name, inside in (("a.jpg", True), ("in", True), ("out", False), ("../secret.txt", False)):
        path = os.fsencode(root / name)
        with open(path, "rb") as file:
            assert lies_inside(file.fileno(), prefix) is inside
        assert leads_inside(path, prefix) is inside
    assert lies_inside(987_654, prefix) is None  # a descriptor that /proc does not know


def test_the_folder_may_be_a_link_itself(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    (root / "in").symlink_to(tmp_path / "link" / "a.jpg")
    storage = LocalStorage(tmp_path / "link")
    assert storage.read("sub/b.jpg") == b"below"
    assert storage.read("in") == b"inside"
    assert refused(storage, "../secret.txt").reason == "outside"


def test_the_folder_may_be_the_root_of_all(root):
    assert LocalStorage("/").read(str(root / "a.jpg").lstrip("/")) == b"inside"


def test_a_relative_folder_survives_chdir(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    storage = LocalStorage("images")
    monkeypatch.chdir("/")
    assert storage.read("a.jpg") == b"inside"


def test_a_folder_that_appears_later_is_read(tmp_path):
    storage = LocalStorage(tmp_path / "later")
    assert refused(storage, "a").reason == "missing"
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a").write_bytes(b"now")
    assert storage.read("a") == b"now"


def test_a_folder_with_a_name_in_any_script_works(tmp_path):
    root = tmp_path / "病害\udcff"
    root.mkdir()
    (root / "图.jpg").write_bytes(b"x")
    assert LocalStorage(root).read("图.jpg") == b"x"


@pytest.mark.parametrize("uri", ["", ".", "sub", "sub/"])
def test_a_folder_is_not_a_file(root, uri):
    error = refused(LocalStorage(root), uri)
    assert error.reason == "not_a_file"
    assert "is a folder, not a file" in str(error)


def test_a_pipe_is_never_opened(root):
    # Opening a pipe for reading would wait for a writer, and eat what it writes.
    os.mkfifo(root / "pipe")
    error = refused(LocalStorage(root), "pipe")
    assert error.reason == "not_a_file"
    assert "is a pipe" in str(error)


def test_sockets_and_devices_are_not_files(root):
    with socket.socket(socket.AF_UNIX) as listener:
        # By a short name, since the address holds 108 bytes.
        folder = os.open(root, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{folder}/socket")
        finally:
            os.close(folder)
        assert refused(LocalStorage(root), "socket").reason == "not_a_file"
    error = refused(LocalStorage("/dev"), "zero")
    assert error.reason == "not_a_file"
    assert "is a device" in str(error)


def test_dangling_links_are_missing_and_loops_are_refused(root):
    (root / "dangling").symlink_to("none")
    (root / "loop").symlink_to("loop")
    assert refused(LocalStorage(root), "dangling").reason == "missing"
    error = refused(LocalStorage(root), "loop")
    assert error.reason == "io"
    assert "symbolic links" in str(error)


@contextlib.contextmanager
def without_roots_rights():
    """Root may read everything: takes the rights of an ordinary user meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_without_permission_is_io():
    # Not below pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        (root / "a.jpg").write_bytes(b"inside")
        (root / "a.jpg").chmod(0)
        with without_roots_rights():
            error = refused(LocalStorage(root), "a.jpg")
    assert error.reason == "io"
    assert "Permission denied" in str(error)


def test_a_missing_name_says_where_it_was_looked_for(root):
    error = refused(LocalStorage(root), "none.jpg")
    assert str(error) == f"no file 'none.jpg' in {str(root)!r} (No such file or directory)."


def test_a_windows_name_is_explained(root):
    error = refused(LocalStorage(root), "sub\\b.jpg")
    assert error.reason == "missing"
    assert "It exists with '/' where the manifest has '\\'." in str(error)


def test_another_unicode_form_is_explained(root):
    (root / "é.jpg").write_bytes(b"x")
    error = refused(LocalStorage(root), "e\N{COMBINING ACUTE ACCENT}.jpg")
    assert error.reason == "missing"
    assert "It exists in Unicode form NFC" in str(error)


def test_a_file_above_the_limit_is_refused_unread(root):
    with (root / "large").open("wb") as file:
        file.truncate(300 * 2**20)  # sparse
    error = refused(LocalStorage(root), "large")
    assert error.reason == "io"
    assert "has 314,572,800 bytes, more than the 268,435,456 that are read" in str(error)
    assert LocalStorage(root, max_bytes=6).read("a.jpg") == b"inside"
    assert refused(LocalStorage(root, max_bytes=5), "a.jpg").reason == "io"
    with pytest.raises(ValueError, match="max_bytes must be at least 1, got 0"):
        LocalStorage(root, max_bytes=0)


def test_a_file_that_grows_and_shrinks_meanwhile_is_read_as_it_was_at_some_time(root):
    path = root / "changing"
    path.write_bytes(b"x" * 1000)
    storage = LocalStorage(root)
    done = threading.Event()

    def change():
        for size in [10, 100_000, 0, 5000] * 200:
            os.truncate(path, size)
        done.set()

    writer = threading.Thread(target=change)
    writer.start()
    try:
        while not done.is_set():
            assert len(storage.read("changing")) <= 100_000
    finally:
        writer.join()
    assert len(storage.read("changing")) == 5000


def test_nothing_stays_open(root):
    storage = LocalStorage(root)
    (root / "out").symlink_to(root.parent / "secret.txt")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for uri in ("a.jpg", "none", "sub", "out", "../x", "a\0"):
        try:
            storage.read(uri)
        except StorageError:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_its_text_names_the_folder(root):
    assert repr(LocalStorage(root)) == f"LocalStorage({str(root)!r}, outside=False)"
