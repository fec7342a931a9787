"""Compiled number crunching over many series at once: arrays in, arrays out; no objects, no pandas.

Modules here import numba, so they are imported only by what uses them. Every kernel is a stateless function over a
slice of series (`values`, `indptr`, first series, end), made by `compiled.kernel` and driven by `batch.over_slices`.
"""
