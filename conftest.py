"""Modules that need torch to be imported have no doctests to look for where it is not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["vision/networks/*.py"]
