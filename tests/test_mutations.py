"""The planted bugs still apply; a few of the quickest are planted here, all of them by `python -m tests.mutations`."""

import pytest

from tests.mutations import MUTATIONS, ROOT, caught_by


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_mutation_applies(mutation):
    assert mutation.old in (ROOT / mutation.file).read_text(encoding="utf-8")
    assert mutation.old != mutation.new


def test_the_list_is_long_enough():
    assert len({m.name for m in MUTATIONS}) >= 12


@pytest.mark.parametrize("name", ["lag off by one", "centred window"])
def test_planted_bug_is_caught(name):
    mutation = next(m for m in MUTATIONS if m.name == name)
    assert caught_by(mutation)


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS[2:], ids=lambda m: m.name)
def test_every_planted_bug_is_caught(mutation):
    assert caught_by(mutation)
