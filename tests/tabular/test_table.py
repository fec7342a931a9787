"""The table: words sorted whatever the rows' order, rows taken, and back from disk."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from automl.bundle import read_state, write_state
from tabular.table import Table, coded, numbers, table_from_state, table_state, texts

CELLS = st.lists(st.one_of(st.none(), st.text(max_size=6)), min_size=1, max_size=30)


def cells(column):
    return [None if code < 0 else column.words[code] for code in column.values]


@settings(deadline=None)
@given(CELLS)
def test_texts_keep_every_cell_and_sort_their_words(values):
    column = texts("x", values)
    assert cells(column) == values
    assert column.words.tolist() == sorted({v for v in values if v is not None})
    assert column.missing.tolist() == [v is None for v in values]


@settings(deadline=None)
@given(CELLS, st.randoms(use_true_random=False))
def test_codes_do_not_depend_on_the_order_of_rows(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    column, turned = texts("x", values), texts("x", [values[k] for k in order])
    assert turned.words.tolist() == column.words.tolist()
    np.testing.assert_array_equal(turned.values, column.values[order])


@settings(deadline=None)
@given(st.lists(st.text(max_size=3), min_size=1, max_size=8), st.data())
def test_words_may_come_twice_and_in_any_order(words, data):
    codes = np.array(data.draw(st.lists(st.integers(-1, len(words) - 1), min_size=1, max_size=20)))
    assert cells(coded("x", codes, words)) == [None if c < 0 else words[c] for c in codes]


@settings(deadline=None)
@given(CELLS)
def test_a_table_comes_back_from_its_state(values):
    rng = np.random.default_rng(0)
    amounts = np.where(rng.random(len(values)) < 0.3, np.nan, rng.normal(size=len(values)))
    table = Table.of([texts("word", values), numbers("amount", amounts), numbers("day", amounts, "date")])
    again = table_from_state(table_state(table))
    assert (again.names, again.n_rows) == (table.names, table.n_rows)
    assert cells(again.columns[0]) == values
    for a, b in zip(again.columns, table.columns, strict=True):
        assert a.stored == b.stored
        np.testing.assert_array_equal(a.values, b.values)


def test_a_table_maps_from_disk(tmp_path):
    table = Table.of([texts("word", ["ä", "", None, "\ud800"]), numbers("amount", [1.0, np.nan, 2.0, 3.0])])
    write_state(tmp_path / "table", table_state(table))
    again = table_from_state(read_state(tmp_path / "table", mapped=True))
    assert cells(again.columns[0]) == ["ä", "", None, "\ud800"]
    assert isinstance(again.columns[1].values, np.memmap)
    np.testing.assert_array_equal(again.take(np.array([3, 1])).columns[1].values, [3.0, np.nan])


def test_a_matrix_has_names_of_its_own_and_gives_rows():
    matrix = sparse.random(6, 4, 0.5, format="csr", random_state=0, dtype=np.float32)
    table = Table((), 6, matrix)
    assert table.names == ("x0", "x1", "x2", "x3")
    again = table_from_state(table_state(table.take(np.array([5, 0]))))
    assert again.n_rows == 2
    np.testing.assert_array_equal(again.matrix.toarray(), matrix.toarray()[[5, 0]])
