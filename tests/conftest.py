"""What every test stands on."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Keras reads it when it is first imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

# Half of the time would go to compiling the same small models. JAX keeps what it compiled, for
# this session and the commands that it starts.
COMPILED = tempfile.mkdtemp(prefix="infeed-tests-compiled-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# It writes in place: what a command was killed over, or is still writing, another cannot read, says
# so, and compiles.
_CUT_SHORT = "ignore:Error reading persistent compilation cache entry:UserWarning"
os.environ["PYTHONWARNINGS"] = ",".join(
    filter(None, [os.environ.get("PYTHONWARNINGS"), _CUT_SHORT])
)

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the commands
# that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine may stall for seconds: a slow example is no failure.
settings.register_profile("infeed", deadline=None, max_examples=100)
settings.load_profile("infeed")


def pytest_unconfigure() -> None:
    """Removes what JAX compiled."""
    shutil.rmtree(COMPILED, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Fails a test that leaves a thread of ours running."""
    yield
    # A thread whose reader was collected ends by itself, after the image it has in hand.
    deadline = time.monotonic() + 5
    while (left := _our_threads()) and time.monotonic() < deadline:
        left[0].join(timeout=0.05)
    assert not left, f"threads left behind: {[thread.name for thread in left]}"


def _our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("infeed-")]
