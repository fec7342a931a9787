"""Which learners are tried, with which first configurations, and why the others are not."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automl.candidates import Candidate, Choice, JsonScalar
from automl.errors import ConfigError
from forecasting.costs import PRICES, expected_seconds
from forecasting.features.scaling import wants_log
from forecasting.grain import MANY_ZEROS, zeros
from forecasting.learners.base import LEARNERS
from forecasting.learners.own import search_space
from forecasting.season import further_seasons
from forecasting.spaces import SPACES, TCN_FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forecasting.config import SearchSettings
    from forecasting.panel import Panel

_OWN_TRANSFORM = {"TCNForecaster"}
"""Learners that are no pooled regressors but may take logs."""

_SPARSE = ("Croston", "TSB", "IMAPA", "ADIDA")

_ONLY_WHEN_NAMED = ("StatsmodelsETS", "PmdArima", "QuantileForest")
"""Learners by other libraries of what the kernels do, and a forest that gained nothing in whole searches beside
`QuantileLightGBM` (ten sets at 60 s: MASE and WQL +0.3 and +0.2 %); they serve as a second opinion."""

_NEEDS = {"TCNForecaster": ("torch", "deep"), "XGBoost": ("xgboost", "boost")}

_LATE = 0.5
"""Share of a trial's limit from which a learner with one model a series waits until all others were tried."""

_USUAL_WINDOWS = 2
"""Fits of a trial whose rows are not thinned further: in more windows slow learners see fewer, to take no longer."""

_SEEN, _MANY_ROWS, _MORE_ROWS, _PATIENCE = 30_000, 60_000, 120_000, 60.0
"""Rows that quantile trees learn from: usually, where a panel has more than the second, and at last where it has more
than the first and a trial may take so many seconds. From step to step the pinball loss on windows fell by 2 to 3 % on
54 series of stores and 913 of shops, and rose by up to 1 % on short monthly series."""

_QUICK = 20.0
"""Expected seconds of a trial up to which a learner with one model a series is searched."""

_DOUBT = 2.0
"""How far beyond the limit of a trial an expectation must lie before the learner is not even started."""


@dataclass(frozen=True, slots=True)
class Portfolio:
    """What a search tries.

    Parameters
    ----------
    candidates : in this order, cheap and safe ones first: the first answer comes at once.
    skipped : every other learner -> why it is not tried.
    """

    candidates: tuple[Candidate, ...]
    skipped: Mapping[str, str]


def choose(
    panel: Panel,
    search: SearchSettings,
    *,
    season: int,
    stationary: bool,
    transform: str = "auto",
    windows: int = 1,
    trial_limit: float | None = None,
) -> Portfolio:
    """Choose what is tried on a panel.

    What the user allows by name is tried, whatever the data and however long it takes; without such a list, learners
    that do not suit the data or cannot be done in time are left out.

    Parameters
    ----------
    season : steps. stationary : by vote of the series. windows : fits of a trial. trial_limit : seconds it may take.
    transform : of the target, "auto" = as each candidate has it (see `FeatureSettings.target_transform`).

    Raises
    ------
    UnknownNameError : a name in `allowed` or `blocked` is no learner. ConfigError : nothing is left.
    """
    skipped = unwanted(search)
    absent = {name: why for name, why in _missing().items() if name not in skipped}
    if search.allowed is None:
        unfit = _unfit(panel, season) | _too_slow(panel, search, windows, trial_limit)
        skipped = unfit | skipped
    skipped |= absent
    unhurried = trial_limit is None or trial_limit >= _PATIENCE
    listed = _portfolio(panel, season, search, stationary=stationary, windows=windows, unhurried=unhurried)
    if trial_limit is not None:
        late = [c for c in listed if c.learner in PRICES and c.cost > _LATE * trial_limit]
        listed = [c for c in listed if c not in late] + sorted(late, key=lambda c: c.cost)
    chosen = tuple(dict.fromkeys(_transformed(c, transform) for c in listed if c.learner not in skipped))
    if not chosen:
        raise ConfigError(_nothing_left(search, absent))
    return Portfolio(chosen, {name: skipped[name] for name in LEARNERS if name in skipped})


def unwanted(search: SearchSettings) -> dict[str, str]:
    """Learners that the settings leave out -> why.

    Raises
    ------
    UnknownNameError : a name in `allowed` or `blocked` is no learner. ConfigError : nothing is left.
    """
    allowed = None if search.allowed is None else {LEARNERS.resolve(name) for name in search.allowed}
    blocked = {LEARNERS.resolve(name) for name in search.blocked}
    out: dict[str, str] = {}
    for name in LEARNERS:
        if name in blocked:
            out[name] = "blocked by the settings"
        elif allowed is not None:
            if name not in allowed:
                out[name] = "not among the learners allowed"
        elif name == "TCNForecaster" and not search.deep:
            out[name] = "tried with deep=True, or when allowed by name"
        elif name in _ONLY_WHEN_NAMED:
            out[name] = "a second opinion on what is tried anyway: tried when allowed by name"
    if len(out) == len(list(LEARNERS)):
        raise ConfigError(_nothing_left(search, {}))
    return out


def _transformed(candidate: Candidate, transform: str) -> Candidate:
    """Return the candidate with the target's transform settled, and no longer searched over."""
    pooled = "base" in SPACES.get(candidate.learner, {})
    if transform == "auto" or not (pooled or candidate.learner in _OWN_TRANSFORM):
        return candidate
    params, space = candidate.values(), dict(candidate.space)
    params["transform"] = "log" if transform == "log" else "none"
    space.pop("transform", None)
    if pooled and transform == "difference":
        params["base"] = "last"
        space.pop("base", None)
    elif pooled and transform == "none":
        params["base"] = "level" if params.get("base") == "last" else params.get("base", "level")
        space |= {"base": Choice(("level", "seasonal"))} if "base" in space else {}
    return Candidate.of(candidate.learner, params, space=space, cost=candidate.cost)


def _nothing_left(search: SearchSettings, absent: Mapping[str, str]) -> str:
    allowed = "all" if search.allowed is None else list(search.allowed)
    why = "".join(f" {name} is {reason}." for name, reason in absent.items())
    blocked = list(search.blocked)
    return f"allowed={allowed} without blocked={blocked} leaves no learner.{why} Known: {', '.join(LEARNERS)}."


def _missing() -> dict[str, str]:
    """Learners whose package is missing -> the command that installs it."""
    return {
        name: f"skipped: pip install 'forecastle[{extra}]'"
        for name, (package, extra) in _NEEDS.items()
        if importlib.util.find_spec(package) is None
    }


def _unfit(panel: Panel, season: int) -> dict[str, str]:
    """Learners that do not suit the data -> why."""
    out: dict[str, str] = {}
    share = zeros(panel)
    if share <= MANY_ZEROS:
        out |= dict.fromkeys(_SPARSE, f"{share:.0%} of the values are zero, it is tried above {MANY_ZEROS:.0%}")
    if season <= 1:
        out["MSTL"] = "there is no season"
    if not panel.known.names:
        out["Arimax"] = "there are no known covariates"
    if panel.grid.is_integer:
        out["Prophet"] = "times are whole numbers, and it needs dates"
    return {name: f"not for these data: {why}" for name, why in out.items()}


def _too_slow(panel: Panel, search: SearchSettings, windows: int, limit: float | None) -> dict[str, str]:
    """Learners with one model a series that cannot be done within the limit of a trial -> why."""
    if limit is None:
        return {}
    out = {}
    for name in PRICES:
        seconds = expected_seconds(name, panel, windows=windows, threads=search.threads)
        if seconds > _DOUBT * limit:
            out[name] = (
                f"too slow: about {seconds:.0f} s for {panel.n_series} series in {windows} window(s), and a trial may "
                f"take {limit:.0f} s; more time, or allowing it by name, has it tried"
            )
    return out


def _portfolio(
    panel: Panel, season: int, search: SearchSettings, *, stationary: bool, windows: int, unhurried: bool
) -> list[Candidate]:
    """Fixed order: an answer at once, then by gain a second. A space is searched once a learner.

    The gain is what an ensemble loses on windows of training data without the learner, a mean over eleven public sets
    with their last horizon cut off: methods that fit each series lead, forests and neighbours come last.
    """
    of = Candidate.of
    direct: dict[str, JsonScalar] = {
        "strategy": "direct",
        "base": "seasonal" if season > 1 else "level" if stationary else "last",
        "transform": "auto",
    }
    light: dict[str, JsonScalar] = {
        **direct,
        "num_leaves": 15,
        "learning_rate": 0.07,
        "n_estimators": 150,
        "max_rows": 60_000,
    }
    space = SPACES

    def thinned(rows: int) -> dict[str, int]:
        return {"max_rows": int(rows * min(1.0, _USUAL_WINDOWS / windows))}

    def local(name: str, **params: JsonScalar) -> Candidate:
        return of(name, params, cost=expected_seconds(name, panel, windows=windows, threads=search.threads))

    seen = max(_SEEN, thinned(_MANY_ROWS)["max_rows"]) if panel.n_rows > _MANY_ROWS else _SEEN
    quantile: dict[str, JsonScalar] = {**direct, "max_rows": seen}
    as_is: dict[str, JsonScalar] = {**quantile, "base": "level", "transform": "none", "weighting": "volume"}
    # without logarithms "auto" has tried the same
    units = [of("QuantileLightGBM", as_is, cost=2)] if wants_log(panel, "auto", season) else []
    more: dict[str, JsonScalar] = {**direct, "n_estimators": 200, "learning_rate": 0.06, **thinned(_MORE_ROWS)}
    # a season old is too old for what wanders, even where there are seasons
    wanders = season > 1 and not stationary
    near = [of("LightGBM", {**light, "base": "last"}, cost=1)] if wanders else []
    near_quantile = [of("QuantileLightGBM", {**quantile, "base": "last"}, cost=2)] if wanders else []
    patient = [of("QuantileLightGBM", more, cost=20)] if panel.n_rows > _SEEN and unhurried else []
    prophet = local("Prophet")
    if prophet.cost <= _QUICK:
        prophet = of("Prophet", space=space["Prophet"], cost=prophet.cost)
    network = [of("TCNForecaster", params, cost=30) for params in TCN_FIRST]
    network[0] = of("TCNForecaster", TCN_FIRST[0], space=space["TCNForecaster"], cost=30)
    longer = [m for m in further_seasons(panel, season) if m % season == 0]
    weeks = [of("SeasonalNaive", {"season": m}, cost=0.01) for m in longer]
    weeks += [of("SeasonalWindowAverage", {"season": m, "window": 4}, cost=0.01) for m in longer]
    own = [of(name, space=search_space(name)) for name in search.own_learners]
    trees, leaves = space["ExtremeRandomTrees"], space["QuantileForest"]
    slow: dict[str, JsonScalar] = {**light, "objective": "regression", "n_estimators": 300, "learning_rate": 0.03}
    return [
        of("SeasonalNaive", cost=0.01),
        local("Theta", method="dynamic"),
        of("LightGBM", light, space=space["LightGBM"], cost=1),
        of("ElasticNet", {**direct, "max_rows": 60_000}, space=space["ElasticNet"], cost=1),
        *own,
        local("ExponentialSmoothing"),
        *(local(name) for name in _SPARSE),
        local("MSTL"),
        of("SeasonalAverage", cost=0.01),
        of("SeasonalWindowAverage", cost=0.01),
        *weeks,
        of("LightGBM", {**light, "base": "level", "weighting": "volume"}, cost=1),
        of("QuantileLightGBM", quantile, space=space["QuantileLightGBM"], cost=2),
        *near,
        of("Naive", cost=0.01),
        of("Average", cost=0.01),
        of("LightGBM", {**light, "strategy": "recursive"}, cost=1),
        of("ExtremeRandomTrees", {"base": "level", "weighting": "volume", **thinned(20_000)}, space=trees, cost=2),
        local("AutoArima"),
        local("Arimax"),
        of("QuantileLightGBM", {**quantile, "base": "level", "weighting": "volume"}, cost=2),
        *near_quantile,
        local("Theta", method="optimized"),
        *units,
        local("ComplexSmoothing"),
        of("LassoLars", {**direct, "max_rows": 60_000}, space=space["LassoLars"], cost=1),
        of("LightGBM", {**slow, "base": "level", "transform": "none", "weighting": "volume"}, cost=2),
        of("SGD", {**direct, "max_rows": 60_000}, space=space["SGD"], cost=1),
        of("QuantileForest", {"base": "level", "weighting": "volume", **thinned(_SEEN)}, space=leaves, cost=2),
        of("XGBoost", {**direct, "n_estimators": 150, **thinned(100_000)}, space=space["XGBoost"], cost=2),
        network[0],
        prophet,
        of("GradientBoosting", {**direct, "base": "level", **thinned(20_000)}, space=space["GradientBoosting"], cost=4),
        of("RandomForest", {**direct, **thinned(20_000)}, space=space["RandomForest"], cost=3),
        of("KNN", {**direct, **thinned(20_000)}, space=space["KNN"], cost=1),
        of("DecisionTree", direct, space=space["DecisionTree"], cost=1),
        local("StatsmodelsETS"),
        local("PmdArima"),
        of("LightGBM", {**direct, "num_leaves": 31, "n_estimators": 400, "learning_rate": 0.03}, cost=6),
        *network[1:],
        *patient,
    ]
