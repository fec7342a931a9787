"""Features: against other libraries, without a look at a row's own target, the same after saving."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import OneHotEncoder

from automl.errors import DataError
from tabular.config import DataSettings, FeatureSettings
from tabular.featurize.base import Goal
from tabular.featurize.categories import Codes, Hashed, OneHot, TargetMeans
from tabular.featurize.featurizer import FLAVOURS, Featurizer
from tabular.featurize.numbers import Clusters, Dates, Numbers
from tabular.featurize.texts import TfIdf
from tabular.profile import profile
from tabular.reading import read_training
from tabular.table import Table, numbers, texts
from tests.tabular.tables import mixed

OPTIONS = [
    {},
    {"scaler": "StandardScaleWrapper", "means": "mean", "clusters": True},
    {"scaler": "PCA", "means": "odds", "text": "target"},
    {"text": "counts"},
    {"text": "bayes"},
    {"scaler": "SparseNormalizer", "text": "none"},
]


def full(x):
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x)


def prepared(classes=True, **kinds):
    frame, number, label = mixed()
    data = DataSettings(kinds=kinds)
    found = read_training(frame, label if classes else number, data, classes=classes)
    goal = Goal(found.y, found.weight, 2 if classes else 0, 3)
    return found.table, goal, profile(found.table, data, FeatureSettings())


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("classes", [True, False])
def test_features_come_back_from_their_state(flavour, options, classes):
    table, goal, profiles = prepared(classes)
    made = Featurizer(profiles, FeatureSettings(), flavour, options)
    x = made.fit_transform(table, goal)
    assert x.shape[0] == table.n_rows
    again = Featurizer.from_state(*made.state())
    np.testing.assert_array_equal(full(made.transform(table)), full(again.transform(table)))
    assert (again.names, again.sources, again.categorical) == (made.names, made.sources, made.categorical)
    assert again.summary() == made.summary()
    if options.get("scaler") != "PCA" or flavour == "codes":
        assert len(made.names) == len(made.sources) == x.shape[1]
    if flavour == "dense":
        assert np.isfinite(full(x)).all()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_rows_are_made_one_by_one(flavour):
    table, goal, profiles = prepared()
    made = Featurizer(profiles, FeatureSettings(), flavour, {"means": "mean", "scaler": "MaxAbsScaler"})
    made.fit_transform(table, goal)
    order = np.random.default_rng(1).permutation(table.n_rows)
    whole = full(made.transform(table))
    np.testing.assert_allclose(full(made.transform(table.take(order))), whole[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(full(made.transform(table.take(order[:1]))), whole[order[:1]], rtol=1e-5, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    row=st.integers(0, 239),
    classes=st.booleans(),
    flavour=st.sampled_from(FLAVOURS),
    way=st.sampled_from(["mean", "odds"]),
)
def test_a_rows_own_target_never_reaches_its_features(row, classes, flavour, way):
    table, goal, profiles = prepared(classes)
    other = goal.y.copy()
    other[row] = 1 - other[row] if classes else other[row] + 1e6
    rows = []
    for y in (goal.y, other):
        made = Featurizer(profiles, FeatureSettings(), flavour, {"means": way, "clusters": True, "text": "target"})
        rows.append(full(made.fit_transform(table, Goal(y, goal.weight, goal.n_classes, goal.seed)))[row])
    np.testing.assert_array_equal(rows[0], rows[1])


def test_one_hot_is_that_of_scikit_learn():
    values = ["b", "a", "c", "a", "b", "c"]
    table = Table.of([texts("x", values)])
    made = OneHot(columns=(0,)).fit(table, Goal(np.zeros(6), np.ones(6), 0))
    expected = OneHotEncoder(sparse_output=False).fit_transform(np.array(values)[:, None])
    assert made.names == ("x_OneHot_a", "x_OneHot_b", "x_OneHot_c")
    np.testing.assert_array_equal(made.transform(table).toarray(), expected)
    new = Table.of([texts("x", ["zebra", None, "a"])])
    np.testing.assert_array_equal(made.transform(new).toarray(), [[0, 0, 0], [0, 0, 0], [1, 0, 0]])


def test_rare_and_missing_categories_have_a_column_each():
    table = Table.of([texts("x", ["a"] * 5 + ["b"] * 4 + [f"once {k}" for k in range(20)] + [None])])
    made = OneHot(columns=(0,)).fit(table, Goal(np.zeros(30), np.ones(30), 0))
    assert made.names == ("x_OneHot_a", "x_OneHot_b", "x_OneHot__rare_", "x_OneHot__missing_")
    assert made.transform(table).toarray().sum(axis=0).tolist() == [5, 4, 20, 1]
    assert made.transform(Table.of([texts("x", ["new"])])).toarray().tolist() == [[0, 0, 1, 0]]


def test_tf_idf_is_that_of_scikit_learn():
    frame, _, _ = mixed()
    notes = frame["note"].tolist()
    table = Table.of([texts("note", notes)])
    made = TfIdf(columns=(0,), forms="word").fit(table, Goal(np.zeros(240), np.ones(240), 0))
    one_letter = {"token_pattern": r"(?u)\b\w+\b"}
    oracle = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, **one_letter)
    expected = oracle.fit_transform(notes)
    assert made.names == tuple(f"note_TfIdf_word_{t}" for t in oracle.get_feature_names_out())
    np.testing.assert_allclose(made.transform(table).toarray(), expected.toarray(), atol=1e-6)
    new = ["a calm thing", "", "never seen before", None]
    later = made.transform(Table.of([texts("note", new)])).toarray()
    np.testing.assert_allclose(later, oracle.transform([t or "" for t in new]).toarray(), atol=1e-6)


def test_target_means_are_drawn_to_the_mean_of_all():
    table = Table.of([texts("x", ["a", "a", "a", "b"])])
    goal = Goal(np.array([1, 1, 0, 0]), np.array([1.0, 1.0, 1.0, 1.0]), 2)
    made = TargetMeans(columns=(0,), prior=2.0).fit(table, goal)
    a, b = (2 + 2 * 0.5) / 5, (0 + 2 * 0.5) / 3
    np.testing.assert_allclose(made.transform(table)[:, 0], [a, a, a, b], rtol=1e-6)
    np.testing.assert_allclose(made.transform(Table.of([texts("x", ["new"])])), [[0.5, 0.0]])
    odds = TargetMeans(columns=(0,), prior=2.0, odds=True).fit(table, goal).transform(table)[:, 0]
    np.testing.assert_allclose(odds, np.log([a / (1 - a)] * 3 + [b / (1 - b)]), rtol=1e-5)


def test_codes_and_hashes_take_what_training_did_not_see():
    table = Table.of([texts("x", ["b", "b", "a", None])])
    goal = Goal(np.zeros(4), np.ones(4), 0)
    codes = Codes(columns=(0,)).fit(table, goal)
    new = Table.of([texts("x", ["a", "b", None, "zebra"])])
    np.testing.assert_array_equal(codes.transform(new)[:, 0], [1, 0, np.nan, 2])
    hashed = Hashed(columns=(0,), bits=4).fit(table, goal).transform(new)
    assert hashed.shape == (4, 16)
    assert hashed.sum(axis=1).ravel().tolist() == [[1, 1, 0, 1]]


def test_gaps_are_filled_and_marked():
    table = Table.of([numbers("x", [1.0, np.nan, 3.0, 3.0]), numbers("z", [1.0, 2.0, 3.0, 4.0])])
    goal = Goal(np.zeros(4), np.ones(4), 0)
    for way, fill in (("mean", 7 / 3), ("median", 3), ("most_frequent", 3), ("constant", -1)):
        made = Numbers(columns=(0, 1), ways=(way, way), fill=-1.0).fit(table, goal)
        assert made.transform(table)[1].tolist() == pytest.approx([fill, 2, 1])
        assert made.names[2] == "x_WASNULL"
    kept = Numbers(columns=(0, 1), ways=("", "")).fit(table, goal).transform(table)
    assert np.isnan(kept[1, 0])


def test_parts_of_dates_that_never_change_are_left_out():
    days = np.arange(40) * 86_400.0
    made = Dates(columns=(0,), filled=True).fit(Table.of([numbers("d", days, "date")]), Goal(days, days, 0))
    assert "d_DayOfWeek" in made.names
    assert not {"d_Hour", "d_Minute", "d_Second", "d_Year"} & set(made.names)
    gap = made.transform(Table.of([numbers("d", [np.nan], "date")]))
    assert np.isfinite(gap).all()


def test_distances_to_clusters_are_distances():
    rng = np.random.default_rng(0)
    table = Table.of([numbers("a", rng.normal(size=60)), numbers("b", rng.normal(size=60))])
    made = Clusters(columns=(0, 1), k=3).fit(table, Goal(np.zeros(60), np.ones(60), 0))
    z = made._standard(np.stack([c.values for c in table.columns], axis=1))
    expected = np.linalg.norm(z[:, None] - made._centres[None], axis=2)
    np.testing.assert_allclose(made.transform(table), expected, rtol=1e-5)


def test_what_is_blocked_is_not_made():
    table, goal, profiles = prepared()
    blocked = FeatureSettings(blocked=["OneHotEncoder", "HashOneHotEncoder", "TfIdf", "DateTime", "CatTargetEncoder"])
    made = Featurizer(profiles, blocked, "dense", {})
    made.fit_transform(table, goal)
    assert {i for s in made.sources for i in s} == {0, 1}
    rows = {row["name"]: row for row in made.summary()}
    assert rows["colour"]["dropped"]
    assert rows["size"]["transformers"] == ["Imputer"]


def test_features_that_are_off_pass_numbers_alone():
    table = Table.of([numbers("a", [1.0, np.nan, 3.0])])
    off = FeatureSettings(mode="off")
    goal = Goal(np.zeros(3), np.ones(3), 0)
    x = Featurizer(profile(table, DataSettings(), off), off, "codes", {}).fit_transform(table, goal)
    np.testing.assert_array_equal(x, np.float32([[1.0], [np.nan], [3.0]]))
    words = Table.of([texts("t", ["a", "b", "a"])])
    with pytest.raises(DataError, match="column 't' is no number, and features are off"):
        Featurizer(profile(words, DataSettings(), off), off, "codes", {}).fit_transform(words, goal)


def test_many_categories_take_little_room():
    n = 40_000
    table = Table.of([texts("id", [f"user {k % 20_000}" for k in range(n)]), numbers("a", np.arange(n) % 7.0)])
    profiles = profile(table, DataSettings(), FeatureSettings())
    goal = Goal(np.arange(n) % 2, np.ones(n), 2)
    for flavour in FLAVOURS:
        x = Featurizer(profiles, FeatureSettings(), flavour, {}).fit_transform(table, goal)
        assert x.shape[1] < 300
        assert (x.data.nbytes if hasattr(x, "tocsr") else x.nbytes) < 50e6


def test_texts_as_counts_and_as_naive_bayes_says():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    from tabular.featurize.texts import Counts, NaiveBayes

    rng = np.random.default_rng(0)
    words = np.array(["sun", "rain", "wind", "snow", "fog"])
    notes = [" ".join(rng.choice(words, 6, p=np.roll([0.5, 0.2, 0.1, 0.1, 0.1], k % 3))) for k in range(90)]
    table = Table.of([texts("note", notes)])
    goal = Goal(np.arange(90) % 3, np.ones(90), 3)
    made = Counts(columns=(0,), forms="word_1_1").fit(table, goal)
    oracle = CountVectorizer().fit(notes)
    order = [made.names.index(f"note_CountVectorizer_word_{t}") for t in oracle.get_feature_names_out()]
    np.testing.assert_array_equal(made.transform(table)[:, order].toarray(), oracle.transform(notes).toarray())
    bayes = NaiveBayes(columns=(0,), forms="word_1_1").fit(table, goal)
    weighed = TfIdf(columns=(0,), forms="word_1_1").fit(table, goal).transform(table)
    expected = MultinomialNB(alpha=0.1).fit(weighed, goal.y).predict_proba(weighed)
    np.testing.assert_allclose(bayes.transform(table), expected, rtol=1e-4, atol=1e-6)
    again = NaiveBayes.from_state(*bayes.state())
    np.testing.assert_array_equal(again.transform(table), bayes.transform(table))
    assert bayes.names == ("note_NaiveBayes_0", "note_NaiveBayes_1", "note_NaiveBayes_2")
