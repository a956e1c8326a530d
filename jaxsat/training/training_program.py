"""The compiled program of one static choice, kept in the process, and a run of it through all tiles of its networks."""

from __future__ import annotations

import functools
import hashlib
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat import checks
from jaxsat.linalg.lapack import holds_lapack_calls
from jaxsat.networks.compiled import Programs
from jaxsat.networks.grid import Grid
from jaxsat.networks.protocol import swept_fields, with_swept
from jaxsat.results.machine import cores
from jaxsat.training.checkpoints import Folder
from jaxsat.training.concurrency import Stages, side_by_side
from jaxsat.training.optimizers import LEARNING_RATE
from jaxsat.training.steps import Data, Networks, Span, State, Trainer, tile_size

SECONDS_BETWEEN_CHECKPOINTS = 5.0
RECORDS_AT_ONCE = 64  # room for records in the compiled program, so that it does not depend on how many are asked for
TRAINING_PROGRAMS: Programs[TrainingProgram] = Programs(most=32)


class NetworkTile(NamedTuple):
    """Networks that advance together.

    Attributes:
        columns: the traced numbers of each, by name.
        seeds: of each.
        count: how many of them count; the last tile repeats its last network.
    """

    columns: dict[str, np.ndarray]
    seeds: np.ndarray
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]  # a field, not tuple.count


def network_tiles(net: Any, grid: Grid, seeds: int) -> list[NetworkTile]:
    """Return the tiles of one static choice. Networks are counted with seeds varying fastest."""
    size = tile_size(net)
    columns = grid.columns(dict.fromkeys(grid.traced, 0), [len(grid.over[name]) for name in grid.traced])
    points = math.prod(len(grid.over[name]) for name in grid.traced)
    for name in swept_fields(net):  # those that have one value, too, so that they are no part of the compiled program
        if name not in columns and not isinstance(getattr(net, name), (str, type(None))):
            columns[name] = np.full(points, float(getattr(net, name)))
    cut = []
    for start in range(0, points * seeds, size):
        index = np.minimum(np.arange(start, start + size), points * seeds - 1)
        column = {name: values[index // seeds] for name, values in columns.items()}
        cut.append(NetworkTile(column, index % seeds, min(size, points * seeds - start)))
    return cut


class TrainingProgram:
    """Starts and advances a tile of networks. It is traced when it is made and compiled when it is first needed.

    Args:
        trainer: what is compiled.
        networks, data: arrays, or shapes of arrays, that it will be called with.

    Attributes:
        shapes: of what is recorded of one network at one time.
        fingerprint: of what is computed: the text of the program changes with whatever changes its numbers.
        side_by_side: whether tiles may be trained at the same time (see ``linalg.lapack``).

    Raises:
        ValueError: an optimiser that looks at the value of a swept learning rate; what looking at a network raises.
    """

    def __init__(self, trainer: Trainer, networks: Any, data: Any):
        index = jax.ShapeDtypeStruct((), jnp.int32)
        span = Span(index, jax.ShapeDtypeStruct((RECORDS_AT_ONCE,), jnp.int32), index)
        try:
            begin = jax.jit(trainer.start).trace(networks)
            state = jax.tree.map(_shape, begin.out_info)
            self.shapes = trainer.shapes(state, networks, data)
            advance = jax.jit(trainer.advance).trace(state, networks, data, span)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            if LEARNING_RATE not in networks.columns:
                raise
            raise ValueError(
                "train: `optimizer` must take any learning rate the same way; it looked at the value of a traced number. "
                f"Use jnp.where instead of Python's if, and no float(). ({checks.first_line(error)})"
            ) from error
        self._lowered = [begin.lower(), advance.lower()]
        self._compiled: list[jax.stages.Compiled] = []
        text = self._lowered[1].as_text()
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.side_by_side = not holds_lapack_calls(text)
        self._compiling = threading.Lock()

    def compile(self) -> None:
        """Compile what is not compiled yet, in whatever thread."""
        with self._compiling:
            if not self._compiled:
                self._compiled = [lowered.compile() for lowered in self._lowered]
                self._lowered = []

    def start(self, networks: Networks) -> State:
        """Return the networks of a tile as they are drawn."""
        return self._compiled[0](networks)

    def advance(self, state: State, networks: Networks, data: Data, span: Span) -> tuple[State, dict[str, jax.Array]]:
        """Train and record, see :meth:`Trainer.advance`."""
        return self._compiled[1](state, networks, data, span)


def program_of(trainer: Trainer, identity: Hashable, networks: Networks, data: Data) -> TrainingProgram:
    """Return the program of a trainer. An earlier run may have left it: it is used again if nothing that decides it has changed.

    Args:
        trainer: of the static choice.
        identity: what tells its optimiser from others.
        networks, data: the arrays of a tile; only their shapes matter.
    """
    swept = [name for name in swept_fields(trainer.net) if name in networks.columns]
    structure = jax.tree.structure(with_swept(trainer.net, dict.fromkeys(swept, 1.0)))
    arrays, tree = jax.tree.flatten((networks, data))
    shapes = tuple((array.shape, str(array.dtype)) for array in arrays)
    key = (structure, identity, tuple(trainer.records), trainer.batch_size, str(tree), shapes)
    return TRAINING_PROGRAMS.get(key, lambda: TrainingProgram(trainer, *jax.tree.map(_shape, (networks, data))))


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


class ChoiceRun:
    """One static choice in a run: its program, its tiles and the data.

    Args:
        trainer, identity: as of :func:`program_of`.
        cut: the tiles of its networks.
        root: key of the run.
        data: of the run.
        at: steps at which networks are looked at.
    """

    def __init__(
        self, trainer: Trainer, identity: Hashable, cut: Sequence[NetworkTile], root: Any, data: Data, at: Sequence[int]
    ):
        dtype = jnp.result_type(float)
        self.counts = [tile.count for tile in cut]
        self.tiles = [
            Networks({n: c.astype(dtype) for n, c in tile.columns.items()}, tile.seeds.astype(np.int32), root)
            for tile in cut
        ]
        self.data, self.at = data, list(at)
        self.program = program_of(trainer, identity, self.tiles[0], data)

    @property
    def networks(self) -> int:
        """How many networks count."""
        return sum(self.counts)

    def joined(self, tiles: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return what was recorded of all tiles as arrays over all networks."""
        return {name: np.concatenate([tile[name] for tile in tiles]) for name in tiles[0]}

    def tile(
        self, tile: int, folder: Folder | None, name: str, advance: Callable[[int], Any]
    ) -> Stages[dict[str, np.ndarray]]:
        """Train a tile in stages, from where it was left in the folder, and return what was recorded.

        Args:
            tile: its index.
            folder: for checkpoints; None: there are none.
            name: of this choice among those of the run.
            advance: called with the number of steps done, summed over networks.

        Returns: arrays (network, record, ..), and `diverged_at` (network,).
        """
        yield self.program.compile
        count = self.counts[tile]
        found = yield from self._stages(
            self.tiles[tile], folder, f"{name}-{tile}", lambda steps: advance(count * steps)
        )
        return {name: array[:count] for name, array in found.items()}

    def _stages(
        self, networks: Networks, folder: Folder | None, name: str, advance: Callable[[int], Any]
    ) -> Stages[dict[str, np.ndarray]]:
        # Weights are drawn here, in one thread: orthogonal ones by LAPACK.
        state, size = jax.block_until_ready(self.program.start(networks)), len(networks.seeds)
        recorded = {n: np.zeros((size, len(self.at), *s.shape), s.dtype) for n, s in self.program.shapes.items()}
        done, seconds_a_step = 0, None
        if folder is not None and (kept := folder.load(name, (state, recorded))) is not None:
            (state, recorded), done = kept
            recorded = {n: np.array(array) for n, array in recorded.items()}
            advance(self.at[done - 1])
        while done < len(self.at):
            to = self._next(done, seconds_a_step)
            begin, ends = (self.at[done - 1] if done else 0), np.zeros(RECORDS_AT_ONCE, np.int32)
            ends[: to - done] = self.at[done:to]
            span = Span(np.int32(begin), ends, np.int32(to - done))
            state, new, seconds = yield functools.partial(self._timed, state, networks, span)
            for n, array in new.items():
                recorded[n][:, done:to] = np.asarray(array)[:, : to - done]
            steps = self.at[to - 1] - begin
            seconds_a_step = seconds / max(steps, 1)
            done = to
            if folder is not None:
                folder.save(name, (state, recorded), done)
            advance(steps)
        return recorded | {"diverged_at": np.asarray(state.diverged_at)}

    def _timed(self, state: State, networks: Networks, span: Span) -> tuple[State, dict[str, jax.Array], float]:
        clock = time.perf_counter()
        state, new = jax.block_until_ready(self.program.advance(state, networks, self.data, span))
        return state, new, time.perf_counter() - clock

    def _next(self, done: int, seconds_a_step: float | None) -> int:
        """Return up to which record to go before the next checkpoint; where that is does not change any result."""
        here = self.at[done - 1] if done else 0
        reach = 0.0 if seconds_a_step is None else SECONDS_BETWEEN_CHECKPOINTS / seconds_a_step
        far = int(np.searchsorted(self.at, here + reach, side="right"))
        return min(max(done + 1, far), done + RECORDS_AT_ONCE)


def trained(
    runs: Sequence[ChoiceRun], folder: Folder | None, advance: Callable[[int], Any]
) -> list[dict[str, np.ndarray]]:
    """Return what was recorded of all networks of each choice, trained in this process: arrays (network, record, ..).

    On a CPU, a tile for each core is under way at a time. Which tiles those are does not change any result.
    """
    works = {
        (choice, tile): run.tile(tile, folder, str(choice), advance)
        for choice, run in enumerate(runs)
        for tile in range(len(run.tiles))
    }
    threads = jax.default_backend() == "cpu" and all(run.program.side_by_side for run in runs)
    found = side_by_side(works, cores() if threads else 1)
    return [run.joined([found[choice, tile] for tile in range(len(run.tiles))]) for choice, run in enumerate(runs)]
