"""Which rule reads which primitive, and the beginning of a reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from jaxsat.jax_compat import Jaxpr, JaxprEqn
from jaxsat.probing import primitives as kinds
from jaxsat.probing.elementwise import custom, read_elementwise
from jaxsat.probing.loops import checkpoint, cond, scan, while_loop
from jaxsat.probing.reader import Context, Reader, Rule
from jaxsat.probing.shards import COLLECTIVES, collective, shard_map
from jaxsat.probing.structure import broadcast, other, reshaped, stopped
from jaxsat.probing.values import Arrays, Facts, Position, Value

BY_NAME: dict[str, Rule] = {
    "scan": scan,
    "cond": cond,
    "while": while_loop,
    "shard_map": shard_map,
    "broadcast_in_dim": broadcast,
    "stop_gradient": stopped,
    **dict.fromkeys(COLLECTIVES, collective),
    **dict.fromkeys(kinds.CUSTOM, custom),
    **dict.fromkeys(kinds.CHECKPOINT, checkpoint),
    **dict.fromkeys(kinds.SHAPE, reshaped),
}


def rule_of(equation: JaxprEqn) -> Rule:
    """Return the rule that reads an equation."""
    name = equation.primitive.name
    if name in kinds.ELEMENTWISE and len(equation.outvars) == 1:
        return read_elementwise
    return BY_NAME.get(name, other)


def read(
    context: Context,
    jaxpr: Jaxpr,
    constants: Sequence[Any],
    leaves: Arrays,
    sinks: Mapping[str, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """Return the outputs of a function, and what the context's listener measured on the way.

    Args:
        context: of this reading.
        jaxpr: the function.
        constants: the arrays that it closes over.
        leaves: its arguments.
        sinks: where gradients arrive, by key of address.
    """
    reader = Reader(context, Position(), sinks)
    floating = [bool(jnp.issubdtype(array.dtype, jnp.floating)) for array in leaves]
    outer = [
        Value(array, (), Facts(alive=yes, leaf=i if yes else None))
        for i, (array, yes) in enumerate(zip(leaves, floating, strict=True))
    ]
    outputs = reader.run(jaxpr, reader.entering(outer, leaves), (), constants=constants)
    return reader.finish(outputs), reader.measured()
