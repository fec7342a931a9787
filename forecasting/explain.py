"""Which inputs a model's forecasts depend on, measured on the newest window with one input shuffled at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.explain import permutation_importance
from forecasting.learners.regression import Pooled
from forecasting.panel import Block, Future

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forecasting.backtest import Window
    from forecasting.features.plan import Design, Scaled
    from forecasting.model import ForecastModel


def importance(model: ForecastModel, name: str | None, *, raw: bool, repeats: int, seed: int) -> list[dict[str, Any]]:
    """Rows of feature, importance, std, largest first; importance is the increase of the mean absolute scaled error.

    Pooled members are explained through their design matrices and count by their weight in the ensemble. Where a
    model has none, its covariates and its own history ("target") are shuffled instead.
    """
    entry = model.entry(name)
    window = model.task.windows()[0]
    fitted = model.refitted(window.train, name)
    used = [(fitted.learner(n), w) for n, w in entry.weights if w]
    pooled = [(learner, w) for learner, w in used if isinstance(learner, Pooled)]
    if not pooled:
        return _by_input(fitted, name, window, repeats, seed)
    share = sum(w for _, w in pooled)
    total: dict[str, np.ndarray] = {}
    for learner, weight in pooled:
        for feature, mean, std in _of_pooled(learner, window, raw=raw, repeats=repeats, seed=seed):
            total[feature] = total.get(feature, np.zeros(2)) + weight / share * np.array([mean, std])
    return _ordered((feature, values[0], values[1]) for feature, values in total.items())


def _ordered(rows: Any) -> list[dict[str, Any]]:
    listed = [{"feature": f, "importance": float(m), "std": float(s)} for f, m, s in rows]
    return sorted(listed, key=lambda row: -row["importance"])


def _of_pooled(learner: Any, window: Window, *, raw: bool, repeats: int, seed: int) -> list[tuple[str, float, float]]:
    plan = learner.plan
    scaled: Scaled = plan.scale(window.train, window.future)
    rows, series = plan.future_rows(scaled, min(window.future.horizon, plan.horizon))
    keep = rows.ahead <= plan.horizon
    design: Design = plan.design(scaled, rows, series, plan.past_block(window.train))
    truth = window.truth.y[:, : plan.horizon].ravel()[keep]
    mask = window.truth.mask[:, : plan.horizon].ravel()[keep]
    unit = np.where(np.isfinite(window.truth.mae_scale), window.truth.mae_scale, 1.0)[series]

    def loss(x: np.ndarray) -> float:
        z = plan.bounded(learner.predict_scaled(x) * design.scale + design.base, design.series, scaled)
        error = np.abs(plan.inverse(z, scaled.shift[series]) - truth) / unit
        return float(error[mask].mean())

    groups: Mapping[str, list[int]] = _groups(plan.columns, raw=raw)
    found = permutation_importance(loss, design.x, groups, repeats=repeats, seed=seed)
    return [(i.name, i.mean, i.std) for i in found]


def _groups(columns: tuple[tuple[str, str], ...], *, raw: bool) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, (feature, source) in enumerate(columns):
        groups.setdefault(source if raw else feature, []).append(i)
    return groups


def _by_input(model: ForecastModel, name: str | None, window: Window, repeats: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    unit = np.where(np.isfinite(window.truth.mae_scale), window.truth.mae_scale, 1.0)[:, None]

    def loss(train: Any, future: Future) -> float:
        error = np.abs(model.forecast(train, future, (), model=name).point - window.truth.y) / unit
        return float(error[window.truth.mask].mean())

    from dataclasses import replace

    base = loss(window.train, window.future)
    rows = []
    for k, column in enumerate(window.train.known.names):
        worse = []
        for _ in range(repeats):
            known = _shuffled(window.future.known, k, rng)
            worse.append(loss(window.train, Future(window.future.horizon, known)) - base)
        rows.append((column, np.mean(worse), np.std(worse)))
    worse = []
    for _ in range(repeats):
        order = rng.permutation(window.train.n_rows)
        order = order[np.argsort(window.train.series_of_rows()[order], kind="stable")]
        worse.append(loss(replace(window.train, y=window.train.y[order]), window.future) - base)
    rows.append(("target", np.mean(worse), np.std(worse)))
    return _ordered(rows)


def _shuffled(block: Block, column: int, rng: np.random.Generator) -> Block:
    values = block.values.copy()
    values[:, column] = rng.permutation(values[:, column])
    return replace(block, values=values)
