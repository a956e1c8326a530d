"""The rule by which a claim is judged: effects under named conditions, each with its 95 % interval, and a threshold.

A condition *meets* the threshold where its whole interval lies on the wanted side (the threshold itself counts as met),
*misses* it where its whole interval lies on the other, and is *open* where the interval straddles it or is not known.

    holds                   every condition meets it
    holds under conditions  some meet it, and are named
    does not hold           every condition misses it
    undecided               none meets it, and some are open
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

HOLDS, UNDER_CONDITIONS, DOES_NOT_HOLD = "holds", "holds under conditions", "does not hold"
UNDECIDED = "undecided"


class Wanted(NamedTuple):
    """What a claim says its effect must be.

    >>> str(Wanted("at least", 0.05))
    'at least 0.05'
    """

    side: Literal["at least", "at most"]
    threshold: float

    def __str__(self) -> str:
        return f"{self.side} {self.threshold:g}"


class Effect(NamedTuple):
    """An effect under one condition: the ends of its 95 % interval."""

    condition: str
    low: float
    high: float


class Verdict(NamedTuple):
    """A word, and the conditions that meet what is wanted, miss it, and leave it open."""

    word: str
    met: tuple[str, ...]
    missed: tuple[str, ...]
    open: tuple[str, ...]


def meets(low: float, high: float, wanted: Wanted) -> bool | None:
    """Return whether an interval meets (True) or misses (False) what is wanted; None where it is open.

    >>> meets(0.1, 0.2, Wanted("at least", 0.1)), meets(0.1, 0.2, Wanted("at most", 0.05))
    (True, False)
    """
    if math.isnan(low) or math.isnan(high):
        return None
    if low > high:
        raise ValueError(f"meets: `low` must be at most `high`; got {low} and {high}.")
    if wanted.side == "at least":
        return True if low >= wanted.threshold else False if high < wanted.threshold else None
    return True if high <= wanted.threshold else False if low > wanted.threshold else None


def judge(effects: Sequence[Effect], wanted: Wanted) -> Verdict:
    """Return the verdict on a claim.

    Raises:
        ValueError: no effects.

    >>> judge([Effect("tanh", 0.1, 0.2), Effect("relu", -0.1, 0.0)], Wanted("at least", 0.05))[:2]
    ('holds under conditions', ('tanh',))
    """
    if not effects:
        raise ValueError("judge: `effects` must be at least one; got none.")
    found = [(meets(effect.low, effect.high, wanted), effect.condition) for effect in effects]
    met, missed, left = (tuple(c for state, c in found if state is kind) for kind in (True, False, None))
    with_some, without = (UNDER_CONDITIONS if missed or left else HOLDS), (UNDECIDED if left else DOES_NOT_HOLD)
    return Verdict(with_some if met else without, met, missed, left)
