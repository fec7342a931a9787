"""Ensembles of arrays: greedy selection with sorted initialisation, and linear stacking.

Source: Caruana, Niculescu-Mizil, Crew & Ksikes (2004), Ensemble selection from libraries of models, ICML.
"""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_LEAST_WEIGHT = 0.015
"""Smaller shares are not worth the fit of a model."""


def greedy_arrays(
    predictions: Sequence[np.ndarray],
    loss: Callable[[np.ndarray], float],
    *,
    rounds: int = 15,
    start_within: float = 0.05,
    start_at_most: int = 5,
    single: np.ndarray | None = None,
) -> np.ndarray:
    """Weights of an ensemble of predictions, chosen greedily with replacement.

    Starts from the best few models (at most `start_at_most`, with a loss within `start_within` of the best one's; of
    these as many as score best together), then adds the model that helps most, as long as one does.

    Parameters
    ----------
    predictions : arrays of one shape. loss : of such an array, lower is better; NaN = unusable.
    rounds : most models added. single : losses of the predictions alone, None = worked out here.

    Returns
    -------
    shape [len(predictions)], >= 0, sum 1. Ties prefer models already chosen, then earlier ones; the loss is never
    above the best single model's.

    Raises
    ------
    ConfigError : there is no prediction with a usable loss.

    Examples
    --------
    >>> truth = np.array([1.0, 2.0, 3.0])
    >>> low, high, far = truth - 1, truth + 1, truth + 9
    >>> greedy_arrays([low, high, far], lambda p: float(np.abs(p - truth).mean())).tolist()
    [0.5, 0.5, 0.0]
    """
    if single is None:
        single = np.array([loss(p) for p in predictions], dtype=float)
    if not np.isfinite(single).any():
        raise ConfigError(f"none of {len(single)} models has a usable loss, so there is nothing to combine.")
    single = np.where(np.isfinite(single), single, math.inf)
    counts, total, best = _start(predictions, loss, single, start_within, start_at_most)
    for _ in range(rounds):
        size = counts.sum() + 1
        tried = [
            (loss((total + p) / size) if math.isfinite(s) else math.inf)
            for p, s in zip(predictions, single, strict=True)
        ]
        scores = np.where(np.isfinite(tried), tried, math.inf)
        choice = min(range(len(scores)), key=lambda i: (scores[i], counts[i] == 0, i))
        if not scores[choice] < best:
            break
        best = float(scores[choice])
        counts[choice] += 1
        total = total + predictions[choice]
    return counts / counts.sum()


def _start(
    predictions: Sequence[np.ndarray],
    loss: Callable[[np.ndarray], float],
    single: np.ndarray,
    within: float,
    at_most: int,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Counts, summed predictions and loss of the best prefix of the best models."""
    order = np.argsort(single, kind="stable")
    limit = single[order[0]] + within * abs(single[order[0]])
    top = [i for i in order[:at_most] if single[i] <= limit]
    total = np.zeros_like(predictions[top[0]], dtype=float)
    best, length, chosen = math.inf, 0, total
    for k, i in enumerate(top, 1):
        total = total + predictions[i]
        score = loss(total / k)
        if score < best:
            best, length, chosen = float(score), k, total
    counts = np.zeros(len(predictions))
    counts[top[:length]] = 1
    return counts, chosen, best


def bagged_weights(
    predictions: Sequence[np.ndarray],
    loss: Callable[..., float],
    parts: Sequence[np.ndarray],
    *,
    rounds: int = 15,
    least: float = 0.02,
    most: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Mean of greedy weights, each chosen among half of the models on a part of the rows: luck of rows counts less.

    Source: Caruana, Munson & Niculescu-Mizil (2006), Getting the most out of ensemble selection, ICDM.

    Parameters
    ----------
    predictions : arrays of one shape, rows first. loss : of predictions of some rows, and `rows`, the numbers of these.
    parts : numbers of the rows of each choice, such as random halves. rounds : greedy steps.
    least, most : smaller weights go, and so many stay; what stays adds up to 1.

    Returns
    -------
    shape [len(predictions)], >= 0, sum 1.

    Raises
    ------
    ConfigError : no model has a usable loss on any part.

    Examples
    --------
    >>> truth = np.arange(8.0)
    >>> low, high, far = truth - 1, truth + 1, truth + 9
    >>> halves = [np.arange(0, 8, 2), np.arange(1, 8, 2)] * 8
    >>> weights = bagged_weights([low, high, far], lambda p, rows: float(np.abs(p - truth[rows]).mean()), halves)
    >>> bool(weights[2] < 0.2), float(weights.sum())
    (True, 1.0)
    """
    rng = np.random.default_rng(seed)
    n = len(predictions)
    total = np.zeros(n)
    for rows in parts:
        some = np.sort(rng.permutation(n)[: max(1, (n + 1) // 2)])
        with suppress(ConfigError):  # no model is usable on these rows
            total[some] += greedy_arrays([predictions[k][rows] for k in some], partial(loss, rows=rows), rounds=rounds)
    if not total.any():
        raise ConfigError(f"none of {n} models has a usable loss, so there is nothing to combine.")
    total /= total.sum()
    kept = np.argsort(-total, kind="stable")[:most]
    kept = kept[(total[kept] >= least) | (total[kept] >= total.max())]
    out = np.zeros(n)
    out[kept] = total[kept] / total[kept].sum()
    return out


def evened(
    predictions: Sequence[np.ndarray],
    weights: np.ndarray,
    even: np.ndarray,
    loss: Callable[[np.ndarray], float],
    *,
    share: float,
    limit: float,
) -> np.ndarray:
    """Chosen weights with as large a share of more even ones as a limit of the loss allows.

    Chosen weights owe part of their score to luck, the more so the less was measured, and even ones often predict
    better (the combination puzzle: Smith & Wallis 2009, Oxford Bulletin of Economics and Statistics 71(3)).

    Parameters
    ----------
    predictions : arrays of one shape. weights, even : shape [len(predictions)], each of sum 1. loss : of such an array,
        lower is better. share : of the even ones, at most, 0..1. limit : of the loss, such as the best single model's.

    Returns
    -------
    shape [len(predictions)], >= 0, sum 1: `share`, or nine tenths of it, eight, ... of even weights, the first whose
    loss is within the limit; `weights` where there is none. Weights below `_LEAST_WEIGHT` are left out.

    Examples
    --------
    >>> truth = np.array([1.0, 2.0, 3.0])
    >>> low, high = truth - 1, truth + 1
    >>> chosen, even = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    >>> evened([low, high], chosen, even, lambda p: float(np.abs(p - truth).mean()), share=0.5, limit=1.0).tolist()
    [0.75, 0.25]
    """
    for part in share * np.arange(10, 0, -1) / 10:
        mixed = part * even + (1 - part) * weights
        mixed[mixed < _LEAST_WEIGHT] = 0.0
        mixed /= mixed.sum()
        if loss(combine(predictions, mixed)) <= limit:
            return mixed
    return weights


def combine(predictions: Sequence[np.ndarray], weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """Weighted sum of predictions; those of weight zero are never touched (they may be missing or NaN).

    Examples
    --------
    >>> combine([np.array([1.0]), np.array([np.nan]), np.array([3.0])], [0.5, 0.0, 0.5]).tolist()
    [2.0]
    """
    used = [(p, w) for p, w in zip(predictions, weights, strict=True) if w]
    if not used:
        raise ConfigError("an ensemble needs at least one weight that is not zero.")
    return np.sum([w * p for p, w in used], axis=0)


def stack(predictions: np.ndarray, truth: np.ndarray, *, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Weights of a linear stack: elastic net without intercept, weights >= 0, penalty by cross-validation.

    Parameters
    ----------
    predictions : shape [samples, models], out-of-sample. truth : shape [samples], on the same scale.

    Returns
    -------
    shape [models]; they need not sum to 1. All weight on the model with the least squared error where the penalty
    removes every one.
    """
    from sklearn.linear_model import ElasticNetCV

    net = ElasticNetCV(positive=True, fit_intercept=False, l1_ratio=0.5, cv=folds, random_state=seed)
    with warnings.catch_warnings():
        # nearly equal models make the last digits of their weights hard to find, and unimportant
        warnings.filterwarnings("ignore", message="Objective did not converge")
        weights = np.asarray(net.fit(predictions, truth).coef_, dtype=float)
    if not (weights > 0).any():
        weights = np.zeros(predictions.shape[1])
        weights[np.square(predictions - truth[:, None]).mean(axis=0).argmin()] = 1.0
    return weights
