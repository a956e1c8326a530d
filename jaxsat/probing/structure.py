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
        facts = dataclasses.replace(facts, reduced=True)
    if step.name in kinds.LINEAR:
        facts = linear_map(step, facts)
    if step.name in kinds.PIECES:
        first = step.inputs[0].facts
        facts = dataclasses.replace(first, uniform=False, coefficient=False, inverse_root=False, alive=facts.alive)
    return reader.results_of(step, arrays, facts)


def linear_map(step: Step, facts: Facts) -> Facts:
    """Return the facts of a matrix product's or convolution's result: its weight, if one operand is a parameter.

    Where both are, the earlier argument is the weight: parameters come before the data.
    """
    left, right = step.inputs
    if step.name == "dot_general":
        leaves = [(operand.facts.leaf, operand) for operand in (left, right) if operand.facts.leaf is not None]
        _, weight = min(leaves, key=lambda pair: pair[0], default=(None, None))
        (left_sum, right_sum), (left_batch, _) = step.equation.params["dimension_numbers"]
        free = jnp.ndim(left.array) - len(left_sum) - len(left_batch)
        shape, axes = (left.array.shape, left_sum) if weight is left else (right.array.shape, right_sum)
        fan_in = math.prod(shape[i] for i in axes)
        axis = len(left_batch) + free - 1 if weight is left and free else -1
    else:
        numbers = step.equation.params["dimension_numbers"]
        weight = right if right.facts.leaf is not None else None
        fan_in = right.array.size // right.array.shape[numbers.rhs_spec[0]]
        axis = numbers.out_spec[1]
    maps = () if weight is None else (Weight(weight.array, fan_in, weight.facts.leaf),)
    return dataclasses.replace(facts, maps=maps, unit_axis=axis)


def reshaped(reader: Reader, step: Step) -> list[Value]:
    """Read a change of shape: the result is the same value in another shape."""
    (array,) = evaluate_equation(step.equation, [operand.array for operand in step.inputs])
    return [_same_in_another_shape(reader, step, array)]


def _same_in_another_shape(reader: Reader, step: Step, array: Any) -> Value:
    value = step.inputs[0]
    axis = -1
    if step.name == "transpose":
        axis = step.equation.params["permutation"].index(value.facts.unit_axis % max(jnp.ndim(value.array), 1))
    uniform = value.facts.uniform or jnp.ndim(array) == 0
    facts = dataclasses.replace(value.facts, uniform=uniform, unit_axis=axis)
    recipe = Recipe(step.equation, [value], 0) if uniform else None
    before = None if uniform else value
    return reader.lift(array, (*step.address, 0), facts, step.position, before=before, recipe=recipe)


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
    return [reader.lift(array, address, dataclasses.replace(kept, coefficient=True), step.position)]
