"""Layer normalisation of one layer's units, and its derivative.

    h = (a - mean(a)) / s,    s^2 = mean((a - mean(a))^2),    dh/da = (1 - 1 1^T / n - h h^T / n) / s

without learned gain and shift, and without the small number that training programs add to the variance: h does not
depend on the scale of a, however small that is.

References: Ba, Kiros & Hinton 2016, eq. 3.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LOST = 2  # directions that each normalisation takes away


def layer_normalized(a: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """Return the normalised units, of mean 0 and mean square 1, and the standard deviation s that divided them.

    If all units are equal, s = 0, h = 0 and the derivative is 0, in autodiff too.

    >>> h, s = layer_normalized(jnp.array([1.0, 3.0]))
    >>> h.tolist(), float(s), layer_normalized(jnp.full(3, 0.1))[0].tolist()
    ([-1.0, 1.0], 1.0, [0.0, 0.0, 0.0])
    """
    # h depends neither on the unit that is subtracted first (equal units give exact zeros then) nor on the largest that
    # is divided out (squares neither overflow nor vanish): constants to autodiff.
    centred = a - jax.lax.stop_gradient(a[0])
    centred = centred - jnp.mean(centred)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(centred)))
    equal = largest == 0
    relative = centred / jnp.where(equal, 1, largest)
    root = jnp.sqrt(jnp.where(equal, 1, jnp.mean(relative * relative)))
    return jnp.where(equal, 0, relative / root), jnp.where(equal, 0, largest * root)


def projected(v: Float[Array, "*batch n"], h: Float[Array, " n"]) -> Float[Array, "*batch n"]:
    """Return s dh/da v: v without its parts along (1, .., 1) and h. This matrix is symmetric and has rank n - 2.

    >>> h, s = layer_normalized(jnp.array([1.0, 2.0, 4.0]))
    >>> bool(jnp.abs(projected(jnp.array([5.0, 6.0, 8.0]), h)).max() < 1e-5)  # shifted and stretched: h would stay
    True
    """
    h = jnp.broadcast_to(h, v.shape)
    rest = v - jnp.mean(v, axis=-1, keepdims=True)
    return rest - jnp.mean(rest * h, axis=-1, keepdims=True) * h


@jax.jit
def lost_directions_first(h: Float[Array, " n"]) -> Float[Array, "n n"]:
    """Return an orthogonal matrix whose first two columns lie along (1, .., 1) and h: what the derivative takes away.

    Args:
        h: the normalised units; all 0 if all units were equal. Then the second column is any direction.

    >>> h, s = layer_normalized(jnp.array([1.0, 2.0, 4.0]))
    >>> bool(jnp.abs(projected(lost_directions_first(h).T, h)[:2]).max() < 1e-6)
    True
    """
    n = h.shape[0]
    q = jnp.eye(n, dtype=h.dtype)
    for k, direction in enumerate((jnp.ones_like(h), h)[:n]):
        # Householder: what the direction has left below row k turns onto row k.
        rest = jnp.where(jnp.arange(n) >= k, q.T @ direction, 0)
        length = jnp.sqrt(jnp.sum(rest * rest))
        normal = rest.at[k].add(jnp.where(rest[k] < 0, -length, length))
        squared = jnp.sum(normal * normal)
        q = q - 2 / jnp.where(squared > 0, squared, 1) * jnp.outer(q @ normal, normal)
    return q


def log_reciprocal(s: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Return ln(1 / s), the other factor of the derivative; -inf where s = 0, because the derivative is 0 there.

    >>> jnp.exp(log_reciprocal(jnp.array([0.5, 0.0]))).tolist()
    [2.0, 0.0]
    """
    return jnp.where(s == 0, -jnp.inf, -jnp.log(jnp.where(s == 0, 1, s)))
