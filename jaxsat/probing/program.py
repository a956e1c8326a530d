"""The compiled program of a probe: one evaluation of the function, with statistics taken at every site."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxsat.jax_compat import ClosedJaxpr
from jaxsat.probing import measuring
from jaxsat.probing.reader import Context, Reader, Use
from jaxsat.probing.rules import read, rule_of
from jaxsat.probing.survey import SiteDescription, Survey, survey_of
from jaxsat.probing.values import Address, Arrays, key_of


@dataclasses.dataclass(frozen=True, eq=False)
class ProbeProgram:
    """A function read once, for arguments of one structure.

    Attributes:
        survey: its sites.
        loss: index of the scalar output that gradients are taken of; None if there is none.
        leaves: shapes and dtypes of what it takes.
        compiled: (constants, leaves, factor) -> loss, {end: Forward}, {root: rows of Backward}, the last of them for the
            loss multiplied by the factor. The constants are the arrays that the function closes over.
        evaluate: (constants, leaves, sinks) -> outputs, {end: Forward}: what is compiled, before it is differentiated.
    """

    survey: Survey
    loss: int | None
    leaves: Sequence[jax.ShapeDtypeStruct]
    compiled: Callable[..., Any]
    evaluate: Callable[..., Any]


def probe_program(closed: ClosedJaxpr, leaves: Arrays, loss: int | None) -> ProbeProgram:
    """Return the probe of a jaxpr, not compiled yet."""
    found = survey_of(closed, leaves)
    hear = _measurements(found.sites)

    def evaluate(constants, leaves, sinks):
        context = Context(rule_of, hear, _tie if sinks else _leave, found.cuts)
        return read(context, closed, constants, leaves, sinks)

    if any(name == "while" for name, _ in found.unread):
        compute = _computation(evaluate, found, loss)
        try:
            jax.eval_shape(compute, list(closed.consts), list(leaves), 1.0)
        except ValueError:  # the gradient goes through the loop, and has no way back
            loss = None
    shapes = [jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
    return ProbeProgram(found, loss, shapes, jax.jit(_computation(evaluate, found, loss)), evaluate)


def _computation(evaluate: Callable[..., Any], found: Survey, loss: int | None) -> Callable[..., Any]:
    """Return the function that is compiled."""

    def compute(constants, leaves, factor):
        if loss is None:
            return None, evaluate(constants, leaves, {})[1], {}

        def objective(sinks):
            outputs, results = evaluate(constants, leaves, sinks)
            return outputs[loss], results

        sinks = {site.root: measuring.sink(site) for site in found.sites if not site.in_while}
        value, pull, results = jax.vjp(objective, sinks, has_aux=True)
        (gradients,) = pull(jnp.asarray(factor).astype(value.dtype))
        return value, results, gradients

    return compute


def _measurements(sites: Sequence[SiteDescription]) -> Callable[[Use], None]:
    """Return a listener that measures these sites."""
    by_end = {site.end: site for site in sites}

    def hear(use: Use) -> None:
        results = use.reader.results
        nodes = list(use.value.ancestors())
        for i, node in enumerate(nodes):
            site = by_end.get(key_of(node.address))
            if site is None or site.end in results:
                continue
            root = next((older for older in nodes[i:] if key_of(older.address) == site.root), None)
            if root is not None:
                results[site.end] = measuring.forward(site, root, node)

    return hear


def _leave(reader: Reader, address: Address, array: Any) -> Any:
    return array


def _tie(reader: Reader, address: Address, array: Any) -> Any:
    """Tie a value to its sink, if it has one."""
    key = key_of(address)
    return measuring.tied(array, reader.sinks[key]) if key in reader.sinks else array
