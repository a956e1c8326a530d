"""A value of the function that is read, with what it was made of.

A value is *elementwise in r* if it comes from r by elementwise primitives and coefficients only: scalars, and vectors
broadcast to r's shape. The nearest such r is its parent; a chain of parents is the path an activation lies on.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.core import eval_jaxpr
from jax.extend import core
from jax.lax import stop_gradient

Address = tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Weight:
    """The parameter of a linear map: W of h = W x, or a bias (fan_in 0); and which input it is."""

    value: Any
    fan_in: int
    leaf: int | None


@dataclasses.dataclass(eq=False)
class Value:
    """One array of the function, at one place.

    Attributes:
        array: the number itself (a tracer, mostly).
        address: where it is made: the same in every reading of the same function.
        uniform: a scalar, or one number in every entry.
        coefficient: broadcast from something smaller: next to a larger array it acts as a constant.
        alive: depends on a floating input (random numbers made from a key do not).
        leaf: which input it is, if it is one, seen through changes of shape, dtype and scale: a parameter, where it
            meets data.
        reduced: made of sums over axes only, such as a mean or a variance.
        inverse_root: a scale made by (r)sqrt from sums: what a normalisation multiplies by.
        parent, nonlinear, primitives: the nearest value it is elementwise in, and what lies between.
        made_by: (equation, inputs, which output), to evaluate it again.
        scope: names of the jitted functions it is inside of.
        cut: used as a result by itself: chains stop here.
        maps, bias: the linear maps it is a sum of, if it is one.
        unit_axis: axis of the units (features).
        before: the value it is another shape of.
        modules, line: of the jitted call it is made in.
    """

    array: Any
    address: Address
    uniform: bool = False
    coefficient: bool = False
    alive: bool = True
    leaf: int | None = None
    reduced: bool = False
    inverse_root: bool = False
    parent: Value | None = None
    nonlinear: bool = False
    primitives: frozenset[str] = frozenset()
    made_by: tuple[Any, Sequence[Value], int] | None = None
    scope: tuple[str, ...] = ()
    cut: bool = False
    maps: tuple[Weight, ...] = ()
    bias: Weight | None = None
    unit_axis: int = -1
    before: Value | None = None
    modules: tuple[str, ...] = ()
    line: str = ""

    def ancestors(self) -> Iterator[Value]:
        """Itself, its parent, and so on, up to and with the first that is used by itself."""
        node: Value | None = self
        while node is not None:
            yield node
            if node.cut and node is not self:
                return
            node = node.parent


def common_ancestor(values: Sequence[Value]) -> Value | None:
    """The nearest value that all of them are elementwise in."""
    first, *rest = values
    found = [{id(node) for node in reach(value)} for value in rest]
    return next((node for node in reach(first) if all(id(node) in one for one in found)), None)


def reach(value: Value) -> Iterator[Value]:
    """Ancestors, where a value that is used by itself is a root even for what is made from it."""
    return iter([value]) if value.cut else value.ancestors()


def between(value: Value, root: Value) -> tuple[bool, frozenset[str]]:
    """Whether value is nonlinear in root, and by which primitives."""
    nonlinear, primitives = False, frozenset()
    for node in value.ancestors():
        if node is root:
            break
        nonlinear, primitives = nonlinear or node.nonlinear, primitives | node.primitives
    return nonlinear, primitives


def evaluate(equation: Any, arrays: Sequence[Any]) -> list[Any]:
    """One equation of a jaxpr, by JAX's own evaluator."""
    variables, distinct = [], []
    for atom, array in zip(equation.invars, arrays, strict=True):
        if not isinstance(atom, core.Literal) and atom not in variables:
            variables.append(atom)
            distinct.append(array)
    outputs = list(equation.outvars)
    origin = _origin(len(variables), len(outputs))
    one = core.Jaxpr((), variables, outputs, [equation], equation.effects, debug_info=origin)
    return eval_jaxpr(one, (), *distinct)


@functools.cache
def _origin(inputs: int, outputs: int) -> Any:
    """What a jaxpr of so many variables must say of where it comes from."""
    return jax.make_jaxpr(lambda *_: [0.0] * outputs)(*[0.0] * inputs).jaxpr.debug_info


def replay(value: Value, root: Value, x: Any) -> Any:
    """phi(x), where value = phi(root)."""
    known = {id(root): x}

    def at(node: Value) -> Any:
        if id(node) not in known:
            if node.made_by is not None and any(one is root for one in node.ancestors()):
                equation, inputs, which = node.made_by
                known[id(node)] = evaluate(equation, [at(one) for one in inputs])[which]
            else:
                known[id(node)] = stop_gradient(node.array)
        return known[id(node)]

    return at(value)
