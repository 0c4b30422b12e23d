"""What of files is in memory, and how it is given up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infeed.bench.file_pages import give_up, share_in_memory

CONTENT = bytes(1 << 20)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "大.bin"
    path.write_bytes(CONTENT)
    if share_in_memory([str(path)]) is None:
        pytest.skip("this system does not tell what is in memory")
    return str(path)


def test_a_file_just_read_is_in_memory(file):
    Path(file).read_bytes()
    assert share_in_memory([file]) == 1.0


def test_looking_does_not_fetch_what_was_given_up(file):
    give_up([file])
    first = share_in_memory([file])
    assert first is not None
    if first > 0.5:
        pytest.skip("the temporary folder lives in memory")
    assert share_in_memory([file]) == first


def test_a_file_given_up_is_whole_when_it_is_read_again(file):
    give_up([file])
    assert Path(file).read_bytes() == CONTENT


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a file system in memory")
def test_a_file_system_in_memory_gives_nothing_up():
    path = f"/dev/shm/infeed-test-{os.getpid()}"
    try:
        Path(path).write_bytes(CONTENT)
        if share_in_memory([path]) is None:
            pytest.skip("this system does not tell what is in memory")
        give_up([path])
        assert share_in_memory([path]) == 1.0
    finally:
        Path(path).unlink(missing_ok=True)


def test_what_cannot_be_opened_is_left_out(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    others = [str(tmp_path / name) for name in ("gone", "pipe", "empty")]
    give_up([*others, file])
    Path(file).read_bytes()
    assert share_in_memory([*others, file]) == 1.0
    assert share_in_memory(others) is None
    assert share_in_memory([]) is None


def test_whoever_checks_may_stop_it(file):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up([file], check=stop)
