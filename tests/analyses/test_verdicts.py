"""The rule by which claims are judged."""

import math

import pytest

from analyses.shared.verdicts import Effect, Wanted, judge, meets

AT_LEAST, AT_MOST = Wanted("at least", 1.0), Wanted("at most", 1.0)
MET, MISSED, OPEN = Effect("met", 1.5, 2.0), Effect("missed", 0.0, 0.5), Effect("open", 0.5, 1.5)


@pytest.mark.parametrize(
    ("effects", "word"),
    [
        ([MET], "holds"),
        ([MET, MET], "holds"),
        ([MISSED], "does not hold"),
        ([MISSED, MISSED], "does not hold"),
        ([OPEN], "undecided"),
        ([OPEN, MISSED], "undecided"),
        ([MET, MISSED], "holds under conditions"),
        ([MET, OPEN], "holds under conditions"),
        ([MET, OPEN, MISSED], "holds under conditions"),
    ],
)
def test_words(effects, word):
    found = judge(effects, AT_LEAST)
    assert found.word == word
    for kind, conditions in (("met", found.met), ("missed", found.missed), ("open", found.open)):
        assert conditions == tuple(e.condition for e in effects if e.condition == kind)


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.4), (0.9, 1.2), (1.2, 1.4), (-math.inf, math.inf), (2.0, math.inf)])
def test_sides_mirror_each_other(low, high):
    assert meets(low, high, AT_LEAST) == meets(-high, -low, Wanted("at most", -1.0))


def test_the_threshold_itself_is_met_from_either_side():
    assert meets(1.0, 1.0, AT_LEAST) is True
    assert meets(1.0, 1.0, AT_MOST) is True
    assert meets(0.9, 1.0, AT_LEAST) is None
    assert meets(1.0, 1.1, AT_MOST) is None


@pytest.mark.parametrize(("low", "high"), [(math.nan, 2.0), (2.0, math.nan), (math.nan, math.nan)])
def test_what_is_not_known_is_open(low, high):
    assert meets(low, high, AT_LEAST) is None
    assert judge([Effect("a", low, high)], AT_LEAST).word == "undecided"


def test_infinite_effects_are_judged():
    assert judge([Effect("never", math.inf, math.inf)], AT_MOST).word == "does not hold"


def test_mistakes():
    with pytest.raises(ValueError, match="at least one; got none"):
        judge([], AT_LEAST)
    with pytest.raises(ValueError, match=r"`low` must be at most `high`; got 2\.0 and 1\.0"):
        meets(2.0, 1.0, AT_LEAST)
