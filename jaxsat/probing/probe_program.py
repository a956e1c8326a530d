"""The compiled program of a probe: one evaluation of the function, with statistics taken at every place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxsat.probing import measuring, places
from jaxsat.probing.places import Place
from jaxsat.probing.reader import Reader, key_of
from jaxsat.probing.values import Address, Value


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A function read once, for arguments of one structure.

    Attributes:
        survey: its places.
        loss: index of the scalar output that gradients are taken of; None if there is none.
        constants: arrays that the function closes over.
        leaves: what it takes.
        compiled: (constants, leaves, factor) -> loss, {end: Forward}, {root: rows of Backward}, the last of them for the
            loss multiplied by the factor.
        evaluate: (constants, leaves, sinks) -> outputs, {end: Forward}: what is compiled, before it is differentiated.
    """

    survey: places.Survey
    loss: int | None
    constants: Sequence[Any]
    leaves: Sequence[jax.ShapeDtypeStruct]
    compiled: Callable[..., Any]
    evaluate: Callable[..., Any]


def program(closed: Any, leaves: Sequence[Any], loss: int | None) -> Program:
    """Survey a jaxpr and jit its probe."""
    found = places.survey(closed, leaves)
    by_end: dict[str, Place] = {place.end: place for place in found.places}

    def hear(reader: Reader, value: Value, by: str) -> None:
        nodes = list(value.ancestors())
        for i, node in enumerate(nodes):
            place = by_end.get(key_of(node.address))
            if place is None or place.end in reader.results:
                continue
            root = next((one for one in nodes[i:] if key_of(one.address) == place.root), None)
            if root is not None:
                reader.results[place.end] = measuring.forward(place, root, node)

    def tap(address: Address, array: Any, sinks: Mapping[str, Any]) -> Any:
        key = key_of(address) if sinks else ""
        return measuring.tied(array, sinks[key]) if key in sinks else array

    def evaluated(constants, leaves, sinks):
        reader = Reader(hear, tap, sinks, found.cuts)
        outputs = reader.run(closed, places.inputs(reader, leaves), (), constants=constants)
        return reader.finish(outputs), reader.results

    def compute(constants, leaves, factor):
        if loss is None:
            return None, evaluated(constants, leaves, {})[1], {}

        def objective(sinks, which=loss):
            outputs, results = evaluated(constants, leaves, sinks)
            return outputs[which], results

        sinks = {place.root: measuring.sink(place) for place in found.places if not place.in_while}
        value, pull, results = jax.vjp(objective, sinks, has_aux=True)
        (gradients,) = pull(jnp.asarray(factor).astype(value.dtype))
        return value, results, gradients

    if any(name == "while" for name, _ in found.unread):
        try:
            jax.eval_shape(compute, list(closed.consts), list(leaves), 1.0)
        except ValueError:  # the gradient goes through the loop, and has no way back
            loss = None
    shapes = [jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
    return Program(found, loss, [jnp.asarray(c) for c in closed.consts], shapes, jax.jit(compute), evaluated)
