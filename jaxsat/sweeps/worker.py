"""Sweeps into a store: made, extended, resumed, and shared with whoever else works on it."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import pathlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import jax
import numpy as np

from jaxsat.results import progress as progress_
from jaxsat.results import provenance, zarr_files
from jaxsat.results import store as stores
from jaxsat.results.layout import Unit
from jaxsat.results.leases import Claims
from jaxsat.results.store import Header, Store
from jaxsat.sweeps.plan import Plan, Task, run
from jaxsat.sweeps.sweep_request import Request, labelled
from jaxsat.sweeps.tiles import Tile

if TYPE_CHECKING:
    import xarray

WRITES_UNDER_WAY = 2
SECONDS_BETWEEN_RECORDS = 10.0


def finished(request: Request, path: pathlib.Path, progress: bool, memory_budget: int) -> xarray.Dataset:
    """Make, extend or resume a store; leave when all that is asked for is there."""
    if not stores.exists(path):
        zarr_files.check_folder(path.absolute().parent, "sweep: `store`")
        _make(request, path)
    opened = Store(path)
    plan, wanted = _joined(request, opened)
    left = _wanted(plan, request) - opened.done()
    if left or wanted != opened.header:
        zarr_files.check_folder(path, "sweep: `store`")
        with opened.claims() as claims:
            if wanted != opened.header:
                opened.extend(wanted, claims)
                plan, _ = _joined(request, opened)
            _Work(plan, request, opened, claims, memory_budget).finish(progress)
    return opened.dataset(request.grid.labels(), request.seeds)


def _make(request: Request, path: pathlib.Path) -> None:
    tiles = request.tiles()
    programs = request.programs(tiles)
    plan = Plan(request.grid, request.layout(programs), programs)
    header = Header(
        request.identity(), _fingerprints(plan), request.grid.labels(), request.seeds, dict(plan.layout.chunks)
    )
    sizes = tuple(plan.layout.sizes.values())
    empty = {n: np.broadcast_to(np.zeros((), s.dtype), (*sizes, *s.shape)) for n, s in plan.shapes.items()}
    dataset = labelled(empty, request.grid, request.measure)
    dataset.attrs |= provenance.record(request.told(tiles))
    stores.create(path, header, dataset)


def _joined(request: Request, opened: Store) -> tuple[Plan, Header]:
    """What a request wants of a store, and the header that it needs; raise unless they belong together.

    Tiles have the shape that they had when the store was made, so that all its numbers are made alike.
    """
    header, names = opened.header, list(request.grid.over)
    _check_same(opened, stores.differences(header, request.identity(), names, {}))
    wanted = header.extended(request.grid.labels(), request.seeds)
    grid = request.grid.within(wanted.over)
    block = [header.chunks[name] for name in grid.traced]
    tiles = {choice: Tile.of(grid.network(choice), block) for choice in request.grid.choices_in(grid)}
    plan = Plan(grid, wanted.layout, dataclasses.replace(request, grid=grid).programs(tiles))
    fingerprints = _fingerprints(plan)
    _check_same(opened, stores.differences(header, request.identity(), names, fingerprints))
    return plan, dataclasses.replace(wanted, programs=header.programs | fingerprints)


def _fingerprints(plan: Plan) -> dict[str, str]:
    return {plan.grid.label(choice): program.fingerprint for choice, program in plan.programs.items()}


def _check_same(opened: Store, differences: list[str]) -> None:
    if differences:
        raise ValueError(
            f"sweep: `store` {opened.path} holds another sweep ({'; '.join(differences)}). Ask for the same, or choose "
            "another name."
        )


def _wanted(plan: Plan, request: Request) -> set[Unit]:
    """Chunks that hold something of what is asked for."""
    labels = request.grid.labels() | {"seed": range(request.seeds)}
    known = plan.grid.labels() | {"seed": range(plan.layout.sizes["seed"])}
    chunks = [
        {known[name].index(label) // plan.layout.chunks[name] for label in values}
        for name, values in ((name, labels[name]) for name in plan.layout.sizes)
    ]
    return set(itertools.product(*chunks))


class _Work:
    """One process at work on a store: takes chunks that nobody has, until none is left."""

    def __init__(self, plan: Plan, request: Request, opened: Store, claims: Claims, memory_budget: int):
        self.plan, self.opened, self.claims, self.memory_budget = plan, opened, claims, memory_budget
        self.wanted = _wanted(plan, request)
        self.failed: dict[Unit, Exception] = {}
        self.mine: set[Unit] = set()
        self.writer = ThreadPoolExecutor(max_workers=1)
        self.writes: collections.deque[Future[None]] = collections.deque()
        self.record = provenance.record({}) | {"host": socket.gethostname(), "networks": 0, "seconds": 0.0}
        self.record.pop("request")
        self.started = self.recorded = time.perf_counter()
        self.advance: Callable[[int], None] = lambda networks: None

    def finish(self, progress: bool) -> None:
        """Until everything wanted is there, computed here or by others."""
        layout, done = self.plan.layout, self.opened.done() & self.wanted
        left = [unit for unit in self.plan.units() if unit in self.wanted - done]
        # Processes begin at different places, so that they seldom ask for the same.
        first = len(left) * jax.process_index() // jax.process_count()
        left = left[first:] + left[:first]
        before = sum(map(layout.networks, done))
        total = before + sum(map(layout.networks, left))
        try:
            with progress_.of(total, "networks", progress, done=before) as self.advance:
                while left:
                    taken = len(self.mine)
                    run(self.plan, self._claimed(left), self._finished, self.memory_budget)
                    self._settle()
                    there = {unit for unit in left if self.opened.is_done(unit)}
                    self.advance(sum(map(layout.networks, there - self.mine)))
                    left = [unit for unit in left if unit not in there and unit not in self.failed]
                    if left and taken == len(self.mine):  # others are at work on all of them
                        time.sleep(stores.WAIT)
        except OSError as error:
            raise OSError(
                error.errno,
                f"sweep: `store` {self.opened.path} can no longer be written ({error.strerror}). What was done before "
                "stays: mend that and run the same again.",
            ) from error
        finally:
            self.writer.shutdown(wait=True)
            with contextlib.suppress(OSError):  # when interrupted: what is written may as well be marked
                self._commit()
                self._record()
                self.claims.clear()
        if self.failed:
            unit, error = next(iter(self.failed.items()))
            raise RuntimeError(
                f"sweep: {len(self.failed)} of {len(self.wanted)} chunks could not be computed; the rest is in "
                f"{self.opened.path}. The first, {stores.unit_name(unit)}: {error}"
            ) from error

    def _claimed(self, left: Sequence[Unit]) -> Iterator[Unit]:
        for unit in left:
            name = stores.unit_name(unit)
            if not self.opened.is_done(unit) and self.claims.take(name):
                if self.opened.is_done(unit):  # by somebody else, just now
                    self.claims.give_back(name)
                else:
                    self.mine.add(unit)
                    yield unit

    def _finished(self, task: Task) -> None:
        if task.error is not None:
            self.failed[task.unit] = task.error
            self.opened.fail(task.unit, task.error)
            self.claims.give_back(stores.unit_name(task.unit))
            return
        self.writes.append(self.writer.submit(self._write, task))
        while len(self.writes) > WRITES_UNDER_WAY:
            self.writes.popleft().result()
        if time.perf_counter() - self.recorded > SECONDS_BETWEEN_RECORDS:
            self._record()

    def _write(self, task: Task) -> None:
        self._marked(self.opened.write(task.unit, task.buffers))

    def _settle(self) -> None:
        while self.writes:
            self.writes.popleft().result()
        self._commit()

    def _commit(self) -> None:
        self._marked(self.opened.commit())

    def _marked(self, units: Sequence[Unit]) -> None:
        for unit in units:
            self.claims.give_back(stores.unit_name(unit))
            self.record["networks"] += self.plan.layout.networks(unit)
            self.advance(self.plan.layout.networks(unit))

    def _record(self) -> None:
        self.recorded = time.perf_counter()
        self.opened.record_run(self.record | {"seconds": round(self.recorded - self.started, 3)})
