"""The run report: the data, the guardrails, every choice in force with where it comes from, the leaderboard, versions.

A choice is anything that could have been otherwise: defaults of ours, what the user set, and what the data decided.
`RUN/report.json` holds all of it, `RUN/report.md` the same to read.
"""

from __future__ import annotations

import json
import math
import platform
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.files import write_atomic
from forecasting import backtest, checks, strangers
from forecasting.features.orders import look_back
from forecasting.features.settings import MAX_ROWS, default_lags, default_windows
from forecasting.frequency import ENOUGH_ON_GRID
from forecasting.intervals import fading
from forecasting.learners.local import BAND, LEAST_ROWS
from forecasting.task import DEGRADED_ABOVE

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence
    from pathlib import Path

    from forecasting.config import DataSettings, FeatureSettings, SearchSettings, Settings
    from forecasting.frame import Schema
    from forecasting.model import ForecastModel

USER, DATA, DEFAULT = "user", "data", "default"
_PACKAGES = ("forecastle", "numpy", "pandas", "scipy", "scikit-learn", "lightgbm", "numba", "optuna", "statsmodels")
_TOP = 10


@dataclass(frozen=True, slots=True)
class Choice:
    """One value in force.

    Parameters
    ----------
    name, value : as a reader says them. source : user, data (decided from it) or default (ours). rule : how.
    """

    name: str
    value: str
    source: str
    rule: str


def choices(
    model: ForecastModel, schema: Schema, settings: Settings, seed: int, *, findings: Container[str] = ()
) -> list[Choice]:
    """Everything that was chosen, by whom and by which rule; findings : names of guardrails."""
    of_horizon = DATA if "Horizon" in findings else USER
    return [
        *_data_choices(model, schema, settings.data),
        *_feature_choices(model, settings.features),
        *_search_choices(model, settings.search, seed, of_horizon),
        *_forecast_choices(settings),
    ]


def _source(settings: Any, name: str, *, auto: bool = False) -> str:
    """Who set a field: the user where it is not the default, else the data where the default leaves it to them."""
    default = next(f.default for f in fields(settings) if f.name == name)
    if getattr(settings, name) != default:
        return USER
    return DATA if auto else DEFAULT


def _data_choices(model: ForecastModel, schema: Schema, data: DataSettings) -> Iterator[Choice]:
    panel, horizon = model.task.panel, model.settings.horizon
    yield Choice("frequency", panel.grid.freq, _source(data, "freq", auto=True), f"grid through {panel.grid.origin}")
    rule = "each row belongs to the nearest point" if panel.grid.nearest else "a period begins at its grid point"
    yield Choice("aggregation", schema.aggregate or "none", _source(data, "aggregate"), rule)
    rule = f"stray rows are dropped from {ENOUGH_ON_GRID:.0%} on the grid, an error below"
    yield Choice("off-grid rule", f"{ENOUGH_ON_GRID:.0%}", DEFAULT, rule)
    if schema.time_zone:
        how = "the zone's clock" if schema.time_wall else "UTC"
        yield Choice(
            "time zone",
            f"{schema.time_zone}, as {how}",
            DATA,
            "days go by the clock, finer steps by UTC, their calendar by the clock",
        )
    least = horizon + backtest.LEAST_TRAINING_ROWS
    yield Choice("minimum history", f"{least} rows", DEFAULT, "the horizon and three rows; fewer make a series short")
    rule = "auto: padded if all are short, else dropped"
    yield Choice("short series", str(data.short_series), _source(data, "short_series"), rule)
    rule = "around the series' median, as large as its changes, not below 0 where the median is not"
    yield Choice("padding noise", f"seed {data.seed}", _source(data, "seed"), rule)
    yield Choice("target gaps", data.fill_target, _source(data, "fill_target"), "marked, never scored")
    for column, kind in schema.kinds:
        yield Choice(f"kind of {column}", kind, USER if column in data.kinds else DATA, "from the column's type")
    fills = dict(schema.fills)
    for column, kind in schema.kinds:
        if kind == "number":
            usual = "median" if column in schema.known else "ffill"
            source = USER if column in fills else DEFAULT
            yield Choice(f"gaps of {column}", fills.get(column, usual), source, "of the series' training rows")
    many = f"{checks.MANY_CATEGORIES} or {checks.SHARE_OF_ROWS:.0%} of rows"
    yield Choice("many categories", many, DEFAULT, "an alert, no change")
    rule = "medians of a season before and after, robust z-value; an alert, no change"
    yield Choice("structural break", f"z > {checks.BREAK:g}", DEFAULT, rule)


def _feature_choices(model: ForecastModel, features: FeatureSettings) -> Iterator[Choice]:
    s = model.settings
    rule = "shortest usual cycle that the autocorrelation of differences shows, else the usual short one"
    yield Choice("season", f"{s.season} steps", _source(features, "season", auto=True), rule)
    yield from _orders(model, features)
    country = features.country or "none"
    yield Choice("holidays", country, _source(features, "holidays"), "packages' calendars by country")
    rule = "days before and after a public holiday that count as near it"
    before, after = features.window_days
    yield Choice("holiday window", f"{before} and {after} days", _source(features, "holiday_window"), rule)
    rule = "kept where a Granger test has p < 0.05; only with target lags"
    yield Choice("feature lags", str(features.feature_lags or "none"), _source(features, "feature_lags"), rule)
    rule = "of expanding blocks, so that a row sees values up to its origin only"
    yield Choice("STL features", features.use_stl or "none", _source(features, "use_stl"), rule)
    rule = "auto: logs where swings grow with the level; differences by the vote on stationarity and the search"
    yield Choice("target transform", features.target_transform, _source(features, "target_transform"), rule)
    rule = "majority of ADF, KPSS, Phillips-Perron, DF-GLS and Zivot-Andrews at 5 %, then of at most 30 series"
    yield Choice("stationarity", "stationary" if s.stationary else "not stationary", DATA, rule)
    rule = "steps ahead and old rows are thinned evenly"
    yield Choice("rows of a design matrix", f"at most {MAX_ROWS}", DEFAULT, rule)


def _orders(model: ForecastModel, features: FeatureSettings) -> Iterator[Choice]:
    """Lags and windows of the pooled regressors, as they come out on the whole panel."""
    panel, season = model.task.panel, model.settings.season
    shortest = int(np.median(panel.lengths))
    given = features.for_learners()
    usual = {"lags": default_lags, "windows": default_windows}
    found = (
        dict(zip(usual, look_back(panel, season), strict=True)) if "auto" in {given["lags"], given["windows"]} else {}
    )
    for name, default in usual.items():
        value = str(given[name])
        rule = "counted from the origin"
        if value == "default":
            value = ", ".join(map(str, default(season, shortest)))
            rule += "; short ones and about one and two seasons, at most half a series"
        elif value == "auto":
            value = f"up to {found[name]}" if found[name] else "none"
            rule += "; partial autocorrelation without the season, until the first insignificant one (window: the last)"
        source = _source(features, name, auto=True)
        yield Choice(f"target {name}", value or "none", source, rule)


def _search_choices(model: ForecastModel, search: SearchSettings, seed: int, of_horizon: str) -> Iterator[Choice]:
    cuts, horizon, limits = model.task.cuts, model.settings.horizon, search.limits
    rule = "newest first, each series at its own end; five windows, three from 20 series, two from 100"
    yield Choice("horizon", f"{horizon} steps", of_horizon, "")
    yield Choice("metric", model.settings.metric, _source(search, "metric"), "MASE, or WQL for quantiles")
    yield Choice("cross validation windows", str(len(cuts)), _source(search, "n_windows", auto=True), rule)
    step = int((cuts[0] - cuts[1])[0]) if len(cuts) > 1 else horizon
    source = _source(search, "window_step", auto=True)
    yield Choice("cross validation step", f"{step} steps", source, "the horizon, or what fits")
    rule = f"no stop before trial {limits.landmarks + limits.patience + 1}, then after {limits.patience} without gain"
    on = f"{limits.patience} trials" if limits.early_stopping else "off"
    yield Choice(
        "early stopping window", on, USER if limits.patience != 10 or not limits.early_stopping else DEFAULT, rule
    )
    for name, value in (("time limit, seconds", limits.time_limit), ("trial limit", limits.max_trials)):
        yield Choice(name, "none" if value is None else f"{value:g}", DEFAULT if value is None else USER, "")
    rule = "greedy with replacement from at most five models within 5 % of the best"
    yield Choice("ensemble rounds", str(search.ensemble_rounds), _source(search, "ensemble_rounds"), rule)
    yield Choice("stacking", "on" if search.stack else "off", _source(search, "stack"), "few windows to learn it from")
    rule = "a learner that falls back on more series is left out of ensembles"
    yield Choice("degraded learner", f"{DEGRADED_ABOVE:.0%} of series", DEFAULT, rule)
    rule = "shorter series repeat their last season"
    yield Choice("least rows of a series model", f"{LEAST_ROWS} rows", DEFAULT, rule)
    rule = "others fall back to the last season"
    yield Choice("believed forecasts", f"{BAND:g} ranges beyond what was seen", DEFAULT, rule)
    yield Choice("seed", str(seed), USER if seed else DEFAULT, "")


def _forecast_choices(settings: Settings) -> Iterator[Choice]:
    rule = "conformal: scaled errors of the windows, own quantiles kept, widths made right on all windows"
    yield Choice("interval method", "out-of-sample residuals", DEFAULT, rule)
    few, many = fading(2, 0)[1], fading(2, 10**9)[1]
    rule = "weight against the next newer window"
    yield Choice("fade of older windows", f"{few:g}, {many:g} with many values", DEFAULT, rule)
    told = {None: "where nothing negative was seen", True: "always", False: "never"}
    yield Choice("non-negative forecasts", told[settings.non_negative], _source(settings, "non_negative"), "")
    yield Choice("whole numbers", "yes" if settings.integer else "no", _source(settings, "integer"), "rounded last")
    rule = "forecasts are fed back; squared distances of quantiles add up"
    yield Choice("past the horizon", "recursive", DEFAULT, rule)
    rule = (
        f"below {strangers.ENOUGH_SEASONS} seasons: members within {strangers.NEAR:.0%} of the best on series left out"
    )
    yield Choice("unseen series", "members good on short series", DEFAULT, rule)
    rule = "those that share most id values; marked cold_start"
    yield Choice("cold start", "mean of the most alike series", DEFAULT, rule)


# -- the whole ------------------------------------------------------------------------------------------------------


def report(
    model: ForecastModel,
    schema: Schema,
    settings: Settings,
    seed: int,
    *,
    guardrails: Sequence[Mapping[str, Any]],
    leaderboard: Sequence[Mapping[Any, Any]],
    stopped: str,
    seconds: float | None,
) -> dict[str, Any]:
    """All of it as JSON values.

    Parameters
    ----------
    guardrails, leaderboard : rows, best first. stopped : why the search ended. seconds : that the fit took.
    """
    panel = model.task.panel
    found = choices(model, schema, settings, seed, findings={row["name"] for row in guardrails})
    first, last = panel.grid.labels(np.array([panel.start.min(), panel.last.max()]))
    return {
        "data": {
            "series": panel.n_series,
            "rows": panel.n_rows,
            "observed": int(panel.observed.sum()),
            "shortest": int(panel.lengths.min()),
            "longest": int(panel.lengths.max()),
            "first": str(first)[:19],
            "last": str(last)[:19],
            "known": list(schema.known),
            "past": list(schema.past),
            "static": list(schema.static),
        },
        "guardrails": [{k: row[k] for k in ("name", "status", "message", "series", "example")} for row in guardrails],
        "choices": [{f.name: getattr(c, f.name) for f in fields(c)} for c in found],
        "best": model.best,
        "leaderboard": [{k: _known(v) for k, v in row.items()} for row in leaderboard[:_TOP]],
        "stopped_because": stopped,
        "seconds": seconds,
        "versions": versions(),
    }


def _known(value: Any) -> Any:
    """A missing number as None: NaN is no JSON."""
    return None if isinstance(value, float) and math.isnan(value) else value


def versions() -> dict[str, str]:
    """Python and the packages that matter for the numbers."""
    out = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "not installed"
    return out


def write(content: Mapping[str, Any], folder: Path) -> None:
    """Write report.json and report.md into a folder."""
    write_atomic(folder / "report.json", (json.dumps(content, indent=1, default=str) + "\n").encode())
    write_atomic(folder / "report.md", markdown(content).encode())


def markdown(content: Mapping[str, Any]) -> str:
    """Return the report to read."""
    data = content["data"]
    seconds = "" if content["seconds"] is None else f" after {content['seconds']:.1f} s"
    text = f"{data['series']} series of {data['shortest']} to {data['longest']} rows, {data['rows']} in all, "
    text += f"{data['observed']} of them with a target, from {data['first']} to {data['last']}."
    best = f"Best model: {content['best']}. The search ended{seconds}: {content['stopped_because']}."
    lines = ["# Run report", "", text, best]
    for title, rows in (("Guardrails", content["guardrails"]), ("Choices", content["choices"])):
        lines += ["", f"## {title}", "", *_table(rows)]
    lines += ["", "## Leaderboard", "", *_table(content["leaderboard"])]
    told = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    return "\n".join([*lines, "", "## Versions", "", told, ""])


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["none"]
    names = list(rows[0])
    return [
        f"| {' | '.join(names)} |",
        f"|{'---|' * len(names)}",
        *("| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows),
    ]


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
