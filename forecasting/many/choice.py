"""What each group is forecast by: few of its own errors, held back by how the models do everywhere.

A group shows as many errors as there are windows, so its best model owes part of its place to luck. Its errors count as
so many windows; one window more, in which every model errs as it does on all groups, holds them back (as in
`forecasting.blending`). How many models share, and how far errors tilt their weights, is what forecast the windows of
the sample best from weights that did not know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Rule:
    """How weights follow from errors: the best `most` models share, by their errors to minus `power`."""

    most: int
    power: float


RULES = (Rule(1, 0.0), Rule(2, 1.0), Rule(3, 1.0), Rule(4, 2.0), Rule(8, 2.0))


def group_errors(errors: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Mean error of models over the series of each group. Shape [k, windows, groups], NaN where nothing was scored.

    Parameters
    ----------
    errors : shape [k, windows, n], scaled (see `blending.series_errors`). group : shape [n], 0..groups - 1.
    """
    k, windows, _ = errors.shape
    total, count = np.zeros((k, windows, groups)), np.zeros((k, windows, groups))
    seen = np.isfinite(errors)
    for at in np.ndindex(k, windows):
        total[at] = np.bincount(group[seen[at]], weights=errors[at][seen[at]], minlength=groups)
        count[at] = np.bincount(group[seen[at]], minlength=groups)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def shares(errors: np.ndarray, typical: np.ndarray, rule: Rule) -> np.ndarray:
    """Weights of the models for each group, rows of sum 1. Shape [groups, k].

    Parameters
    ----------
    errors : shape [k, windows, groups], see `group_errors`. typical : shape [k], the models' mean errors everywhere.

    Examples
    --------
    >>> errors = np.array([[[1.0, 4.0]], [[2.0, 1.0]]])
    >>> shares(errors, np.array([1.0, 1.0]), Rule(1, 0.0)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    seen = np.isfinite(errors)
    count, total = seen.sum(axis=1), np.where(seen, errors, 0.0).sum(axis=1)
    usual = typical / typical.mean() if typical.mean() > 0 else np.ones(len(typical))
    # what a group of usual models errs by, judged by all models together
    level = total.sum(axis=0) / np.maximum((count * usual[:, None]).sum(axis=0), 1e-12)
    level = np.where(count.sum(axis=0) > 0, level, 1.0)
    expected = (total + usual[:, None] * level) / (count + 1)
    floor = 0.05 * expected.mean(axis=0)
    expected = np.maximum(expected, np.where(floor > 0, floor, 1.0))
    rank = np.argsort(np.argsort(expected, axis=0, kind="stable"), axis=0, kind="stable")
    raw = np.where(rank < rule.most, expected**-rule.power, 0.0)
    return np.asarray((raw / raw.sum(axis=0)).T)


def apart(errors: np.ndarray, typical: np.ndarray, rule: Rule) -> np.ndarray:
    """Weights for each window from the errors of the other windows. Shape [windows, groups, k]."""
    windows = range(errors.shape[1])
    return np.stack([shares(np.delete(errors, w, axis=1), typical, rule) for w in windows])


def choose_rule(errors: np.ndarray, typical: np.ndarray, loss: Callable[[np.ndarray], float]) -> Rule:
    """Rule whose weights forecast windows best that they were not learned on; with one window, the middle one.

    Parameters
    ----------
    errors : of the sample, see `group_errors`. loss : of weights [windows, groups, k], lower is better.
    """
    if errors.shape[1] < 2:
        return RULES[len(RULES) // 2]
    losses = [loss(apart(errors, typical, rule)) for rule in RULES]
    return RULES[int(np.nanargmin(losses))]
