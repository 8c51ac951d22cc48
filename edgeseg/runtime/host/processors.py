"""How many processors this process may use, by its affinity and by the quota of its container."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
# A line of /proc/self/cgroup: controllers and group. One of /proc/self/mountinfo: the group that is mounted,
# where, which version of control groups, and the options, with controllers among them.
GROUP = re.compile(r"^\d+:([^:\n]*):(.*)$", re.MULTILINE)
MOUNT = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .*- (cgroup2?) \S* (\S*)$", re.MULTILINE)
# Microseconds; the kernel's own, where `cpu.max` names none.
DEFAULT_PERIOD = "100000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpus:
    """The processors of this machine, as far as this process may use them.

    Attributes:
        present: How many the machine has; two threads of one core are two.
        allowed: Numbers of those that this process may run on, by its affinity.
        quota: How many of them the control groups (cgroups) let it keep busy in the mean; None for all.
    """

    present: int
    allowed: tuple[int, ...]
    quota: float | None

    @property
    def count(self) -> int:
        """How many threads can be put to use.

        A quota of 1.5 is 2: two threads use all of it, though they wait for a quarter of the time, and one
        would leave a third of it unused.
        """
        return len(self.allowed) if self.quota is None else min(len(self.allowed), math.ceil(self.quota))

    def __str__(self) -> str:
        words = [f"{self.present} cores"]
        if len(self.allowed) < self.present:
            words.append(f"{len(self.allowed)} of them allowed by affinity")
        if self.quota is not None:
            words.append(f"a quota of {self.quota:g} by the control group")
        return ", ".join(words) + (f": {self.count} usable" if self.count < self.present else "")


def usable_cpus(root: Path = ROOT) -> Cpus:
    """Look at what limits this process.

    Args:
        root: The root of the file system; tests put a made-up one in its place.
    """
    return Cpus(present=os.cpu_count() or 1, allowed=allowed_cores(), quota=_quota(root))


def allowed_cores() -> tuple[int, ...]:
    """Numbers of the cores that this process may run on, whatever its quota."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def thread_siblings(core: int, root: Path = ROOT) -> str:
    """Name a core with those that are threads of the same one, as in `0,4`; alike for all of them."""
    return _text(root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list") or str(core)


def inference_threads(requested: int | None, root: Path = ROOT) -> int | None:
    """Choose how many threads a backend is to compute with.

    Args:
        requested: By the user; None for no wish.
        root: As `usable_cpus`.

    Returns:
        What was asked for; else None where the whole machine may be used, for then a backend takes one thread
        a core by itself; else one for each core that may be used, as not every backend sees the limits.
    """
    cpus = usable_cpus(root)
    if requested is not None or cpus.count >= cpus.present:
        return requested
    return min(cpus.count, len({thread_siblings(core, root) for core in cpus.allowed}))


def _quota(root: Path) -> float | None:
    """Find the smallest quota from the control group of this process up to the first that is mounted."""
    groups: dict[str, str] = {}
    for controllers, group in GROUP.findall(_text(root / "proc/self/cgroup")):
        groups |= dict.fromkeys(controllers.split(","), group)
    quotas: list[float | None] = []
    for first, mounted, system, options in MOUNT.findall(_text(root / "proc/self/mountinfo")):
        controller, read = VERSIONS[system]
        if not controller or controller in options.split(","):
            below = _group_below_mount(groups.get(controller, "/"), first)
            quotas += [read(root / mounted.lstrip("/") / folder) for folder in (below, *below.parents)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _group_below_mount(group: str, first: str) -> PurePosixPath:
    """Place a group below the first that is mounted, which in a container is often its own."""
    path = PurePosixPath(group)
    if ".." in path.parts or not path.is_relative_to(first):
        return PurePosixPath()
    return path.relative_to(first)


def _quota_of_version_1(folder: Path) -> float | None:
    return _cpus(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _quota_of_version_2(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return _cpus(quota, period or DEFAULT_PERIOD)


# By type of file system: the controller that must be mounted, and how a group is read.
VERSIONS = {"cgroup": ("cpu", _quota_of_version_1), "cgroup2": ("", _quota_of_version_2)}


def _cpus(quota_us: str, period_us: str) -> float | None:
    """Divide; None for `max` and -1, which set no limit, and where there is no such file."""
    if not (quota_us.isdecimal() and period_us.isdecimal() and int(quota_us) and int(period_us)):
        return None
    return int(quota_us) / int(period_us)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
