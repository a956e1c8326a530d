"""One LAPACK call after the other.

XLA's CPU runtime (seen with jaxlib 0.10.2) hangs for good when as many batched LAPACK calls run side by side as it has
threads, two on a machine of two cores: each waits for threads that the others hold. It runs side by side whatever does
not depend on each other, so calls that would not are made to.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array


def after(earlier: Array, value: Array) -> Array:
    """`value`, bit for bit, but not to be had before `earlier` is.

    Args:
        earlier: floating-point, any numbers, NaN among them.
        value: floating-point, or random keys.

    >>> after(jnp.ones(3), jnp.arange(2.0)).tolist()
    [0.0, 1.0]
    """
    if earlier.size == 0:
        return value
    # Not optimization_barrier: XLA drops it before it decides what runs side by side. That `never` is false it cannot
    # tell, and so it waits (tests/test_ordering.py looks for the dependency in the compiled program).
    first = earlier.reshape(-1)[0]
    never = jnp.isnan(jnp.where(jnp.isnan(first), 0, first))
    is_key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return jnp.where(never, jax.random.fold_in(value, 0) if is_key else jnp.nan, value)
