"""What the peers written in Python share: long data in, two warm processes, forecasts and a JSON line of seconds out.

    python PEER.py IN.parquet OUT.parquet TIMING.json METHOD HORIZON SEASON CORES

IN.parquet: unique_id, y, oldest row first. OUT.parquet: unique_id, step, mean, lower, upper (80 %).
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
import pandas as pd

_WARM = 40
"""Rows of the series that each process forecasts before its time is taken."""

Ask = Callable[[str, list[np.ndarray], int, int], np.ndarray]
"""(method, series, horizon, season) -> channels [n, horizon, 3]: mean, lower, upper; NaN where the peer failed."""


def _worker(ask: Ask, given: tuple, pipe: multiprocessing.connection.Connection) -> None:
    method, series, horizon, season = given
    start = perf_counter()
    ask(method, [series[0][-_WARM:]], horizon, season)
    pipe.send(perf_counter() - start)
    pipe.recv()
    pipe.send(ask(method, series, horizon, season))


def main(ask: Ask, peer: str, version: str) -> None:
    """Forecast the series of a file, every core its share; what compiling and first calls cost is told apart."""
    source, target, timing, method, horizon, season, cores = sys.argv[1:]
    data = pd.read_parquet(source)
    groups = [(key, part["y"].to_numpy(float)) for key, part in data.groupby("unique_id")]
    keys, series = [key for key, _ in groups], [y for _, y in groups]
    # neighbours go to different cores, so that the shares are alike
    parts = min(int(cores), len(series))
    shares = [range(k, len(series), parts) for k in range(parts)]
    context = multiprocessing.get_context("fork")
    pipes, workers = [], []
    for share in shares:
        mine, theirs = context.Pipe()
        given = (method, [series[i] for i in share], int(horizon), int(season))
        workers.append(context.Process(target=_worker, args=(ask, given, theirs), daemon=True))
        workers[-1].start()
        theirs.close()
        pipes.append(mine)
    warm_up = max(pipe.recv() for pipe in pipes)
    start = perf_counter()
    for pipe in pipes:
        pipe.send("go")
    answers = [pipe.recv() for pipe in pipes]
    seconds = perf_counter() - start
    for worker in workers:
        worker.join()
    values = np.full((len(series), int(horizon), 3), np.nan)
    for share, answer in zip(shares, answers, strict=True):
        values[list(share)] = answer
    flat = pd.DataFrame(values.reshape(-1, 3), columns=["mean", "lower", "upper"])
    flat.insert(0, "unique_id", np.repeat(keys, int(horizon)))
    flat.insert(1, "step", np.tile(np.arange(1, int(horizon) + 1), len(keys)))
    flat.to_parquet(target)
    facts = {
        "peer": peer, "version": version, "platform": f"Python {platform.python_version()}", "method": method,
        "series": len(series), "cores": int(cores), "seconds": seconds, "warm_up": warm_up,
        "failed": int(np.isnan(values).any(axis=(1, 2)).sum()),
    }  # fmt: skip
    with open(timing, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(json.dumps(facts) + "\n")
