"""Values that a target takes which is zero most of the time: zero, and from its smallest positive value on.

A quantile between the two has the same share of values below it as at or below it, and that share is right for one
level alone; moved onto a value that occurs, it is right for all levels whose quantile that value is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from forecasting.panel import Panel

MANY_ZEROS = 0.2
"""Share of zeros from which a target counts as intermittent."""


def zeros(panel: Panel) -> float:
    """Share of zeros among the observed values."""
    return float(np.mean(panel.y[panel.observed] == 0)) if panel.observed.any() else 0.0


@dataclass(frozen=True, slots=True)
class Grain:
    """Values that an intermittent target takes.

    Parameters
    ----------
    least : smallest positive value. whole : all values are whole numbers.
    """

    least: float
    whole: bool

    @classmethod
    def of(cls, panel: Panel) -> Self | None:
        """Return that of a panel; None where few values are zero, or some are negative."""
        y = panel.y[panel.observed]
        if zeros(panel) <= MANY_ZEROS or y.min() < 0 or not (y > 0).any():
            return None
        return cls(float(y[y > 0].min()), bool((y == np.rint(y)).all()))

    def settle(self, values: np.ndarray) -> np.ndarray:
        """Return values moved to the nearest that occur: whole numbers, and none between zero and the least.

        Examples
        --------
        >>> Grain(1.0, whole=True).settle(np.array([0.2, 0.7, 1.4, 9.6])).tolist()
        [0.0, 1.0, 1.0, 10.0]
        >>> Grain(2.5, whole=False).settle(np.array([0.2, 1.7, 3.4])).tolist()
        [0.0, 2.5, 3.4]
        """
        out = np.rint(values) if self.whole else np.array(values)
        between = (values > 0) & (values < self.least)
        out[between] = np.where(values[between] < self.least / 2, 0.0, self.least)
        return out

    def settled(self, channels: np.ndarray, *, point: bool) -> np.ndarray:
        """Return channels with quantiles moved to values that occur, and the point too where it shall be."""
        first = 0 if point else 1
        return np.concatenate([channels[..., :first], self.settle(channels[..., first:])], axis=-1)
