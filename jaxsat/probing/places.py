"""Which nonlinear sites a function has: found in an abstract reading, before anything is computed.

A site is a chain of elementwise primitives between two things that are not elementwise, with at least one that is
nonlinear. Its input, the pre-activation, is the last value before the first nonlinear primitive, unless the catalogue
knows a longer piece of the chain (``1.7159 tanh(2 x / 3)`` is lecun_tanh of x, not tanh of 2 x / 3). What is left
behind, such as dropout's factor 1 / (1 - rate), is no part of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxsat.activations import Activation
from jaxsat.probing import primitives as kinds
from jaxsat.probing.facts import line_of, stack_of
from jaxsat.probing.naming import Identity, identify
from jaxsat.probing.reader import Reader, key_of
from jaxsat.probing.values import Address, Value

Role = Literal["activation", "gate", "softmax", "normalization"]
GATES = ("sigmoid", "hard_sigmoid")


@dataclasses.dataclass(frozen=True)
class Place:
    """One nonlinear site of the program, whatever the numbers.

    Attributes:
        path: modules and loops it is in, as the framework names them, and its kind.
        kind: name of the activation, else of the jitted function, else its primitives.
        role: 'activation'; 'gate' for a sigmoid that multiplies something; 'softmax'; 'normalization'.
        shape, dtype, where: of the pre-activation; source line.
        activation: the catalogue's record, if it has one.
        max_slope: largest |slope|, where it is known.
        unit_axis: axis of the units.
        loops: of each loop around it: its depth in the address, its length (None: not known), whether it runs backwards.
        root, end: keys of the pre-activation and of the result.
        address: of the pre-activation.
        weights: which inputs (-1: a constant) the linear maps have for weights whose sum the pre-activation is.
    """

    path: str
    kind: str
    role: Role
    shape: tuple[int, ...]
    dtype: str
    where: str
    activation: Activation | None
    max_slope: float | None
    unit_axis: int
    loops: tuple[tuple[int, int | None, bool], ...]
    root: str
    end: str
    address: Address
    weights: tuple[int, ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the scans around it, outermost first."""
        return tuple(length for _, length, _ in self.loops if length is not None)

    @property
    def in_while(self) -> bool:
        """Whether it is inside a while loop, whose last iteration alone is seen."""
        return any(length is None for _, length, _ in self.loops)


@dataclasses.dataclass(frozen=True)
class Survey:
    """All places of a program, in program order; values that end chains; primitives that were not understood."""

    places: tuple[Place, ...]
    cuts: frozenset[Address]
    unread: tuple[tuple[str, str], ...]


def survey(closed: Any, leaves: Sequence[Any]) -> Survey:
    """Read a jaxpr abstractly, twice: the first time to learn which values are used by themselves."""
    cuts: frozenset[Address] = frozenset()
    found = _Finder()
    for _ in range(2):
        found, unread = _Finder(), {}
        jax.eval_shape(lambda arrays: _read(closed, arrays, found, cuts, unread), list(leaves))
        cuts = frozenset(found.ends)
    places = sorted(found.places.values(), key=lambda place: tuple(map(_sortable, place.address)))
    return Survey(_with_distinct_paths(places), cuts, tuple(unread))


def _read(closed: Any, arrays: Sequence[Any], found: _Finder, cuts: frozenset[Address], unread: dict) -> None:
    reader = Reader(found.hear, lambda _, array, __: array, {}, cuts, unread)
    reader.finish(reader.run(closed, inputs(reader, arrays), ()))


def inputs(reader: Reader, arrays: Sequence[Any]) -> list[Value]:
    """The function's own arguments."""
    outer = [
        Value(array, (), alive=bool(floating), leaf=i if floating else None)
        for i, array in enumerate(arrays)
        for floating in [jnp.issubdtype(array.dtype, jnp.floating)]
    ]
    return reader.entering(outer, arrays)


class _Finder:
    """Listens to a reader and writes down the sites, by the key of their pre-activation and end."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, str], Place] = {}
        self.ends: set[Address] = set()
        self.softmaxes: set[str] = set()

    def hear(self, reader: Reader, value: Value, by: str) -> None:
        if by == "normalization":
            live = [one for one in value.made_by[1] if not one.uniform and not one.coefficient] if value.made_by else []
            self.write(
                reader, value, before_shift(live[0]), "normalization", "normalization", Identity(None, None, None)
            )
            return
        nodes = list(value.ancestors())
        if not any(node.nonlinear for node in nodes[:-1]):
            return
        self.ends.add(value.address)
        for end, root, known, used in pieces(nodes):
            self.piece(reader, end, root, known, used, by)

    def piece(self, reader: Reader, end: Value, root: Value, known: Identity, used: frozenset[str], by: str) -> None:
        equation = end.made_by[0] if end.made_by else None
        if equation is None or "transpose(" in "".join(stack_of(equation)):  # a backward pass inside the function
            return
        if not root.alive or jnp.shape(root.array) != jnp.shape(end.array) or 0 in jnp.shape(root.array):
            return
        if root.reduced and by not in kinds.LINEAR:
            return  # a variance's clamp, a norm's floor
        if known.name is None and used <= kinds.PLAIN:
            if "exp" in used and by == "reduce_sum":
                self.write(reader, end, before_shift(root), "softmax", "softmax", known)
                return
            if by not in kinds.LINEAR:
                return
        kind = known.name or _called(end, root) or "+".join(sorted(used))
        role: Role = "gate" if by == "gate" and kind in GATES else "activation"
        self.write(reader, end, root, kind, role, known)

    def write(self, reader: Reader, end: Value, root: Value, kind: str, role: Role, known: Identity) -> None:
        key = (key_of(root.address), key_of(end.address))
        if key in self.places or (role == "softmax" and key[0] in self.softmaxes):
            return
        self.softmaxes |= {key[0]} if role == "softmax" else set()
        equation = end.made_by[0] if end.made_by else reader.equation  # of a softmax with a rule of its own
        stack = (*reader.path, *end.modules, *stack_of(equation))
        line = line_of(equation) or end.line or "unknown line"
        self.places[key] = Place(
            path="/".join([*stack, kind]) if stack else f"{line}/{kind}",
            kind=kind,
            role=role,
            shape=tuple(jnp.shape(root.array)),
            dtype=str(root.array.dtype),
            where=line,
            activation=known.activation,
            max_slope=known.max_slope,
            unit_axis=root.unit_axis,
            loops=reader.loops,
            root=key[0],
            end=key[1],
            address=root.address,
            weights=tuple(-1 if one.leaf is None else one.leaf for one in root.maps),
        )


def pieces(nodes: Sequence[Value]) -> Iterator[tuple[Value, Value, Identity, frozenset[str]]]:
    """The activations that a chain, given from its end to its root, is made of: end, root, name and primitives of each.

    One, if the catalogue knows the whole; else the longest piece from the root that it knows, and what is left; else
    all from the first to the last nonlinear primitive, or the whole of the jitted function that they are in.
    """
    bends = [i for i, node in enumerate(nodes[:-1]) if node.nonlinear]
    if not bends:
        return
    first, last = bends[0], bends[-1]
    for end in range(last + 1):
        for root in range(len(nodes) - 1, last, -1):
            if not (_is_floating(nodes[end]) and _is_floating(nodes[root])):
                continue
            known = identify(nodes[end], nodes[root])
            if known.name is not None:
                yield nodes[end], nodes[root], known, _primitives(nodes[max(end, first) : last + 1])
                yield from pieces(nodes[: end + 1])
                return
    end, root = nodes[first], nodes[last + 1]
    outside = next((node for node in nodes[last + 1 :] if len(node.scope) < len(root.scope)), root)
    call = end.scope[: len(outside.scope) + 1]
    if len(call) > len(outside.scope):  # a jitted function: all of it is the activation
        end = next(node for node in nodes if node.scope[: len(call)] == call)
        root = outside
    if _is_floating(end) and _is_floating(root):
        yield end, root, identify(end, root), _primitives(nodes[first : last + 1])


def _is_floating(value: Value) -> bool:
    return bool(jnp.issubdtype(value.array.dtype, jnp.floating))


def _primitives(nodes: Sequence[Value]) -> frozenset[str]:
    return frozenset().union(*(node.primitives for node in nodes))


def before_shift(value: Value) -> Value:
    """x, where value is x less its mean or its maximum."""
    if value.made_by is not None and value.made_by[0].primitive.name == "sub" and value.parent is not None:
        return value.parent
    return value


def _called(end: Value, root: Value) -> str | None:
    """Name of the jitted function that the chain is the whole of."""
    names = [name for name in end.scope[len(root.scope) :] if name[0] not in "_<"]
    return names[0] if names else None


def _sortable(part: Any) -> tuple[int, str]:
    return (part, "") if isinstance(part, int) else (-1 if part in ("in", "const") else 10**9, part)


def _with_distinct_paths(places: Sequence[Place]) -> tuple[Place, ...]:
    paths = [place.path for place in places]
    seen: dict[str, int] = {}
    distinct = []
    for place in places:
        if paths.count(place.path) > 1:
            seen[place.path] = seen.get(place.path, 0) + 1
            place = dataclasses.replace(place, path=f"{place.path}.{seen[place.path]}")
        distinct.append(place)
    return tuple(distinct)
