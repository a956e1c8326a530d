"""One optimiser step of several networks, and the compiled program that trains and looks at them.

The state of a network is everything its next step depends on, so a run can stop and go on anywhere. Networks advance
together under ``vmap`` in *tiles* whose size follows from the shape of the network alone, never from how many are asked
for: a network is trained by the same arithmetic whatever runs beside it, to the last bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat import addresses
from jaxsat.networks.grid import Grid
from jaxsat.networks.mlp import MLP, Params
from jaxsat.training.recording import Batch, Record, Snapshot, losses
from jaxsat.training.train_request import LEARNING_RATE

# Weights of a tile, in bytes. On a CPU one network of width 64 keeps the cores busy and wider tiles only leave the cache
# (measured: 80 GFLOP/s alone, 58 for 16 networks of width 128 together); an accelerator wants to be filled.
TILE_BYTES = {"cpu": 2**14}
TILE_BYTES_ACCELERATOR = 2**28
MAX_TILE = 1024


class State(NamedTuple):
    """A network in training.

    Attributes:
        weights: the trained leaves of Params; scales are folded in and left out.
        optimizer: optax's state.
        order: of the examples in this epoch.
        update_ratio: norm of the last update over that of the weights, (depth,); NaN before the first.
        diverged_at: the step at which loss or weights stopped being finite, -1 while they are.
    """

    weights: Params
    optimizer: Any
    order: Array
    update_ratio: Array
    diverged_at: Array


class Data(NamedTuple):
    """Training and test examples, and the training examples on which layers are looked at."""

    train: Batch
    test: Batch | None
    probe: Batch


def tile_size(net: MLP) -> int:
    """Networks advanced together: a power of two, from the network's shape alone."""
    params = jax.eval_shape(net.init, addresses.root(0))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    target = TILE_BYTES.get(jax.default_backend(), TILE_BYTES_ACCELERATOR)
    return 2 ** int(math.log2(min(MAX_TILE, max(1, target // size))))


@dataclasses.dataclass(frozen=True, eq=False)
class Trainer:
    """The functions that make and advance a tile of networks of one static choice.

    Args:
        net: the network; the scales it is swept over are in the columns.
        optimizer: learning rate -> GradientTransformation.
        records: what is looked at.
        batch_size: examples of a minibatch.
        examples: training examples.
    """

    net: MLP
    optimizer: Callable[[Any], Any]
    records: Mapping[str, Record]
    batch_size: int
    examples: int

    def start(self, columns: Mapping[str, Array], seeds: Array, root: Array) -> State:
        """Networks as they are drawn; `columns` and `seeds` have one entry for each."""

        def one(column, seed):
            scales = {name: value for name, value in column.items() if name != LEARNING_RATE}
            drawn = dataclasses.replace(self.net, **scales).init(addresses.network(root, seed)).scaled()
            weights = drawn._replace(weight_scale=None, bias_scale=None, residual_scale=None)
            with _as_optax_is_written():
                state = self.optimizer(column.get(LEARNING_RATE)).init(weights)
            order = jnp.arange(self.examples, dtype=jnp.int32)
            ratio = jnp.full((self.net.depth,), jnp.nan, drawn.first.dtype)
            return State(weights, state, order, ratio, jnp.asarray(-1, jnp.int32))

        return jax.vmap(one)(columns, seeds)

    def advance(
        self, state: State, found: Mapping[str, Array], columns: Mapping[str, Array], seeds: Array, root: Array,
        data: Data, at: Array, first: Array, last: Array,
    ) -> tuple[State, Mapping[str, Array]]:  # fmt: skip
        """Train up to, and record at, each of the steps at[first:last]; `found` has (network, record, ..) arrays."""

        def to_record(index, carry):
            state, found = carry
            begin, end = jnp.where(index == 0, 0, at[index - 1]), at[index]
            state = jax.lax.fori_loop(
                begin, end, lambda step, state: self._steps(state, step, end, columns, seeds, root, data), state
            )
            new = jax.vmap(lambda state, column: self._look(state, column, data))(state, columns)
            return state, {name: array.at[:, index].set(new[name]) for name, array in found.items()}

        return jax.lax.fori_loop(first, last, to_record, (state, dict(found)))

    def shapes(self, columns: Mapping[str, Any], seeds: Any, root: Any, data: Data) -> dict[str, jax.ShapeDtypeStruct]:
        """Of what is recorded, for one network at one time; raises whatever looking raises."""
        state = jax.eval_shape(self.start, columns, seeds, root)
        looked = jax.vmap(lambda state, column: self._look(state, column, data))
        seen = jax.eval_shape(looked, state, columns)
        return {name: jax.ShapeDtypeStruct(s.shape[1:], s.dtype) for name, s in seen.items()}

    def _look(self, state: State, column: Mapping[str, Array], data: Data) -> dict[str, Array]:
        snapshot = Snapshot(self.net, self._whole(state.weights, column), state.update_ratio, *data)
        return {name: record.of(snapshot) for name, record in self.records.items()}

    def _whole(self, weights: Params, column: Mapping[str, Array]) -> Params:
        one = jnp.ones((), weights.first.dtype)
        a = column.get("residual_scale", self.net.residual_scale)
        return weights._replace(
            weight_scale=one, bias_scale=one, residual_scale=None if a is None else jnp.asarray(a, one.dtype)
        )

    def _steps(self, state: State, step: Array, end: Array, columns, seeds: Array, root: Array, data: Data) -> State:
        """One step of every network of the tile."""
        per_epoch = self.examples // self.batch_size
        epoch, place = step // per_epoch, step % per_epoch

        def shuffled(seed):
            key = addresses.epoch(addresses.network(root, seed), epoch)
            return jax.random.permutation(key, jnp.arange(self.examples, dtype=jnp.int32))

        order = jax.lax.cond(place == 0, lambda: jax.vmap(shuffled)(seeds), lambda: state.order)
        chosen = jax.lax.dynamic_slice_in_dim(order, place * self.batch_size, self.batch_size, axis=1)

        def one(state, column, chosen):
            return self._step(state, column, data.train[0][chosen], data.train[1][chosen], step)

        new = jax.vmap(one)(state._replace(order=order), columns, chosen)
        if "update_ratio" not in self.records:
            return new
        ratio = jax.lax.cond(
            step + 1 == end,
            lambda: jax.vmap(_update_ratio)(state.weights, new.weights),
            lambda: state.update_ratio,
        )
        return new._replace(update_ratio=ratio)

    def _step(self, state: State, column: Mapping[str, Array], x: Array, y: Array, step: Array) -> State:
        """One step of one network; it stays where it was once a step is not finite."""

        def loss(weights):
            return jnp.mean(losses(self.net, self._whole(weights, column), x, y)[0])

        value, slope = jax.value_and_grad(loss)(state.weights)
        with _as_optax_is_written():
            update, optimizer = self.optimizer(column.get(LEARNING_RATE)).update(slope, state.optimizer, state.weights)
        weights = jax.tree.map(lambda w, u: w + u.astype(w.dtype), state.weights, update)
        sound = jnp.isfinite(value)
        for leaf in jax.tree.leaves(weights):
            sound = sound & jnp.all(jnp.isfinite(leaf))
        going = sound & (state.diverged_at < 0)
        new, old = (weights, optimizer), (state.weights, state.optimizer)
        weights, optimizer = jax.tree.map(lambda a, b: jnp.where(going, a, b), new, old)
        diverged_at = jnp.where((state.diverged_at < 0) & ~sound, step + 1, state.diverged_at)
        return State(weights, optimizer, state.order, state.update_ratio, diverged_at)


def _update_ratio(old: Params, new: Params) -> Array:
    """Frobenius norms, layers 1 .. depth."""

    def norm(first, hidden):
        return jnp.concatenate([jnp.linalg.norm(first)[None], jnp.linalg.norm(hidden, axis=(1, 2))])

    return norm(new.first - old.first, new.hidden - old.hidden) / norm(old.first, old.hidden)


@contextlib.contextmanager
def _as_optax_is_written():
    """Optimisers rely on implicit promotion: what a caller forbids to its own code is not held against them."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def tiles(grid: Grid, seeds: int, size: int) -> list[tuple[dict[str, np.ndarray], np.ndarray, int]]:
    """Columns and seeds of each tile, and how many of its networks count: the last repeats its last network.

    Networks are counted with seeds varying fastest.
    """
    columns = grid.columns(dict.fromkeys(grid.traced, 0), [len(grid.over[name]) for name in grid.traced])
    count = math.prod(len(grid.over[name]) for name in grid.traced) * seeds
    cut = []
    for start in range(0, count, size):
        index = np.minimum(np.arange(start, start + size), count - 1)
        column = {name: values[index // seeds] for name, values in columns.items()}
        cut.append((column, index % seeds, min(size, count - start)))
    return cut
