"""What a sweep is asked for, checked; how long its chunks are; and its results as a labelled dataset."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxsat import checks
from jaxsat.measures import Measure, Variable, registry
from jaxsat.measures.quantities import COUNTED
from jaxsat.networks.grid import UNITS, Choice, Grid, kind_of, long_name_of, plain
from jaxsat.networks.mlp import MLP
from jaxsat.networks.protocol import check_network, shape_of_input, swept_fields, weight_count
from jaxsat.sweeps.choices import ChoicePrograms
from jaxsat.sweeps.tiles import Tile

if TYPE_CHECKING:
    import xarray

# A chunk takes seconds: its networks times their weights, plus what every network costs, and its bytes stay small.
CHUNK_WORK, NETWORK_WORK, CHUNK_BYTES = 2**33, 2**12, 2**24
LARGEST_CHUNK = 2**18  # networks, so that many processes can share a sweep of a million small ones
SMALLEST_CHUNK = 128  # seeds, unless a tile has fewer: shorter chunks would waste most of each tile if seeds are added


@dataclasses.dataclass(frozen=True, eq=False)
class SweepRequest:
    """The arguments of a sweep that decide its numbers.

    Attributes:
        grid: swept fields and their values.
        measure: what is measured of each network.
        seeds, root_seed, every_depth, x: as of ``jaxsat.sweep``.
        measure_identity: what tells the program of this measure from others in this process.
    """

    grid: Grid
    measure: Measure
    seeds: int
    root_seed: int
    every_depth: bool
    x: Array | None
    measure_identity: Hashable

    @classmethod
    def of(
        cls, net: Any, measure: Any, over: Mapping[str, Any], *, seeds: int, root_seed: int, x: Any, every_depth: bool
    ) -> SweepRequest:
        """Check the arguments of ``jaxsat.sweep``; raise its errors."""
        check_network("sweep", net)
        root_seed = checks.integer("sweep", "root_seed", root_seed, least=0, most=2**32 - 1)
        seeds = checks.size("sweep", "seeds", seeds)
        registry.get(measure, every_depth)  # raises for unknown names before anything else is looked at
        grid = Grid.of(net, over)
        chosen = registry.get(measure, every_depth, grid.networks()[0])
        _check_held(grid)
        inputs = _inputs(grid, x)
        parts = [measure] if isinstance(measure, str) or not isinstance(measure, Sequence) else measure
        identity = (tuple(parts), bool(every_depth))
        return cls(grid, chosen, seeds, root_seed, bool(every_depth), inputs, identity)

    def identity(self) -> dict[str, Any]:
        """Return what two requests must share for their results to belong together, as plain JSON."""
        base = self.grid.base
        fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
        kind = {} if isinstance(base, MLP) else {"kind": kind_of(base)}
        x = "gaussian, unit mean square"
        if self.x is not None:
            digest = hashlib.sha256(np.asarray(self.x).tobytes()).hexdigest()[:16]
            x = f"given, shape {self.x.shape}, sha256 {digest}"
        return {
            "network": kind | {n: plain(value) for n, value in fields.items() if n not in self.grid.over},
            "measure": self.measure.name,
            "root_seed": self.root_seed,
            "every_depth": self.every_depth,
            "x": x,
            "dtype": str(jnp.result_type(float)),
            "platform": jax.default_backend(),
            "jaxlib": jaxlib.version.__version__,  # compiles the programs, so that last bits are its own
        }

    @property
    def takes_jacobians(self) -> bool:
        """Whether Jacobians are measured, as far as is known."""
        return any("singular_values" in name for name in self.measure.variables)

    def check_size(self, memory_budget: int) -> None:
        """Raise, before anything is traced, where the weights of a single network are more than the memory budget.

        Raises:
            ValueError: such a network.
        """
        for net in self.grid.networks():
            size = weight_count(net) * jnp.dtype(jnp.result_type(float)).itemsize
            if size > memory_budget:
                what = f"depth {net.depth} and width {net.width}" if isinstance(net, MLP) else kind_of(net)
                raise ValueError(
                    f"sweep: `memory_budget` must hold one network; the weights of {what} "
                    f"take {size / 2**20:.0f} MiB; got {memory_budget / 2**20:.0f} MiB. Raise it, or ask for a smaller "
                    "network."
                )

    def as_kept(self, tiles: Iterable[Tile]) -> dict[str, Any]:
        """Return the request as it is kept with its results, plain JSON."""
        tile = [dataclasses.asdict(tile) for tile in tiles]
        return self.identity() | {"over": self.grid.labels, "seeds": self.seeds, "tile": tile}


def _check_held(grid: Grid) -> None:
    """Raise where a scale is too large for the dtype in which the sweep computes."""
    dtype = jnp.dtype(jnp.result_type(float))
    for name in swept_fields(grid.base):
        value = np.asarray(grid.over.get(name, getattr(grid.base, name)), object)
        numbers = np.abs([float(v) for v in np.ravel(value) if v is not None and not isinstance(v, str)])
        if numbers.size and numbers.max() > float(jnp.finfo(dtype).max):
            remedy = "Use float64: jax.config.update('jax_enable_x64', True)."
            raise ValueError(
                checks.refusal("sweep", name, f"be a number that {dtype} holds", float(numbers.max()), remedy)
            )


def chunk_lengths(request: SweepRequest, programs: Mapping[Choice, ChoicePrograms]) -> dict[str, int]:
    """Return the length of a chunk of results along each swept field and "seed": a power of two of seeds."""
    first = next(iter(programs.values()))
    blocks = dict(zip(request.grid.traced, first.tile.block, strict=True))
    sizes = [s.dtype.itemsize * math.prod(s.shape) for s in first.shapes.values()]
    weights = max(weight_count(net) for net in request.grid.networks())
    room = min(
        CHUNK_WORK // ((weights + NETWORK_WORK) * first.tile.points),
        CHUNK_BYTES // max(1, max(sizes) * first.tile.points),
        LARGEST_CHUNK // first.tile.points,
        2 ** math.ceil(math.log2(request.seeds)),
    )
    tile = max(program.tile.seeds for program in programs.values())
    seeds = max(2 ** int(math.log2(max(room, 1))), min(tile, SMALLEST_CHUNK))
    return {name: blocks.get(name, 1) for name in request.grid.over} | {"seed": seeds}


def labelled_sweep(results: Mapping[str, np.ndarray], grid: Grid, measure: Measure) -> xarray.Dataset:
    """Return results as a dataset: dimensions of the grid, "seed", then the measure's own; with units and coordinates.

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
    for name, values in grid.labels.items():
        attrs = {"long_name": long_name_of(name), "units": UNITS.get(name, "1")}
        dataset = dataset.assign_coords({name: (name, values, attrs)})
    seeds = np.arange(dataset.sizes["seed"])
    dataset = dataset.assign_coords(seed=("seed", seeds, {"long_name": "seed", "units": "1"}))
    dataset = dataset.assign_coords({name: list(labels) for name, labels in coordinates.items()})
    for name, (long_name, units) in COUNTED.items():
        if name in sizes:
            attrs = {"long_name": long_name, "units": units}
            dataset = dataset.assign_coords({name: (name, np.arange(1, sizes[name] + 1), attrs)})
    return dataset


def _inputs(grid: Grid, x: ArrayLike | None) -> Array | None:
    networks = grid.networks()
    if x is None:
        for net in networks:
            shape_of_input("sweep", net)
        return None
    array = checks.real_numbers("sweep", "x", x)
    shapes = {net.input_shape for net in networks if hasattr(net, "input_shape")}
    if array.size == 0 or any(shape not in (array.shape, array.shape[1:]) for shape in shapes):
        came = checks.Shown(str(array.shape))
        rule, remedy = f"have shape {' and '.join(map(str, sorted(shapes)))}, or a batch axis before it", ""
        if isinstance(grid.base, MLP):
            rule = f"have shape (n_0,) or (batch, n_0) with n_0 = {', '.join(str(n) for (n,) in sorted(shapes))}"
            remedy = "Set `inputs` of MLP to the width of your data."
        raise ValueError(checks.refusal("sweep", "x", rule, came, remedy))
    if not np.isfinite(array).all():
        count = checks.Shown(f"{np.count_nonzero(~np.isfinite(array))} non-finite entries")
        raise ValueError(checks.refusal("sweep", "x", "be finite", count))
    return jnp.asarray(array, jnp.result_type(float))
