"""What the machine, or the part of it that this process may use, has: free memory and cores."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

MB = 1e6


def free_mb() -> float | None:
    """Free memory of the machine or of the container this runs in, in MB (1e6 bytes); None where it cannot be told."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")))
    except (OSError, StopIteration, ValueError):
        if hasattr(os, "sysconf") and {"SC_AVPHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        found.append(group_free(Path("/sys/fs/cgroup")))
    return max(0.0, min(found)) / MB if found else None


def group_free(group: Path) -> int:
    """Bytes that a control group (version 2) may still take; the file cache counts as free, as it gives way.

    Raises
    ------
    OSError, ValueError : it is no such group, or one without a limit.
    """
    limit, used, stat = ((group / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current", "stat"))
    entries = dict(line.split() for line in stat.splitlines())
    return int(limit) - int(used) + sum(int(entries.get(name, 0)) for name in ("inactive_file", "active_file"))


def cores() -> int:
    """Cores that this process may use: those it is bound to, and no more than its container's share of time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(bound, math.ceil(int(share) / int(period))))
    except (OSError, ValueError):
        return bound  # no container, or one without a limit ("max")
