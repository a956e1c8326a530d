"""Tiles: the one fixed shape in which a sweep's arithmetic is done, whatever it is cut into.

A chaotic network turns a last-bit difference into one of order 1 within tens of layers, and another shape of the same
product changes last bits. So the arithmetic is done in tiles, so many consecutive seeds times a block of the swept
scales, whose shape follows from the request alone; chunks, memory, devices and hosts only decide who does which tile.
Several devices do a tile each at the same time.

Scales are traced and vmapped over inside a tile, where all of them share one draw of the weights. Static fields
(depth, width, activation, ensemble ...) cost one compilation for each combination.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from jaxsat import addresses
from jaxsat.measures import Measure
from jaxsat.networks.mlp import MLP

# A tile draws about this many bytes of weights. On a CPU drawing is four times faster while the draw fits in the last
# level of cache (measured); an accelerator wants to be filled.
TILE_BYTES = {"cpu": 2**23}
TILE_BYTES_ACCELERATOR = 2**28
MAX_TILE_SEEDS, MAX_TILE_POINTS, MAX_BATCHES_UNDER_WAY = 1024, 64, 2
AXIS = "device"


@dataclasses.dataclass(frozen=True)
class Tile:
    """The fixed shape of one piece of arithmetic: seeds, and points along each swept scale."""

    seeds: int
    block: tuple[int, ...]

    @classmethod
    def of(cls, net: MLP, lengths: Sequence[int]) -> Tile:
        """Of a network and the numbers of values of its swept scales."""
        params = jax.eval_shape(net.init, addresses.root(0))
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
        target = TILE_BYTES.get(jax.default_backend(), TILE_BYTES_ACCELERATOR)
        seeds = min(MAX_TILE_SEEDS, max(1, target // size))
        block, room = [], MAX_TILE_POINTS
        for length in reversed(lengths):  # whole rows where they fit
            block.insert(0, min(length, room))
            room //= block[0]
        return cls(2 ** int(math.log2(seeds)), tuple(block))

    @property
    def points(self) -> int:
        return math.prod(self.block)


@dataclasses.dataclass(frozen=True)
class Place:
    """One tile: its first seed, and the value of each swept scale at each of its points."""

    seed: int
    columns: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """One static choice: a traced tile, and what it returns for one network.

    Attributes:
        tile, scales, arguments: its shape, the swept scales in it, and the root key and the inputs.
        shapes: of what it returns for one network.
        fingerprint: of what it computes: another one, other numbers.
        side_by_side: whether tiles may run at the same time. LAPACK calls of JAX's CPU devices share their threads and
            can wait for each other for good.
        traced: the tile.
    """

    tile: Tile
    scales: tuple[str, ...]
    shapes: dict[str, jax.ShapeDtypeStruct]
    fingerprint: str
    side_by_side: bool
    traced: jax.stages.Traced
    arguments: tuple[Array, Array | None]

    @classmethod
    def of(cls, net: MLP, tile: Tile, scales: Sequence[str], measure: Measure, root: Array, x: Array | None) -> Program:
        """Trace a tile: errors of the measure come up here, before any long work.

        Args:
            net: of the static choice; its swept scales are replaced.
            tile: shape of the piece.
            scales: names of the swept scales.
            measure, root, x: of the sweep.

        Raises:
            ValueError: a measure that looks at the value of a traced array.
        """

        def one(columns, key, x):
            return measure(dataclasses.replace(net, **columns), key, x)

        def tiled(first_seed, columns, root, x):
            keys = jax.vmap(functools.partial(addresses.network, root))(first_seed + jnp.arange(tile.seeds))
            over_points = jax.vmap(one, in_axes=(0, None, None), axis_size=tile.points)
            over_seeds = jax.vmap(over_points, in_axes=(None, 0, None), out_axes=1)
            return over_seeds(columns, keys, x)

        seed = jax.ShapeDtypeStruct((), jnp.result_type(int))
        column = jax.ShapeDtypeStruct((tile.points,), jnp.result_type(float))
        try:
            traced = jax.jit(tiled).trace(seed, dict.fromkeys(scales, column), root, x)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            raise ValueError(
                "sweep: `measure` must return the same shapes and take the same path for every scale, seed and input; "
                "it looked at the value of a traced array. Use jnp.where or jax.lax.cond instead of Python's if. "
                f"({str(error).splitlines()[0]})"
            ) from error
        lowered = traced.lower()
        shapes = {n: jax.ShapeDtypeStruct(info.shape[2:], info.dtype) for n, info in lowered.out_info.items()}
        # The program itself is the version of its numerics: whatever changes them changes its text.
        text = lowered.as_text()
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        return cls(tile, tuple(scales), shapes, fingerprint, "lapack" not in text, traced, (root, x))

    @property
    def tile_bytes(self) -> int:
        """Of what one tile returns."""
        size = sum(s.dtype.itemsize * math.prod(s.shape) for s in self.shapes.values())
        return self.tile.seeds * self.tile.points * size

    def lower(self, devices: Sequence[Any]) -> Lowered:
        """The tile for several devices, each doing one of its own, or for the first alone."""
        devices = devices if self.side_by_side else devices[:1]
        split, everywhere = PartitionSpec(AXIS), PartitionSpec()
        returned = jax.tree.structure(self.shapes)

        def on_each(first_seed, columns, root, x):  # each device sees its tile under a leading axis of one
            arguments = first_seed[0], {name: c[0] for name, c in columns.items()}, root, x
            found = eval_jaxpr(self.traced.jaxpr.jaxpr, self.traced.jaxpr.consts, *jax.tree.leaves(arguments))
            return jax.tree.unflatten(returned, [array[None] for array in found])

        run = jax.shard_map(
            on_each,
            mesh=Mesh(np.array(devices), (AXIS,)),
            in_specs=(split, split, everywhere, everywhere),
            out_specs=split,
            check_vma=False,
        )
        seeds = jax.ShapeDtypeStruct((len(devices),), jnp.result_type(int))
        column = jax.ShapeDtypeStruct((len(devices), self.tile.points), jnp.result_type(float))
        lowered = jax.jit(run).lower(seeds, dict.fromkeys(self.scales, column), *self.arguments)
        return Lowered(self, lowered, len(devices), seeds.dtype, column.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Lowered:
    """A program for its devices, still to be compiled."""

    program: Program
    lowered: jax.stages.Lowered
    devices: int
    seed_dtype: Any
    dtype: Any

    def compile(self, memory_budget: int) -> Compiled:
        """To be run; may be called in a thread, which would not see a caller's ``enable_x64``: nothing here asks for it.

        Raises:
            ValueError: a budget that does not hold one tile.
        """
        compiled, tile = self.lowered.compile(), self.program.tile
        size = (getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) or 0) + self.program.tile_bytes
        if size > memory_budget:
            raise ValueError(
                f"sweep: `memory_budget` must hold one tile of {tile.seeds} seeds x {tile.points} points, "
                f"{size / 2**20:.0f} MiB; got {memory_budget / 2**20:.0f} MiB. Raise it, or sweep fewer scales, layers "
                "or inputs at a time."
            )
        return Compiled(self, compiled, min(memory_budget // size, MAX_BATCHES_UNDER_WAY))


@dataclasses.dataclass(frozen=True, eq=False)
class Compiled:
    """A program ready to run, and how many batches of tiles memory allows under way."""

    lowered: Lowered
    run: jax.stages.Compiled
    under_way: int

    @property
    def devices(self) -> int:
        return self.lowered.devices

    def __call__(self, places: Sequence[Place]) -> Mapping[str, Array]:
        """Start up to as many tiles as there are devices; they come back along a new first axis, filled up by the last."""
        places = [places[min(i, len(places) - 1)] for i in range(self.devices)]
        program = self.lowered.program
        seeds = np.array([place.seed for place in places], self.lowered.seed_dtype)
        columns = {n: np.stack([p.columns[n] for p in places]).astype(self.lowered.dtype) for n in program.scales}
        return self.run(seeds, columns, *program.arguments)
