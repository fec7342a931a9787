"""What became of the user's columns: names of the engineered features, and a summary of a row a column."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from automl.files import write_json
from forecasting.learners.base import inputs_of
from forecasting.regularize import EXPANSIONS
from forecasting.whatif import HOLIDAYS, SERIES, TARGET, TIME

if TYPE_CHECKING:
    from pathlib import Path

    from forecasting.frame import Schema
    from forecasting.model import ForecastModel
    from forecasting.panel import Panel

NAMES_FILE, SUMMARY_FILE = "engineered_feature_names.json", "featurization_summary.json"
_TYPES = {"number": "Numeric", "category": "Categorical", "date": "DateTime"}
_MADE = (
    (r"lag\d+", "Lag"),
    (r"(mean|min|max|std)_window\d+", "RollingWindow"),
    (r"season_lag.*", "SeasonalLag"),
    (r"base_level|log_scale", "LevelAndScale"),
    (r"horizon_origin", "HorizonOrigin"),
    (r"(sin|cos)\d+|phase", "Season"),
    (r"holiday.*|days_(to|since)_holiday", "Holiday"),
    (r"series_code", "SeriesCode"),
    (r".*_WASNULL", "ImputationMarker"),
    (r".*_code", "LabelEncoder"),
    (r".*_relative", "RelativeToSeries"),
    (r".*_deviation|.*_against_id\d+", "RelativeToOtherSeries"),
    (r".*_change", "Change"),
    (r".*_last", "LastKnown"),
    (r".*_mean", "RollingWindow"),
)
"""Pattern of a feature's name -> what made it; the first that fits."""


def engineered(model: ForecastModel, name: str | None) -> tuple[tuple[str, str], ...]:
    """(feature, raw input) pairs of all members with weight, in order, each once.

    Raw inputs are "target", "time", "holidays", "series" and names of covariates. A learner that makes no features has
    its inputs as they are.
    """
    pairs: dict[tuple[str, str], None] = {}
    for member, weight in model.entry(name).weights:
        if weight:
            pairs |= dict.fromkeys(_of_member(model, member))
    return tuple(pairs)


def _of_member(model: ForecastModel, member: str) -> tuple[tuple[str, str], ...]:
    state = model.members[member].state
    if state is not None and "plan" in state[0]:  # the names lie open: no need to load a forest for them
        return tuple((feature, source) for feature, source in state[0]["plan"]["columns"])
    learner: Any = model.learner(member)
    if hasattr(learner, "plan"):
        return tuple(learner.plan.columns)
    return tuple((name, name) for name in inputs_of(learner, model.task.panel))


def summary(model: ForecastModel, schema: Schema, name: str | None) -> list[dict[str, Any]]:
    """Describe each column: RawFeatureName, TypeDetected, Dropped, EngineeredFeatureCount, Transformations.

    Columns that were not declared, and covariates that no model of the entry reads, are "Dropped": "Yes".
    """
    pairs = engineered(model, name)
    panel = model.task.panel
    columns, kinds = schema.columns, dict(schema.kinds)
    rows = [_row(c, "Id", pairs, (SERIES,), dropped=False) for c in columns.id]
    kind = "Numeric" if panel.grid.is_integer else "DateTime"
    rows.append(_row(columns.time, kind, pairs, (TIME, HOLIDAYS), dropped=False))
    rows.append(_row(columns.target, "Numeric", pairs, (TARGET,), dropped=False))
    if schema.weight is not None:
        weight = _row(schema.weight, "Numeric", pairs, (), dropped=False)
        rows.append({**weight, "Transformations": ["RowWeight"]})
    for column in (*schema.known, *schema.past, *schema.static):
        made = _expanded(column, kinds[column], panel)
        row = _row(column, _TYPES[kinds[column]], pairs, made)
        way = _imputer(panel, schema, column, made) if row["EngineeredFeatureCount"] else None
        rows.append({**row, "Transformations": [*([way] if way else []), *row["Transformations"]]})
    rows += [_row(column, _TYPES[kind], pairs, ()) for column, kind in schema.ignored]
    return rows


def _row(
    column: str, kind: str, pairs: tuple[tuple[str, str], ...], sources: tuple[str, ...], *, dropped: bool | None = None
) -> dict[str, Any]:
    features = [feature for feature, source in pairs if source in sources]
    made = dict.fromkeys(_made(feature, {column, *sources} - {TIME}) for feature in features)
    return {
        "RawFeatureName": column,
        "TypeDetected": kind,
        "Dropped": "Yes" if (not features if dropped is None else dropped) else "No",
        "EngineeredFeatureCount": len(features),
        "Transformations": list(made),
    }


def _made(feature: str, raw: set[str]) -> str:
    if feature == HOLIDAYS:
        return "Holiday"
    if feature in {*raw, TARGET, SERIES}:
        return "AsItIs"
    return next((made for pattern, made in _MADE if re.fullmatch(pattern, feature)), "Calendar")


def _expanded(column: str, kind: str, panel: Panel) -> tuple[str, ...]:
    """Names a covariate has in the panel: of one that was put together by period, several."""
    names = {*panel.known.names, *panel.past.names, *panel.static.names}
    if column in names or kind == "category":
        return (column,)
    return tuple(name for way in EXPANSIONS if (name := f"{column}_{way}") in names)


def _imputer(panel: Panel, schema: Schema, column: str, made: tuple[str, ...]) -> str | None:
    """How gaps of a numeric covariate with gaps are filled."""
    for block, way in ((panel.known, "median"), (panel.past, "ffill")):
        here = [block.names.index(name) for name in made if name in block.names and block.categories(name) is None]
        if here:
            gaps = not block.observed[:, here].all()
            return f"Imputer({dict(schema.fills).get(column, way)})" if gaps else None
    return None


def write(model: ForecastModel, schema: Schema, folder: Path) -> None:
    """Write both lists of the best model as JSON files."""
    write_json(folder / NAMES_FILE, [feature for feature, _ in engineered(model, None)])
    write_json(folder / SUMMARY_FILE, summary(model, schema, None))
