"""Checks of a scan, as users give it, and its form for the code that measures it: a function between vectors.

A scan is ``step(carry, x) -> carry``, as ``jax.lax.scan`` repeats it: a recurrent network over time, a deep one over its
layers. The carry may be any pytree of floating-point arrays. Its numbers, leaf after leaf, are the state.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from jaxsat import checks
from jaxsat.activations.full_slopes import with_full_slopes
from jaxsat.checks import Shown, refusal
from jaxsat.jax_compat import Tracer, eval_jaxpr, opened
from jaxsat.networks.protocol import ScanStep


class VectorScan(NamedTuple):
    """A scan between vectors.

    Attributes:
        step: (state, x) -> state, vectors of n numbers; slopes of sigmoids do not cancel (see ``full_slopes``).
        state: the first state.
        xs: the inputs, or None.
        length: the number of steps.
        carry_of: from a state to the user's carry.
    """

    step: Callable[[Array, Any], Array]
    state: Float[Array, " n"]
    xs: Any
    length: int
    carry_of: Callable[[Array], Any]


def vector_scan(step: ScanStep, carry: Any, xs: Any, length: int) -> VectorScan:
    """Return a scan, checked before, as a function between vectors of the carry's widest dtype, float32 at least."""
    leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, carry))
    widest = max((leaf.dtype for leaf in leaves), key=lambda dtype: dtype.itemsize)
    dtype = widest if widest.itemsize >= 4 else jnp.dtype(jnp.float32)
    ends = np.cumsum([leaf.size for leaf in leaves])

    def carry_of(state: Array) -> Any:
        parts = jnp.split(state, ends[:-1])
        parts = [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(tree, parts)

    def vector_step(state: Array, x: Any) -> Array:
        return vector_of(step(carry_of(state), x), dtype)

    return VectorScan(with_full_slopes(vector_step), vector_of(leaves, dtype), xs, length, carry_of)


def vector_of(tree: Any, dtype: DTypeLike) -> Float[Array, " n"]:
    """Return the numbers of a pytree as one vector."""
    return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in jax.tree.leaves(tree)])


def as_static(step: ScanStep) -> ScanStep:
    """Return a step that can be a static argument of ``jax.jit``: the same one where it can be hashed."""
    try:
        hash(step)
    except TypeError:
        return lambda carry, x: step(carry, x)
    return step


# --- derivatives of a step ---------------------------------------------------------------------------------------


def with_derivative(
    step: ScanStep, state: Float[Array, " n"], x: Any
) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Return the next state, and its derivative with respect to the state (h = J x)."""
    new, push = jax.linearize(lambda state: step(state, x), state)
    return new, jax.vmap(push, in_axes=1, out_axes=1)(jnp.eye(state.size, dtype=state.dtype))


class ClosedStep(NamedTuple):
    """A step between vectors as a function of all that it depends on: of what it closed over, too.

    It is traced in the caller's precision, and may be run where float64 is on.

    Attributes:
        constants: what the step closes over.
        step: (constants, state, x) -> state.
        push: (constants, state, x, xt) -> the next state, and xt J^T in float64, with directions as rows. J is made first,
            in the caller's precision. Where a step begins with a matrix, XLA then does that part once for all steps.
    """

    constants: list[Any]
    step: Callable[[Any, Array, Any], Array]
    push: Callable[[Any, Array, Any, Array], tuple[Array, Array]]

    @classmethod
    def of(cls, scan: VectorScan) -> ClosedStep:
        """Return the step of a scan."""
        first = first_of(scan.xs)
        body, constants = opened(jax.make_jaxpr(scan.step)(scan.state, first))

        def step(constants, state, x):
            return eval_jaxpr(body, constants, state, *jax.tree.leaves(x))[0]

        def derivative(constants, state, x):
            return with_derivative(functools.partial(step, constants), state, x)

        both = _traced(derivative, list(constants), scan.state, first)

        def push(constants, state, x, xt):
            state, jacobian = both(constants, state, x)
            return state, jnp.einsum("rn,mn->rm", xt, jacobian.astype(jnp.float64))

        return cls(list(constants), step, push)

    def moves(self, scan: VectorScan, directions: Float[Array, "r n"]) -> tuple[Callable, Callable]:
        """Return (constants, state, x, xt) -> (state, xt J^T) and (constants, (), (state, x), xt) -> ((), xt J).

        Args:
            scan: that of this step.
            directions: of the shape that is moved, in the carry's dtype: the products are made in it.
        """

        def forth(constants, state, x, xt):
            new, push = jax.linearize(lambda state: self.step(constants, state, x), state)
            return new, jax.vmap(push)(xt)

        def back(constants, state, x, xt):
            return jax.vmap(jax.vjp(lambda state: self.step(constants, state, x), state)[1])(xt)[0]

        examples = self.constants, scan.state, first_of(scan.xs), directions
        push, pull = _traced(forth, *examples), _traced(back, *examples)

        def pushed(constants, state, x, xt):
            state, xt = push(constants, state, x, xt.astype(directions.dtype))
            return state, xt.astype(jnp.float64)

        def pulled(constants, _, at, xt):
            return (), pull(constants, *at, xt.astype(directions.dtype)).astype(jnp.float64)

        return pushed, pulled


def first_of(xs: Any) -> Any:
    """Return the inputs of the first step."""
    return jax.tree.map(lambda a: jnp.asarray(a)[0], xs)


def _traced(fn: Callable[..., Any], *examples: Any) -> Callable[..., Any]:
    """Return a function as it is traced here, with the dtypes that it has here."""
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*examples)
    body, constants = opened(closed)

    def again(*args: Any) -> Any:
        return jax.tree.unflatten(jax.tree.structure(shapes), eval_jaxpr(body, constants, *jax.tree.leaves(args)))

    return again


# --- checks: no number is computed, nothing is compiled ----------------------------------------------------------


def checked_length(where: str, step: ScanStep, carry: Any, xs: Any, length: int | None) -> int:
    """Return the number of steps of a scan that is as it must be.

    Raises:
        TypeError: a step that cannot be called, a carry that is not floating-point, a step that returns another structure
            or other dtypes.
        ValueError: a carry that is empty or not finite; inputs of unequal lengths, or none; a step that changes a shape.
    """
    if not callable(step):
        raise TypeError(refusal(where, "step", "be a function (carry, x) -> carry", Shown(type(step).__name__)))
    _refuse_modules(where, step)
    check_floating(where, "carry", carry, "Integers have no gradient: make them floats, or give them in `xs`.")
    for leaf in jax.tree.leaves(xs):
        dtype = getattr(leaf, "dtype", type(leaf))
        if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.number, jnp.bool_, jax.dtypes.prng_key)):
            raise TypeError(refusal(where, "xs", "be arrays of numbers", Shown(f"dtype {dtype}")))
    length = _length(where, xs, length)
    _check_step(where, step, carry, xs)
    return length


def _refuse_modules(where: str, step: Any) -> None:
    """Raise for a cell of a library itself: its arguments have another order, or it needs its parameters."""
    library = type(step).__module__.partition(".")[0]
    given = {"flax": "lambda carry, x: cell.apply(params, carry, x)[0]", "equinox": "lambda h, x: cell(x, h)"}
    if library in given:
        rule, remedy = "be a function (carry, x) -> carry", f"Write {given[library]}."
        raise TypeError(refusal(where, "step", rule, Shown(f"{type(step).__name__} of {library}"), remedy))


def check_floating(where: str, name: str, tree: Any, remedy: str = "") -> None:
    """Refuse a pytree that has no numbers, or others than floating-point, or NaN or infinity as far as is known."""
    given = jax.tree.leaves(tree)
    for leaf in given:
        dtype = getattr(leaf, "dtype", type(leaf))
        if not jnp.issubdtype(dtype, jnp.floating):
            came = Shown(f"dtype {dtype}") if hasattr(leaf, "dtype") else leaf
            raise TypeError(refusal(where, name, "be floating-point arrays", came, remedy))
        if not isinstance(leaf, Tracer) and not np.isfinite(np.asarray(leaf, np.float64)).all():
            raise ValueError(refusal(where, name, "be finite", Shown("NaN or infinity")))
    if sum(np.size(leaf) for leaf in given) == 0:
        raise ValueError(refusal(where, name, "have at least one number", Shown("none")))


def _length(where: str, xs: Any, length: int | None) -> int:
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(xs)]
    if any(not shape for shape in shapes):
        raise ValueError(refusal(where, "xs", "have the steps as its first axis", Shown("a single number")))
    lengths = sorted({shape[0] for shape in shapes})
    if len(lengths) > 1:
        came = Shown(", ".join(map(str, lengths)))
        raise ValueError(refusal(where, "xs", "have one length in all leaves", came))
    if length is not None:
        length = checks.integer(where, "length", length)
        if lengths and lengths != [length]:
            raise ValueError(refusal(where, "length", f"be the length {lengths[0]} of `xs`", length, "Leave it out."))
        return length
    if not lengths:
        raise ValueError(refusal(where, "length", "be given where `xs` has no arrays", None))
    if lengths == [0]:
        raise ValueError(refusal(where, "xs", "have at least one step", Shown("none")))
    return lengths[0]


def _check_step(where: str, step: ScanStep, carry: Any, xs: Any) -> None:
    def shapes(carry: Any, xs: Any) -> Any:
        new = step(carry, jax.tree.map(lambda a: a[0], xs))
        for leaf in jax.tree.leaves(new):
            if not isinstance(leaf, (jax.Array, np.ndarray, int, float, complex)):
                raise TypeError(refusal(where, "step", "return arrays", Shown(type(leaf).__name__)))
        return carry, new

    given, back = jax.eval_shape(shapes, carry, xs)
    if jax.tree.structure(given) != jax.tree.structure(back):
        forms = [str(jax.tree.structure(tree)).removeprefix("PyTreeDef") for tree in (given, back)]
        remedy = "If it returns (carry, y), give: lambda carry, x: step(carry, x)[0]."
        raise TypeError(refusal(where, "step", f"return a carry of the form {forms[0]}", Shown(forms[1]), remedy))
    for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(back), strict=True):
        if a.shape != b.shape:
            raise ValueError(refusal(where, "step", f"keep the carry's shape {a.shape}", Shown(b.shape)))
        if a.dtype != b.dtype:
            remedy = f"Cast what it returns to {a.dtype}, or give the carry in {b.dtype}."
            raise TypeError(refusal(where, "step", f"keep the carry's dtype {a.dtype}", Shown(b.dtype), remedy))
