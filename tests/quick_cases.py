"""What the collection of tests shows: functions without a quick case, and cases that are marked slow twice."""

import pytest

slow_only: set[str] = set()
marked_twice: set[str] = set()


def note(items: list[pytest.Item]) -> None:
    """Look at all collected cases."""
    quick: dict[str, bool] = {}
    for item in items:
        function = item.nodeid.split("[")[0]
        marks = sum(1 for _ in item.iter_markers("slow"))
        quick[function] = quick.get(function, False) or not marks
        if marks > 1:
            marked_twice.add(item.nodeid)
    slow_only.update(function for function, has in quick.items() if not has)
