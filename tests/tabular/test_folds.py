"""What is held out: every row once, equal rows together, classes spread, the rule of row counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl.errors import ConfigError, DataError
from tabular.config import SearchSettings
from tabular.folds import check_classes, equal_rows, splits
from tabular.table import Table, numbers

AUTO = SearchSettings()


def table(values):
    return Table.of([numbers("a", values)])


@pytest.mark.parametrize(("rows", "folds"), [(999, 10), (1_000, 3), (20_000, 3), (20_001, 1)])
def test_the_number_of_folds_follows_the_rows(rows, folds):
    values = np.arange(rows, dtype=float)
    parts, note = splits(table(values), values, AUTO, n_classes=0, seed=0)
    assert len(parts) == folds
    assert note.status == "done"
    for part in parts:
        assert len(np.intersect1d(part.train, part.held)) == 0
        assert len(part.train) + len(part.held) == rows
    share = 0.1 if folds in {1, 10} else 1 / 3
    assert len(parts[0].held) == pytest.approx(share * rows, abs=2)


@given(st.lists(st.integers(0, 12), min_size=20, max_size=60), st.integers(2, 4), st.integers(0, 5))
def test_rows_are_held_out_once_and_equal_ones_together(values, folds, seed):
    if len(set(values)) < 2:
        return
    rows = table(np.array(values, dtype=float))
    y = np.array(values) % 2
    parts, _ = splits(rows, y.astype(float), SearchSettings(n_folds=folds), n_classes=0, seed=seed)
    assert sorted(np.concatenate([p.held for p in parts]).tolist()) == list(range(len(values)))
    for part in parts:
        assert not set(np.array(values)[part.train]) & set(np.array(values)[part.held])


def test_classes_are_spread_evenly():
    y = np.repeat([0, 1], [900, 60])
    parts, _ = splits(table(np.arange(960.0)), y, AUTO, n_classes=2, seed=3)
    assert {int((y[p.held] == 1).sum()) for p in parts} == {6}


def test_monte_carlo_and_the_users_own_folds():
    rows, y = table(np.arange(100.0)), np.arange(100.0)
    parts, _ = splits(rows, y, SearchSettings(validation_size=0.2, n_folds=4), n_classes=0, seed=0)
    assert len(parts) == 4
    assert all(len(p.held) == 20 for p in parts)
    assert len({tuple(p.held) for p in parts}) == 4
    given_ = np.stack([(np.arange(100) % 3 != k).astype(float) for k in range(3)], axis=1)
    parts, _ = splits(rows, y, AUTO, n_classes=0, seed=0, given=given_)
    assert [p.held.tolist() for p in parts] == [list(range(k, 100, 3)) for k in range(3)]


def test_too_few_rows_and_lonely_classes_are_errors():
    with pytest.raises(ConfigError, match="7 folds need as many rows, and there is n_samples=5"):
        splits(table(np.arange(5.0)), np.arange(5.0), SearchSettings(n_folds=7), n_classes=0, seed=0)
    with pytest.raises(DataError, match="every class has one row"):
        splits(table(np.arange(3.0)), np.arange(3), AUTO, n_classes=3, seed=0)
    y = np.array([0, 0, 0, 1])
    parts, _ = splits(table(np.arange(4.0)), y, SearchSettings(n_folds=4), n_classes=2, seed=0)
    assert sorted(np.concatenate([p.held for p in parts]).tolist()) == [0, 1, 2]
    assert all(3 in p.train for p in parts)
    given_ = np.array([[1.0], [1.0], [1.0], [0.0]])
    parts, _ = splits(table(np.arange(4.0)), y, AUTO, n_classes=2, seed=0, given=given_)
    with pytest.raises(DataError, match="is left with one class to learn, 'no'"):
        check_classes(parts, y, np.array(["no", "yes"]))


def test_equal_rows_are_found_over_all_columns():
    rows = Table.of([numbers("a", [1.0, 1.0, 2.0, 1.0]), numbers("b", [5.0, 6.0, 5.0, 5.0])])
    assert len(set(equal_rows(rows)[[0, 1, 2]])) == 3
    assert equal_rows(rows)[0] == equal_rows(rows)[3]
