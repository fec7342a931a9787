"""Folders that an answer is written to: one process at a time, and never two answers in one."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from automl.errors import RunError
from automl.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

_REQUEST = "_request.json"
LOCK = ".owner.lock"
"""In a folder that is written to: held by the process that does."""


def check_answer(out: Path) -> None:
    """Raise RunError where a folder holds anything but an answer."""
    if out.exists() and not (out / _REQUEST).is_file() and any(f.name != LOCK for f in out.iterdir()):
        raise RunError(f"{out} holds other files. Fix: an empty or new folder.")


def begin(out: Path, request: dict[str, Any], *, overwrite: bool | None = False) -> None:
    """Make an owned folder that of an answer, or take up the one that was begun for the same request.

    Parameters
    ----------
    overwrite : whether another answer makes way; None = this one too.

    Raises
    ------
    RunError : it holds another answer, and that is not to be overwritten.
    """
    file = out / _REQUEST
    asked = json.loads(json.dumps(request, default=str))
    same = file.is_file() and json.loads(file.read_text(encoding="utf-8")) == asked
    if same and overwrite is not None:
        return
    if overwrite is False and any(out.glob("[!_.]*")):
        raise RunError(
            f"{out} holds another answer, to other rows or another question. Fix: an empty or new folder, or overwrite "
            "(overwrite=True, --overwrite)."
        )
    clear(out)
    write_json(file, asked)


def clear(out: Path) -> None:
    """Remove an answer, begun or whole."""
    for file in out.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        elif file.name != LOCK:
            file.unlink()


def tell_answered(out: Path, piece: int, outcome: dict[str, Any]) -> None:
    """Note what became of a piece, which says that its file is whole."""
    write_json(_done(out, piece), outcome)


def has_answered(out: Path, piece: int) -> bool:
    """Whether a piece's answer lies there."""
    return _done(out, piece).is_file() and _done(out, piece).stat().st_size > 0


def what_became(out: Path, piece: int) -> dict[str, Any]:
    """What was noted of a piece."""
    return dict(json.loads(_done(out, piece).read_text(encoding="utf-8")))


def _done(out: Path, piece: int) -> Path:
    return out / f".done-{piece:05d}"
