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
        earlier: floating-point. Where its first entry is NaN, `value` is NaN too, or another key.
        value: floating-point, or random keys.

    >>> after(jnp.ones(3), jnp.arange(2.0)).tolist()
    [0.0, 1.0]
    """
    if earlier.size == 0:
        return value
    # Not optimization_barrier: XLA drops it before it decides what runs side by side.
    lost = jnp.isnan(earlier.reshape(-1)[0])
    is_key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return jnp.where(lost, jax.random.fold_in(value, 0) if is_key else jnp.nan, value)
