"""The classical kernels against R, statsforecast and pmdarima: accuracy, speed, scale, memory, cold starts, sanity.

    python benchmarks/classical.py --data DIR --peers DIR [--only SECTION ...] [--out FILE]

DIR of --data holds the Parquet files of the public sets, DIR of --peers the environments of peers/README.md. Each
section prints a Markdown table and appends JSON lines to --out. Ours and each peer get the same number of cores, one
after the other; compiling and first calls are left out of seconds and told apart (section cold).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from peers.calls import METHODS, available, call
from peers.ours import Row, fixed_order, forecast, panel_of, rejected, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETS = ("tourism_quarterly", "m3_monthly", "tourism_monthly")
PEER_SERIES = {"ets": 60, "arima": 30, "theta": 300, "ces": 60}
SAME = {"theta": {"method": "dynamic_optimized"}}
"""What statsforecast's method does, where ours does less by default."""

SLOW = {"pmdarima": 4}
"""Series of each set that a slow peer gets instead."""

ORDERS = {
    12: ((0, 1, 1, 0, 1, 1), (1, 1, 1, 0, 1, 1), (2, 0, 0, 1, 1, 0), (1, 0, 1, 0, 0, 0), (2, 1, 1, 0, 0, 0)),
    4: ((0, 1, 1, 0, 1, 1), (1, 1, 1, 1, 0, 1), (2, 0, 2, 1, 1, 0), (1, 0, 1, 1, 0, 0), (2, 1, 2, 0, 0, 0)),
}


# every section yields rows; `main` prints and stores them


def accuracy(options: argparse.Namespace) -> Iterator[Row]:
    """Mean MASE of 300 series a set, ours over R's, and how our criterion compares with R's."""
    from tests.forecasting.kernels.fixtures import figures, real

    for method in written(("ets", "arima", "theta")):
        for name in SETS:
            task = real(name)
            if task is None:
                continue
            r = figures(name, method, task.ids)
            learner, ahead, _ = forecast(method, panel_of(task.train), task.horizon, task.season, options.cores)
            ours, theirs = task.mase(ahead.point).mean(), task.mase(np.stack(r["mean"].to_list())).mean()
            inside = ((task.test >= ahead.values[:, :, 1]) & (task.test <= ahead.values[:, :, 2])).mean()
            row = {
                "method": method, "data": name, "series": len(task.ids), "MASE": ours, "R MASE": theirs,
                "ratio": ours / theirs, "coverage 80": inside, "fallbacks": int(ahead.fallback.sum()),
            }  # fmt: skip
            if method != "theta":
                low, high = (np.stack(r[column].to_list()) for column in ("lower", "upper"))
                model = learner.state()[1]
                aicc = model["numbers"][:, 2] if method == "ets" else model["aicc"]
                same = np.ones(len(r), dtype=bool)
                if method == "arima":
                    theirs_order = np.array([[int(part) for part in text.split()] for text in r["model"]])
                    same = (model["order"][:, 5:7] == theirs_order[:, [1, 4]]).all(axis=1)
                excess = (aicc - r["aicc"].to_numpy())[same]
                row["R coverage"] = float(((task.test >= low) & (task.test <= high)).mean())
                row |= {"same differences": int(same.sum()), "AICc <= R + 2": float((excess <= 2).mean())}
            yield row


def speed(options: argparse.Namespace) -> Iterator[Row]:
    """Series a second, ours and each peer's, on the same series and the same cores."""
    from tests.forecasting.kernels.fixtures import SERIES, real

    peers = available(options.peers)
    print(f"peers found: {', '.join(peers) or 'none'}", file=sys.stderr)
    for method in written(("ets", "theta", "ces", "arima")):
        for name in SETS:
            task = real(name, SERIES // min(PEER_SERIES[method], SERIES))
            if task is None:
                continue
            for peer in ["ours", *(p for p in peers if method in METHODS[p])]:
                few = slice(0, None, max(1, len(task.ids) // SLOW[peer])) if peer in SLOW else slice(None)
                train, n = task.train[few], len(task.train[few])
                if peer == "ours":
                    panel = panel_of(train)
                    forecast(method, panel_of(train[:1]), task.horizon, task.season, options.cores)
                    same = SAME.get(method)
                    runs = [
                        forecast(method, panel, task.horizon, task.season, options.cores, same)
                        for _ in range(options.repeats)
                    ]
                    seconds, point, warm_up = float(np.median([run[2] for run in runs])), runs[0][1].point, None
                    base = seconds / n
                else:
                    answer = call(peer, options.peers, method, train, task.horizon, task.season, options.cores)
                    seconds, warm_up = answer.facts["seconds"], answer.facts["warm_up"]
                    point = answer.values[:, :, 0]
                score = np.full((len(task.ids), task.horizon), np.nan)
                score[few] = point
                errors = task.mase(score)[few]
                yield {
                    "method": method, "data": name, "system": peer, "series": n, "seconds": seconds,
                    "series/s": n / seconds, "ms a series": 1e3 * seconds / n, "ours faster by": seconds / n / base,
                    "MASE": float(np.nanmean(errors)), "failed": int(np.isnan(errors).sum()), "warm up s": warm_up,
                }  # fmt: skip


def scale(options: argparse.Namespace) -> Iterator[Row]:
    """Seconds a series and memory for many series, each in a fresh process."""
    for name in written(("ets", "theta", "ces", "arima")):
        pace = 0.0
        for size in sorted(options.sizes):
            if pace * size > options.most_seconds:
                yield {"learner": name, "series": size, "left out, s expected": pace * size}
                continue
            row = fresh({"task": "many", "learner": name, "series": size, "cores": options.cores})
            pace = row["seconds"] / size
            yield row


def memory(options: argparse.Namespace) -> Iterator[Row]:
    """Peak memory of every learner on 10,000 series."""
    for name in written():
        yield fresh({"task": "many", "learner": name, "series": 10_000, "cores": options.cores})


def cold(_: argparse.Namespace) -> Iterator[Row]:
    """Seconds of the first call of each learner, with an empty cache of compiled code and with a full one."""
    for name in written():
        with tempfile.TemporaryDirectory() as cache:
            job = {"task": "first", "learner": name}
            empty, full = (fresh(job, FORECASTLE_CACHE_DIR=cache) for _ in range(2))
            size = sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file()) / 2**20
        yield {
            "learner": name, "import s": full["import"], "empty cache s": empty["seconds"],
            "its processor s": empty["processor"],
            "full cache s": full["seconds"], "again ms": 1e3 * full["again"], "cache MB": size,
        }  # fmt: skip


def silly(options: argparse.Namespace) -> Iterator[Row]:
    """All series of all sets: choices rejected, fallbacks, and the farthest forecast in ranges of its series."""
    from forecasting.panel import Panel
    from forecasting.timegrid import TimeGrid

    for path in sorted(options.data.glob("*.parquet")):
        frame = pd.read_parquet(path)
        if not {"unique_id", "ds", "y", "split"} <= set(frame.columns):
            continue
        season, horizon = SEASONS.get(path.stem.rpartition("_")[2], (24, 48))
        frame = frame[frame["split"] == "train"].sort_values(["unique_id", "ds"])
        groups = frame.groupby("unique_id", observed=True)["y"]
        series = [y for y in (part.to_numpy(float) for _, part in groups) if len(y) >= 4]
        panel = Panel.from_arrays(series, TimeGrid.steps())
        low, high = (f.reduceat(panel.y, panel.indptr[:-1]) for f in (np.minimum, np.maximum))
        width = np.maximum(high - low, 1e-6 * np.maximum(np.abs(low), np.abs(high)))
        width[width == 0] = 1.0
        level = np.array([y[-max(season, 1) :].mean() for y in series])
        for name in written(("ets", "arima", "theta", "ces", "mstl")):
            learner, ahead, seconds = forecast(name, panel, horizon, season, options.cores)
            refused = rejected(learner.state()[1])
            far = np.abs(ahead.point - level[:, None]).max(axis=1) / width
            beyond = np.maximum(ahead.point - high[:, None], low[:, None] - ahead.point).max(axis=1) / width
            yield {
                "data": path.stem, "method": name, "series": panel.n_series, "rejected": int(refused.sum()),
                "series with a rejection": float((refused > 0).mean()),
                "fallbacks": float(ahead.fallback.mean()), "finite": bool(np.isfinite(ahead.values).all()),
                "farthest from level, ranges": float(far.max()),
                "farthest beyond, ranges": float(max(beyond.max(), 0.0)), "seconds": seconds,
            }  # fmt: skip


SEASONS = {"yearly": (1, 6), "quarterly": (4, 8), "monthly": (12, 18), "weekly": (52, 13), "daily": (7, 28)}
"""Season and horizon by the end of a file's name; else hourly."""


def loglik(_: argparse.Namespace) -> Iterator[Row]:
    """Fixed orders on 200 series: our log-likelihood minus that of statsmodels (simple differencing)."""
    import warnings

    from statsmodels.tsa.statespace.sarimax import SARIMAX

    from tests.forecasting.kernels.fixtures import real

    warnings.simplefilter("ignore")
    for name, every in (("m3_monthly", 3), ("tourism_quarterly", 3)):
        task = real(name, every)
        if task is None:
            continue
        orders = ORDERS[task.season]
        for number, order in enumerate(orders):
            series = task.train[number :: len(orders)]
            ours = fixed_order(series, order, task.season)
            theirs = []
            for y in series:
                scale = np.abs(y).mean()
                p, d, q, *seasonal = order
                model = SARIMAX(
                    y / scale, order=(p, d, q), seasonal_order=(*seasonal, task.season),
                    trend="c" if d + seasonal[1] == 0 else "n", simple_differencing=True,
                )  # fmt: skip
                n = len(y) - d - seasonal[1] * task.season
                theirs.append(model.fit(disp=0, maxiter=200).llf - n * np.log(scale))
            gain = ours - np.array(theirs)
            yield {
                "data": name, "order": "({},{},{})({},{},{})".format(*order), "series": len(series),
                "least gain": float(gain.min()), "median gain": float(np.median(gain)),
                "below by 0.1": int((gain < -0.1).sum()), "above by 0.1": int((gain > 0.1).sum()),
            }  # fmt: skip


SECTIONS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "accuracy": accuracy, "speed": speed, "scale": scale, "memory": memory, "cold": cold, "silly": silly,
    "loglik": loglik,
}  # fmt: skip


def fresh(job: Row, **environment: str) -> Row:
    """Run one task in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent / "peers" / "ours.py"), json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    if done.returncode:
        raise SystemExit(f"{job} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(cell(row.get(name)) for name in names) + " |" for row in rows)])


def cell(value: Any) -> str:
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def facts(options: argparse.Namespace) -> Row:
    packages = ("numpy", "numba", "statsmodels")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"), "cpus": os.cpu_count(), "cores": options.cores,
        "machine": platform.machine(), "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FORECASTLE_DATA", "data")))
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments")
    parser.add_argument("--only", choices=list(SECTIONS), action="append")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("classical.jsonl"))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--most-seconds", type=float, default=900.0, help="no run expected to take longer (scale)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of ours whose median counts (speed)")
    parser.add_argument(
        "--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[1000, 10000, 100000]
    )
    options = parser.parse_args()
    os.environ["FORECASTLE_DATA"] = str(options.data.resolve())
    about = facts(options)
    for name in options.only or list(SECTIONS):
        start, rows = perf_counter(), []
        for row in SECTIONS[name](options):
            rows.append(row)
            print(f"{name}: {cell_line(row)}", file=sys.stderr)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"section": name, **row, **about}) + "\n")
        print(
            f"\n## {name} ({perf_counter() - start:.0f} s)\n\n{table(rows) if rows else 'no data found'}\n", flush=True
        )


def cell_line(row: Row) -> str:
    return ", ".join(f"{key} {cell(value)}" for key, value in row.items() if value is not None)


if __name__ == "__main__":
    main()
