"""The compiled program of a probe: one evaluation of the function, with statistics taken at every site.

Programs are kept in the process. A function is traced at every probe, which is quick; where the result is a computation
that was compiled before, the compiled program is used again, with the arrays that the function closes over now.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsat.jax_compat import ClosedJaxpr, Jaxpr, same_computation, same_numbers
from jaxsat.linalg.packed_arrays import norms_in_logs
from jaxsat.probing import measuring
from jaxsat.probing.flow_graph import FlowGraph, graph_of
from jaxsat.probing.gradient_paths import with_streams
from jaxsat.probing.measuring import Measured
from jaxsat.probing.reader import Context, Use, unchanged
from jaxsat.probing.reading import read, rule_of
from jaxsat.probing.site_statistics import settled
from jaxsat.probing.site_sums import forward
from jaxsat.probing.survey import SiteDescription, Survey, survey_of
from jaxsat.probing.values import Arrays, Value, key_of


@dataclasses.dataclass(frozen=True, eq=False)
class ProbeProgram:
    """A function read once, for arguments of one structure.

    Attributes:
        jaxpr: the function.
        survey: its sites.
        graph: which measured gradients lie on the way of which; None without a loss.
        loss: index of the scalar output that gradients are taken of; None if there is none.
        leaves: shapes and dtypes of what it takes.
        compiled: (constants, leaves, factor) -> :class:`Measured`, gradients being those of the loss multiplied by the
            factor. The constants are the arrays that the function closes over.
        evaluate: (constants, leaves, sinks) -> outputs, {end: stacked Forward}: what is compiled, before it is differentiated.
    """

    jaxpr: Jaxpr
    survey: Survey
    graph: FlowGraph | None
    loss: int | None
    leaves: Sequence[jax.ShapeDtypeStruct]
    compiled: jax.stages.Wrapped
    evaluate: Callable[..., Any]


class _Kept(NamedTuple):
    """A program, and what it was made for. Large arrays that the function closes over are not held."""

    owner: object
    loss: int | None
    scalars: tuple[Any, ...]
    program: ProbeProgram


KEPT = 16  # programs; the one that was not used for longest goes first
_kept: list[_Kept] = []


def kept_program(
    owner: object, closed: ClosedJaxpr, leaves: Arrays, loss: int | None, names: tuple[str, ...] = ()
) -> ProbeProgram:
    """Return the program for a jaxpr: that of an earlier probe if it fits, else a new program.

    Args:
        owner: what the function is known by. Two jaxprs are the same computation only if their owners are equal.
        closed: the function. Scalars that it closes over may decide what an activation is called, so their values
            must be the same too.
        leaves, loss, names: as of :func:`probe_program`.
    """
    owner = owner, names
    scalars = tuple(array for array in closed.consts if jnp.ndim(array) == 0)
    for i, kept in enumerate(_kept):
        same = (kept.owner, kept.loss, len(kept.scalars)) == (owner, loss, len(scalars))
        if same and all(map(same_numbers, kept.scalars, scalars)) and same_computation(kept.program.jaxpr, closed):
            _kept.insert(0, _kept.pop(i))
            return kept.program
    made = probe_program(closed, leaves, loss, names)
    _kept.insert(0, _Kept(owner, loss, scalars, made))
    del _kept[KEPT:]
    return made


def probe_program(closed: ClosedJaxpr, leaves: Arrays, loss: int | None, names: tuple[str, ...] = ()) -> ProbeProgram:
    """Return the probe of a jaxpr, not compiled yet.

    Args:
        closed: the function.
        leaves: its arguments, or their shapes and dtypes.
        loss: index of the output that gradients are taken of; None for no gradients.
        names: of the arguments.
    """
    found = survey_of(closed, leaves, names)
    hear, jaxpr = measurements(found.sites, forward), closed.jaxpr

    def evaluate(constants, leaves, sinks):
        tap = measuring.tie if sinks else unchanged
        context = Context(rule_of, hear, tap, settle=settled, cuts=found.cuts)
        return read(context, jaxpr, constants, leaves, sinks)

    if any(name == "while" for name, _ in found.unread):
        compute = _computation(evaluate, found, loss)
        try:
            jax.eval_shape(compute, list(closed.consts), list(leaves), 1.0)
        except ValueError:  # the gradient goes through the loop, and has no way back
            loss = None
    shapes = [jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
    graph = None
    if loss is not None:
        points = {key.address for key in (*found.sites, *found.places)}
        summands = {address for place in found.places for one in place.summands for address in one}
        graph = graph_of(jaxpr, points | summands | found.maps, loss)
        found = dataclasses.replace(found, places=with_streams(found.places, graph, found.maps))
    return ProbeProgram(jaxpr, found, graph, loss, shapes, jax.jit(_computation(evaluate, found, loss)), evaluate)


def _computation(evaluate: Callable[..., Any], found: Survey, loss: int | None) -> Callable[..., Any]:
    """Return the function that is compiled."""

    def compute(constants, leaves, factor):
        arguments = measuring.largest(leaves)
        if loss is None:
            outputs, results = evaluate(constants, leaves, {})
            return Measured(None, results, {}, arguments, measuring.largest(outputs), jnp.zeros((2, 0)))

        def objective(sinks, weights):
            given = [weights.get(i, leaf) for i, leaf in enumerate(leaves)]
            outputs, results = evaluate(constants, given, sinks)
            return outputs[loss], (results, measuring.largest(outputs))

        sinks = {one.root: measuring.sink(one) for one in (*found.places, *found.sites) if not one.in_while}
        weights = {leaf: leaves[leaf] for leaf in weights_of(found)}
        value, pull, (results, outputs) = jax.vjp(objective, sinks, weights, has_aux=True)
        gradients, of_weights = pull(jnp.asarray(factor).astype(value.dtype))
        sizes = norms_in_logs([one[i] for one in (of_weights, weights) for i in weights])
        return Measured(value, results, gradients, arguments, outputs, sizes.reshape(2, len(weights)))

    return compute


def weights_of(found: Survey) -> list[int]:
    """Return the arguments that are weights or scales. Where there is a while loop, none: gradients may not pass it."""
    if any(name == "while" for name, _ in found.unread):
        return []
    return sorted({leaf for leaf in found.products.values() if leaf >= 0})


def measurements(
    sites: Sequence[SiteDescription], measure: Callable[[SiteDescription, Value, Value], Any]
) -> Callable[[Use], None]:
    """Return a listener that writes measure(site, root, end) of each of these sites into the results, under its end."""
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
                results[site.end] = measure(site, root, node)

    return hear
