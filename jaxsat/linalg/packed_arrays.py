"""The sizes of many arrays at once. XLA compiles some programs for each reduction: here all small arrays share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxsat.linalg.folding import ROW
from jaxsat.linalg.magnitudes import log_norm, maximum_or_nan, wide

ALONE = 1 << 20  # entries: an array of this size is worth programs of its own, and is not copied
ROOM = 1 << 24  # entries that are copied side by side


def norms_in_logs(arrays: Sequence[Float[Array, ...]]) -> Float[Array, " n"]:
    """Return ln of the Euclidean norm of each array; see :func:`jaxsat.linalg.magnitudes.magnitude`.

    Args:
        arrays: floating, of any shapes and dtypes, none empty. Those of fewer than 2^20 entries are copied.

    Accuracy: that of ``magnitude``, and a rounding error of the logarithm itself.

    >>> [round(float(one), 4) for one in norms_in_logs([jnp.array([3.0, 4.0]), jnp.full((2, 2), 1e-30)])]  # ln 5, ln 2e-30
    [1.6094, -68.3844]
    """
    return _each(arrays, log_norm, _log_norm_of_parts, -jnp.inf)


def means(arrays: Sequence[Float[Array, ...]]) -> Float[Array, " n"]:
    """Return the mean of each array, summed in float32 (float64 for float64).

    >>> [float(one) for one in means([jnp.array([1.0, 4.0]), jnp.zeros((2, 2))])]
    [2.5, 0.0]
    """
    sums = _each(arrays, lambda x: jnp.sum(x, dtype=wide(x.dtype)), lambda parts: jnp.sum(parts, axis=1), 0.0)
    return sums / np.array([array.size for array in arrays], sums.dtype)


def largest_magnitudes(arrays: Sequence[Float[Array, ...]]) -> Float[Array, " n"]:
    """Return the largest magnitude in each floating array, 0 if it is empty, NaN if there is a NaN in it.

    >>> [float(one) for one in largest_magnitudes([jnp.array([1.0, -4.0]), jnp.array([jnp.nan])])]
    [4.0, nan]
    """

    def largest(x: Array) -> Array:
        return maximum_or_nan(jnp.abs(x), initial=0.0).astype(wide(x.dtype))

    return _each(arrays, largest, lambda parts: maximum_or_nan(parts, axis=1), 0.0)


def _log_norm_of_parts(parts: Float[Array, "n parts"]) -> Float[Array, " n"]:
    """Return ln of the norm of some parts together."""
    most = jnp.max(parts, axis=1, keepdims=True)
    squares = jnp.where(parts == most, 1, jnp.exp(2 * (parts - most)))  # not inf - inf, nor of -inf of zeros
    return most[:, 0] + jnp.log(jnp.sum(squares, axis=1)) / 2


def _each(
    arrays: Sequence[Array], of_one: Callable[[Array], Array], of_parts: Callable[[Array], Array], neutral: float
) -> Float[Array, " n"]:
    """Return a number for each array: small ones are the rows of a matrix, which has all its numbers from one program.

    Args:
        arrays: of which.
        of_one: from an array, or a row of it, to its number.
        of_parts: from a table, a row of which has the numbers of one array's rows, to the numbers of the arrays.
        neutral: what the table is filled with.
    """
    groups, numbers = _groups(arrays), []
    for group in groups:
        if len(group) == 1:
            numbers.append(of_one(arrays[group[0]])[None])
            continue
        counts = [max(-(-arrays[i].size // ROW), 1) for i in group]
        filled = [
            part
            for i, count in zip(group, counts, strict=True)
            for part in (arrays[i].ravel(), jnp.zeros(count * ROW - arrays[i].size, arrays[i].dtype))
        ]
        matrix = lax.optimization_barrier(jnp.concatenate(filled).reshape(-1, ROW))
        rows = np.array(counts)
        of_rows = jax.vmap(of_one)(matrix)
        column, first = np.arange(rows.max()), (np.cumsum(rows) - rows)[:, None]
        table = np.where(column < rows[:, None], first + column, len(matrix))
        with_neutral = jnp.concatenate([of_rows, jnp.full(1, neutral, of_rows.dtype)])
        numbers.append(of_parts(with_neutral[table]))
    if not numbers:
        return jnp.zeros(0)
    widest = jnp.result_type(*numbers)
    joined = jnp.concatenate([one.astype(widest) for one in numbers])
    return joined[np.argsort([i for group in groups for i in group])]


def _groups(arrays: Sequence[Array]) -> list[list[int]]:
    """Return the arrays that go together, by index: small ones of a dtype, as many as fit."""
    groups: list[list[int]] = []
    last: dict[Any, tuple[list[int], int]] = {}
    for i, array in enumerate(arrays):
        if array.size >= ALONE or any(axis is not None for axis in jax.typeof(array).sharding.spec):
            groups.append([i])
            continue
        group, size = last.get(array.dtype, ([], ROOM))
        if size + array.size > ROOM:
            group, size = [], 0
            groups.append(group)
        group.append(i)
        last[array.dtype] = group, size + array.size
    return groups
