"""A graded product whose factors are not stored: each is the derivative of a step, taken where the steps before have led.

The arithmetic is that of ``graded``, P = X diag(exp d) T, but a factor comes as a *push*: a function that takes the place
one step on, and the columns of X with it. Memory does not grow with the number of steps. The first X may have fewer columns
than the factors: then the product is that of all factors and the matrix that it begins with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxsat.linalg import graded_steps, graded_svd
from jaxsat.linalg.elimination import Elimination
from jaxsat.linalg.graded_steps import Graded
from jaxsat.linalg.lapack import again_if

Place = tuple[Any, Graded]
Push = Callable[[Any, Any, Array], tuple[Any, Array]]


def product_of_pushes(
    push: Push, place: Any, xs: Any, frame: Float[Array, "r n"], steps: int, *, in_pairs: bool, reverse: bool = False
) -> Graded:
    """Return J_T ... J_1 F as X diag(exp d) T. All in float64; call it inside ``jax.enable_x64(True)``.

    Args:
        push: (place, x, xt) -> (the next place, xt J^T), with directions as rows.
        place: where the first factor is taken, a pytree of floating-point arrays.
        xs: what the steps differ in, a pytree of stacked arrays; None if nothing.
        frame: F transposed, its rows of about length 1.
        steps: the number T of factors.
        in_pairs: decompose after every other factor where pivots show that 1e-4 in ln s is kept, else after each.
        reverse: take xs from the end.
    """
    r = frame.shape[0]
    carry = place, Graded(frame, jnp.zeros(r), jnp.eye(r))
    if not in_pairs:
        return _singly(push, xs, steps, reverse, carry)[1]
    odd = steps % 2
    head = jax.tree.map(lambda a: a[len(a) - odd :] if reverse else a[:odd], xs)
    carry = _singly(push, head, odd, reverse, carry)
    rest = jax.tree.map(lambda a: a[: len(a) - odd] if reverse else a[odd:], xs)
    rest = jax.tree.map(lambda a: a.reshape(-1, 2, *a.shape[1:]), rest)
    pair = functools.partial(_pair, push, reverse)
    return jax.lax.scan(pair, carry, rest, length=steps // 2, reverse=reverse)[0][1]


def log_values_of_product(state: Graded) -> Float[Array, " r"]:
    """Return ln of the singular values of X diag(exp d) T, descending; -inf beyond its rank."""
    return graded_svd.log_values(*graded_steps.absorbed(state))


def _singly(push: Push, xs: Any, steps: int, reverse: bool, carry: Place) -> Place:
    def single(carry: Place, x: Any) -> tuple[Place, None]:
        place, state = carry
        place, bt = push(place, x, state.xt)
        return (place, graded_steps.decomposed_step(bt, state, jnp.zeros(()))[0]), None

    return jax.lax.scan(single, carry, xs, length=steps, reverse=reverse)[0]


def _pair(push: Push, reverse: bool, carry: Place, xs: Any) -> tuple[Place, None]:
    place, state = carry
    bt, rank = state.xt, graded_svd.rank_of(state.d)
    for i in (1, 0) if reverse else (0, 1):
        place, bt = push(place, jax.tree.map(lambda a, i=i: a[i], xs), bt)
        rank = jnp.minimum(rank, jnp.sum(jnp.any(bt != 0, axis=0)))
    new, made, _ = graded_steps.decomposed_step(bt, state, jnp.zeros(()), rank)
    singly = functools.partial(_singly, push, xs, 2, reverse)
    return again_if(~_is_sound(bt, made, rank), singly, carry, 0.0, (place, new)), None


def _is_sound(bt: Float[Array, "r m"], made: Elimination, rank: Int[Array, ""]) -> Bool[Array, ""]:
    """Return whether no pivot before the rank is tiny beside its row: elimination respects the sizes of rows."""
    sizes = jnp.max(jnp.abs(bt), axis=0)[made.rows]
    large = jnp.abs(made.pivots) >= graded_steps.SMALLEST_PIVOT * sizes
    return jnp.all(large | (jnp.arange(large.size) >= rank))
