"""Saved models: a manifest, JSON, arrays and native formats. No pickle; names of a registry, never module paths."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ModelFileError
from automl.files import publish, sync_file

if TYPE_CHECKING:
    from pathlib import Path

    from automl.trial import State

FORMAT = 1
_MANIFEST, _STATE = "manifest.json", "state.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "lightgbm",
    "statsmodels",
    "pmdarima",
    "prophet",
    "torch",
    "skops",
)
_TRUSTED = (
    "scipy.sparse._csr.csr_matrix",
    "sklearn.tree._tree.Tree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.metrics._dist_metrics.EuclideanDistance",
    "sklearn.metrics._dist_metrics.EuclideanDistance32",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)


# -- one state --------------------------------------------------------------------------------------------------------


def write_state(path: Path, state: State) -> None:
    """Write (JSON, arrays or bytes) into a folder; an error leaves the old folder or the new one.

    Raises
    ------
    ModelFileError : a blob's name is no plain file name. ValueError : an array holds Python objects.
    """
    settings, blobs = state
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        files = {_STATE: json.dumps(settings).encode()}
        files |= {_file_name(name, blob): _content(blob) for name, blob in blobs.items()}
        for name, content in files.items():
            (temporary / name).write_bytes(content)
            sync_file(temporary / name)
        _replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _replace(temporary: Path, path: Path) -> None:
    """Publish a finished folder in the place of an older one.

    The old one stays beside it (`.name.<hex>.old`) until the new one has its name, so that no kill can lose both.
    """
    if not path.exists():
        publish(temporary, path)
        return
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
    path.rename(old)
    try:
        publish(temporary, path)
    except BaseException:
        if not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _file_name(name: str, blob: np.ndarray | bytes) -> str:
    return _checked(name) + (".bin" if isinstance(blob, bytes) else ".npy")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ModelFileError(f"{name!r} cannot be the name of a part of a saved model.")
    return name


def _content(blob: np.ndarray | bytes) -> bytes:
    if isinstance(blob, bytes):
        return blob
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(blob), allow_pickle=False)
    return buffer.getvalue()


def read_state(path: Path, *, mapped: bool = False) -> State:
    """Read what `write_state` wrote.

    Parameters
    ----------
    mapped : arrays stay on disk and are mapped into memory, so that processes share them; what is written to one stays
        in the process. (Not read-only: numba compiles its functions anew for such arrays.)

    Raises
    ------
    ModelFileError : the folder or a file in it is missing or cannot be read.
    """
    if not path.is_dir():
        raise ModelFileError(f"the saved part {path} is missing.")
    blobs: dict[str, np.ndarray | bytes] = {}
    try:
        settings = json.loads((path / _STATE).read_text(encoding="utf-8"))
        for file in sorted(path.iterdir()):
            if file.suffix == ".bin":
                blobs[file.stem] = file.read_bytes()
            elif file.suffix == ".npy":
                blobs[file.stem] = np.load(
                    file, allow_pickle=False, mmap_mode="c" if mapped and _mappable(file) else None
                )
    except (OSError, ValueError, EOFError) as error:
        raise ModelFileError(f"the saved part {path} cannot be read: {error}") from error
    return settings, blobs


def _mappable(file: Path) -> bool:
    """Whether an array has any bytes; an empty one cannot be mapped."""
    with file.open("rb") as stream:
        major, _ = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, _ = header(stream)
    return all(shape)


# -- a whole model ----------------------------------------------------------------------------------------------------


def save_bundle(path: Path, manifest: Mapping[str, Any], members: Mapping[str, State]) -> None:
    """Write a model: each member in a folder of its own, and a manifest with the checksum of every file.

    Parameters
    ----------
    manifest : JSON values of the caller's. members : name -> state.

    Raises
    ------
    ModelFileError : the folder holds something else than a saved model, or a name is no plain file name.
    """
    if path.exists() and not (path / _MANIFEST).is_file() and any(path.iterdir()):
        raise ModelFileError(f"{path} holds other files than a saved model. Fix: choose an empty or new folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        for name, state in members.items():
            write_state(temporary / _checked(name), state)
        files = {
            str(f.relative_to(temporary).as_posix()): _print(f) for f in sorted(temporary.rglob("*")) if f.is_file()
        }
        whole = {"format": FORMAT, "packages": _versions(), "files": files, "content": dict(manifest)}
        (temporary / _MANIFEST).write_text(json.dumps(whole, indent=1, sort_keys=True), encoding="utf-8")
        sync_file(temporary / _MANIFEST)
        _replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _print(file: Path) -> dict[str, Any]:
    """Size and checksum of a file."""
    content = file.read_bytes()
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def load_bundle(path: Path) -> tuple[dict[str, Any], Mapping[str, State]]:
    """Read a saved model: (the caller's manifest, its members, read when asked for).

    Every file is checked against the manifest first.

    Raises
    ------
    ModelFileError : a file is missing, truncated, changed or extra, the manifest is damaged or of a newer format.
    """
    raw = _manifest(path)
    if raw["format"] > FORMAT:
        raise ModelFileError(
            f"the model in {path} has format {raw['format']}, this version reads {FORMAT}. Fix: update forecastle."
        )
    listed = raw["files"]
    for name in listed:
        if not all(_NAME.fullmatch(part) for part in name.split("/")):
            raise ModelFileError(f"the manifest of {path} names the file {name!r}, which no saved model has.")
        _check(path, name, listed[name])
    extra = {str(f.relative_to(path).as_posix()) for f in path.rglob("*") if f.is_file()} - {*listed, _MANIFEST}
    if extra:
        raise ModelFileError(
            f"the model in {path} has files its manifest does not know: {', '.join(sorted(extra)[:3])}."
        )
    return raw["content"], _Members(path, tuple(dict.fromkeys(name.split("/")[0] for name in listed)))


def _manifest(path: Path) -> dict[str, Any]:
    file = path / _MANIFEST
    if not file.is_file():
        raise ModelFileError(f"{path} holds no saved model: {_MANIFEST} is missing.")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        if not (isinstance(raw["format"], int) and isinstance(raw["content"], dict) and isinstance(raw["files"], dict)):
            raise TypeError("a part has the wrong type")  # noqa: TRY301 - told like any other damage
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"{file} is damaged: {error}. Fix: restore the model from a copy or train again."
        ) from error
    return dict(raw)


def _check(path: Path, name: str, listed: Mapping[str, Any]) -> None:
    file = path / name
    fix = "Fix: restore the model from a copy or train again."
    if not file.is_file():
        raise ModelFileError(f"{file} is missing. {fix}")
    found = _print(file)
    if found["size"] != listed["size"]:
        raise ModelFileError(
            f"{file} has {found['size']} bytes, not {listed['size']}: it is truncated or changed. {fix}"
        )
    if found["sha256"] != listed["sha256"]:
        raise ModelFileError(f"{file} was changed since it was saved: its checksum differs. {fix}")


class _Members(Mapping[str, "State"]):
    """States by member name, read from disk each time one is asked for."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path = path
        self._names = names

    def __getitem__(self, name: str) -> State:
        if name not in self._names:
            raise ModelFileError(f"the model in {self._path} has no part {name!r}.")
        return read_state(self._path / name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


# -- scikit-learn -----------------------------------------------------------------------------------------------------


def sklearn_to_bytes(estimator: Any) -> bytes:
    """Write a scikit-learn estimator in skops' format."""
    import skops.io

    return bytes(skops.io.dumps(estimator))


def sklearn_from_bytes(data: bytes) -> Any:
    """Read what `sklearn_to_bytes` wrote; only types on a closed list are built.

    Raises
    ------
    ModelFileError : the data are damaged or hold another type.
    """
    import zipfile

    import skops.io

    try:
        unknown = [t for t in skops.io.get_untrusted_types(data=data) if t not in _TRUSTED]
        estimator = None if unknown else skops.io.loads(data, trusted=list(_TRUSTED))
    except (zipfile.BadZipFile, ValueError, KeyError, OSError) as error:
        raise ModelFileError(f"a saved estimator cannot be read: {error}") from error
    if unknown:
        raise ModelFileError(f"a saved estimator holds types that are not trusted: {', '.join(unknown[:3])}.")
    return estimator
