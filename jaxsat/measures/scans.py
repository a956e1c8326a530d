"""Checks of a scan, as users give it, and its form for the code that measures it: a function between vectors.

A scan is ``step(carry, x) -> carry``, as ``jax.lax.scan`` repeats it: a recurrent network over time, a deep one over its
layers. The carry may be any pytree of floating-point arrays. Its numbers, leaf after leaf, are the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsat import checks
from jaxsat.checks import Shown, refusal
from jaxsat.jax_compat import Tracer


class VectorScan(NamedTuple):
    """A scan between vectors.

    Attributes:
        step: (state, x) -> state, vectors of n numbers.
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


def vector_scan(where: str, step: Callable[[Any, Any], Any], carry: Any, xs: Any, length: int | None) -> VectorScan:
    """Return a scan as a function between vectors. No number is computed, and nothing is compiled.

    Raises:
        TypeError: a step that cannot be called, a carry that is not floating-point, a step that returns another structure
            or other dtypes.
        ValueError: a carry that is empty or not finite; inputs of unequal lengths, or none; a step that changes a shape.
    """
    if not callable(step):
        raise TypeError(refusal(where, "step", "be a function (carry, x) -> carry", Shown(type(step).__name__)))
    check_floating(where, "carry", carry, "Integers have no gradient; give them in `xs`.")
    length = _length(where, xs, length)
    _check_step(where, step, carry, xs)
    carry = jax.tree.map(jnp.asarray, carry)
    leaves, tree = jax.tree.flatten(carry)
    widest = max((leaf.dtype for leaf in leaves), key=lambda dtype: dtype.itemsize)
    dtype = widest if widest.itemsize >= 4 else jnp.dtype(jnp.float32)
    sizes = [leaf.size for leaf in leaves]

    def carry_of(state: Array) -> Any:
        parts = jnp.split(state, np.cumsum(sizes)[:-1])
        parts = [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(tree, parts)

    def vector_step(state: Array, x: Any) -> Array:
        return vector_of(step(carry_of(state), x), dtype)

    return VectorScan(vector_step, vector_of(carry, dtype), xs, length, carry_of)


def vector_of(tree: Any, dtype: Any) -> Float[Array, " n"]:
    """Return the numbers of a pytree as one vector."""
    return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in jax.tree.leaves(tree)])


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
        raise ValueError(refusal(where, "xs", "have one length in all leaves", Shown(", ".join(map(str, lengths)))))
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


def _check_step(where: str, step: Callable[[Any, Any], Any], carry: Any, xs: Any) -> None:
    def shapes(carry: Any, xs: Any) -> Any:
        return carry, step(carry, jax.tree.map(lambda a: a[0], xs))

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
