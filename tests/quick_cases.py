"""What the collection of tests shows: functions without a quick case, and functions whose mark repeats a case's."""

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
