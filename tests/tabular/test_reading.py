"""The door: what comes in, and what is said of what cannot."""

import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest
from scipy import sparse

from automl.errors import ConfigError, DataError, UnknownNameError
from tabular.config import DataSettings, FeatureSettings, SearchSettings
from tabular.profile import profile
from tabular.reading import Schema, read_new, read_training
from tabular.table import Table, numbers, table_from_state, table_state, texts
from tests.tabular.tables import mixed

PLAIN = DataSettings()


def read(frame, target, *, classes=True, **settings):
    return read_training(frame, target, DataSettings(**settings), classes=classes)


def test_columns_are_read_as_what_they_are():
    frame, _, label = mixed()
    prepared = read(frame, label)
    assert [c.stored for c in prepared.table.columns] == [
        "number", "number", "text", "text", "date", "text", "text", "number",
    ]  # fmt: skip
    kinds = {p.name: p.kind for p in profile(prepared.table, PLAIN, FeatureSettings())}
    assert kinds == {
        "size": "numeric", "rooms": "numeric", "colour": "categorical", "street": "categorical_hash",
        "sold": "datetime", "note": "text", "key": "ignore", "same": "ignore",
    }  # fmt: skip
    assert prepared.classes.tolist() == ["high", "low"]


def test_every_kind_of_table_gives_the_same(tmp_path):
    frame, number, _ = mixed()
    frame["target"] = number
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.drop(columns="sold").to_csv(tmp_path / "rows.csv", index=False)
    expected = read(frame, "target", classes=False)
    for given in (polars.from_pandas(frame), pyarrow.Table.from_pandas(frame), tmp_path / "rows.parquet"):
        same(read(given, "target", classes=False), expected)
    same(
        read(tmp_path / "rows.csv", "target", classes=False), read(frame.drop(columns="sold"), "target", classes=False)
    )


def same(found, expected):
    assert found.table.names == expected.table.names
    np.testing.assert_allclose(found.y, expected.y)
    for a, b in zip(found.table.columns, expected.table.columns, strict=True):
        np.testing.assert_allclose(a.values, b.values)
        assert a.words.tolist() == b.words.tolist()


def test_a_table_comes_back_from_its_state():
    frame, _, label = mixed()
    frame.loc[3, "note"] = "ünïcode 😀"
    table = read(frame, label).table
    again = table_from_state(table_state(table))
    for a, b in zip(table.columns, again.columns, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        assert a.words.tolist() == b.words.tolist()
    matrix = Table((), 3, sparse.random(3, 9, 0.5, format="csr", random_state=0))
    assert abs(table_from_state(table_state(matrix)).matrix - matrix.matrix).max() == 0


def test_labels_of_any_type_keep_their_type():
    x = np.arange(8.0)[:, None]
    for labels in (["b", "a"] * 4, [3, 1] * 4, [True, False] * 4, [2.0, 5.0] * 4):
        prepared = read(x, labels)
        assert prepared.classes.tolist() == sorted(set(labels))
        assert prepared.classes[prepared.y].tolist() == labels


def test_rows_without_a_label_are_left_out_and_told():
    prepared = read(pd.DataFrame({"a": range(6)}), ["x", None, "y", "x", None, "y"])
    assert prepared.table.n_rows == 4
    assert prepared.table.columns[0].values.tolist() == [0, 2, 3, 5]
    assert "2 of 6 rows have no label and are left out, first row 1" in prepared.notes[0].message


@pytest.mark.parametrize(
    ("frame", "target", "settings", "message"),
    [
        ({"a": [1, 2]}, "b", {}, r"label column 'b' is not there. Columns: a"),
        ({"a": [1, 2]}, [None, None], {}, "label is missing in all 2 rows"),
        ({"a": [1, 2]}, ["x", "x"], {}, "one class only, 'x'"),
        ({"a": [1, 2]}, [0.5, 1.0], {}, r"Unknown label type.*Fix: use AutoRegressor"),
        ({"a": [1, 2]}, [0], {}, "X has 2 rows and y has 1"),
        ({"a": [1.0, np.inf]}, [0, 1], {}, "column 'a', row 1: Input X contains infinity"),
        ({"a": [1, 2], "w": [1, -1]}, [0, 1], {"weight": "w"}, "weight -1 in row 1: weights are numbers >= 0"),
        ({"a": [1, 2], "w": [1, np.nan]}, [0, 1], {"weight": "w"}, "weight nan in row 1"),
        ({"a": [1, 2]}, [0, 1], {"drop": "c"}, "settings name a column 'c' that is not there"),
        ({"a": [1, 2], "f": [1, 2]}, [0, 1], {"folds": "f"}, "fold column 'f' holds 2 in row 1; 1 and 0 are meant"),
        ({"a": [1, 2], "f": [1, 1]}, [0, 1], {"folds": "f"}, "fold column 'f' holds one value only"),
        ({"a": ["1", "x"]}, [0, 1], {"kinds": {"a": "numeric"}}, "column 'a', row 1: 'x' is no number"),
        ({"a": ["2020-01-01", "soon"]}, [0, 1], {"kinds": {"a": "datetime"}}, "column 'a', row 1: 'soon' is no date"),
        ({"a": []}, [], {}, "no rows"),
    ],
)
def test_bad_input_is_named(frame, target, settings, message):
    with pytest.raises(DataError, match=message):
        read(pd.DataFrame(frame), target, **settings)


def test_two_columns_of_one_name_are_an_error():
    with pytest.raises(DataError, match="two columns named 'a'"):
        read(pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), [0, 1])


def test_new_rows_must_be_like_those_of_training():
    frame, _, label = mixed()
    schema = Schema.from_json(read(frame, label).schema.to_json())
    turned = frame[frame.columns[::-1]]
    for a, b in zip(read_new(turned, schema).columns, read_new(frame, schema).columns, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
    with pytest.raises(DataError, match="1 columns of training are missing, first 'rooms'"):
        read_new(frame.drop(columns="rooms"), schema)
    with pytest.warns(UserWarning, match="1 columns that training did not have are not used: more"):
        read_new(frame.assign(more=1), schema)
    with pytest.raises(DataError, match="column 'rooms', row 2: 'many' is no number"):
        read_new(frame.assign(rooms=["1", "2", "many", *["3"] * 237]), schema)
    with pytest.raises(DataError, match="column 'size' holds dates, and numbers in training"):
        read_new(frame.assign(size=frame["sold"]), schema)


def test_sparse_rows_stay_sparse():
    matrix = sparse.random(30, 5000, 0.01, format="csc", random_state=0)
    prepared = read(matrix, [0, 1] * 15)
    assert prepared.table.matrix.format == "csr"
    assert prepared.table.matrix.nnz == matrix.nnz
    with pytest.raises(DataError, match="X has 4999 features, but it is expecting 5000"):
        read_new(matrix[:, 1:], prepared.schema)
    with pytest.raises(DataError, match="contains infinity or NaN"):
        read(sparse.csr_matrix([[np.nan, 1.0], [0.0, 1.0]]), [0, 1])


def test_settings_are_checked():
    with pytest.raises(ConfigError, match=r"kinds\['a'\] must be one of 'numeric'"):
        DataSettings(kinds={"a": "number"})
    with pytest.raises(UnknownNameError, match="did you mean 'OneHotEncoder'"):
        FeatureSettings(blocked=["OneHotEncode"])
    with pytest.raises(ConfigError, match="validation_size must lie between 0 and 1"):
        SearchSettings(validation_size=1.0)
    with pytest.raises(ConfigError, match="n_folds must be 'auto' or a whole number >= 2"):
        SearchSettings(n_folds=1)


def test_a_column_that_numbers_the_rows_is_not_used():
    rows = Table.of(
        [numbers("id", np.arange(50.0)), numbers("size", np.arange(50.0) ** 2), texts("t", ["a", "b"] * 25)]
    )
    kinds = [(p.kind, p.why) for p in profile(rows, PLAIN, FeatureSettings())]
    assert kinds[0] == ("ignore", "numbers the rows")
    assert kinds[1][0] == "numeric"
    asked = profile(rows, DataSettings(kinds={"id": "numeric"}), FeatureSettings())
    assert (asked[0].kind, asked[0].why) == ("numeric", "as the settings say")
