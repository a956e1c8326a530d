"""What XLA runs when: one LAPACK call after the other, and work that is done only where it is needed.

XLA's CPU runtime (seen with jaxlib 0.10.2) can hang for good when as many batched LAPACK calls run side by side as it
has threads (two on a machine of two cores): each call waits for threads that the others hold. XLA runs calls side by
side if they do not depend on each other. :func:`after` makes them depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

T = TypeVar("T")
Given = TypeVar("Given")


def after(earlier: Array, value: Array) -> Array:
    """Return `value` unchanged, but force XLA to compute `earlier` first.

    Args:
        earlier: floating-point, any numbers, NaN among them.
        value: floating-point, or random keys.

    >>> after(jnp.ones(3), jnp.arange(2.0)).tolist()
    [0.0, 1.0]
    """
    if earlier.size == 0:
        return value
    # Not optimization_barrier: XLA drops it before it decides what runs side by side. XLA cannot know that `never` is
    # false, and so it waits (tests/linalg/test_lapack.py looks for the dependency in the compiled program).
    first = earlier.reshape(-1)[0]
    never = jnp.isnan(jnp.where(jnp.isnan(first), 0, first))
    is_key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return jnp.where(never, jax.random.fold_in(value, 0) if is_key else jnp.nan, value)


def holds_lapack_calls(program_text: str) -> bool:
    """Return whether a lowered program calls LAPACK: then no other such program may run at the same time.

    >>> holds_lapack_calls(jax.jit(jnp.linalg.qr).lower(jnp.eye(2)).as_text())
    True
    """
    return "lapack" in program_text


def again_if(needed: Bool[Array, ""], work: Callable[[Given], T], given: Given, idle: float, otherwise: T) -> T:
    """Return work(given) where `needed` is true, and `otherwise` elsewhere, without doing the work where it is not.

    Under ``vmap``, ``lax.cond`` does the work of both branches for every member of a batch. A loop that runs at most
    once does the work only if some member needs it. Members that do not need it keep the bits of `otherwise`.

    Args:
        needed: a scalar.
        work: a function of `given`, whose result has the form of `otherwise`.
        given: an array, or a tree of arrays, of floating-point numbers that all of the work depends on. XLA moves what
            does not depend on the loop's state out of the loop, and would compute it always.
        idle: the number that members of a batch work on instead of `given` where they do not need it.
        otherwise: the result where the work is not needed.

    >>> again_if(jnp.array(True), lambda x: x + 1, jnp.array(1.0), 0.0, jnp.array(0.0)).item()
    2.0
    """

    def body(carry: tuple[Array, T]) -> tuple[Array, T]:
        own = jax.tree.map(lambda a: jnp.where(carry[0], a, idle), given)
        return jnp.zeros_like(carry[0]), work(own)

    return jax.lax.while_loop(lambda carry: carry[0], body, (needed, otherwise))[1]
