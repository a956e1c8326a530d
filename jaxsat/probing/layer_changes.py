"""How much each linear map's output moves while a network trains, and how much of that its own weight does.

For h = W x after some steps, beside W_0 and h_0 before the first: the *change* is h - h_0, and the *update* is
(W - W_0) x. What earlier layers do is in the first and not in the second.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from jaxsat.checks import Shown, refusal
from jaxsat.jax_compat import ClosedJaxpr, evaluate_equation
from jaxsat.probing import primitives as kinds
from jaxsat.probing.reader import Context, Reader, Step
from jaxsat.probing.reading import read, rule_of
from jaxsat.probing.sites import execution_order
from jaxsat.probing.values import Address, Loop, Value, key_of


class LinearMap(NamedTuple):
    """One use of a weight.

    Attributes:
        name: path of the weight in the parameters.
        fan_in: number of terms of each sum; 1 for a look-up in a table.
        units: number of the output's units.
        address, loops: where it stands.
    """

    name: str
    fan_in: int
    units: int
    address: Address
    loops: tuple[Loop, ...]


class LayerMoves(NamedTuple):
    """Root mean squares of one linear map over the steps of one run.

    Attributes:
        name: of the map, with its iteration in a scan.
        fan_in, units: as of :class:`LinearMap`.
        sizes: of h, before the first step and after each: steps + 1 numbers.
        changes, updates: of h - h_0 and of (W - W_0) x, after each step.
    """

    name: str
    fan_in: int
    units: int
    sizes: np.ndarray
    changes: np.ndarray
    updates: np.ndarray


class Followed(NamedTuple):
    """One short run of training.

    Attributes:
        layers: in the order of execution.
        losses: at each step, before it.
    """

    layers: tuple[LayerMoves, ...]
    losses: np.ndarray


class _Uses:
    """Reads a loss, and hands out what its linear maps take and give."""

    def __init__(self, closed: ClosedJaxpr, names: Sequence[str]) -> None:
        self.closed, self.names = closed, names
        self.maps: dict[str, LinearMap] = {}

    def watch(self, reader: Reader, step: Step, outputs: Sequence[Value]) -> None:
        which = self._weight_of(step, outputs)
        if which is None:
            return
        weight, output = step.inputs[which], outputs[0]
        leaf, key = weight.facts.leaf, key_of(step.address)
        assert leaf is not None
        fan_in = output.facts.maps[0].fan_in if output.facts.maps else 1
        axes = output.facts.unit_axes if jnp.ndim(output.array) else ()
        units = math.prod(output.array.shape[axis] for axis in axes)
        self.maps[key] = LinearMap(self.names[leaf], fan_in, units, step.address, step.position.loops)
        reader.results[key] = output.array, weight.array
        if key in reader.sinks:
            operands = [operand.array for operand in step.inputs]
            operands[which] = reader.sinks[key].astype(weight.array.dtype)
            (before,) = evaluate_equation(step.equation, operands)
            reader.results[key] = output.array, output.array - before

    def _weight_of(self, step: Step, outputs: Sequence[Value]) -> int | None:
        """Return which operand is a weight among the parameters; None if none is."""

        def is_parameter(value: Value) -> bool:
            leaf = value.facts.leaf
            return leaf is not None and 0 <= leaf < len(self.names)

        if step.name == "gather":
            return 0 if is_parameter(step.inputs[0]) and jnp.ndim(step.inputs[0].array) > 1 else None
        if step.name not in kinds.LINEAR or not outputs[0].facts.maps:
            return None
        weight = outputs[0].facts.maps[0].value
        return next((i for i, v in enumerate(step.inputs) if v.array is weight and is_parameter(v)), None)

    def read(self, leaves: Sequence[Any], before: dict[str, Any]) -> dict[str, Any]:
        """Return (h, W) of each map by its key; (h, (W - W_0) x) where `before` has W_0."""
        context = Context(rule_of, watch=self.watch)
        return read(context, self.closed.jaxpr, self.closed.consts, leaves, before)[1]


def follow(
    where: str, loss: Callable[..., Any], params: Any, batches: Iterable[Any], optimizer: optax.GradientTransformation, steps: int
) -> Followed:  # fmt: skip
    """Return how the linear maps of a network move over the first steps of its training, seen at the first batch.

    Args:
        where: what was called, for errors.
        loss: loss(params, batch), or loss(params, *batch) for batches that are tuples.
        params: a pytree of arrays.
        batches: used one a step, from the first again when they end.
        optimizer, steps: of the training.

    Raises:
        ValueError: no batches.
        TypeError: loss does not return a floating scalar.
    """
    data = list(itertools.islice(batches, steps))
    if not data:
        raise ValueError(refusal(where, "batches", "hold at least one batch", Shown("none")))
    call = _caller(loss, data[0])
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") or "params" for path, _ in flat]
    closed, shape = jax.make_jaxpr(call, return_shape=True)(params, data[0])
    if getattr(shape, "shape", None) != () or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise TypeError(refusal(where, "loss_fn", "return one floating scalar", Shown(str(shape))))
    uses = _Uses(closed, names)
    first = jax.tree.leaves(data[0])

    @jax.jit
    def start(params: Any) -> dict[str, Any]:
        return uses.read([*jax.tree.leaves(params), *first], {})

    @jax.jit
    def advance(params: Any, state: Any, batch: Any, kept: dict[str, Any]) -> tuple[Any, ...]:
        value, gradients = jax.value_and_grad(call)(params, batch)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        now = uses.read([*jax.tree.leaves(params), *first], {key: weight for key, (_, weight) in kept.items()})
        sizes = {key: _sizes(uses.maps[key], h, h - kept[key][0], moved) for key, (h, moved) in now.items()}
        return params, state, value, sizes

    kept = start(params)
    begin = {key: _sizes(uses.maps[key], h, h, h)[..., 0] for key, (h, _) in kept.items()}
    state, losses, rows = optimizer.init(params), [], []
    for batch in itertools.islice(itertools.cycle(data), steps):
        params, state, value, sizes = advance(params, state, batch, kept)
        losses.append(float(value))
        rows.append(jax.device_get(sizes))
    return Followed(_layers(uses.maps, jax.device_get(begin), rows), np.array(losses))


def _caller(loss: Callable[..., Any], batch: Any) -> Callable[[Any, Any], Any]:
    """Return loss as a function of parameters and one batch: a tuple is spread out if loss takes several arguments."""
    if isinstance(batch, tuple):
        try:
            inspect.signature(loss).bind(None, batch)
        except TypeError:
            return lambda params, batch: loss(params, *batch)
        except ValueError:  # a function without a signature
            pass
    return loss


def _sizes(found: LinearMap, *arrays: Array) -> Array:
    """Return root mean squares, (.., arrays): over all axes but those of iterations."""
    kept = len([loop for loop in found.loops if loop.length is not None])
    squares = [jnp.mean(jnp.square(x), axis=tuple(range(kept, x.ndim))) for x in arrays]
    return jnp.stack([jnp.sqrt(square) for square in squares], axis=-1)


def _layers(
    maps: dict[str, LinearMap], begin: dict[str, Any], rows: Sequence[dict[str, Any]]
) -> tuple[LayerMoves, ...]:
    found = []
    names = [one.name for one in maps.values()]
    seen: dict[str, int] = {}
    for key, one in maps.items():
        seen[one.name] = seen.get(one.name, 0) + 1
        name = one.name if names.count(one.name) == 1 else f"{one.name}.{seen[one.name]}"
        for turn in np.ndindex(np.shape(begin[key])):
            later = np.array([row[key][turn] for row in rows], float)
            sizes = np.concatenate([[float(begin[key][turn])], later[:, 0]])
            label = name + (f"[{','.join(map(str, turn))}]" if turn else "")
            moves = LayerMoves(label, one.fan_in, one.units, sizes, later[:, 1], later[:, 2])
            found.append((execution_order(one.address, one.loops, turn), moves))
    return tuple(moves for _, moves in sorted(found, key=lambda pair: pair[0]))
