"""Rules for elementwise equations: they go on with the chain that their operands lie on.

An equation is read in three phases: its operands are sorted, the facts of its result follow from theirs, and the result
is linked to the nearest value that all operands come from.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxsat.jax_compat import Tracer, called_jaxpr, evaluate_equation
from jaxsat.probing import primitives as kinds
from jaxsat.probing.reader import Context, Reader, Step
from jaxsat.probing.values import Facts, Recipe, Value, Weight, between, common_ancestor


class Operands(NamedTuple):
    """The operands of an elementwise equation.

    Attributes:
        inputs: all of them. One that is stretched to the result's shape is a coefficient.
        wide: those that are not the same number everywhere.
        live: those of them that are not coefficients; all of them if every one is.
        only_coefficients: whether every one is.
    """

    inputs: Sequence[Value]
    wide: Sequence[Value]
    live: Sequence[Value]
    only_coefficients: bool


class Bend(NamedTuple):
    """Whether something is nonlinear, and the primitives that make it so."""

    nonlinear: bool
    primitives: frozenset[str]


def read_elementwise(reader: Reader, step: Step) -> list[Value]:
    """Read an elementwise primitive."""
    return _read(reader, step, None)


def _read(reader: Reader, step: Step, bend: Bend | None) -> list[Value]:
    """Read an equation that is elementwise as a whole. `bend`: what it is, where that is known already."""
    arrays = evaluate_equation(step.equation, [operand.array for operand in step.inputs])
    operands = _sorted(reader, step, arrays[0])
    if step.name == "mul":
        scales = [value.facts.leaf for value in operands.inputs if value.facts.uniform or value.facts.coefficient]
        reader.context.products.update((step.address, leaf) for leaf in scales if leaf is not None)
    step = step._replace(inputs=operands.inputs)
    facts = _facts(step.name, operands)
    if not operands.wide:
        return reader.results_of(step, arrays, dataclasses.replace(facts, uniform=True), recipes=True)
    for value in operands.live:
        if value.before is not None:
            reader.use(value, step.name, step)
    if step.name == "mul" and any(value.facts.is_data for value in operands.live):
        for value in operands.inputs:  # a gate that is broadcast
            if value.facts.coefficient and value.facts.is_data and value not in operands.live:
                reader.use(value, "gate", step)
    base = common_ancestor(operands.live)
    if base is None:
        _end_chains(reader, step, operands.live)
        return _linked(reader, step, arrays, facts)
    nonlinear, primitives = bend or _bend_of(step.name, operands)
    for value in operands.live:
        bends, more = between(value, base)
        nonlinear, primitives = nonlinear or bends, primitives | more
    outputs = _linked(reader, step, arrays, facts, parent=base, nonlinear=nonlinear, primitives=primitives)
    if _normalizes(step.name, operands):
        reader.use(outputs[0], "normalization", step)
    return outputs


# --- first: the operands --------------------------------------------------------------------------------------------


def _sorted(reader: Reader, step: Step, result: Any) -> Operands:
    inputs = [_stretched(reader, step, operand, result) for operand in step.inputs]
    mask = inputs[0] if _is_masked(step.name, inputs) else None
    wide = [value for value in inputs if not value.facts.uniform]
    live = [value for value in wide if not value.facts.coefficient and value is not mask]
    return Operands(inputs, wide, live or wide, not live)


def _is_masked(name: str, inputs: Sequence[Value]) -> bool:
    """Return whether this is a choice between entries by a mask that no floating input has a part in."""
    return name == "select_n" and not inputs[0].facts.alive


def _stretched(reader: Reader, step: Step, value: Value, result: Any) -> Value:
    """Return an operand as a coefficient, if its axes of length 1 are broadcast to the result's."""
    facts = value.facts
    if facts.uniform or facts.coefficient or jnp.size(value.array) == result.size:
        return value
    reader.use(value, step.name, step)
    kept = Facts(
        coefficient=True,
        alive=facts.alive,
        leaf=facts.leaf,
        reduced=facts.reduced,
        inverse_root=facts.inverse_root,
    )
    return Value(value.array, value.address, kept, before=value)


# --- second: the facts ----------------------------------------------------------------------------------------------


def _facts(name: str, operands: Operands) -> Facts:
    """Return what is known of the result."""
    all_facts = [value.facts for value in operands.inputs]
    root_of_sums = name in ("sqrt", "rsqrt") and all_facts[0].reduced
    facts = Facts(
        alive=any(one.alive for one in all_facts),
        reduced=all(one.reduced or not one.alive or _is_number(one) for one in all_facts)
        and any(one.reduced for one in all_facts),
        inverse_root=not any(one.is_data for one in all_facts)
        and (any(one.inverse_root for one in all_facts) or root_of_sums),
    )
    if not operands.wide:
        return facts
    axes = operands.live[0].facts.unit_axes
    facts = dataclasses.replace(facts, coefficient=operands.only_coefficients, unit_axes=axes)
    masked = _is_masked(name, operands.inputs)
    if masked or name in kinds.AFFINE | kinds.AFFINE_BESIDE_COEFFICIENTS:
        facts = dataclasses.replace(facts, scores=any(value.facts.scores for value in operands.live))
        return _through_affine(name, operands, facts)
    return facts


def _is_number(facts: Facts) -> bool:
    """Return whether it is a single number that is an argument or a constant, such as the eps of a normalisation."""
    return facts.uniform and facts.leaf is not None


def _through_affine(name: str, operands: Operands, facts: Facts) -> Facts:
    """Return the facts with what an affine primitive keeps of the linear maps and parameters that it is given."""
    mapped = [value.facts for value in operands.inputs if value.facts.maps]
    live = operands.live
    if not mapped:
        alone = len(live) == 1 and all(value is live[0] or not value.facts.alive for value in operands.inputs)
        return dataclasses.replace(facts, leaf=live[0].facts.leaf) if alone else _shifted(name, operands, facts)
    facts = dataclasses.replace(facts, unit_axes=mapped[0].unit_axes)
    if name not in kinds.AFFINE:
        return facts
    biases = [value for value in operands.inputs if _is_bias(value.facts)]
    bias = next((one.bias for one in mapped if one.bias is not None), None)
    if biases:
        bias = Weight(biases[0].array, 0, biases[0].facts.leaf)
    return dataclasses.replace(facts, maps=tuple(weight for one in mapped for weight in one.maps), bias=bias)


def _shifted(name: str, operands: Operands, facts: Facts) -> Facts:
    """Return the facts of data that a parameter is added to, such as the shift after a normalisation."""
    biases = [value for value in operands.inputs if _is_bias(value.facts)]
    data = [value for value in operands.inputs if value.facts.is_data]
    if name not in kinds.AFFINE or len(biases) != 1 or len(data) != 1:
        return facts
    return dataclasses.replace(facts, bias=Weight(biases[0].array, 0, biases[0].facts.leaf))


def _is_bias(facts: Facts) -> bool:
    return facts.leaf is not None and not facts.maps and not facts.uniform


# --- third: the link ------------------------------------------------------------------------------------------------


def _linked(reader: Reader, step: Step, arrays: Sequence[Any], facts: Facts, **links: Any) -> list[Value]:
    """Return the results. Those with a parent can be made again from it."""
    return [
        reader.lift(
            array, (*step.address, k), facts, step.position, scope=step.position.scope,
            recipe=Recipe(step.equation, step.inputs, k) if links else None, **links,
        )
        for k, array in enumerate(arrays)
    ]  # fmt: skip


def _end_chains(reader: Reader, step: Step, live: Sequence[Value]) -> None:
    """Tell that operands which come from nothing in common end here. A product of two data is a gate."""
    gate = step.name == "mul" and sum(value.facts.is_data for value in live) > 1
    for value in live:
        reader.use(value, "gate" if gate else step.name, step)


def _bend_of(name: str, operands: Operands) -> Bend:
    """Return whether a primitive is nonlinear in its live operands."""
    inputs, live = operands.inputs, operands.live
    affine = name in kinds.AFFINE
    if name in kinds.AFFINE_BESIDE_COEFFICIENTS:
        affine = len(live) == 1 and not (name == "div" and live[0] is inputs[1])
    if name == "select_n":
        affine = len(live) == 1 and _is_masked(name, inputs)
    if name == "max":
        affine = any(_is_minus_infinity(value) for value in inputs)
    return Bend(False, frozenset()) if affine else Bend(True, frozenset([name]))


def _is_minus_infinity(value: Value) -> bool:
    """Return whether a value is the literal -inf. softmax's max(-inf, x) does nothing."""
    literal = value.address == () and jnp.ndim(value.array) == 0 and not isinstance(value.array, Tracer)
    return literal and float(value.array) == -math.inf


def _normalizes(name: str, operands: Operands) -> bool:
    """Return whether data is multiplied by an inverse root of sums."""
    scaled = any(
        value.facts.inverse_root and (value.facts.uniform or value.facts.coefficient) for value in operands.inputs
    )
    if name not in ("mul", "div") or not scaled or len(operands.live) != 1 or operands.only_coefficients:
        return False
    facts = operands.live[0].facts  # reduced: features that were pooled before
    return facts.alive and facts.leaf is None and not (facts.inverse_root or facts.uniform)


# --- functions with a derivative of their own -----------------------------------------------------------------------


def custom(reader: Reader, step: Step) -> list[Value]:
    """Read a function with its own derivative: as one elementwise piece if it is one, else only for its values."""
    body = called_jaxpr(step.equation)
    assert body is not None, step.name
    position = step.position
    quiet = Reader(Context(reader.context.rules, cuts=reader.context.cuts), position, {})
    outputs = quiet.run(body, step.inputs, step.address, position)
    live = [value for value in step.inputs if not value.facts.uniform and not value.facts.coefficient]
    base = common_ancestor(live) if live else None
    if base is not None and all(any(node is base for node in value.ancestors()) for value in outputs):
        bends, primitives = zip(*(between(value, base) for value in outputs), strict=True)
        scope = next((value.scope for value in outputs if len(value.scope) > len(position.scope)), position.scope)
        inside = step._replace(position=dataclasses.replace(position, scope=scope))
        return _read(reader, inside, Bend(any(bends), frozenset().union(*primitives)))
    for value in reader.run(body, step.inputs, step.address, position):
        reader.use(value, "output")
    for value in step.inputs:
        reader.use(value, "custom", step)
    arrays = evaluate_equation(step.equation, [value.array for value in step.inputs])
    alive = any(value.facts.alive for value in step.inputs)
    after = step._replace(address=(*step.address, "custom"))
    return reader.results_of(after, arrays, Facts(alive=alive))
