"""The compiled program of one static choice: its tiles, how they start, advance, and are kept on the way."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.networks.grid import Grid
from jaxsat.training.checkpoints import Folder
from jaxsat.training.steps import Data, Trainer, tile_size, tiles
from jaxsat.training.train_request import LEARNING_RATE

SECONDS_BETWEEN_CHECKPOINTS = 5.0


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """One static choice, traced: its tiles, and how they start and advance."""

    cut: list[tuple[dict, np.ndarray, int]]
    shapes: dict[str, jax.ShapeDtypeStruct]
    at: list[int]
    begin: jax.stages.Lowered
    lowered: jax.stages.Lowered
    root: Any
    data: Data

    @classmethod
    def lower(cls, trainer: Trainer, grid: Grid, seeds: int, root: Any, data: Data, at: list[int]) -> Program:
        size = tile_size(trainer.net)
        dtype = jnp.result_type(float)
        columns = {name: jax.ShapeDtypeStruct((size,), dtype) for name in grid.traced}
        drawn = jax.ShapeDtypeStruct((size,), jnp.int32)
        try:
            shapes = trainer.shapes(columns, drawn, root, data)
            state = jax.eval_shape(trainer.start, columns, drawn, root)
            found = {n: jax.ShapeDtypeStruct((size, len(at), *s.shape), s.dtype) for n, s in shapes.items()}
            begin = jax.jit(trainer.start).lower(columns, drawn, root)
            index = jax.ShapeDtypeStruct((), jnp.int32)
            times = jax.ShapeDtypeStruct((len(at),), jnp.int32)
            lowered = jax.jit(trainer.advance).lower(state, found, columns, drawn, root, data, times, index, index)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            if LEARNING_RATE not in grid.over:
                raise
            raise ValueError(
                "train: `optimizer` must take any learning rate the same way; it looked at the value of a traced number. "
                f"Use jnp.where instead of Python's if, and no float(). ({str(error).splitlines()[0]})"
            ) from error
        return cls(tiles(grid, seeds, size), shapes, at, begin, lowered, root, data)

    @property
    def text(self) -> str:
        return self.lowered.as_text()

    @property
    def networks(self) -> int:
        return sum(count for _, _, count in self.cut)

    def run(self, folder: Folder | None, name: str, advance: Callable[[int], Any]) -> dict[str, np.ndarray]:
        """Train every tile, from where it was left in the folder under that name, and return what was recorded.

        Args:
            folder: for checkpoints; None: there are none.
            name: of this program among those of the run.
            advance: told how many steps of networks were done.

        Returns: arrays (network, record, ..), and `diverged_at` (network,).
        """
        begin, program = self.begin.compile(), self.lowered.compile()
        dtype = jnp.result_type(float)
        at = jnp.asarray(self.at, jnp.int32)
        parts: list[dict[str, np.ndarray]] = []
        seconds_a_step = None
        for number, (columns, seeds, count) in enumerate(self.cut):
            columns = {name: jnp.asarray(values, dtype) for name, values in columns.items()}
            seeds = jnp.asarray(seeds, jnp.int32)
            state = begin(columns, seeds, self.root)
            found = {n: jnp.zeros(s.shape, s.dtype) for n, s in self.found().items()}
            done = 0
            if folder is not None and (kept := folder.load(f"{name}-{number}", (state, found))) is not None:
                (state, found), done = kept
                advance(count * self.at[done - 1])
            while done < len(self.at):
                to = self._next(done, seconds_a_step)
                clock = time.perf_counter()
                state, found = jax.block_until_ready(
                    program(state, found, columns, seeds, self.root, self.data, at, jnp.int32(done), jnp.int32(to))
                )
                steps = self.at[to - 1] - (self.at[done - 1] if done else 0)
                seconds_a_step = (time.perf_counter() - clock) / max(steps, 1)
                done = to
                if folder is not None:
                    folder.save(f"{name}-{number}", (state, found), done)
                advance(count * steps)
            whole = {**found, "diverged_at": state.diverged_at}
            parts.append({name: np.asarray(array)[:count] for name, array in whole.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def found(self) -> dict[str, jax.ShapeDtypeStruct]:
        size = len(self.cut[0][1])
        return {n: jax.ShapeDtypeStruct((size, len(self.at), *s.shape), s.dtype) for n, s in self.shapes.items()}

    def _next(self, done: int, seconds_a_step: float | None) -> int:
        """Up to which record to go before the next checkpoint; where that is does not change any result."""
        here = self.at[done - 1] if done else 0
        reach = 0.0 if seconds_a_step is None else SECONDS_BETWEEN_CHECKPOINTS / seconds_a_step
        return max(done + 1, int(np.searchsorted(self.at, here + reach, side="right")))
