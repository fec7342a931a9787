"""Asking the groups of a piece so that one that cannot be answered costs no other its forecast."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError
from automl.worker import describe
from forecasting.fitted import NothingAheadError
from forecasting.learners.base import check_quantiles
from forecasting.reading import typed_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from forecasting.fitted import Fitted
    from forecasting.frame import Schema
    from forecasting.many.answers import Question
    from forecasting.many.layout import Spec

TOLD = (
    "every row of future holds a value of the target already, so there is nothing to forecast. "
    "Fix: to forecast all of them leave the target out."
)


@dataclass(slots=True)
class Outcome:
    """What became of the groups of a piece.

    Parameters
    ----------
    answered : groups with forecasts. idle : why a group was asked for nothing, "" = none was.
    failed : hash of a group, as text -> why it cannot be answered.
    """

    answered: int = 0
    idle: str = ""
    failed: dict[str, str] = field(default_factory=dict)

    def count_told(self, told: set[int]) -> None:
        """Groups that are only told their own values were asked for nothing."""
        if told:
            self.idle = TOLD
            self.answered -= len(told - {int(place, 16) for place in self.failed})

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Later:
    """Later rows of a piece.

    Parameters
    ----------
    future, history : frames, None = not given. of_future, of_history : hash of each row's group.
    """

    future: pd.DataFrame | None
    history: pd.DataFrame | None
    of_future: np.ndarray
    of_history: np.ndarray

    def of(self, places: Iterable[int]) -> Later:
        """Rows of some groups alone; a frame without any counts as not given."""
        wanted = np.array(list(places), dtype=np.uint64)
        frames, kept = [], []
        for frame, of in ((self.future, self.of_future), (self.history, self.of_history)):
            rows = np.isin(of, wanted)
            some = frame is not None and bool(rows.any())
            frames.append(frame[rows].reset_index(drop=True) if frame is not None and some else None)
            kept.append(of[rows] if some else of[:0])
        return Later(frames[0], frames[1], kept[0], kept[1])

    def told(self, target: str) -> set[int]:
        """Groups all of whose future rows hold a target already, so that nothing is asked of them."""
        if self.future is None or target not in self.future.columns:
            return set()
        told = ~np.isin(self.of_future, self.of_future[self.future[target].isna().to_numpy()])
        return {int(p) for p in np.unique(self.of_future[told])}


def ask_groups(
    places: Sequence[int], ask: Callable[[Sequence[int]], pd.DataFrame | None], outcome: Outcome
) -> list[pd.DataFrame]:
    """Ask groups together; where that fails they are halved until those that cannot be answered stand alone.

    Raises
    ------
    ConfigError : the question is wrong, whatever the group.
    """
    try:
        frame = ask(places)
    except NothingAheadError as error:
        outcome.idle = str(error)
        return []
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a group, the others are answered
        if len(places) == 1:
            outcome.failed[f"{places[0]:016x}"] = describe(error)
            return []
        half = len(places) // 2
        return [f for some in (places[:half], places[half:]) for f in ask_groups(some, ask, outcome)]
    outcome.answered += len(places)
    return [] if frame is None or frame.empty else [frame]


def typed(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Rows with ids typed as in training (7 and "7" are the same).

    Raises
    ------
    DataError : an id is none of that type.
    """
    return typed_as(frame, dict(zip(schema.columns.id, schema.id_dtypes, strict=True)))


def ask_model(model: Fitted, later: Later, question: Question) -> pd.DataFrame:
    """What a model forecasts, or would have at each origin of its later rows."""
    history = None if later.history is None else typed(later.history, model.schema)
    if question.kind == "rolling":
        return model.rolling_forecast(history, step=question.step, quantiles=question.quantiles, model=question.model)
    return model.predict(
        None if later.future is None else typed(later.future, model.schema),
        history=history,
        horizon=question.horizon,
        until=question.until,
        quantiles=question.quantiles,
        level=question.level,
        model=question.model,
    )


def value_columns(question: Question, spec: Spec) -> list[str]:
    """Columns of a forecast."""
    asked = question.quantiles if question.quantiles or question.level else spec.settings.quantiles
    sides = [f"yhat-{side}-{width:g}" for width in question.level for side in ("lo", "hi")]
    return ["yhat", *(f"yhat-q-{q:g}" for q in check_quantiles(asked)), *sides]


def without_values(rows: pd.DataFrame, question: Question, spec: Spec) -> pd.DataFrame:
    """Rows that have no forecast, told by missing values."""
    return rows[[*spec.ids, spec.time]].assign(**dict.fromkeys(value_columns(question, spec), np.nan))


def told_values(model: Fitted, rows: pd.DataFrame, question: Question, spec: Spec) -> pd.DataFrame:
    """Rows that hold a target already, which they keep."""
    out = model.told(typed(rows, model.schema))
    return out.assign(**dict.fromkeys(value_columns(question, spec), out["yhat"]))
