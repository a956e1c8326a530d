"""Compute gaussian integrals E[f(sqrt(q) z)] and E[f(u) g(v)], the building blocks of signal propagation.

Gauss-Hermite quadrature does not see that tanh(sqrt(q) z) turns into a step as q grows: with 160 nodes the squared
slope is wrong by 0.07 % at q = 7.5 and by 70 % at q = 100. Here the line is cut into panels, and each panel gets a
Gauss-Legendre rule. The function decides some cuts: at its kinks, and until sixteen Legendre coefficients describe it on each
panel. The normal density decides the others. The function's cuts are computed once, on the host. They are scaled to q and
merged with those of the density in traced arithmetic, so that one compilation serves every q.

Derivatives in q act on the density, not on f: d/dq N(0, q) = N(0, q) (x^2 / q - 1) / (2 q), the heat equation. So they
are right for functions that jump, such as the slope of a hard activation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeGuard, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxsat import activations, checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.jax_compat import Tracer
from jaxsat.theory.inputs import check_correlation, check_number

Function = Callable[[Array], Array]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
# Legendre coefficients of a function from its values at the nodes.
_COEFFICIENTS = (np.polynomial.legendre.legvander(NODES, 15) * (np.arange(16) + 0.5)).T * WEIGHTS
REACH = 12.0  # standard deviations; beyond lie 4e-33 of the mass
DENSITY_CUTS = np.linspace(-REACH, REACH, 17)
FEWEST_PANELS = 32  # that a function is evaluated on at once
FURTHEST = 2048.0  # functions are looked at up to here, which covers q = 1e4
_SMALL = 1e-8  # below this q, derivatives go through f itself: those of the density cancel to eps / q
_LOST = 1e-11  # of an integral, in its outermost panels: it does not converge, or not within REACH


class Mesh(NamedTuple):
    """Where the line is cut for a function: panel ends, ascending, and those of them that are kinks."""

    cuts: tuple[float, ...]
    kinks: tuple[float, ...]


def expectation(f: ActivationLike, q: ArrayLike, *, kinks: Sequence[float] = ()) -> Float[Array, ""]:
    """Return E[f(sqrt(q) z)] for a standard normal z.

    Args:
        f: elementwise: a name, a record of ``activations`` or any JAX function of an array.
        q: variance, >= 0. One number; more go through ``jax.vmap``.
        kinks: where f or one of its derivatives jumps; records bring their own.

    Returns: a number in q's dtype (float64 inside). Differentiable in q, to any order, and in what f closes over. At
        q = 0 it is f(0), and its derivative is taken as 0.

    Raises:
        ValueError: q negative or not finite; f not elementwise or not finite somewhere; an integral that does not exist
            or needs f beyond 12 standard deviations (exp-like growth). Under jit that gives inf.

    Accuracy: absolute error below 1e-10 of E|f| for q from 1e-8 to 1e4. An f that closes over traced values cannot be
        looked at beforehand and gets panels that double away from 0 and its kinks.
    Cost: some 700 values of f.

    >>> abs(float(expectation("relu", 4.0)) - 2 / (2 * jnp.pi) ** 0.5) < 1e-6
    True
    """
    check_number("expectation", "q", q)
    fn, mesh = _resolved("expectation", "f", f, kinks)
    dtype = _dtype_of(q)
    with jax.enable_x64(True):
        program = _compiled_integral(fn) if _catalogued(fn) else functools.partial(_integral, fn, mesh)
        value = _or_infinite(*program(jnp.asarray(q, jnp.float64)))
    if not isinstance(value, Tracer) and np.isinf(value):
        raise ValueError(
            f"expectation: E[f(sqrt(q) z)] does not exist at q = {q}, or f grows so fast that it comes from more than "
            f"{REACH:g} standard deviations away. f may grow like a power, or like exp(x) where q is below 10."
        )
    return value.astype(dtype)


def expectation_of_pair(
    f: ActivationLike, g: ActivationLike, q_f: ArrayLike, q_g: ArrayLike, c: ArrayLike, *, kinks: Sequence[float] = ()
) -> Float[Array, ""]:
    """Return E[f(u) g(v)] for jointly normal u and v of mean 0, variances q_f and q_g and correlation c.

    Args:
        f, g, kinks: as :func:`expectation`; the kinks of both.
        q_f, q_g: variances, >= 0.
        c: correlation, from -1 to 1.

    Returns: a number in the dtype of c. Differentiable in the variances, and in c where |c| < 1.

    Raises: as :func:`expectation`.

    Accuracy: absolute error below 1e-10 of E|f g| for variances from 1e-8 to 1e4, c = +-1 included.
    Cost: some 1e6 values of g, a panel of f at a time; 1e9 for functions that oscillate all the way, such as sin.

    >>> third = expectation_of_pair("relu", "relu", 1.0, 1.0, 0.5)  # arc-cosine kernel (Cho & Saul 2009)
    >>> abs(float(third) - (3**0.5 / 2 + jnp.pi / 3) / (2 * jnp.pi)) < 1e-6
    True
    """
    where = "expectation_of_pair"
    check_number(where, "q_f", q_f)
    check_number(where, "q_g", q_g)
    check_correlation(where, c)
    fn, mesh_f = _resolved(where, "f", f, kinks)
    gn, mesh_g = _resolved(where, "g", g, kinks)
    dtype = _dtype_of(c)
    with jax.enable_x64(True):
        q_f, q_g, c = (jnp.asarray(a, jnp.float64) for a in (q_f, q_g, c))
        if _catalogued(fn) and _catalogued(gn):
            program = _compiled_pair_integral(fn, gn)
        else:
            program = jax.jit(functools.partial(_pair_integral, fn, gn, mesh_f, mesh_g))
        value = _or_infinite(*program(q_f, q_g, c))
    if not isinstance(value, Tracer) and np.isinf(value):
        raise ValueError(
            f"expectation_of_pair: E[f(u) g(v)] does not exist at variances {q_f} and {q_g}, or comes from more than "
            f"{REACH:g} standard deviations away."
        )
    return value.astype(dtype)


def rule(mesh: Mesh, q: Float[Array, ""], finer: int = 1) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"]]:
    """Return nodes x and weights w with E[f(sqrt(q) z)] = sum w f(x) for every f that the mesh resolves.

    The derivatives of w in q are those of the density; x is held fixed (below q = 1e-8: w is, and x moves). `finer`
    times as many panels for the density resolve polynomials in z too. Within ``jax.enable_x64(True)``.
    """
    return _rule(np.array(mesh.cuts), q, finer)


@functools.partial(jax.jit, static_argnames="finer")
def _rule(cuts: Float[ArrayLike, " cuts"], q: Float[Array, ""], finer: int) -> tuple[Array, Array]:
    of_density = np.linspace(-REACH, REACH, 16 * finer + 1)
    ends = jnp.concatenate([of_density, scaled(cuts, q)])
    z, w = panels(jnp.sort(ends))
    return moving(z.ravel(), (w * jnp.exp(-z * z / 2)).ravel() / np.sqrt(2 * np.pi), q)


def centred_sum(values: Array, w: Array) -> Array:
    """Return sum w values, with the derivative in w of sum w (values - mean): what sum w = 1 takes out is not rounded."""
    mean = jax.lax.stop_gradient(jnp.sum(values * w))
    return jnp.sum(values * w) - mean * (jnp.sum(w) - jax.lax.stop_gradient(jnp.sum(w)))


@functools.lru_cache(maxsize=256)
def mesh_of(activation: Activation) -> Mesh:
    """Return cuts that resolve an activation and its slope together."""
    both: tuple[Function, ...] = (activation, activation.slope)
    if not activation.derived:
        both = tuple(map(jax.jit, both))
    return _mesh(both, activation.kinks)


# --- quadrature --------------------------------------------------------------------------------------------------


def _integral(f: Function, mesh: Mesh, q: Array) -> tuple[Array, Array, Array]:
    """Return the integral of f, that of |f|, and the part of the latter in the outermost panels of the density."""
    x, w = rule(mesh, q)
    values = f(x)
    sizes = jax.lax.stop_gradient(jnp.abs(values) * w)
    far = jnp.abs(x) > DENSITY_CUTS[-2] * jax.lax.stop_gradient(jnp.sqrt(q))
    return centred_sum(values, w), jnp.sum(sizes), jnp.sum(jnp.where(far, sizes, 0.0))


def _catalogued(f: Function) -> TypeGuard[Activation]:
    """Return whether f is a record of the catalogue, for which a program can be kept: others may close over traced values."""
    return isinstance(f, Activation) and not f.derived


@functools.lru_cache(maxsize=256)
def _compiled_integral(activation: Activation) -> Callable[[Array], tuple[Array, Array, Array]]:
    return jax.jit(functools.partial(_integral, activation, mesh_of(activation)))


@functools.lru_cache(maxsize=256)
def _compiled_pair_integral(f: Activation, g: Activation) -> Callable[..., tuple[Array, Array, Array]]:
    return jax.jit(functools.partial(_pair_integral, f, g, mesh_of(f), mesh_of(g)))


def _or_infinite(value: Array, size: Array, outermost: Array) -> Array:
    """Return the integral; inf where its outermost panels show that it does not converge, or not within REACH."""
    lost = ~(jnp.isfinite(size) & (outermost <= _LOST * size))
    return jnp.where(lost & ~(size == 0), jnp.inf, value)


def _pair_integral(
    f: Function, g: Function, mesh_f: Mesh, mesh_g: Mesh, q_f: Array, q_g: Array, c: Array
) -> tuple[Array, Array, Array]:
    sf, sg, c0 = (jax.lax.stop_gradient(a) for a in (jnp.sqrt(q_f), jnp.sqrt(q_g), c))
    s0 = jnp.sqrt((1 - c0) * (1 + c0))
    # E[g(v) | u] is g smoothed over s0: each kink becomes a bend of that width, to be followed by panels of its size.
    bend = s0 * np.array([-8.0, -4.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 4.0, 8.0])
    at = jnp.concatenate([scaled(mesh_g.cuts, q_g), (scaled(mesh_g.kinks, q_g)[:, None] + bend[None, :]).ravel()])
    at = jnp.clip(at / jnp.where(c0 == 0, 1e-300, c0), -REACH, REACH)
    outer = jnp.sort(jnp.concatenate([DENSITY_CUTS, scaled(mesh_f.cuts, q_f), at]))
    z, w = panels(outer)
    w = w * jnp.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    cuts_g = scaled(mesh_g.cuts, q_g)

    def inner(z1: Array, w1: Array) -> tuple[Array, Array, Array]:
        cuts = jnp.clip((cuts_g - c0 * z1) / jnp.maximum(s0, 1e-300), -REACH, REACH)
        z2, w2 = panels(jnp.sort(jnp.concatenate([DENSITY_CUTS, cuts])))
        weight = w1 * w2 * jnp.exp(-z2 * z2 / 2) / np.sqrt(2 * np.pi)
        z_v = c0 * z1 + s0 * z2
        return f(sf * z1) * g(sg * z_v), weight * _density_ratio(z1, z_v, z2, q_f, q_g, c), weight

    def panel(total: tuple[Array, Array, Array, Array], nodes: tuple[Array, Array]):
        values, moving, weight = jax.vmap(inner)(*nodes)
        sizes = jax.lax.stop_gradient(jnp.abs(values) * weight)
        far = jnp.sum(jnp.where(jnp.abs(nodes[0])[:, None, None] > DENSITY_CUTS[-2], sizes, 0.0))
        new = (jnp.sum(values * moving), jnp.sum(moving), jnp.sum(sizes), far)
        return jax.tree.map(jnp.add, total, new), None

    zero = jnp.zeros(())
    (value, mass, size, far), _ = jax.lax.scan(panel, (zero, zero, zero, zero), (z, w))
    mean = jax.lax.stop_gradient(value)
    return value - mean * (mass - jax.lax.stop_gradient(mass)), size, far


def _density_ratio(z1: Array, z_v: Array, z2: Array, q_f: Array, q_g: Array, c: Array) -> Array:
    """Return the density of (u, v) divided by itself: 1, with the derivatives in the variances and in c."""
    frozen = jax.lax.stop_gradient
    a, b = (jnp.sqrt(frozen(q) / jnp.where(q > 0, q, 1.0)) for q in (q_f, q_g))
    a, b = jnp.where(q_f > 0, a, 1.0), jnp.where(q_g > 0, b, 1.0)
    s = jnp.sqrt((1 - c) * (1 + c))
    u, v = z1 * a, z_v * b
    safe = jnp.where(frozen(s) > 0, s, 1.0)
    now = jnp.where(frozen(s) > 0, (v - c * u) / safe, z2)
    log = -(u * u - frozen(u * u) + now * now - frozen(now * now)) / 2
    return jnp.exp(log) * a * b * frozen(safe) / safe


def panels(cuts: Float[Array, " cuts"]) -> tuple[Float[Array, "panels 16"], Float[Array, "panels 16"]]:
    middle, half = (cuts[1:] + cuts[:-1]) / 2, (cuts[1:] - cuts[:-1]) / 2
    return middle[:, None] + half[:, None] * NODES[None, :], half[:, None] * WEIGHTS[None, :]


def scaled(cuts: Sequence[float] | ArrayLike, q: Array) -> Array:
    """Return cuts in units of the standard deviation; those beyond its reach are put at the ends."""
    root = jax.lax.stop_gradient(jnp.sqrt(q))
    return jnp.clip(jnp.asarray(cuts, jnp.float64) / jnp.maximum(root, 1e-300), -REACH, REACH)


def moving(z: Array, w: Array, q: Array) -> tuple[Array, Array]:
    root = jnp.sqrt(jnp.where(q > 0, q, 1.0))
    frozen = jax.lax.stop_gradient(root)
    ratio = frozen / root  # 1, with a derivative
    by_density = q > _SMALL
    changed = jnp.where(by_density, ratio, 1.0)
    w = w * changed * jnp.exp(-z * z * (changed - 1) * (changed + 1) / 2)
    return z * jnp.where(q > 0, jnp.where(by_density, frozen, root), 0.0), w


# --- meshes ------------------------------------------------------------------------------------------------------


def _resolved(where: str, name: str, f: object, kinks: Sequence[float]) -> tuple[Function, Mesh]:
    if isinstance(f, (str, Activation)):
        record = activations.get(f)
        return record, mesh_of(record)
    if not callable(f):
        came = checks.Shown(type(f).__name__)
        raise TypeError(checks.refusal(where, name, "be an activation's name or a function of an array", came))
    if not np.all(np.isfinite(np.asarray(kinks, float))):
        raise ValueError(checks.refusal(where, "kinks", "be finite numbers", kinks))
    fn = cast(Function, f)
    return fn, _mesh((fn,), tuple(kinks), where, name)


def _mesh(functions: Sequence[Function], kinks: Sequence[float], where: str = "activation", name: str = "") -> Mesh:
    """Return cuts at kinks, at powers of two, and where a function asks for more."""
    powers = 2.0 ** np.arange(-2, np.log2(FURTHEST) + 1)
    cuts = np.unique(np.concatenate([-powers, [0.0], powers, np.asarray(kinks, float)]))
    for f in functions:
        cuts = _refined(f, cuts, where, name)
    return Mesh(tuple(cuts.tolist()), tuple(float(k) for k in kinks))


def _refined(f: Function, cuts: np.ndarray, where: str, name: str) -> np.ndarray:
    """Return more cuts, until the last Legendre coefficients on each panel are rounding beside the function's size."""
    low, high = cuts[:-1], cuts[1:]
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        for _ in range(12):
            x = (high + low)[:, None] / 2 + (high - low)[:, None] / 2 * NODES[None, :]
            rows = max(FEWEST_PANELS, 1 << int(len(x) - 1).bit_length())  # few shapes: few compilations
            padded = np.zeros((rows, 16))
            padded[: len(x)] = x
            values = f(jnp.asarray(padded))
            if getattr(values, "shape", None) != padded.shape:
                made = getattr(values, "shape", type(values).__name__)
                came = checks.Shown(f"{made} from shape {padded.shape}")
                raise ValueError(checks.refusal(where, name, "be elementwise", came))
            if isinstance(values, Tracer):
                return cuts
            values = np.asarray(values, float)[: len(x)]
            known = np.all(np.isfinite(values), axis=1)
            tail = np.max(np.abs(np.where(known[:, None], values, 0.0) @ _COEFFICIENTS.T)[:, -3:], axis=1)
            size = np.max(np.abs(values), axis=1)
            rough = known & (tail > 1e-12 * np.maximum(size, 1e-3)) & (high - low > 1e-9)
            if not rough.any() or len(cuts) > 3000:
                break
            middle = (low[rough] + high[rough]) / 2
            cuts = np.union1d(cuts, middle)
            low, high = np.concatenate([low[rough], middle]), np.concatenate([middle, high[rough]])
    return cuts


def _dtype_of(number: ArrayLike) -> np.dtype:
    dtype = jnp.asarray(number).dtype
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
