"""Work that is done in float64 whatever the caller's configuration, and stays so under ``vmap`` of a jitted caller.

``jax.vmap`` of a jitted function rewrites what was traced before, outside of the ``enable_x64`` that it was traced in. Then
the batched program would mix float32 with float64. A rule for ``vmap`` goes back into float64 first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def within_float64(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return `work`, a function of arrays or pytrees, to be run inside ``jax.enable_x64(True)``. Not differentiable.

    `work` must not close over traced arrays; it says itself in which dtype its results are.

    >>> import jax.numpy as jnp
    >>> third = within_float64(lambda x: (1 / x.astype(jnp.float64)).astype(jnp.float32))
    >>> jax.vmap(jax.jit(third))(jnp.array([3.0], jnp.float32)).dtype.name
    'float32'
    """

    @jax.custom_batching.custom_vmap
    def run(*args: Any) -> Any:
        with jax.enable_x64(True):
            return work(*args)

    @run.def_vmap
    def _batched(size: int, is_batched: Any, *args: Any) -> tuple[Any, Any]:
        axes = jax.tree.map(lambda b: 0 if b else None, is_batched)
        out = within_float64(jax.vmap(work, in_axes=tuple(axes), axis_size=size))(*args)
        return out, jax.tree.map(lambda _: True, out)

    return run
