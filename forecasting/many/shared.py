"""What all groups share, learned once from a sample of them: reading, windows, pooled models, intervals, the rule.

The sample holds the groups with the lowest hashes, so it depends on the keys alone and is bounded however many groups
there are. Everything that a group's forecast takes from others comes from here; so pieces need not know each other.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.budget import Deadline, ExitCriteria
from automl.bundle import read_state, write_state
from automl.candidates import Candidate
from automl.errors import ConfigError, DataError, LearnerError
from automl.guardrails import Guardrail, Report
from automl.runs import Run
from automl.search import Search
from forecasting import backtest as bt
from forecasting import frame as door
from forecasting.assemble import Assembly, Weights
from forecasting.blending import series_errors
from forecasting.fitting import chosen_metric, metric_beside, plan_task
from forecasting.grain import MANY_ZEROS, Grain, zeros
from forecasting.learners.base import LEARNERS
from forecasting.learners.batch import Batch
from forecasting.learners.naive import Flat
from forecasting.many.choice import Rule, apart, choose_rule, group_errors, shares
from forecasting.many.driver import run_pieces
from forecasting.many.layout import Folder, Spec
from forecasting.many.pieces import Known, piece_of, read_piece, row_places
from forecasting.many.reading import groups_of, isolated
from forecasting.metrics import find_metric, naive_scales
from forecasting.model import Entry, Member
from forecasting.season import detect_season
from forecasting.task import OPEN, PRELOAD, ForecastTask, TaskSettings, open_task, save_task
from forecasting.timegrid import TimeGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from automl.candidates import JsonScalar
    from automl.runs import TrialRecord
    from automl.trial import State
    from forecasting.config import SearchSettings, Settings
    from forecasting.panel import Panel

LOG = logging.getLogger("forecasting")

MOST_GROUPS, MOST_ROWS = 1_000, 200_000
"""Groups and rows of the sample."""

CHOICE = "GroupChoice"
"""Entry whose weights go by group."""

_WINDOWS_LIKE = 99
"""Windows are chosen as for so many series."""

_POOLED: dict[str, JsonScalar] = {
    "series_code": False,
    "across_series": False,
    "transform": "auto",
    "num_leaves": 15,
    "learning_rate": 0.07,
    "n_estimators": 150,
    "max_rows": 100_000,
}
"""First configuration of the pooled models: nothing in a row may depend on other series, nor on which one it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What pieces are told.

    Parameters
    ----------
    schema, grid, task : how rows are read and models fitted. windows, step : rolling origins.
    members : configurations without state, in order. pooled : names of those fitted on the sample.
    typical : shape [k], their mean scaled errors on the sample. rule : how groups choose.
    entries : name -> factors of its quantile distances. settled : names of those whose points are moved to values that
        occur. grain : these values, where many are zero. usual : scale of a series that shows none.
    notes : guardrails of the sample. scores : rows of a leaderboard of the sample.
    """

    schema: door.Schema
    grid: TimeGrid
    task: TaskSettings
    windows: int
    step: int
    members: tuple[Member, ...]
    pooled: tuple[str, ...]
    typical: np.ndarray
    rule: Rule
    entries: Mapping[str, np.ndarray]
    settled: tuple[str, ...]
    grain: Grain | None
    usual: float
    notes: list[Any]
    scores: list[dict[str, Any]]

    def cuts(self, panel: Panel) -> list[np.ndarray]:
        """Training rows of each series in each window, newest first."""
        return bt.cutoffs(panel, self.task.horizon, self.windows, self.step)

    def save(self, path: Folder) -> None:
        """Write into the job's folder."""
        rows: list[dict[str, Any]] = []
        blobs: dict[str, np.ndarray | bytes] = {"typical": self.typical}
        for i, member in enumerate(self.members):
            row: dict[str, Any] = {"name": member.name, "learner": member.learner, "params": dict(member.params)}
            if member.conformal is not None:
                row["conformal"], arrays = member.conformal.state()
                row["conformal"]["share"] = []
                blobs |= {f"{name}-{i}": values for name, values in arrays.items()}
            rows.append(row)
        blobs |= {f"factors-{i}": np.asarray(f) for i, f in enumerate(self.entries.values())}
        own = {name: getattr(self.task, name) for name in self.task.__slots__}
        content = {
            "schema": self.schema.to_json(),
            "grid": {name: getattr(self.grid, name) for name in ("freq", "origin", "every", "nearest", "zone")},
            "task": {**own, "levels": list(own["levels"])},
            "windows": self.windows,
            "step": self.step,
            "members": rows,
            "pooled": list(self.pooled),
            "rule": asdict(self.rule),
            "entries": list(self.entries),
            "settled": list(self.settled),
            "grain": None if self.grain is None else asdict(self.grain),
            "usual": self.usual,
            "notes": self.notes,
            "scores": self.scores,
        }
        write_state(path.shared / "knowledge", (content, blobs))

    @classmethod
    def load(cls, path: Folder) -> Self:
        """Read what `save` wrote."""
        from forecasting.intervals import Conformal

        raw, blobs = read_state(path.shared / "knowledge")
        members = []
        for i, row in enumerate(raw["members"]):
            known = "conformal" in row
            conformal = Conformal.from_state(row["conformal"], {"table": blobs[f"table-{i}"]}) if known else None
            members.append(Member(row["name"], row["learner"], tuple(sorted(row["params"].items())), conformal))
        return cls(
            schema=door.Schema.from_json(raw["schema"]),
            grid=TimeGrid(**raw["grid"]),
            task=TaskSettings(**{**raw["task"], "levels": tuple(raw["task"]["levels"])}),
            windows=int(raw["windows"]),
            step=int(raw["step"]),
            members=tuple(members),
            pooled=tuple(raw["pooled"]),
            typical=np.asarray(blobs["typical"]),
            rule=Rule(**raw["rule"]),
            entries={name: np.asarray(blobs[f"factors-{i}"]) for i, name in enumerate(raw["entries"])},
            settled=tuple(raw["settled"]),
            grain=None if raw["grain"] is None else Grain(**raw["grain"]),
            usual=float(raw["usual"]),
            notes=raw["notes"],
            scores=raw["scores"],
        )


def pooled_state(folder: Folder, member: str, window: int) -> State:
    """Fitted state of a pooled model: of a window (rows before its cutoff), or -1 = of all rows."""
    return read_state(folder.shared / f"{member}-{'all' if window < 0 else f'window-{window}'}")


# -- the sample -------------------------------------------------------------------------------------------------------


def sample(groups: Mapping[int, Known]) -> list[int]:
    """Hashes of the groups that stand for all: the lowest ones, as many as a bounded fit can take."""
    chosen: list[int] = []
    rows = 0
    for place, known in sorted(groups.items()):
        if known.spoiled:
            continue
        if chosen and (len(chosen) >= MOST_GROUPS or rows + known.rows > MOST_ROWS):
            break
        chosen.append(place)
        rows += known.rows
    if not chosen:
        known = next(iter(groups.values()))
        raise DataError(
            f"the target is text in every group, first {'/'.join(known.key)}: {known.example!r}. Fix: check the column."
        )
    return chosen


def _sample_frame(folder: Folder, spec: Spec, places: Sequence[int], pieces: int) -> pd.DataFrame:
    import pandas as pd

    wanted = np.array(places, dtype=np.uint64)
    parts = []
    for k in sorted({piece_of(place, pieces) for place in places}):
        frame = read_piece(folder.pieces, k)
        if frame is not None:
            parts.append(frame[np.isin(row_places(frame, spec.by), wanted)])
    return pd.concat(parts, ignore_index=True)


def learn(folder: Folder, spec: Spec, groups: Mapping[int, Known], pieces: int, hire: Callable[[], Any]) -> Knowledge:
    """Learn everything that groups share, and write it; parts of an earlier call that was stopped are taken up.

    Parameters
    ----------
    hire : makes an executor, where models of the sample are fitted.
    """
    frame = _sample_frame(folder, spec, sample(groups), pieces)
    places = row_places(frame, spec.by)
    data = replace(spec.settings.data, short_series=None)

    def read(part: pd.DataFrame) -> tuple[door.Prepared, Report]:
        report = Report()
        found = door.prepare(part, data, min_length=1, report=report)
        if data.aggregate is not None and found.schema.aggregate is None:
            # no row of the sample shares a period; rows of other groups, or later ones, may
            schema = replace(found.schema, aggregate=data.aggregate)
            found = replace(found, schema=schema, panel=door.prepare_history(part, schema, found.panel.grid, data))
        return found, report

    found, errors = isolated(frame, places, read)
    if found is None:
        raise DataError(f"no group of the sample can be read; {next(iter(errors.values()))}")
    prepared, report = found
    if errors:
        text = f"{len(errors)} groups of the sample cannot be read and are left out of it"
        report.append(Guardrail("Sample", "alerted", text))
    panel = prepared.panel
    settings = _windowed(panel, spec)
    plan = plan_task(panel, spec.horizon, settings, spec.seed)
    for note in plan.notes:
        report.append(note)
    task_settings = replace(plan.task.settings, features={**plan.task.settings.features, "memory_mb": 0.0})
    task = ForecastTask(panel, plan.task.cuts, task_settings)
    run_path = folder.shared / "run"
    run = Run.open(run_path) if (run_path / "run.json").is_file() else None
    if run is None:
        run = Run.create(run_path, task="forecasting.many", settings=spec.to_json(), seed=spec.seed)
    save_task(task, run_path / "task")
    knowledge = _evaluate(run, task, spec, prepared, report, groups_of(prepared, frame, places))
    _fit_pooled(folder, knowledge, hire)
    knowledge.save(folder)
    return knowledge


def _windowed(panel: Panel, spec: Spec) -> Settings:
    """Settings with three windows where nothing else is asked for: each group chooses by them alone."""
    search = spec.settings.search
    if search.n_windows != "auto":
        return spec.settings
    # as many windows as few series would get, at most three: a choice by group has no other series to lean on
    lengths = np.resize(panel.lengths, _WINDOWS_LIKE)
    guess = detect_season(panel.head(np.maximum(panel.lengths - spec.horizon, 1)))
    windows, step = bt.choose_windows(lengths, spec.horizon, guess)
    step = step if search.window_step == "auto" else int(search.window_step)
    return replace(spec.settings, search=replace(search, n_windows=windows, window_step=step))


def roster(panel: Panel, search: SearchSettings, *, season: int, stationary: bool) -> list[Candidate]:
    """Which models every group is scored with.

    Raises
    ------
    ConfigError : a learner is asked for that cannot be fitted piece by piece.
    """
    base = "seasonal" if season > 1 else "level" if stationary else "last"
    listed = [
        Candidate.of("SeasonalNaive"),
        Candidate.of("LightGBM", {**_POOLED, "base": base}),
        Candidate.of("LightGBM", {**_POOLED, "base": "level", "weighting": "volume"}),
        Candidate.of("SeasonalAverage"),
        Candidate.of("ExponentialSmoothing"),
        Candidate.of("Theta", {"method": "dynamic"}),
        Candidate.of("TSB"),
        *(Candidate.of(name) for name in ("Croston", "IMAPA", "ADIDA") if zeros(panel) > MANY_ZEROS),
        Candidate.of("ComplexSmoothing"),
        *([Candidate.of("MSTL")] if season > 1 else []),
        *([Candidate.of("Arimax")] if panel.known.names else []),
    ]
    if search.allowed is not None:
        allowed = [LEARNERS.resolve(name) for name in search.allowed]
        listed = [c for c in listed if c.learner in allowed]
        more = [name for name in allowed if name not in {c.learner for c in listed}]
        odd = [name for name in more if not _piecewise(name)]
        if odd:
            raise ConfigError(
                f"{odd[0]} is no learner that groups can share a search with. Fix: search='each', or one of "
                f"{', '.join(n for n in LEARNERS if _piecewise(n))}."
            )
        listed += [Candidate.of(name) for name in more]
    blocked = {LEARNERS.resolve(name) for name in search.blocked}
    listed = [c for c in listed if c.learner not in blocked]
    if not listed:
        raise ConfigError(f"allowed={search.allowed} without blocked={list(search.blocked)} leaves no learner.")
    if "SeasonalNaive" not in {c.learner for c in listed}:
        listed.insert(0, Candidate.of("SeasonalNaive"))  # what a group falls back on
    return listed


def _piecewise(name: str) -> bool:
    """Whether a learner fits each series by itself, or trees that are the same in every piece."""
    if name in {"LightGBM", "XGBoost"}:
        return True
    if name in {"StatsmodelsETS", "PmdArima", "Prophet", "TCNForecaster"}:
        return False
    cls = LEARNERS.load(name)
    return isinstance(cls, type) and issubclass(cls, Batch | Flat)


def _evaluate(
    run: Run, task: ForecastTask, spec: Spec, prepared: door.Prepared, report: Report, group: np.ndarray
) -> Knowledge:
    """Score the roster on the sample's windows, and learn intervals and the rule from what it forecast."""
    own = task.settings
    listed = roster(task.panel, spec.settings.search, season=own.season, stationary=own.stationary)
    metric = chosen_metric(spec.settings) if own.own_metric else find_metric(own.metric)

    def scored(record: TrialRecord) -> dict[str, float]:
        return {metric.name: task.score_by(metric, record.predictions()["channels"])}

    search = Search(
        run,
        task=(OPEN, {"directory": str(run.path / "task")}),
        candidates=listed,
        metric_name=metric.name,
        direction=metric.direction,
        criteria=ExitCriteria(max_trials=len(listed), early_stopping=False),
        seed=spec.seed,
        workers=1 if spec.settings.search.workers is None else spec.settings.search.workers,
        threads=1,
        score=scored if own.own_metric else None,
        preload=PRELOAD,
    )
    with search:
        outcome = search.run(Deadline())
    run.set_state("completed")
    task = open_task(str(run.path / "task"))
    assembly = Assembly(task, outcome.records, metric, metric_beside(spec.settings, metric))
    records = sorted(assembly.records, key=lambda r: r.number)
    if not any(r.learner == "SeasonalNaive" for r in records):
        reasons = sorted({f"{r.learner}: {r.reason or r.status}" for r in outcome.records})
        raise LearnerError(f"no model could be evaluated on the sample. {'; '.join(reasons[:5])}")
    points = [np.asarray(assembly.channels(r)[..., 0]) for r in records]
    errors = series_errors(points, task.truth())
    typical = np.array([np.nanmean(e) if np.isfinite(e).any() else 1.0 for e in errors])
    grouped = group_errors(errors, group, int(group.max()) + 1)
    numbers = [r.number for r in records]

    def weights(apart_: np.ndarray, whole: np.ndarray) -> Weights:
        return assembly.by_series(numbers, whole[group], apart_[:, group])

    def loss(apart_: np.ndarray) -> float:
        return assembly.loss(assembly.scores(weights(apart_, apart_[0])))

    rule = choose_rule(grouped, typical, loss)
    chosen = weights(
        apart(grouped, typical, rule) if grouped.shape[1] > 1 else shares(grouped, typical, rule)[None],
        shares(grouped, typical, rule),
    )
    entries: list[Entry] = [assembly.entry(CHOICE, chosen)]
    entries += [assembly.entry(assembly.names[r.number], {r.number: 1.0}) for r in records]
    scores = [{"model": CHOICE, **assembly.scores(chosen)}]
    scores += [{"model": assembly.names[r.number], "learner": r.learner, **r.scores} for r in records]
    finite = naive_scales(task.panel, own.season)[0]
    finite = finite[np.isfinite(finite)]
    return Knowledge(
        schema=prepared.schema,
        grid=task.panel.grid,
        task=task.settings,
        windows=len(task.cuts),
        step=int(task.cuts[0][0] - task.cuts[1][0]) if len(task.cuts) > 1 else spec.horizon,
        members=tuple(assembly.member(r, None) for r in records),
        pooled=tuple(assembly.names[r.number] for r in records if _is_pooled(r.learner)),
        typical=typical,
        rule=rule,
        entries={e.name: e.factors for e in entries},
        settled=tuple(e.name for e in entries if e.settled),
        grain=assembly.grain,
        usual=float(np.median(finite)) if len(finite) else 0.0,
        notes=report.to_json(),
        scores=scores,
    )


def _is_pooled(learner: str) -> bool:
    return LEARNERS.load(learner).unseen == "global"


def _fit_pooled(folder: Folder, knowledge: Knowledge, hire: Callable[[], Any]) -> None:
    """Fit the pooled models on all rows of the sample, and on those before each window."""
    jobs = [(name, w) for name in knowledge.pooled for w in range(-1, knowledge.windows)]
    members = {m.name: m for m in knowledge.members}
    if not jobs:
        return
    arguments = {
        k: (str(folder.root), members[name].learner, dict(members[name].params), name, w)
        for k, (name, w) in enumerate(jobs)
    }
    with hire() as workers:
        run_pieces(workers, fit_pooled, arguments, lambda _job, _result: None, what="shared model")


def fit_pooled(root: str, learner: str, params: dict[str, JsonScalar], name: str, window: int) -> None:
    """Fit one pooled model on the sample: on rows before a window's cutoff, or on all (-1). Runs in a worker."""
    from pathlib import Path

    folder = Folder(Path(root))
    task = open_task(str(folder.shared / "run" / "task"))
    panel = task.panel if window < 0 else task.windows()[window].train
    fitted = task.build(learner, params).fit(panel, task.context(Deadline()))
    write_state(folder.shared / f"{name}-{'all' if window < 0 else f'window-{window}'}", fitted.state())
