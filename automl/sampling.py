"""What to try next: the portfolio in its order, then TPE over candidates and their conditional spaces.

What is asked for trial n depends on the seed, on n and on trials 0..n-window alone, never on timing: a run with more
workers, and a run taken up again, ask the same. Instead of TPE it may be random draws (uniform in each dimension, or in
its logarithm), or a grid: every combination once, in a fixed order, and nothing else.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from automl.candidates import Candidate, Choice, Dimension, Float, Int, JsonScalar
from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from automl.runs import TrialRecord

_STARTUP = 10
"""Completed trials before TPE takes over from random draws (Optuna's own default)."""

_GUIDED, _RANDOM = 8, 40
"""Draws from TPE, then at random, before the space counts as exhausted because each was tried already."""

_WHICH = "candidate"

_GRID_INT = 100
"""Whole numbers that a range on a grid may have; more is a slip rather than a wish."""

Sampling = Literal["tpe", "random", "grid"]
"""What is asked after the portfolio."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to evaluate; `portfolio` trials are never pruned."""

    candidate: Candidate
    params: Mapping[str, JsonScalar]
    portfolio: bool


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's own log handler silent, and leave its level as the user set it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def keyed(candidates: Sequence[Candidate]) -> dict[str, Candidate]:
    """Candidates by a unique readable key: the learner's name, numbered where several share it."""
    counts: Counter[str] = Counter()
    keys = {}
    for candidate in candidates:
        counts[candidate.learner] += 1
        n = counts[candidate.learner]
        keys[candidate.learner if n == 1 else f"{candidate.learner}#{n}"] = candidate
    return keys


def same_params(params: Mapping[str, JsonScalar]) -> str:
    """Text that is equal for equal parameters."""
    return json.dumps(dict(params), sort_keys=True)


class Sampler:
    """Proposes trials. Feed it the trials that were told, in order, then ask.

    Parameters
    ----------
    candidates : the portfolio, best guesses first, and the spaces to search later.
    seed : of the run. queue : portfolio entries still to be tried. first : number of the trial that gets the first.
    sampling : after the portfolio: tpe, random draws, or all combinations of choices in order (grid). On a grid only
        candidates without a space are in the portfolio: starting values need not be one of its points.

    Raises
    ------
    ConfigError : there is no such sampling, or a space cannot be a grid.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        *,
        seed: int,
        queue: Sequence[Candidate],
        first: int,
        sampling: Sampling = "tpe",
    ) -> None:
        check_sampling(sampling, candidates)
        self._sampling = sampling
        if sampling == "grid":
            queue = [c for c in queue if not c.space]
        self._keys = keyed(candidates)
        self._names = {candidate: key for key, candidate in self._keys.items()}
        self._seed = seed
        self._queue = list(queue)
        self._first = first
        self._history: list[tuple[TrialRecord, float]] = []
        self._seen: set[tuple[Candidate, str]] = set()
        self._failed: set[Candidate] = set()
        self._storage: tuple[tuple[str, ...], Any] | None = None

    def feed(self, record: TrialRecord, loss: float) -> None:
        """Add a told trial; loss is lower-is-better, NaN when there is none."""
        self._history.append((record, loss))
        in_portfolio = same_params(record.params) == same_params(record.candidate.values())
        # on a grid what equals the starting values is a point like any other, and all of them are tried
        if in_portfolio and self._sampling != "grid":
            if record.usable:
                self._failed.discard(record.candidate)  # it failed in an earlier session
            elif record.status in {"failed", "timeout"} and not record.info.get("cut"):  # the end of time says nothing
                self._failed.add(record.candidate)
        if self._storage is not None:
            self._add(self._storage[1], self._storage[0], record, loss)

    def note(self, candidate: Candidate, params: Mapping[str, JsonScalar]) -> None:
        """Remember that these were asked, so that they are not asked again."""
        self._seen.add((candidate, same_params(params)))

    def ask(self, number: int) -> Proposal | None:
        """Return what trial `number` is to be; None when there is nothing left that was not tried."""
        place = number - self._first
        if place < len(self._queue):
            candidate = self._queue[place]
            return Proposal(candidate, candidate.values(), portfolio=True)
        open_keys = tuple(k for k, c in self._keys.items() if c.space and c not in self._failed)
        if not open_keys:
            return None
        if self._sampling == "grid":
            return self._next_of_grid(open_keys)
        with quiet_optuna():
            storage = self._mirror(open_keys)
            for attempt in range(_GUIDED + _RANDOM):
                candidate, params = self._draw(storage, open_keys, number, attempt)
                if (candidate, same_params(params)) not in self._seen:
                    return Proposal(candidate, params, portfolio=False)
        return None

    def _next_of_grid(self, open_keys: tuple[str, ...]) -> Proposal | None:
        """First combination that was not tried, candidate by candidate."""
        for key in open_keys:
            candidate = self._keys[key]
            for params in grid_of(candidate):
                if (candidate, same_params(params)) not in self._seen:
                    return Proposal(candidate, params, portfolio=False)
        return None

    def _draw(
        self, storage: Any, open_keys: tuple[str, ...], number: int, attempt: int
    ) -> tuple[Candidate, dict[str, JsonScalar]]:
        import numpy as np
        import optuna

        seed = int(np.random.SeedSequence([self._seed, number, attempt]).generate_state(1)[0])
        sampler: Any
        if attempt < _GUIDED and self._sampling == "tpe":
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP, constant_liar=False)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        study = optuna.load_study(study_name="mirror", storage=storage, sampler=sampler)
        trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
        trial.number = number

        def sample(name: str, dimension: Dimension) -> Any:
            if isinstance(dimension, Int | Float) and dimension.low == dimension.high:
                return dimension.low
            return sampler.sample_independent(study, trial, name, distribution(dimension))

        key = str(sample(_WHICH, Choice(open_keys)))
        candidate = self._keys[key]
        drawn = {name: sample(f"{key}.{name}", dimension) for name, dimension in candidate.space}
        return candidate, candidate.values() | {n: _plain(v, dict(candidate.space)[n]) for n, v in drawn.items()}

    def _mirror(self, open_keys: tuple[str, ...]) -> Any:
        """Optuna storage in memory that holds the told trials of these candidates and nothing else."""
        if self._storage is None or self._storage[0] != open_keys:
            import optuna

            storage = optuna.storages.InMemoryStorage()
            optuna.create_study(study_name="mirror", storage=storage, direction="minimize")
            for record, loss in self._history:
                self._add(storage, open_keys, record, loss)
            self._storage = (open_keys, storage)
        return self._storage[1]

    def _add(self, storage: Any, open_keys: tuple[str, ...], record: TrialRecord, loss: float) -> None:
        import optuna

        key = self._names.get(record.candidate)
        pruned = record.status == "pruned"
        if key not in open_keys or not (pruned or (record.usable and math.isfinite(loss))):
            return
        params: dict[str, Any] = {_WHICH: key}
        spaces = {_WHICH: distribution(Choice(open_keys))}
        for name, dimension in record.candidate.space:
            if name in record.params and contains(dimension, record.params[name]):
                params[f"{key}.{name}"] = record.params[name]
                spaces[f"{key}.{name}"] = distribution(dimension)
        states = optuna.trial.TrialState
        frozen = optuna.trial.create_trial(
            state=states.PRUNED if pruned else states.COMPLETE,
            value=None if pruned else loss,
            params=params,
            distributions=spaces,
            intermediate_values={k: v for k, v in record.reported.items() if math.isfinite(v)},
        )
        study = optuna.load_study(study_name="mirror", storage=storage)
        with quiet_optuna():
            study.add_trial(frozen)


def check_sampling(sampling: str, candidates: Sequence[Candidate]) -> None:
    """Refuse an unknown sampling, and a grid over spaces that have none."""
    if sampling not in get_args(Sampling):
        raise ConfigError(f"sampling must be one of {', '.join(get_args(Sampling))}, got {sampling!r}.")
    if sampling == "grid":
        for candidate in candidates:
            grid_of(candidate)


def grid_of(candidate: Candidate) -> Iterator[dict[str, JsonScalar]]:
    """All combinations of a candidate's choices and small ranges of whole numbers, the last one changing fastest.

    Raises
    ------
    ConfigError : a dimension is a Float, a range on a log scale, or one of more than 100 numbers.

    Examples
    --------
    >>> found = grid_of(Candidate.of("ridge", {"alpha": 0}, space={"alpha": Choice((1, 2)), "beta": Int(3, 4)}))
    >>> [tuple(p.values()) for p in found]
    [(1, 3), (1, 4), (2, 3), (2, 4)]
    """
    values: list[Sequence[JsonScalar]] = []
    for name, dimension in candidate.space:
        if isinstance(dimension, Choice):
            values.append(dimension.options)
        elif isinstance(dimension, Int) and not dimension.log and dimension.high - dimension.low < _GRID_INT:
            values.append(range(dimension.low, dimension.high + 1))
        else:
            raise ConfigError(
                f"{name!r} of {candidate.learner} is {dimension!r}: a grid takes a Choice, or an Int of at most "
                f"{_GRID_INT} numbers. Fix: a Choice of the values to try, or another sampling (random, tpe)."
            )
    names = [name for name, _ in candidate.space]
    return ({**candidate.values(), **dict(zip(names, some, strict=True))} for some in itertools.product(*values))


def distribution(dimension: Dimension) -> Any:
    """Optuna's distribution of a dimension."""
    import optuna

    if isinstance(dimension, Choice):
        return optuna.distributions.CategoricalDistribution(dimension.options)
    if isinstance(dimension, Int):
        return optuna.distributions.IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def contains(dimension: Dimension, value: JsonScalar) -> bool:
    """Whether a value lies in a dimension.

    Examples
    --------
    >>> contains(Int(1, 3), 3), contains(Int(1, 3), 2.5), contains(Choice(("a", None)), None)
    (True, False, True)
    """
    if isinstance(dimension, Choice):
        return value in dimension.options
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    whole = isinstance(dimension, Float) or float(value).is_integer()
    return whole and dimension.low <= value <= dimension.high


def _plain(value: Any, dimension: Dimension) -> JsonScalar:
    """A plain Python value, so that parameters read back from JSON are the same."""
    if isinstance(dimension, Int):
        return int(value)
    if isinstance(dimension, Float):
        return float(value)
    scalar: JsonScalar = value
    return scalar
