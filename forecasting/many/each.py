"""A search of its own for every group of a piece; the piece's models lie in one zip file. Runs in workers."""

from __future__ import annotations

import shutil
import tempfile
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import DataError
from automl.files import publish, sync_file
from automl.worker import describe
from forecasting.forecaster import Forecaster
from forecasting.learners.base import check_quantiles
from forecasting.many.answers import Question, askable, later_rows, rows_without_values, write_answer
from forecasting.many.asking import Later, Outcome, ask_groups, ask_model, told_values
from forecasting.many.layout import Folder
from forecasting.many.piece import DONE, FAILED, FALLBACK, write_status
from forecasting.many.pieces import read_groups, read_piece, row_places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forecasting.many.layout import Spec
    from forecasting.many.pieces import Known

_LAST_SEASON = ("SeasonalNaive",)


def search_piece(root: str, number: int) -> dict[str, int]:
    """Search models for each group of a piece, write all of them as one file and last the status; counts by status."""
    folder = Folder(Path(root))
    spec = folder.spec()
    _, known = read_groups(folder.pieces)
    frame = read_piece(folder.pieces, number)
    rows = []
    with tempfile.TemporaryDirectory(prefix="forecastle-") as scratch:
        if frame is not None:
            places = row_places(frame, spec.by)
            for place in (int(p) for p in np.unique(places)):
                part = frame[places == place].reset_index(drop=True)
                rows.append(_search(spec, known[place], place, part, Path(scratch)))
        _pack(Path(scratch), _zip(folder, number))
    return write_status(folder, number, pd.DataFrame(rows, columns=_columns(spec)))


def _columns(spec: Spec) -> list[str]:
    return [*spec.by, "status", "learner", "weights", "series", "rows", "mase", "seconds", "error", "place"]


def _zip(folder: Folder, number: int) -> Path:
    return folder.model(number).with_suffix(".zip")


def _search(spec: Spec, group: Known, place: int, frame: pd.DataFrame, scratch: Path) -> dict[str, Any]:
    """Fit one group into a folder of its own; what became of it."""
    begun = time.perf_counter()
    row: dict[str, Any] = {
        **dict(zip(spec.by, group.key, strict=True)),
        "status": DONE,
        "learner": "",
        "weights": [],
        "series": len(frame[list(spec.ids)].drop_duplicates()),
        "rows": group.rows,
        "mase": float("nan"),
        "error": "",
        "place": f"{place:016x}",
    }
    try:
        if complaint := group.complaint(spec.target):
            raise DataError(complaint)  # noqa: TRY301 - told like any other failure
        fitted = _forecaster(spec).fit(frame)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a group, the others go on
        row["error"] = describe(error)
        try:
            fitted = _forecaster(spec, last_season=True).fit(frame)
            row["status"] = FALLBACK
            row["error"] += f"; forecast by {_LAST_SEASON[0]}"
        except Exception:  # noqa: BLE001 - the first reason is the one that counts
            row["status"] = FAILED
            return {**row, "seconds": time.perf_counter() - begun}
    fitted.save(scratch / f"{place:016x}")
    board = fitted.leaderboard("mase").set_index("model")["score"]
    weights = fitted.weights()
    row["learner"] = max(weights, key=lambda name: weights[name])
    row["weights"] = [f"{name} {weight:.2f}" for name, weight in weights.items()]
    row["mase"] = float(board[fitted.best()])
    return {**row, "seconds": time.perf_counter() - begun}


def _forecaster(spec: Spec, *, last_season: bool = False) -> Forecaster:
    """Forecaster of one group, in this process alone; with the last season only, whatever the length."""
    settings = spec.settings
    search = replace(settings.search, workers=0)
    if last_season:
        search = replace(search, allowed=_LAST_SEASON, limits=replace(search.limits, max_trials=1), n_windows=1)
        settings = replace(settings, data=replace(settings.data, short_series="pad"))
    return Forecaster(spec.horizon, seed=spec.seed, settings=replace(settings, search=search))


def _pack(scratch: Path, path: Path) -> None:
    """All models of a piece as one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp")
    with zipfile.ZipFile(partial, "w") as archive:
        for file in sorted(f for f in scratch.rglob("*") if f.is_file()):
            archive.write(file, file.relative_to(scratch).as_posix())
    sync_file(partial)
    publish(partial, path)


@contextmanager
def _unpacked(path: Path, place: int) -> Iterator[Path | None]:
    """One group's model as a folder, None where it has none."""
    prefix = f"{place:016x}/"
    scratch = tempfile.mkdtemp(prefix="forecastle-")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.startswith(prefix)]
            archive.extractall(scratch, names)
        yield Path(scratch) / prefix if names else None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def answer_searched(root: str, number: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Answer for the groups of one piece and write the file; what became of them (see `Outcome`)."""
    question = Question.from_json(asked)
    folder = Folder(Path(root))
    spec = folder.spec()
    table = pd.read_parquet(folder.status(number), columns=["place", "status"])
    status = {int(p, 16): s for p, s in zip(table["place"], table["status"], strict=True)}
    if question.groups is not None:
        status = {p: s for p, s in status.items() if p in set(question.groups)}
    later = later_rows(question, spec, number, set(status))
    told = later.told(spec.target)
    outcome = Outcome()
    frames: list[pd.DataFrame] = []

    def ask(places: Sequence[int]) -> pd.DataFrame | None:
        with _unpacked(_zip(folder, number), places[0]) as model:
            if model is None:
                return None
            forecaster, rows = Forecaster.load(model), later.of(places)
            if places[0] in told and rows.future is not None:
                return told_values(forecaster, rows.future, question, spec)
            return _answer(question, spec, forecaster, rows)

    fitted = [p for p, s in status.items() if s != FAILED]
    for place in askable(question, later, fitted):
        frames += ask_groups([place], ask, outcome)
    outcome.count_told(told & set(fitted))
    if question.kind == "predict":
        bad = {int(place, 16) for place in outcome.failed} | (set(status) - set(fitted))
        frames += rows_without_values(later, bad, question, spec, None)
    return write_answer(question, number, frames, outcome)


def _answer(question: Question, spec: Spec, model: Forecaster, later: Later) -> pd.DataFrame | None:
    levels: Sequence[float] = check_quantiles(question.quantiles or spec.settings.quantiles)
    if question.kind == "backtest":
        return model.backtest(quantiles=levels)
    return ask_model(model, later, question)
