"""What the adapters of tabular systems share: files in, a timed fit and prediction, files out. Needs pandas alone.

    python ADAPTER.py DIRECTORY

DIRECTORY holds train.parquet (features and the target), test.parquet (features) and job.json (target, task: binary,
multiclass or regression; metric: roc_auc, log_loss or rmse; time_limit). An adapter gives `fit(train, job) -> (model,
seconds to the first model or None)` and `predict(model, test, job) -> frame` with a column a class (its label as text)
or one column `value`; predictions.parquet and facts.json are written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


def main(
    fit: Callable[[pd.DataFrame, dict], tuple[Any, float | None]],
    predict: Callable[[Any, pd.DataFrame, dict], pd.DataFrame],
    about: str,
) -> None:
    """Run one job; `about` is the system's version."""
    place = Path(sys.argv[1])
    job = json.loads((place / "job.json").read_text())
    train, test = (pd.read_parquet(place / f"{part}.parquet") for part in ("train", "test"))
    start = perf_counter()
    model, first = fit(train, job)
    middle = perf_counter()
    answer = predict(model, test, job)
    end = perf_counter()
    answer.to_parquet(place / "predictions.parquet")
    facts = {"fit_s": round(middle - start, 3), "first_model_s": first, "predict_s": round(end - middle, 3)}
    (place / "facts.json").write_text(json.dumps({**facts, "version": about}))


def by_class(probabilities: np.ndarray, classes: Any) -> pd.DataFrame:
    """Probabilities with the labels' text as columns."""
    return pd.DataFrame(probabilities, columns=[str(c) for c in classes])
