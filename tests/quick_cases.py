"""Quick and slow cases: functions without a quick case, functions whose mark repeats a case's, and how cases are marked."""

from collections.abc import Container, Iterable
from typing import Any

import pytest

slow_only: set[str] = set()
marked_twice: set[str] = set()


def note(items: list[pytest.Item]) -> None:
    """Look at all collected cases."""
    quick: dict[str, bool] = {}
    for item in items:
        function = item.nodeid.split("[")[0]
        quick[function] = quick.get(function, False) or item.get_closest_marker("slow") is None
        of_function = [mark.name for mark in getattr(getattr(item, "function", None), "pytestmark", [])]
        of_case = [mark.name for mark in getattr(getattr(item, "callspec", None), "marks", [])]
        if "slow" in of_function and "slow" in of_case:
            marked_twice.add(item.nodeid)
    slow_only.update(function for function, has in quick.items() if not has)


def quick_first(cases: Iterable[Any], several: bool = False) -> list[Any]:
    """Return values for `pytest.mark.parametrize` of which only the first is quick; `several`: each is a tuple of arguments."""
    first, *others = ([*case] if several else [case] for case in cases)
    return [pytest.param(*first), *(pytest.param(*other, marks=pytest.mark.slow) for other in others)]


def slow_except(quick: Container[Any], cases: Iterable[Any]) -> list[Any]:
    """Return values for `pytest.mark.parametrize`, each a single argument, of which only those in `quick` are quick."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]
