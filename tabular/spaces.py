"""What is searched around the first configuration of each learner; bounds grow with the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automl.candidates import Choice, Dimension, Float, Int

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = ("scaler", "means", "clusters", "text", "balanced", "target")
"""Parameters of a candidate that are about features, classes and the target; all others are the learner's."""


def space_of(
    learner: str, *, rows: int, numbers: bool, encodes: bool, text: bool, scalers: Sequence[str], skewed: bool = False
) -> dict[str, Dimension]:
    """Space of a learner.

    Parameters
    ----------
    rows : of training. numbers : whether there are several columns of numbers. encodes : whether categories can be
        encoded by the target. text : whether there are columns of text. scalers : that may be tried.
    skewed : whether logarithms of the target may be learned.
    """
    leaf = max(2, min(200, rows // 20))
    leaves = max(8, min(255, rows // 10))
    boosted: dict[str, Dimension] = {
        "learning_rate": Float(0.01, 0.2, log=True),
        "subsample": Float(0.5, 1.0),
        "colsample": Float(0.3, 1.0),
        "reg_lambda": Float(0.001, 100.0, log=True),
    }
    forest: dict[str, Dimension] = {
        "min_samples_leaf": Int(1, max(2, leaf // 4), log=True),
        "max_features": Float(0.1, 1.0),
    }
    own: dict[str, dict[str, Dimension]] = {
        "LightGBM": {
            **boosted,
            "num_leaves": Int(4, leaves, log=True),
            "min_child_samples": Int(1, leaf, log=True),
            "extra_trees": Choice((False, True)),
            "max_bin": Choice((63, 255)),
        },
        "XGBoost": {**boosted, "max_depth": Int(2, 10), "min_child_weight": Float(0.5, 50.0, log=True)},
        "GradientBoosting": {
            "max_iter": Int(50, 400, log=True),
            "learning_rate": Float(0.02, 0.2, log=True),
            "max_leaf_nodes": Int(4, leaves, log=True),
            "min_samples_leaf": Int(1, leaf, log=True),
            "l2_regularization": Float(0.001, 10.0, log=True),
        },
        "RandomForest": forest,
        "ExtremeRandomTrees": forest,
        "DecisionTree": {"max_depth": Int(2, 20), "min_samples_leaf": Int(1, leaf, log=True)},
        "LogisticRegression": {"C": Float(0.01, 100.0, log=True)},
        "LinearSVM": {"C": Float(0.01, 10.0, log=True)},
        "SVM": {"C": Float(0.1, 100.0, log=True)},
        "SGD": {"alpha": Float(1e-6, 0.01, log=True), "l1_ratio": Float(0.0, 1.0)},
        "AveragedPerceptron": {},
        "ElasticNet": {"alpha": Float(0.0001, 0.3, log=True), "l1_ratio": Float(0.05, 1.0)},
        "LassoLars": {"alpha": Float(0.00001, 0.05, log=True)},
        "OnlineGradientDescent": {"alpha": Float(1e-6, 0.01, log=True), "eta0": Float(0.001, 0.05, log=True)},
        "FastLinear": {"alpha": Float(0.01, 1000.0, log=True)},
        "KNN": {
            "n_neighbors": Int(1, max(2, min(60, rows // 4)), log=True),
            "weights": Choice(("uniform", "distance")),
        },
        "BernoulliNaiveBayes": {"alpha": Float(0.01, 10.0, log=True)},
        "MultinomialNaiveBayes": {"alpha": Float(0.01, 10.0, log=True)},
    }
    dense = learner in DENSE
    out = dict(own[learner])
    if dense and numbers and len(scalers) > 1:
        out["scaler"] = Choice(tuple(scalers))
    if skewed:
        out["target"] = Choice(("", "log"))
    if encodes:
        out["means"] = Choice(("", "mean", "odds"))
    if numbers and learner not in {"MultinomialNaiveBayes", "BernoulliNaiveBayes"}:
        out["clusters"] = Choice((False, True))
    if text:
        out["text"] = Choice(("both", "sparse", "target", "counts") if dense else ("both", "sparse", "target", "bayes"))
    return out


DENSE = frozenset(
    {
        "LogisticRegression", "SGD", "LinearSVM", "SVM", "KNN", "BernoulliNaiveBayes", "MultinomialNaiveBayes",
        "AveragedPerceptron", "ElasticNet", "LassoLars", "OnlineGradientDescent", "FastLinear",
    }
)  # fmt: skip
"""Learners that take imputed, scaled features; the others take codes."""
