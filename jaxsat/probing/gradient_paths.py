"""Along which measured gradients a gradient may be said to shrink or to grow: chains, not the order of execution."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxsat.probing.flow_graph import FlowGraph, Node, among, chains_of
from jaxsat.probing.flow_points import FlowPlace, FlowPoint
from jaxsat.probing.sites import Site
from jaxsat.probing.survey import SiteDescription
from jaxsat.probing.values import Address

RESCALED = math.log(30)  # of a root mean square before a normalisation
Measurement = Site | FlowPoint
Chain = Sequence[Measurement]


class GradientPaths(NamedTuple):
    """How the measured gradients of one run follow each other.

    Attributes:
        chains: values that every gradient passes in turn, in the order of execution; and the iterations of one site in a
            scan, or of sites with one weight, each leading to the next.
        residual: whether there is a residual stream.
        normalized: whether there are normalisations.
        settling: paths of what lies in searches for a fixed point; see ``Loop``.
    """

    chains: Sequence[Chain]
    residual: bool
    normalized: bool
    settling: frozenset[str] = frozenset()


def in_order(sites: Sequence[Site]) -> GradientPaths:
    """Return the activations in the order of execution as one chain: what is taken where no graph is known."""
    chain = [site for site in sites if site.role == "activation"]
    return GradientPaths([chain], False, any(site.role == "normalization" for site in sites))


def paths_of(
    graph: FlowGraph | None,
    descriptions: Sequence[SiteDescription],
    sites: Sequence[Site],
    places: Sequence[FlowPlace],
    points: Sequence[FlowPoint],
) -> GradientPaths:
    """Return the paths of one run.

    Args:
        graph: of the program.
        descriptions, sites: what the sites are, and their records in this run.
        places, points: the same of the other values that are measured.
    """
    if graph is None:
        return in_order(sites)
    at = _by_node(descriptions, sites, places, points)
    weights = {one.path: one.weights for one in descriptions if min(one.weights, default=-1) >= 0}
    kept = frozenset(node for node, place in at.items() if math.isfinite(place.log_gradient_norm))
    small = among(graph, kept - _rescaled(among(graph, kept), at))
    chains = [[at[node] for node in chain] for chain in chains_of(small) if len(chain) > 1]
    again = [[at[node] for node in chain] for chain in _repeated(small, at, weights) if len(chain) > 1]
    residual = any(isinstance(place, FlowPoint) and place.kind == "stream" for place in at.values())
    settling = frozenset(one.path for one in (*descriptions, *places) if any(loop.settling for loop in one.loops))
    return GradientPaths([*chains, *again], residual, any(site.role == "normalization" for site in sites), settling)


def with_streams(places: Sequence[FlowPlace], graph: FlowGraph, maps: frozenset[Address]) -> tuple[FlowPlace, ...]:
    """Return the places with those sums named that are residual streams: one summand leads to the other
    through a linear map.

    A sum whose summands come from one value by different ways, such as the derivative of a product, is none; nor is
    x + stop_gradient(q(x) - x).
    """
    reach = _Reach(graph, maps)

    def is_stream(place: FlowPlace) -> bool:
        turn = (0,) * len(place.lengths)
        first, second = ([Node(one, turn) for one in summand] for summand in place.summands)
        ways = [(a, b) for a in first for b in second[:1]] + [(b, a) for b in second for a in first[:1]]
        return any(reach.leads(a, b, by_map=True) for a, b in ways if a in graph.before and b in graph.before)

    return tuple(
        dataclasses.replace(place, kind="stream") if place.kind == "sum" and is_stream(place) else place
        for place in places
    )


def _rescaled(graph: FlowGraph, at: Mapping[Node, Measurement]) -> frozenset[Node]:
    """Return the nodes whose size nothing but normalisations see, where it is far from 1: gradients there say nothing."""
    after: dict[Node, list[Node]] = {node: [] for node in graph.before}
    for node, sources in graph.before.items():
        for one in sources:
            after[one].append(node)

    def far(node: Node) -> bool:
        place = at[node]
        rms = place.pre_activation_rms if isinstance(place, Site) and place.role == "normalization" else math.nan
        return bool(rms > 0) and abs(math.log(rms)) > RESCALED

    def only_for_normalisation(node: Node, following: Sequence[Node]) -> bool:
        place = at[node]
        linear = isinstance(place, FlowPoint) and place.kind == "linear"  # its variance goes another way
        return any(map(far, following)) and (linear or all(map(far, following)))

    before = {node for node, following in after.items() if only_for_normalisation(node, following)}
    return frozenset(before | {node for node, following in after.items() if far(node) and len(following) == 1})


def _by_node(
    descriptions: Sequence[SiteDescription], sites: Sequence[Site], places: Sequence[FlowPlace], points: Sequence[FlowPoint]
) -> Mapping[Node, Measurement]:  # fmt: skip
    at: dict[Node, Measurement] = {}
    addresses = {one.path: one.address for one in (*descriptions, *places)}
    # Scores of a softmax have small gradients in healthy networks. Of several sites with one pre-activation: the first.
    shown = [site for site in reversed(sites) if site.role != "softmax" and site.part == "network"]
    for place in (*points, *shown):
        at[Node(addresses[place.path], place.iteration)] = place
    return at


def _repeated(
    graph: FlowGraph, at: Mapping[Node, Measurement], weights: Mapping[str, tuple[int, ...]]
) -> list[list[Node]]:
    """Return the nodes of one site over its iterations, and of sites with the same weights, if each leads to the next.

    A recurrent cell is no chain by itself: there are ways around its every value. Its steps are alike all the same.
    """
    groups: dict[object, list[Node]] = {}
    for node in graph.before:
        place = at[node]
        shared = weights.get(place.path)
        same: object = node.address if node.iteration else (place.kind, shared, place.shape)
        if node.iteration or shared:
            groups.setdefault(same, []).append(node)
    reach = _Reach(graph)
    return [group for group in groups.values() if all(map(reach.leads, group[:-1], group[1:]))]


class _Reach:
    """Tells whether one node leads to another, looking only at nodes between the two. `maps` are linear maps."""

    def __init__(self, graph: FlowGraph, maps: frozenset[Address] = frozenset()) -> None:
        self.before, self.maps = graph.before, maps
        self.order = {node: i for i, node in enumerate(graph.before)}

    def leads(self, first: Node, second: Node, by_map: bool = False) -> bool:
        """Return whether the first leads to the second; by_map: whether it does so through a linear map."""
        least, start = self.order[first], (second, not by_map or second.address in self.maps)
        seen, todo = {start}, [start]
        while todo:
            node, passed = todo.pop()
            for one in self.before[node]:
                if one == first and passed:
                    return True
                state = (one, passed or one.address in self.maps)
                if state not in seen and self.order[one] > least:
                    seen.add(state)
                    todo.append(state)
        return False
