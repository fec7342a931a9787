"""What columns are taken for, and at which counts that changes."""

import numpy as np
import pytest

from automl.errors import UnknownNameError
from tabular.config import DataSettings, FeatureSettings
from tabular.profile import Profile, profile
from tabular.table import Table, numbers, texts

PLAIN = DataSettings()


def kind(column, data=PLAIN, **features):
    return profile(Table.of([column]), data, FeatureSettings(**features))[0]


def words(distinct, rows, form="{}"):
    return texts("x", [form.format(k % distinct) for k in range(rows)])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (numbers("x", [np.nan, np.nan]), ("ignore", "all missing")),
        (texts("x", [None, None]), ("ignore", "all missing")),
        (numbers("x", [2.0, 2.0]), ("ignore", "constant")),
        (texts("x", ["a", "a"]), ("ignore", "constant")),
        (numbers("x", [2.0, np.nan]), ("numeric", "numbers")),
        (texts("x", ["a", None]), ("categorical", "1 categories")),
        (numbers("x", [0.0, 86_400.0], "date"), ("datetime", "dates")),
        (numbers("x", np.arange(50.0)[::-1]), ("ignore", "numbers the rows")),
        (numbers("x", np.arange(20.0)), ("numeric", "numbers")),
        (numbers("x", np.arange(50.0) * 2), ("numeric", "numbers")),
        (numbers("x", [*np.arange(49.0), np.nan]), ("numeric", "numbers")),
        (words(100, 400), ("categorical", "100 categories")),
        (words(101, 400), ("categorical_hash", "101 categories")),
        (words(96, 100, "id-{}"), ("ignore", "an id: 96% of the rows differ")),
        (words(95, 100, "id-{}"), ("categorical", "95 categories")),
        (words(20, 20, "id-{}"), ("categorical", "20 categories")),
        (words(96, 100, "name {}"), ("text", "2.0 words on average, 96% of the rows differ")),
        (words(21, 100, "three words {}"), ("text", "3.0 words on average, 21% of the rows differ")),
        (words(20, 100, "three words {}"), ("categorical", "20 categories")),
    ],
)
def test_kinds_at_their_limits(column, expected):
    found = kind(column)
    assert (found.kind, found.why) == expected
    assert Profile.from_json(found.to_json()) == found


def test_limits_are_settings():
    assert kind(words(60, 100), id_share=0.5).kind == "ignore"
    assert kind(words(60, 100), most_categories=50).kind == "categorical_hash"
    assert kind(words(60, 100, "two words"), text_words=2.0).kind == "ignore"
    assert kind(words(60, 100, "no {}"), text_words=2.0).kind == "text"
    assert kind(words(60, 100, "one two {}"), text_share=0.7).kind == "categorical"


def test_missing_and_distinct_values_are_counted():
    found = kind(texts("x", ["a", None, "b", "a", None]))
    assert (found.unique, found.missing, found.rows) == (2, 2, 5)
    found = kind(numbers("x", [1.0, np.nan, 0.0, -0.0, 1.0]))
    assert (found.unique, found.missing) == (2, 1)
    part = texts("x", ["a", "b", "c"]).take(np.array([0, 0, 2]))
    assert kind(part).unique == 2


def test_what_the_user_says_wins():
    rows = Table.of([numbers("x", np.ones(30)), texts("t", ["a"] * 30)])
    asked = DataSettings(kinds={"x": "numeric", "t": "categorical_hash"})
    assert [p.kind for p in profile(rows, asked, FeatureSettings())] == ["numeric", "categorical_hash"]
    with pytest.raises(UnknownNameError, match="unknown column 'xx'; did you mean 'x'"):
        profile(rows, PLAIN, FeatureSettings(imputers={"xx": "mean"}))
