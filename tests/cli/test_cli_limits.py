"""Commands where the system gives little: open files, disk, folders that cannot be written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("infeed")

# In a program of its own: what runs between fork and exec must not, in a process that has JAX.
LIMIT = """
import ast, os, resource, sys
for limit, most in ast.literal_eval(sys.argv[1]):
    if most is not None:
        resource.setrlimit(limit, (most, most))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def limited(infeed, leaves):
    """Runs a command that may have so many files open, or write files of so many bytes."""
    for path in leaves.train_images.iterdir():
        os.utime(path, (1e9, 1e9))  # what was written just now is not kept

    def run(*arguments, files: int | None = None, file_bytes: int | None = None):
        limits = [(resource.RLIMIT_NOFILE, files), (resource.RLIMIT_FSIZE, file_bytes)]
        return subprocess.run(
            [sys.executable, "-c", LIMIT, repr(limits), COMMAND, *map(str, arguments)],
            cwd=infeed.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def train(infeed, leaves, *more, out="run"):
    return (
        *("train", leaves.train_manifest, "--images", leaves.train_images, *infeed.tiny),
        *("--epochs", 2, "--out", out, *more),
    )


def test_32_threads_train_with_64_open_files(limited, infeed, leaves):
    done = limited(*train(infeed, leaves, "--threads", 32, "--cache", "cache"), files=64)
    assert done.returncode == 0, done.stderr
    assert "Too many open files" not in done.stdout + done.stderr
    assert len(list((infeed.folder / "cache").glob("*/*.seg"))) >= 1


def test_32_threads_are_measured_with_64_open_files(limited, infeed, leaves):
    bench = ("bench", leaves.train_images, "--size", 16, "--threads", 32, "--cache", "cache")
    done = limited(*bench, files=64)
    assert done.returncode == 0, done.stderr


def test_too_few_open_files_are_named_with_a_cure(limited, leaves):
    done = limited("bench", leaves.train_images, "--size", 16, files=10)
    assert done.returncode == 1
    assert "Too many open files. Let this process open more files (`ulimit -n`)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("gigabytes_a_thread", [3, 6])
def test_fewer_threads_do_and_none_is_named(infeed, leaves, gigabytes_a_thread):
    stack = gigabytes_a_thread * 10**9
    limits = [(resource.RLIMIT_STACK, stack), (resource.RLIMIT_AS, 65 * 10**8)]
    done = subprocess.run(
        [
            *(sys.executable, "-c", LIMIT, repr(limits), COMMAND),
            *("cache", "fill", leaves.train_images, "--cache", "cache", "--threads", "32"),
        ],
        cwd=infeed.folder,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # numpy would start some of its own
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if gigabytes_a_thread == 3:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("infeed: can't start new thread: the system")


def test_a_run_for_whose_model_there_is_no_room_leaves_nothing(limited, infeed, leaves):
    done = limited(*train(infeed, leaves), file_bytes=4096)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "infeed: run/model.keras cannot be written: File too large. Free some space there, or "
        "choose another folder."
    )
    assert not (infeed.folder / "run").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named_and_stays(infeed, leaves):
    (infeed.folder / "run").mkdir(mode=0o555)
    done = infeed(*train(infeed, leaves))
    assert done.returncode == 1
    assert "infeed: run/class_names.json cannot be written: Permission denied." in done.stderr
    assert (infeed.folder / "run").is_dir()


def test_a_run_whose_folder_is_removed_goes_on_and_can_be_resumed(infeed, leaves):
    process = infeed.start(*train(infeed, leaves, "--epochs", 1_000_000))
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Epoch 2/"):
            shutil.rmtree(infeed.folder / "run", ignore_errors=True)
        if line.startswith("Epoch 40/"):
            break
    process.terminate()
    out, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "Traceback" not in out + said
    done = infeed(*train(infeed, leaves, "--epochs", 60, "--resume"))
    assert done.returncode == 0, done.stderr


def test_a_reader_that_has_seen_enough_ends_a_training_without_a_traceback(infeed, leaves):
    arguments = " ".join(f"'{each}'" for each in train(infeed, leaves, "--epochs", 1_000_000))
    done = subprocess.run(
        f"'{COMMAND}' {arguments} | head -2",
        shell=True,
        cwd=infeed.folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""
    done = infeed(*train(infeed, leaves, "--epochs", 60, "--resume"))
    assert done.returncode == 0, done.stderr
