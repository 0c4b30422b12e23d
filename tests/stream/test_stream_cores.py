"""The cores that a process may really use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infeed.stream import usable_cores


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Empty `proc` and `cgroup` folders, as a test fills them."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "cgroup").mkdir()
    return tmp_path


def cores(machine: Path) -> int:
    return usable_cores(proc=machine / "proc", cgroup=machine / "cgroup")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_the_affinity_mask_counts(machine: Path) -> None:
    assert cores(machine) == len(os.sched_getaffinity(0))


def test_a_version_2_quota_binds_rounded_up(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/user/job\n")
    write(machine / "cgroup/user/job/cpu.max", "50000 100000\n")
    assert cores(machine) == 1


@pytest.mark.parametrize("name", [b"job \xff", b"job\r\xc2\x85", "作业\u2028".encode()])
def test_the_quota_of_a_group_with_any_name_binds(machine: Path, name: bytes) -> None:
    (machine / "proc/self/cgroup").write_bytes(b"0::/user/" + name + b"\n")
    write(machine / "cgroup/user" / os.fsdecode(name) / "cpu.max", "50000 100000\n")
    assert cores(machine) == 1


def test_a_quota_of_a_group_above_binds_too(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/user/job\n")
    write(machine / "cgroup/user/job/cpu.max", "max 100000\n")
    write(machine / "cgroup/user/cpu.max", "100000 100000\n")
    assert cores(machine) == 1


def test_a_quota_above_the_affinity_mask_does_not_add_cores(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/\n")
    write(machine / "cgroup/cpu.max", "100000000 100000\n")
    assert cores(machine) == len(os.sched_getaffinity(0))


def test_a_version_1_quota_binds_and_minus_one_is_none(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n")
    group = machine / "cgroup/cpu,cpuacct"
    write(group / "cpu.cfs_quota_us", "-1\n")
    write(group / "cpu.cfs_period_us", "100000\n")
    assert cores(machine) == len(os.sched_getaffinity(0))
    write(group / "docker/abc/cpu.cfs_quota_us", "90000\n")
    write(group / "docker/abc/cpu.cfs_period_us", "100000\n")
    assert cores(machine) == 1


def test_a_container_that_sees_the_hosts_path_still_finds_its_quota(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/kubepods/pod1/abc\n")
    write(machine / "cgroup/cpu.max", "100000 100000\n")
    assert cores(machine) == 1


def test_nonsense_in_the_files_is_no_quota(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/\n")
    write(machine / "cgroup/cpu.max", "what?\n")
    assert cores(machine) == len(os.sched_getaffinity(0))
