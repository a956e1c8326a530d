"""What follows about a value from the equation that makes it: weights, biases, units, what is data, where it is."""

from __future__ import annotations

import math
import re
from typing import Any

import jax.numpy as jnp
from jax.extend import source_info_util

from jaxsat.jax_compat import Tracer
from jaxsat.probing import primitives as kinds
from jaxsat.probing.values import Value, Weight


def linear_map(equation: Any, inputs: list[Value]) -> dict[str, Any]:
    """Facts about the result of a matrix product or convolution: its weight, if one operand is a parameter."""
    left, right = inputs[0], inputs[1]
    leaves = [one for one in (left, right) if one.leaf is not None]
    weight = min(leaves, key=lambda one: -1 if one.leaf is None else one.leaf) if leaves else None
    if equation.primitive.name == "dot_general":
        (left_sum, right_sum), (left_batch, _) = equation.params["dimension_numbers"]
        free = jnp.ndim(left.array) - len(left_sum) - len(left_batch)
        shape, axes = (left.array.shape, left_sum) if weight is left else (right.array.shape, right_sum)
        fan_in = math.prod(shape[i] for i in axes)
        axis = len(left_batch) + free - 1 if weight is left and free else -1
    else:
        numbers = equation.params["dimension_numbers"]
        weight = right if right.leaf is not None else None
        fan_in = right.array.size // right.array.shape[numbers.rhs_spec[0]]
        axis = numbers.out_spec[1]
    maps = () if weight is None else (Weight(weight.array, fan_in, weight.leaf),)
    return {"maps": maps, "unit_axis": axis}


def through(name: str, inputs: list[Value], live: list[Value]) -> dict[str, Any]:
    """What an affine primitive keeps of the linear maps and parameters that it is given."""
    mapped = [one for one in inputs if one.maps]
    facts: dict[str, Any] = {}
    if mapped:
        facts["unit_axis"] = mapped[0].unit_axis
        if name in kinds.AFFINE:
            biases = [one for one in inputs if one.leaf is not None and not one.maps and not one.uniform]
            old = next((one.bias for one in mapped if one.bias is not None), None)
            facts["maps"] = tuple(weight for one in mapped for weight in one.maps)
            facts["bias"] = Weight(biases[0].array, 0, biases[0].leaf) if biases else old
    elif len(live) == 1 and all(one is live[0] or not one.alive for one in inputs):
        facts["leaf"] = live[0].leaf
    return facts


def is_data(one: Value) -> bool:
    """Whether a value is neither a parameter, nor a constant, nor made of sums over axes only."""
    return one.alive and one.leaf is None and not (one.reduced or one.inverse_root or one.uniform)


def is_minus_infinity(one: Value) -> bool:
    """softmax's max(-inf, x), which does nothing."""
    literal = one.address == () and jnp.ndim(one.array) == 0 and not isinstance(one.array, Tracer)
    return literal and float(one.array) == -math.inf


def stack_of(equation: Any) -> tuple[str, ...]:
    """Names of modules around an equation, from `jax.named_scope`, which Flax, Haiku and Equinox set."""
    stack = str(equation.source_info.name_stack)
    return (stack,) if stack else ()


def line_of(equation: Any) -> str:
    """Source line of an equation, 'file.py:12 (function)'; empty where no line of the user's is known."""
    line = source_info_util.summarize(equation.source_info).rsplit("/", 1)[-1]
    return "" if line.startswith("<") or "unknown" in line else re.sub(r":(\d+):\d+", r":\1", line)
