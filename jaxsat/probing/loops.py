"""Equations that hold jaxprs: each is evaluated as what it is, with another reader inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from jaxsat.probing.facts import line_of
from jaxsat.probing.values import Address, Value

if TYPE_CHECKING:
    from jaxsat.probing.reader import Reader


def checkpoint(reader: Reader, equation: Any, inputs: list[Value], address: Address) -> list[Value]:
    for one in inputs:
        reader.use(one, "checkpoint")
    params = equation.params

    def body(arrays, sinks):
        inner = reader.child(address, "", sinks)
        outputs = inner.finish(inner.run(params["jaxpr"], inner.entering(inputs, arrays), address))
        return outputs, inner.results

    again = jax.checkpoint(body, prevent_cse=params["prevent_cse"], policy=params["policy"])
    outputs, results = again([one.array for one in inputs], reader.within(address))
    reader.results |= results
    return reader.leaving(outputs, address)


def scan(reader: Reader, equation: Any, inputs: list[Value], address: Address) -> list[Value]:
    for one in inputs:
        reader.use(one, "scan")
    params = equation.params
    # JAX 0.10 says num_consts and num_carry, 0.12 says it otherwise: both can be read off the shapes.
    once = getattr(params["jaxpr"], "jaxpr", params["jaxpr"])
    scanned = sum(a.aval.ndim != b.aval.ndim for a, b in zip(equation.invars, once.invars, strict=True))
    carried = sum(a.aval.ndim == b.aval.ndim for a, b in zip(equation.outvars, once.outvars, strict=True))
    constants = len(inputs) - carried - scanned
    arrays = [one.array for one in inputs]
    start, xs = arrays[constants : constants + carried], arrays[constants + carried :]

    def body(carry, x):
        x, sinks = x
        inner = reader.child(address, "scan", sinks, params["length"], params["reverse"])
        values = inner.entering(inputs, [*arrays[:constants], *carry, *x])
        for i in range(constants, constants + carried):
            values[i].leaf = None
            values[i].alive = jnp.issubdtype(values[i].array.dtype, jnp.floating)
        outputs = inner.finish(inner.run(params["jaxpr"], values, address))
        after = [lax.convert_element_type(o, c.dtype) for o, c in zip(outputs[:carried], carry, strict=True)]
        return after, (outputs[carried:], inner.results)

    options = {key: params[key] for key in ("length", "reverse", "unroll")}
    carry, (ys, results) = lax.scan(body, [jnp.asarray(a) for a in start], (xs, reader.within(address)), **options)
    reader.results |= results
    return reader.leaving([*carry, *ys], address)


def cond(reader: Reader, equation: Any, inputs: list[Value], address: Address) -> list[Value]:
    for one in inputs:
        reader.use(one, "cond")
    index, *operands = [one.array for one in inputs]

    def branch(b, closed):
        def body(arrays, sinks):
            inner = reader.child((*address, b), f"cond[{b}]", sinks)
            values = inner.entering(inputs[1:], arrays)
            outputs = inner.finish(inner.run(closed, values, (*address, b)))
            return outputs, inner.results

        return body

    sinks = reader.within(address)
    bodies = [branch(b, closed) for b, closed in enumerate(equation.params["branches"])]
    shapes: dict[str, Any] = {}
    for body in bodies:
        shapes |= jax.eval_shape(body, operands, sinks)[1]
    absent = lambda shape: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shape)  # noqa: E731

    def padded(body):
        def full(arrays, sinks):
            outputs, results = body(arrays, sinks)
            return outputs, {key: results.get(key, absent(shape)) for key, shape in shapes.items()}

        return full

    outputs, results = lax.switch(index, [padded(body) for body in bodies], operands, sinks)
    reader.results |= results
    return reader.leaving(outputs, address)


def while_loop(reader: Reader, equation: Any, inputs: list[Value], address: Address) -> list[Value]:
    """A while loop: only its last iteration is kept, since their number is not known."""
    reader.unread["while", line_of(equation) or reader.line] = None
    for one in inputs:
        reader.use(one, "while")
    params = equation.params
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    arrays = [jnp.asarray(one.array) for one in inputs]

    def body(carry):
        inner = reader.child(address, "while", {}, None)
        values = inner.entering(inputs[first:], [*arrays[first:second], *carry])
        outputs = inner.finish(inner.run(params["body_jaxpr"], values, address))
        return [lax.convert_element_type(o, c.dtype) for o, c in zip(outputs, carry, strict=True)], inner.results

    start = arrays[second:]
    empty = jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), jax.eval_shape(body, start)[1])
    test = core.jaxpr_as_fun(params["cond_jaxpr"])
    end, results = lax.while_loop(
        lambda state: test(*arrays[:first], *state[0])[0], lambda state: body(state[0]), (start, empty)
    )
    reader.results |= results
    return reader.leaving(end, address)
