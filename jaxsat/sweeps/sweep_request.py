"""What a sweep is asked for, checked, and how its work is cut: tiles of arithmetic, chunks of results."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxsat import addresses
from jaxsat.measures import Measure, Variable, registry
from jaxsat.networks.grid import LONG_NAMES, UNITS, Grid, plain
from jaxsat.networks.mlp import MLP, STATIC_FIELDS, TRACED_FIELDS, check_net
from jaxsat.results.layout import Layout
from jaxsat.sweeps.tiles import Program, Tile

if TYPE_CHECKING:
    import xarray

# A chunk takes seconds: its networks times their weights, plus what every network costs, and its bytes stay small.
CHUNK_WORK, NETWORK_WORK, CHUNK_BYTES = 2**33, 2**12, 2**24
SMALLEST_CHUNK = 128  # seeds, unless a tile has fewer: shorter ones would waste most of each tile if seeds are added

_COUNTED = {
    "layer": "layer, counted from the input",
    "depth": "depth, counted from the input",
    "index": "rank by size",
}

Choice = tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """Arguments of a sweep that decide its numbers."""

    grid: Grid
    measure: Measure
    seeds: int
    root_seed: int
    every_depth: bool
    x: Array | None
    _programs: dict[tuple[str, Tile], Program] = dataclasses.field(default_factory=dict)  # traced already

    @classmethod
    def of(
        cls, net: MLP, measure: Any, over: Mapping[str, Any], *, seeds: int, root_seed: int, x: Any, every_depth: bool
    ) -> Request:
        """Checked; errors as of ``sweep``."""
        check_net("sweep", net)
        if isinstance(root_seed, bool) or not isinstance(root_seed, (int, np.integer)):
            raise TypeError(f"sweep: `root_seed` must be an integer; got {root_seed!r}.")
        chosen = registry.get(measure, every_depth)
        grid = Grid.of(net, over)
        inputs = _inputs(grid, x)
        check_positive("seeds", seeds)
        return cls(grid, chosen, int(seeds), int(root_seed), bool(every_depth), inputs)

    def identity(self) -> dict[str, Any]:
        """What two requests must share for their results to belong together, plain JSON."""
        base = {name: getattr(self.grid.base, name) for name in (*STATIC_FIELDS, *TRACED_FIELDS)}
        x = "gaussian, unit mean square"
        if self.x is not None:
            digest = hashlib.sha256(np.asarray(self.x).tobytes()).hexdigest()[:16]
            x = f"given, shape {self.x.shape}, sha256 {digest}"
        return {
            "network": {name: plain(value) for name, value in base.items() if name not in self.grid.over},
            "measure": self.measure.name,
            "root_seed": self.root_seed,
            "every_depth": self.every_depth,
            "x": x,
            "dtype": str(jnp.result_type(float)),
            "platform": jax.default_backend(),
            "jaxlib": jaxlib.version.__version__,  # compiles the programs, so that last bits are its own
        }

    def tiles(self) -> dict[Choice, Tile]:
        """The shape of a tile for each static choice, in a new sweep."""
        lengths = [len(self.grid.over[name]) for name in self.grid.traced]
        return {choice: Tile.of(self.grid.network(choice), lengths) for choice in self.grid.choices()}

    def programs(self, tiles: Mapping[Choice, Tile]) -> dict[Choice, Program]:
        """A traced tile for each static choice.

        Raises:
            ValueError: a measure whose shapes differ between networks, or that looks at the value of a traced array.
        """
        root = addresses.root(self.root_seed)
        found = {}
        for choice, tile in tiles.items():
            label = self.grid.label(choice), tile
            if label not in self._programs:
                net = self.grid.network(choice)
                self._programs[label] = Program.of(net, tile, self.grid.traced, self.measure, root, self.x)
            found[choice] = self._programs[label]
        first, *rest = found
        expected = {n: s.shape for n, s in found[first].shapes.items()}
        for choice in rest:
            got = {n: s.shape for n, s in found[choice].shapes.items()}
            if got != expected:
                raise ValueError(
                    f"sweep: `measure` must return the same shapes for every network; got {expected} for "
                    f"{self.grid.label(first)} and {got} for {self.grid.label(choice)}. Sweep them apart, or use "
                    "every_depth=True for depths."
                )
        return found

    def chunks(self, programs: Mapping[Choice, Program]) -> dict[str, int]:
        """Lengths of a chunk of results along each swept field and "seed": a power of two of seeds."""
        first = next(iter(programs.values()))
        blocks = dict(zip(self.grid.traced, first.tile.block, strict=True))
        sizes = [s.dtype.itemsize * math.prod(s.shape) for s in first.shapes.values()]
        weights = max(network_weights(net) for net in self.grid.networks())
        room = min(
            CHUNK_WORK // ((weights + NETWORK_WORK) * first.tile.points),
            CHUNK_BYTES // max(1, max(sizes) * first.tile.points),
            2 ** math.ceil(math.log2(self.seeds)),
        )
        tile = max(program.tile.seeds for program in programs.values())
        seeds = max(2 ** int(math.log2(max(room, 1))), min(tile, SMALLEST_CHUNK))
        return {name: blocks.get(name, 1) for name in self.grid.over} | {"seed": seeds}

    def told(self, tiles: Mapping[Choice, Tile]) -> dict[str, Any]:
        """The request as it is kept with its results."""
        tile = [dataclasses.asdict(tile) for tile in tiles.values()]
        return self.identity() | {"over": self.grid.labels(), "seeds": self.seeds, "tile": tile}

    def layout(self, programs: Mapping[Choice, Program]) -> Layout:
        """Of a new sweep."""
        sizes = {name: len(values) for name, values in self.grid.over.items()} | {"seed": self.seeds}
        return Layout(sizes, self.chunks(programs))


def network_weights(net: MLP) -> int:
    """Numbers in the parameters of a network."""
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, addresses.root(0))))


def check_positive(name: str, value: Any) -> None:
    """Raise unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"sweep: `{name}` must be an integer of at least 1; got {value!r}.")


def labelled(results: Mapping[str, np.ndarray], grid: Grid, measure: Measure) -> xarray.Dataset:
    """Arrays with the dimensions of the grid, "seed", and their own, as a dataset with names, units and coordinates.

    Raises:
        ValueError: a measure whose labels do not fit its arrays.
    """
    import xarray

    leading = [*grid.over, "seed"]
    arrays, sizes, coordinates = {}, {}, {}
    for name, array in results.items():
        own = array.shape[len(leading) :]
        variable = measure.variables.get(name, Variable(tuple(f"{name}_axis{i}" for i in range(len(own))), name))
        dims = (*leading, *variable.dims)
        if len(set(dims)) < len(dims) or len(variable.dims) != len(own):
            raise ValueError(
                f"sweep: `measure`: {name} has shape {own} and dimensions {variable.dims}, beside the swept "
                f"{leading}; each axis needs one name of its own."
            )
        sizes |= dict(zip(variable.dims, own, strict=True))
        coordinates |= variable.coordinates
        attrs = {"long_name": variable.long_name, "units": variable.units}
        arrays[name] = xarray.DataArray(array, dims=dims, attrs=attrs)
    dataset = xarray.Dataset(arrays)
    for name, values in grid.labels().items():
        attrs = {"long_name": LONG_NAMES[name], "units": UNITS.get(name, "1")}
        dataset = dataset.assign_coords({name: (name, values, attrs)})
    seeds = np.arange(dataset.sizes["seed"])
    dataset = dataset.assign_coords(seed=("seed", seeds, {"long_name": "seed", "units": "1"}))
    dataset = dataset.assign_coords({name: list(labels) for name, labels in coordinates.items()})
    for name, long_name in _COUNTED.items():
        if name in sizes:
            attrs = {"long_name": long_name, "units": "1" if name == "index" else "layers"}
            dataset = dataset.assign_coords({name: (name, np.arange(1, sizes[name] + 1), attrs)})
    return dataset


def _inputs(grid: Grid, x: ArrayLike | None) -> Array | None:
    if x is None:
        return None
    array = np.asarray(x)
    widths = {net.input_width for net in grid.networks()}
    if array.ndim not in (1, 2) or widths != {array.shape[-1]} or array.size == 0:
        raise ValueError(
            f"sweep: `x` must have shape (n_0,) or (batch, n_0) with n_0 = {', '.join(map(str, sorted(widths)))}; "
            f"got {array.shape}. Set `inputs` of MLP to the width of your data."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"sweep: `x` must be finite; got {np.count_nonzero(~np.isfinite(array))} non-finite entries.")
    return jnp.asarray(array, jnp.result_type(float))
