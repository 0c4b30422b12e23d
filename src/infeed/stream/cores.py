"""How many cores this process may really use."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path


def usable_cores(*, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The number of cores that this process may use, at least 1.

    The smallest of: the scheduler's affinity mask (taskset, Slurm, Kubernetes' static
    policy), and the CPU quota of every control group above this process (Docker `--cpus`,
    Kubernetes limits), rounded up. `os.cpu_count()` knows neither and, in a container of 2
    cores on a machine of 64, starts 64 threads.

    Args:
        proc: where the process file system is; another folder in tests.
        cgroup: where the control groups are, version 1 or 2.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # macOS and Windows have no affinity mask to ask for
        cores = os.cpu_count() or 1
    quota = _cgroup_quota(proc, cgroup)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _cgroup_quota(proc: Path, cgroup: Path) -> float | None:
    """The smallest CPU quota in cores over this process' control groups, None if unlimited."""
    try:
        # Groups are named like folders: with any bytes but a line feed.
        lines = (proc / "self" / "cgroup").read_bytes().split(b"\n")
    except OSError:
        return None
    quotas: list[float] = []
    for line in filter(None, lines):
        hierarchy, controllers, path = os.fsdecode(line).split(":", 2)
        if hierarchy == "0":
            quotas += _quotas(cgroup, path, _read_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas(cgroup / controllers, path, _read_v1)
            quotas += _quotas(cgroup / "cpu", path, _read_v1)
    return min(quotas, default=None)


def _quotas(root: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """The quotas of a group and of all groups above it: each of them binds."""
    group = root / path.strip("/")
    # Inside a container the path may be the host's: then only the root is visible.
    groups = [group, *group.parents]
    return [q for g in groups if g.is_relative_to(root) and (q := read(g)) is not None]


def _read_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text("utf-8").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _read_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text("utf-8"))
        period = int((group / "cpu.cfs_period_us").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return None if quota <= 0 else quota / period
