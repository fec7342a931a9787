"""Profiles for hypothesis: `no_shrink` tells that something fails without looking for the smallest example."""

from contextlib import ExitStack

import pytest
from hypothesis import Phase, settings

from tests.automl import clusters

settings.register_profile("no_shrink", phases=[Phase.explicit, Phase.generate])


@pytest.fixture(scope="session")
def cluster_of():
    """Address of a running cluster by engine. Each is started once: a process that has left one Ray finds no other."""
    with ExitStack() as stack:
        known = {}

        def find(engine):
            if engine not in known:
                try:
                    known[engine] = stack.enter_context(getattr(clusters, engine)())
                except pytest.skip.Exception as reason:
                    known[engine] = reason
            if isinstance(known[engine], pytest.skip.Exception):
                raise known[engine]
            return known[engine]

        yield find
