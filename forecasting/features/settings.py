"""What a design matrix may hold, and the lags and windows that are worth having by default."""

from __future__ import annotations

from dataclasses import dataclass

from automl.errors import ConfigError

MAX_ROWS = 200_000
"""Training rows of a design matrix, at most."""

STATISTICS = ("mean", "min", "max", "std", "sum")
"""What windows can be summed up by; all but the sum are usual."""

STL_PARTS = ("", "season", "season_trend")
_BASES = ("none", "last", "level", "seasonal")
_TRANSFORMS = ("none", "log", "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """What the design matrix holds. All lengths in time steps.

    Parameters
    ----------
    strategy : "direct" (one row per target and horizon, lags counted from the origin, one model for every h) or
        "recursive" (a one-step model fed with its own forecasts).
    lags, windows : "default" (a set for the season), "auto" (by partial autocorrelation, see `features.orders`), ""
        (none) or numbers joined by commas, such as "1,2,12".
    window_statistics : some of mean, min, max, std, sum, joined by commas.
    feature_lags : lags of numeric known covariates (counted from the target row) and of past ones (counted from the
        origin): "" (none), "auto" (those of the target, by Granger's test) or numbers. Only where the target has lags.
    stl : "", "season" or "season_trend": parts of an STL decomposition known at the origin, where there is a season.
    further_seasons : whether longer seasons that show (see `season.further_seasons`) give features too where the base
        is seasonal; rows that start from a level did not gain by them.
    transform : "none", "log" (of y plus the series' mean where it comes near zero; none where negative values occur)
        or "auto" (log where swings grow with the level).
    base : what is subtracted before learning: "none", "last", "level" (mean of the last season, or of as many steps
        as are forecast where there is none) or "seasonal" (the latest known value of the same season).
    across_series : whether known covariates are also compared with what other series have at the same step. Without it
        a row depends on its own series alone, whichever others are asked for with it.
    series_code : whether the series itself is a (categorical) feature, for at most 500 series.
    max_rows : cap on training rows; horizons and old rows are thinned evenly beyond it.
    memory_mb : the matrix takes at most so many MB while it is built (rows are thinned further); 0 = no limit.
    holidays_before, holidays_after : days around a public holiday that still count, on daily and finer data.
    """

    strategy: str = "direct"
    lags: str = "default"
    windows: str = "default"
    window_statistics: str = "mean,min,max,std"
    feature_lags: str = ""
    stl: str = ""
    further_seasons: bool = True
    transform: str = "auto"
    base: str = "level"
    across_series: bool = True
    series_code: bool = True
    max_rows: int = MAX_ROWS
    memory_mb: float = 0.0
    holidays_before: int = 3
    holidays_after: int = 3

    def __post_init__(self) -> None:
        for name, allowed in (
            ("strategy", ("direct", "recursive")),
            ("transform", _TRANSFORMS),
            ("base", _BASES),
            ("stl", STL_PARTS),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}.")
        numbers("lags", self.lags, 1)
        numbers("windows", self.windows, 2)
        if self.feature_lags == "default":
            raise ConfigError("feature_lags must be 'auto', '' or whole numbers joined by commas, got 'default'.")
        numbers("feature_lags", self.feature_lags, 1)
        unknown = sorted(set(self.statistics) - set(STATISTICS))
        if unknown:
            raise ConfigError(f"window_statistics must be some of {', '.join(STATISTICS)}, got {', '.join(unknown)}.")

    @property
    def statistics(self) -> tuple[str, ...]:
        """Window statistics by name."""
        return tuple(dict.fromkeys(s.strip() for s in self.window_statistics.split(",")))


def numbers(name: str, text: str, least: int) -> tuple[int, ...]:
    """Numbers of a setting's text, ascending; () where the text is a word.

    Raises
    ------
    ConfigError : neither a known word nor numbers, or a number below `least`.
    """
    if text in {"auto", "default", ""}:
        return ()
    try:
        values = tuple(sorted({int(v) for v in str(text).split(",")}))
    except ValueError:
        raise ConfigError(
            f"{name} must be 'default', 'auto', '' or whole numbers joined by commas, got {text!r}."
        ) from None
    if values[0] < least:
        raise ConfigError(f"{name} must be at least {least}, got {values[0]}: a smaller one would read the answer.")
    return values


def default_lags(season: int, shortest: int) -> tuple[int, ...]:
    """Lags worth having at a season length: the first few, then around one and two seasons.

    Examples
    --------
    >>> default_lags(12, 100), default_lags(1, 20)
    ((1, 2, 3, 4, 5, 6, 11, 12, 13, 24), (1, 2, 3, 4, 5, 6))
    """
    lags = set(range(1, 7))
    if season > 1:
        lags |= {season - 1, season, season + 1, 2 * season}
    if season == 24:
        lags |= {48, 72, 168}
    if season == 7:
        lags |= {21, 28}
    return tuple(sorted(k for k in lags if 1 <= k <= max(1, shortest // 2)))


def default_windows(season: int, shortest: int) -> tuple[int, ...]:
    """Window widths worth having at a season length.

    Examples
    --------
    >>> default_windows(12, 100), default_windows(1, 9)
    ((3, 12, 24), (3,))
    """
    widths = {3, season, 2 * season} if season > 1 else {3, 6, 12}
    if season == 24:
        widths |= {168}
    if season == 7:
        widths |= {28}
    return tuple(sorted(w for w in widths if 2 <= w <= max(3, shortest // 2)))


def season_spans(season: int, shortest: int) -> tuple[int, ...]:
    """Numbers of seasons whose values in the target's phase are worth a median: what is usual there, holidays aside.

    Examples
    --------
    >>> season_spans(7, 500), season_spans(12, 100), season_spans(1, 100)
    ((4, 8, 16, 32), (4,), ())
    """
    return tuple(n for n in (4, 8, 16, 32) if season > 1 and n * season <= shortest // 2)
