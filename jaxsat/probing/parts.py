"""Which part of a program a site is in: the network, its loss or an optimiser.

The network is what linear maps are made between. After the last of them comes the arithmetic of the loss; what is made from
gradients and nothing else is an optimiser's. Masks, and the single numbers that steer a solver, are no sites at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from jaxsat.jax_compat import Jaxpr, scopes_of
from jaxsat.probing import primitives as kinds
from jaxsat.probing.flow_graph import graph_of
from jaxsat.probing.reader import Reader, Step
from jaxsat.probing.values import Address, Value

Part = Literal["network", "loss", "optimizer"]
TURNS = 3  # of a scan that are rolled out: enough for what is carried to reach all that it reaches


class Surroundings(NamedTuple):
    """What lies around a value.

    Attributes:
        after_map, before_map: whether a linear map leads to it, and whether it leads to one.
        from_gradients: whether it is made from gradients, by no linear map after them.
    """

    after_map: bool
    before_map: bool
    from_gradients: bool


class Landmarks:
    """Watches a reading and keeps the addresses of linear maps, and of what a backward pass inside the function makes."""

    def __init__(self) -> None:
        self.maps: set[Address] = set()
        self.backward: set[Address] = set()

    def watch(self, reader: Reader, step: Step, outputs: Sequence[Value]) -> None:
        position = step.position
        scopes = (*reader.position.path, *position.path, *position.modules, *scopes_of(step.equation))
        if "transpose(" in "".join(scopes):
            self.backward.update(value.address for value in outputs)
        elif step.name in kinds.LINEAR:
            self.maps.update(value.address for value in outputs)


def surroundings_of(jaxpr: Jaxpr, addresses: Iterable[Address], marks: Landmarks) -> Mapping[Address, Surroundings]:
    """Return what lies around some values. Those inside while loops are left out: no way is known there."""
    wanted = set(addresses)
    graph = graph_of(jaxpr, wanted | marks.maps | marks.backward, None, cut=False, turns=TURNS)
    nearest: dict[object, frozenset[bool]] = {}  # of each node: whether the landmarks before it are maps
    for node, sources in graph.before.items():
        found: set[bool] = set()
        for one in sources:
            known = one.address in marks.maps or one.address in marks.backward
            found |= {one.address in marks.maps} if known else nearest[one]
        nearest[node] = frozenset(found)
    leading: set[object] = set()
    for node, sources in reversed(list(graph.before.items())):
        if node in leading or node.address in marks.maps:
            leading |= sources
    at: dict[Address, Surroundings] = {}
    for node in graph.before:
        if node.address in wanted:
            is_map = node.address in marks.maps
            here = Surroundings(
                is_map or True in nearest[node], node in leading, not is_map and nearest[node] == {False}
            )
            at[node.address] = _either(at.get(node.address), here)
    return at


def _either(one: Surroundings | None, other: Surroundings) -> Surroundings:
    """Return what holds in one of two iterations."""
    return other if one is None else Surroundings(*(a or b for a, b in zip(one, other, strict=True)))


def part_of(around: Surroundings | None, is_activation: bool, mapped: bool) -> Part:
    """Return the part of the program that a site is in.

    Args:
        around: its pre-activation; None if that is not known.
        is_activation: whether the catalogue knows it, and it has units.
        mapped: whether its pre-activation is a sum of linear maps of the network itself.
    """
    if around is None:
        return "network"
    if around.from_gradients:
        return "optimizer"
    behind = around.after_map and not around.before_map
    return "loss" if behind and not (is_activation or mapped) else "network"
