"""Probing: from a function and its arguments to a report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.probing.findings import findings
from jaxsat.probing.program import ProbeProgram, probe_program
from jaxsat.probing.report import Report
from jaxsat.probing.sites import site_records

EXCESS = 0.01  # share of zero gradients beyond zero slopes that asks for a second look


def probe(fn: Callable[..., Any], *args: Any, loss: Callable[[Any], Any] | None = None) -> Report:
    """Where a function saturates and where its gradient goes: statistics of every nonlinear site, and what is wrong.

    The function is read, not changed: no hooks, no sow. Its jaxpr is cut into linear maps and elementwise nonlinear
    pieces; it is evaluated once with statistics taken at each piece, and, where it has a scalar output, differentiated
    once for the gradient that arrives there. jit, vmap, scan, cond, while, remat and custom derivatives are followed.

    Args:
        fn: a pure function, or a callable pytree such as an Equinox module. Flax, Haiku and plain JAX alike.
        args: its arguments, as pytrees; arrays are traced, anything else is taken as it is. The weight of a linear map is
            the operand that is an argument (sliced, transposed or cast, but otherwise unchanged), the earlier one where
            both are: parameters come before the data.
        loss: takes fn's output to a scalar. Not needed where fn has exactly one scalar floating output.

    Returns: a :class:`Report`, with .sites, .findings, .notes, .table(), .plot(), .dataset() and .scalars(). Inside a
        scan there is one record for each iteration; of a while loop the last iteration is kept, without gradients.

    Cost: one forward and one backward pass with reductions, and the time to trace and compile, which :func:`prepare`
        pays once for many calls. Nothing of the size of an activation is kept for it. A second backward pass is made
        only where a gradient underflowed.

    Accuracy: the same equations are evaluated in the same order, in the run's own dtype; XLA may fuse them otherwise than
        in jit(fn), so last bits may differ. Slopes are autodiff's, with its rounding. Sums are kept in float32 (float64
        for float64).
        Not seen: maxout and pooling (a maximum over an axis is no elementwise piece); PReLU whose vector of slopes has
        the shape of a single unbatched input; what happens inside shard_map and Pallas kernels (a note says so).

    Raises:
        TypeError: fn is not callable; loss does not give one floating scalar.

    >>> w = jnp.full((3, 3), 2.0)
    >>> report = probe(lambda w, x: jnp.sum(jnp.tanh(x @ w)), w, jnp.ones((2, 3)))
    >>> [(site.kind, site.shape, site.saturated_fraction) for site in report.sites]
    [('tanh', (2, 3), 1.0)]
    >>> [finding.code for finding in report.findings]
    ['saturated']
    """
    return prepare(fn, *args, loss=loss)(*args)


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A probe that is traced and compiled once; call it with arguments of the same structure, shapes and dtypes."""

    _program: ProbeProgram
    _constants: tuple[Any, ...]
    _fn_leaves: tuple[Any, ...]
    _structure: Any
    _static: tuple[Any, ...]
    _names: dict[int, str]
    _notes: tuple[str, ...]

    def __call__(self, *args: Any) -> Report:
        """The report for these arguments.

        Raises:
            ValueError: arguments of another structure, shape or dtype than those it was prepared for.
        """
        leaves, structure = jax.tree.flatten(args)
        arrays, static = _split(leaves)
        if structure != self._structure or not _same(static, self._static):
            raise ValueError(
                f"probe: arguments must have the structure that it was prepared for, {self._structure}; got {structure}. "
                "Prepare another one."
            )
        leaves = [*self._fn_leaves, *arrays]
        want = [(v.shape, v.dtype) for v in self._program.leaves]
        got = [(jnp.shape(a), jnp.result_type(a)) for a in leaves]
        if want != got:
            i = next(i for i, pair in enumerate(zip(want, got, strict=True)) if pair[0] != pair[1])
            raise ValueError(
                f"probe: {self._names.get(i, 'an argument')} must have the shape and dtype that it was prepared for, "
                f"{want[i][1]}{list(want[i][0])}; got {got[i][1]}{list(got[i][0])}. Prepare another one."
            )
        return self._report(leaves)

    def compile(self) -> Any:
        """The compiled program, as ``jax.stages.Compiled``: for its cost and memory analysis."""
        made = self._program
        return made.compiled.lower(self._constants, made.leaves, 1.0).compile()

    def _report(self, leaves: Sequence[Any]) -> Report:
        run = self._program.compiled
        constants = self._constants
        value, forward, backward = jax.device_get(run(constants, leaves, 1.0))
        multiplied = None
        factor = _factor(self._program, forward, backward)
        if factor is not None:
            again = jax.device_get(run(constants, leaves, factor)[2])
            multiplied = again, math.log(factor)
        found = site_records(self._program.survey.sites, forward, backward, multiplied, self._names)
        loss = float("nan") if value is None else float(value)
        return Report(found, findings(found), self._notes, loss)


def prepare(fn: Callable[..., Any], *args: Any, loss: Callable[[Any], Any] | None = None) -> Prepared:
    """A probe for many calls, such as one every thousand steps of a training loop: traced and compiled once.

    Arguments and errors as :func:`probe`; the result takes the same args.

    >>> ready = prepare(lambda x: jnp.sum(jnp.maximum(x, 0)), jnp.ones(4))
    >>> [ready(x).sites[0].dead_fraction for x in (jnp.ones(4), -jnp.ones(4))]
    [0.0, 1.0]
    """
    if not callable(fn):
        raise TypeError(f"probe: `fn` must be a function, as in probe(fn, *args); got {type(fn).__name__}.")
    fn_leaves, fn_structure = jax.tree.flatten(fn)
    fn_arrays, fn_static = _split(fn_leaves)
    leaves, structure = jax.tree.flatten(args)
    arrays, static = _split(leaves)

    def flat(*values):
        mine, theirs = values[: len(fn_arrays)], values[len(fn_arrays) :]
        call = jax.tree.unflatten(fn_structure, _joined(fn_static, mine))
        result = call(*jax.tree.unflatten(structure, _joined(static, theirs)))
        scalar = None if loss is None else loss(result)
        return [leaf for leaf in jax.tree.leaves(result) if _is_array(leaf)], scalar

    try:
        closed, shapes = jax.make_jaxpr(flat, return_shape=True)(*fn_arrays, *arrays)
    except Exception as error:
        error.add_note(
            "jaxsat.probe: this came up while fn was traced. It must be a pure JAX function of its arguments: pass modules "
            "with state (Flax nnx) as an argument, or split them with nnx.split and merge(..., copy=True) inside."
        )
        raise
    which = _scalar(shapes, loss is not None)
    made = probe_program(closed, [*fn_arrays, *arrays], which)
    names = _names(fn, args)
    constants = tuple(jnp.asarray(array) for array in closed.consts)
    return Prepared(
        made, constants, tuple(fn_arrays), structure, tuple(static), names, _notes(made, closed, which is not None)
    )


def _scalar(shapes: Any, named: bool) -> int | None:
    """Index of the output that gradients are taken of."""
    outputs, scalar = shapes
    if named:
        if getattr(scalar, "shape", None) != () or not jnp.issubdtype(scalar.dtype, jnp.floating):
            raise TypeError(f"probe: `loss` must take fn's output to one floating scalar; got {scalar}.")
        return len(outputs)
    fits = [i for i, s in enumerate(outputs) if s.shape == () and jnp.issubdtype(s.dtype, jnp.floating)]
    return fits[0] if len(fits) == 1 else None


def _factor(made: ProbeProgram, forward: Any, backward: Any) -> float | None:
    """What to multiply E by to see gradients that underflowed; None where none seems to have."""
    rows = {place.root: place for place in made.survey.sites if place.root in backward}
    suspicious = False
    for root, place in rows.items():
        zero, subnormal = np.moveaxis(np.asarray(backward[root], float), -1, 0)[2:]
        flat = np.nan_to_num(np.asarray(forward[place.end].zero_slope_fraction, float))
        suspicious |= bool(np.any((subnormal > 0) | (zero > flat + EXCESS)))
    if not suspicious:
        return None
    largest = max(float(np.max(np.asarray(backward[root])[..., 1])) for root in rows)
    least = min(float(np.log(float(jnp.finfo(place.dtype).max))) for place in rows.values())
    room = (least - max(largest, 0.0)) / math.log(2) - 6  # bits, some of them kept for what lies between the sites
    return 2.0 ** int(room) if math.isfinite(room) and room >= 1 else None


def _notes(made: ProbeProgram, closed: Any, scalar: bool) -> tuple[str, ...]:
    notes = [
        f"{name} at {where} is not understood: what happens inside it is not seen, gradients pass through it."
        for name, where in made.survey.unread
        if name != "while"
    ]
    if closed.effects:
        notes.append(f"the function is not pure: it has side effects ({', '.join(sorted(map(str, closed.effects)))}).")
    if not any(jnp.issubdtype(v.dtype, jnp.floating) for v in [*made.leaves, *closed.consts]):
        notes.append("no floating-point array goes into the function: there is nothing to measure.")
    elif not made.survey.sites:
        notes.append("no nonlinear site was found.")
    loops = [where for name, where in made.survey.unread if name == "while"]
    if loops:
        notes.append(f"of the while loop at {' and '.join(loops)} only the last iteration is seen, and no gradients.")
    if made.loss is None and made.survey.sites:
        notes.append(
            "no gradients, since they would go through a while loop: use scan or fori_loop with a fixed length."
            if scalar and loops
            else "no scalar output, so no gradients: return a loss, or name one with loss=lambda output: ..."
        )
    return tuple(notes)


def _names(fn: Any, args: Sequence[Any]) -> dict[int, str]:
    """Paths of the traced arrays, by index: 'args[0].layers[1].weight'."""
    own = jax.tree_util.tree_flatten_with_path(fn)[0]
    given = jax.tree_util.tree_flatten_with_path(tuple(args))[0]
    found = [f"fn{jax.tree_util.keystr(path)}" for path, leaf in own if _is_array(leaf)]
    found += [f"args{jax.tree_util.keystr(path)}" for path, leaf in given if _is_array(leaf)]
    return dict(enumerate(found)) | {-1: "a constant"}


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _split(leaves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Arrays, and what is left with None in their place."""
    return [leaf for leaf in leaves if _is_array(leaf)], [None if _is_array(leaf) else leaf for leaf in leaves]


def _joined(static: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
    """Inverse of :func:`_split`. (A pytree has no leaf that is None.)"""
    rest = iter(arrays)
    return [next(rest) if leaf is None else leaf for leaf in static]


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(a is b or a == b for a, b in zip(one, other, strict=True))
