"""Our side: the learners on compiled kernels by the names of the benchmark, and tasks that need a fresh process.

    python benchmarks/peers/ours.py JOB

JOB is JSON: a task (many or first), a learner and what the task asks for. Prints one line of JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

LEARNERS = {
    "ets": "forecasting.learners.ets:ExponentialSmoothing",
    "arima": "forecasting.learners.autoarima:AutoArima",
    "theta": "forecasting.learners.theta:Theta",
    "ces": "forecasting.learners.ces:ComplexSmoothing",
    "mstl": "forecasting.learners.mstl:MSTL",
    "croston": "forecasting.learners.intermittent:Croston",
    "tsb": "forecasting.learners.intermittent:TSB",
    "adida": "forecasting.learners.intermittent:ADIDA",
    "imapa": "forecasting.learners.intermittent:IMAPA",
}
LEVELS = (0.1, 0.9)
Row = dict[str, Any]


def make(name: str, params: dict[str, Any] | None = None) -> Any:
    module, _, cls = LEARNERS[name].partition(":")
    return getattr(importlib.import_module(module), cls)(**(params or {}))


def written(names: tuple[str, ...] = tuple(LEARNERS)) -> list[str]:
    return [name for name in names if importlib.util.find_spec(LEARNERS[name].partition(":")[0]) is not None]


def panel_of(series: Sequence[np.ndarray]) -> Any:
    from forecasting.panel import Panel
    from forecasting.timegrid import TimeGrid

    return Panel.from_arrays(list(series), TimeGrid.steps())


def forecast(
    name: str, panel: Any, horizon: int, season: int, threads: int, params: dict[str, Any] | None = None
) -> tuple[Any, Any, float]:
    """Learner, forecast and the seconds both took."""
    from forecasting.learners.base import FitContext
    from forecasting.panel import Future

    start = perf_counter()
    learner = make(name, params).fit(panel, FitContext(horizon=horizon, season=season, threads=threads))
    ahead = learner.forecast(panel, Future.bare(panel, horizon), LEVELS)
    return learner, ahead, perf_counter() - start


def rejected(model: dict[str, np.ndarray]) -> np.ndarray:
    """Choices of each series that were rejected for what they forecast, from the arrays of a learner's state."""
    if "rejected" in model:
        return model["rejected"]
    figures = model.get("figures", np.empty((1, 0)))
    return figures[:, 4] if figures.shape[1] > 4 else np.zeros(1)


def many(job: Row) -> Row:
    """One learner on monthly series with noise: seconds, and the peak of resident memory above what stood before."""
    from tests.forecasting.kernels.fixtures import real

    task = real("m3_monthly", most=10_000)
    if task is None:
        raise SystemExit("m3_monthly.parquet is not in the folder of --data")
    rng = np.random.default_rng(0)
    chosen = [task.train[i % len(task.train)] for i in range(job["series"])]
    panel = panel_of([np.maximum(y * (1 + 0.02 * rng.standard_normal(len(y))), 0.01) for y in chosen])
    del chosen
    forecast(job["learner"], panel_of(task.train[:4]), task.horizon, task.season, job["cores"])
    over, peak = Event(), [resident()]
    before = peak[0]

    def watch() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], resident())

    thread = Thread(target=watch)
    thread.start()
    _, ahead, seconds = forecast(job["learner"], panel, task.horizon, task.season, job["cores"])
    over.set()
    thread.join()
    data = panel.y.nbytes / 2**20
    above = peak[0] - before
    return {
        "learner": job["learner"], "series": job["series"], "rows": panel.n_rows, "seconds": seconds,
        "ms a series": 1e3 * seconds / job["series"], "data MB": data, "peak above start MB": above,
        "peak over data": above / data, "answer MB": ahead.values.nbytes / 2**20,
    }  # fmt: skip


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def first(job: Row) -> Row:
    """The first and second call of a learner in this process."""
    start = perf_counter()
    module = LEARNERS[job["learner"]].partition(":")[0]
    importlib.import_module(module)
    rng = np.random.default_rng(0)
    steps = np.arange(60)
    season = np.sin(steps * np.pi / 6)
    panel = panel_of([100 + steps + 10 * season + rng.standard_normal(60) for _ in range(4)])
    imported = perf_counter() - start
    processor = process_time()
    seconds = forecast(job["learner"], panel, 12, 12, 1)[2]
    processor = process_time() - processor
    again = forecast(job["learner"], panel, 12, 12, 1)[2]
    return {"import": imported, "seconds": seconds, "processor": processor, "again": again}


def fixed_order(series: Sequence[np.ndarray], order: tuple[int, ...], season: int) -> np.ndarray:
    """Our log-likelihood of an order p, d, q, P, D, Q, with a mean where nothing is differenced. Shape [n]."""
    from forecasting.kernels import arima

    panel = panel_of(series)
    n, (p, d, q, big_p, big_d, big_q) = panel.n_series, order
    fixed = np.array([p, q, big_p, big_q, int(d + big_d == 0)], dtype=np.int64)
    found, u = np.zeros((n, arima.ORDER), dtype=np.int64), np.zeros((n, arima.PARAMETERS))
    found[:, 5], found[:, 6] = d, big_d
    beta, figures, reason = np.zeros((n, 1)), np.zeros((n, 5)), np.zeros(n, dtype=np.int64)
    limits = np.array([5, 5, 2, 2], dtype=np.int64)
    y, indptr, _ = panel.flat()
    arima.fit_series(
        y, indptr, np.empty((panel.n_rows, 0)), 0, n, season, True, season > 1, limits, 8, 20_000, fixed, found, u,
        beta, figures, reason,
    )  # fmt: skip
    return np.where(reason == 0, figures[:, 2], np.nan)


TASKS: dict[str, Callable[[Row], Row]] = {"many": many, "first": first}

if __name__ == "__main__":
    work = json.loads(sys.argv[1])
    print(json.dumps(TASKS[work["task"]](work)))
