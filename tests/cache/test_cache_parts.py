"""The parts of the cache, one by one."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed import Recipe
from infeed.cache import encoding_for
from infeed.cache.auto import choose_encoding
from infeed.cache.folder import StoreName
from infeed.cache.format import (
    ENTRY_BYTES,
    ENTRY_TYPE,
    HEADER_BYTES,
    FormatError,
    Header,
    checksum,
    free_rows,
    pack_entry,
    valid_rows,
)
from infeed.cache.index import Index
from infeed.cache.key import key_of_content, key_of_file
from infeed.cache.lock import folder_lock
from infeed.cache.segment import Segment, erase
from infeed.cache.settings import Cache, Encoding
from infeed.cache.space import format_bytes, free_memory, parse_bytes
from infeed.cache.writer import SegmentWriter
from infeed.read import Stamp

STORE = b"s" * 16
KEYS = [bytes([number]) * 16 for number in range(1, 40)]


def header(**changes: Any) -> Header:
    fields: dict[str, Any] = {
        "segment_id": bytes(range(16)),
        "store_id": STORE,
        "entries": 10,
        "slot_bytes": 100,
        "data_at": 8192,
        "file_bytes": 9192,
        "description": {"recipe": "ä"},
    }
    return Header(**fields | changes)


def test_a_header_comes_back_as_it_was() -> None:
    data = header().pack()
    assert len(data) == HEADER_BYTES
    assert Header.unpack(data) == header()


@given(st.integers(0, 8 * HEADER_BYTES - 1))
def test_a_flipped_bit_in_a_header_is_seen(bit: int) -> None:
    data = bytearray(header().pack())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FormatError):
        Header.unpack(bytes(data))


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[]", b"[" * 3000], ids=len)
def test_a_header_whose_description_is_no_json_is_refused(text: bytes) -> None:
    data = bytearray(header().pack())
    data[80:84] = len(text).to_bytes(4, "little")
    data[88 : 88 + len(text)] = text
    data[4088:] = checksum(data[:4088]).to_bytes(8, "little")
    with pytest.raises(FormatError, match="its description is no"):
        Header.unpack(bytes(data))


def test_a_header_of_a_later_version_is_told_from_a_damaged_one() -> None:
    data = bytearray(header().pack())
    data[8] = 2
    with pytest.raises(FormatError, match="version 2, and this infeed reads 1") as caught:
        Header.unpack(bytes(data))
    assert caught.value.is_newer
    with pytest.raises(FormatError, match="does not begin as a segment") as caught:
        Header.unpack(b"no segment".ljust(4096))
    assert not caught.value.is_newer
    assert not caught.value.is_empty
    for data in (b"", bytes(4096), header().pack()[:4095]):
        with pytest.raises(FormatError, match="it has no header") as caught:
            Header.unpack(data)
        assert caught.value.is_empty


@given(st.integers(0, 8 * ENTRY_BYTES - 1))
def test_a_flipped_bit_in_an_entry_makes_it_none(bit: int) -> None:
    entry = bytearray(pack_entry(KEYS[0], 8192, 100, 12345, seed=7))
    assert valid_rows(np.frombuffer(bytes(entry), ENTRY_TYPE), 7).tolist() == [0]
    assert valid_rows(np.frombuffer(bytes(entry), ENTRY_TYPE), 8).tolist() == []
    entry[bit // 8] ^= 1 << bit % 8
    assert valid_rows(np.frombuffer(bytes(entry), ENTRY_TYPE), 7).tolist() == []


def test_only_rows_of_zeros_are_free() -> None:
    rows = [bytes(48), pack_entry(KEYS[0], 1, 2, 3, 4), bytes(47) + b"\1", bytes(48)]
    assert free_rows(np.frombuffer(b"".join(rows), ENTRY_TYPE)).tolist() == [0, 3]


@given(
    st.lists(
        st.tuples(st.sampled_from(KEYS[:3]), st.sampled_from(["add", "table", "remove"])),
        max_size=80,
    )
)
def test_an_index_finds_what_a_dict_finds(steps: list[tuple[bytes, str]]) -> None:
    index, expected = Index(), dict[bytes, list[int]]()
    for number, (key, step) in enumerate(steps):
        if step == "add":
            (entry,) = index.add(
                [key], segment=0, rows=[number], offsets=[0], lengths=[1], checksums=[number]
            )
            expected.setdefault(key, []).append(entry)
        elif step == "table":
            table = np.frombuffer(pack_entry(key, 0, 1, number, seed=0), ENTRY_TYPE)
            index.add_table(0, table, np.array([0]))
            expected.setdefault(key, []).append(index.find(key))
            assert int(index.checksum[index.find(key)]) == number
        elif expected.get(key):
            index.remove(expected[key].pop())
        for each in KEYS[:4]:
            assert index.find(each) == (expected.get(each) or [-1])[-1]
        assert len(index) == sum(map(len, expected.values()))


def test_an_index_holds_a_million_images_in_little_memory() -> None:
    index = Index()
    table = np.zeros(10_000, ENTRY_TYPE)
    table["length"] = 1
    random = np.random.default_rng(0)
    for segment in range(100):
        table["hi"] = random.integers(0, 2**63, len(table), np.uint64)
        table["lo"] = table["hi"]
        index.add_table(segment, table, np.arange(len(table)))
    word = int(table["hi"][123]).to_bytes(8, "little")
    entry = index.find(word + word)
    assert (index.segment[entry], index.row[entry]) == (99, 123)
    assert index.find(bytes(16)) == -1


def test_keys_tell_everything_apart() -> None:
    keys = [
        key_of_file(b"/a", Stamp(1, 2)),
        key_of_file(b"/a", Stamp(2, 2)),
        key_of_file(b"/a", Stamp(1, 3)),
        key_of_file(b"/b", Stamp(1, 2)),
        key_of_file(b"2 /a", Stamp(1, 2)),
        key_of_content(b"1 2 /a"),
        key_of_content(b""),
    ]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {16}


def test_stores_differ_where_anything_does_that_pixels_depend_on() -> None:
    recipe, versions = Recipe(8, 8), {"opencv": "5.0"}
    names = [
        StoreName.of(recipe, versions, "raw"),
        StoreName.of(recipe, versions, "jpeg"),
        StoreName.of(recipe, {"opencv": "5.1"}, "raw"),
        StoreName.of(Recipe(8, 8, interpolation="area"), versions, "raw"),
        StoreName.of(Recipe(8, 8, max_pixels=100), versions, "raw"),
    ]
    assert len({name.store_id for name in names}) == len({name.folder for name in names}) == 5


def make_writer(folder: Path, *, slot: int = 100, size: int = 9000) -> SegmentWriter:
    return SegmentWriter.create(
        folder, store_id=STORE, slot_bytes=slot, size=size, description={"made": "here"}
    )


def put(writer: SegmentWriter, keys: list[bytes], length: int = 100) -> int:
    """Puts images that are filled with the first byte of their key; how many fitted."""
    slots = writer.set_aside([length] * len(keys))
    images = [np.full(length, key[0], np.uint8) for key in keys[: len(slots)]]
    writer.put(slots, keys[: len(slots)], images, [checksum(image) for image in images])
    return len(slots)


def kept(path: Path) -> dict[int, bytes]:
    """The images in a segment by the number of their row."""
    segment = Segment.open(path)
    table = segment.table()
    images = {}
    for row in valid_rows(table, segment.header.seed).tolist():
        image = np.zeros(int(table["length"][row]), np.uint8)
        assert segment.read_into([image], int(table["offset"][row]), len(image))
        assert checksum(image) == int(table["checksum"][row])
        images[row] = bytes(image)
    segment.close()
    return images


@pytest.mark.parametrize("slot", [100, 0])
def test_a_segment_is_never_larger_than_allowed_and_gives_back_the_rest(
    tmp_path: Path, slot: int
) -> None:
    writer = make_writer(tmp_path, slot=slot, size=20_000)
    path = writer.segment.path
    assert 12_000 < path.stat().st_size <= 20_000
    assert put(writer, KEYS[:3]) == 3
    writer.close()
    writer.close()
    writer.segment.close()
    assert path.stat().st_size == writer.segment.header.data_at + 300
    assert list(kept(path).values()) == [bytes([number]) * 100 for number in (1, 2, 3)]


def test_a_full_segment_takes_no_more(tmp_path: Path) -> None:
    writer = make_writer(tmp_path, size=8192 + 5 * 148)
    assert put(writer, KEYS[:3]) == 3
    assert put(writer, KEYS[3:9]) == 2
    assert not writer.has_room(100)
    assert put(writer, KEYS[9:12]) == 0


def test_a_segment_without_images_is_removed_when_its_writer_ends(tmp_path: Path) -> None:
    make_writer(tmp_path).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("slot", [100, 0])
def test_a_writer_goes_on_where_another_has_stopped(tmp_path: Path, slot: int) -> None:
    writer = make_writer(tmp_path, slot=slot, size=20_000)
    path = writer.segment.path
    put(writer, KEYS[:3])
    assert SegmentWriter.take_over(path, store_id=STORE) is None  # it is being written to
    writer.close()
    assert SegmentWriter.take_over(path, store_id=b"o" * 16) is None
    other = SegmentWriter.take_over(path, store_id=STORE)
    assert other is not None
    put(other, KEYS[3:5])
    other.close()
    assert list(kept(path).values()) == [bytes([number]) * 100 for number in range(1, 6)]


def test_slots_that_were_given_back_are_used_again(tmp_path: Path) -> None:
    writer = make_writer(tmp_path, size=8192 + 5 * 148)
    path = writer.segment.path
    put(writer, KEYS[:5])
    writer.close()
    for row in (1, 3):
        erase(writer.segment, row, checksum(np.full(100, row + 1, np.uint8)))
    erase(writer.segment, 2, 12345)  # says something else by now: stays
    assert sorted(kept(path)) == [0, 2, 4]
    other = SegmentWriter.take_over(path, store_id=STORE)
    assert other is not None
    assert put(other, KEYS[10:20]) == 2
    other.close()
    assert kept(path)[1] == bytes([11]) * 100
    assert kept(path)[3] == bytes([12]) * 100


def test_nothing_is_erased_in_a_file_that_took_the_name(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    path = writer.segment.path
    put(writer, KEYS[:1])
    writer.close()
    data = path.read_bytes()
    path.rename(tmp_path / "old")
    path.write_bytes(data)
    erase(writer.segment, 0, checksum(np.full(100, 1, np.uint8)))
    assert path.read_bytes() == data


def test_images_being_written_outlive_the_close(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    path = writer.segment.path
    slots = writer.set_aside([100])
    writer.close()
    writer.segment.close()
    assert writer.set_aside([100]) == []
    image = np.full(100, 9, np.uint8)
    writer.put(slots, [KEYS[8]], [image], [checksum(image)])
    assert kept(path) == {0: bytes([9]) * 100}


def test_a_disk_without_room_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        make_writer(tmp_path, size=2**60)
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert not list(tmp_path.iterdir())


def test_a_lock_that_somebody_holds_is_not_waited_for(tmp_path: Path) -> None:
    with folder_lock(tmp_path, seconds=0) as first:
        assert first
        with folder_lock(tmp_path, seconds=0) as second:
            assert not second
    with folder_lock(tmp_path, seconds=0) as third:
        assert third


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("20GB", 20 * 10**9),
        ("1.5 tb", 15 * 10**11),
        ("64MiB", 2**26),
        ("7", 7),
        (0, 0),
        ("3k", 3000),
    ],
)
def test_sizes_are_read(text: int | str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 iB", "many", 1.5, -3, None])
def test_what_is_no_size_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="such as 300000000 or '20GB'"):
        parse_bytes(text)


def test_sizes_are_written() -> None:
    assert [format_bytes(count) for count in (0, 999, 1000, 2.5e6, 29.57e9, 3e12)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "2.5 MB",
        "29.6 GB",
        "3.0 TB",
    ]


def test_free_memory_is_what_the_system_and_the_group_leave(tmp_path: Path) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    cgroup.mkdir()
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert free_memory(proc=proc, cgroup=cgroup) == 8000 * 1024
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "memory.current").write_text("600000\n")
    (cgroup / "memory.stat").write_text("anon 100000\ninactive_file 400000\n")
    assert free_memory(proc=proc, cgroup=cgroup) == 8000 * 1024
    (cgroup / "memory.max").write_text("1000000\n")
    assert free_memory(proc=proc, cgroup=cgroup) == 1000000 - 600000 + 400000
    assert (free_memory(proc=tmp_path / "none", cgroup=cgroup) or 0) > 0


@pytest.mark.parametrize(
    ("given", "encoding", "reason"),
    [
        ({}, "raw", "which fit the disk and the 500.0 MB of free memory"),
        ({"disk": 9e7}, "jpeg", "raw images take 150.0 MB, and the disk has room for 90.0 MB"),
        ({"limit": 9e7}, "jpeg", "raw images take 150.0 MB, and the limit leaves room for 90.0 MB"),
        ({"limit": 1e7}, "raw", "room for 10.0 MB; JPEGs of all would not fit either"),
        ({"kept": {"raw": 0, "jpeg": 70}}, "jpeg", "it holds 70 images of this recipe so"),
        ({"kept": {"raw": 0, "jpeg": 7}}, "raw", "which fit the disk"),
        ({"kept": {"raw": 90, "jpeg": 70}, "memory": 1}, "raw", "it holds 90 images"),
        ({"kept": {"raw": 90, "jpeg": 0}, "disk": 9e7}, "jpeg", "the disk has room"),
        # Of two sets that share a store, the smaller one keeps to its own.
        ({"kept": {"raw": 1000, "jpeg": 9000}}, "raw", "it holds 1,000 images"),
        ({"is_jpeg_possible": False, "disk": 0}, "raw", "JPEG has no transparency"),
        ({"memory": None}, "raw", "which fit the disk"),
    ],
)
def test_auto_says_what_it_takes_and_why(
    given: Mapping[str, Any], encoding: Encoding, reason: str
) -> None:
    usual: dict[str, Any] = {
        "images": 1000,
        "image_bytes": 150_000,
        "is_jpeg_possible": True,
        "kept": {"raw": 0, "jpeg": 0},
        "disk": 1e9,
        "limit": float("inf"),
        "memory": 500_000_000,
    }
    choice = choose_encoding(**usual | given)
    assert choice.encoding == encoding
    assert reason in choice.reason
    assert str(choice) == f"{encoding} ({choice.reason})"


def test_auto_takes_what_a_folder_could_hold(tmp_path: Path) -> None:
    recipe = Recipe(224, 224)
    cache = Cache(tmp_path / "not" / "there")
    assert encoding_for(cache, recipe, images=10).encoding == "raw"
    limited = Cache(tmp_path / "not" / "there", limit="0.8MB")
    assert encoding_for(limited, recipe, images=10).encoding == "jpeg"
    asked = Cache(tmp_path, encoding="raw", limit="1MB")
    assert str(encoding_for(asked, recipe, images=10)) == "raw (as asked)"
    assert not (tmp_path / "not").exists()


def test_segments_are_not_followed_through_links(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    put(writer, KEYS[:1])
    (tmp_path / "link.seg").symlink_to(writer.segment.path)
    with pytest.raises(OSError) as caught:
        Segment.open(tmp_path / "link.seg")
    assert caught.value.errno == errno.ELOOP
    assert os.path.lexists(tmp_path / "link.seg")
