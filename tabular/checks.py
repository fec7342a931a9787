"""Guardrails of tables: gaps, many-valued columns, classes out of balance, scores too good to be true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import DataError
from automl.guardrails import Guardrail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tabular.config import FeatureSettings
    from tabular.model import TabularModel
    from tabular.profile import Profile

_PERFECT_AUC, _PERFECT_R2 = 0.9995, 0.9995


def usable(profiles: Sequence[Profile], *, sparse: bool) -> None:
    """Raise DataError where no column can be used."""
    if not sparse and all(p.kind == "ignore" for p in profiles):
        kinds = ", ".join(f"{p.name} ({p.why})" for p in profiles[:10])
        raise DataError(f"no column can be used: {kinds}. Fix: say with kinds={{...}} what they are.")


def of_table(
    profiles: Sequence[Profile], y: np.ndarray, classes: np.ndarray | None, features: FeatureSettings
) -> Iterator[Guardrail]:
    """What the columns and labels show before anything is fitted."""
    gaps = [p for p in profiles if p.missing and p.kind != "ignore"]
    if gaps:
        cells = sum(p.missing for p in gaps)
        details = tuple((p.name, f"{p.kind}, {p.missing} missing") for p in gaps)
        text = (
            f"{cells} values are missing in {len(gaps)} columns; they are filled and marked, or kept as gaps by trees"
        )
        yield Guardrail("Missing feature values imputation", "done", text, details)
    else:
        yield Guardrail("Missing feature values imputation", "passed", "no value is missing")
    many = [p for p in profiles if p.kind == "categorical_hash"]
    gone = [p for p in profiles if p.kind == "ignore"]
    if many or gone:
        text = f"columns with more than {features.most_categories} categories, hashed or encoded by the target: "
        text += f"{len(many)}; columns that are not used: {len(gone)}"
        details = tuple((p.name, p.why) for p in (*many, *gone))
        yield Guardrail("High cardinality feature detection", "done", text, details)
    else:
        yield Guardrail(
            "High cardinality feature detection", "passed", "every column is used, none has many categories"
        )
    if classes is not None:
        size = np.bincount(y, minlength=len(classes))
        rare, common = classes[size.argmin()], classes[size.argmax()]
        if size.min() <= 0.2 * size.max():
            text = f"class {rare!s} has {size.min()} rows, {common!s} has {size.max()}: "
            text += "look at AUC_weighted, not at accuracy"
            yield Guardrail("Class balancing detection", "alerted", text)
        else:
            yield Guardrail(
                "Class balancing detection", "passed", f"the smallest class has {size.min()} of {len(y)} rows"
            )


def balancing(model: TabularModel, trials: Sequence[Mapping[str, Any]], imbalanced: bool) -> Guardrail:
    """Whether weights that make classes count alike are in what predicts."""
    tried = [r for r in trials if r["params"].get("balanced")]
    used = {name for name, weight in model.entry(None).weights if weight}
    kept = [r["model"] for r in tried if r["model"] in used]
    if kept:
        return Guardrail("Class balancing", "done", f"class weights helped and are in {', '.join(kept)}")
    text = "class weights were tried and did not help" if tried else "class weights were not needed"
    return Guardrail("Class balancing", "passed", text if imbalanced else "the classes are balanced")


def leakage(best: Mapping[str, Any], classes: bool) -> Guardrail:
    """Whether the best model is nearly perfect: then a column may say what is only known afterwards."""
    name, limit = ("AUC_weighted", _PERFECT_AUC) if classes else ("r2_score", _PERFECT_R2)
    score = float(best.get(name, np.nan))
    if score >= limit:
        text = f"{best['model']} is nearly perfect ({name} {score:.4f}): does a column hold what is only known later?"
        return Guardrail("Leakage suspicion", "alerted", text)
    return Guardrail("Leakage suspicion", "passed", f"no model is nearly perfect ({name} {score:.4f})")
