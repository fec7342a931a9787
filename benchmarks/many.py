"""Many models: tens of thousands of groups on one machine: seconds, memory, accuracy against a search for each.

    python -m benchmarks.many --groups 11973 --out FILE [--compare 200] [--keep FOLDER]

The groups are made up in the likeness of orange juice sales (weekly, three brands a store, a price that moves sales),
121 weeks each, of which the last six are held back. Fitting and forecasting run in a process of their own that starts
cold; its peak memory counts all processes it starts. Each run appends one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.watch import memory_of

HORIZON, WEEKS = 6, 121
BRANDS = ("dominicks", "minute.maid", "tropicana")
KEYS = ["Store", "Brand"]
_BATCH = 2_000


def generated(groups: int, seed: int = 0, first: int = 0) -> pd.DataFrame:
    """Rows of groups first.. of a made-up chain: WeekStarting, Store, Brand, Quantity, Price, Advert."""
    parts = []
    weeks = pd.date_range("1990-06-14", periods=WEEKS, freq="W-THU")
    t = np.arange(WEEKS)
    for g in range(first, groups):
        rng = np.random.default_rng((seed, g))
        level = rng.lognormal(9.0, 0.6)
        advert = rng.random(WEEKS) < 0.15
        regular = 2.0 + 0.3 * (g % 3) + 0.1 * rng.standard_normal()
        price = np.round(regular * np.where(advert, rng.uniform(0.7, 0.9, WEEKS), 1.0), 2)
        swing = rng.uniform(0.02, 0.15) * np.sin(2 * np.pi * (t / 52 + rng.random()))
        walk = np.cumsum(rng.normal(0.0, rng.uniform(0.0, 0.03), WEEKS))
        lift = -rng.uniform(1.0, 2.5) * np.log(price / regular)
        noise = rng.normal(0.0, rng.uniform(0.1, 0.35), WEEKS)
        quantity = np.rint(level * np.exp(swing + walk + lift + noise))
        parts.append(
            pd.DataFrame(
                {
                    "WeekStarting": weeks,
                    "Store": 1000 + g // 3,
                    "Brand": BRANDS[g % 3],
                    "Quantity": quantity,
                    "Price": price,
                    "Advert": advert.astype(int),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def write(folder: Path, groups: int) -> None:
    """Write train/ and test/, Parquet files of some thousand groups each."""
    for first in range(0, groups, _BATCH):
        frame = generated(min(groups, first + _BATCH), first=first)
        late = frame.groupby(KEYS).cumcount() >= WEEKS - HORIZON
        for name, rows in (("train", frame[~late]), ("test", frame[late])):
            (folder / name).mkdir(parents=True, exist_ok=True)
            rows.to_parquet(folder / name / f"groups-{first:06d}.parquet", index=False)


def work(data: Path, job: Path, compute: str, workers: int) -> dict[str, Any]:
    """Fit and forecast, as a user's script would."""
    from forecasting import Columns, ManyModels

    begun = time.perf_counter()
    columns = Columns(id=tuple(KEYS), time="WeekStarting", target="Quantity")
    many = ManyModels(HORIZON, by=KEYS, columns=columns, known=["Price", "Advert"], compute=compute, workers=workers)
    many.fit(data / "train", path=job)
    fitted = time.perf_counter()
    future = job.parent / "future"
    future.mkdir(exist_ok=True)
    for file in sorted((data / "test").iterdir()):
        pd.read_parquet(file).drop(columns="Quantity").to_parquet(future / file.name, index=False)
    rows = many.predict_into(job.parent / "forecasts", future, level=[80])
    return {"fit_s": fitted - begun, "predict_s": time.perf_counter() - fitted, "rows": rows}


def measured(command: list[str]) -> tuple[dict[str, Any], float, float]:
    """Run a command in a session of its own: what it prints last as JSON, seconds, peak MB of all its processes."""
    begun, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.5):
            peak = max(peak, memory_of(process.pid))

    thread = threading.Thread(target=watch)
    thread.start()
    text, _ = process.communicate()
    ended.set()
    thread.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return json.loads(text.strip().splitlines()[-1]), time.perf_counter() - begun, peak


def compared(data: Path, forecasts: Path, groups: int, trials: int) -> dict[str, float]:
    """WAPE of some groups: as forecast above, and by a search for each of them."""
    from forecasting import Columns, ManyModels
    from forecasting.config import ExitCriteria, SearchSettings, Settings

    train = pd.concat([pd.read_parquet(f) for f in sorted((data / "train").iterdir())], ignore_index=True)
    test = pd.concat([pd.read_parquet(f) for f in sorted((data / "test").iterdir())], ignore_index=True)
    keys = train[KEYS].drop_duplicates().sample(groups, random_state=0)
    train, test = train.merge(keys), test.merge(keys)
    settings = Settings(search=SearchSettings(limits=ExitCriteria(max_trials=trials)))
    each = ManyModels(
        HORIZON,
        by=KEYS,
        columns=Columns(id=tuple(KEYS), time="WeekStarting", target="Quantity"),
        known=["Price", "Advert"],
        search="each",
        settings=settings,
    )
    begun = time.perf_counter()
    own = each.fit(train).predict(test.drop(columns="Quantity"))
    seconds = time.perf_counter() - begun
    ours = pd.concat([pd.read_parquet(f) for f in sorted(forecasts.glob("part-*.parquet"))]).merge(keys)
    out = {"compare_s": seconds}
    for name, frame in (("wape", ours), ("wape_each", own)):
        both = frame.merge(test, on=[*KEYS, "WeekStarting"])
        out[name] = float((both["yhat"] - both["Quantity"]).abs().sum() / both["Quantity"].abs().sum())
    return {**out, "ratio": out["wape"] / out["wape_each"]}


def scored(data: Path, forecasts: Path) -> dict[str, float]:
    """WAPE and 80 % coverage over all groups, file by file."""
    total = size = inside = count = 0.0
    made = pd.concat([pd.read_parquet(f) for f in sorted(forecasts.glob("part-*.parquet"))], ignore_index=True)
    for file in sorted((data / "test").iterdir()):
        both = made.merge(pd.read_parquet(file), on=[*KEYS, "WeekStarting"])
        total += float((both["yhat"] - both["Quantity"]).abs().sum())
        size += float(both["Quantity"].abs().sum())
        inside += float(both["Quantity"].between(both["yhat-lo-80"], both["yhat-hi-80"]).sum())
        count += len(both)
    return {"wape_all": total / size, "coverage80": inside / count, "rows_scored": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=int, default=11_973)
    parser.add_argument("--compute", default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compare", type=int, default=0, help="groups that also get a search of their own")
    parser.add_argument("--trials", type=int, default=20, help="trials of each such search")
    parser.add_argument("--keep", type=Path, help="folder for data and models instead of a temporary one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "many.jsonl")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        print(json.dumps(work(asked.work / "data", asked.work / "job", asked.compute, asked.workers)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        if not (folder / "data").is_dir():
            write(folder / "data", asked.groups)
        command = [sys.executable, "-m", "benchmarks.many", "--work", str(folder), "--compute", asked.compute]
        result, seconds, peak = measured([*command, "--workers", str(asked.workers)])
        row = {"groups": asked.groups, "compute": asked.compute, **result, "seconds": seconds, "peak_mb": peak}
        row |= scored(folder / "data", folder / "forecasts")
        if asked.compare:
            row |= compared(folder / "data", folder / "forecasts", asked.compare, asked.trials)
        row = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
