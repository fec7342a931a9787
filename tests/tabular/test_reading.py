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


def column(values, new=None, **settings):
    """Read one column, and new rows of it."""
    prepared = read(pd.DataFrame({"a": pd.Series(values)}), [0, 1] * (len(values) // 2), **settings)
    later = None if new is None else read_new(pd.DataFrame({"a": new}), Schema.from_json(prepared.schema.to_json()))
    return prepared.table.columns[0], prepared.notes, None if later is None else later.columns[0]


def test_numbers_written_as_text_are_numbers():
    found, notes, later = column(["1.5", "2", " ", "N/A"], ["3", "?", None])
    np.testing.assert_array_equal(found.values, [1.5, 2.0, np.nan, np.nan])
    np.testing.assert_array_equal(later.values, [3.0, np.nan, np.nan])
    assert "column 'a' holds numbers as text" in notes[0].message
    with pytest.raises(DataError, match="column 'a', row 1: 'x' is no number"):
        column(["1.5", "2"], ["3", "x"])
    for codes in (["01234", "1.5"], ["1", "2"], ["1.5", "inf"], ["1.5", "1_0"], [f"{k}" for k in range(40)]):
        assert column(codes)[0].stored == "text"
    assert column([f"{k % 30}" for k in range(60)])[0].stored == "number"
    assert column(["1.5", "2"], kinds={"a": "categorical"})[0].words.tolist() == ["1.5", "2"]


def test_days_before_months_are_told_from_the_whole_column():
    second_of_march = pd.Timestamp("2020-03-02").timestamp()
    found, _, later = column(["13/02/2020", "02/03/2020"], ["02/03/2020"])
    assert found.values[1] == later.values[0] == second_of_march
    found, _, later = column(["02/13/2020", "03/02/2020"], ["03/02/2020"])
    assert found.values[1] == later.values[0] == second_of_march
    assert column(["2020-03-02", "2020-03-14"])[0].values[0] == second_of_march


def test_dates_of_any_kind_are_dates():
    day = pd.Timestamp("2020-03-02")
    expected = [day.timestamp(), np.nan]
    for values in ([day.date(), None], [day, pd.NaT], ["2020-03-02", None], [np.datetime64("2020-03-02"), None]):
        np.testing.assert_array_equal(column(values)[0].values, expected)
    zoned = pd.Series([day, pd.NaT]).dt.tz_localize("Asia/Tokyo")
    assert column(zoned)[0].values[0] == day.timestamp() - 9 * 3600
    table = pyarrow.table({"a": pyarrow.array([day.date(), None], pyarrow.date32())})
    np.testing.assert_array_equal(read(table, [0, 1]).table.columns[0].values, expected)
    with pytest.raises(DataError, match="column 'a', row 1: 5 is no date, as training had"):
        column([day, day], [day.date(), 5])
    with pytest.raises(DataError, match="holds numbers and is meant as dates"):
        column([2020, 2021], kinds={"a": "datetime"})
    with pytest.raises(DataError, match="holds dates and is meant as categorical"):
        column([day, day], kinds={"a": "categorical"})


def test_equal_values_of_other_types_keep_their_words():
    found, notes, later = column([True, 1, "a", 3.0], [1.0, "True", True, 3])
    assert [found.words[c] for c in found.values] == ["True", "1", "a", "3"]
    assert [later.words[c] for c in later.values] == ["1", "True", "True", "3"]
    assert "text and numbers" in notes[0].message
    ordered, _, later = column(pd.Categorical([2.0, 1.0, None, 2.0]), [1, 2])
    assert [ordered.words[c] if c >= 0 else None for c in ordered.values] == ["2", "1", None, "2"]
    assert later.words.tolist() == ["1", "2"]
    with pytest.raises(DataError, match=r"column 'a', row 1: \[2\] is no value of a cell"):
        column(["x", [2]])


def test_tables_of_polars_and_pyarrow_that_are_lazy_or_nullable():
    frame = polars.DataFrame({"a": [1, None, 3, 4], "b": [True, None, False, True], "y": ["u", "v", "u", "v"]})
    for given in (frame, frame.lazy(), frame.to_arrow(), frame.to_arrow().to_batches()[0]):
        prepared = read(given, "y")
        np.testing.assert_array_equal(prepared.table.columns[0].values, [1, np.nan, 3, 4])
        np.testing.assert_array_equal(prepared.table.columns[1].values, [1, np.nan, 0, 1])
    assert read(frame.drop("y"), frame["y"]).classes.tolist() == ["u", "v"]
    with pytest.raises(DataError, match="label 'y' is a column of the features too"):
        read(frame, frame["y"])


def test_weights_and_folds_are_read():
    frame = pd.DataFrame({"a": range(4), "w": [1, 2, 3, 2], "f": [1, 0, 1, 0], "y": ["u", "v"] * 2, "gone": 0})
    prepared = read(frame, "y", weight="w", folds="f", drop=["gone"])
    assert prepared.table.names == ("a",)
    assert prepared.weight.tolist() == [0.5, 1.0, 1.5, 1.0]
    assert prepared.folds.tolist() == [[1], [0], [1], [0]]
    with pytest.raises(DataError, match="weights are given twice: as an argument and as column 'w'"):
        read_training(frame, "y", DataSettings(weight="w"), classes=True, weight=np.ones(4))
    with pytest.raises(DataError, match="weights are numbers >= 0: could not convert"):
        read_training(frame, "y", PLAIN, classes=True, weight=list("abcd"))
    with pytest.raises(DataError, match="the target is no number: 2020-01-01"):
        read(frame[["a"]], pd.to_datetime(["2020-01-01"] * 4).to_numpy(), classes=False)


def test_an_array_takes_columns_by_place_and_a_file_by_name(tmp_path):
    x = np.array([[1.0, np.nan], [3.0, 4.0]])
    schema = read(x, [0, 1]).schema
    np.testing.assert_array_equal(read_new(x[:1], schema).columns[1].values, [np.nan])
    with pytest.raises(DataError, match="X has 1 features, but it is expecting 2"):
        read_new(x[:, :1], schema)
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufeffa,y\n1,u\n,v\n".encode())
    prepared = read(str(path), "y")
    assert (prepared.table.names, prepared.classes.tolist()) == (("a",), ["u", "v"])
    with pytest.raises(DataError, match="there is no file"):
        read(str(tmp_path / "none.csv"), "y")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read"):
        read(tmp_path / "bad.parquet", "y")


def test_a_matrix_with_a_cell_given_twice_adds_them():
    rows, columns = np.array([0, 0, 1]), np.array([0, 0, 1])
    twice = sparse.csr_matrix((np.array([1.0, 2.0, 4.0], dtype=np.float32), columns, np.array([0, 2, 3])), shape=(2, 2))
    found = read(twice, [0, 1]).table.matrix
    assert (found.nnz, found.max(axis=1).toarray().ravel().tolist()) == (2, [3, 4])
    assert twice.nnz == 3
    other = sparse.coo_array((np.array([1.0, 2.0, 4.0]), (rows, columns)), shape=(2, 2))
    np.testing.assert_array_equal(read(other, [0, 1]).table.matrix.toarray(), found.toarray())
