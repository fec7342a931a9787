"""Plant known leakage and bookkeeping bugs one at a time; each must turn a test red.

Run from the project's root: `python -m tests.mutations [name ...]`. Works on a copy, prints a Markdown table, exits 1
when a bug survives. `tests/test_mutations.py` keeps the list honest: every mutation must still apply.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FEATURES = "tests/forecasting/test_features.py"
_BACKTEST = "tests/forecasting/test_backtest.py"
_LEAKAGE = "tests/forecasting/test_leakage.py"
_READING = "tests/forecasting/test_reading.py"
_PIVOT = "forecasting/kernels/pivot.py"


@dataclass(frozen=True)
class Mutation:
    """One planted bug: the first occurrence of `old` in `file` becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "lag off by one",
        _PIVOT,
        "p = origin - lags[j] + 1",
        "p = origin - lags[j] + 2",
        (_FEATURES,),
    ),
    Mutation(
        "centred window",
        _PIVOT,
        "whole, done = 0.0, origin + 1",
        "whole, done = 0.0, origin + 2",
        (_FEATURES,),
    ),
    Mutation(
        "window reads another series",
        _PIVOT,
        "t, h, start, origin = target[r], ahead[r], begin[r]",
        "t, h, start, origin = target[r], ahead[r], 0",
        (_FEATURES,),
    ),
    Mutation(
        "lag reads another series",
        _PIVOT,
        "row[k + j] = (z[p] - own) * over if p >= start",
        "row[k + j] = (z[p] - own) * over if p >= 0",
        (_FEATURES,),
    ),
    Mutation(
        "base reads another series",
        "forecasting/features/history.py",
        "np.where(position >= begin, z",
        "np.where(position >= 0, z",
        (_FEATURES,),
    ),
    Mutation(
        "same season inside the horizon",
        _PIVOT,
        "nearest = t - season * ((h + season - 1) // season)",
        "nearest = t - season",
        (_FEATURES,),
    ),
    Mutation(
        "last value of the target instead of the origin",
        "forecasting/features/plan.py",
        "return hist.gather(z, rows.origin, rows.begin)",
        "return hist.gather(z, rows.target, rows.begin)",
        (_FEATURES,),
    ),
    Mutation(
        "level of the target instead of the origin",
        "forecasting/features/history.py",
        "rows.origin, rows.begin, width",
        "rows.target, rows.begin, width",
        (_FEATURES,),
    ),
    Mutation(
        "past covariate at the target",
        "forecasting/features/plan.py",
        "here = Rows(target, np.maximum(rows.ahead, target - last)",
        "here = Rows(target, np.maximum(0 * rows.ahead, target - last)",
        (_FEATURES,),
    ),
    Mutation(
        "medians over imputed rows too",
        "forecasting/features/impute.py",
        "x, of = values[observed], series[observed]",
        "x, of = values, series",
        (_FEATURES,),
    ),
    Mutation(
        "gaps filled with what came later",
        "forecasting/features/impute.py",
        "return np.where(latest >= begin, values, usual[series])",
        "return values",
        (_READING,),
    ),
    Mutation(
        "one future target value in the training scale",
        "forecasting/features/plan.py",
        "z_history = _transformed(panel.y,",
        "z_history = _transformed(np.concatenate([panel.y[1:], panel.y[:1]]),",
        (_FEATURES,),
    ),
    Mutation(
        "training panel holds the first scored row",
        "forecasting/backtest.py",
        "train = chosen.head(cut)",
        "train = chosen.head(cut + 1)",
        (_BACKTEST, _LEAKAGE),
    ),
    Mutation(
        "scale of errors from the whole series",
        "forecasting/backtest.py",
        "naive_scales(train, season)",
        "naive_scales(chosen, season)",
        (_BACKTEST, _LEAKAGE),
    ),
    Mutation(
        "intervals learned from their own window",
        "forecasting/intervals.py",
        "others = np.arange(w) != k",
        "others = np.arange(w) >= 0",
        ("tests/forecasting/test_intervals.py",),
    ),
    Mutation(
        "unobserved values are scored",
        "forecasting/metrics.py",
        "return np.where(count > 0, np.where(mask, values, 0.0).sum(axis=1)",
        "return np.where(count > 0, values.sum(axis=1)",
        ("tests/forecasting/test_metrics.py",),
    ),
    Mutation(
        "recursion forgets its own forecasts",
        "forecasting/features/plan.py",
        "z[block.target] = z_hat",
        "z[block.target] = z[block.target - block.ahead]",
        (_FEATURES,),
    ),
    Mutation(
        "season detected on all rows",
        "forecasting/fitting.py",
        "season = detect_season(earliest)",
        "season = detect_season(panel)",
        (f"{_LEAKAGE}::test_settings_of_a_task_do_not_depend_on_the_scored_rows",),
    ),
    Mutation(
        "search at a cut gets all rows",
        "forecasting/backtesting.py",
        "found = search(window.train, run)",
        "found = search(self.model.task.panel, run)",
        ("tests/forecasting/test_backtesting.py",),
    ),
    Mutation(
        "errors over the test range under the name of the stored one",
        "forecasting/metrics.py",
        "out = all_scores(truth, forecast, also)",
        "out = all_scores(replace(truth, value_range=own_ranges(truth)), forecast, also)",
        ("tests/forecasting/test_metrics.py",),
    ),
    Mutation(
        "later history changes an earlier window",
        "forecasting/panel.py",
        "end = np.clip(np.broadcast_to(end, self.n_series), begin, self.lengths)",
        "end = np.clip(np.broadcast_to(end, self.n_series) + 1, begin, self.lengths)",
        (_BACKTEST, _LEAKAGE),
    ),
)


def plant(mutation: Mutation, root: Path) -> None:
    """Change the file below `root`; the text to change must be there."""
    path = root / mutation.file
    text = path.read_text(encoding="utf-8")
    if mutation.old not in text:
        raise SystemExit(f"mutation {mutation.name!r} no longer applies to {mutation.file}: update tests/mutations.py")
    path.write_text(text.replace(mutation.old, mutation.new, 1), encoding="utf-8")


def caught_by(mutation: Mutation) -> list[str]:
    """Names of the tests that fail with the bug planted."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "*cache*", "demo-output", "*.egg-info")
        )
        plant(mutation, copy)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--hypothesis-profile=no_shrink",
        ]
        command += mutation.tests
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)


def main(names: list[str]) -> int:
    """Run the mutations asked for (all by default) and print which test caught each."""
    survived = 0
    print("| planted bug | caught by |\n| --- | --- |")
    for mutation in MUTATIONS:
        if names and mutation.name not in names:
            continue
        tests = caught_by(mutation)
        survived += not tests
        print(f"| {mutation.name} | {tests[0].split('::', 1)[-1] if tests else '**survived**'} |", flush=True)
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
