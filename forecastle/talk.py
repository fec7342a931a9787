"""How commands talk: messages to stderr, asked data to files or stdout."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pandas import DataFrame


def reason(error: Exception) -> str:
    """One paragraph."""
    return " ".join(str(error).split()) or type(error).__name__


def say(text: str, style: str = "") -> None:
    """Tell the person who runs the command."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(text, style=style or None, markup=False, highlight=False)


def write(frame: DataFrame, path: Path, what: str) -> None:
    """Write a table and say where."""
    from forecastle.tables import write_table

    say(f"{what}: {write_table(frame, path)}")


def write_metrics(path: Path, scores: Mapping[str, float]) -> None:
    """Write metrics as JSON, which knows no NaN: one that is not defined on the data is null."""
    known = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def show(frame: DataFrame, title: str) -> None:
    """Print asked data: a table where a person looks, CSV into a pipe or a file."""
    if frame.empty:
        say("No trial has ended yet.")
    elif sys.stdout.isatty():
        print_table(frame, title, stderr=False)
    else:
        sys.stdout.write(frame.to_csv(index=False))


def print_table(frame: DataFrame, title: str, *, stderr: bool) -> None:
    """Print a frame as a table, without columns that hold nothing."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = 140
    empty = [c for c in frame.columns if frame[c].isna().all() or (frame[c] == "").all()]
    shown = frame.drop(columns=empty)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in shown.columns:
        number = shown[name].dtype.kind in "fi"
        table.add_column(str(name), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in shown.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    console.print(table, markup=False, highlight=False)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else str(value)


def check_writable(folder: Path) -> None:
    """Find out before the work is done that a folder cannot take its result."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"output folder {str(folder)!r} cannot be written: {error.strerror or error}. Fix: another --out."
        ) from error


def numbers(option: str, text: str | None) -> tuple[float, ...]:
    """Read "0.1,0.9"."""
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{option} takes numbers joined by commas, got {text!r}.") from error
