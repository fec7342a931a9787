"""Which inputs a model's forecasts depend on: SHAP where the model allows it, else what is lost without an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError
from forecasting.backtest import Window
from forecasting.features.plan import direct_forecast, forecast_rounds
from forecasting.learners.base import inputs_of
from forecasting.learners.regression import Pooled
from forecasting.whatif import HOLIDAYS, SERIES, TARGET, TIME, without

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from automl.explain import Contributions
    from forecasting.features.plan import Round
    from forecasting.learners.base import Learner
    from forecasting.model import ForecastModel
    from forecasting.panel import Future, Panel

METHODS = ("auto", "shap", "permutation")
BASE = "(base)"
"""What a forecast starts from before any input is looked at; the `feature` of its row in local explanations."""

_MOST_ROWS, _LEAST_ROWS = 2_000, 50
_MOST_WORK = 6e9
"""Operations of tree SHAP for one importance, about ten seconds."""

_MOST_SERIES = 100
_STILL = 1e-9
_POOL = 2_000


@dataclass(frozen=True, slots=True)
class Importances:
    """Importance of features, overall and by step.

    Parameters
    ----------
    names : of the k features. mean, std : shape [k, 1 + horizon], column 0 is overall, NaN where nothing was observed.
    method : "tree SHAP", "linear SHAP" or "permutation".
    """

    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    method: str


def importance(
    model: ForecastModel, name: str | None, *, raw: bool, method: str, by_horizon: bool, repeats: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of feature, importance, std, method (and horizon), largest first; see `Forecaster.explain`.

    Raises
    ------
    ConfigError : the method is none of METHODS, or SHAP is asked of a model that has none.
    """
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if repeats < 1:
        raise ConfigError(f"repeats must be at least 1, got {repeats!r}.")
    members = _members(model, name)
    parts = [
        (of_member(model, member, raw=raw, method=method, repeats=repeats, seed=seed), share)
        for member, share in members
    ]
    single = len(parts) == 1
    total: dict[str, np.ndarray] = {}
    methods: dict[str, dict[str, None]] = {}
    for part, share in parts:
        # of several members, each one's importances are made to sum to one: SHAP and losses have different units; a
        # forecast that got better without an input says that it has no importance, not that others have more
        means = part.mean if single else np.maximum(part.mean, 0.0)
        size = 1.0 if single else float(means[:, 0].sum())
        for feature, mean, std in zip(part.names, means, part.std, strict=True):
            both = (1.0 if single else share / size if size > 0 else 0.0) * np.stack([mean, std])
            total[feature] = total[feature] + both if feature in total else both
            methods.setdefault(feature, {})[part.method] = None
    whole = sum(float(both[0, 0]) for both in total.values())
    if not single and whole > 0:  # less than one where a member reads nothing that helps it
        total = {feature: both / whole for feature, both in total.items()}
    order = sorted(total, key=lambda f: -np.nan_to_num(total[f][0, 0]))
    steps = range(1, model.settings.horizon + 1) if by_horizon else (0,)
    rows: list[dict[str, Any]] = []
    for feature in order:
        mean, std = total[feature]
        for h in steps:
            row = {"feature": feature, "importance": float(mean[h]), "std": float(std[h])}
            row["method"] = " + ".join(methods[feature])
            rows.append({**row, "horizon": h} if by_horizon else row)
    return rows


def _members(model: ForecastModel, name: str | None) -> list[tuple[str, float]]:
    """Members with weight and their shares of the sum."""
    used = [(n, abs(w)) for n, w in model.entry(name).weights if w]
    whole = sum(w for _, w in used)
    return [(n, w / whole) for n, w in used]


def of_member(
    model: ForecastModel, member: str, *, raw: bool = True, method: str = "auto", repeats: int = 3, seed: int = 0
) -> Importances:
    """Importance of one member's inputs: SHAP of the fitted model, or permutation after a fit without the window."""
    learner = model.learner(member)
    if method != "permutation" and isinstance(learner, Pooled):
        found = _by_shap(learner, model.task.windows(), raw=raw)
        if found is not None:
            return found
    if method == "shap":
        raise ConfigError(
            f"{member} has no SHAP values, only trees and linear models on the design matrix have. "
            "Fix: method='auto' or method='permutation'."
        )
    window = _sample(model.task.windows()[0])
    # a model a series needs no others; the window was not seen in this fit, so what it loses is honest
    train = window.train if learner.unseen == "fit_on_the_fly" else model.task.windows()[0].train
    fitted = model.members[member].fit(model.task, train)
    if raw or not isinstance(fitted, Pooled):
        return _by_input(fitted, window, model.settings.season, model.settings.country, repeats=repeats, seed=seed)
    return _by_column(fitted, window, repeats=repeats, seed=seed)


def _sample(window: Window) -> Window:
    """The window with 100 series at most, evenly taken."""
    n = window.train.n_series
    if n <= _MOST_SERIES:
        return window
    some = _evenly(np.arange(n), _MOST_SERIES)
    return Window(
        window.number, window.series[some], window.train.select(some), window.future.select(some),
        window.truth.rows(some),
    )  # fmt: skip


# -- SHAP -------------------------------------------------------------------------------------------------------------


def _by_shap(learner: Pooled, windows: Sequence[Window], *, raw: bool) -> Importances | None:
    """Mean absolute contribution over the rows of the windows, on the model's scale; None where there are none."""
    parts: list[Round] = []
    for window in windows:
        parts += forecast_rounds(learner.plan, learner.predict_scaled, window.train, window.future)
        if sum(len(r.ahead) for r in parts) >= _MOST_ROWS:
            break
    x = np.concatenate([r.design.x for r in parts])
    ahead = np.concatenate([r.ahead for r in parts])
    most = int(max(_LEAST_ROWS, min(_MOST_ROWS, _MOST_WORK / max(learner.contribution_work(), 1.0))))
    pick = _thinned(ahead, most)
    found = learner.contributions(x[pick])
    if found is None:
        return None
    names, found = _named(learner, found, raw=raw)
    size, ahead = np.abs(found.values), ahead[pick]
    columns = [np.ones(len(ahead), dtype=bool), *(ahead == h for h in range(1, windows[0].future.horizon + 1))]
    mean = np.stack([size[rows].mean(axis=0) for rows in columns], axis=1)
    std = np.stack([size[rows].std(axis=0) for rows in columns], axis=1)
    return Importances(names, mean, std, found.method)


def _thinned(ahead: np.ndarray, most: int) -> np.ndarray:
    """Positions of at most about `most` rows, evenly over all steps ahead, at least one of each."""
    if len(ahead) <= most:
        return np.arange(len(ahead))
    steps = int(ahead.max())
    each = max(1, most // steps)
    return np.concatenate([_evenly(np.flatnonzero(ahead == h), each) for h in range(1, steps + 1)])


def _evenly(rows: np.ndarray, count: int) -> np.ndarray:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def _named(learner: Pooled, found: Contributions, *, raw: bool) -> tuple[tuple[str, ...], Contributions]:
    """Contributions by engineered feature, or added up by raw column."""
    if not raw:
        return learner.feature_names, found
    sources = [source for _, source in learner.plan.columns]
    names = tuple(dict.fromkeys(sources))
    return names, found.summed([names.index(s) for s in sources], len(names))


def local_contributions(
    model: ForecastModel, name: str | None, panel: Panel, future: Future, *, raw: bool
) -> dict[str, np.ndarray]:
    """Feature -> what it adds to each forecast, shape [n, horizon], in target units.

    The sum over all features, `(base)` included, is the model's forecast before limits and rounding. The parts of a
    model on a log scale are the log contributions, shared out over the distance of the forecast from its base. Members
    without SHAP values stand as one feature each, named "(member)".

    Raises
    ------
    ConfigError : no member has SHAP values.
    """
    total: dict[str, np.ndarray] = {}
    any_split = False
    for member, weight in model.weights(model.entry(name), panel):
        if not np.any(weight):
            continue
        learner = model.learner(member)
        parts = _split(learner, panel, future, raw=raw) if isinstance(learner, Pooled) else None
        any_split |= parts is not None
        if parts is None:
            parts = {f"({member})": learner.forecast(panel, future, ()).point}
        for feature, values in parts.items():
            total[feature] = total.get(feature, np.zeros_like(values)) + weight[:, None] * values
    if not any_split:
        able = [n for n, m in model.members.items() if isinstance(model.learner(n), Pooled) and m.state is not None]
        raise ConfigError(
            f"{model.entry(name).name} cannot be split row by row: only trees and linear models on the design matrix "
            f"can. Fix: local=False, or model= one of {', '.join(able) or '(none in this run)'}."
        )
    return total


def _split(learner: Pooled, panel: Panel, future: Future, *, raw: bool) -> dict[str, np.ndarray] | None:
    out: dict[str, np.ndarray] = {}
    for part in forecast_rounds(learner.plan, learner.predict_scaled, panel, future):
        found = learner.contributions(part.design.x)
        if found is None:
            return None
        names, found = _named(learner, found, raw=raw)
        base, factor = _onto_target(learner, part, found)
        series, step = part.design.series, part.ahead - 1
        for feature, values in zip((BASE, *names), (base, *(found.values * factor[:, None]).T), strict=True):
            table = out.setdefault(feature, np.zeros((panel.n_series, future.horizon)))
            table[series, step] = values
    return out


def _onto_target(learner: Pooled, part: Round, found: Contributions) -> tuple[np.ndarray, np.ndarray]:
    """Base forecasts in target units, and what contributions of each row are multiplied by to add up to its value."""
    inverse, scale = learner.plan.inverse, part.design.scale
    start = part.design.base + found.expected * scale
    base, moved = inverse(start, part.shift), found.values.sum(axis=1)
    held = part.z != part.design.base + part.predicted * scale
    end = np.where(held, part.value, inverse(start + moved * scale, part.shift))
    plain = np.isnan(part.shift)
    slope = scale * np.where(plain, 1.0, np.exp(np.where(plain, 0.0, start)))
    still = np.abs(moved) < _STILL
    return base, np.where(still, slope, (end - base) / np.where(still, 1.0, moved))


# -- permutation ------------------------------------------------------------------------------------------------------


def _by_input(
    learner: Learner, window: Window, season: int, country: str | None, *, repeats: int, seed: int
) -> Importances:
    """Increase of the scaled absolute error where one raw input has lost its information; 0 for inputs not read."""
    train = window.train
    read = inputs_of(learner, train)
    names = [TARGET, TIME, *([HOLIDAYS] if country else []), *([SERIES] if SERIES in read else [])]
    names += [*train.known.names, *train.past.names, *train.static.names]

    def forecast(name: str | None, rng: np.random.Generator) -> np.ndarray:
        panel, future = (train, window.future) if name is None else without(name, train, window.future, season, rng)
        return learner.forecast(panel, future, ()).held_constant(train, season).point

    return _increase(names, set(read), forecast, window, repeats=repeats, seed=seed)


def _by_column(learner: Pooled, window: Window, *, repeats: int, seed: int) -> Importances:
    """The same by engineered feature: a column of the design matrix takes values of random training rows."""
    plan = learner.plan
    train = plan.lately(window.train)
    scaled = plan.scale(train)
    rows, series = plan.training_rows(scaled, seed)
    some = _evenly(np.arange(len(rows.target)), _POOL)
    few = type(rows)(rows.target[some], rows.ahead[some], rows.begin[some])
    pool = plan.design(scaled, few, series[some], plan.past_block(train)).x
    names = learner.feature_names
    place = {name: k for k, name in enumerate(names)}

    def forecast(name: str | None, rng: np.random.Generator) -> np.ndarray:
        def predict(x: np.ndarray) -> np.ndarray:
            if name is None:
                return learner.predict_scaled(x)
            other = x.copy()
            other[:, place[name]] = pool[rng.integers(0, len(pool), len(x)), place[name]]
            return learner.predict_scaled(other)

        return direct_forecast(plan, predict, window.train, window.future)

    return _increase(names, set(names), forecast, window, repeats=repeats, seed=seed)


def _increase(
    names: Sequence[str],
    read: set[str],
    forecast: Callable[[str | None, np.random.Generator], np.ndarray],
    window: Window,
    *,
    repeats: int,
    seed: int,
) -> Importances:
    base = _losses(forecast(None, np.random.default_rng(seed)), window)
    mean, std = np.zeros((len(names), len(base))), np.zeros((len(names), len(base)))
    for k, name in enumerate(names):
        if name not in read:
            continue
        rng = np.random.default_rng(seed)  # the same dice for every input: differences are not luck
        worse = np.stack([_losses(forecast(name, rng), window) - base for _ in range(repeats)])
        mean[k], std[k] = worse.mean(axis=0), worse.std(axis=0)
    return Importances(tuple(names), mean, std, "permutation")


def _losses(point: np.ndarray, window: Window) -> np.ndarray:
    """Mean absolute error over the series' typical changes, overall and by step. Shape [1 + horizon]."""
    truth = window.truth
    unit = np.where(np.isfinite(truth.mae_scale) & (truth.mae_scale > 0), truth.mae_scale, 1.0)[:, None]
    error = np.where(truth.mask, np.abs(point - truth.y) / unit, 0.0)
    count = truth.mask.sum(axis=0)
    steps = np.where(count > 0, error.sum(axis=0) / np.maximum(count, 1), np.nan)
    return np.concatenate([[error.sum() / max(int(count.sum()), 1)], steps])
