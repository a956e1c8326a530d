"""Which measured values lie on the way from which others to the loss: the graph of a jaxpr, contracted to some points.

A point is a value whose gradient is measured. Scans are rolled out: a point inside has one node for each iteration. Only
what gradients pass is followed: not integers, not comparisons, not stop_gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxsat.jax_compat import Jaxpr, JaxprEqn, Literal, called_jaxpr, opened, scan_counts, shards_of
from jaxsat.probing import primitives as kinds
from jaxsat.probing.values import Address

NO_GRADIENT = frozenset({"stop_gradient", "floor", "ceil", "round", "sign"})  # no gradient passes


class Node(NamedTuple):
    """One point in one iteration of the scans around it."""

    address: Address
    iteration: tuple[int, ...]


class Entrance(NamedTuple):
    """What enters a scan's body as its i-th operand: stands for nodes that are known when the scan is rolled out."""

    operand: int


Sources = frozenset[Node | Entrance]
NONE: Sources = frozenset()


class FlowGraph(NamedTuple):
    """The nodes in the order of execution, each with the nearest nodes before it.

    Attributes:
        before: of each node, in an order in which these come first.
        last: the nodes nearest to the loss.
    """

    before: Mapping[Node, frozenset[Node]]
    last: frozenset[Node]


def graph_of(
    jaxpr: Jaxpr, points: Iterable[Address], loss: int | None, cut: bool = True, turns: int | None = None
) -> FlowGraph:
    """Return the graph of the points of a function.

    Args:
        jaxpr: the function.
        points: addresses of values, as a :class:`~jaxsat.probing.reader.Reader` gives them.
        loss: index of the output that gradients are taken of; None: all outputs.
        cut: whether what stops gradients ends ways.
        turns: most iterations of a scan that are rolled out; None: all.
    """
    walk = _Walk(frozenset(points), cut, turns)
    entering = [walk.at(("in", i), NONE) for i in range(len(jaxpr.invars))]
    outputs = walk.body(jaxpr, entering, ())
    ends = outputs if loss is None else [outputs[loss]]
    last = frozenset(node for sources in ends for node in sources if isinstance(node, Node))
    before = {node: frozenset(n for n in sources if isinstance(n, Node)) for node, sources in walk.before.items()}
    return FlowGraph(before, last)


class _Walk:
    """Goes through a jaxpr and keeps, for each variable, the points that its gradient goes on to next."""

    def __init__(self, points: frozenset[Address], cut: bool, turns: int | None) -> None:
        self.points, self.cut, self.turns = points, cut, turns
        self.before: dict[Node, Sources] = {}

    def at(self, address: Address, sources: Sources) -> Sources:
        """Return what a value comes from: itself, if it is a point."""
        if address not in self.points:
            return sources
        node = Node(address, ())
        self.before[node] = sources
        return frozenset([node])

    def body(self, closed: Any, inputs: Sequence[Sources], address: Address) -> list[Sources]:
        """Return what the outputs of a jaxpr come from."""
        jaxpr, _ = opened(closed)
        known: dict[Any, Sources] = dict.fromkeys(jaxpr.constvars, NONE)
        known.update(zip(jaxpr.invars, inputs, strict=True))

        def of(atom: Any) -> Sources:
            return NONE if isinstance(atom, Literal) else known[atom]

        for n, equation in enumerate(jaxpr.eqns):
            outputs = self.equation(equation, [of(atom) for atom in equation.invars], (*address, n))
            for variable, sources in zip(equation.outvars, outputs, strict=True):
                floating = jnp.issubdtype(getattr(variable.aval, "dtype", jnp.int32), jnp.floating)
                known[variable] = sources if floating or not self.cut else NONE
        return [of(atom) for atom in jaxpr.outvars]

    def equation(self, equation: JaxprEqn, inputs: Sequence[Sources], address: Address) -> list[Sources]:
        name, called = equation.primitive.name, called_jaxpr(equation)
        if name in kinds.INLINE and called is not None:
            return self.body(called, inputs, address)
        if name in ("scan", "shard_map"):
            return self._leaving(self.repeated(equation, inputs, address), address)
        if name in kinds.CHECKPOINT and called is not None:
            entering = [self.at((*address, "in", i), sources) for i, sources in enumerate(inputs)]
            return self._leaving(self.body(called, entering, address), address)
        if name == "cond":
            return self._leaving(self._branches(equation, inputs[1:], address), address)
        joined = NONE if self.cut and (name in NO_GRADIENT or name == "while") else NONE.union(*inputs)
        outputs = [self.at((*address, k), joined) for k in range(len(equation.outvars))]
        if name in kinds.CUSTOM:
            outputs = [self.at((*address, "custom", k), sources) for k, sources in enumerate(outputs)]
        return outputs

    def _leaving(self, outputs: Sequence[Sources], address: Address) -> list[Sources]:
        return [self.at((*address, "out", k), sources) for k, sources in enumerate(outputs)]

    def _branches(self, equation: JaxprEqn, inputs: Sequence[Sources], address: Address) -> list[Sources]:
        outputs = [NONE] * len(equation.outvars)
        for b, branch in enumerate(equation.params["branches"]):
            entering = [self.at((*address, b, "in", i), sources) for i, sources in enumerate(inputs)]
            outputs = [a | b for a, b in zip(outputs, self.body(branch, entering, (*address, b)), strict=True)]
        return outputs

    def repeated(self, equation: JaxprEqn, inputs: Sequence[Sources], address: Address) -> list[Sources]:
        """Return what the outputs of a scan come from. Its body is walked once, and then rolled out.

        Shards are iterations that carry nothing.
        """
        sharded = equation.primitive.name == "shard_map"
        constants, carried = (len(inputs), 0) if sharded else scan_counts(equation)
        inside = _Walk(self.points, self.cut, self.turns)
        entering = [inside.at((*address, "in", i), frozenset([Entrance(i)])) for i in range(len(inputs))]
        ends = inside.body(equation.params["jaxpr"], entering, address)
        length = shards_of(equation) if sharded else equation.params["length"]
        backwards = not sharded and equation.params["reverse"]
        turns = (range(length)[::-1] if backwards else range(length))[: self.turns]
        carry, stacked = list(inputs[constants : constants + carried]), [NONE] * (len(ends) - carried)
        for turn in turns:
            outside = [*inputs[:constants], *carry, *inputs[constants + carried :]]

            def here(sources: Sources, turn: int = turn, outside: Sequence[Sources] = outside) -> Sources:
                found: set[Node | Entrance] = set()
                for one in sources:
                    found |= (
                        outside[one.operand]
                        if isinstance(one, Entrance)
                        else {Node(one.address, (turn, *one.iteration))}
                    )
                return frozenset(found)

            for node, sources in inside.before.items():
                self.before[Node(node.address, (turn, *node.iteration))] = here(sources)
            carry = [here(sources) for sources in ends[:carried]]
            stacked = [old | here(sources) for old, sources in zip(stacked, ends[carried:], strict=True)]
        return [*carry, *stacked]


# --- chains -----------------------------------------------------------------------------------------------------------


def among(graph: FlowGraph, kept: frozenset[Node]) -> FlowGraph:
    """Return the graph of some of its nodes: each with the nearest of them before it, if it leads to the loss."""
    nearest: dict[Node, frozenset[Node]] = {}
    before: dict[Node, frozenset[Node]] = {}
    for node, sources in graph.before.items():
        found = frozenset[Node]().union(*(nearest[one] for one in sources))
        nearest[node] = frozenset([node]) if node in kept else found
        if node in kept:
            before[node] = found
    last = frozenset[Node]().union(*(nearest[node] for node in graph.last))
    reaching = set(last)
    for node in reversed(before):
        if node in reaching:
            reaching |= before[node]
    return FlowGraph({node: sources for node, sources in before.items() if node in reaching}, last)


def chains_of(graph: FlowGraph) -> list[list[Node]]:
    """Return the chains of nodes that every gradient passes in turn, each in the order of execution.

    Two nodes are on one chain if every way from the inputs to the second leads through the first, and every way from the
    first to the loss through the second. So a residual branch is one chain, and the stream beside it another.
    """
    nodes = list(graph.before)
    after: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node, sources in graph.before.items():
        for one in sources:
            after[one].append(node)
    numbers = {node: i + 1 for i, node in enumerate(nodes)}
    dominators = _immediate([[numbers[one] for one in graph.before[node]] for node in nodes])
    count = len(nodes)
    # The same from the other end, where the numbers run backwards.
    ways = [
        [count + 1 - numbers[one] for one in after[node]] + ([0] if node in graph.last else []) for node in nodes[::-1]
    ]
    following = _immediate(ways)
    chains: dict[int, list[Node]] = {}
    for i, node in reversed(list(enumerate(nodes, start=1))):
        end = following[count + 1 - i]
        onward = count + 1 - end if end else 0
        chain = chains.pop(onward) if onward and dominators[onward] == i and onward in chains else []
        chains[i] = [node, *chain]
    return [chain for _, chain in sorted(chains.items())]


def _immediate(before: Sequence[Sequence[int]]) -> list[int]:
    """Return the immediate dominator of each node of a graph without circles (Cooper, Harvey & Kennedy 2001).

    Args:
        before: of node i + 1: the nodes before it, with smaller numbers; none: it follows the start, 0.
    """
    found = [0]
    for sources in before:
        best = -1
        for one in sources or [0]:
            if best < 0:
                best = one
            other = one
            while best != other:
                if best > other:
                    best = found[best]
                else:
                    other = found[other]
        found.append(best)
    return found
