"""One optimiser step of several networks, and the function that trains and looks at them, ready to be compiled.

The state of a network is everything its next step depends on, so a run can stop and go on anywhere. Networks advance
together in *tiles* whose size follows from the shape of the network alone, never from how many are asked for: a network
is trained by the same arithmetic whatever runs beside it, to the last bit.

To look at every new weight for NaN costs as much as the step. So a stretch of steps between two records first watches the
losses alone, and looks at the weights at its end. Only if something is not finite then is the stretch run again from its
start, by the same compiled loop, now with a look at all weights after each step.
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
from jaxsat.networks.protocol import swept_fields, weight_count, with_swept
from jaxsat.training.objective import losses
from jaxsat.training.optimizers import LEARNING_RATE
from jaxsat.training.recording import Batch, Record, Snapshot
from jaxsat.training.weights import drawn_weights, params_of_weights, stacked, update_ratio

# Weights of a tile in bytes, and networks in it. On a CPU a network of width 64 or more is fastest alone. Of width 16,
# eight together take 27 microseconds a step and network instead of 50; of width 32, four take 57 instead of 80. More gain
# little, and make a single network slower. An accelerator wants to be filled.
TILE_BYTES, MAX_TILE = {"cpu": 2**17}, {"cpu": 8}
TILE_BYTES_ACCELERATOR, MAX_TILE_ACCELERATOR = 2**28, 1024


class State(NamedTuple):
    """Networks in training: what their next step depends on. Every leaf has the tile's networks as its first axis.

    Attributes:
        weights: the trained parameters (see ``weights``).
        optimizer: optax's state.
        order: of the examples in this epoch.
        diverged_at: the step at which loss or weights stopped being finite, -1 while they are.
    """

    weights: Any
    optimizer: Any
    order: Array
    diverged_at: Array


class Data(NamedTuple):
    """Training and test examples, and the training examples on which layers are looked at."""

    train: Batch
    test: Batch | None
    probe: Batch


Argument = Any  # of a compiled program: an array of JAX or NumPy, or the shape of one while it is traced


class Networks(NamedTuple):
    """What tells the networks of a tile from each other: the numbers of each, (network,), its seed, and the root key."""

    columns: Mapping[str, Argument]
    seeds: Argument
    root: Argument


class Span(NamedTuple):
    """Steps to do: from `begin`, with a record at each of `ends[:count]`."""

    begin: Argument
    ends: Argument
    count: Argument


def tile_size(net: Any) -> int:
    """Return how many networks advance together: a power of two, from the network's shape alone."""
    platform = jax.default_backend()
    size = weight_count(net) * jnp.dtype(jnp.result_type(float)).itemsize
    target = TILE_BYTES.get(platform, TILE_BYTES_ACCELERATOR)
    most = MAX_TILE.get(platform, MAX_TILE_ACCELERATOR)
    return 2 ** int(math.log2(min(most, max(1, target // size))))


@dataclasses.dataclass(frozen=True, eq=False)
class Trainer:
    """The functions that make and advance a tile of networks of one static choice.

    Args:
        net: the network; its scales are in the columns.
        optimizer: learning rate -> GradientTransformation.
        records: what is looked at.
        batch_size: examples of a minibatch.
        examples: training examples.
    """

    net: Any
    optimizer: Callable[[Any], Any]
    records: Mapping[str, Record]
    batch_size: int
    examples: int

    def start(self, networks: Networks) -> State:
        """Return networks as they are drawn."""

        def drawn(column, seed):
            weights = drawn_weights(self._network(column), addresses.network(networks.root, seed))
            with _as_optax_is_written():
                state = self.optimizer(column.get(LEARNING_RATE)).init(weights)
            order = jnp.arange(self.examples, dtype=jnp.int32)
            return State(weights, state, order, jnp.asarray(-1, jnp.int32))

        return self._each(drawn)(networks.columns, networks.seeds)

    def advance(self, state: State, networks: Networks, data: Data, span: Span) -> tuple[State, dict[str, Array]]:
        """Train and record.

        Returns: the state after the last step of the span, and arrays (network, record, ..); those beyond the count are 0.
        """
        room = len(span.ends)
        recorded = {
            name: jnp.zeros((len(networks.seeds), room, *s.shape), s.dtype)
            for name, s in self.shapes(state, networks, data).items()
        }

        def to_record(index, carry):
            state, begin, recorded = carry
            end = span.ends[index]
            state, before = self._stretch(state, networks, data, begin, end)
            before = jax.tree.map(lambda w: jnp.where(end == 0, jnp.nan, w), before)  # no step was done yet
            new = self._look(state, before, networks, data)
            return state, end, {name: array.at[:, index].set(new[name]) for name, array in recorded.items()}

        state, _, recorded = jax.lax.fori_loop(0, span.count, to_record, (state, span.begin, recorded))
        return state, recorded

    def shapes(self, state: Any, networks: Any, data: Data) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of what is recorded, for one network at one time; raise whatever looking raises."""
        seen = jax.eval_shape(self._look, state, state.weights, networks, data)
        return {name: jax.ShapeDtypeStruct(s.shape[1:], s.dtype) for name, s in seen.items()}

    def _look(self, state: State, before: Any, networks: Networks, data: Data) -> dict[str, Array]:
        """Return what is recorded; `before` are the weights before the last step."""

        def looked(weights, before, column):
            net = self._network(column)
            before, weights = stacked(net, before), stacked(net, weights)
            ratio = update_ratio(net, before, weights)
            snapshot = Snapshot(net, params_of_weights(net, weights, column), ratio, *data)
            return {name: record.of(snapshot) for name, record in self.records.items()}

        return self._each(looked)(state.weights, before, networks.columns)

    def _network(self, column: Mapping[str, Array]) -> Any:
        """Return the network with its own swept numbers."""
        return with_swept(self.net, {name: column[name] for name in swept_fields(self.net) if name in column})

    def _each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function of a tile from that of a network. Batched products of one network would be slower than plain."""
        if tile_size(self.net) > 1:
            return jax.vmap(function)

        def alone(*arguments):
            found = function(*jax.tree.map(lambda array: array[0], arguments))
            return jax.tree.map(lambda array: array[None], found)

        return alone

    def _stretch(self, state: State, networks: Networks, data: Data, begin: Array, end: Array) -> tuple[State, Any]:
        """Return the networks after the steps from `begin` to `end`, and the weights before the last of them."""

        def attempt(carry):
            tries, _, _ = carry
            return tries + 1, *self._through(state, networks, data, (begin, end), careful=tries == 1)

        def unfinished(carry):
            tries, after, _ = carry
            return (tries == 0) | ((tries == 1) & _something_happened(state, after))

        # tries 0: watch the losses; 1: if something is not finite, once more with a look at all weights after each step.
        # A loop and not two calls, so that both are the same compiled arithmetic.
        _, after, before = jax.lax.while_loop(unfinished, attempt, (jnp.zeros((), jnp.int32), state, state.weights))
        return after, before

    def _through(
        self, state: State, networks: Networks, data: Data, bounds: tuple[Array, Array], careful: Array
    ) -> tuple[State, Any]:
        """Do the steps in two parts, all but the last and the last, so that the weights before it are at hand."""
        begin, end = bounds
        last = jnp.maximum(end - 1, begin)
        steps = lambda step, state: self._steps(state, networks, data, step, careful)  # noqa: E731
        if "update_ratio" not in self.records:
            return jax.lax.fori_loop(begin, end, steps, state), state.weights

        def part(index, carry):
            state, _ = carry
            bounds = jnp.where(index == 0, begin, last), jnp.where(index == 0, last, end)
            return jax.lax.fori_loop(*bounds, steps, state), state.weights

        return jax.lax.fori_loop(0, 2, part, (state, state.weights))

    def _steps(self, state: State, networks: Networks, data: Data, step: Array, careful: Array) -> State:
        """Do one step of every network of the tile."""
        per_epoch = self.examples // self.batch_size
        epoch, place = step // per_epoch, step % per_epoch

        def new_order(seed):
            return _shuffled(addresses.epoch(addresses.network(networks.root, seed), epoch), self.examples)

        order = jax.lax.cond(place == 0, lambda: jax.vmap(new_order)(networks.seeds), lambda: state.order)
        chosen = jax.lax.dynamic_slice_in_dim(order, place * self.batch_size, self.batch_size, axis=1)

        def stepped(state, column, chosen):
            batch = [part.at[chosen].get(mode="promise_in_bounds") for part in data.train]
            return self._step(state, column, batch, step, careful)

        return self._each(stepped)(state._replace(order=order), networks.columns, chosen)

    def _step(
        self, state: State, column: Mapping[str, Array], batch: list[Array], step: Array, careful: Array
    ) -> State:
        """Do one step of one network; it stays where it was once a step is not finite."""
        net = self._network(column)

        def loss(weights):
            return jnp.mean(losses(net, params_of_weights(net, weights, column), *batch)[0])

        value, slope = jax.value_and_grad(loss)(state.weights)
        with _as_optax_is_written():
            update, optimizer = self.optimizer(column.get(LEARNING_RATE)).update(slope, state.optimizer, state.weights)
        weights = jax.tree.map(lambda w, u: w + u.astype(w.dtype), state.weights, update)
        sound = jnp.isfinite(value) & jax.lax.cond(careful, lambda: _finite(weights), lambda: jnp.asarray(True))
        going = sound & (state.diverged_at < 0)
        new, old = (weights, optimizer), (state.weights, state.optimizer)
        weights, optimizer = jax.tree.map(lambda a, b: jnp.where(going, a, b), new, old)
        diverged_at = jnp.where((state.diverged_at < 0) & ~sound, step + 1, state.diverged_at)
        return State(weights, optimizer, state.order, diverged_at)


def _shuffled(key: Array, count: int) -> Array:
    """Return 0 .. count - 1 in a random order: that of 32 random bits for each, equal bits in the order of the numbers.

    Bits and number are sorted as one integer of 64 bits, which XLA does four times faster than a sort with an index.
    """
    bits = jax.random.bits(key, (count,), jnp.uint32)
    with jax.enable_x64(True):
        whole = (bits.astype(jnp.uint64) << np.uint64(32)) | jnp.arange(count, dtype=jnp.uint64)
        return (jax.lax.sort(whole) & np.uint64(2**32 - 1)).astype(jnp.int32)


def _finite(weights: Any) -> Array:
    """Return whether all weights of a network are finite."""
    sound = jnp.asarray(True)
    for leaf in jax.tree.leaves(weights):
        sound = sound & jnp.all(jnp.isfinite(leaf))
    return sound


def _something_happened(before: State, after: State) -> Array:
    """Return whether a network of the tile diverged, by its loss or by weights of which the loss says nothing."""
    diverged = after.diverged_at != before.diverged_at
    return jnp.any(diverged | ((before.diverged_at < 0) & ~jax.vmap(_finite)(after.weights)))


@contextlib.contextmanager
def _as_optax_is_written():
    """Allow implicit promotion, which optimisers rely on: a caller may forbid it to its own code."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
