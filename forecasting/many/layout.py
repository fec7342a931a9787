"""The folder of a many-models job: what lies where, and which pieces are done.

many.json     settings, source and where the job stands     pieces/    rows by group, groups.json
shared/       what was learned from a sample of all groups: run/, knowledge/, one folder a fit of a pooled model
models/       one bundle a piece                            status/    one Parquet file a piece, written last
forecasts/    what `predict` was asked last without `out`
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from automl.errors import ModelFileError, RunError
from automl.files import write_json
from forecasting.fitting import settings_from_json, settings_to_json

if TYPE_CHECKING:
    from pathlib import Path

    from forecasting.config import Settings

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a job was asked for.

    Parameters
    ----------
    horizon, seed, settings : as of `Forecaster`. by : columns that tell groups apart; ids, time, target : columns.
    search : "shared" or "each" (see `ManyModels`). source : what tells its data from others.
    """

    horizon: int
    seed: int
    settings: Settings
    by: tuple[str, ...]
    ids: tuple[str, ...]
    time: str
    target: str
    search: str
    source: list[Any]

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that tell groups or series apart."""
        return tuple(dict.fromkeys((*self.by, *self.ids)))

    @property
    def columns(self) -> list[str]:
        """Columns that are read."""
        data = self.settings.data
        wanted = [*self.keys, self.time, self.target, *data.covariates.all]
        return list(dict.fromkeys([*wanted, *([data.weight] if data.weight else [])]))

    def future_columns(self, have: list[str]) -> list[str]:
        """Columns of later rows, of those there are: without past and static covariates where a frame lacks them."""
        return [c for c in self.columns if c in have]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "settings"}
        return dict(json.loads(json.dumps({**plain, "settings": settings_to_json(self.settings)})))

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read what `to_json` gave."""
        values = {**raw, "settings": settings_from_json(raw["settings"])}
        return cls(**{**values, "by": tuple(raw["by"]), "ids": tuple(raw["ids"])})


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths below a job's folder."""

    root: Path

    @property
    def pieces(self) -> Path:
        """Rows by group."""
        return self.root / "pieces"

    @property
    def shared(self) -> Path:
        """What was learned from a sample."""
        return self.root / "shared"

    @property
    def forecasts(self) -> Path:
        """Forecasts that were asked for without a place."""
        return self.root / "forecasts"

    def model(self, number: int) -> Path:
        """Bundle of a piece; with a search for each group a zip of bundles."""
        return self.root / "models" / f"piece-{number:05d}"

    def status(self, number: int) -> Path:
        """What became of the groups of a piece."""
        return self.root / "status" / f"piece-{number:05d}.parquet"

    def done(self, number: int) -> bool:
        """Whether a piece was fitted."""
        return self.status(number).is_file()

    def write_spec(self, spec: Spec) -> None:
        """Remember what was asked for."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.root / "many.json", {"format": FORMAT, "spec": spec.to_json()})

    def spec(self) -> Spec:
        """What was asked for.

        Raises
        ------
        RunError : the folder holds no such job. ModelFileError : it is damaged, or of a newer format.
        """
        file = self.root / "many.json"
        if not file.is_file():
            raise RunError(f"{self.root} holds no many-models job. Fix: ManyModels(...).fit(..., path=...).")
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
            if raw["format"] > FORMAT:
                raise ModelFileError(f"{file} has format {raw['format']}, this version reads {FORMAT}.")
            return Spec.from_json(raw["spec"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelFileError(f"{file} is damaged: {error}. Fix: restore it from a copy or fit again.") from error

    def check(self, spec: Spec) -> None:
        """Raise RunError where the folder holds a job of other data or settings; the place of workers may differ."""

        def essence(one: Spec) -> dict[str, Any]:
            search = replace(one.settings.search, workers=None, threads=1)
            return replace(one, settings=replace(one.settings, search=search)).to_json()

        old, new = essence(self.spec()), essence(spec)
        if old != new:
            other = [name for name in new if old.get(name) != new[name]]
            raise RunError(
                f"{self.root} holds a job with other {', '.join(other)}. Fix: another folder, or remove this one."
            )
