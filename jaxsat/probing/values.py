"""A value of the function that is read, with what it was made of.

A value is *elementwise in r* if it comes from r by elementwise primitives and coefficients only: scalars, and vectors
broadcast to r's shape. The nearest such r is its parent; a chain of parents is the path an activation lies on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.lax import stop_gradient

from jaxsat.jax_compat import JaxprEqn, evaluate_equation

Address = tuple[int | str, ...]
Arrays = Sequence[jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct]


def key_of(address: Address) -> str:
    """Return an address as a key that sorts. A key begins with the key of what it lies in."""
    return "".join(f"{part}/" for part in address)


class Loop(NamedTuple):
    """A loop around an equation.

    Attributes:
        depth: length of the loop's own address.
        length: number of iterations; None if it is not known.
        backwards: whether it runs from the last slice to the first.
        settling: whether it begins with constants and gets the same in each iteration, as the search for a fixed point does.
            What its first iterations see, the last see too: they have nothing of their own to learn from.
    """

    depth: int
    length: int | None
    backwards: bool
    settling: bool = False


class InsideLoops:
    """What lies inside loops: a base for records with a field `loops`, outermost first."""

    loops: tuple[Loop, ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Numbers of iterations of the scans around it, outermost first."""
        return tuple(loop.length for loop in self.loops if loop.length is not None)

    @property
    def in_while(self) -> bool:
        """Whether it is inside a while loop, of which only the last iteration is seen."""
        return any(loop.length is None for loop in self.loops)


@dataclasses.dataclass(frozen=True)
class Position:
    """Where in the program the reading is.

    Attributes:
        path: names of the modules and loops around the jaxpr that is read.
        loops: the loops around it, outermost first.
        inside: address of the innermost loop or branch.
        modules: names of the modules of the jitted calls that were entered since then.
        scope: names of those jitted functions.
        line: source line of the last call that has one.
    """

    path: tuple[str, ...] = ()
    loops: tuple[Loop, ...] = ()
    inside: Address = ()
    modules: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    line: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Weight:
    """A parameter of a linear map: W of h = W x with its fan-in, or a bias with fan-in 0.

    Attributes:
        value: the array.
        fan_in: number of terms of each sum.
        leaf: index of the argument that it is; -1 for a constant.
        map: address of the linear map; () for a bias.
    """

    value: Any
    fan_in: int
    leaf: int | None
    map: Address = ()


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a value from the equations that made it.

    Attributes:
        uniform: it is a scalar, or one number in every entry.
        coefficient: it is broadcast from something smaller, so next to a larger array it acts as a constant.
        alive: it depends on a floating input. Random numbers made from a key do not.
        leaf: index of the argument that it is, seen through changes of shape, dtype and scale; None if it is none.
        reduced: it is made of sums over axes only, such as a mean or a variance.
        inverse_root: it is a scale made by (r)sqrt from sums: what a normalisation multiplies by.
        maps, bias: the linear maps that it is a sum of.
        unit_axes: axes of the units (features), those along which it has weights of its own; () if it is one unit, seen once
            for each entry.
        scores: it is a product of two data, such as the scores of attention.
    """

    uniform: bool = False
    coefficient: bool = False
    alive: bool = True
    leaf: int | None = None
    reduced: bool = False
    inverse_root: bool = False
    maps: tuple[Weight, ...] = ()
    bias: Weight | None = None
    unit_axes: tuple[int, ...] = (-1,)
    scores: bool = False

    @property
    def is_data(self) -> bool:
        """Whether it is neither a parameter, nor a constant, nor made of sums over axes only."""
        return self.alive and self.leaf is None and not (self.reduced or self.inverse_root or self.uniform)


class Recipe(NamedTuple):
    """How a value was made: output `which` of an equation with these operands."""

    equation: JaxprEqn
    inputs: Sequence[Value]
    which: int


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """One array of the function, at one place.

    Attributes:
        array: the array itself, mostly a tracer.
        address: where it is made: the same in every reading of the same function.
        facts: what is known of it.
        parent, nonlinear, primitives: the nearest value it is elementwise in, and what lies between.
        recipe: how to make it again.
        before: the value that it is another shape or a piece of.
        cut: something uses it by itself, so chains stop here.
        scope: names of the jitted functions that it is made in.
        modules, line: of the jitted call that it is made in.
    """

    array: Any
    address: Address
    facts: Facts = dataclasses.field(default_factory=Facts)
    parent: Value | None = None
    nonlinear: bool = False
    primitives: frozenset[str] = frozenset()
    recipe: Recipe | None = None
    before: Value | None = None
    cut: bool = False
    scope: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    line: str = ""

    def ancestors(self) -> Iterator[Value]:
        """Give the value, its parent, and so on, up to and with the first that is used by itself."""
        node: Value | None = self
        while node is not None:
            yield node
            if node.cut and node is not self:
                return
            node = node.parent


def common_ancestor(values: Sequence[Value]) -> Value | None:
    """Return the nearest value that all of them are elementwise in; None if there is none."""
    first, *rest = values
    reached = [{id(node) for node in _chain(value)} for value in rest]
    return next((node for node in _chain(first) if all(id(node) in chain for chain in reached)), None)


def _chain(value: Value) -> Iterator[Value]:
    """Give the ancestors. A value that is used by itself is a root even for what is made from it."""
    return iter([value]) if value.cut else value.ancestors()


def between(value: Value, root: Value) -> tuple[bool, frozenset[str]]:
    """Return whether value is nonlinear in root, and the primitives that make it so."""
    nonlinear, primitives = False, frozenset()
    for node in value.ancestors():
        if node is root:
            break
        nonlinear, primitives = nonlinear or node.nonlinear, primitives | node.primitives
    return nonlinear, primitives


def replay(value: Value, root: Value, x: Any) -> Any:
    """Return phi(x), where value = phi(root)."""
    known = {id(root): x}

    def at(node: Value) -> Any:
        if id(node) not in known:
            if node.recipe is not None and any(older is root for older in node.ancestors()):
                operands = [at(operand) for operand in node.recipe.inputs]
                known[id(node)] = evaluate_equation(node.recipe.equation, operands)[node.recipe.which]
            else:
                known[id(node)] = stop_gradient(node.array)
        return known[id(node)]

    return at(value)


def distinct(paths: Sequence[str]) -> list[str]:
    """Return paths, with a number behind each that stands there more than once.

    >>> distinct(["dense/relu", "tanh", "tanh"])
    ['dense/relu', 'tanh.1', 'tanh.2']
    """
    seen: dict[str, int] = {}
    found = []
    for path in paths:
        seen[path] = seen.get(path, 0) + 1
        found.append(f"{path}.{seen[path]}" if paths.count(path) > 1 else path)
    return found
