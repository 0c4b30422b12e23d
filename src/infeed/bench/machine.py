"""What a measurement was made on."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from infeed.stream import usable_cores
from infeed.version import __version__

_PACKAGES: Sequence[str] = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "simplejpeg",
    "pillow",
    "keras",
    "jax",
    "tensorflow",
    "torch",
)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() in ("model name", "hardware", "cpu model"):
            return value.strip()
    return platform.processor() or platform.machine()


def _memory_mb() -> int | None:
    try:
        first = Path("/proc/meminfo").read_text("utf-8").split("\n", 1)[0]
        return int(first.split()[1]) // 1024
    except (OSError, ValueError, IndexError):
        return None


def _versions() -> dict[str, str]:
    found = {"infeed": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the programs that a figure belongs to; by default those of now.

    Attributes:
        cpu: the processor, as it calls itself.
        cores: that this process may use.
        memory_mb: of the machine, in MiB; None where the system does not tell.
        system: kernel and architecture.
        versions: of infeed, Python, and the packages that decode and train.
    """

    cpu: str = field(default_factory=_processor)
    cores: int = field(default_factory=usable_cores)
    memory_mb: int | None = field(default_factory=_memory_mb)
    system: str = field(
        default_factory=lambda: f"{sys.platform} {platform.release()} {platform.machine()}"
    )
    versions: dict[str, str] = field(default_factory=_versions)
