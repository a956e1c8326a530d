"""Rules for what is not elementwise: linear maps, reductions, changes of shape, and everything that has no other rule."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp

from jaxsat.jax_compat import evaluate_equation
from jaxsat.probing import primitives as kinds
from jaxsat.probing.reader import Reader, Step
from jaxsat.probing.values import Facts, Recipe, Value, Weight


def other(reader: Reader, step: Step) -> list[Value]:
    """Read an equation that ends chains: its results are new roots."""
    if step.name not in kinds.KNOWN:
        reader.not_understood(step)
    arrays = evaluate_equation(step.equation, [operand.array for operand in step.inputs])
    reader.use_all(step)
    facts = Facts(alive=any(operand.facts.alive for operand in step.inputs))
    if step.name in kinds.REDUCTIONS:
        facts = dataclasses.replace(facts, reduced=True, unit_axes=_axes_after_reduction(step))
    if step.name in kinds.LINEAR:
        facts = linear_map(step, facts)
        reader.context.products.update((step.address, weight.leaf) for weight in facts.maps if weight.leaf is not None)
    if step.name in kinds.PIECES:
        first = step.inputs[0].facts
        facts = dataclasses.replace(first, uniform=False, coefficient=False, inverse_root=False, alive=facts.alive)
        return [dataclasses.replace(piece, before=step.inputs[0]) for piece in reader.results_of(step, arrays, facts)]
    return reader.results_of(step, arrays, facts)


def stopped(reader: Reader, step: Step) -> list[Value]:
    """Read a stop_gradient: it ends chains, and what comes out is the same value as a new root."""
    (value,) = step.inputs
    reader.use(value, step.name, step)
    (array,) = evaluate_equation(step.equation, [value.array])
    return reader.results_of(step, [array], value.facts, recipes=value.facts.uniform)


def _axes_after_reduction(step: Step) -> tuple[int, ...]:
    """Return the axes of the units after a reduction: none if it was over all of them."""
    value = step.inputs[0]
    gone = [int(axis) for axis in step.equation.params.get("axes", ())]
    rank = jnp.ndim(value.array)
    if rank == 0:
        return value.facts.unit_axes
    kept = (axis % rank for axis in value.facts.unit_axes if axis % rank not in gone)
    return tuple(axis - sum(other < axis for other in gone) for axis in kept)


def linear_map(step: Step, facts: Facts) -> Facts:
    """Return the facts of a matrix product's or convolution's result: its weight, if one operand is a parameter.

    Where both are, the earlier argument is the weight: parameters come before the data.
    """
    return _product(step, facts) if step.name == "dot_general" else _convolution(step, facts)


def _product(step: Step, facts: Facts) -> Facts:
    left, right = step.inputs
    leaves = [(operand.facts.leaf, operand) for operand in (left, right) if operand.facts.leaf is not None]
    _, weight = min(leaves, key=lambda pair: pair[0], default=(None, None))
    (left_sum, right_sum), (left_batch, right_batch) = step.equation.params["dimension_numbers"]
    free = jnp.ndim(left.array) - len(left_sum) - len(left_batch)
    free_right = jnp.ndim(right.array) - len(right_sum) - len(right_batch)
    scores = weight is None or (len(leaves) == 2 and bool(left_batch)) or left.facts.leaf == right.facts.leaf
    facts = dataclasses.replace(facts, scores=scores and left.facts.alive and right.facts.alive)
    if weight is None:
        return facts
    batch = len(left_batch)  # the result's axes: those of the batch, the free ones of the left, those of the right
    if weight is left:
        shape, axes, own = left.array.shape, left_sum, range(batch, batch + free)
    else:
        shape, axes, own = right.array.shape, right_sum, range(batch + free, batch + free + free_right)
    fan_in = math.prod(shape[i] for i in axes)
    return dataclasses.replace(
        facts, maps=(Weight(weight.array, fan_in, weight.facts.leaf, step.address),), unit_axes=(*range(batch), *own)
    )


def _convolution(step: Step, facts: Facts) -> Facts:
    _, kernel = step.inputs
    numbers = step.equation.params["dimension_numbers"]
    fan_in = kernel.array.size // kernel.array.shape[numbers.rhs_spec[0]]
    weight = Weight(kernel.array, fan_in, kernel.facts.leaf, step.address)
    maps = () if kernel.facts.leaf is None else (weight,)
    return dataclasses.replace(facts, maps=maps, unit_axes=(numbers.out_spec[1],))


def reshaped(reader: Reader, step: Step) -> list[Value]:
    """Read a change of shape: the result is the same value in another shape."""
    (array,) = evaluate_equation(step.equation, [operand.array for operand in step.inputs])
    return [_same_in_another_shape(reader, step, array)]


def _same_in_another_shape(reader: Reader, step: Step, array: Any) -> Value:
    value = step.inputs[0]
    axes = _axes_after(step, value, array)
    uniform = value.facts.uniform or jnp.ndim(array) == 0
    facts = dataclasses.replace(value.facts, uniform=uniform, unit_axes=axes)
    recipe = Recipe(step.equation, [value], 0) if uniform else None
    before = None if uniform else value
    return reader.lift(array, (*step.address, 0), facts, step.position, before=before, recipe=recipe)


def _axes_after(step: Step, value: Value, array: Any) -> tuple[int, ...]:
    """Return the axes of the units after a change of shape: the last one, where it is not known better."""
    rank, axes = jnp.ndim(value.array), value.facts.unit_axes
    if not axes or rank == 0:
        return axes
    if step.name == "transpose":
        return tuple(step.equation.params["permutation"].index(axis % rank) for axis in axes)
    gone = all(value.array.shape[axis] == 1 for axis in axes) and jnp.ndim(array) < rank
    return () if gone else (-1,)


def broadcast(reader: Reader, step: Step) -> list[Value]:
    """Read a broadcast. What it is broadcast from acts as a coefficient, if it is not the same number everywhere."""
    value = step.inputs[0]
    (array,) = evaluate_equation(step.equation, [operand.array for operand in step.inputs])
    kept = Facts(
        alive=any(operand.facts.alive for operand in step.inputs),
        leaf=value.facts.leaf,
        reduced=value.facts.reduced,
        inverse_root=value.facts.inverse_root,
    )
    address = (*step.address, 0)
    if value.facts.uniform:
        recipe = Recipe(step.equation, step.inputs, 0)
        return [reader.lift(array, address, dataclasses.replace(kept, uniform=True), step.position, recipe=recipe)]
    if array.size == jnp.size(value.array):
        return [_same_in_another_shape(reader, step, array)]
    reader.use(value, step.name, step)
    return [reader.lift(array, address, dataclasses.replace(kept, coefficient=True), step.position, before=value)]
