"""Storage that fails now and then costs no image; storage that is broken costs no patience."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from infeed import Loader, Manifest, Recipe, RetryingStorage, Sampler
from infeed.errors import TooManyBadImagesError

# An epoch over a folder; says which records were bad, and the mean of each picture.
PROGRAM = """
import json, sys
from infeed import LocalStorage, Loader, Manifest, Recipe, RetryingStorage, Sampler
manifest = Manifest.from_folders(sys.argv[1], labelled=False)
storage = RetryingStorage(LocalStorage(sys.argv[1]), attempts=4, first_wait_seconds=0.001)
sampler = Sampler(batch_size=4, sampling="sequential")
loader = Loader(manifest, Recipe(height=8, width=8), sampler, storage=storage, max_bad=1.0,
                on_bad_image="mask", threads=2)
sys.stderr.write("ready\\n")
with loader.epoch(0) as batches:
    means = [round(float(image.mean())) for batch in batches for image in batch.images]
print(json.dumps([means, {str(bad.position): bad.reason for bad in loader.quarantine.bad}]))
"""

MEANS = [number * 10 + 5 for number in range(12)]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for number, mean in enumerate(MEANS):
        cv2.imwrite(str(root / f"{number:02}.png"), np.full((8, 8, 3), mean, np.uint8))
    return root


def epoch_with_fault(folder, fault):
    """What an epoch comes to when strace spoils the calls on the sixth image."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    options = ["-f", "-qq", "-o", folder.parent / "log", "-P", folder / "05.png"]
    done = subprocess.run(
        ["strace", *options, "-e", f"inject={fault}", sys.executable, "-c", PROGRAM, folder],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ready" not in done.stderr:
        pytest.skip(f"strace cannot be used here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert "INJECTED" in (folder.parent / "log").read_text()
    return json.loads(done.stdout)


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "ETIMEDOUT", "EMFILE"])
def test_an_image_whose_file_cannot_be_opened_twice_is_had(folder, error):
    means, bad = epoch_with_fault(folder, f"openat:error={error}:when=1..2")
    assert means == MEANS
    assert bad == {}


@pytest.mark.parametrize("fault", ["openat:error=EIO", "read:error=EIO", "read:error=ESTALE"])
def test_an_image_whose_file_cannot_be_read_is_bad_by_io_and_the_rest_is_had(folder, fault):
    means, bad = epoch_with_fault(folder, fault)
    assert means == [0 if number == 5 else mean for number, mean in enumerate(MEANS)]
    assert bad == {"5": "io"}


def test_a_disk_that_is_broken_ends_the_run_after_few_waits():
    class Broken:
        reads = 0

        def read(self, uri: str) -> bytes:
            self.reads += 1
            raise OSError(errno.EIO, "Input/output error")

    waits = []
    disk = Broken()
    storage = RetryingStorage(disk, wait=waits.append)
    loader = Loader(
        Manifest.from_rows([f"{number}.jpg" for number in range(1000)], ["a", "b"] * 500),
        Recipe(height=8, width=8),
        Sampler(batch_size=16),
        storage=storage,
        max_bad=500,
        threads=2,
    )
    with pytest.raises(TooManyBadImagesError, match="io"), loader.epoch(0) as batches:
        next(iter(batches))
    # Seven for each of the reads that make it count as down, and for what was under way then.
    assert 8 * 7 <= len(waits) <= 10 * 7
    assert disk.reads <= 1000 + len(waits)
