"""Tiles of networks that are trained at the same time, one for each core.

XLA gives a product of small matrices a single thread, and starts one program after the other. So a core of a CPU is kept
busy by a thread of its own, which does nothing but advance a tile. Checkpoints and progress stay in the caller's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from jaxsat.networks.compiled import seen_from_here

WorkName = TypeVar("WorkName", bound=Hashable)
Ended = TypeVar("Ended")
Stages = Generator[Callable[[], Any], Any, Ended]
"""Work in stages: yields functions without arguments, is sent what each returns, and returns its result."""


def in_turn(stages: Stages[Ended]) -> Ended:
    """Do the work of all stages in this thread, and return its result.

    >>> def both():
    ...     first = yield lambda: 1
    ...     return first + (yield lambda: 2)
    >>> in_turn(both())
    3
    """
    found = None
    try:
        while True:
            found = stages.send(found)()
    except StopIteration as ended:
        return ended.value


def side_by_side(works: Mapping[WorkName, Stages[Ended]], at_once: int) -> dict[WorkName, Ended]:
    """Return the results of several works, of which up to `at_once` are under way at a time, each in a thread.

    Works are begun in their order, and go on between their stages in this thread. If one raises, or the user interrupts,
    no stage is begun any more, and those that were begun are waited for.

    >>> def twice(number):
    ...     return (yield lambda: 2 * number)
    >>> side_by_side({number: twice(number) for number in range(3)}, at_once=2)
    {0: 0, 1: 2, 2: 4}
    """
    if at_once == 1:
        return {key: in_turn(stages) for key, stages in works.items()}
    waiting, results = iter(works.items()), dict.fromkeys(works)
    under_way: dict[Future[Any], tuple[WorkName, Stages[Ended]]] = {}

    def go_on(key: WorkName, stages: Stages[Ended], found: Any) -> None:
        """Begin the next stage of a work or, at its end, the first of the next one."""
        try:
            under_way[pool.submit(seen_from_here(stages.send(found)))] = key, stages
        except StopIteration as ended:
            results[key] = ended.value
            if (following := next(waiting, None)) is not None:
                go_on(*following, None)

    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(min(at_once, len(works))):
            if (first := next(waiting, None)) is not None:
                go_on(*first, None)
        while under_way:
            for ended in wait(under_way, return_when=FIRST_COMPLETED).done:
                go_on(*under_way.pop(ended), ended.result())
    return results  # pyright: ignore[reportReturnType]  # every key has its result now
