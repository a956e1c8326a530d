"""The plan of a sweep: its grid cut into chunks of results, and the programs that fill them. Made once and handed down."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array

from jaxsat import addresses, checks
from jaxsat.networks.grid import Choice, Grid
from jaxsat.networks.mlp import MLP
from jaxsat.results.layout import Layout, Unit
from jaxsat.results.marks import COUNTS
from jaxsat.sweeps.choices import ChoicePrograms
from jaxsat.sweeps.sweep_request import SweepRequest, chunk_lengths
from jaxsat.sweeps.tiles import Tile, TileCorner

if TYPE_CHECKING:
    from jaxsat.results.header import Header

LONGEST_GROUP = 16  # chunks at work together: their results are all in memory


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What a sweep will do.

    Attributes:
        request: what was asked for.
        grid: with all values that the results have; a store may have more of them than the request.
        layout: sizes and chunks of the results.
        programs: of those static choices that are asked for.
        root, x: key of the sweep, and its inputs.
    """

    request: SweepRequest
    grid: Grid
    layout: Layout
    programs: Mapping[Choice, ChoicePrograms]
    root: Array
    x: Array | None

    @classmethod
    def of(cls, request: SweepRequest, store: Header | None = None) -> Plan:
        """Make the plan of a request: a new sweep, or a part of the sweep that a store holds.

        In a store tiles have the shape that they had when it was made, so that all its numbers are made alike.

        Raises:
            ValueError: a measure whose shapes differ between networks, or that looks at the value of a traced array.
        """
        if store is None:
            grid, wanted = request.grid, request.grid.choices()
            lengths = [len(grid.over[name]) for name in grid.traced]
        else:
            grid = request.grid.within(store.over)
            wanted = request.grid.choices_in(grid)
            lengths = [store.chunks[name] for name in grid.traced]
        root = addresses.root(request.root_seed)
        programs = {}
        for choice in wanted:
            net = grid.network(choice)
            tile = Tile.of(net, lengths, request.x, request.takes_jacobians)
            programs[choice] = ChoicePrograms.of(
                net, tile, grid.traced, request.measure, request.measure_identity, root, request.x
            )
        _check_names(grid, programs)
        _check_same_shapes(grid, programs)
        if store is None:
            sizes = {name: len(values) for name, values in grid.over.items()} | {"seed": request.seeds}
            layout = Layout(sizes, chunk_lengths(request, programs))
        else:
            layout = store.layout
        return cls(request, grid, layout, programs, root, request.x)

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Of what is measured of one network."""
        return next(iter(self.programs.values())).shapes

    @property
    def fingerprints(self) -> dict[str, str]:
        """What each static choice computes, under its label."""
        return {self.grid.label(choice): programs.fingerprint for choice, programs in self.programs.items()}

    def choice(self, unit: Unit) -> Choice:
        """Return the static choice of a chunk."""
        index = dict(zip(self.layout.sizes, unit, strict=True))
        return tuple(index[name] for name in self.grid.static)

    def groups(self, units: Iterable[Unit] | None = None) -> list[list[Unit]]:
        """Return chunks in groups that share their draws: the same seeds, and choices that differ in activation only.

        Args:
            units: which chunks; None: all.
        """
        wanted = set(self.layout.units() if units is None else units)
        order: dict[tuple[int, int], list[Unit]] = {}
        draws: dict[tuple[int, int], int] = {}
        for unit in sorted(wanted, key=lambda unit: (self.choice(unit), unit)):
            choice = self.choice(unit)
            if choice in self.programs:
                programs = self.programs[choice]
                shared = id(programs.draw or programs), len(programs.devices())
                number = draws.setdefault(shared, len(draws))
                order.setdefault((number, unit[-1]), []).append(unit)
        groups = [order[key] for key in sorted(order)]
        return [group[i : i + LONGEST_GROUP] for group in groups for i in range(0, len(group), LONGEST_GROUP)]

    def wanted(self) -> set[Unit]:
        """Return the chunks that hold something of what is asked for."""
        labels = self.request.grid.labels | {"seed": range(self.request.seeds)}
        known = self.grid.labels | {"seed": range(self.layout.sizes["seed"])}
        chunks = []
        for name in self.layout.sizes:
            place = {label: index for index, label in enumerate(known[name])}
            chunks.append({place[label] // self.layout.chunks[name] for label in labels[name]})
        return set(itertools.product(*chunks))

    def task(self, unit: Unit) -> Task:
        """Return the work of one chunk."""
        slices = self.layout.slices(unit)
        lengths = tuple(s.stop - s.start for s in slices.values())
        buffers = {n: np.empty((*lengths, *s.shape), s.dtype) for n, s in self.shapes.items()}
        programs = self.programs[self.choice(unit)]
        columns = self.grid.columns({name: s.start for name, s in slices.items()}, programs.tile.block)
        seeds = range(slices["seed"].start, slices["seed"].stop, programs.tile.seeds)
        return Task(unit, programs, [TileCorner(seed, columns) for seed in seeds], buffers)

    def put(self, task: Task, corner: TileCorner, found: Mapping[str, np.ndarray]) -> None:
        """Copy one tile's results to where they belong in a chunk."""
        block = dict(zip(self.grid.traced, task.programs.tile.block, strict=True))
        axes = [block.get(name, 1) for name in self.grid.over]
        for name, array in found.items():
            buffer = task.buffers[name]
            first = corner.seed - task.corners[0].seed
            array = array.reshape(*axes, *array.shape[1:])
            room = buffer[(slice(None),) * len(axes) + (slice(first, first + task.programs.tile.seeds),)]
            room[...] = array[tuple(slice(0, n) for n in room.shape[: len(axes) + 1])]


@dataclasses.dataclass(eq=False)
class Task:
    """A chunk at work: its tiles, and the arrays that they fill."""

    unit: Unit
    programs: ChoicePrograms
    corners: list[TileCorner]
    buffers: dict[str, np.ndarray]
    done: int = 0
    error: Exception | None = None


def _check_names(grid: Grid, programs: Mapping[Choice, ChoicePrograms]) -> None:
    """Raise where an array of the measure has a name that no variable of a dataset can have."""
    taken = {*grid.over, "seed", COUNTS}
    for name in next(iter(programs.values())).shapes:
        if name in taken or not name or "/" in name or name.startswith("."):
            rule = f"name its arrays by words without '/', other than {', '.join(sorted(taken))}"
            raise ValueError(checks.refusal("sweep", "measure", rule, name))


def _check_same_shapes(grid: Grid, programs: Mapping[Choice, ChoicePrograms]) -> None:
    first, *rest = programs
    expected = {name: (s.shape, str(s.dtype)) for name, s in programs[first].shapes.items()}
    for choice in rest:
        got = {name: (s.shape, str(s.dtype)) for name, s in programs[choice].shapes.items()}
        if got != expected:
            raise ValueError(
                f"sweep: `measure` must return the same shapes and dtypes for every network; got {expected} for "
                f"{grid.label(first)} and {got} for {grid.label(choice)}. Sweep them apart"
                + (", or use every_depth=True for depths." if isinstance(grid.base, MLP) else ".")
            )
