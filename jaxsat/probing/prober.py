"""Probing: from a function and its arguments to a report."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.checks import refusal
from jaxsat.jax_compat import ClosedJaxpr
from jaxsat.probing.arguments import (
    Split,
    check_alike,
    check_concrete,
    same_but_for_numbers,
    split,
)
from jaxsat.probing.diagnosis import diagnose, in_network
from jaxsat.probing.finding import Finding
from jaxsat.probing.flow_points import flow_of
from jaxsat.probing.gradient_paths import paths_of
from jaxsat.probing.gradient_rules import unreached, with_gradient
from jaxsat.probing.measuring import Measured, on_host
from jaxsat.probing.origins import origins_of
from jaxsat.probing.precision_rules import nonfinite
from jaxsat.probing.program import ProbeProgram, kept_program, weights_of
from jaxsat.probing.report import Report
from jaxsat.probing.sites import Site, site_records
from jaxsat.probing.tracing import trace_function
from jaxsat.probing.unit_rules import dead
from jaxsat.probing.weight_rules import WeightGradient, disconnected, imbalanced, weight_gradients, zero_weights

EXCESS = 0.01  # share of zero gradients beyond zero slopes that asks for a second look


def probe(fn: Callable[..., Any], *args: Any, loss: Callable[[Any], Any] | None = None, **kwargs: Any) -> Report:
    """Return a report on a function: where it saturates, where its gradient goes, and what is wrong.

    The function is read, not changed: no hooks, no sow. Its jaxpr is cut into linear maps and elementwise nonlinear
    pieces. It is evaluated once, with statistics taken at each piece. If it has a scalar output, it is differentiated
    once, for the gradient that arrives at each piece. jit, vmap, scan, cond, while, remat and custom derivatives are
    followed.

    Args:
        fn: a pure function, or a callable pytree such as an Equinox module. Flax, Haiku and plain JAX alike.
        args, kwargs: its arguments, as pytrees. Arrays are traced, anything else is taken as it is. The weight of a
            linear map is the operand that is an argument (sliced, transposed or cast, but otherwise unchanged). Where
            both operands are, it is the earlier one: parameters come before the data.
        loss: takes fn's output to a scalar. Not needed where fn has exactly one scalar floating output.

    Returns: a :class:`Report`, with .sites, .findings, .notes, .table(), .plot(), .dataset() and .scalars(). Inside a
        scan there is one record for each iteration. Of a while loop the last iteration is kept, without gradients.

    Cost: one forward and one backward pass with reductions. The function is traced at each call. It is compiled at the
        first one: the last 16 compiled programs are kept, and a call that traces to the same computation uses them
        again, with the arrays and the numbers that fn closes over at that time. :func:`prepare` saves the trace too.
        Of an activation, ten numbers for each unit and 512 inputs are kept. A second backward pass is made only where a
        gradient underflowed.

    Accuracy: the same equations are evaluated in the same order, in the run's own dtype. XLA may fuse them otherwise
        than in jit(fn), so last bits may differ. Slopes are autodiff's, with its rounding. Sums are kept in float32
        (float64 for float64).
        Not seen: maxout and pooling (a maximum over an axis is no elementwise piece); PReLU whose vector of slopes has
        the shape of a single unbatched input; what happens inside Pallas kernels (a note says so). Inside shard_map each
        shard counts as an iteration, and a unit as dead if it is so for the examples of its shard.

    Raises:
        TypeError: fn is not callable; an argument is traced (inside jit); loss does not give one floating scalar.

    >>> w = jnp.full((3, 3), 2.0)
    >>> report = probe(lambda w, x: jnp.sum(jnp.tanh(x @ w)), w, jnp.ones((2, 3)))
    >>> [(site.kind, site.shape, site.saturated_fraction) for site in report.sites]
    [('tanh', (2, 3), 1.0)]
    >>> [finding.code for finding in report.findings]
    ['saturated']
    """
    return prepare(fn, *args, loss=loss, **kwargs)(*args, **kwargs)


ZERO_WEIGHTS = (
    "gradients are exactly 0, since the weights {} are all zeros. A network may start so on purpose: such weights get a "
    "gradient themselves, and the first step changes them. Probe again after a step."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A probe that is traced once. Call it with arguments of the same structure, shapes and dtypes.

    What the function closes over is taken as it was when it was prepared.
    """

    _fn: Callable[..., Any]
    _loss: Callable[[Any], Any] | None
    _program: ProbeProgram
    _constants: tuple[Any, ...]
    _own: Sequence[Any]
    _given: Split
    _names: tuple[str, ...]
    _notes: tuple[str, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Report:
        """Return the report for these arguments. If a number that is no array has changed, fn is traced again.

        Raises:
            TypeError: an argument is traced.
            ValueError: arguments of another structure, shape or dtype than those it was prepared for.
        """
        given = split((args, kwargs))
        if given.structure != self._given.structure or not same_but_for_numbers(given.static, self._given.static):
            rule = f"have the structure that it was prepared for, {self._given.structure}"
            raise ValueError(refusal("probe", "arguments", rule, given.structure, "Prepare another probe for these."))
        arrays = [*self._own, *given.arrays]
        check_concrete(arrays, self._names)
        check_alike(self._program.leaves, arrays, self._names)
        if given.static != self._given.static:
            return probe(self._fn, *args, loss=self._loss, **kwargs)
        return self._report(arrays)

    def compile(self) -> Any:
        """Return the compiled program, as ``jax.stages.Compiled``: for its cost and memory analysis."""
        return self._program.compiled.lower(self._constants, self._program.leaves, 1.0).compile()

    def _report(self, arrays: Sequence[Any]) -> Report:
        run = self._program.compiled
        measured = on_host(run(self._constants, arrays, 1.0))
        multiplied = None
        factor = _factor(self._program, measured)
        if factor is not None:
            again = jax.device_get(run(self._constants, arrays, factor).backward)
            multiplied = again, math.log(factor)
        described = self._program.survey.sites
        found = site_records(described, measured.forward, measured.backward, multiplied, self._names)
        measured = measured._replace(loss=None if measured.loss is None else float(measured.loss))
        loss = math.nan if measured.loss is None else measured.loss
        rows = dict(zip(weights_of(self._program.survey), measured.weights.T, strict=False))  # none without a loss
        weights = weight_gradients(rows, self._names, [leaf.shape for leaf in self._program.leaves])
        points = flow_of(self._program.survey.places, measured.backward, multiplied, self._names)
        if _is_nonfinite(measured, found):
            finite = [site for site in in_network(found) if site.nonfinite_fraction == 0]
            findings = [self._nonfinite(measured, found, arrays), *dead(finite)]
            return Report(found, tuple(findings), self._notes, loss, points, weights)
        stopped, notes = unreached(in_network(found)) if measured.loss is not None else ([], [])
        zero = self._zero_weights(measured, found)
        if zero:
            notes.append(ZERO_WEIGHTS.format(" and ".join(zero)))
        paths = paths_of(self._program.graph, described, found, self._program.survey.places, points)
        findings = [*diagnose(found, bool(zero), paths)]
        of_weights = [] if zero else self._of_weights(findings, weights, notes)
        alive = any(one.log_gradient_norm > -math.inf for one in weights)
        if stopped and not (alive and of_weights):  # weights say more exactly where it stops
            of_weights = stopped
        findings += of_weights
        return Report(found, tuple(findings), (*self._notes, *notes), loss, points, weights)

    def _of_weights(
        self, known: Sequence[Finding], weights: Sequence[WeightGradient], notes: list[str]
    ) -> list[Finding]:
        """Return findings on weights that others do not explain; notes are added to."""
        made, codes = self._program, {finding.code for finding in known}
        if codes & {"dead", "vanishing", "exploding", "saturated", "underflow"} or made.loss is None:
            return []
        found = imbalanced(weights)
        if any(one.log_gradient_norm == -math.inf for one in weights):
            why = zero_weights(made.jaxpr, made.survey.products, made.loss, weights, self._names)
            cut_off, more = disconnected(why)
            notes += more
            found += cut_off
        return found

    def _nonfinite(self, measured: Measured, found: Sequence[Site], arrays: Sequence[Any]) -> Finding:
        """Return the finding that something is not finite.

        Arguments that hold a NaN explain everything. Those that hold +inf explain a NaN that is made before any other
        infinity; -inf is what masks are made of.
        """
        sizes = list(zip(self._names, measured.arguments, strict=True))
        bad = [name for name, size in sizes if math.isnan(size)]
        if bad:
            return nonfinite(found, bad, [], measured.loss)
        made = self._program
        first = origins_of(made.jaxpr, self._constants, arrays, made.loss)
        infinite = [(name, array) for (name, size), array in zip(sizes, arrays, strict=True) if math.isinf(size)]
        if first and first[0].what == "NaN" and not first[0].backward:
            infinite = [(name, array) for name, array in infinite if bool(jnp.any(jnp.isposinf(array)))]
        elif first:
            infinite = []
        return nonfinite(found, [name for name, _ in infinite], first, measured.loss)

    def _zero_weights(self, measured: Measured, found: Sequence[Site]) -> list[str]:
        """Return the names of the weights of linear maps that are all zeros, if a gradient is exactly 0."""
        if not any(site.log_gradient_norm == -math.inf for site in found):
            return []
        weights = sorted({leaf for leaf in self._program.survey.products.values() if leaf >= 0})
        return [self._names[leaf] for leaf in weights if measured.arguments[leaf] == 0]


def prepare(fn: Callable[..., Any], *args: Any, loss: Callable[[Any], Any] | None = None, **kwargs: Any) -> Prepared:
    """Return a probe for many calls, such as one every thousand steps of a training loop: traced once.

    Arguments and errors as :func:`probe`; the result takes the same arguments as fn.

    >>> ready = prepare(lambda x: jnp.sum(jnp.maximum(x, 0)), jnp.ones(4))
    >>> [ready(x).sites[0].dead_fraction for x in (jnp.ones(4), -jnp.ones(4))]
    [0.0, 1.0]
    """
    traced = trace_function("probe", fn, args, kwargs, loss)
    made = kept_program(_owner(fn), traced.closed, traced.arrays, traced.loss, traced.names)
    notes = _notes(made, traced.closed, traced.scalars, traced.loss)
    return Prepared(fn, loss, made, traced.constants, traced.own, traced.given, traced.names, notes)


def _owner(fn: Callable[..., Any]) -> object:
    """Return what a function is known by: its code, so that a lambda made again at the same line is the same."""
    return getattr(inspect.unwrap(fn), "__code__", type(fn))


def _is_nonfinite(measured: Measured, found: Sequence[Site]) -> bool:
    """Return whether the loss, a site or a gradient is not finite, or another output NaN."""
    results = bool(np.any(np.isnan(measured.outputs)))
    loss = measured.loss is not None and not np.isfinite(measured.loss)
    forward = any(site.nonfinite_fraction > 0 for site in found)
    gradients = any(not site.log_gradient_norm < math.inf for site in with_gradient(found))
    return forward or gradients or results or loss


def _factor(made: ProbeProgram, measured: Measured) -> float | None:
    """Return what to multiply E by to see gradients that underflowed; None where none seems to have."""
    forward, backward = measured.forward, measured.backward
    rows = {site.root: site for site in made.survey.sites if site.root in backward}
    suspicious = False
    for root, site in rows.items():
        zero, subnormal = np.moveaxis(np.asarray(backward[root], float), -1, 0)[2:]
        flat = np.nan_to_num(np.asarray(forward[site.end].zero_slope_fraction, float))
        suspicious |= bool(np.any((subnormal > 0) | (zero > flat + EXCESS)))
    if not suspicious:
        return None
    largest = max(float(np.max(np.asarray(backward[root])[..., 1])) for root in rows)
    least = min(float(np.log(float(jnp.finfo(site.dtype).max))) for site in rows.values())
    room = (least - max(largest, 0.0)) / math.log(2) - 6  # bits, some of them kept for what lies between the sites
    return 2.0 ** int(room) if math.isfinite(room) and room >= 1 else None


def _notes(made: ProbeProgram, closed: ClosedJaxpr, scalars: Sequence[str], which: int | None) -> tuple[str, ...]:
    """Return what the probe could not see, and why."""
    notes = [
        f"{name} at {where} is not understood: what happens inside it is not seen, gradients pass through it."
        for name, where in made.survey.unread
        if name != "while"
    ]
    if closed.effects:
        effects = sorted(map(str, closed.effects))
        notes.append(f"the function is not pure: it has side effects ({', '.join(effects)}).")
    if not any(jnp.issubdtype(v.dtype, jnp.floating) for v in [*made.leaves, *closed.consts]):
        notes.append("no floating-point array goes into the function: there is nothing to measure.")
    elif not made.survey.sites:
        notes.append("no nonlinear site was found.")
    loops = [where for name, where in made.survey.unread if name == "while"]
    if loops:
        notes.append(f"of the while loop at {' and '.join(loops)} only the last iteration is seen, and no gradients.")
    if made.loss is None and made.survey.sites:
        notes.append(_without_gradients(scalars, which))
    return tuple(notes)


def _without_gradients(scalars: Sequence[str], which: int | None) -> str:
    if which is not None:
        return "no gradients, since they would go through a while loop: use scan or fori_loop with a fixed length."
    if len(scalars) > 1:
        return (
            f"no gradients, since several outputs are scalars ({', '.join(scalars)}): say which is the loss, as in "
            f"loss=lambda output: {scalars[0]}."
        )
    return "no scalar output, so no gradients: return a loss, or name one with loss=lambda output: ..."
