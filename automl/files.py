"""Writing files so that a reader, or a process killed at any instant, sees the old content or the new one."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from typing import TYPE_CHECKING, Any

from automl.errors import ConfigError

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


def put(temporary: Path, final: Path) -> None:
    """Put a finished file in the place of another; a reader sees the old content or the new one."""
    sync_file(temporary)
    temporary.replace(final)
    sync_directory(final.parent)


def publish(temporary: Path, final: Path) -> None:
    """Rename a finished folder to its final name; what it holds must be synced already."""
    sync_directory(temporary)
    temporary.rename(final)
    sync_directory(final.parent)


def plain(value: Any) -> Any:
    """JSON values of nested ones: NumPy's numbers as Python's, tuples as lists, keys as text.

    Examples
    --------
    >>> import numpy as np
    >>> plain({1: (np.float64(0.5), "a")})
    {'1': [0.5, 'a']}
    """
    import numpy as np

    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def settings_values(raw: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON values, as a file gives them back: also paths as text, sets and arrays as lists.

    Raises
    ------
    ConfigError : they hold something else.
    """
    return dict(json.loads(json.dumps(plain(raw), default=_as_json)))


def _as_json(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ConfigError(f"the settings hold {value!r}, of type {type(value).__name__}. Fix: give text, numbers or lists.")
