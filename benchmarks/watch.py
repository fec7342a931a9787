"""Programs run and watched: in a session of their own, killed after a time, with the memory of all they start."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

_WATCH = 0.25
"""Seconds between two looks at a program's memory."""


def memory_of(leader: int) -> float:
    """MB that all processes of a session hold now, shared pages counted once."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getsid(int(entry.name)) != leader:
                continue
            for line in (entry / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except (OSError, ValueError):
            continue  # it has ended meanwhile
    return total / 1024


def watched(command: list[str], log: Path, limit: float) -> tuple[int, float]:
    """Run a command in a session of its own, killed after `limit` seconds: exit code, and peak MB of the session."""
    peak, end = 0.0, time.monotonic() + limit
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        while True:
            try:
                return process.wait(timeout=_WATCH), peak
            except subprocess.TimeoutExpired:
                peak = max(peak, memory_of(process.pid))
            if time.monotonic() > end:
                os.killpg(process.pid, 9)
