"""Tiles: the fixed shape in which a sweep does its arithmetic, and the compiled programs that do it.

A chaotic network turns a last-bit difference into a difference of order 1 within tens of layers, and another shape of
the same product changes last bits. So the arithmetic is done in tiles: some consecutive seeds times a block of the
swept scales. Their shape follows from the request alone. Chunks, memory, devices and hosts only decide who does which
tile, and several devices do a tile each at the same time.

Scales are traced, and vmapped over inside a tile. Each combination of static fields (depth, width, activation, ensemble
...) is a program of its own. Weights are drawn by a program apart, once for all activations and all scales.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Array

from jaxsat import addresses
from jaxsat.jax_compat import eval_jaxpr
from jaxsat.linalg.lapack import holds_lapack_calls
from jaxsat.networks.mlp import MLP
from jaxsat.networks.protocol import any_of, gaussian_input, weight_count

# A tile draws about this many bytes of weights. On a CPU drawing is four times faster while the draw fits in the last
# level of cache (measured); an accelerator wants to be filled.
DRAWN_BYTES = {"cpu": 2**23}
DRAWN_BYTES_ACCELERATOR = 2**28
MAX_TILE_SEEDS, MAX_TILE_POINTS = 1024, 64
# Of all points of a tile, for a seed: states, or Jacobians of steps, of networks other than MLPs.
MOST_STATE_BYTES = 2**28

Tree = Any  # a pytree of arrays, or of their shapes


@dataclasses.dataclass(frozen=True)
class Tile:
    """The fixed shape of one piece of arithmetic: seeds, and points along each swept scale."""

    seeds: int
    block: tuple[int, ...]

    @classmethod
    def of(cls, net: Any, lengths: Sequence[int], x: Array | None = None, jacobians: bool = False) -> Tile:
        """Return the tile of a network.

        Args:
            net: the network.
            lengths: the numbers of values of the swept scales.
            x: the inputs, or None: they are drawn.
            jacobians: whether Jacobians are measured, which take more memory.
        """
        itemsize = jnp.dtype(jnp.result_type(float)).itemsize
        size, most = weight_count(net) * itemsize, MAX_TILE_POINTS
        if not isinstance(net, MLP):
            given = None if x is None else jax.ShapeDtypeStruct(x.shape, x.dtype)
            states = _state_count(jax.tree.structure(net), given, jacobians) * itemsize
            size, most = size + states, max(1, min(most, MOST_STATE_BYTES // states))
        target = DRAWN_BYTES.get(jax.default_backend(), DRAWN_BYTES_ACCELERATOR)
        seeds = min(MAX_TILE_SEEDS, max(1, target // size))
        block, room = [], most
        for length in reversed(lengths):  # whole rows where they fit
            block.insert(0, min(length, room))
            room //= block[0]
        return cls(2 ** int(math.log2(seeds)), tuple(block))

    @property
    def points(self) -> int:
        """How many points of the grid it has."""
        return math.prod(self.block)


@functools.lru_cache(maxsize=256)
def _state_count(structure: Any, x: jax.ShapeDtypeStruct | None, jacobians: bool) -> int:
    """Return how many numbers the carries of all steps have, or the Jacobians of all steps."""
    net = any_of(structure)

    def scanned(x: Array | None) -> Any:
        key = addresses.root(0)
        if x is not None and x.ndim == len(getattr(net, "input_shape", x.shape)) + 1:
            x = x[0]
        return net.scan(net.init(key), gaussian_input(net, key) if x is None else x)[1:]

    carry, xs = jax.eval_shape(scanned, x)
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(carry))
    steps = max((leaf.shape[0] for leaf in jax.tree.leaves(xs)), default=1)
    return max(1, steps * size * (size if jacobians else 1))


@dataclasses.dataclass(frozen=True)
class TileCorner:
    """Where a tile lies: its first seed, and the value of each swept scale at each of its points."""

    seed: int
    columns: Mapping[str, np.ndarray]


class TileProgram:
    """A function of one tile: traced when it is made, compiled when it is needed, run on several devices at a time.

    Args:
        function: of the arrays of one tile, and of arrays that all tiles share.
        of_tile: shapes of the former, a tuple of pytrees.
        shared: shapes of the latter, a tuple of pytrees.

    Attributes:
        jaxpr: of the function.
        returned: shapes of what it returns.
        fingerprint: of what it computes. The text of the program is the version of its numerics: whatever changes the
            numbers changes the text.
        side_by_side: whether tiles may run at the same time (see ``linalg.lapack``).
    """

    def __init__(self, function: Callable[..., Tree], of_tile: tuple[Tree, ...], shared: tuple[Tree, ...]):
        traced = jax.jit(lambda of_tile, shared: function(*of_tile, *shared)).trace(of_tile, shared)
        lowered = traced.lower()
        text = lowered.as_text()
        self.jaxpr = traced.jaxpr
        self.returned: Tree = lowered.out_info
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.side_by_side = not holds_lapack_calls(text)
        self._shapes = of_tile, shared
        # JAX's default device is the first one: what was lowered for it need not be lowered again.
        self._lowered: dict[Any, jax.stages.Lowered] = {jax.local_devices()[0]: lowered}
        self._compiled: dict[Any, jax.stages.Compiled] = {}

    def lower(self, devices: Sequence[Any]) -> None:
        """Lower the program for its devices, where the caller's ``enable_x64`` is seen: a thread would not see it.

        Each device has a program of its own. A single program for several devices cannot hold philox's products of high
        bits with jaxlib 0.10 ("failed to legalize operation mhlo.unknown").
        """
        structure = jax.tree.structure(self.returned)

        def again(of_tile: Tree, shared: Tree) -> Tree:
            leaves = jax.tree.leaves((of_tile, shared))
            return jax.tree.unflatten(structure, eval_jaxpr(self.jaxpr.jaxpr, self.jaxpr.consts, *leaves))

        for device in devices:
            if device not in self._lowered and device not in self._compiled:
                at = SingleDeviceSharding(device)
                placed = jax.tree.map(
                    lambda s, at=at: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=at), self._shapes
                )
                self._lowered[device] = jax.jit(again).lower(*placed)

    def compile(self, devices: Sequence[Any]) -> int:
        """Compile what was lowered, in whatever thread; return the bytes that a tile takes on a device."""
        for device in devices:
            if device not in self._compiled:
                self._compiled[device] = self._lowered[device].compile()
                self._lowered.pop(device, None)
        analysis = self._compiled[devices[0]].memory_analysis()
        return (getattr(analysis, "temp_size_in_bytes", 0) or 0) + tree_bytes(self.returned)

    def run(self, devices: Sequence[Any], of_tiles: Sequence[tuple[Tree, ...]], shared: tuple[Tree, ...]) -> list[Tree]:
        """Start a tile on each device, and return what each returns."""
        return [self._compiled[device](of_tile, shared) for device, of_tile in zip(devices, of_tiles, strict=True)]


def tree_bytes(shapes: Tree) -> int:
    """Return the bytes of a pytree of arrays, or of their shapes."""
    return sum(s.dtype.itemsize * math.prod(s.shape) for s in jax.tree.leaves(shapes))


def index_shape() -> jax.ShapeDtypeStruct:
    """Return the shape of an index in the default integer dtype."""
    return jax.ShapeDtypeStruct((), jnp.result_type(int))


def seed_keys(first_seed: Array, root: Array, seeds: int) -> Array:
    """Return the keys of consecutive networks."""
    return jax.vmap(lambda seed: addresses.network(root, seed))(first_seed + jnp.arange(seeds))
