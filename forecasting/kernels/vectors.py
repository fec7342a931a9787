"""Filling and copying vectors, element by element.

numba takes about thirty milliseconds to compile every `a[:] = b`, with its broadcasting and overlap checks; a call of
one of these takes a fraction of that.
"""

from __future__ import annotations

from forecasting.kernels.compiled import kernel


@kernel
def fill(out, value):
    """Write a value to every place of a vector."""
    for i in range(len(out)):
        out[i] = value


@kernel
def copy(source, out):
    """Write a vector to the places of another one, which is at least as long."""
    for i in range(len(source)):
        out[i] = source[i]
