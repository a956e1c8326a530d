"""Cuts a chain of elementwise values into activations.

An activation's input, the pre-activation, is the last value before the first nonlinear primitive, unless the catalogue
knows a longer piece of the chain: ``1.7159 tanh(2 x / 3)`` is lecun_tanh of x, not tanh of 2 x / 3. What is left behind,
such as dropout's factor 1 / (1 - rate), is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from jaxsat.probing.naming import Identity, identify
from jaxsat.probing.values import Value


class Piece(NamedTuple):
    """An activation within a chain.

    Attributes:
        end, root: its result and its pre-activation.
        known: its name in the catalogue.
        primitives: the nonlinear primitives it is made of.
    """

    end: Value
    root: Value
    known: Identity
    primitives: frozenset[str]


def pieces(nodes: Sequence[Value]) -> Iterator[Piece]:
    """Give the activations that a chain is made of. `nodes` go from its end to its root.

    It is the whole chain if the catalogue knows it; else the longest piece from the root that it knows, and then what
    is left; else all from the first to the last nonlinear primitive, or the whole of the jitted function around them.
    """
    bends = [i for i, node in enumerate(nodes[:-1]) if node.nonlinear]
    if not bends:
        return
    first, last = bends[0], bends[-1]
    for end in range(last + 1):
        for root in range(len(nodes) - 1, last, -1):
            if not (is_floating(nodes[end]) and is_floating(nodes[root])):
                continue
            known = identify(nodes[end], nodes[root])
            if known.name is not None:
                yield Piece(nodes[end], nodes[root], known, _primitives(nodes[max(end, first) : last + 1]))
                yield from pieces(nodes[: end + 1])
                return
    end, root = _unnamed(nodes, first, last)
    if is_floating(end) and is_floating(root):
        yield Piece(end, root, identify(end, root), _primitives(nodes[first : last + 1]))


def _unnamed(nodes: Sequence[Value], first: int, last: int) -> tuple[Value, Value]:
    """Return the end and the root of an activation that the catalogue does not know."""
    end, root = nodes[first], nodes[last + 1]
    outside = next((node for node in nodes[last + 1 :] if len(node.scope) < len(root.scope)), root)
    call = end.scope[: len(outside.scope) + 1]
    if len(call) <= len(outside.scope):
        return end, root
    return next(node for node in nodes if node.scope[: len(call)] == call), outside  # all of a jitted function


def is_floating(value: Value) -> bool:
    return bool(jnp.issubdtype(value.array.dtype, jnp.floating))


def _primitives(nodes: Sequence[Value]) -> frozenset[str]:
    return frozenset().union(*(node.primitives for node in nodes))


def before_shift(value: Value) -> Value:
    """Return x, where value is x minus its mean or its maximum; else the value itself."""
    if value.recipe is not None and value.recipe.equation.primitive.name == "sub" and value.parent is not None:
        return value.parent
    return value


def called(end: Value, root: Value) -> str | None:
    """Return the name of the jitted function that the chain is the whole of."""
    names = [name for name in end.scope[len(root.scope) :] if name[0] not in "_<"]
    return names[0] if names else None
