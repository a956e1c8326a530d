"""Spectra of a JAX function's Jacobian without forming it: jvp and vjp only.

The largest singular values come from a randomised block Krylov method (Musco & Musco 2015): a block, unlike a single
Lanczos vector, finds multiple singular values, and every orthogonalisation is a Householder QR, so operators of low
rank or none need no special case. Averages over the spectrum come from stochastic Lanczos quadrature (Ubaru, Chen &
Saad 2017) with matfree's Golub-Kahan bidiagonalisation, guarded: it is fed a prescaled operator and cut off at its
first breakdown, without which low-rank and vanishing Jacobians give NaN and ghost values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Key

from jaxsat import addresses, checks

OVERSAMPLING, POWERS = 8, 6


class BoundedSingularValues(NamedTuple):
    """Estimates, descending. Each is at most the true value of its index; a singular value lies within its bound."""

    values: Float[Array, " k"]
    bounds: Float[Array, " k"]


class Quadrature(NamedTuple):
    """Nodes (as ln s) and weights, a row for each probe: sum_j weights f(s_j^2) estimates the mean of f over n inputs."""

    log_nodes: Float[Array, "probes steps"]
    weights: Float[Array, "probes steps"]
    inputs: int


class Estimate(NamedTuple):
    """A stochastic estimate and its standard error over probes."""

    value: Float[Array, "*shape"]
    standard_error: Float[Array, "*shape"]


class _Operator(NamedTuple):
    """The Jacobian of a function as two products, between vectors."""

    times: Callable[[Array], Array]
    transposed: Callable[[Array], Array]
    rows: int
    columns: int
    dtype: np.dtype


def largest_singular_values(
    fn: Callable[[Any], Any], x: Any, k: int, *, key: Key[Array, ""] | None = None
) -> Float[Array, " k"]:
    """Return the k largest singular values of the Jacobian of `fn` at `x`, descending, without forming it.

    Args:
        fn: a function from an array, or a pytree of arrays, to another.
        x: where; its leaves are floating-point.
        k: how many, from 1 to min(outputs, inputs).
        key: random key of the start; None means ``addresses.root(0)``.

    Returns: values in x's dtype. :func:`largest_singular_values_with_bounds` returns bounds of their errors too.

    Cost: about 14 (k + 8) products with the Jacobian or its transpose; the whole matrix where that costs less.

    Raises:
        ValueError: k out of range.
        TypeError: integer or complex input.

    >>> largest_singular_values(lambda x: jnp.sin(3.0 * x), jnp.array([0.0, jnp.pi / 9]), 2).round(4).tolist()
    [3.0, 1.5]
    """
    return largest_singular_values_with_bounds(fn, x, k, key=key).values


def largest_singular_values_with_bounds(
    fn: Callable[[Any], Any], x: Any, k: int, *, key: Key[Array, ""] | None = None
) -> BoundedSingularValues:
    """Return :func:`largest_singular_values` with an error bound for each: its residual ||A v - s u|| (Weyl), and rounding.

    >>> found = largest_singular_values_with_bounds(lambda x: 2.0 * x, jnp.ones(300), 3)
    >>> found.values.round(5).tolist(), float(found.bounds.max()) < 1e-3
    ([2.0, 2.0, 2.0], True)
    """
    a = _operator("largest_singular_values", fn, x)
    smallest = min(a.rows, a.columns)
    remedy = f"{smallest} is the largest possible rank of the {a.rows} x {a.columns} Jacobian."
    k = checks.integer("largest_singular_values", "k", k, 1, smallest, remedy)
    block = min(k + OVERSAMPLING, smallest)
    times, transposed = (jax.vmap(f, in_axes=1, out_axes=1) for f in (a.times, a.transposed))
    root = _root("largest_singular_values", key)
    if block * (POWERS + 1) >= smallest:
        basis = jnp.eye(a.rows, dtype=a.dtype)
    else:
        start = jax.random.normal(root, (a.columns, block), a.dtype)

        def step(q, _):
            rows = _orthonormal(transposed(q))
            q = _orthonormal(times(rows))
            return q, q

        first = _orthonormal(times(start))
        _, blocks = jax.lax.scan(step, first, length=POWERS)
        basis = _orthonormal(jnp.concatenate([first, *blocks], axis=1))
    projected = transposed(basis).T  # basis^T A
    u, values, vt = jnp.linalg.svd(projected, full_matrices=False)
    residual = times(vt[:k].T) - (basis @ u[:, :k]) * values[None, :k]
    rounding = max(a.rows, a.columns) * jnp.finfo(a.dtype).eps * values[0]
    return BoundedSingularValues(values[:k], jnp.linalg.norm(residual, axis=0) + rounding)


def quadrature(
    fn: Callable[[Any], Any], x: Any, *, probes: int = 32, steps: int = 32, key: Key[Array, ""] | None = None
) -> Quadrature:
    """Return a stochastic Lanczos quadrature for the squared singular values of the Jacobian of `fn` at `x`.

    Args:
        fn, x: as :func:`largest_singular_values`.
        probes: random vectors, at least 2.
        steps: number of bidiagonalisation steps, a jvp and a vjp each; the rule is exact for polynomials of degree
            2 steps - 1 in s^2. Values above min(outputs, inputs) mean min(outputs, inputs).
        key: random key of the probes; None means ``addresses.root(0)``.

    Returns: the nodes and weights that :func:`log_determinant`, :func:`schatten_norm` and :func:`spectral_density` take.
        After a Lanczos breakdown, unused nodes have zero weight; ignore them.

    >>> q = quadrature(lambda x: 2.0 * x, jnp.ones(50), probes=4, steps=8)
    >>> round(float(schatten_norm(q, 2.0).value), 3)  # 2 sqrt(50)
    14.142
    """
    from matfree import decomp

    a = _operator("quadrature", fn, x)
    probes = checks.size("quadrature", "probes", probes, 2)
    steps = min(checks.integer("quadrature", "steps", steps), a.rows, a.columns)
    bidiagonalised = decomp.bidiag(steps, materialize=False)
    signs = jax.random.rademacher(_root("quadrature", key), (probes, a.columns), a.dtype)

    def of_probe(v):
        size = jnp.max(jnp.abs(a.times(v)))  # a power of two near it keeps squares within range, and costs no digit
        positive = jnp.where(size > 0, size, 1.0)
        exponent = jnp.where(size > 0, jnp.round(jnp.log2(positive)), 0.0)
        scaled = lambda v: jnp.ldexp(a.times(v), -exponent.astype(jnp.int32))  # noqa: E731
        return size, exponent, *bidiagonalised(scaled, v).J_small

    return Quadrature(*_nodes_and_weights(*jax.vmap(of_probe)(signs)), a.columns)


@jax.jit  # outside jit each operation would be a program of its own
@jax.vmap
def _nodes_and_weights(size: Array, exponent: Array, alphas: Array, betas: Array) -> tuple[Array, Array]:
    steps, eps = alphas.size, jnp.finfo(alphas.dtype).eps
    # In the order they come: alpha_1, beta_1, alpha_2 ... A tiny one is a breakdown: all after it is noise.
    mixed = jnp.zeros(2 * steps - 1, alphas.dtype).at[::2].set(alphas).at[1::2].set(betas)
    tiny = 10 * steps * eps * jax.lax.cummax(jnp.where(jnp.isfinite(mixed), mixed, 0.0))
    whole = jnp.cumprod(mixed > tiny).astype(bool)
    mixed = jnp.where(whole, mixed, 0.0)
    _, s, vt = jnp.linalg.svd(jnp.diag(mixed[::2]) + jnp.diag(mixed[1::2], 1))
    s = jnp.where(s > steps * eps * s[0], s, 0.0)  # too small to differ from zero for certain
    # Without finite products there is nothing to know. (NaN in the tail of a breakdown means nothing.)
    unknown = jnp.where(jnp.isfinite(size), 0.0, jnp.nan)
    return jnp.log(s) + exponent * float(np.log(2)) + unknown, vt[:, 0] ** 2 + unknown


def log_determinant(q: Quadrature) -> Estimate:
    """Return ln of the product of the singular values, n of them for n inputs; -inf where rounding hides a direction.

    >>> q = quadrature(lambda x: 2.0 * x, jnp.ones(50), probes=4, steps=8)
    >>> bool(jnp.abs(log_determinant(q).value - 50 * jnp.log(2.0)) < 1e-3)
    True
    """
    _check_quadrature("log_determinant", q)
    return _log_determinant(q)


def schatten_norm(q: Quadrature, p: ArrayLike) -> Estimate:
    """Return (sum s^p)^(1/p), p > 0: the nuclear norm for p = 1, the Frobenius norm for p = 2."""
    _check_quadrature("schatten_norm", q)
    p = checks.scalar("schatten_norm", "p", p, above=0.0)
    return _schatten_norm(q, jnp.asarray(p, q.weights.dtype))


def spectral_density(q: Quadrature, log_s: Float[ArrayLike, " grid"], width: ArrayLike) -> Estimate:
    """Return the density of ln s, per nat, smoothed by a gaussian of standard deviation `width` nats.

    Singular values of zero count in the total, but ln 0 is nowhere on the grid: the integral is then below 1.
    """
    _check_quadrature("spectral_density", q)
    width = checks.scalar("spectral_density", "width", width, above=0.0)
    grid = checks.real_array("spectral_density", "log_s", log_s)
    if grid.ndim != 1 or grid.size == 0:
        came = checks.Shown(f"shape {grid.shape}")
        raise ValueError(checks.refusal("spectral_density", "log_s", "be a list of numbers", came))
    return _spectral_density(q, grid.astype(q.weights.dtype), width)


# Outside jit each operation of these would be a program of its own.


@jax.jit
def _log_determinant(q: Quadrature) -> Estimate:
    terms = jnp.where(_seen(q), q.weights * q.log_nodes, 0.0)
    return _mean(q, q.inputs * jnp.sum(terms, axis=1))


@jax.jit
def _schatten_norm(q: Quadrature, p: Float[Array, ""]) -> Estimate:
    top = jnp.max(q.log_nodes)
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    powers = jnp.exp(p * (q.log_nodes - top))
    terms = jnp.where(_seen(q), q.weights * powers, 0.0)
    sums, error = _mean(q, q.inputs * jnp.sum(terms, axis=1))
    value = jnp.exp(top) * sums ** (1 / p)
    return Estimate(value, value * error / (p * jnp.where(sums > 0, sums, 1.0)))


@jax.jit
def _spectral_density(q: Quadrature, grid: Float[Array, " grid"], width: Float[ArrayLike, ""]) -> Estimate:
    z = (grid[None, None, :] - q.log_nodes[:, :, None]) / width
    bump = jnp.exp(-z * z / 2) / (width * float(np.sqrt(2 * np.pi)))
    terms = jnp.where(_seen(q)[:, :, None], q.weights[:, :, None] * bump, 0.0)
    return _mean(q, jnp.sum(terms, axis=1))


def _check_quadrature(where: str, q: Any) -> None:
    if not isinstance(q, Quadrature):
        came = checks.Shown(type(q).__name__)
        raise TypeError(checks.refusal(where, "q", "be what quadrature(fn, x) returns", came))


def _seen(q: Quadrature) -> Array:
    """Return which nodes have weight. Nodes that a breakdown leaves unused have none, and may be at ln 0."""
    return ~(q.weights <= jnp.finfo(q.weights.dtype).eps)  # NaN is seen


def _mean(q: Quadrature, samples: Array) -> Estimate:
    spread = jnp.std(samples, axis=0, ddof=1) / float(np.sqrt(q.weights.shape[0]))
    return Estimate(jnp.mean(samples, axis=0), spread)


def _root(where: str, key: Key[Array, ""] | None) -> Key[Array, ""]:
    return addresses.root(0) if key is None else checks.random_key(where, "key", key)


def _operator(where: str, fn: Callable[[Any], Any], x: Any) -> _Operator:
    if not callable(fn):
        raise TypeError(checks.refusal(where, "fn", "be a function of `x`", checks.Shown(type(fn).__name__)))
    for leaf in jax.tree.leaves(x):
        if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.floating):
            came = checks.Shown(getattr(leaf, "dtype", type(leaf).__name__))
            raise TypeError(checks.refusal(where, "x", "be floating-point arrays", came))
    flat, unravel = ravel_pytree(x)

    def flat_fn(v: Array) -> Array:
        y = fn(unravel(v))
        for leaf in jax.tree.leaves(y):
            if not jnp.issubdtype(getattr(leaf, "dtype", type(leaf)), jnp.floating):
                came = checks.Shown(getattr(leaf, "dtype", type(leaf).__name__))
                raise TypeError(checks.refusal(where, "fn", "return real floating-point numbers", came))
        return ravel_pytree(y)[0]

    out, pull = jax.vjp(flat_fn, flat)
    if not jnp.issubdtype(out.dtype, jnp.floating) or out.size == 0 or flat.size == 0:
        came = checks.Shown(f"{out.size} of dtype {out.dtype}")
        raise TypeError(checks.refusal(where, "fn", "return real floating-point numbers", came))
    push = lambda v: jax.jvp(flat_fn, (flat,), (v,))[1]  # noqa: E731
    return _Operator(push, lambda u: pull(u)[0], out.size, flat.size, flat.dtype)


def _orthonormal(block: Array) -> Array:
    size = jnp.max(jnp.abs(block))
    return jnp.linalg.qr(block / jnp.where(size > 0, size, 1.0))[0]
