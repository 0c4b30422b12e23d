"""Images that are old enough to be kept, and loaders over them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from infeed import Cache, Loader, Manifest, Recipe, Sampler

# A program that imports another beside it; pytest would look for doctests in it.
collect_ignore = ["fault_program.py"]

LONG_AGO = 1_700_000_000
COUNT = 24
SIZE = 16

MakeLoader = Callable[..., Loader]


@pytest.fixture
def picture() -> Callable[[int], bytes]:
    """Makes a JPEG like no other number's."""

    def make(number: int) -> bytes:
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (5, 5, 3), np.uint8)
        image = cv2.resize(coarse, (40, 40), interpolation=cv2.INTER_CUBIC)
        return cv2.imencode(".jpg", image)[1].tobytes()

    return make


@pytest.fixture
def write() -> Callable[[Path, bytes], None]:
    """Makes a file that was last modified long ago: one of this moment would not be kept."""

    def make(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (LONG_AGO, LONG_AGO))

    return make


@pytest.fixture
def images(
    tmp_path: Path, picture: Callable[[int], bytes], write: Callable[[Path, bytes], None]
) -> Path:
    folder = tmp_path / "images"
    for number in range(COUNT):
        write(folder / f"{number:02} - 副本.jpg", picture(number))
    return folder


@pytest.fixture
def make_loader(images: Path) -> MakeLoader:
    """A loader over the images; `cache` and `names` may be given, and what `Loader` takes."""

    def make(
        cache: Cache | Path | None = None,
        names: Sequence[str] | None = None,
        recipe: Recipe | None = None,
        batch_size: int = 8,
        **options: Any,
    ) -> Loader:
        if names is None:
            names = sorted(path.name for path in images.iterdir())
        manifest = Manifest.from_rows(names, images=images)
        options = {"threads": 2, "max_bad": 0} | options
        sampler = Sampler(3, batch_size=batch_size)
        return Loader(manifest, recipe or Recipe(SIZE, SIZE), sampler, cache=cache, **options)

    return make


@pytest.fixture(scope="session")
def program() -> ModuleType:
    """`fill_program.py`, which tests run in this process, too."""
    path = Path(__file__).with_name("fill_program.py")
    spec = importlib.util.spec_from_file_location("fill_program", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fill_program"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def many_images(
    tmp_path: Path, picture: Callable[[int], bytes], write: Callable[[Path, bytes], None]
) -> Callable[[int], Path]:
    """Makes a folder of so many images."""

    def make(count: int) -> Path:
        folder = tmp_path / f"{count} images"
        for number in range(count):
            write(folder / f"{number:04} - 图.jpg", picture(number))
        return folder

    return make


@pytest.fixture
def start_fill() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `fill_program.py` with arguments; what still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, wrapper: Sequence[str] = ()) -> subprocess.Popen[str]:
        program = Path(__file__).with_name("fill_program.py")
        process = subprocess.Popen(
            [*wrapper, sys.executable, "-B", str(program), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def fill(start_fill: Callable[..., subprocess.Popen[str]]) -> Callable[..., dict[str, Any]]:
    """Runs `fill_program.py` to its end, and gives its report."""

    def make(*arguments: object, wrapper: Sequence[str] = ()) -> dict[str, Any]:
        process = start_fill(*arguments, wrapper=wrapper)
        out, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        report: dict[str, Any] = json.loads(out.splitlines()[-1])
        return report

    return make


@pytest.fixture
def faults(many_images: Callable[[int], Path], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs `fault_program.py` over so many images, and gives its tally."""

    def make(count: int, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, str(Path(__file__).with_name("fault_program.py"))]
        command += [str(many_images(count)), str(tmp_path / "caches"), *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        assert ended.returncode == 0, ended.stderr
        tally: dict[str, Any] = json.loads(ended.stdout)
        return tally

    return make
