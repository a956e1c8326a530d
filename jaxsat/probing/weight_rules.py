"""Gradients of the weights themselves: which are exactly 0, and why; which are far from the others'."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsat.probing.finding import Finding
from jaxsat.probing.flow_graph import Node, graph_of
from jaxsat.probing.values import Address

FAR = math.log(1000)  # of gradient by weight, from the median of all weights
LEAST = 4  # weights, for a median to mean something
_SHOWN = 4  # names in a message


@dataclasses.dataclass(frozen=True)
class WeightGradient:
    """The gradient of one weight: an argument that data are multiplied by.

    Attributes:
        name: path in the arguments.
        shape: of the weight.
        log_gradient_norm: ln ||dE/dW||; -inf where it is exactly 0.
        log_weight_norm: ln ||W||; -inf where it is all zeros.
    """

    name: str
    shape: tuple[int, ...]
    log_gradient_norm: float
    log_weight_norm: float

    @property
    def log_ratio(self) -> float:
        """ln (||dE/dW|| / ||W||); NaN if one of them is exactly 0."""
        with np.errstate(invalid="ignore"):
            ratio = float(np.subtract(self.log_gradient_norm, self.log_weight_norm))
        return ratio if math.isfinite(ratio) else math.nan


class ZeroWeights(NamedTuple):
    """Why gradients of weights are exactly 0.

    Attributes:
        cut_off: names of those that lead to weights with a gradient, but get none: something stops it on the way.
        frozen: those whose map gets a gradient, though they do not: they are stopped themselves.
        aside: those that lead to the loss by a way that no gradient passes, such as a target network.
        unused: those that the loss does not depend on.
        everything: whether no weight has a gradient.
    """

    cut_off: tuple[str, ...]
    frozen: tuple[str, ...]
    aside: tuple[str, ...]
    unused: tuple[str, ...]
    everything: bool


def weight_gradients(
    rows: Mapping[int, Any], names: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> tuple[WeightGradient, ...]:
    """Return the records: `rows` has ln of the norms of gradient and weight, by the index of the argument."""
    return tuple(
        WeightGradient(names[leaf], shapes[leaf], float(row[0]), float(row[1])) for leaf, row in sorted(rows.items())
    )


def zero_weights(
    jaxpr: Any, products: Mapping[Address, int], loss: int, weights: Sequence[WeightGradient], names: Sequence[str]
) -> ZeroWeights:
    """Return why some weights have no gradient, by the graph of the function, with and without what stops gradients.

    Args:
        jaxpr, products, loss: of the program.
        weights: of this run.
        names: of the arguments.
    """
    gone = {one.name for one in weights if one.log_gradient_norm == -math.inf}
    points: dict[Address, str] = {(*address, 0): names[leaf] for address, leaf in products.items() if leaf >= 0}
    through, stopped = (graph_of(jaxpr, points, loss, cut) for cut in (False, True))

    def name(node: Node) -> str:
        return points[node.address]

    reached = _leading_to(stopped.before, set(stopped.last))
    to_alive = _leading_to(through.before, {node for node in reached if name(node) not in gone})
    to_loss = _leading_to(through.before, set(through.last))
    sorts: tuple[list[str], ...] = ([], [], [], sorted(gone - {name(node) for node in through.before}))
    for one in dict.fromkeys(name(node) for node in through.before if name(node) in gone):  # in program order
        nodes = {node for node in through.before if name(node) == one}
        if nodes & reached:
            sorts[1].append(one)
        elif nodes & to_alive:
            sorts[0].append(one)
        else:
            sorts[2 if nodes & to_loss else 3].append(one)
    return ZeroWeights(*map(tuple, sorts), len(gone) == len(weights))


def _leading_to(before: Mapping[Node, Any], ends: set[Node]) -> set[Node]:
    found = set(ends)
    for node in reversed(list(before)):
        if node in found:
            found |= before[node]
    return found


def disconnected(zero: ZeroWeights) -> tuple[list[Finding], list[str]]:
    """Return a finding for weights that are cut off, and notes for those that may be meant to have no gradient."""
    notes: list[str] = []
    if zero.everything and zero.aside:
        message = (
            f"No weight gets a gradient, neither {_listed(zero.aside)} nor any other: between them and the loss stands "
            "stop_gradient, or a function without a derivative (round, sign, argmax, a comparison)."
        )
        advice = "Let the loss depend on the weights by a path with derivatives."
        return [Finding("disconnected", (), message, advice, "no derivative on the way", "high")], notes
    if zero.frozen:
        notes.append(
            f"no gradient for {_listed(zero.frozen)}, though what they make gets one: they are frozen by stop_gradient."
        )
    if zero.aside:
        notes.append(
            f"no gradient for {_listed(zero.aside)}: they act on the loss only through stop_gradient or the like."
        )
    if zero.unused:
        notes.append(f"the loss does not depend on {_listed(zero.unused)}.")
    if not zero.cut_off:
        return [], notes
    last = f", {zero.cut_off[-1]} the last of them" if len(zero.cut_off) > _SHOWN else ""
    message = (
        f"The gradient is exactly 0 for {_listed(zero.cut_off)}{last}, though weights after them get one: stop_gradient, or "
        "a function without a derivative (round, sign, argmax), stands in between."
    )
    advice = "If these weights are to be trained, remove it, or pass the gradient straight through."
    return [Finding("disconnected", (), message, advice, cause="no derivative on the way", confidence="high")], notes


def imbalanced(weights: Sequence[WeightGradient]) -> list[Finding]:
    """Return a finding for weights whose gradient, divided by their size, is far from the others'."""
    known = [one for one in weights if not math.isnan(one.log_ratio) and len(one.shape) > 1]  # scales may start small
    if len(known) < LEAST:
        return []
    middle = float(np.median([one.log_ratio for one in known]))
    far = [one for one in known if abs(one.log_ratio - middle) >= FAR]
    near = [one.log_ratio for one in known if one not in far]
    if not far or len(far) > len(known) // 4 or max(near) - min(near) >= FAR:  # the others are alike
        return []
    said = ", ".join(f"{one.name} {math.exp(min(one.log_ratio - middle, 700)):.1g}x" for one in far[:_SHOWN])
    message = (
        f"The gradient divided by the weight's size is far from that of the median of {len(known)} weights: {said}."
    )
    advice = "One learning rate does not suit all: Adam, or another scale of these weights, makes steps of one relative size."
    return [Finding("imbalanced", (), message, advice, cause="scales of weights", confidence="medium")]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
