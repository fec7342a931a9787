"""Settings: frozen dataclasses that check themselves. One definition for Python, job files and help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence  # noqa: TC003 - job files are checked against these types
from dataclasses import dataclass, field
from typing import Literal

from automl.budget import ExitCriteria
from automl.errors import ConfigError
from automl.metrics import UserMetric
from forecasting.features.settings import STATISTICS
from forecasting.timegrid import normalise_freq

AGGREGATIONS = ("sum", "mean", "min", "max")
KINDS = ("number", "category", "date")
TRANSFORMS = ("auto", "none", "log", "difference")
_SIDES, _MOST_DAYS = 2, 30
_FILLS = ("median", "mean", "most_frequent", "constant", "ffill")


def _names(value: str | Sequence[str], what: str) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    twice = sorted({n for n in names if names.count(n) > 1}, key=str)
    if twice:
        raise ConfigError(f"{what} names a column twice: {', '.join(map(str, twice))}.")
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the user's columns.

    Parameters
    ----------
    id : one or several columns that tell series apart, () = one series. time, target : one column each.
        None = recognised: unique_id, ds, y (Nixtla) or item_id, timestamp, target (AutoGluon).

    Examples
    --------
    >>> Columns(id="store", time="week", target="sales").id
    ('store',)
    """

    id: str | Sequence[str] | None = None
    time: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        if self.id is not None:
            object.__setattr__(self, "id", _names(self.id, "id"))
        roles = [*(self.id or ()), *(c for c in (self.time, self.target) if c is not None)]
        if len(set(roles)) < len(roles):
            raise ConfigError(f"id {self.id}, time {self.time!r} and target {self.target!r} must be different columns.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariates:
    """Columns used besides the target; what is not named here is not used.

    Parameters
    ----------
    known : given for the future too (price, promotion). past : known up to the origin only.
    static : one value a series.
    """

    known: str | Sequence[str] = ()
    past: str | Sequence[str] = ()
    static: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("known", "past", "static"):
            object.__setattr__(self, name, _names(getattr(self, name), name))
        every = self.all
        twice = sorted({c for c in every if every.count(c) > 1})
        if twice:
            raise ConfigError(f"a covariate is either known, past or static; named twice: {', '.join(twice)}.")

    @property
    def all(self) -> tuple[str, ...]:
        """All names."""
        return (*self.known, *self.past, *self.static)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """How the user's frame is read and made regular.

    Parameters
    ----------
    freq : pandas offset alias, None = detected. aggregate : how several rows of one period are put together (needs
        `freq`): sum, mean, min or max of the target. short_series : what happens to series shorter than the horizon
        plus three rows: "auto" (padded when all are, else dropped), "pad", "drop", None (kept as they are).
    fill_target, fill_value : gaps of the target: "ffill" or "constant". fill_numbers : how gaps of single numeric
        covariates are filled in model features: median, mean or most_frequent value of the series' training rows,
        constant (`fill_value`) or ffill; those not named: median for known ones, ffill for past ones.
    missing_flags : gaps of numeric covariates become features too (`price_WASNULL`).
    kinds : how covariates are read where the user knows better than their type: number, category or date.
    weight : column of row weights >= 0. seed : of padding noise.
    """

    columns: Columns = field(default_factory=Columns)
    covariates: Covariates = field(default_factory=Covariates)
    freq: str | None = None
    aggregate: str | None = None
    short_series: str | None = "auto"
    fill_target: str = "ffill"
    fill_value: float = 0.0
    fill_numbers: Mapping[str, str] = field(default_factory=dict)
    missing_flags: bool = False
    kinds: Mapping[str, Literal["number", "category", "date"]] = field(default_factory=dict)
    weight: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.freq is not None:
            object.__setattr__(self, "freq", normalise_freq(self.freq))
        _one_of("aggregate", self.aggregate, (None, *AGGREGATIONS))
        _one_of("short_series", self.short_series, ("auto", "pad", "drop", None))
        _one_of("fill_target", self.fill_target, ("ffill", "constant"))
        for column, way in self.fill_numbers.items():
            _one_of(f"fill_numbers[{column!r}]", way, _FILLS)
        for column, kind in self.kinds.items():
            _one_of(f"kinds[{column!r}]", kind, KINDS)
            if column not in self.covariates.all:
                raise ConfigError(f"kinds names {column!r}, which is no covariate. Covariates: {self.covariates.all}.")
        if self.aggregate and self.freq is None:
            raise ConfigError(f"aggregate={self.aggregate!r} needs freq: the period rows are put together over.")


def _one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """What the design matrix may hold. Lengths in time steps.

    Parameters
    ----------
    season : steps a season, or "auto" (see `forecasting.season`); None and 1 = no season.
    lags, windows : used by the pooled regressors. "default" (a set for the season, the more accurate choice), "auto"
        (by partial autocorrelation, see `forecasting.features.orders`), None (none), a number or numbers.
    window_statistics : one or several of mean, min, max, std, sum.
    feature_lags : lags of numeric covariates: None, "auto" (where Granger's test has p < 0.05), a number or numbers.
        Counted from the forecast row for known covariates, from the origin for past ones; only where lags are on.
    use_stl : None, "season" or "season_trend": what STL makes of the rows before the origin, as features.
    further_seasons : whether longer seasons that show beside the first one (the week of hourly data) give features.
    holidays : ISO 3166 country code, alone or with a subdivision ("US-CA"); None = no holidays.
    holiday_subdivision : the subdivision, where `holidays` does not say it.
    holiday_window : days around a public holiday that count, on daily and finer data: a number or (before, after).
    target_transform : "auto" (log and differences as the data and the search decide), "none" (neither), "log" or
        "difference" (from the last value), for the pooled regressors; the log also for the TCN.
    memory_limit_mb : MB that the design matrices of all fits running at a time may take; rows are thinned to keep it.
        None = half of the free memory.
    """

    season: int | str | None = "auto"
    lags: int | str | Sequence[int] | None = "default"
    windows: int | str | Sequence[int] | None = "default"
    window_statistics: str | Sequence[str] = ("mean", "min", "max", "std")
    feature_lags: int | str | Sequence[int] | None = None
    use_stl: str | None = None
    further_seasons: bool = True
    holidays: str | None = None
    holiday_subdivision: str | None = None
    holiday_window: int | tuple[int, int] = 3
    target_transform: str = "auto"
    memory_limit_mb: float | None = None

    def __post_init__(self) -> None:
        if (
            self.season is not None
            and self.season != "auto"
            and not (isinstance(self.season, int) and self.season >= 1)
        ):
            raise ConfigError(f"season must be 'auto' or a whole number of steps >= 1, got {self.season!r}.")
        _one_of("target_transform", self.target_transform, TRANSFORMS)
        if self.memory_limit_mb is not None and not self.memory_limit_mb > 0:
            raise ConfigError(f"memory_limit_mb must be positive, got {self.memory_limit_mb!r}.")
        if len(self.window_days) != _SIDES or not all(0 <= days <= _MOST_DAYS for days in self.window_days):
            raise ConfigError(
                f"holiday_window must be 0..{_MOST_DAYS} days or two such numbers, got {self.holiday_window!r}."
            )
        if self.holiday_subdivision and (not self.holidays or "-" in self.holidays):
            raise ConfigError(
                f"holiday_subdivision {self.holiday_subdivision!r} needs holidays to be a country code without one, "
                f"got {self.holidays!r}."
            )
        for name, least in (("lags", 1), ("windows", 2)):
            value = getattr(self, name)
            _check_orders(name, value, least, ("default", "auto"))
        _check_orders("feature_lags", self.feature_lags, 1, ("auto",))
        _one_of("use_stl", self.use_stl, (None, "season", "season_trend"))
        if isinstance(self.window_statistics, str):
            object.__setattr__(self, "window_statistics", (self.window_statistics,))
        for name in self.window_statistics:
            _one_of("window_statistics", name, STATISTICS)

    @property
    def window_days(self) -> tuple[int, ...]:
        """Days before and after a public holiday that count."""
        window = self.holiday_window
        return (window, window) if isinstance(window, int) else tuple(window)

    @property
    def country(self) -> str | None:
        """Country and subdivision in one, as learners take it."""
        return f"{self.holidays}-{self.holiday_subdivision}" if self.holiday_subdivision else self.holidays

    def for_learners(self) -> dict[str, str | int | float | bool]:
        """Return the settings under the names and in the form learners take, those of the same name applying."""
        return {
            "lags": _text(self.lags),
            "windows": _text(self.windows),
            "window_statistics": _text(self.window_statistics),
            "feature_lags": _text(self.feature_lags),
            "stl": self.use_stl or "",
            "further_seasons": self.further_seasons,
            "holidays_before": self.window_days[0],
            "holidays_after": self.window_days[1],
        }


def _check_orders(name: str, value: int | str | Sequence[int] | None, least: int, words: Sequence[str]) -> None:
    if value is None or (isinstance(value, str) and value in words):
        return
    given = [value] if isinstance(value, int | str) else list(value)
    if not given or not all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in given):
        known = ", ".join(map(repr, words))
        raise ConfigError(f"{name} must be {known}, None or whole numbers >= {least}, got {value!r}.")


def _text(value: int | str | Sequence[int | str] | None) -> str:
    """Return a word as it is, nothing as "", and one or several values joined by commas."""
    if value is None:
        return ""
    return ",".join(map(str, [value] if isinstance(value, int | str) else value))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How models are tried, chosen and combined.

    Parameters
    ----------
    metric : what to choose by: a name, None = MASE, or WQL where quantiles are asked for; or a function of yours
        (actual, forecast) -> number, lower is better, or its place "package.module:function"; see
        `automl.metrics.UserMetric` for one of which more is better.
    limits : when to stop. n_windows, window_step : rolling-origin windows, "auto" or numbers (step in time steps).
    workers : processes evaluating at a time, None = one a core, 0 = none but this one (where processes may not be
        started; trials past their limit then end when their learner next looks at the clock). threads : of each fit.
    allowed, blocked : learner names; allowed=None = all that suit the data, but the deep ones. What is allowed by name
        is tried on any data. deep : try the TCN too.
    own_learners : name -> "package.module:Class" of learners of your own (see `forecasting.register_learner`, whose
        learners join by themselves).
    vote, stack : voting ensemble (greedy weights); linear stacking (opt-in). ensemble_rounds : greedy steps.
    verbosity : level of the log file: debug, info, warning or error.
    """

    metric: str | UserMetric | Callable[..., float] | None = None
    limits: ExitCriteria = field(default_factory=ExitCriteria)
    n_windows: int | str = "auto"
    window_step: int | str = "auto"
    workers: int | None = None
    threads: int = 1
    allowed: Sequence[str] | None = None
    blocked: Sequence[str] = ()
    own_learners: Mapping[str, str] = field(default_factory=dict)
    deep: bool = False
    vote: bool = True
    stack: bool = False
    ensemble_rounds: int = 15
    verbosity: str = "info"

    def __post_init__(self) -> None:
        if callable(self.metric) or (isinstance(self.metric, str) and ":" in self.metric):
            object.__setattr__(self, "metric", UserMetric.of(self.metric))
        for name in ("n_windows", "window_step"):
            value = getattr(self, name)
            if value != "auto" and not (isinstance(value, int) and value >= 1):
                raise ConfigError(f"{name} must be 'auto' or a whole number >= 1, got {value!r}.")
        for name in ("workers", "threads", "ensemble_rounds"):
            value = getattr(self, name)
            least = 0 if name == "workers" else 1
            if value is not None and (not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be a whole number >= {least}, got {value!r}.")
        if self.verbosity not in {"debug", "info", "warning", "error"}:
            raise ConfigError(f"verbosity must be debug, info, warning or error, got {self.verbosity!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything but the horizon: the data, the features, the search, and what a forecast may be.

    Parameters
    ----------
    quantiles : levels to be good at. integer : forecasts and quantiles are rounded to whole numbers.
    non_negative : forecasts never lie below 0: True, False, or None = where no negative value was seen in a series.
    """

    data: DataSettings = field(default_factory=DataSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    quantiles: tuple[float, ...] = ()
    integer: bool = False
    non_negative: bool | None = None
