"""Grids of networks: any field of ``MLP`` crossed with seeds, measured, and labelled.

How it is cut up. The arithmetic is done in *tiles* of one fixed shape: so many consecutive seeds times so many grid
points, from the shapes of the request alone. A *chunk* is how many tiles are under way before their results are
fetched, from the memory budget. A chaotic network turns a last-bit difference into one of order 1 within tens of
layers, and another shape of the same product changes last bits; so chunks, budgets and devices decide only who
does which tile, never what a tile is. Same request, same machine: same bits.

Scales are traced and vmapped over inside a tile, where all of them share one draw of the weights. Static fields
(depth, width, activation, ensemble ...) cost one compilation for each combination.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import itertools
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxsat import measures, provenance, storage
from jaxsat.activations import Activation
from jaxsat.measures import Compute, Measure, Variable
from jaxsat.network import MLP, STATIC_FIELDS, TRACED_FIELDS, check_net, check_scale

if TYPE_CHECKING:
    import xarray

# A tile draws about this many bytes of weights. On a CPU drawing is four times faster while the draw fits in the last
# level of cache (measured); an accelerator wants to be filled.
TILE_BYTES = {"cpu": 2**23}
TILE_BYTES_ACCELERATOR = 2**28
MAX_TILE_SEEDS, MAX_TILE_POINTS, MAX_TILES_UNDER_WAY = 1024, 64, 2

_UNITS = {"depth": "layers", "width": "units", "inputs": "units", "outputs": "units"}
_LONG_NAMES = {
    "weight_scale": "weight scale sigma_w",
    "bias_scale": "bias scale sigma_b",
    "depth": "depth L",
    "width": "width n",
    "activation": "activation",
    "ensemble": "weight ensemble",
    "inputs": "input width",
    "outputs": "read-out width",
    "fan": "fan that divides the variance",
    "residual_scale": "residual scale a",
    "normalization": "normalisation",
}


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
        store: a path: where the finished dataset is written, as a new zarr store.
        progress: show networks done, rate and time left on stderr.
        memory_budget: bytes for what one sweep holds on the device at a time; the returned dataset comes on top.

    Returns: an ``xarray.Dataset`` with a variable for each array of each measure; dimensions are the swept names in
    the order of `over`, then "seed", then the measure's own. Units, long names, configuration, versions, root seed
    and time are attributes. Networks with non-finite results stay in as they are (-inf is a legitimate logarithm); how
    many hold a NaN is the attribute `nan_networks` of each variable.

    Raises:
        ValueError: unknown names, empty or non-finite grids, a wrong input width, a measure whose shapes differ
            between networks or that looks at a scale's value, a budget too small for one tile, an unusable store;
            all before any long work.

    Cost: one trace and compilation per combination of static values. Peak device memory below `memory_budget`.

    >>> ds = sweep(MLP(depth=5, width=16), "log_gradient_norms", {"weight_scale": [0.5, 1.0, 2.0]}, seeds=8, progress=False)
    >>> dict(ds.sizes)
    {'weight_scale': 3, 'seed': 8, 'layer': 5}
    >>> bool((ds.log_gradient_norms.mean("seed").diff("layer") > 0).sel(weight_scale=0.5).all())  # it vanishes
    True
    """
    started = time.perf_counter()
    check_net("sweep", net)
    if not isinstance(over, Mapping):
        raise TypeError(f"sweep: `over` must map fields of MLP to values; got {type(over).__name__}.")
    if isinstance(root_seed, bool) or not isinstance(root_seed, (int, np.integer)):
        raise TypeError(f"sweep: `root_seed` must be an integer; got {root_seed!r}.")
    chosen = measures.get(measure, every_depth)
    grid = _Grid.of(net, over)
    inputs = _check_inputs(grid, x)
    _positive("seeds", seeds)
    _positive("memory_budget", memory_budget)
    if store is not None:
        storage.check_new(pathlib.Path(store), "sweep: `store`")
    root = jax.random.key(root_seed)

    programs = [_Program.lower(net, chosen, grid, root, inputs) for net in grid.networks]
    _same_shapes(programs, grid.static_labels())

    shapes = programs[0].shapes
    results = {n: np.empty((len(programs), grid.points, seeds, *s.shape), s.dtype) for n, s in shapes.items()}
    dataset = _label(results, grid, chosen, shapes)  # a view, made first so that labels are checked before long work
    compiling = ThreadPoolExecutor(max_workers=2)  # the next programs compile while this one runs; each takes memory
    try:
        ready = compiling.map(lambda program: program.compile(memory_budget), programs)
        with _progress_bar(progress, len(programs) * grid.points * seeds) as done:
            for index, (program, compiled) in enumerate(zip(programs, ready, strict=True)):
                _fill({n: array[index] for n, array in results.items()}, program.tile, *compiled, grid, done)
    finally:
        compiling.shutdown(wait=False, cancel_futures=True)

    request = {
        "network": {name: _plain(getattr(net, name)) for name in (*STATIC_FIELDS, *TRACED_FIELDS)},
        "over": {name: [_plain(v) for v in values] for name, values in grid.over.items()},
        "measure": chosen.name,
        "seeds": seeds,
        "root_seed": root_seed,
        "every_depth": every_depth,
        "x": "gaussian, unit mean square" if inputs is None else f"given, shape {inputs.shape}",
        "tile": [dataclasses.asdict(program.tile) for program in programs],
    }
    for array in dataset.data_vars.values():
        own = [dim for dim in array.dims if dim not in (*grid.over, "seed")]
        array.attrs["nan_networks"] = int(array.isnull().any(own).sum())
    dataset.attrs |= provenance.record(request, seconds=time.perf_counter() - started)
    if store is not None:
        storage.write(dataset, pathlib.Path(store))
    return dataset


# --- the request -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Grid:
    """The swept fields: static ones as a list of networks, traced ones as flat columns of equal length."""

    over: dict[str, list[Any]]
    networks: list[MLP]
    columns: dict[str, np.ndarray]

    @classmethod
    def of(cls, net: MLP, over: Mapping[str, Any]) -> _Grid:
        values: dict[str, list[Any]] = {}
        for name, given in over.items():
            if name not in STATIC_FIELDS + TRACED_FIELDS:
                near = difflib.get_close_matches(name, STATIC_FIELDS + TRACED_FIELDS, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Fields: {', '.join(STATIC_FIELDS + TRACED_FIELDS)}."
                raise ValueError(f"sweep: `over` must name fields of MLP; got {name!r}. {hint}")
            if isinstance(given, str) or (np.ndim(given) == 0 and not isinstance(given, Sequence)):
                raise TypeError(
                    f"sweep: `over[{name!r}]` must be a sequence of values; got {given!r}. Wrap it in a list."
                )
            values[name] = list(given)
            if not values[name]:
                raise ValueError(f"sweep: `over[{name!r}]` must have at least one value; got none.")
            if name in TRACED_FIELDS:
                check_scale(f"sweep: `over[{name!r}]`", np.asarray(values[name]))
            if len({_plain(v) for v in values[name]}) < len(values[name]):
                raise ValueError(f"sweep: `over[{name!r}]` must have distinct values; got {list(given)}.")
        static = [name for name in values if name in STATIC_FIELDS]
        networks = [
            dataclasses.replace(net, **dict(zip(static, choice, strict=True)))
            for choice in itertools.product(*(values[name] for name in static))
        ]
        traced = [name for name in values if name in TRACED_FIELDS]
        mesh = np.meshgrid(*(np.asarray(values[name], float) for name in traced), indexing="ij")
        return cls(values, networks, {name: m.ravel() for name, m in zip(traced, mesh, strict=True)})

    @property
    def static(self) -> list[str]:
        return [name for name in self.over if name in STATIC_FIELDS]

    @property
    def traced(self) -> list[str]:
        return [name for name in self.over if name in TRACED_FIELDS]

    @property
    def points(self) -> int:
        return math.prod(len(self.over[name]) for name in self.traced)

    def static_labels(self) -> list[str]:
        combinations = itertools.product(*(self.over[name] for name in self.static))
        return [", ".join(f"{n}={_plain(v)}" for n, v in zip(self.static, c, strict=True)) for c in combinations]


def _check_inputs(grid: _Grid, x: ArrayLike | None) -> Array | None:
    if x is None:
        return None
    array = np.asarray(x)
    widths = {net.input_width for net in grid.networks}
    if array.ndim not in (1, 2) or widths != {array.shape[-1]} or array.size == 0:
        raise ValueError(
            f"sweep: `x` must have shape (n_0,) or (batch, n_0) with n_0 = {', '.join(map(str, sorted(widths)))}; "
            f"got {array.shape}. Set `inputs` of MLP to the width of your data."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"sweep: `x` must be finite; got {np.count_nonzero(~np.isfinite(array))} non-finite entries.")
    return jnp.asarray(array, jnp.result_type(float))


def _positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"sweep: `{name}` must be an integer of at least 1; got {value!r}.")


# --- tiles -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Tile:
    """The fixed shape of one unit of arithmetic."""

    seeds: int
    points: int

    @classmethod
    def of(cls, net: MLP, points: int) -> _Tile:
        params = jax.eval_shape(net.init, jax.random.key(0))
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
        target = TILE_BYTES.get(jax.default_backend(), TILE_BYTES_ACCELERATOR)
        seeds = min(MAX_TILE_SEEDS, max(1, target // size))
        return cls(2 ** int(math.log2(seeds)), min(points, MAX_TILE_POINTS))


Run = Callable[[int, Mapping[str, np.ndarray]], Mapping[str, Array]]


@dataclasses.dataclass(frozen=True)
class _Program:
    """One static choice: a traced tile, and what it returns for one network."""

    tile: _Tile
    shapes: dict[str, jax.ShapeDtypeStruct]
    lowered: jax.stages.Lowered
    arguments: tuple[Array, Array | None]

    @classmethod
    def lower(cls, net: MLP, chosen: Measure, grid: _Grid, root: Array, x: Array | None) -> _Program:
        tile = _Tile.of(net, grid.points)

        def one(columns, key, x):
            return chosen(dataclasses.replace(net, **columns), key, x)

        def tiled(first_seed, columns, root, x):
            keys = jax.vmap(lambda s: jax.random.fold_in(root, s))(first_seed + jnp.arange(tile.seeds))
            over_points = jax.vmap(one, in_axes=(0, None, None), axis_size=tile.points)
            over_seeds = jax.vmap(over_points, in_axes=(None, 0, None), out_axes=1)
            return over_seeds(columns, keys, x)

        column = jax.ShapeDtypeStruct((tile.points,), jnp.result_type(float))
        try:
            lowered = jax.jit(tiled).lower(0, dict.fromkeys(grid.traced, column), root, x)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            raise ValueError(
                "sweep: `measure` must return the same shapes and take the same path for every scale, seed and input; "
                "it looked at the value of a traced array. Use jnp.where or jax.lax.cond instead of Python's if. "
                f"({str(error).splitlines()[0]})"
            ) from error
        shapes = {n: jax.ShapeDtypeStruct(info.shape[2:], info.dtype) for n, info in lowered.out_info.items()}
        return cls(tile, shapes, lowered, (root, x))

    def compile(self, memory_budget: int) -> tuple[Run, int]:
        """The compiled tile, and how many of them the budget allows under way."""
        compiled = self.lowered.compile()
        work = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) or 0
        networks = self.tile.seeds * self.tile.points
        size = work + networks * sum(s.dtype.itemsize * math.prod(s.shape) for s in self.shapes.values())
        if size > memory_budget:
            raise ValueError(
                f"sweep: `memory_budget` must hold one tile of {self.tile.seeds} seeds x {self.tile.points} points, "
                f"{size / 2**20:.0f} MiB; got {memory_budget / 2**20:.0f} MiB. Raise it, or sweep fewer scales, layers "
                "or inputs at a time."
            )

        def run(first_seed, columns):
            dtype = jnp.result_type(float)  # asked here: the thread that compiles is outside a caller's enable_x64
            return compiled(first_seed, {k: v.astype(dtype) for k, v in columns.items()}, *self.arguments)

        return run, min(memory_budget // size, MAX_TILES_UNDER_WAY)


def _fill(results: dict[str, np.ndarray], tile: _Tile, run: Run, chunk: int, grid: _Grid, done: Callable) -> None:
    """Compute every tile and put it where it belongs; a chunk of tiles is under way at a time."""
    seeds = next(iter(results.values())).shape[1]
    pieces = itertools.product(range(0, grid.points, tile.points), range(0, seeds, tile.seeds))
    while batch := list(itertools.islice(pieces, chunk)):
        under_way = []
        for point, seed in batch:
            # The last tile repeats its last point rather than changing shape.
            index = np.minimum(np.arange(point, point + tile.points), grid.points - 1)
            under_way.append(run(seed, {name: column[index] for name, column in grid.columns.items()}))
        for (point, seed), found in zip(batch, under_way, strict=True):
            p, s = min(tile.points, grid.points - point), min(tile.seeds, seeds - seed)
            for name, array in found.items():
                results[name][point : point + p, seed : seed + s] = np.asarray(array)[:p, :s]
            done(p * s)


def _same_shapes(programs: list[_Program], labels: list[str]) -> None:
    for program, label in zip(programs, labels, strict=True):
        expected = {n: s.shape for n, s in programs[0].shapes.items()}
        got = {n: s.shape for n, s in program.shapes.items()}
        if got != expected:
            raise ValueError(
                f"sweep: `measure` must return the same shapes for every network; got {expected} for {labels[0]} "
                f"and {got} for {label}. Sweep them apart, or use every_depth=True for depths."
            )


@contextlib.contextmanager
def _progress_bar(show: bool, networks: int) -> Iterator[Callable[[int], Any]]:
    from tqdm import tqdm

    with tqdm(total=networks, unit=" networks", unit_scale=True, disable=not show, file=sys.stderr) as bar:
        yield bar.update


# --- the dataset -----------------------------------------------------------------------------------------------


def _label(results: dict[str, np.ndarray], grid: _Grid, chosen: Measure, shapes: Mapping) -> xarray.Dataset:
    import xarray

    order = [*grid.static, *grid.traced]
    sizes = [len(grid.over[name]) for name in order]
    arrays, own_sizes, coordinates = {}, {}, {}
    for name, array in results.items():
        own = shapes[name].shape
        variable = chosen.variables.get(name, Variable(tuple(f"{name}_axis{i}" for i in range(len(own))), name))
        dims = (*order, "seed", *variable.dims)
        if len(set(dims)) < len(dims) or len(variable.dims) != len(own):
            raise ValueError(
                f"sweep: `measure`: {name} has shape {own} and dimensions {variable.dims}, beside the swept "
                f"{order}; each axis needs one name of its own."
            )
        own_sizes |= dict(zip(variable.dims, own, strict=True))
        coordinates |= variable.coordinates
        array = array.reshape(*sizes, *array.shape[2:])
        labelled = xarray.DataArray(array, dims=dims, attrs={"long_name": variable.long_name, "units": variable.units})
        arrays[name] = labelled.transpose(*grid.over, ...)
    dataset = xarray.Dataset(arrays)
    for name, values in grid.over.items():
        attrs = {"long_name": _LONG_NAMES[name], "units": _UNITS.get(name, "1")}
        dataset = dataset.assign_coords({name: (name, [_plain(v) for v in values], attrs)})
    seeds = dataset.sizes["seed"]
    dataset = dataset.assign_coords(seed=("seed", np.arange(seeds), {"long_name": "seed", "units": "1"}))
    dataset = dataset.assign_coords({name: list(labels) for name, labels in coordinates.items()})
    counted = {
        "layer": "layer, counted from the input",
        "depth": "depth, counted from the input",
        "index": "rank by size",
    }
    for name, long_name in counted.items():
        if name in own_sizes:
            attrs = {"long_name": long_name, "units": "1" if name == "index" else "layers"}
            dataset = dataset.assign_coords({name: (name, np.arange(1, own_sizes[name] + 1), attrs)})
    return dataset


def _plain(value: Any) -> str | int | float:
    """A field's value as a coordinate label."""
    if value is None:
        return "none"
    if isinstance(value, Activation):
        return value.name
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return value.item() if hasattr(value, "item") else value
