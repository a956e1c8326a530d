"""Rules for equations that hold jaxprs: each is evaluated as what it is, with another reader inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsat.jax_compat import ClosedJaxpr, jaxpr_as_fun, scan_counts
from jaxsat.probing.reader import Reader, Step
from jaxsat.probing.values import Loop, Value


def checkpoint(reader: Reader, step: Step) -> list[Value]:
    """Read a function whose values are computed again on the way back."""
    reader.use_all(step)
    params = step.equation.params

    def body(arrays, sinks):
        inner = reader.body(step, "", sinks)
        values = inner.entering(step.inputs, arrays)
        outputs = inner.finish(inner.run(params["jaxpr"], values, step.address))
        return outputs, inner.measured()

    again = jax.checkpoint(body, prevent_cse=params["prevent_cse"], policy=params["policy"])
    outputs, results = again([value.array for value in step.inputs], reader.within(step.address))
    reader.results |= results
    return reader.leaving(outputs, step)


def scan(reader: Reader, step: Step) -> list[Value]:
    """Read a scan: what is measured inside comes out with a leading axis for iterations."""
    reader.use_all(step)
    params = step.equation.params
    constants, carried = scan_counts(step.equation)
    changing = range(constants, constants + carried)
    arrays = [value.array for value in step.inputs]
    loop = Loop(len(step.address), params["length"], params["reverse"], _is_settling(step, constants, carried))

    def body(carry, x):
        x, sinks = x
        inner = reader.body(step, "scan", sinks, loop=loop)
        values = inner.entering(step.inputs, [*arrays[:constants], *carry, *x], changing)
        outputs = inner.finish(inner.run(params["jaxpr"], values, step.address))
        return _like(outputs[:carried], carry), (outputs[carried:], inner.measured())

    options = {key: params[key] for key in ("length", "reverse", "unroll")}
    start = [jnp.asarray(arrays[i]) for i in changing]
    xs = (arrays[constants + carried :], reader.within(step.address))
    carry, (ys, results) = lax.scan(body, start, xs, **options)
    reader.results |= results
    return reader.leaving([*carry, *ys], step)


def _is_settling(step: Step, constants: int, carried: int) -> bool:
    """Return whether a scan begins with constants and gets the same in each iteration. A counter may look up what differs."""
    state, differing = step.inputs[constants : constants + carried], step.inputs[constants + carried :]
    floating = all(jnp.issubdtype(jnp.result_type(value.array), jnp.floating) for value in state)
    return not differing and floating and not any(value.facts.alive for value in state)


def _like(arrays: list[Any], carry: list[Any]) -> list[Any]:
    """Return what a loop carries on, with the dtypes it began with: a weak type must not come between."""
    return [lax.convert_element_type(array, before.dtype) for array, before in zip(arrays, carry, strict=True)]


def cond(reader: Reader, step: Step) -> list[Value]:
    """Read a choice of branches: where one did not run, its numbers are NaN."""
    reader.use_all(step)
    index, *operands = [value.array for value in step.inputs]

    def branch(b: int, closed: ClosedJaxpr) -> Callable[..., Any]:
        def body(arrays, sinks):
            inner = reader.body(step, f"cond[{b}]", sinks, (b,))
            values = inner.entering(step.inputs[1:], arrays)
            outputs = inner.finish(inner.run(closed, values, (*step.address, b)))
            return outputs, inner.measured()

        return body

    sinks = reader.within(step.address)
    bodies = [branch(b, closed) for b, closed in enumerate(step.equation.params["branches"])]
    shapes: dict[str, Any] = {}
    for body in bodies:
        shapes |= jax.eval_shape(body, operands, sinks)[1]

    def padded(body: Callable[..., Any]) -> Callable[..., Any]:
        def full(arrays, sinks):
            outputs, results = body(arrays, sinks)
            return outputs, {key: results.get(key, _missing(shape)) for key, shape in shapes.items()}

        return full

    outputs, results = lax.switch(index, [padded(body) for body in bodies], operands, sinks)
    reader.results |= results
    return reader.leaving(outputs, step)


def _missing(shapes: Any) -> Any:
    return jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes)


def while_loop(reader: Reader, step: Step) -> list[Value]:
    """Read a while loop: only its last iteration is kept, since the number of iterations is not known."""
    reader.not_understood(step)
    reader.use_all(step)
    params = step.equation.params
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    arrays = [jnp.asarray(value.array) for value in step.inputs]
    loop = Loop(len(step.address), None, False)

    def body(carry):
        inner = reader.body(step, "while", {}, loop=loop)
        values = inner.entering(step.inputs[first:], [*arrays[first:second], *carry])
        outputs = inner.finish(inner.run(params["body_jaxpr"], values, step.address))
        return _like(outputs, carry), inner.measured()

    start = arrays[second:]
    empty = _missing(jax.eval_shape(body, start)[1])
    test = jaxpr_as_fun(params["cond_jaxpr"])
    end, results = lax.while_loop(
        lambda state: test(*arrays[:first], *state[0])[0], lambda state: body(state[0]), (start, empty)
    )
    reader.results |= results
    return reader.leaving(end, step)
