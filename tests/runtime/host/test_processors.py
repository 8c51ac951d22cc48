"""What affinity and control groups leave of a machine, read from made-up trees of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from edgeseg.runtime.host import processors
from edgeseg.runtime.host.processors import Cpus, inference_threads, usable_cpus

if TYPE_CHECKING:
    from pathlib import Path

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "25 20 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n"
    "26 25 0:23 {first} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "27 25 0:24 {first} /sys/fs/cgroup/cpuset rw shared:10 - cgroup cgroup rw,cpuset\n"
    "28 25 0:25 / /sys/fs/cgroup/unified rw shared:11 - cgroup2 cgroup2 rw\n"
)
V1_GROUPS = "4:cpuset:{group}\n3:cpu,cpuacct:{group}\n1:name=systemd:/other\n0::/other\n"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def tree(root: Path, mounts: str, groups: str, **files: str) -> Path:
    """Write what the kernel shows; `files` are by their path below `/sys/fs/cgroup`."""
    written = {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups}
    written |= {f"sys/fs/cgroup/{path}": content for path, content in files.items()}
    for path, content in written.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root


def version_1(quota: int, period: int = 100_000, folder: str = "") -> dict[str, str]:
    place = f"cpu,cpuacct/{folder}"
    return {f"{place}cpu.cfs_quota_us": f"{quota}\n", f"{place}cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("content", "quota", "count"),
    [
        ("max 100000\n", None, 8),
        ("200000 100000\n", 2, 2),
        ("150000 100000\n", 1.5, 2),
        ("10000 100000\n", 0.1, 1),
        ("25000 50000\n", 0.5, 1),
        ("300000\n", 3, 3),
        ("3200000 100000\n", 32, 8),
        ("", None, 8),
        ("nonsense\n", None, 8),
        ("100000 0\n", None, 8),
    ],
)
def test_a_container_of_version_2(tmp_path: Path, content: str, quota: float | None, count: int) -> None:
    found = usable_cpus(tree(tmp_path, V2, "0::/\n", **{"cpu.max": content}))

    assert found.quota == quota
    assert found.count == count


def test_the_smallest_quota_on_the_way_counts(tmp_path: Path) -> None:
    files = {
        "kubepods/cpu.max": "700000 100000",
        "kubepods/pod7/cpu.max": "300000 100000",
        "kubepods/pod7/c1/cpu.max": "max 100000",
        "kubepods/pod7/c2/cpu.max": "100000 100000",
    }
    root = tree(tmp_path, V2, "0::/kubepods/pod7/c1\n", **files)

    assert usable_cpus(root).count == 3


@pytest.mark.parametrize(
    ("first", "group", "folder"),
    [
        pytest.param("/", "/", "", id="a namespace of its own"),
        pytest.param("/docker/1f9", "/docker/1f9", "", id="mounted from its own group"),
        pytest.param("/docker/1f9", "/docker/1f9/jobs", "jobs/", id="a group within the container"),
        pytest.param("/", "/user/job", "user/job/", id="a group of the host"),
        pytest.param("/", "/user/job", "user/", id="the group above"),
        pytest.param("/docker/1f9", "/elsewhere", "", id="a group that is not seen"),
        pytest.param("/", "/../../elsewhere", "", id="a group above the namespace"),
    ],
)
def test_version_1(tmp_path: Path, first: str, group: str, folder: str) -> None:
    files = {**version_1(-1), **version_1(250_000, folder=folder)}
    root = tree(tmp_path, V1.format(first=first), V1_GROUPS.format(group=group), **files)

    assert usable_cpus(root).quota == 2.5
    assert usable_cpus(root).count == 3


def test_no_quota_in_version_1(tmp_path: Path) -> None:
    root = tree(tmp_path, V1.format(first="/"), V1_GROUPS.format(group="/"), **version_1(-1))

    assert usable_cpus(root).quota is None


def test_a_quota_of_another_group_is_none_of_ours(tmp_path: Path) -> None:
    root = tree(
        tmp_path, V2, "0::/mine\n", **{"mine/cpu.max": "max 100000", "other/cpu.max": "100000 100000"}
    )

    assert usable_cpus(root).quota is None


def test_a_system_without_these_files(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == Cpus(present=8, allowed=tuple(range(8)), quota=None)


def test_damaged_files_are_no_limit(tmp_path: Path) -> None:
    root = tree(tmp_path, "x y\n\n" + V2 + "- cgroup2\n", "0:\nnonsense\n", **{"cpu.max": "200000 100000"})

    assert usable_cpus(root).count == 2


def test_a_system_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")

    assert usable_cpus(tmp_path).allowed == tuple(range(8))


def test_affinity_and_quota_both_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path, V2, "0::/\n", **{"cpu.max": "400000 100000"})
    assert usable_cpus(root).count == 4

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5, 2, 3})
    assert usable_cpus(root).allowed == (2, 3, 5)
    assert usable_cpus(root).count == 3


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Cpus(present=8, allowed=tuple(range(8)), quota=None), "8 cores"),
        (
            Cpus(present=8, allowed=(0, 1, 2), quota=None),
            "8 cores, 3 of them allowed by affinity: 3 usable",
        ),
        (
            Cpus(present=8, allowed=(0, 1, 2), quota=1.5),
            "8 cores, 3 of them allowed by affinity, a quota of 1.5 by the control group: 2 usable",
        ),
        (Cpus(present=2, allowed=(0, 1), quota=3), "2 cores, a quota of 3 by the control group"),
    ],
    ids=[
        "all",
        "affinity",
        "affinity and quota",
        "a quota above what is there",
    ],
)
def test_in_words(found: Cpus, words: str) -> None:
    assert str(found) == words


def test_threads_are_left_to_a_backend_that_may_use_the_machine(tmp_path: Path) -> None:
    assert inference_threads(None, tmp_path) is None
    assert inference_threads(3, tmp_path) == 3


def test_threads_within_a_quota(tmp_path: Path) -> None:
    root = tree(tmp_path, V2, "0::/\n", **{"cpu.max": "250000 100000"})

    assert inference_threads(None, root) == 3
    # Whoever asks for more gets it.
    assert inference_threads(6, root) == 6


def test_one_thread_for_two_that_share_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for core in range(8):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{core % 4},{core % 4 + 4}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4, 5})

    assert inference_threads(None, tmp_path) == 2


def test_this_machine_has_at_least_one() -> None:
    assert processors.usable_cpus().count >= 1
