"""Tables for the tests: every kind of column, with gaps, and targets that depend on them."""

import numpy as np
import pandas as pd


def mixed(rows=240, seed=0):
    """Numbers, categories, many categories, dates, text, an id and a constant; a number and a class that follow."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(["red", "green", "blue"], rows)
    street = np.array([f"street {k}" for k in rng.integers(0, rows // 2, rows)])
    words = {"red": "warm and loud thing", "green": "calm leaf of spring", "blue": "cold deep water"}
    frame = pd.DataFrame(
        {
            "size": np.where(rng.random(rows) < 0.1, np.nan, rng.lognormal(1, 0.5, rows)),
            "rooms": rng.integers(1, 6, rows),
            "colour": np.where(rng.random(rows) < 0.05, None, colour),
            "street": street,
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), unit="D"),
            "note": [f"{words[c]} number {k} {rng.choice(['good', 'bad', 'old'])}" for k, c in enumerate(colour)],
            "key": [f"{k:08x}" for k in rng.permutation(rows) * 7919],
            "same": 1.0,
        }
    )
    effect = np.nan_to_num(frame["size"].to_numpy(), nan=2.0) + frame["rooms"] + 3 * (colour == "red")
    number = effect + 0.3 * rng.standard_normal(rows)
    label = np.where(number > np.median(number), "high", "low")
    return frame, number.to_numpy(), label
