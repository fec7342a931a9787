"""How kernels are compiled, and where the compiled code is kept."""

from __future__ import annotations

import gc
import hashlib
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CACHE_VARIABLE = "FORECASTLE_CACHE_DIR"
"""Environment variable that names another folder for compiled code."""


def kernel(function: Callable) -> Any:
    """Compile a function on its first call: without the interpreter lock, kept on disk, IEEE division.

    Kernels must not take functions as arguments and must not be closures: numba cannot keep those on disk.

    Examples
    --------
    >>> from forecasting.kernels.unitroot import is_constant
    >>> is_constant.py_func([3.0, 3.0])
    True
    """
    return _kept(function, fastmath=False)


def reordering(function: Callable) -> Any:
    """Compile as `kernel` does, but sums may be added up in another order: in vector instructions, always the same."""
    return _kept(function, fastmath={"reassoc"})


def _kept(function: Callable, *, fastmath: bool | set[str]) -> Any:
    before = numba.config.CACHE_DIR
    # numba reads the folder while it decorates; other users of numba in this process keep their own
    numba.config.CACHE_DIR = str(cache_folder(Path(function.__code__.co_filename)))
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=fastmath)(function)
    finally:
        numba.config.CACHE_DIR = before


def part(function: Callable) -> Any:
    """Make a piece of the kernels that call it: compiled with each of them and never by itself.

    For what one kernel alone calls: numba optimises a kernel anew in each of its callers, level upon level.
    """
    return numba.njit(inline="always")(function)


@contextmanager
def compiling() -> Iterator[None]:
    """Without collecting garbage meanwhile: a compiler makes millions of small objects, a tenth of its time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@cache
def cache_folder(source: Path) -> Path:
    """Writable folder of a file's compiled code, its name a hash of the file and all kernel files it builds on.

    numba notices a change of the file a kernel stands in, but not of the kernels it calls; a folder for each state of
    the sources does. Where no folder of the user can be written, it is one that lasts as long as the machine's
    temporary files.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for file in sorted(_sources(source)):
        digest.update(file.name.encode() + file.read_bytes())
    name = f"{source.stem}-{digest.hexdigest()[:16]}"
    for base in _bases():
        folder = base / "kernels" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="forecastle-kernels-"))


def _sources(source: Path) -> set[Path]:
    """A file, and the kernel files it imports, directly or not."""
    found: set[Path] = set()
    todo = [source] if source.is_file() else []
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found.add(file)
        names = re.findall(r"^from forecasting\.kernels\.(\w+) import", file.read_text(), re.MULTILINE)
        todo += [Path(__file__).with_name(f"{name}.py") for name in names]
    return found


def _bases() -> list[Path]:
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    home = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    bases = [Path(os.environ[CACHE_VARIABLE])] if os.environ.get(CACHE_VARIABLE) else []
    with suppress(RuntimeError):  # a user without a home
        bases.append((Path(home) if home else Path.home() / ".cache") / "forecastle")
    return [*bases, Path(tempfile.gettempdir()) / f"forecastle-{user}"]
