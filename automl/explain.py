"""Permutation importance on arrays, for any model that predicts.

Source: Fisher, Rudin & Dominici (2019), All models are wrong, but many are useful, JMLR 20(177).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Importance:
    """Increase of the loss when a feature (or group of columns) is shuffled: mean and standard deviation of repeats."""

    name: str
    mean: float
    std: float


def permutation_importance(
    loss: Callable[[np.ndarray], float],
    x: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    *,
    repeats: int = 3,
    seed: int = 0,
) -> list[Importance]:
    """Importance of groups of columns, largest first.

    Parameters
    ----------
    loss : of a matrix shaped like x, lower is better. x : shape [rows, columns], never changed.
    groups : name -> columns that are shuffled together (a raw column and all features made of it).

    Examples
    --------
    >>> x = np.arange(20.0).reshape(10, 2)
    >>> found = permutation_importance(lambda m: float(np.abs(m[:, 0] - x[:, 0]).mean()), x, {"a": [0], "b": [1]})
    >>> found[0].name, found[1].mean
    ('a', 0.0)
    """
    if repeats < 1:
        raise ConfigError(f"repeats must be at least 1, got {repeats!r}.")
    base = loss(x)
    out = []
    for name, columns in groups.items():
        rng = np.random.default_rng(seed)  # the same shuffles for every group: differences are not luck
        worse = []
        for _ in range(repeats):
            shuffled = x.copy()
            shuffled[:, list(columns)] = x[rng.permutation(len(x))][:, list(columns)]
            worse.append(loss(shuffled) - base)
        out.append(Importance(name, float(np.mean(worse)), float(np.std(worse))))
    return sorted(out, key=lambda i: -i.mean)


def raw_importance(engineered: Mapping[str, float], feature_map: Mapping[str, str]) -> dict[str, float]:
    """Sum of engineered features' importances by the raw column they come from, largest first.

    Examples
    --------
    >>> raw_importance({"lag1": 2.0, "price": 1.0, "lag2": 0.5}, {"lag1": "y", "lag2": "y", "price": "price"})
    {'y': 2.5, 'price': 1.0}
    """
    total: dict[str, float] = {}
    for name, value in engineered.items():
        source = feature_map.get(name, name)
        total[source] = total.get(source, 0.0) + value
    return dict(sorted(total.items(), key=lambda item: -item[1]))
