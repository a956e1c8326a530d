"""Functions of theory over grids of numbers, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.results import machine

Subject = TypeVar("Subject")
Found = TypeVar("Found")

AT_A_TIME = 256  # points evaluated together: their quadrature nodes stay in cache


def over(function: Callable[..., Any], *axes: np.ndarray, at_a_time: int = 1) -> Any:
    """Return a function of scalars at each point of axes of equal shape.

    There is a single compilation for all points. It costs seconds, so several grids are best joined before the call.

    Args:
        function: of as many scalars as there are axes; returns an array, or a tuple or dict of arrays.
        axes: of any shape.
        at_a_time: points that are evaluated together.

    >>> over(lambda a, b: a + b, np.ones((2, 3)), np.arange(6.0).reshape(2, 3), at_a_time=4).tolist()
    [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    shape, count = np.shape(axes[0]), np.size(axes[0])
    at_a_time = min(at_a_time, count)
    # Filled up to whole batches: jax.lax.map would compile the function once more for the rest.
    filled = np.minimum(np.arange(-(-count // at_a_time) * at_a_time), count - 1).reshape(-1, at_a_time)
    points = [np.ravel(np.asarray(axis, np.float64))[filled] for axis in axes]

    def batch(points):
        return jax.vmap(function)(*points) if at_a_time > 1 else _with_axis(function(*(p[0] for p in points)))

    with jax.enable_x64(True):
        found = jax.jit(lambda points: jax.lax.map(batch, points))([jnp.asarray(p) for p in points])

    def shaped(values):
        rows = np.asarray(values).reshape(filled.size, *values.shape[2:])
        return rows[:count].reshape(*shape, *values.shape[2:])

    return jax.tree.map(shaped, found)


def of_each(function: Callable[[Subject], Found], subjects: Iterable[Subject]) -> list[Found]:
    """Return a function of each subject: of as many at the same time as there are cores.

    Each activation has a program of its own, and XLA compiles a program on a single core. The programs must call no LAPACK
    (see ``jaxsat.linalg.lapack``).

    >>> of_each(str.upper, ["tanh", "relu"])
    ['TANH', 'RELU']
    """
    with ThreadPoolExecutor(machine.cores()) as threads:
        return list(threads.map(function, subjects))


def _with_axis(tree: Any) -> Any:
    return jax.tree.map(lambda value: jnp.asarray(value)[None], tree)
