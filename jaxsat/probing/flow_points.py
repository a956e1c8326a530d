"""Where else than at sites the gradient is measured: residual streams, joins, and linear maps without an activation.

With them, what happens between nonlinearities is seen, and a residual branch is distinguished from the stream beside it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np

from jaxsat.jax_compat import scopes_of, source_line
from jaxsat.probing import primitives as kinds
from jaxsat.probing.reader import Reader, Step
from jaxsat.probing.values import Address, InsideLoops, Loop, Value, distinct, key_of

FlowKind = Literal["sum", "stream", "cell", "join", "linear"]


@dataclasses.dataclass(frozen=True)
class FlowPlace(InsideLoops):
    """A value at which the gradient is measured, whatever the numbers.

    Attributes:
        path: modules and loops it is in, and its kind.
        kind: 'sum' of two data; 'stream', a sum with something that the other summand is made from, as in a residual
            network; 'cell', a sum of gated data; 'join' of several (a concatenation); 'linear' map.
        shape, dtype: of the value.
        where: its source line.
        address, loops: of the value.
        weight: which argument the weight of a linear map is; -1: a constant or none.
        maps: addresses of the linear maps that it is the sum of, if it is nothing else.
        summands: of a sum: for each summand the addresses of the values that it is, up to scale and shape.
    """

    path: str
    kind: FlowKind
    shape: tuple[int, ...]
    dtype: str
    where: str
    address: Address
    loops: tuple[Loop, ...]
    weight: int = -1
    maps: frozenset[Address] = frozenset()
    summands: tuple[tuple[Address, ...], ...] = ()

    @property
    def root(self) -> str:
        """Key of the value."""
        return key_of(self.address)


@dataclasses.dataclass(frozen=True)
class FlowPoint:
    """The gradient at one such value in one run and iteration.

    Attributes:
        path, kind, shape, where: as of :class:`FlowPlace`.
        iteration: indices in the scans around it, outermost first.
        weight: the argument that is the weight of a linear map, as a path in the arguments; '' if none.
        log_gradient_norm: ln ||dE/dv||, E the scalar output; -inf where it is exactly zero.
    """

    path: str
    kind: FlowKind
    iteration: tuple[int, ...]
    shape: tuple[int, ...]
    where: str
    weight: str
    log_gradient_norm: float


class FlowCollector:
    """Watches a reading and keeps the places, by the key of the value."""

    def __init__(self) -> None:
        self.places: dict[str, FlowPlace] = {}
        self.gated: set[Address] = set()

    def watch(self, reader: Reader, step: Step, outputs: Sequence[Value]) -> None:
        if step.name == "mul" and sum(value.facts.is_data for value in step.inputs) > 1:
            self.gated.add(outputs[0].address)
        kind = _kind_of(step, outputs)
        if kind == "sum" and any(value.address in self.gated for value in step.inputs):
            kind = "cell"
        if kind is None or not jnp.issubdtype(outputs[0].array.dtype, jnp.floating) or not jnp.size(outputs[0].array):
            return
        position, value = step.position, outputs[0]
        line = source_line(step.equation) or position.line or "unknown line"
        stack = (*reader.position.path, *position.modules, *scopes_of(step.equation))
        maps = value.facts.maps if kind == "linear" else ()
        leaf = maps[0].leaf if maps else None
        mapped = kind == "sum" and all(operand.facts.maps for operand in step.inputs)
        self.places[key_of(value.address)] = FlowPlace(
            "/".join([*stack, kind]) if stack else f"{line}/{kind}", kind, tuple(jnp.shape(value.array)),
            str(value.array.dtype), line, value.address, reader.position.loops, -1 if leaf is None else leaf,
            frozenset(weight.map for weight in value.facts.maps) if mapped else frozenset(),
            tuple(map(_same_but_for_scale, step.inputs)) if kind == "sum" else (),
        )  # fmt: skip


def _same_but_for_scale(value: Value) -> tuple[Address, ...]:
    """Return the addresses of a value and of what it is in another shape, dtype or scale."""
    found: list[Address] = []
    node: Value | None = value
    while node is not None:
        found += [node.address] if node.address else []  # a literal has none
        node = node.before or (None if node.nonlinear else node.parent)
    return tuple(found)


def _kind_of(step: Step, outputs: Sequence[Value]) -> FlowKind | None:
    if step.name in kinds.LINEAR and outputs[0].facts.maps and (outputs[0].facts.maps[0].leaf or 0) >= 0:
        return "linear"
    data = [v for v in step.inputs if v.facts.is_data and not v.facts.coefficient and jnp.ndim(v.array) > 0]
    if len(data) < 2 or "transpose(" in "".join(scopes_of(step.equation)):
        return None
    if step.name in ("add", "add_any") and outputs[0].parent is None:
        return "sum"
    return "join" if step.name == "concatenate" else None


def chosen_places(
    places: Mapping[str, FlowPlace], roots: Iterable[str], mapped: Sequence[Sequence[Address]]
) -> tuple[FlowPlace, ...]:
    """Return the places that no site stands for, with distinct paths.

    Args:
        places: all of them, by key.
        roots: keys of the sites' pre-activations.
        mapped: for each site, addresses of the linear maps that its pre-activation is the sum of.
    """
    known = {*roots, *(key_of((*address, 0)) for maps in mapped for address in maps)}
    sums = {frozenset(maps) for maps in mapped if maps}
    kept = [one for key, one in places.items() if key not in known and one.maps not in sums and not one.in_while]
    paths = distinct([one.path for one in kept])
    return tuple(dataclasses.replace(one, path=path) for one, path in zip(kept, paths, strict=True))


def flow_of(
    places: Sequence[FlowPlace],
    backward: Mapping[str, np.ndarray],
    multiplied: tuple[Mapping[str, np.ndarray], float] | None,
    names: Sequence[str],
) -> tuple[FlowPoint, ...]:
    """Return the gradient at each place and iteration where a gradient arrives, in program order.

    Args:
        places: of the program.
        backward, multiplied, names: as of :func:`jaxsat.probing.sites.site_records`.
    """
    found = []
    for place in places:
        for turn in itertools.product(*map(range, place.lengths)):
            norm = log_norm_at(place.root, turn, backward, multiplied)
            if not math.isnan(norm):
                weight = names[place.weight] if place.weight >= 0 else ""
                found.append(FlowPoint(place.path, place.kind, turn, place.shape, place.where, weight, norm))
    return tuple(found)


def log_norm_at(
    key: str, turn: tuple[int, ...], backward: Mapping[str, np.ndarray], multiplied: tuple[Mapping[str, np.ndarray], float] | None
) -> float:  # fmt: skip
    """Return ln of the gradient's norm at a value; NaN if no gradient arrives there."""
    if key not in backward:
        return math.nan
    reached, norm = map(float, backward[key][turn][:2])
    if not reached:
        return math.nan
    if multiplied is not None and not math.isfinite(norm):
        rows, log_factor = multiplied
        return float(rows[key][turn][1]) - log_factor
    return norm
