"""Sweeps into stores: made, extended, resumed, and shared with every other process that works on them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxsat.results import locations, new_store, provenance, zarr_files
from jaxsat.results import progress as progress_
from jaxsat.results import store as stores
from jaxsat.results.header import Header, differences_of
from jaxsat.results.layout import Unit
from jaxsat.results.leases import Leases
from jaxsat.results.locations import Location
from jaxsat.results.machine import check_known, this_machine
from jaxsat.results.store import Store
from jaxsat.sweeps.pipeline import Pipeline
from jaxsat.sweeps.plan import Plan, Task
from jaxsat.sweeps.sweep_request import SweepRequest, labelled_sweep

if TYPE_CHECKING:
    import xarray

WRITES_UNDER_WAY = 2
SECONDS_BETWEEN_RECORDS = 10.0


class Extended(Exception):
    """The store has more values or seeds than the plan at hand: somebody has extended it."""


def sweep_into_store(
    request: SweepRequest, path: Location, progress: bool, memory_budget: int, allow_mixed: bool,
    finish: Callable[[Plan, Store, bool], None] | None = None,
) -> xarray.Dataset:  # fmt: skip
    """Make, extend or resume a store; return when all that is asked for is there.

    Args:
        allow_mixed: whether the store may be of another kind of machine than this one.
        finish: computes what the plan asks for and the store lacks; None: this process does.
    """
    plan = None if new_store.exists(path) else _make(request, path)
    opened = Store(path)
    while True:
        wanted = _wanted_header(request, opened)
        if plan is None or plan.layout != wanted.layout:
            plan = Plan.of(request, wanted)
        wanted = dataclasses.replace(wanted, programs=opened.header.programs | plan.fingerprints)
        differences = differences_of(opened.header, request.identity(), list(request.grid.over), plan.fingerprints)
        _check_same(opened, differences)
        if opened.wrong_coordinates():
            with opened.leases() as leases:
                opened.mend_coordinates(leases)
        if wanted == opened.header and plan.wanted() <= opened.done():
            return opened.dataset(request.grid.labels, request.seeds)
        zarr_files.check_folder(path, "sweep: `store`")
        try:
            with opened.leases() as leases:
                if finish is None and _joins(opened, leases, allow_mixed):
                    continue  # the header is another one now
                if wanted != opened.header:
                    opened.extend(wanted, leases)
                if plan.layout == opened.layout and finish is None:
                    _Worker(plan, opened, leases, memory_budget).finish(progress, plan.wanted())
                    return opened.dataset(request.grid.labels, request.seeds)
            if plan.layout == opened.layout and finish is not None:
                finish(plan, opened, progress)
                return opened.dataset(request.grid.labels, request.seeds)
        except Extended:
            opened = Store(path)


def work_on_units(
    request: SweepRequest, path: Location, units: Sequence[Unit], memory_budget: int, allow_mixed: bool
) -> int:
    """Compute some chunks of a store that has its size already; return how many they were."""
    opened = Store(path)
    plan = Plan.of(request, opened.header)
    _check_same(opened, differences_of(opened.header, request.identity(), list(request.grid.over), plan.fingerprints))
    with opened.leases() as leases:
        _joins(opened, leases, allow_mixed)
        _Worker(plan, opened, leases, memory_budget).finish(False, {tuple(unit) for unit in units})
    return len(units)


def _make(request: SweepRequest, path: Location) -> Plan:
    """Make a store with nothing done, and return the plan of its sweep."""
    where = path / stores.STATE if locations.is_address(path) else path.absolute().parent
    zarr_files.check_folder(where, "sweep: `store`")
    plan = Plan.of(request)
    labels, chunks = request.grid.labels, dict(plan.layout.chunks)
    sizes = tuple(plan.layout.sizes.values())
    empty = {n: np.broadcast_to(np.zeros((), s.dtype), (*sizes, *s.shape)) for n, s in plan.shapes.items()}
    dataset = labelled_sweep(empty, request.grid, request.measure)
    known = (*labels, "seed")
    own = {
        str(n): c.values.tolist()
        for n, c in dataset.coords.items()
        if n not in known and c.ndim == 1 and not c.isnull().any()
    }
    header = Header(request.identity(), plan.fingerprints, labels, request.seeds, chunks, [this_machine()], own)
    tiles = [programs.tile for programs in plan.programs.values()]
    dataset.attrs |= provenance.of_run(request.as_kept(tiles))
    new_store.create(path, header, dataset)
    return plan


def _wanted_header(request: SweepRequest, opened: Store) -> Header:
    """Return the header that the store needs for a request; raise, before anything is traced, unless they fit."""
    _check_same(opened, differences_of(opened.header, request.identity(), list(request.grid.over), {}))
    return opened.header.extended(request.grid.labels, request.seeds)


def _check_same(opened: Store, differences: list[str]) -> None:
    if differences:
        raise ValueError(
            f"sweep: `store` {opened.path} holds another sweep ({'; '.join(differences)}). Ask for the same, or choose "
            "another name."
        )


def _joins(opened: Store, leases: Leases, allow_mixed: bool) -> bool:
    """Return whether this machine is new to a store and was added to its header; raise unless that is accepted."""
    here = this_machine()
    if here in opened.header.machines:
        return False
    if not allow_mixed:
        check_known(f"sweep: `store` {opened.path}", here, opened.header.machines)
    opened.admit(here, leases)
    return True


class _Record:
    """What this process has done in a store, written now and then."""

    def __init__(self, opened: Store):
        self._opened = opened
        self._about: dict[str, Any] = provenance.of_run({}) | {"host": socket.gethostname()}
        self._about.pop("request")
        self._networks = 0
        self._started = self._written = time.perf_counter()

    def add(self, networks: int) -> None:
        self._networks += networks

    def write(self, least_seconds: float = 0.0) -> None:
        """Write the record, unless the last record is younger than this number of seconds."""
        now = time.perf_counter()
        if now - self._written >= least_seconds:
            self._written = now
            seconds = round(now - self._started, 3)
            self._opened.record_run(self._about | {"networks": self._networks, "seconds": seconds})


class _Writer:
    """Writes chunks in a thread of its own, while the next chunks are computed.

    Args:
        opened: the store.
        marked: called for each chunk once it is safely on the disk and marked as done.
    """

    def __init__(self, opened: Store, marked: Callable[[Unit], None]):
        self._opened, self._marked = opened, marked
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writes: collections.deque[Future[None]] = collections.deque()

    def write(self, task: Task) -> None:
        """Write a chunk; wait where too many are on their way."""
        self._writes.append(self._thread.submit(self._write, task))
        while len(self._writes) > WRITES_UNDER_WAY:
            self._writes.popleft().result()

    def _write(self, task: Task) -> None:
        for unit in self._opened.write(task.unit, task.buffers):
            self._marked(unit)

    def settle(self) -> None:
        """Wait until all that was given is on the disk and marked."""
        while self._writes:
            self._writes.popleft().result()
        self.commit()

    def commit(self) -> None:
        """Mark what is written, whatever became of the rest."""
        for unit in self._opened.commit():
            self._marked(unit)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=True)


class _Worker:
    """A process at work on a store: takes chunks that nobody has, until none is left."""

    def __init__(self, plan: Plan, opened: Store, leases: Leases, memory_budget: int):
        self._plan, self._opened, self._leases, self._memory_budget = plan, opened, leases, memory_budget
        self._failed: dict[Unit, Exception] = {}
        self._mine: set[Unit] = set()
        self._record = _Record(opened)

    def finish(self, progress: bool, wanted: set[Unit]) -> None:
        """Return when these chunks are there, computed here or by others."""
        layout = self._plan.layout
        done = self._opened.done(wanted)
        before = sum(map(layout.networks, done))
        total = sum(map(layout.networks, wanted))
        with progress_.reported(total, "networks", progress, done=before) as advance:

            def marked(unit: Unit) -> None:
                self._leases.give_back(stores.unit_name(unit))
                self._record.add(layout.networks(unit))
                advance(layout.networks(unit))

            writer = _Writer(self._opened, marked)
            try:
                self._work(wanted - done, writer, advance)
            except Exception as error:
                if not locations.is_lost(error):
                    raise
                raise OSError(
                    getattr(error, "errno", None),
                    f"sweep: `store` {self._opened.path} can no longer be written ({locations.reason_of(error)}). What "
                    "was done before stays: mend that and run the same again.",
                ) from error
            finally:
                writer.close()
                with contextlib.suppress(Exception):  # when interrupted: what is written may as well be marked
                    writer.commit()
                    self._record.write()
                    self._leases.clear()
        if self._failed:
            unit, error = next(iter(self._failed.items()))
            raise RuntimeError(
                f"sweep: {len(self._failed)} of {len(wanted)} chunks could not be computed; the rest is in "
                f"{self._opened.path}. The first, {stores.unit_name(unit)}: {error}"
            ) from error

    def _work(self, left: set[Unit], writer: _Writer, advance: Callable[[int], None]) -> None:
        """Compute what is left, until it is there."""

        def finished(task: Task) -> None:
            if task.error is not None:
                self._failed[task.unit] = task.error
                # The error is raised at the end, whether its note could be written or not.
                with contextlib.suppress(OSError):
                    self._opened.fail(task.unit, task.error)
                self._leases.give_back(stores.unit_name(task.unit))
                return
            writer.write(task)
            self._record.write(SECONDS_BETWEEN_RECORDS)

        while left:
            taken = len(self._mine)
            groups = self._plan.groups(left)
            # Processes begin at different places, so that they seldom ask for the same.
            first = len(groups) * jax.process_index() // jax.process_count()
            Pipeline(self._plan, finished, self._memory_budget).run(self._taken(groups[first:] + groups[:first]))
            writer.settle()
            there = self._opened.done(left)
            advance(sum(map(self._plan.layout.networks, there - self._mine)))
            left = left - there - self._failed.keys()
            if left and taken == len(self._mine):  # others are at work on all of them
                time.sleep(stores.WAIT)
                self._check_not_extended()

    def _taken(self, groups: Iterable[Sequence[Unit]]) -> Iterator[list[Unit]]:
        """Take, of each group, the chunks that nobody has."""
        for group in groups:
            mine = [unit for unit in group if self._take(unit)]
            self._mine |= set(mine)
            yield mine

    def _take(self, unit: Unit) -> bool:
        name = stores.unit_name(unit)
        if self._opened.is_done(unit) or not self._leases.take(name):
            return False
        # Looked at again, now that nobody else can change it: others may have done it, or extended the store, just now.
        self._check_not_extended()
        if self._opened.is_done(unit):
            self._leases.give_back(name)
            return False
        return True

    def _check_not_extended(self) -> None:
        if self._opened.is_extended():
            raise Extended
