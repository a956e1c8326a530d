"""One static choice of a sweep: the programs that draw its networks and measure them, kept in the process."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat import checks
from jaxsat.measures.registry import Measure
from jaxsat.networks.compiled import Programs
from jaxsat.networks.protocol import with_swept
from jaxsat.sweeps.tiles import Tile, TileCorner, TileProgram, index_shape, seed_keys, tree_bytes

SWEEP_PROGRAMS = Programs(most=64)


@dataclasses.dataclass(frozen=True, eq=False)
class ChoicePrograms:
    """The programs of one combination of static values.

    Attributes:
        tile: the shape of their arithmetic.
        scales: names of the swept scales, in the order of the tile's block.
        draw: draws the parameters of a tile's networks; None where the measure draws them itself. Choices that differ in
            activation only have the same one.
        measure: measures a tile.
        shapes: of what is measured of one network.
    """

    tile: Tile
    scales: tuple[str, ...]
    draw: TileProgram | None
    measure: TileProgram
    shapes: dict[str, jax.ShapeDtypeStruct]

    @classmethod
    def of(
        cls, net: Any, tile: Tile, scales: Sequence[str], measure: Measure, identity: Hashable, root: Array,
        x: Array | None,
    ) -> ChoicePrograms:  # fmt: skip
        """Trace the programs, or take those that an earlier sweep of this process has left.

        Args:
            net: of the static choice; its swept scales are replaced.
            tile: shape of the arithmetic.
            scales: names of the swept scales.
            measure: what is measured.
            identity: what tells this measure from others.
            root, x: key of the sweep, and its inputs: only their shapes matter here.

        Raises:
            ValueError: a measure that looks at the value of a traced array.
        """
        draw = None
        if measure.takes_params and hasattr(net, "draw_choices"):
            draw = SWEEP_PROGRAMS.get(
                ("draw", net.draw_choices, tile.seeds, _kind(root)), lambda: _draw(net, tile, root)
            )
        fixed = with_swept(net, dict.fromkeys(scales, 1.0))
        leaves, structure = jax.tree.flatten(fixed)
        given = None if x is None else (x.shape, str(x.dtype))
        key = ("measure", structure, tuple(map(float, leaves)), tile, tuple(scales), identity, given, _kind(root))
        program = SWEEP_PROGRAMS.get(key, lambda: _measure(net, tile, scales, measure, draw, root, x))
        shapes = {n: jax.ShapeDtypeStruct(s.shape[2:], s.dtype) for n, s in program.returned.items()}
        return cls(tile, tuple(scales), draw, program, shapes)

    @property
    def fingerprint(self) -> str:
        """What the programs compute: another fingerprint, other numbers."""
        if self.draw is None:
            return self.measure.fingerprint
        return hashlib.sha256((self.draw.fingerprint + self.measure.fingerprint).encode()).hexdigest()[:16]

    @property
    def side_by_side(self) -> bool:
        """Whether tiles may run at the same time."""
        return all(program.side_by_side for program in self._programs())

    def devices(self) -> list[Any]:
        """Return the devices that may run tiles side by side."""
        local = jax.local_devices()
        return local if self.side_by_side else local[:1]

    def lower(self) -> None:
        """Lower the programs for their devices; to be called where the caller's ``enable_x64`` is seen."""
        for program in self._programs():
            program.lower(self.devices())

    def compile(self, memory_budget: int) -> int:
        """Compile the programs, in whatever thread; return how many bytes a tile takes on a device.

        Raises:
            ValueError: a budget that does not hold one tile.
        """
        size = sum(program.compile(self.devices()) for program in self._programs())
        if size > memory_budget:
            raise ValueError(
                f"sweep: `memory_budget` must hold one tile of {self.tile.seeds} seeds x {self.tile.points} points, "
                f"{size / 2**20:.0f} MiB; got {memory_budget / 2**20:.0f} MiB. Raise it, or sweep fewer scales, layers "
                "or inputs at a time."
            )
        return size

    def _programs(self) -> list[TileProgram]:
        return [self.measure] if self.draw is None else [self.draw, self.measure]

    def start_draw(self, seeds: Sequence[int], root: Array) -> list[Any]:
        """Start to draw the networks of one tile on each device; None for each where the measure draws them itself."""
        if self.draw is None:
            return [None] * len(seeds)
        return self.draw.run(self.devices(), [(_index(seed),) for seed in seeds], (root,))

    def start(
        self, corners: Sequence[TileCorner], drawn: Sequence[Any], root: Array, x: Array | None
    ) -> list[dict[str, Array]]:
        """Start a tile on each device, and return the arrays of each.

        Args:
            corners: a tile for each device.
            drawn: what :meth:`start_draw` returned for their seeds.
            root, x: of the sweep.
        """
        dtype = jnp.result_type(float)
        of_tiles = []
        for corner, own in zip(corners, drawn, strict=True):
            columns = {name: corner.columns[name].astype(dtype) for name in self.scales}
            of_tiles.append((_index(corner.seed), columns, own))
        return self.measure.run(self.devices(), of_tiles, (root, x))

    @property
    def tile_bytes(self) -> int:
        """Bytes that one tile returns."""
        return tree_bytes(self.measure.returned)


def _index(seed: int) -> np.ndarray:
    return np.asarray(seed, jnp.result_type(int))


def _kind(root: Array) -> str:
    return str(jax.random.key_impl(root))


def _draw(net: Any, tile: Tile, root: Array) -> TileProgram:
    def drawn(first_seed, root):
        return jax.vmap(net.init)(seed_keys(first_seed, root, tile.seeds))

    return TileProgram(drawn, (index_shape(),), (root,))


def _measure(
    net: Any, tile: Tile, scales: Sequence[str], measure: Measure, draw: TileProgram | None, root: Array,
    x: Array | None,
) -> TileProgram:  # fmt: skip
    def alone(columns, key, drawn, x):
        network = with_swept(net, columns)
        if drawn is None:
            return measure(network, key, x)
        return measure(network, key, x, network.with_scales(drawn))

    def tiled(first_seed, columns, drawn, root, x):
        keys = seed_keys(first_seed, root, tile.seeds)
        over_points = jax.vmap(alone, in_axes=(0, None, None, None), axis_size=tile.points)
        over_seeds = jax.vmap(over_points, in_axes=(None, 0, 0, None), out_axes=1)
        return over_seeds(columns, keys, drawn, x)

    column = jax.ShapeDtypeStruct((tile.points,), jnp.result_type(float))
    drawn = None if draw is None else draw.returned
    try:
        return TileProgram(tiled, (index_shape(), dict.fromkeys(scales, column), drawn), (root, x))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise ValueError(
            "sweep: `measure` must return the same shapes and take the same path for every scale, seed and input; "
            "it looked at the value of a traced array. Use jnp.where or jax.lax.cond instead of Python's if. "
            f"({checks.first_line(error)})"
        ) from error
