"""The work of a sweep: its grid cut into chunks of results, which tiles of one fixed shape fill, on all local devices."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
from jaxtyping import Array

from jaxsat.networks.grid import Grid
from jaxsat.results.layout import Layout, Unit
from jaxsat.sweeps.sweep_request import Choice
from jaxsat.sweeps.tiles import Compiled, Place, Program


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A grid cut into chunks, and the programs that compute them: of those static choices that are asked for."""

    grid: Grid
    layout: Layout
    programs: Mapping[Choice, Program]

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        return next(iter(self.programs.values())).shapes

    def choice(self, unit: Unit) -> Choice:
        index = dict(zip(self.layout.sizes, unit, strict=True))
        return tuple(index[name] for name in self.grid.static)

    def units(self) -> list[Unit]:
        """All of them, one program's after the other's."""
        units = [unit for unit in self.layout.units() if self.choice(unit) in self.programs]
        return sorted(units, key=lambda unit: (self.choice(unit), unit))

    def task(self, unit: Unit) -> Task:
        slices = self.layout.slices(unit)
        lengths = tuple(s.stop - s.start for s in slices.values())
        buffers = {n: np.empty((*lengths, *s.shape), s.dtype) for n, s in self.shapes.items()}
        program = self.programs[self.choice(unit)]
        columns = self.grid.columns({name: s.start for name, s in slices.items()}, program.tile.block)
        seeds = range(slices["seed"].start, slices["seed"].stop, program.tile.seeds)
        return Task(unit, program, [Place(seed, columns) for seed in seeds], buffers)

    def put(self, task: Task, place: Place, found: Mapping[str, np.ndarray]) -> None:
        """One tile's results to where they belong in a chunk."""
        block = dict(zip(self.grid.traced, task.program.tile.block, strict=True))
        for name, array in found.items():
            buffer = task.buffers[name]
            first = place.seed - task.places[0].seed
            array = array.reshape(*(block.get(n, 1) for n in self.grid.over), *array.shape[1:])
            leading = len(self.grid.over)
            room = buffer[(slice(None),) * leading + (slice(first, first + task.program.tile.seeds),)]
            room[...] = array[tuple(slice(0, n) for n in room.shape[: leading + 1])]


@dataclasses.dataclass(eq=False)
class Task:
    """A chunk at work: its tiles, and the arrays that they fill."""

    unit: Unit
    program: Program
    places: list[Place]
    buffers: dict[str, np.ndarray]
    done: int = 0
    error: Exception | None = None


def run(plan: Plan, units: Iterable[Unit], finished: Callable[[Task], None], memory_budget: int) -> None:
    """Compute chunks in the order given and hand each over when its last tile is there, or has failed.

    Tiles of several chunks are under way at a time, so that devices do not wait for the host.
    """
    devices = jax.local_devices()
    compiling = ThreadPoolExecutor(max_workers=2)  # the next programs compile while this one runs; each takes memory
    order = list(plan.programs.values())
    compiled: dict[int, Future[Compiled]] = {}
    under_way: collections.deque[tuple[list[tuple[Task, Place]], Mapping[str, Array] | Exception]] = collections.deque()

    def ready(program: Program) -> Compiled:
        index = order.index(program)
        for i in range(index, min(index + 2, len(order))):
            if i not in compiled:  # traced here: the thread is outside a caller's enable_x64
                compiled[i] = compiling.submit(order[i].lower(devices).compile, memory_budget)
        return compiled[index].result()

    def collect() -> None:
        batch, found = under_way.popleft()
        try:
            if isinstance(found, Exception):
                raise found
            arrays = {name: np.asarray(array) for name, array in found.items()}
        except jax.errors.JaxRuntimeError as error:
            arrays = None
            for task, _ in batch:
                task.error = error
        for i, (task, place) in enumerate(batch):
            if arrays is not None:
                plan.put(task, place, {name: array[i] for name, array in arrays.items()})
            task.done += 1
            if task.done == len(task.places):
                finished(task)

    pairs = ((task, place) for task in map(plan.task, units) for place in task.places)
    try:
        for program, group in itertools.groupby(pairs, key=lambda pair: pair[0].program):
            compute = ready(program)
            while batch := list(itertools.islice(group, compute.devices)):
                try:
                    under_way.append((batch, compute([place for _, place in batch])))
                except jax.errors.JaxRuntimeError as error:
                    under_way.append((batch, error))
                while len(under_way) >= compute.under_way:
                    collect()
        while under_way:
            collect()
    finally:
        compiling.shutdown(wait=False, cancel_futures=True)
