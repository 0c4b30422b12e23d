"""The budget of bytes in the making: bounded, fair, and never waited for in vain."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from infeed.sample.budget import BUDGET_BYTES, DecodeBudget
from infeed.sample.decode import decode_into
from infeed.sample.header import read_header
from infeed.sample.peak import FREE_BYTES, MOST_BYTES_A_PIXEL, peak_bytes
from infeed.sample.recipe import Recipe
from infeed.sample.scratch import Scratch

SECONDS = 30  # a hang becomes a failure


def wait_until_waiting(budget, count):
    while budget.waiting < count:
        threading.Event().wait(0.001)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_never_more_than_the_budget_unless_one_goes_alone(sizes):
    budget = DecodeBudget(40)
    lock = threading.Lock()
    inside: list[int] = []
    seen: list[list[int]] = []

    def work(size: int) -> None:
        with budget.hold(size):
            with lock:
                inside.append(size)
                seen.append(list(inside))
            with lock:
                inside.remove(size)

    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(work, size) for size in sizes]:
            future.result(SECONDS)
    assert all(sum(held) <= 40 or len(held) == 1 for held in seen)
    assert budget.held == 0
    assert budget.waiting == 0


def test_a_large_one_is_not_passed_by_small_ones():
    budget = DecodeBudget(10)
    order: list[str] = []

    def work(name: str, size: int) -> None:
        with budget.hold(size):
            order.append(name)

    with ThreadPoolExecutor(4) as threads:
        with budget.hold(5):
            large = threads.submit(work, "large", 100)
            wait_until_waiting(budget, 1)
            small = [threads.submit(work, "small", 1) for _ in range(3)]
            wait_until_waiting(budget, 4)
            assert order == []
        for future in (large, *small):
            future.result(SECONDS)
    assert order[0] == "large"


def test_an_error_within_gives_back():
    budget = DecodeBudget(10)
    with pytest.raises(KeyError), budget.hold(10):
        raise KeyError
    assert budget.held == 0


def test_a_wait_that_is_interrupted_leaves_no_place_in_the_line():
    budget = DecodeBudget(10)

    class InterruptedWait(threading.Condition):
        def wait_for(self, predicate, timeout=None):
            raise KeyboardInterrupt

    budget._account.changed = InterruptedWait()
    with pytest.raises(KeyboardInterrupt), budget.hold(1):
        pass
    assert (budget.held, budget.waiting) == (0, 0)


FORK = """
import os
from infeed.sample.budget import BUDGET_BYTES, DecodeBudget
budget = DecodeBudget(10)
with budget.hold(10):
    child = os.fork()
    if not child:
        with budget.hold(10):
            os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_does_not_wait_for_threads_that_it_has_not_got():
    # In a process of its own: others here may have threads that a fork would break.
    printed = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=SECONDS
    )
    assert printed.stdout == "7\n"


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nbytes must be at least 1, got 0"):
        DecodeBudget(0)


class Noted:
    """A budget that writes down what it was asked for."""

    def __init__(self):
        self.asked = []

    def hold(self, nbytes):
        self.asked.append(nbytes)
        return DecodeBudget().hold(nbytes)


def saved(width, height, format_, mode="RGB", **options):
    file = io.BytesIO()
    Image.new(mode, (width, height), 120).save(file, format_, **options)
    return file.getvalue()


def decode(data, recipe, budget):
    decode_into(data, recipe, np.empty(recipe.shape, np.uint8), Scratch(budget=budget))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_a_large_picture_asks_and_a_small_one_does_not(format_):
    budget = Noted()
    mode = "L" if format_ == "GIF" else "RGB"
    options = {"speed": 10} if format_ == "AVIF" else {}
    decode(saved(400, 533, format_, mode, **options), Recipe(8, 8, decode="exact"), budget)
    assert budget.asked == []
    decode(saved(3000, 2000, format_, mode, **options), Recipe(8, 8, decode="exact"), budget)
    (asked,) = budget.asked
    assert asked > FREE_BYTES


def test_a_jpeg_that_is_reduced_while_it_is_decoded_asks_for_less():
    data = saved(4000, 3000, "JPEG")
    header = read_header(data)
    assert peak_bytes(header, data, "rgb", 1) >= 3 * 4000 * 3000
    assert peak_bytes(header, data, "rgb", 8) < 4000 * 3000


def test_a_progressive_jpeg_asks_for_its_coefficients():
    data = saved(4000, 3000, "JPEG", progressive=True)
    assert peak_bytes(read_header(data), data, "rgb", 8) >= 6 * 4000 * 3000


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF"])
@pytest.mark.parametrize("color_mode", ["rgb", "grayscale", "rgba"])
def test_no_picture_is_reckoned_above_the_most_that_one_takes(format_, color_mode):
    data = saved(64, 64, format_, "L" if format_ == "GIF" else "RGB")
    for orientation in (1, 6):
        header = read_header(data)._replace(orientation=orientation, progressive=True)
        assert peak_bytes(header, data, color_mode, 1) <= MOST_BYTES_A_PIXEL * 64 * 64


def test_many_threads_with_large_pictures_all_finish():
    budget = DecodeBudget(1)  # each goes alone
    data = saved(1500, 1500, "PNG")
    recipe = Recipe(16, 16)
    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(decode, data, recipe, budget) for _ in range(24)]:
            future.result(SECONDS)
    assert budget.held == 0


LARGE = """
import io
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from infeed.sample import Recipe, Scratch, decode_into, use_one_thread_per_call


def anonymous():
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024


side, threads = int(sys.argv[1]), int(sys.argv[2])
file = io.BytesIO()
Image.new("RGB", (side, side), 120).save(file, "JPEG")
data = file.getvalue()
use_one_thread_per_call()
recipe = Recipe(height=32, width=32, decode="exact")
start = peak = anonymous()
done = threading.Event()


def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, anonymous())


watcher = threading.Thread(target=watch)
watcher.start()
with ThreadPoolExecutor(threads) as pool:
    for future in [
        pool.submit(decode_into, data, recipe, np.empty(recipe.shape, np.uint8), Scratch())
        for _ in range(threads)
    ]:
        future.result()
done.set()
watcher.join()
sys.stdout.write(str(peak - start))
"""


@pytest.mark.slow
def test_thirty_two_threads_with_the_largest_pictures_stay_within_the_budget():
    # 89 megapixels as RGB are 268 MB: 8.6 GB if all were made at once.
    printed = subprocess.run(
        [sys.executable, "-c", LARGE, "9459", "32"], capture_output=True, text=True, check=True
    )
    assert 268_000_000 < int(printed.stdout) < BUDGET_BYTES + 500_000_000
