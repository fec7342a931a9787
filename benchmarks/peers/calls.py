"""Calling the peers, each in its own environment, and reading what they answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
METHODS = {"statsforecast": ("ets", "theta", "arima", "ces"), "pmdarima": ("arima",), "R": ("ets", "theta", "arima")}
"""What each peer can do."""

# every process of a peer is one core's worth of work
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer did.

    Parameters
    ----------
    facts : peer, version, seconds of fitting and forecasting, seconds of the warm-up, and so on.
    values : shape [n, horizon, 3], mean and 80 % interval; NaN where it failed.
    """

    facts: dict[str, Any]
    values: np.ndarray


def available(folder: Path | None) -> list[str]:
    """Peers that can be called: environments below `folder` named after them, and R from the path."""
    found = [] if folder is None else [name for name in ("statsforecast", "pmdarima") if _python(folder, name).exists()]
    return [*found, "R"] if shutil.which("Rscript") else found


def _python(folder: Path, peer: str) -> Path:
    hidden = folder / f".venv-{peer}" / "bin" / "python"
    return hidden if hidden.exists() else folder / peer / "bin" / "python"


def call(
    peer: str, folder: Path | None, method: str, series: Sequence[np.ndarray], horizon: int, season: int, cores: int
) -> Answer:
    """Let a peer forecast some series."""
    names = [f"{i:06d}" for i in range(len(series))]
    frame = pd.DataFrame({"unique_id": np.repeat(names, [len(y) for y in series]), "y": np.concatenate(series)})
    with tempfile.TemporaryDirectory() as place:
        timing = Path(place) / "timing.json"
        end = "csv" if peer == "R" else "parquet"
        source, target = Path(place) / f"in.{end}", Path(place) / f"out.{end}"
        if peer == "R":
            frame.to_csv(source, index=False)
            program = ["Rscript", str(HERE / "r_forecast.R")]
        else:
            frame.to_parquet(source)
            assert folder is not None
            program = [str(_python(folder, peer)), str(HERE / f"{peer}_peer.py")]
        words = [str(part) for part in (source, target, timing, method, horizon, season, cores)]
        done = subprocess.run(
            [*program, *words], capture_output=True, text=True, check=False, env=os.environ | _ONE_THREAD
        )
        if done.returncode:
            raise SystemExit(f"{peer} failed at {method}:\n{done.stderr[-2000:]}")
        facts = json.loads(timing.read_text())
        if peer == "R":
            table = pd.read_csv(target, dtype={"id": str}).set_index("id").loc[names]
            columns = [
                [[float(v) for v in str(cell).replace("NA", "nan").split()] for cell in table[name]]
                for name in ("mean", "lower", "upper")
            ]
            values = np.array([[_filled(cell, horizon) for cell in column] for column in columns]).transpose(1, 2, 0)
        else:
            table = pd.read_parquet(target).sort_values(["unique_id", "step"])
            values = table[["mean", "lower", "upper"]].to_numpy(float).reshape(len(series), horizon, 3)
    return Answer(facts, values)


def _filled(cell: list[float], horizon: int) -> list[float]:
    return cell if len(cell) == horizon else [np.nan] * horizon
