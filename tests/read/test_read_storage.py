"""The contract of `Storage`, kept by each implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.errors import STORAGE_REASONS, StorageError
from infeed.read.local import LocalStorage
from infeed.read.memory import MemoryStorage
from infeed.read.storage import Storage

FILES = {
    "a.jpg": b"one",
    "empty.jpg": b"",
    "sub/b.jpg": bytes(range(256)) * 300,
    "病害 - 副本.JPG": b"two",
    "näive\N{COMBINING DIAERESIS} %41 #?&.png": b"three",
    "gb\udcb2\udca1\udca6.jpg": b"four",  # bytes that are no UTF-8: GBK, from an old archive
    " leading and trailing ": b"five",
    "new\nline": b"six",
}


@pytest.fixture(scope="session", params=["local", "memory"])
def storage(request, tmp_path_factory):
    if request.param == "memory":
        return MemoryStorage(FILES)
    root = tmp_path_factory.mktemp("images")
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return LocalStorage(root)


@pytest.mark.parametrize("uri", FILES)
def test_a_file_s_bytes_are_what_was_written(storage, uri):
    data = storage.read(uri)
    assert type(data) is bytes
    assert data == FILES[uri]


def test_it_is_a_storage(storage):
    assert isinstance(storage, Storage)


@pytest.mark.parametrize(
    "uri", ["none.jpg", "sub/none.jpg", "a.jpg/none", "A.JPG", "\ud800", "a\0b"]
)
def test_a_name_that_nothing_has_is_missing(storage, uri):
    with pytest.raises(StorageError) as caught:
        storage.read(uri)
    assert caught.value.reason == "missing"
    assert repr(uri) in str(caught.value)


def test_a_name_of_any_length_is_missing(storage):
    for uri in ("x" * 300, "x" * 10_000, "y/" * 5000):
        with pytest.raises(StorageError) as caught:
            storage.read(uri)
        assert caught.value.reason == "missing"


@given(st.text(alphabet=st.characters(), max_size=12) | st.text("./\\ab\0~\udcff", max_size=12))
def test_whatever_the_name_only_a_storage_error_escapes(storage, uri):
    try:
        data = storage.read(uri)
    except StorageError as error:
        assert error.reason in STORAGE_REASONS  # noqa: PT017
    else:
        assert data in FILES.values()
