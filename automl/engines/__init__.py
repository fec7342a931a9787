"""Clusters as executors: Dask, Ray and Spark, each loaded only when its name is asked for.

What a cluster needs: this package, in the same version, on every worker, and file paths that mean the same everywhere.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from automl.candidates import import_object
from automl.errors import ConfigError, MissingPackageError, UnknownNameError

if TYPE_CHECKING:
    from automl.compute import Initializer
    from automl.engines.base import EngineExecutor

_ENGINES = {
    "dask": ("automl.engines.dask:DaskExecutor", "distributed", "distributed", 8786),
    "ray": ("automl.engines.ray:RayExecutor", "ray", "distributed", 10001),
    "spark": ("automl.engines.spark:SparkExecutor", "pyspark", "spark", 7077),
}
"""By scheme: class, package, the extra that brings it, its usual port."""

_NAMES = ["local", "dask://host:port", "ray://host:port", "spark", "spark://host:port"]
_HOST_PORT = re.compile(r"([^/:@\s]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")


def connect(
    name: str, *, workers: int | None = None, threads: int = 1, initializer: Initializer | None = None
) -> EngineExecutor:
    """Connect to a cluster by its address, as `automl.compute.executor` describes.

    Raises
    ------
    ConfigError : unknown name or malformed address. MissingPackageError, EngineError : it cannot be used.

    Examples
    --------
    >>> connect("dask://somewhere")
    Traceback (most recent call last):
    automl.errors.ConfigError: compute backend 'dask://somewhere' needs a host and a port, such as dask://10.0.0.5:8786.
    """
    scheme, separator, rest = name.partition("://")
    if scheme not in _ENGINES or (not separator and scheme != "spark"):
        raise UnknownNameError("compute backend", name, _NAMES)
    target, package, extra, port = _ENGINES[scheme]
    place: tuple[str, int] | None = None
    if separator:
        found = _HOST_PORT.fullmatch(rest)
        if not found or not 0 < int(found[2]) < 65536:
            example = f"{scheme}://10.0.0.5:{port}"
            raise ConfigError(f"compute backend {name!r} needs a host and a port, such as {example}.")
        place = found[1].strip("[]"), int(found[2])
    if find_spec(package) is None:
        raise MissingPackageError(package, extra, f"compute backend {name!r}")
    engine: EngineExecutor = import_object(target)(
        name, place, workers=workers, threads=threads, initializer=initializer
    )
    return engine
