"""Grids of networks: any field of ``MLP`` crossed with seeds, measured, and labelled.

The work is cut into chunks of results (``request``), which are computed by tiles of one fixed shape (``tiles``), and kept
in memory or in a store on disk (``store``).
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import math
import pathlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxsat import progress as progress_
from jaxsat import provenance, storage
from jaxsat import store as stores
from jaxsat.claims import Claims
from jaxsat.grid import Grid
from jaxsat.layout import Layout, Unit
from jaxsat.measures import Compute, Measure
from jaxsat.network import MLP
from jaxsat.request import Choice, Request, check_positive, labelled
from jaxsat.store import Header, Store
from jaxsat.tiles import Compiled, Place, Program, Tile

if TYPE_CHECKING:
    import xarray

WRITES_UNDER_WAY = 2
SECONDS_BETWEEN_RECORDS = 10.0


def sweep(
    net: MLP,
    measure: str | Compute | Measure | Sequence[str | Compute | Measure],
    over: Mapping[str, Sequence[Any] | ArrayLike],
    *,
    seeds: int = 100,
    root_seed: int = 0,
    x: Float[ArrayLike, "*batch inputs"] | None = None,
    every_depth: bool = False,
    store: str | pathlib.Path | None = None,
    progress: bool = True,
    memory_budget: int = 2**30,
) -> xarray.Dataset:
    """Measure every network of a grid, for many seeds, and return a labelled dataset.

    Args:
        net: the network whose fields are varied.
        measure: a name (``jaxsat.measures.names()``), a function ``(net, key, x) -> dict of arrays``, or several.
        over: field of MLP -> values. Scales cost nothing to compile; each combination of the others costs one
            compilation. Weights are drawn once for all scales: networks that differ only in scale or activation
            share their draws, so differences between them are paired.
        seeds: how many; seed s is the network with key ``fold_in(jax.random.key(root_seed), s)``.
        root_seed: of the whole sweep.
        x: one input (n_0,), a batch of inputs (batch, n_0) that every network sees, or None: a gaussian input of
            unit mean square, drawn for each seed. Which of the axes is reduced over is the measure's business.
        every_depth: adds a "depth" dimension, 1 .. depth, from one pass; for measures that have this form.
        store: a path: a zarr store that is written chunk by chunk, each marked once it is safely on the disk. An
            existing one is resumed: what is there is not computed again, whatever ended the run before; values and
            seeds that it lacks are added. Any number of processes and hosts may work on one store at once, each on its
            own chunks, and all return when everything asked for is there.
        progress: show networks done, rate and time left on stderr: a bar in a terminal, a line now and then elsewhere.
        memory_budget: bytes for what one sweep holds on the device at a time. The returned dataset comes on top, unless
            there is a store: then it is read from there when it is looked at.

    Returns: an ``xarray.Dataset`` with a variable for each array of each measure; dimensions are the swept names in
    the order of `over`, then "seed", then the measure's own. Units, long names, configuration, versions, root seed
    and time are attributes. Networks with non-finite results stay in as they are (-inf is a legitimate logarithm); how
    many hold a NaN is the attribute `nan_networks` of each variable (of the whole store, if there is one).

    All local devices of JAX are used, each on tiles of its own, and results are the same bits however many there are.
    With ``jax.distributed`` each process uses its own devices.

    Raises:
        ValueError: unknown names, empty or non-finite grids, a wrong input width, a measure whose shapes differ
            between networks or that looks at a scale's value, a budget too small for one tile, an unusable store or
            one of another request (the difference is spelled out); all before any long work.
        OSError: the store can no longer be written. What was done before stays.
        RuntimeError: chunks of a store that could not be computed; all others are done.

    Cost: one trace and compilation per combination of static values. Peak device memory below `memory_budget`. Seeds
        are added in whole chunks: the last one, if it was cut short, is computed anew.

    >>> ds = sweep(MLP(depth=5, width=16), "log_gradient_norms", {"weight_scale": [0.5, 1.0, 2.0]}, seeds=8, progress=False)
    >>> dict(ds.sizes)
    {'weight_scale': 3, 'seed': 8, 'layer': 5}
    >>> bool((ds.log_gradient_norms.mean("seed").diff("layer") > 0).sel(weight_scale=0.5).all())  # it vanishes
    True
    """
    started = time.perf_counter()
    request = Request.of(net, measure, over, seeds=seeds, root_seed=root_seed, x=x, every_depth=every_depth)
    check_positive("memory_budget", memory_budget)
    if store is not None:
        return _stored(request, pathlib.Path(store), progress, memory_budget)
    tiles = request.tiles()
    programs = request.programs(tiles)
    plan = _Plan(request.grid, request.layout(programs), programs)
    results = {n: np.empty((*plan.layout.sizes.values(), *s.shape), s.dtype) for n, s in plan.shapes.items()}
    dataset = labelled(
        results, request.grid, request.measure
    )  # a view, made first: labels are checked before long work
    with progress_.of(math.prod(plan.layout.sizes.values()), "networks", progress) as done:

        def finished(task: _Task) -> None:
            if task.error is not None:
                raise task.error
            for name, array in task.buffers.items():
                results[name][tuple(plan.layout.slices(task.unit).values())] = array
            done(plan.layout.networks(task.unit))

        _run(plan, plan.units(), finished, memory_budget)
    for array in dataset.data_vars.values():
        own = [dim for dim in array.dims if dim not in plan.layout.sizes]
        array.attrs["nan_networks"] = int(array.isnull().any(own).sum())
    dataset.attrs |= provenance.record(_told(request, tiles), seconds=time.perf_counter() - started)
    return dataset


def _told(request: Request, tiles: Mapping[Choice, Tile]) -> dict[str, Any]:
    """A request as it is kept with its results."""
    tile = [dataclasses.asdict(tile) for tile in tiles.values()]
    return request.identity() | {"over": request.grid.labels(), "seeds": request.seeds, "tile": tile}


# --- work ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
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

    def task(self, unit: Unit) -> _Task:
        slices = self.layout.slices(unit)
        lengths = tuple(s.stop - s.start for s in slices.values())
        buffers = {n: np.empty((*lengths, *s.shape), s.dtype) for n, s in self.shapes.items()}
        program = self.programs[self.choice(unit)]
        columns = self.grid.columns({name: s.start for name, s in slices.items()}, program.tile.block)
        seeds = range(slices["seed"].start, slices["seed"].stop, program.tile.seeds)
        return _Task(unit, program, [Place(seed, columns) for seed in seeds], buffers)

    def put(self, task: _Task, place: Place, found: Mapping[str, np.ndarray]) -> None:
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
class _Task:
    """A chunk at work: its tiles, and the arrays that they fill."""

    unit: Unit
    program: Program
    places: list[Place]
    buffers: dict[str, np.ndarray]
    done: int = 0
    error: Exception | None = None


def _run(plan: _Plan, units: Iterable[Unit], finished: Callable[[_Task], None], memory_budget: int) -> None:
    """Compute chunks in the order given and hand each over when its last tile is there, or has failed.

    Tiles of several chunks are under way at a time, so that devices do not wait for the host.
    """
    devices = jax.local_devices()
    compiling = ThreadPoolExecutor(max_workers=2)  # the next programs compile while this one runs; each takes memory
    order = list(plan.programs.values())
    compiled: dict[int, Future[Compiled]] = {}
    under_way: collections.deque[tuple[list[tuple[_Task, Place]], Mapping[str, Array] | Exception]] = (
        collections.deque()
    )

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
            run = ready(program)
            while batch := list(itertools.islice(group, run.devices)):
                try:
                    under_way.append((batch, run([place for _, place in batch])))
                except jax.errors.JaxRuntimeError as error:
                    under_way.append((batch, error))
                while len(under_way) >= run.under_way:
                    collect()
        while under_way:
            collect()
    finally:
        compiling.shutdown(wait=False, cancel_futures=True)


# --- in a store ------------------------------------------------------------------------------------------------


def _stored(request: Request, path: pathlib.Path, progress: bool, memory_budget: int) -> xarray.Dataset:
    """Make, extend or resume a store; leave when all that is asked for is there."""
    if not stores.exists(path):
        storage.check_folder(path.absolute().parent, "sweep: `store`")
        _make(request, path)
    opened = Store(path)
    plan, wanted = _joined(request, opened)
    left = _wanted(plan, request) - opened.done()
    if left or wanted != opened.header:
        storage.check_folder(path, "sweep: `store`")
        with opened.claims() as claims:
            if wanted != opened.header:
                opened.extend(wanted, claims)
                plan, _ = _joined(request, opened)
            _Work(plan, request, opened, claims, memory_budget).finish(progress)
    return opened.dataset(request.grid.labels(), request.seeds)


def _make(request: Request, path: pathlib.Path) -> None:
    tiles = request.tiles()
    programs = request.programs(tiles)
    plan = _Plan(request.grid, request.layout(programs), programs)
    header = Header(
        request.identity(), _fingerprints(plan), request.grid.labels(), request.seeds, dict(plan.layout.chunks)
    )
    sizes = tuple(plan.layout.sizes.values())
    empty = {n: np.broadcast_to(np.zeros((), s.dtype), (*sizes, *s.shape)) for n, s in plan.shapes.items()}
    dataset = labelled(empty, request.grid, request.measure)
    dataset.attrs |= provenance.record(_told(request, tiles))
    stores.create(path, header, dataset)


def _joined(request: Request, opened: Store) -> tuple[_Plan, Header]:
    """What a request wants of a store, and the header that it needs; raise unless they belong together.

    Tiles have the shape that they had when the store was made, so that all its numbers are made alike.
    """
    header, names = opened.header, list(request.grid.over)
    _check_same(opened, stores.differences(header, request.identity(), names, {}))
    wanted = header.extended(request.grid.labels(), request.seeds)
    grid = request.grid.within(wanted.over)
    block = [header.chunks[name] for name in grid.traced]
    tiles = {choice: Tile.of(grid.network(choice), block) for choice in request.grid.choices_in(grid)}
    plan = _Plan(grid, wanted.layout, dataclasses.replace(request, grid=grid).programs(tiles))
    fingerprints = _fingerprints(plan)
    _check_same(opened, stores.differences(header, request.identity(), names, fingerprints))
    return plan, dataclasses.replace(wanted, programs=header.programs | fingerprints)


def _fingerprints(plan: _Plan) -> dict[str, str]:
    return {plan.grid.label(choice): program.fingerprint for choice, program in plan.programs.items()}


def _check_same(opened: Store, differences: list[str]) -> None:
    if differences:
        raise ValueError(
            f"sweep: `store` {opened.path} holds another sweep ({'; '.join(differences)}). Ask for the same, or choose "
            "another name."
        )


def _wanted(plan: _Plan, request: Request) -> set[Unit]:
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

    def __init__(self, plan: _Plan, request: Request, opened: Store, claims: Claims, memory_budget: int):
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
                    _run(self.plan, self._claimed(left), self._finished, self.memory_budget)
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

    def _finished(self, task: _Task) -> None:
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

    def _write(self, task: _Task) -> None:
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
