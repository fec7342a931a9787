"""Writing files so that a reader, or a process killed at any instant, sees the old content or the new one."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Write under a temporary name in the same folder, sync, rename over `path`."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document atomically (NaN and infinities as Python writes them)."""
    write_atomic(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def sync_file(path: Path) -> None:
    """Force a file's content onto the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Force a folder's entries (new names, renames) onto the disk, where the system can."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a folder with all it holds, or a file; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def publish(temporary: Path, final: Path) -> None:
    """Rename a finished folder to its final name; what it holds must be synced already."""
    sync_directory(temporary)
    temporary.rename(final)
    sync_directory(final.parent)
