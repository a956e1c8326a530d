"""Wall-clock times of calls, results ready."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def median_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the median time of a call, after one call that is not counted (it compiles)."""
    call()
    return statistics.median(_seconds(call) for _ in range(repeats))


def least_seconds(calls: Mapping[Name, Callable[[], object]], rounds: int = 5) -> dict[Name, float]:
    """Return the least time of each of several calls, made by turns: what else the machine does slows all of them alike.

    The first round is not counted (it compiles).
    """
    for call in calls.values():
        call()
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            least[name] = min(least[name], _seconds(call))
    return least


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
