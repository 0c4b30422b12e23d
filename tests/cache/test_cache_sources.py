"""A source image that changes is another image: a cache changes nothing of what is delivered.

What the tests do to source images, between epochs and in the middle of a stream: another file is
renamed over one; one is written anew in place, with the same size; removed; replaced by what is
no picture, cut off, or replaced by a link. Each batch then must be what a loader without a cache
delivers, its labels, weights and noted bad images included. In the middle of a stream a row may
be the old or the new image, and from the next epoch on only the new one.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from infeed import (
    Batch,
    Cache,
    Loader,
    LocalStorage,
    Manifest,
    MemoryStorage,
    Recipe,
    Sampler,
    Storage,
)
from infeed.read import Stamp

Write = Callable[[Path, bytes], None]
Picture = Callable[[int], bytes]

COUNT = 40
LATER = 1_710_000_000


@dataclass(frozen=True)
class Changing:
    """One image that changes.

    Attributes:
        path: of it.
        other: the bytes of another picture.
    """

    path: Path
    other: bytes

    def age(self) -> None:
        """Makes the change one of some time ago, so that it is kept at once."""
        os.utime(self.path, (LATER, LATER))


def rename_over(change: Changing) -> None:
    beside = change.path.with_name("beside.tmp")
    beside.write_bytes(change.other)
    os.utime(beside, (LATER, LATER))
    beside.replace(change.path)


def rename_over_just_now(change: Changing) -> None:
    beside = change.path.with_name("beside.tmp")
    beside.write_bytes(change.other)
    beside.replace(change.path)


def write_in_place(change: Changing) -> None:
    with change.path.open("r+b") as file:
        file.write(change.other)
        file.truncate()
    change.age()


def write_in_place_with_the_same_size(change: Changing) -> None:
    size = change.path.stat().st_size
    # A JPEG may be followed by anything.
    data = change.other.ljust(size, b"\0")
    with change.path.open("r+b") as file:
        file.write(data[:size])
        file.truncate(size)
    change.age()


def touch(change: Changing) -> None:
    change.age()


def remove(change: Changing) -> None:
    change.path.unlink()


def break_it(change: Changing) -> None:
    change.path.write_bytes(b"no picture")
    change.age()


def cut_off(change: Changing) -> None:
    os.truncate(change.path, change.path.stat().st_size // 2)
    change.age()


def replace_by_link(change: Changing) -> None:
    target = change.path.with_name("target.tmp")
    target.write_bytes(change.other)
    os.utime(target, (LATER, LATER))
    change.path.unlink()
    change.path.symlink_to(target.name)


CHANGES = [
    rename_over,
    rename_over_just_now,
    write_in_place,
    write_in_place_with_the_same_size,
    touch,
    remove,
    break_it,
    cut_off,
    replace_by_link,
]


class Set:
    """A set of images of which some change.

    Attributes:
        folder: of the images.
        names: of them.
    """

    def __init__(self, folder: Path, cache: Path, picture: Picture) -> None:
        self.folder = folder
        self.cache = cache
        self._picture = picture
        self.names = sorted(path.name for path in folder.iterdir())

    def loader(
        self, *, is_cached: bool, identity: str = "stat", storage: Storage | None = None
    ) -> Loader:
        labels = [number % 3 for number in range(len(self.names))]
        return Loader(
            Manifest.from_rows(self.names, labels, images=self.folder),
            Recipe(16, 16),
            Sampler(5, batch_size=8),
            cache=Cache(self.cache, encoding="raw", identity=identity) if is_cached else None,
            storage=storage,
            threads=2,
            max_bad=0.5,
        )

    def change(self, change: Callable[[Changing], None], positions: list[int]) -> None:
        for position in positions:
            other = self._picture(1000 + position)
            change(Changing(self.folder / self.names[position], other))


@pytest.fixture
def pictures(
    many_images: Callable[[int], Path], tmp_path: Path, picture: Picture, write: Write
) -> Set:
    folder = many_images(COUNT)
    for path in folder.iterdir():
        # Room behind the picture, for another one of the same size.
        write(path, path.read_bytes().ljust(4096, b"\0"))
    return Set(folder, tmp_path / "cache", picture)


def assert_same(batch: Batch, other: Batch) -> None:
    for name in ("images", "labels", "weights", "positions", "sources"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(other, name), strict=True)


def assert_same_epoch(cached: Loader, plain: Loader, epoch: int) -> None:
    with cached.epoch(epoch) as batches, plain.epoch(epoch) as others:
        for batch, other in zip(batches, others, strict=True):
            assert_same(batch, other)


def noted(loader: Loader) -> list[tuple[int, str]]:
    return sorted((bad.position, bad.reason) for bad in loader.quarantine.bad)


@pytest.mark.parametrize("identity", ["stat", "content"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_between_epochs_is_seen(
    pictures: Set, change: Callable[[Changing], None], identity: str
) -> None:
    positions = [3, 17, 18, 39]
    with (
        closing(pictures.loader(is_cached=True, identity=identity)) as cached,
        closing(pictures.loader(is_cached=False)) as plain,
    ):
        for epoch in (0, 1):
            assert_same_epoch(cached, plain, epoch)
        assert cached.cache_counts.hits == COUNT
        pictures.change(change, positions)
        for epoch in (2, 3, 4):
            assert_same_epoch(cached, plain, epoch)
        assert noted(cached) == noted(plain)
        assert cached.cache_counts.damaged == 0
    with (
        closing(pictures.loader(is_cached=True, identity=identity)) as later,
        closing(pictures.loader(is_cached=False)) as plain,
    ):
        for epoch in (5, 6):
            assert_same_epoch(later, plain, epoch)
        assert noted(later) == noted(plain)


@pytest.mark.parametrize(
    "change",
    [rename_over, rename_over_just_now, write_in_place, write_in_place_with_the_same_size],
    ids=lambda change: change.__name__,
)
def test_a_change_in_a_stream_gives_the_old_image_or_the_new_one_and_then_the_new_one(
    pictures: Set, change: Callable[[Changing], None]
) -> None:
    before = images_of(pictures)
    with closing(pictures.loader(is_cached=True)) as loader:
        steps = loader.steps(0)
        with loader.endless() as stream:
            after = before
            for number, batch in enumerate(itertools.islice(stream, 6 * steps)):
                if number % 7 == 3:
                    before = after
                    pictures.change(change, list(range(number % 5, COUNT, 5)))
                    after = images_of(pictures)
                if change not in (rename_over, rename_over_just_now):
                    continue  # what is read of a file in which somebody writes may be neither
                for position, image in zip(batch.positions.tolist(), batch.images, strict=True):
                    is_old = np.array_equal(image, before[position])
                    assert is_old or np.array_equal(image, after[position])
        for number in range(steps):
            batch = loader.batch(9, number)
            for position, image in zip(batch.positions.tolist(), batch.images, strict=True):
                np.testing.assert_array_equal(image, after[position])


def images_of(pictures: Set) -> dict[int, np.ndarray]:
    loader = pictures.loader(is_cached=False)
    images = {}
    for number in range(loader.steps(0)):
        batch = loader.batch(0, number)
        images |= dict(zip(batch.positions.tolist(), batch.images, strict=True))
    return images


def test_an_image_that_changes_again_and_again_is_never_the_one_before(
    pictures: Set, picture: Picture
) -> None:
    rng = np.random.default_rng(4)
    with (
        closing(pictures.loader(is_cached=True)) as cached,
        closing(pictures.loader(is_cached=False)) as plain,
    ):
        for epoch in range(30):
            assert_same_epoch(cached, plain, epoch)
            # All have the same size, and some times may be the same.
            for position in rng.integers(0, COUNT, 5).tolist():
                path = pictures.folder / pictures.names[position]
                path.write_bytes(picture(100 * epoch + position).ljust(4096, b"\0"))


class Swapping:
    """Local images of which another file takes a name just before it is read for the first time.

    Args:
        pictures: the set.
        others: the files that take the names, by name.
    """

    def __init__(self, pictures: Set, others: dict[str, Path]) -> None:
        self._local = LocalStorage(pictures.folder)
        self._folder = pictures.folder
        self._others = others
        self.aside: list[tuple[Path, Path]] = []

    def read(self, uri: str) -> bytes:
        other = self._others.pop(uri, None)
        if other is not None:
            path = self._folder / uri
            aside = path.with_suffix(".aside")
            path.rename(aside)
            other.rename(path)
            self.aside.append((aside, path))
        return self._local.read(uri)

    def name(self, uri: str) -> bytes:
        return self._local.name(uri)

    def stamps(self, uris: Sequence[str]) -> list[Stamp | None]:
        return self._local.stamps(uris)


def test_an_image_that_was_replaced_while_it_was_read_is_not_kept_as_the_one_before(
    pictures: Set, picture: Picture, write: Write, tmp_path: Path
) -> None:
    others = {}
    for position in (3, 17, 18):
        name = pictures.names[position]
        others[name] = tmp_path / f"other {position}"
        write(others[name], picture(1000 + position))
    storage = Swapping(pictures, others)
    with (
        closing(pictures.loader(is_cached=True, storage=storage)) as cached,
        closing(pictures.loader(is_cached=False)) as plain,
    ):
        with cached.epoch(0) as batches:
            assert sum(len(batch.images) for batch in batches) == COUNT
        assert len(storage.aside) == 3
        assert_same_epoch(cached, plain, 1)
        # The files of before come back, as old and as large as they were.
        for aside, path in storage.aside:
            aside.replace(path)
        for epoch in (2, 3):
            assert_same_epoch(cached, plain, epoch)


def test_images_in_memory_are_known_by_their_content(tmp_path: Path, picture: Picture) -> None:
    files = {f"{number}.jpg": picture(number) for number in range(16)}
    manifest = Manifest.from_rows(files)
    for offset in (0, 0, 5):
        names = [f"{(number + offset) % 16}.jpg" for number in range(16)]
        storage = MemoryStorage({f"{number}.jpg": files[name] for number, name in enumerate(names)})
        cached, plain = (
            Loader(manifest, Recipe(16, 16), Sampler(1, batch_size=4), storage=storage, cache=cache)
            for cache in (Cache(tmp_path / "cache", encoding="raw"), None)
        )
        with closing(cached):
            assert_same_epoch(cached, plain, 0)
    # The same contents under other names are the same images.
    assert cached.cache_counts.hits == 16
