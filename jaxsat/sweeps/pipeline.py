"""The work of a sweep: tiles are started on all local devices, collected, and handed over as finished chunks."""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from jaxsat.networks.compiled import seen_from_here
from jaxsat.results.layout import Unit
from jaxsat.results.machine import cores
from jaxsat.sweeps.choices import ChoicePrograms
from jaxsat.sweeps.plan import Plan, Task
from jaxsat.sweeps.tiles import TileCorner

LEAST_UNDER_WAY = 2  # batches, where memory allows: the device does not wait for the host
COMPILED_TOGETHER = 2  # programs: compiling takes memory


class DeviceBatch(NamedTuple):
    """A tile on each device: of a chunk, where it lies, and what came or went wrong."""

    task: Task
    corners: Sequence[TileCorner]
    found: list[dict[str, Array]] | Exception | Future[list[dict[str, Array]]]


class Pipeline:
    """Computes chunks group by group. Several tiles are under way at a time, so that devices do not wait for the host.

    XLA starts one program after the other on a CPU, and gives small matrices a single thread. So there each tile under way
    has a thread of its own, one for each core, unless it holds LAPACK calls (see ``TileProgram.side_by_side``).

    Args:
        plan: of the sweep.
        finished: takes each chunk when its last tile is there, or has failed.
        memory_budget: bytes for tiles under way on a device.
    """

    def __init__(self, plan: Plan, finished: Callable[[Task], None], memory_budget: int):
        self._plan, self._finished, self._memory_budget = plan, finished, memory_budget
        self._compiling = ThreadPoolExecutor(max_workers=COMPILED_TOGETHER)
        self._cores = cores() if jax.default_backend() == "cpu" else 1
        self._running = ThreadPoolExecutor(max_workers=self._cores)
        self._sizes: dict[int, Future[int]] = {}
        self._under_way: collections.deque[DeviceBatch] = collections.deque()

    def run(self, groups: Iterable[Sequence[Unit]]) -> None:
        """Compute groups of chunks that share their draws, in the order given.

        The programs of the next group compile while this one runs.
        """
        try:
            ahead = itertools.chain(map(self._started, groups), [None])
            current = next(ahead)
            while current is not None:
                following = next(ahead)
                self._compute(current)
                current = following
            while self._under_way:
                self._collect()
        finally:
            self._compiling.shutdown(wait=False, cancel_futures=True)
            self._running.shutdown(wait=True, cancel_futures=True)

    def _started(self, group: Sequence[Unit]) -> list[Task]:
        """Make the tasks of a group, and start to compile their programs."""
        tasks = [self._plan.task(unit) for unit in group]
        for programs in {id(task.programs): task.programs for task in tasks}.values():
            if id(programs) not in self._sizes:
                programs.lower()
                self._sizes[id(programs)] = self._compiling.submit(programs.compile, self._memory_budget)
        return tasks

    def _compute(self, tasks: list[Task]) -> None:
        if not tasks:
            return
        size = max(self._sizes[id(task.programs)].result() for task in tasks)
        at_once = max(1, min(self._memory_budget // size, max(self._cores, LEAST_UNDER_WAY)))
        first = tasks[0].programs
        places = range(len(tasks[0].corners))
        for begin in range(0, len(places), len(first.devices())):
            drawn = self._drawn(first, tasks[0].corners[begin : begin + len(first.devices())])
            for task in tasks:
                self._start(task, task.corners[begin : begin + len(first.devices())], drawn)
                while len(self._under_way) >= at_once:
                    self._collect()

    def _drawn(self, programs: ChoicePrograms, corners: Sequence[TileCorner]) -> list[Any] | Exception:
        try:
            return programs.start_draw([corner.seed for corner in self._filled(programs, corners)], self._plan.root)
        except jax.errors.JaxRuntimeError as error:
            return error

    def _start(self, task: Task, corners: Sequence[TileCorner], drawn: list[Any] | Exception) -> None:
        found: Any
        try:
            if isinstance(drawn, Exception):
                raise drawn
            filled = self._filled(task.programs, corners)
            start = functools.partial(task.programs.start, filled, drawn, self._plan.root, self._plan.x)
            if self._cores > 1 and task.programs.side_by_side:
                whole = seen_from_here(lambda: jax.block_until_ready(start()))
                found = self._running.submit(whole)
            else:
                found = start()
        except jax.errors.JaxRuntimeError as error:
            found = error
        self._under_way.append(DeviceBatch(task, corners, found))

    @staticmethod
    def _filled(programs: ChoicePrograms, corners: Sequence[TileCorner]) -> list[TileCorner]:
        """A tile for each device: the last tile again where there are fewer."""
        return [corners[min(i, len(corners) - 1)] for i in range(len(programs.devices()))]

    def _collect(self) -> None:
        """Wait for the oldest batch, and put its results into their chunk."""
        task, corners, found = self._under_way.popleft()
        try:
            if isinstance(found, Exception):
                raise found
            if isinstance(found, Future):
                found = found.result()
            for corner, arrays in zip(corners, found, strict=False):  # the last tile stands for devices without one
                self._plan.put(task, corner, {name: np.asarray(array) for name, array in arrays.items()})
        except jax.errors.JaxRuntimeError as error:
            task.error = error
        task.done += len(corners)
        if task.done == len(task.corners):
            self._finished(task)
