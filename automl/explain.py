"""What each feature adds to predictions (SHAP of trees and linear models), and permutation importance; on arrays.

Sources: Lundberg et al. (2020), From local explanations to global understanding with explainable AI for trees, Nature
Machine Intelligence 2; Fisher, Rudin & Dominici (2019), All models are wrong, but many are useful, JMLR 20(177).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError, MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each feature adds to each prediction: a prediction is `expected` plus the sum of its row.

    Parameters
    ----------
    values : shape [rows, features], in the units of the prediction. expected : the mean prediction they start from.
    method : how they were found, "tree SHAP" or "linear SHAP".
    """

    values: np.ndarray
    expected: float
    method: str

    def summed(self, owner: Sequence[int], features: int) -> Contributions:
        """Return them with column j added to feature `owner[j]`, one of `features`.

        Examples
        --------
        >>> Contributions(np.array([[1.0, 2.0, 4.0]]), 0.0, "tree SHAP").summed([0, 1, 0], 2).values.tolist()
        [[5.0, 2.0]]
        """
        out = np.zeros((len(self.values), features))
        for j, place in enumerate(owner):
            out[:, place] += self.values[:, j]
        return Contributions(out, self.expected, self.method)


def linear_contributions(coefficients: np.ndarray, intercept: float, x: np.ndarray, mean: np.ndarray) -> Contributions:
    """SHAP values of a linear model whose features are taken as independent: coefficient times distance from the mean.

    Parameters
    ----------
    coefficients, mean : shape [k]; the mean is that of the rows the model was fitted on. x : shape [rows, k].

    Examples
    --------
    >>> found = linear_contributions(np.array([2.0, 1.0]), 5.0, np.array([[3.0, 0.0]]), np.array([1.0, 1.0]))
    >>> found.values.tolist(), found.expected
    ([[4.0, -1.0]], 8.0)
    """
    values = (x.astype(float) - mean) * coefficients
    return Contributions(values, float(intercept + coefficients @ mean), "linear SHAP")


def stacked_contributions(table: np.ndarray) -> Contributions:
    """Contributions as LightGBM and XGBoost give them: shape [rows, features + 1], the last column is expected."""
    values = np.asarray(table, dtype=float)
    return Contributions(values[:, :-1], float(values[0, -1]) if len(values) else 0.0, "tree SHAP")


def tree_contributions(estimator: Any, x: np.ndarray) -> Contributions:
    """SHAP values of a scikit-learn tree or forest for regression, by the package `shap`.

    Raises
    ------
    MissingPackageError : `shap` is not installed.
    """
    values, expected = tree_shap(estimator, x)
    return Contributions(values[:, :, 0], float(expected[0]), "tree SHAP")


def tree_shap(estimator: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SHAP values [rows, features, outputs] of scikit-learn's trees, and the values [outputs] they start from.

    Raises
    ------
    MissingPackageError : `shap` is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its charts, which nobody asked for, warn of what they import
        try:
            from shap import TreeExplainer
        except ImportError as error:
            raise MissingPackageError("shap", "", "explaining trees of scikit-learn") from error
        explainer = TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        values = np.asarray(explainer.shap_values(x, check_additivity=False), dtype=float)
    expected = np.ravel(np.asarray(explainer.expected_value, dtype=float))
    return values if values.ndim == 3 else values[:, :, None], expected


def tree_work(estimator: Any) -> float:
    """Operations one row's tree SHAP values take: leaves times squared depth, over all trees of an estimator."""
    trees = np.ravel(estimator.estimators_) if hasattr(estimator, "estimators_") else [estimator]
    return float(sum(tree.get_n_leaves() * max(tree.get_depth(), 1) ** 2 for tree in trees))


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
