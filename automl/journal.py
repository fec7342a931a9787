"""The run's Optuna journal: an index of asks and results that Optuna's own tools can read.

The trials' folders are the truth; what the journal knows as finished is on disk, so it can be made anew from them.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any

from automl.sampling import contains, distribution, quiet_optuna, same_params

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from automl.candidates import Candidate
    from automl.runs import Direction, TrialRecord

LOG = logging.getLogger("automl")
_STUDY = "search"


def repair(path: Path) -> None:
    """Cut a half-written last line off, and remove the lock of a writer that was killed (for the run's owner)."""
    for stale in path.parent.glob(f"{path.name}.lock*"):
        stale.unlink(missing_ok=True)
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        LOG.warning("cut %d bytes of a half-written entry off %s", len(content) - whole, path)
        with path.open("rb+") as file:
            file.truncate(whole)


class Journal:
    """Writes asks and results; only the run's owner may hold one.

    Parameters
    ----------
    path : the journal file. direction : of the metric. records : all trials on disk; those the journal does not know
        as finished are told, those it believes to be running and that left nothing become failed.
    """

    def __init__(self, path: Path, direction: Direction, metric: str, records: Iterable[TrialRecord]) -> None:
        self._metric = metric
        self._direction = "minimize" if direction == "min" else "maximize"
        self._running: dict[int, int] = {}
        self._finished: set[int] = set()
        repair(path)
        with quiet_optuna():
            try:
                self._open(path)
            except (ValueError, KeyError, TypeError) as error:
                broken = path.with_name(f"{path.name}.broken-{time.time_ns()}")
                LOG.warning("the journal %s is damaged (%s); made a new one from the trials on disk", path, error)
                path.rename(broken)
                self._open(path)
            self._settle({r.number: r for r in records})

    def _open(self, path: Path) -> None:
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        # Optuna's own choice is a symbolic link, which Windows, exFAT and network drives may not have
        lock = JournalFileOpenLock(str(path))
        self._storage = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
        directions = [getattr(optuna.study.StudyDirection, self._direction.upper())]
        studies = self._storage.get_all_studies()
        if studies:
            self._study = studies[0]._study_id  # noqa: SLF001 - Optuna's storages are keyed by it
        else:
            self._study = self._storage.create_new_study(directions, _STUDY)

    def _settle(self, on_disk: dict[int, TrialRecord]) -> None:
        import optuna

        states = optuna.trial.TrialState
        for trial in self._storage.get_all_trials(self._study, deepcopy=False):
            number = trial.user_attrs.get("number")
            record = on_disk.get(number)
            if trial.state.is_finished():
                # an orphan of an earlier start failed here, its number may have been asked anew since
                if record is not None and not trial.system_attrs.get("orphan"):
                    self._finished.add(number)
                continue
            self._running[number] = trial._trial_id  # noqa: SLF001 - Optuna's storages are keyed by it
            if record is None:
                self._storage.set_trial_system_attr(trial._trial_id, "orphan", value=True)  # noqa: SLF001
                self._storage.set_trial_state_values(self._running.pop(number), states.FAIL)
        for number, record in sorted(on_disk.items()):
            if number not in self._finished:
                self.told(record)

    def asked(self, number: int, candidate: Candidate, params: Any) -> None:
        """Note that a trial was asked."""
        import optuna

        inside = {n: d for n, d in candidate.space if n in params and contains(d, params[n])}
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params={f"{candidate.learner}.{n}": params[n] for n in inside},
            distributions={f"{candidate.learner}.{n}": distribution(d) for n, d in inside.items()},
            user_attrs={"number": number, "learner": candidate.learner, "params": same_params(params)},
        )
        with quiet_optuna():
            self._running[number] = self._storage.create_new_trial(self._study, template)

    def told(self, record: TrialRecord) -> None:
        """Note how a trial ended; its folder must be on disk."""
        import optuna

        if record.number in self._finished:
            return
        if record.number not in self._running:
            self.asked(record.number, record.candidate, record.params)
        states = optuna.trial.TrialState
        score = record.scores.get(self._metric, math.nan)
        values = None
        state = states.FAIL
        if record.usable and math.isfinite(score):
            state, values = states.COMPLETE, [score]
        elif record.status == "pruned":
            state = states.PRUNED
        with quiet_optuna():
            self._storage.set_trial_state_values(self._running.pop(record.number), state, values)
        self._finished.add(record.number)
