"""The singular values of diag(exp d) G by Jacobi rotations, for every device but a CPU.

One-sided Jacobi turns rows in pairs until all are orthogonal. Here rows have length 1, and their lengths are logarithms:
no number overflows, and every value is right relative to itself. n / 2 pairs turn at once, so a sweep is n - 1 steps.

The libraries of accelerators promise only eps times the largest value. For a TPU, ``jnp.linalg.svd`` is a program that
JAX writes when it lowers, outside ``enable_x64``: there it cannot be float64.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

SWEEPS = 30  # random matrices need 8 to 10


def jacobi_log_values(
    g: Float[Array, "r r"], d: Float[Array, " r"], rank: Int[Array, ""]
) -> tuple[Float[Array, " r"], Float[Array, "r r"]]:
    """Return ln of the first `rank` singular values of diag(exp d) G, -inf for the others, and right vectors as rows.

    Args:
        g: any finite matrix; NaN anywhere gives NaN throughout.
        d: natural logarithms, or -inf.
        rank: how many singular values are not zero; columns of `g` from there on count as zero.

    Accuracy: relative to each value, eps times the condition of G with rows of length 1 (Demmel & Veselic 1992).
    """
    r = d.size
    g = jnp.where(jnp.arange(r)[None, :] < rank, g, 0.0)
    sound = jnp.all(jnp.isfinite(g)) & jnp.all(d < jnp.inf)
    extra = r % 2
    rows = jnp.pad(jnp.where(sound, g, 0.0), ((0, extra), (0, 0)))
    logs, rows = _normalised(jnp.pad(d, (0, extra), constant_values=-jnp.inf), rows)
    after = _next_partners(r + extra)

    def turn(carry, _):
        logs, rows, worst = carry
        logs, rows, cosine = _turned(logs, rows)
        return (logs[after], rows[after], jnp.maximum(worst, cosine)), None

    def sweep(carry):
        logs, rows, _, count = carry
        (logs, rows, worst), _ = jax.lax.scan(turn, (logs, rows, jnp.zeros(())), length=max(r + extra - 1, 1))
        return logs, rows, worst, count + 1

    start = logs, rows, jnp.ones(()), jnp.zeros((), jnp.int32)
    logs, rows, _, _ = jax.lax.while_loop(lambda c: (c[2] > 1e-15 * r) & (c[3] < SWEEPS), sweep, start)
    order = jnp.argsort(-logs)[:r]
    values = jnp.where(jnp.arange(r) < rank, logs[order], -jnp.inf)
    return jnp.where(sound, values, jnp.nan), jnp.where(sound, rows[order], jnp.nan)


def _turned(logs: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Return both halves of the rows turned against each other, and the largest cosine between partners before."""
    half = logs.size // 2
    swap = logs[:half] < logs[half:]
    long, short = (jnp.where(swap, logs[i:][:half], logs[j:][:half]) for i, j in ((half, 0), (0, half)))
    a, b = (jnp.where(swap[:, None], rows[i:][:half], rows[j:][:half]) for i, j in ((half, 0), (0, half)))
    zero = jnp.isneginf(short)
    cosine = jnp.where(zero, 0.0, jnp.sum(a * b, axis=1))
    finite_long = jnp.where(jnp.isneginf(long), 0.0, long)
    ratio = jnp.where(zero, 0.0, jnp.exp(short - finite_long))
    gap = 1 - ratio**2
    root = jnp.sqrt(gap**2 + (2 * ratio * cosine) ** 2)
    over_ratio = 2 * cosine / jnp.where(cosine == 0, 1.0, gap + root)  # tangent of the angle, divided by the ratio
    tangent = over_ratio * ratio
    shrink = 1 / jnp.sqrt(1 + tangent**2)
    new_a = shrink[:, None] * (a + (tangent * ratio)[:, None] * b)
    new_b = shrink[:, None] * (b - over_ratio[:, None] * a)
    # Back to their places: partners must not change sides, or some pairs would never meet.
    logs = jnp.concatenate([jnp.where(swap, short, long), jnp.where(swap, long, short)])
    first, second = jnp.where(swap[:, None], new_b, new_a), jnp.where(swap[:, None], new_a, new_b)
    logs, rows = _normalised(logs, jnp.concatenate([first, second]))
    return logs, rows, jnp.max(jnp.abs(cosine), initial=0.0)


def _normalised(logs: Array, rows: Array) -> tuple[Array, Array]:
    lengths = jnp.sqrt(jnp.sum(rows**2, axis=1))
    return logs + jnp.log(lengths), rows / jnp.where(lengths > 0, lengths, 1.0)[:, None]


def _next_partners(n: int) -> np.ndarray:
    """Return the permutation that, applied n - 1 times, makes every pair (i, i + n / 2) meet once: a round robin."""
    half = n // 2
    top, bottom = list(range(half)), list(range(half, n))
    if half <= 1:
        return np.arange(n)
    return np.array([top[0], bottom[0], *top[1:-1], *bottom[1:], top[-1]])
