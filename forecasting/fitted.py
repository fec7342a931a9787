"""What a fitted Forecaster can be asked: forecasts, scores, and what is behind them."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from automl.errors import ConfigError, DataError, RunError
from automl.guardrails import Report
from automl.metrics import UserMetric
from forecasting import backtest as bt
from forecasting import frame as door
from forecasting.fitting import chosen_metric
from forecasting.learners.base import check_quantiles
from forecasting.metrics import METRICS, REPORTED, find_metric, forgiving, own_metric
from forecasting.panel import Forecast
from forecasting.reading import read_number
from forecasting.request import COLD, Request, answer, check_agreement, steps_ahead, with_newer
from forecasting.scoring import Evaluation, drawn_history, evaluation, origins, scored_frame
from forecasting.timegrid import OFF_GRID, TimeGrid
from forecasting.writing import forecast_frame, history_frame, request_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from automl.guardrails import Guardrail
    from automl.metrics import Metric
    from forecasting.charts.gallery import Charts
    from forecasting.config import Settings
    from forecasting.model import ForecastModel
    from forecasting.panel import Key, Panel

LOG = logging.getLogger("forecasting")


class NothingAheadError(ConfigError):
    """`until` lies before the first step to forecast of any series."""


class Fitted:
    """What `Forecaster` answers once it is fitted; made by it alone.

    Parameters
    ----------
    horizon, seed, settings : as the user gave them to `Forecaster`.
    """

    def __init__(self, horizon: int, seed: int, settings: Settings) -> None:
        self.horizon = horizon
        self.seed = seed
        self.settings = settings
        self._model: ForecastModel | None = None
        self._schema: door.Schema | None = None
        self._report = Report()
        self._rows: list[dict[str, Any]] = []
        self._dropped: dict[Any, str] = {}
        self._stopped = ""
        self._metric = chosen_metric(settings).name

    # -- forecasts ---------------------------------------------------------------------------------------------------

    def predict(
        self,
        future: Any = None,
        *,
        history: Any = None,
        horizon: int | None = None,
        until: Any = None,
        quantiles: Sequence[float] = (),
        level: Sequence[float] = (),
        model: str | None = None,
    ) -> pd.DataFrame:
        """Forecast the steps after the end of each series, or the rows asked for.

        Parameters
        ----------
        future : rows to forecast (ids, time, known covariates), in any order. Needed where known covariates are
            declared: every step from a series' end up to the last one asked for must be given then. Rows that hold a
            value of the target are known: they keep it and count as `history`; missing values are what is asked for.
            Where training put rows together by period, each period is answered once, at its point of the grid.
            None = `horizon` steps after the end of every series.
            Such a period is known once all its rows are.
        history : newer actual rows, joined to those seen in training (a row of training that comes again holds the
            newer value); the origin of a series is its last row with a target. Nothing is estimated anew. Rows of
            `future` that it answers keep their actual value.
        horizon : steps ahead, default the trained one without `future`, all rows with it; beyond the trained one
            forecasts feed on forecasts.
        until : last time to forecast, in place of `horizon` (whole series or `future` rows up to it).
        quantiles, level : columns `yhat-q-0.1` for quantiles=[0.1], `yhat-lo-80` and `yhat-hi-80` for level=[80].
        model : any entry of the leaderboard; None = the best.

        Returns
        -------
        The id and time columns, yhat and the asked columns: for `future` its rows in its order, with a column
        `cold_start` where a series had no history at all. Series dropped in training have missing values, unless
        `history` holds their rows: then they are forecast as series never seen.

        Raises
        ------
        DataError : known covariates are missing (the message lists the gaps); rows without a target lie inside the
            training period; `future` and `history` hold different values of one row.
        """
        quantiles, level = tuple(quantiles), tuple(level)  # arrays have no truth value
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        newer = [] if history is None else [door.prepare_history(history, schema, panel.grid)]
        if future is not None and (known := door.known_rows(future, schema, panel.grid)) is not None:
            check_agreement(newer, known)
            newer.append(known)
        if newer:
            panel = with_newer(panel, newer, schema)
        known_ids = set(panel.ids)
        dropped = {key: why for key, why in self._dropped.items() if key not in known_ids}
        try:
            steps = steps_ahead(panel, schema, horizon=horizon, until=until, usual=self.horizon)
        except ConfigError as error:
            if until is None or horizon is not None:
                raise
            raise NothingAheadError(str(error)) from error
        quantiles = check_quantiles(quantiles if quantiles or level else self.settings.quantiles)
        levels = _levels(quantiles, level)
        if future is not None:
            apart = schema.aggregate is None
            request = Request.read(future, schema, panel) if apart else by_period(future, schema, fitted.task.panel)
            if horizon is not None or until is not None:
                request = request.within(panel, steps)
            values, cold = answer(fitted, schema, panel, request, levels=levels, name=model, dropped=dropped)
            rows = request.frame
            if not apart:
                rows, first = one_a_period(request, schema, panel)
                values, cold = values[first], cold[first]
            out = request_frame(rows, values, levels, schema, quantiles=quantiles, level=level)
            return out.assign(**{COLD: cold}) if cold.any() else out
        ahead = door.future_block(future, schema, panel, int(steps.max()), until=steps)
        forecast = fitted.forecast(panel, ahead, levels, model=model)
        return forecast_frame(forecast, panel, schema, quantiles=quantiles, level=level, dropped=dropped, steps=steps)

    def told(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Answer rows that all hold a target: ids, time and yhat, which is that value; put together as in training."""
        fitted, schema = self._fitted()
        own, panel = schema.columns, fitted.task.panel
        values = read_number(rows[own.target], own.target, "target")
        if schema.aggregate is None:
            return rows[[*own.id, own.time]].assign(yhat=values)
        keys, series, step = places_by_period(rows, schema, panel.grid)
        one, first = one_a_period(Request(rows, tuple(keys), series, step), schema, panel)
        together = pd.Series(values).groupby([series, step]).transform(cast("Any", schema.aggregate))
        return one[[*own.id, own.time]].assign(yhat=together.to_numpy()[first])

    def fitted_values(self, steps: int | None = None, *, model: str | None = None) -> pd.DataFrame:
        """One-step forecasts of the last rows the model was fitted on, to look for over-fitting.

        They are in-sample: the models have seen these rows. `backtest` gives honest errors.

        Parameters
        ----------
        steps : how many of the last rows of each series, default two horizons. model : as in `predict`.

        Returns
        -------
        ids, time, the target, yhat.
        """
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        count = 2 * self.horizon if steps is None else steps
        if count < 1:
            raise ConfigError(f"steps must be at least 1, got {steps!r}.")
        parts = []
        for back in range(count, 0, -1):
            some = np.flatnonzero(panel.lengths > back)
            if not len(some):
                continue
            window = bt.window(panel.select(some), panel.lengths[some] - back, 1, fitted.settings.season, (), 0)
            forecast = fitted.forecast(window.train, window.future, (), model=model)
            parts.append(scored_frame(forecast, window.train, window.truth, schema).drop(columns="cutoff"))
        if not parts:
            raise DataError("no series has more than one row, so nothing can be forecast from what came before.")
        order = [*schema.columns.id, schema.columns.time]
        return pd.concat(parts, ignore_index=True).sort_values(order, kind="stable", ignore_index=True)

    def rolling_forecast(
        self, test: Any, *, step: int = 1, quantiles: Sequence[float] = (), model: str | None = None
    ) -> pd.DataFrame:
        """Forecast through a test period from origins `step` apart, each with the actual values up to it.

        Models are not estimated anew. The last origins whose horizon would pass the end of the test are left out,
        unless the test is shorter than the horizon (then one shorter window is made).

        Parameters
        ----------
        test : rows after training, with the target and known covariates. step : steps between origins, 1..horizon.

        Returns
        -------
        ids, time, cutoff (the origin's time), the target, yhat and quantile columns.
        """
        if not 1 <= step <= self.horizon:
            raise ConfigError(f"step must be 1..{self.horizon} (the horizon), got {step!r}.")
        levels = check_quantiles(tuple(quantiles) or self.settings.quantiles)
        fitted, schema = self._fitted()
        walked = origins(fitted, schema, test, step=step, levels=levels, model_name=model, short_too=False)
        return pd.concat([origin.frame for origin in walked], ignore_index=True)

    def evaluate(self, test: Any, *, quantiles: Sequence[float] = (), model: str | None = None) -> Evaluation:
        """Score on rows after training: one forecast of each, from origins a horizon apart.

        Parameters
        ----------
        test : rows after training, with the target; a test longer than the horizon is walked through with actual
            values becoming known every `horizon` steps.
        """
        fitted, schema = self._fitted()
        levels = check_quantiles(tuple(quantiles) or self.settings.quantiles or (0.1, 0.5, 0.9))
        walked = origins(fitted, schema, test, step=self.horizon, levels=levels, model_name=model, short_too=True)
        return evaluation(list(walked), schema, fitted.task.panel, self._also_scored())

    def backtest(
        self,
        *,
        windows: int | None = None,
        step: int | None = None,
        quantiles: Sequence[float] = (),
        model: str | None = None,
    ) -> pd.DataFrame:
        """Refit the chosen model at earlier origins and forecast what came next.

        Parameters
        ----------
        windows, step : how many origins and how many steps apart; default those of the search.

        Returns
        -------
        ids, time, cutoff, the target, yhat and quantile columns. Interval widths come from the search's own windows.
        """
        fitted, schema = self._fitted()
        levels = check_quantiles(tuple(quantiles) or self.settings.quantiles)
        frames = []
        for window in self._earlier(windows, step, levels):
            forecast = fitted.refitted(window.train, model).forecast(window.train, window.future, levels, model=model)
            frames.append(scored_frame(forecast, window.train, window.truth, schema))
        return pd.concat(frames, ignore_index=True)

    def _earlier(self, windows: int | None, step: int | None, levels: tuple[float, ...]) -> Iterator[bt.Window]:
        """Windows that end at earlier origins, newest first; default those of the search."""
        for name, value in (("windows", windows), ("step", step)):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise ConfigError(f"{name} must be at least 1, got {value!r}.")
        fitted, _ = self._fitted()
        panel, own = fitted.task.panel, fitted.task.cuts
        apart = step or (int((own[0] - own[1])[0]) if len(own) > 1 else self.horizon)
        cuts = bt.cutoffs(panel, self.horizon, windows or len(own), apart)
        return bt.windows(panel, cuts, self.horizon, fitted.settings.season, levels)

    def charts(self, forecasts: pd.DataFrame) -> Charts:
        """Forecast-horizon, residual and predicted-vs-true charts of what `backtest` or `rolling_forecast` returned."""
        from forecasting.charts.gallery import Charts

        fitted, schema = self._fitted()
        own = schema.columns
        seen = drawn_history(fitted.task.panel, schema, forecasts)
        return Charts.of(forecasts, seen, ids=own.id, time=own.time, target=own.target)

    # -- looking -----------------------------------------------------------------------------------------------------

    def leaderboard(self, metric: str | None = None) -> pd.DataFrame:
        """All models, best first, by the metric chosen by or another one; natural sign, and why a model failed."""
        self._fitted()
        ranked = self._named(metric or self._metric)
        name, ascending = ranked.name, ranked.direction == "min"
        frame = pd.DataFrame(self._rows)
        known = dict.fromkeys((chosen_metric(self.settings).name, self._metric, *METRICS, *REPORTED))
        other = [c for c in known if c in frame.columns and c != name]
        frame = frame.assign(metric=name, score=frame.get(name, np.nan))
        frame = frame.sort_values("score", ascending=ascending, na_position="last", kind="stable")
        first = [
            "model",
            "score",
            "metric",
            "status",
            "windows",
            "fit_s",
            "predict_s",
            "peak_mb",
            "fallbacks",
            "reason",
        ]
        return frame[[*first, "learner", "params", *other]].reset_index(drop=True)

    def best(self, metric: str | None = None) -> str:
        """Name of the best model by any metric, among those that can forecast."""
        fitted, _ = self._fitted()
        if metric is None:
            return fitted.best
        board = self.leaderboard(metric)
        board = board[board["model"].isin(list(fitted.entries)) & board["score"].notna()]
        if board.empty:
            raise ConfigError(f"no model has a value of {metric!r}.")
        return str(board["model"].iloc[0])

    def weights(self, model: str | None = None) -> dict[str, float]:
        """Members of a model (None = the best) and their weights; weights by series are their means."""
        return dict(self._fitted()[0].entry(model).weights)

    def guardrails(self) -> pd.DataFrame:
        """What was checked and changed in the data, alerts first.

        Returns
        -------
        name, status (alerted, done, passed), message, number of series it is about, one example, and all details.
        """
        columns = ["name", "status", "message", "series", "example", "details"]
        return pd.DataFrame(self._report.rows(), columns=columns)

    def remark(self, note: Guardrail) -> None:
        """Add to the guardrails what was found outside."""
        self._report.append(note)

    def report(self) -> pd.DataFrame:
        """Every choice in force: name, value, where it comes from (user, data, default) and the rule behind it."""
        fitted, schema = self._fitted()
        from forecasting.report import choices

        findings = {note.name for note in self._report}
        return pd.DataFrame(choices(fitted, schema, self.settings, self.seed, findings=findings))

    def feature_names(self, model: str | None = None) -> list[str]:
        """What a model works with: engineered features of its pooled members, raw inputs of the others, in order."""
        from forecasting.featurization import engineered

        return list(dict.fromkeys(feature for feature, _ in engineered(self._fitted()[0], model)))

    def featurization_summary(self, model: str | None = None) -> pd.DataFrame:
        """What became of each column of the data in a model.

        Returns
        -------
        RawFeatureName, TypeDetected, Dropped ("Yes" where the model does not read it), EngineeredFeatureCount,
        Transformations (list). The run directory holds the best model's as `featurization_summary.json`, and
        `engineered_feature_names.json` beside it.
        """
        from forecasting.featurization import summary

        return pd.DataFrame(summary(*self._fitted(), model))

    def explain(
        self,
        model: str | None = None,
        *,
        raw: bool = True,
        method: str = "auto",
        by_horizon: bool = False,
        local: bool = False,
        future: Any = None,
        repeats: int = 3,
    ) -> pd.DataFrame:
        """Say which inputs the forecasts depend on.

        Parameters
        ----------
        model : any entry of the leaderboard; None = the best.
        raw : by column of the user's data ("target" = the series' own history, "time" = calendar, "holidays", "series"
            = which one it is), or by engineered feature.
        method : "auto" (SHAP for trees and linear models on the design matrix, permutation for all others), "shap", or
            "permutation".
        by_horizon : a row for each step ahead instead of one over all of them.
        local : a row for each forecast and feature instead: what it adds to this forecast, in target units. Forests
            of deep trees take up to half a second a forecast.
        future : with `local`: rows to forecast with their known covariates. None = the steps after the end, or the
            newest window of the training data where there are known covariates.
        repeats : shuffles of permutation.

        Returns
        -------
        feature, importance, std, method (and horizon), largest first.

        * SHAP (Lundberg et al. 2020): mean absolute contribution to forecasts of the search's windows, in units of the
          model's scale (a series' typical seasonal change, after transforms and minus its base); std over these rows.
        * permutation: how much the absolute error over the typical seasonal change grows in the newest window, which
          the model is fitted without, where an input loses its information (`forecasting.whatif`, at most 100 series);
          std over the repeats. Inputs that a model does not read have 0.
        * ensembles: each member's importances (those below 0 count as 0) are divided by their sum, then averaged by the
          members' weights: shares that add up to 1.

        With `local`: ids, time, feature, contribution. Those of one forecast add up to the model's value before limits
        and rounding; "(base)" is where it starts, and a member of an ensemble that cannot be split is one feature.

        Raises
        ------
        ConfigError : SHAP or `local` is asked of a model that has neither. MissingPackageError : `shap` is missing.
        """
        from forecasting.explain import importance

        fitted, _ = self._fitted()
        if local:
            if method == "permutation" or by_horizon:
                raise ConfigError("local=True gives SHAP contributions of single steps: leave method and by_horizon.")
            return self._explain_rows(model, future, raw=raw)
        if future is not None:
            raise ConfigError("explain reads future only with local=True.")
        rows = importance(fitted, model, raw=raw, method=method, by_horizon=by_horizon, repeats=repeats, seed=self.seed)
        return pd.DataFrame(rows)

    def _explain_rows(self, model: str | None, future: Any, *, raw: bool) -> pd.DataFrame:
        from forecasting.explain import local_contributions

        fitted, schema = self._fitted()
        panel = fitted.task.panel
        if future is not None or not schema.known:
            ahead = door.future_block(future, schema, panel, self.horizon)
        else:
            window = fitted.task.windows()[0]
            panel, ahead = window.train, window.future
        parts = local_contributions(fitted, model, panel, ahead, raw=raw)
        empty = Forecast(np.zeros((panel.n_series, ahead.horizon, 1)))
        frame = forecast_frame(empty, panel, schema, quantiles=(), level=(), dropped={}).drop(columns="yhat")
        rows = frame.loc[np.repeat(np.arange(len(frame)), len(parts))].reset_index(drop=True)
        values = np.stack([table.ravel() for table in parts.values()], axis=1).ravel()
        return rows.assign(feature=list(parts) * len(frame), contribution=values)

    def make_future_frame(self, horizon: int | None = None) -> pd.DataFrame:
        """Ids and times of the steps ahead, to be filled with the known covariates."""
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        empty = Forecast(np.full((panel.n_series, horizon or self.horizon, 1), np.nan))
        frame = forecast_frame(empty, panel, schema, quantiles=(), level=(), dropped={})
        frame = frame.drop(columns="yhat")
        for name in schema.known_names:
            frame[name] = np.nan
        return frame

    def history(self) -> pd.DataFrame:
        """Rows the model was fitted on, made regular: ids, time, target (missing where it was not observed)."""
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        return history_frame(panel, schema)

    @property
    def columns(self) -> door.Names:
        """Names of the id, time and target columns."""
        return self._fitted()[1].columns

    @property
    def schema(self) -> door.Schema:
        """How the training data were read."""
        return self._fitted()[1]

    @property
    def stopped_because(self) -> str:
        """Why the search ended."""
        return self._stopped

    def _fitted(self) -> tuple[ForecastModel, door.Schema]:
        if self._model is None or self._schema is None:
            raise RunError("this Forecaster is not fitted yet. Fix: call fit(frame) first.")
        return self._model, self._schema

    def _named(self, metric: str) -> Metric:
        """Metric by name, the user's own included."""
        own = self.settings.search.metric
        if isinstance(own, UserMetric) and metric in {own.name, own.target}:
            return own_metric(own)
        return find_metric(metric)

    def _also_scored(self) -> tuple[Metric, ...]:
        """The user's own metric where it is at hand, or the level's one that was chosen by."""
        chosen = chosen_metric(self.settings)
        own = self.settings.search.metric
        if isinstance(own, UserMetric):
            try:
                own.at_hand()
            except ConfigError as error:
                LOG.warning("%s is left out of the scores: %s", own.name, error)
                return ()
            return (forgiving(chosen),)
        return () if chosen.name in METRICS else (chosen,)


class _Periods(TimeGrid):
    """A grid that finds a time between two of its points in the period it belongs to, as aggregated rows are."""

    def steps_of(self, labels: pd.DatetimeIndex | np.ndarray) -> np.ndarray:
        return super().steps_of(labels) if self.is_integer else self.periods_of(labels)


def places_by_period(
    data: pd.DataFrame, schema: door.Schema, grid: TimeGrid
) -> tuple[list[Key], np.ndarray, np.ndarray]:
    """Sorted keys of a frame's series, and which of them in the period of which grid point each row is."""
    return door.places(data, schema, _Periods(**{f.name: getattr(grid, f.name) for f in fields(TimeGrid)}))


def by_period(future: Any, schema: door.Schema, trained: Panel) -> Request:
    """Rows of a request at the steps of their periods, several of which may share one.

    Rows of the period in which a series' training ends, half of which may lie ahead, are left out beside later ones.
    """
    data = door.to_pandas(future)
    keys, series, step = places_by_period(data, schema, trained.grid)
    ends = dict(zip(trained.ids, trained.last.tolist(), strict=True))
    last = np.array([ends.get(key, OFF_GRID) for key in keys])[series]
    target = schema.columns.target
    open_ = (step == last) & (data[target].isna().to_numpy() if target in data.columns else True)
    request = Request(data, tuple(keys), series, step)
    if not open_.any() or not (step > last).any():
        return request
    LOG.warning("%d rows of future lie in the last period of training and are left out", int(open_.sum()))
    return request.take(~open_)


def one_a_period(request: Request, schema: door.Schema, panel: Panel) -> tuple[pd.DataFrame, np.ndarray]:
    """First row of each series and period with the time of its grid point, and where it stands in the request."""
    _, first = np.unique(np.stack([request.series, request.step]), axis=1, return_index=True)
    first = np.sort(first)
    rows = request.frame.iloc[first]
    return rows.assign(**{schema.columns.time: schema.time_labels(panel.grid, request.step[first])}), first


def _levels(quantiles: Sequence[float], level: Sequence[float]) -> tuple[float, ...]:
    """All quantile levels needed for quantile and interval columns."""
    bad = [v for v in level if not 0 < v < 100]
    if bad:
        raise ConfigError(f"level must lie between 0 and 100 percent, got {bad}.")
    sides = [round(0.5 + sign * v / 200, 6) for v in level for sign in (-1, 1)]
    return check_quantiles((*quantiles, *sides))
