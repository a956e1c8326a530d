"""``slow`` marks more cases of what is tested quickly too: `make test` leaves no kind of check out."""

import pytest

from tests.conftest import SLOW_ONLY, TWICE

# Test functions without a quick case, and why.
EXCUSED: dict[str, str] = {}


def test_every_test_function_has_a_quick_case(request: pytest.FixtureRequest):
    without = {function.split("::")[-1]: function for function in request.config.stash[SLOW_ONLY]}
    unexcused = sorted(function for name, function in without.items() if name not in EXCUSED)
    assert not unexcused, "give each a quick case, or a reason in EXCUSED"


def test_no_case_is_marked_slow_twice(request: pytest.FixtureRequest):
    """A mark of the function beside a mark of its case cancels the cases that were meant to stay."""
    assert not request.config.stash[TWICE]
