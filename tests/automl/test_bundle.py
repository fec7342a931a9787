"""Saved models: round trips, and that nothing damaged or hostile is read."""

import json

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from automl.bundle import load_bundle, read_state, save_bundle, sklearn_from_bytes, sklearn_to_bytes, write_state
from automl.errors import ModelFileError

STATE = ({"a": 1, "b": [1.5, None, "x"]}, {"w": np.arange(6.0).reshape(2, 3), "text": b"tree\x00bytes"})


def _equal(got, want):
    assert got[0] == want[0]
    assert sorted(got[1]) == sorted(want[1])
    for name, blob in want[1].items():
        if isinstance(blob, bytes):
            assert got[1][name] == blob
        else:
            np.testing.assert_array_equal(got[1][name], blob)
            assert got[1][name].dtype == blob.dtype


@given(
    hnp.arrays(st.sampled_from([np.float64, np.float32, np.int64, np.bool_]), hnp.array_shapes(max_side=4, min_side=0)),
    st.binary(max_size=40),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_state_comes_back(tmp_path, array, data):
    for mapped in (False, True):
        write_state(tmp_path / "s", ({"n": 3}, {"array": array, "data": data}))
        _equal(read_state(tmp_path / "s", mapped=mapped), ({"n": 3}, {"array": array, "data": data}))
    mine = read_state(tmp_path / "s", mapped=True)[1]["array"]
    mine[:] = -1
    _equal(read_state(tmp_path / "s"), ({"n": 3}, {"array": array, "data": data}))


def test_a_bundle_comes_back_and_replaces_an_older_one(tmp_path):
    for version in (1, 2):
        save_bundle(tmp_path / "m", {"version": version}, {"one": STATE, "two": ({}, {})})
        manifest, members = load_bundle(tmp_path / "m")
        assert manifest == {"version": version}
        assert list(members) == ["one", "two"]
        _equal(members["one"], STATE)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    "write", [lambda p, n: save_bundle(p, {"n": n}, {}), lambda p, n: write_state(p, ({"n": n}, {}))]
)
def test_an_old_folder_survives_a_new_one_that_cannot_be_published(tmp_path, monkeypatch, write):
    write(tmp_path / "m", 1)
    before = {f.name: f.read_bytes() for f in (tmp_path / "m").iterdir()}

    def refuse(_temporary, _final):
        assert len(list(tmp_path.glob(".m.*.old"))) == 1  # whatever happens now, the old one is on disk
        raise OSError("no room")

    monkeypatch.setattr("automl.bundle.publish", refuse)
    with pytest.raises(OSError, match="no room"):
        write(tmp_path / "m", 2)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert {f.name: f.read_bytes() for f in (tmp_path / "m").iterdir()} == before


def _bundle(tmp_path):
    save_bundle(tmp_path / "m", {"v": 1}, {"one": STATE})
    return tmp_path / "m"


def test_any_changed_byte_is_noticed(tmp_path):
    path = _bundle(tmp_path)
    for file in sorted(path.rglob("*")):
        if not file.is_file() or file.name == "manifest.json":
            continue
        content = file.read_bytes()
        for at in range(0, len(content), max(1, len(content) // 7)):
            file.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
            with pytest.raises(ModelFileError, match="checksum"):
                load_bundle(path)
        file.write_bytes(content[:-1])
        with pytest.raises(ModelFileError, match=f"{file.name}.*truncated"):
            load_bundle(path)
        file.write_bytes(content)
    load_bundle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=99), "newer|reads 1"),
        (lambda m: m.pop("files"), "damaged"),
        (lambda m: m["files"].update({"../../etc/passwd": {"size": 1, "sha256": "0"}}), "which no saved model has"),
        (lambda m: m["files"].update({"one/gone.npy": {"size": 1, "sha256": "0"}}), "gone.npy is missing"),
        (lambda m: m["files"].pop("one/w.npy"), "does not know: one/w.npy"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, change, message):
    path = _bundle(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFileError, match=message):
        load_bundle(path)


def test_missing_or_foreign_folders_are_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"manifest.json is missing"):
        load_bundle(tmp_path / "nothing")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(ModelFileError, match="holds other files"):
        save_bundle(tmp_path / "photos", {}, {})
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"meow"


def test_names_cannot_leave_the_folder(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be the name"):
        write_state(tmp_path / "s", ({}, {"../up": np.zeros(1)}))


def test_objects_are_never_pickled(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_state(tmp_path / "s", ({}, {"o": np.array([{}], dtype=object)}))
    assert list(tmp_path.iterdir()) == []


def test_known_estimators_come_back_and_others_are_refused():
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
    from sklearn.linear_model import ElasticNet
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsRegressor

    rng = np.random.default_rng(0)
    x, y = rng.random((40, 3)), rng.random(40)
    for estimator in (
        ElasticNet(alpha=0.01),
        RandomForestRegressor(3, random_state=0),
        ExtraTreesRegressor(3, random_state=0),
        KNeighborsRegressor(3),
        KNeighborsRegressor(3, algorithm="brute"),
    ):
        back = sklearn_from_bytes(sklearn_to_bytes(estimator.fit(x, y)))
        np.testing.assert_array_equal(back.predict(x), estimator.predict(x))

    class Own(GaussianNB):
        pass

    with pytest.raises((ModelFileError, TypeError)):
        sklearn_from_bytes(sklearn_to_bytes(Own()))
    with pytest.raises(ModelFileError, match="cannot be read"):
        sklearn_from_bytes(b"no zip at all")
