"""Arrays beside a scale of their own: they neither underflow nor overflow, and sums of them are right.

While a scan runs, the scale is a power of two: multiplying by it costs no rounding, and powers of two add up as integers.
What users get has a natural logarithm.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int

from jaxsat.linalg.lapack import again_if

_OF_ZEROS = -(2**30)  # the exponent where all entries are zero


class ScaledArrays(NamedTuple):
    """Arrays direction * exp(log_scale), for each step where there are several; the largest entry of direction is +-1.

    Attributes:
        direction: a pytree. Integers, which have no gradient, have None in it.
        log_scale: natural logarithms; -inf where all entries are zero, with a direction of zeros.
    """

    direction: Any
    log_scale: Float[Array, "*steps"]

    @property
    def log_norms(self) -> Float[Array, "*steps"]:
        """ln of the Euclidean norm of all entries together."""
        squares = _sum_of_squares(self.direction, self.log_scale.ndim).astype(self.log_scale.dtype)
        return self.log_scale + jnp.log(jnp.maximum(squares, 1)) / 2


class Powered(NamedTuple):
    """A pytree times 2^exponent, for each step where there are several."""

    tree: Any
    exponent: Int[Array, "*steps"]


def renormalised(powered: Powered) -> Powered:
    """Return the same with the largest entry in [1/2, 1).

    >>> Powered(*map(float, renormalised(Powered(jnp.float32(12.0), jnp.int32(0)))))  # 0.75 * 2^4
    Powered(tree=0.75, exponent=4.0)
    """
    largest = _largest(powered.tree, 0)
    shift = jnp.frexp(largest)[1]
    exponent = jnp.where(largest == 0, _OF_ZEROS, powered.exponent + shift)
    return Powered(_times_power(powered.tree, -shift), exponent)


def zeros_like(tree: Any) -> Powered:
    """Return the empty sum."""
    return Powered(jax.tree.map(jnp.zeros_like, tree), jnp.full((), _OF_ZEROS, jnp.int32))


def added(total: Powered, more: Powered, size: Int[Array, ""]) -> Powered:
    """Return a sum of many terms, its exponent about that of the largest term.

    Args:
        total: the sum so far.
        more: the next term, its entries of any size.
        size: about the exponent that :func:`renormalised` would give it.
    """
    exponent = jnp.maximum(total.exponent, size)
    low = _times_power(total.tree, total.exponent - exponent)
    return Powered(jax.tree.map(jnp.add, low, _times_power(more.tree, more.exponent - exponent)), exponent)


def size_and_log_norm(powered: Powered, dtype: DTypeLike) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Return an exponent within some powers of two of the norm's, _OF_ZEROS for zeros, and ln of the Euclidean norm.

    Squares are summed as they are, which is fast, and again beside the largest entry only if they left the range of numbers.
    """
    leaves = _wide(powered.tree)
    squares = functools.reduce(jnp.add, [jnp.vdot(a, a) for a in leaves]) if leaves else jnp.zeros(())
    info = jnp.finfo(squares.dtype)
    safe = (squares > float(info.tiny / info.eps**2)) & (squares < float(info.max * info.eps))
    size = powered.exponent + jnp.frexp(jnp.sqrt(jnp.where(safe, squares, 1)))[1]
    log = _log_of_power(powered.exponent, dtype) + jnp.log(squares).astype(dtype) / 2

    def carefully(tree):
        scaled = renormalised(Powered(tree, powered.exponent))
        return scaled.exponent, log_norm_of_powered(scaled, dtype)

    return again_if(~safe, carefully, powered.tree, 0.0, (size, log)) if leaves else carefully(powered.tree)


def log_norm_of_powered(powered: Powered, dtype: DTypeLike) -> Float[Array, ""]:
    """Return ln of the Euclidean norm of what is renormalised."""
    return _log_of_power(powered.exponent, dtype) + jnp.log(_sum_of_squares(powered.tree, 0)).astype(dtype) / 2


def with_log_scale(powered: Powered, dtype: DTypeLike) -> ScaledArrays:
    """Return the same with natural logarithms, and a largest entry of 1 at each step."""
    steps = powered.exponent.ndim
    largest = _largest(powered.tree, steps)
    safe = jnp.where(largest == 0, 1, largest)

    def divided(a):
        return a / safe.astype(a.dtype).reshape(safe.shape + (1,) * (a.ndim - steps))

    log_scale = _log_of_power(powered.exponent, dtype) + jnp.log(largest).astype(dtype)
    return ScaledArrays(jax.tree.map(divided, powered.tree), log_scale)


def _log_of_power(exponent: Array, dtype: DTypeLike) -> Array:
    return exponent.astype(dtype) * float(np.log(2))


def _times_power(tree: Any, exponent: Int[Array, ""]) -> Any:
    """Return a pytree times 2^exponent, in two factors: one alone may be no normal number. Exact, or 0 far below."""

    def times(a):
        most = int(jnp.finfo(a.dtype).maxexp) - 2
        half = jnp.clip(exponent, -2 * most, 2 * most) // 2
        rest = jnp.clip(exponent, -2 * most, 2 * most) - half
        one = jnp.ones((), a.dtype)
        return a * jnp.ldexp(one, half) * jnp.ldexp(one, rest)

    return jax.tree.map(times, tree)


def _largest(tree: Any, steps: int) -> Float[Array, "*steps"]:
    """Return the largest |entry| over all leaves, at each step; 0 for a tree without leaves."""
    sizes = [jnp.max(jnp.abs(a), axis=_rest(a, steps), initial=0) for a in _wide(tree)]
    return functools.reduce(jnp.maximum, sizes) if sizes else jnp.zeros(())


def _sum_of_squares(tree: Any, steps: int) -> Float[Array, "*steps"]:
    squares = [jnp.sum(a**2, axis=_rest(a, steps)) for a in _wide(tree)]
    return functools.reduce(jnp.add, squares) if squares else jnp.zeros(())


def _rest(a: Array, steps: int) -> tuple[int, ...]:
    return tuple(range(steps, a.ndim))


def _wide(tree: Any) -> list[Array]:
    """Return the leaves in one dtype, that of the widest, float32 at least."""
    leaves = jax.tree.leaves(tree)
    widest = max((leaf.dtype for leaf in leaves), key=lambda dtype: dtype.itemsize, default=None)
    dtype = widest if widest is not None and widest.itemsize >= 4 else jnp.float32
    return [leaf.astype(dtype) for leaf in leaves]
