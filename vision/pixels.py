"""Decoded images as square arrays, kept on disk and mapped, so that trials and epochs decode each file once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from automl.files import put
from vision.data.pictures import load_picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def square(path: str, size: int) -> np.ndarray:
    """One image as upright RGB, the whole of it squeezed into size x size pixels; shape [size, size, 3], uint8."""
    from PIL import Image as Pillow

    picture = load_picture(path, most=size)
    if picture.size != (size, size):
        picture = picture.resize((size, size), Pillow.Resampling.BILINEAR)
    return np.asarray(picture)


class Pixels:
    """Images of one size.

    Parameters
    ----------
    paths : files in order. size : pixels of each side. folder : where decoded images are kept; None = decoded each
        time. threads : that decode.
    """

    def __init__(self, paths: Sequence[str], size: int, folder: Path | None, threads: int = 2) -> None:
        self._paths = list(paths)
        self.size = size
        self._threads = threads
        self._kept = None if folder is None else self._decoded(folder / f"pixels-{size}.npy")

    def __len__(self) -> int:
        return len(self._paths)

    def take(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
        """Some images, shape [rows, size, size, 3], uint8."""
        if self._kept is not None:
            return np.asarray(self._kept[np.asarray(rows)])
        out = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)
        self._fill(out, [self._paths[int(k)] for k in rows])
        return out

    def _fill(self, out: np.ndarray, paths: Sequence[str]) -> None:
        def one(k: int) -> None:
            out[k] = square(paths[k], self.size)

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(one, range(len(paths))))

    def _decoded(self, file: Path) -> np.ndarray:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}.part")  # other workers may be at it too
            shape = (len(self._paths), self.size, self.size, 3)
            out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            self._fill(out, self._paths)
            out.flush()
            del out
            put(partial, file)
        kept: np.ndarray = np.load(file, mmap_mode="r")
        return kept
