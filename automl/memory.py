"""What the machine, or the part of it that this process may use, has: free memory and cores."""

from __future__ import annotations

import math
import os
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
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (group / name for name in ("memory.max", "memory.current"))
        found.append(int(limit.read_text(encoding="ascii")) - int(used.read_text(encoding="ascii")))
    except (OSError, ValueError):
        pass  # no container, or one without a limit ("max")
    return max(0.0, min(found)) / MB if found else None


def cores() -> int:
    """Cores that this process may use: those it is bound to, and no more than its container's share of time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(bound, math.ceil(int(share) / int(period))))
    except (OSError, ValueError):
        return bound  # no container, or one without a limit ("max")
