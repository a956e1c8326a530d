"""Spectrum of the Jacobian of wide networks: eigenvalues of J J^T, J = D_L W_L ... D_1 W_1, by free probability.

Source: Pennington, Schoenholz & Ganguli 2017 and 2018. Each layer's slopes are independent copies of phi'(sqrt(q) z), at
one length q. S-transforms multiply; in terms of the moment generating function of t = phi'^2 at -eta,

    a(eta) = E[t / (t + eta)],    -z = (1 - a) / a (sigma_w^2 eta a S_W)^L,    S_W = 1 gaussian, 1 / (1 - a) orthogonal,

z is an explicit function of eta, and the density of eigenvalues at lambda is Im(a) / (pi lambda) where z = lambda + i0.
The equation is solved for ln(eta) where z is negative and all is real and monotone, and the solution followed while z
turns by half a circle, through the upper half plane, to the positive axis. Every branch point of the resolvent lies on
that axis, so the path cannot end on a wrong branch. All in logarithms: spectra spread exponentially with depth.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxsat import checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.jax_compat import Tracer
from jaxsat.theory.inputs import checked, in_double
from jaxsat.theory.propagation import mean_field
from jaxsat.theory.slope_law import SlopeLaw, keeps_sign, kept_and_lost, likeliest, minimum_by_distance, slope_law_of

ENSEMBLES = ("gaussian", "uniform", "orthogonal")
TURN = 32  # steps over the first nine tenths of the half circle
ABOVE = 0.9 * np.pi  # angle of the line along which solutions are followed from point to point
STRIDE = 0.15  # of ln z along it: half its distance from the axis
DESCENT = np.pi - (np.pi - ABOVE) * 0.25 ** np.arange(1, 10)  # angles on the way down to the axis
BISECTIONS = 70
BESIDE = 1e-5  # of ln s^2, beside an atom
NOTHING = 1e-10  # an imaginary part, relative: less is rounding


class Atoms(NamedTuple):
    """Values that a share of the squared singular values takes exactly: 0, and one other. Masses may be 0.

    Attributes:
        log_squares: ln s^2 of the two: -inf, and L ln(sigma_w^2 t). Here t is the squared slope that has more than half
            of the probability, if there is one, and else the largest.
        masses: shares of the singular values. For orthogonal weights and L >= 2 the second is max(0, L p - L + 1), p the
            probability of t (Bercovici & Voiculescu 1998); for gaussian weights it is 0.
    """

    log_squares: Float[Array, " 2"]
    masses: Float[Array, " 2"]


class SpectrumMoments(NamedTuple):
    """Eigenvalues s^2 of J J^T in the limit of infinite width. Logarithms are natural; they hold at any depth.

    Attributes:
        mean, variance: of s^2.
        log_mean: ln of the mean, L ln chi.
        relative_variance: variance / mean^2 = L (mu_2 / mu_1^2 - 1 - s_1) (Pennington et al. 2018, eq. 16).
        atoms: the points of mass, see :class:`Atoms`. `zero_mass` and `top_mass` are their two masses.
        log_lower, log_upper: ln of the ends of the support of s^2, the point at 0 aside; -inf where it reaches 0.
        largest_singular_value: exp(log_upper / 2).
    """

    mean: Float[Array, ""]
    variance: Float[Array, ""]
    log_mean: Float[Array, ""]
    relative_variance: Float[Array, ""]
    atoms: Atoms
    log_lower: Float[Array, ""]
    log_upper: Float[Array, ""]
    largest_singular_value: Float[Array, ""]

    @property
    def zero_mass(self) -> Array:
        """Share of singular values that are exactly 0."""
        return self.atoms.masses[..., 0]

    @property
    def top_mass(self) -> Array:
        """Share of singular values in the other atom, which lies at the upper end for all activations of the catalogue."""
        return self.atoms.masses[..., 1]


def spectrum_moments(
    activation: ActivationLike, depth: int, weight_scale: ArrayLike = 1.0,
    bias_scale: ArrayLike = 0.0, ensemble: str = "gaussian", *,
    q: ArrayLike | None = None,
) -> SpectrumMoments:  # fmt: skip
    """Return the mean, variance and support of the squared singular values of the Jacobian.

    Args:
        activation: a name, a record of ``activations``, or an elementwise callable. Static.
        depth: L, at least 1. Static.
        weight_scale, bias_scale: sigma_w, sigma_b, finite and >= 0.
        ensemble: 'gaussian', 'orthogonal', or 'uniform', which has the limit of 'gaussian'.
        q: mean squared pre-activation of every layer; None means the stationary one of :func:`mean_field`.

    Raises:
        ValueError: depth below 1, negative scales, unknown names.
        TypeError: a depth that is not an integer.

    >>> found = spectrum_moments("relu", 10, 2**0.5, ensemble="orthogonal")
    >>> [round(float(v), 4) for v in (found.mean, found.variance, found.zero_mass)]  # variance L (1 - p) / p, p = 1/2
    [1.0, 10.0, 0.5]
    """
    phi, orthogonal = _checked("spectrum_moments", activation, depth, weight_scale, bias_scale, ensemble, q)
    q = mean_field(phi, weight_scale, bias_scale).q if q is None else q
    return in_double(functools.partial(_moments, orthogonal=orthogonal), phi, weight_scale, q, depth)


def spectrum_density(
    squared_singular_values: ArrayLike, activation: ActivationLike, depth: int, weight_scale: ArrayLike = 1.0,
    bias_scale: ArrayLike = 0.0,
    ensemble: str = "gaussian", *, q: ArrayLike | None = None,
) -> Float[Array, "*shape"]:  # fmt: skip
    """Return the density of the squared singular values of the Jacobian, per unit of s^2.

    Args:
        squared_singular_values: where, >= 0, of any shape.
        The rest, and errors: as :func:`spectrum_moments`.

    Returns: the density, without point masses: it integrates to 1 - zero_mass - top_mass. 0 outside the support and at 0
        itself, where it may diverge. If all singular values are equal (linear orthogonal networks) it is 0 everywhere.

    >>> round(float(spectrum_density(1.0, "identity", 1)), 4)  # Marchenko & Pastur: sqrt(3) / (2 pi)
    0.2757
    """
    where = "spectrum_density"
    values = checks.real_array("spectrum_density", "squared_singular_values", squared_singular_values)
    if values.size == 0:
        raise ValueError(
            checks.refusal(
                "spectrum_density", "squared_singular_values", "be at least one number", checks.Shown("none")
            )
        )
    if not isinstance(values, Tracer) and not np.all(np.asarray(values) >= 0):
        least = float(np.min(np.asarray(values)))
        raise ValueError(checks.refusal(where, "squared_singular_values", "be at least 0", least))
    log_s = jnp.log(jnp.where(values > 0, values, 1.0).astype(jnp.result_type(float))) / 2
    density = log_spectrum_density(log_s, activation, depth, weight_scale, bias_scale, ensemble, q=q)
    return jnp.where(values > 0, density / (2 * jnp.where(values > 0, values, 1.0)), 0.0)


def log_spectrum_density(
    log_singular_values: ArrayLike, activation: ActivationLike, depth: int, weight_scale: ArrayLike = 1.0,
    bias_scale: ArrayLike = 0.0,
    ensemble: str = "gaussian", *, q: ArrayLike | None = None,
) -> Float[Array, "*shape"]:  # fmt: skip
    """Return the density of ln s, per nat, for spectra too wide for the density of s^2; arguments as :func:`spectrum_density`.

    Raises:
        ValueError: also for orthogonal weights and depth 1, where the eigenvalues are the squared slopes themselves.

    Accuracy: 1e-6 of the peak, for depths up to 100; less within 1e-6 nats of an edge. This is the continuous part
        alone: the atoms are a field of :func:`spectrum_moments`. Within 5e-6 nats of an atom the density just below it is
        returned.
    """
    where = "log_spectrum_density"
    phi, orthogonal = _checked(where, activation, depth, weight_scale, bias_scale, ensemble, q)
    if orthogonal and depth == 1:
        remedy = "A single layer has the singular values sigma_w |phi'(sqrt(q) z)|, z normal: take their distribution."
        raise ValueError(checks.refusal(where, "depth", "be at least 2 for orthogonal weights", depth, remedy))
    q = mean_field(phi, weight_scale, bias_scale).q if q is None else q
    values = checks.real_array("log_spectrum_density", "log_singular_values", log_singular_values)
    if values.size == 0:
        raise ValueError(
            checks.refusal(
                "log_spectrum_density", "log_singular_values", "be at least one number", checks.Shown("none")
            )
        )

    # Near the axis the poles of t / (t + eta) come as close as 1 / depth: panels must be as narrow.
    panels = 2 ** int(np.ceil(np.log2(np.clip(depth, 8, 64))))

    def densities(phi, logs, w, q, depth):
        return _log_density(phi, 2 * logs.ravel(), w, q, depth, panels, orthogonal).reshape(logs.shape)

    return in_double(densities, phi, values, weight_scale, q, depth)


# --- one slope distribution ------------------------------------------------------------------------------------


class Layers(NamedTuple):
    """ln of sigma_w^2, and the number of layers, which is traced: one program serves all depths."""

    log_w2: Float[Array, ""]
    depth: Float[Array, ""]
    orthogonal: bool

    def powers(self) -> tuple[Array, Array]:
        """Return the powers of a and of 1 - a in z."""
        return self.depth - 1, 1 - self.depth if self.orthogonal else jnp.ones_like(self.depth)


def _log_minus_z(slopes: SlopeLaw, u: Array, layers: Layers) -> tuple[Array, Array]:
    """ln(-z) and its derivative in u. For Im(u) in (-pi, 0] no logarithm crosses its cut."""
    a, b, change = kept_and_lost(slopes, u)
    of_a, of_b, depth, log_w2 = (part.astype(u.dtype) for part in (*layers.powers(), layers.depth, layers.log_w2))
    value = of_a * jnp.log(a) + of_b * jnp.log(b) + depth * (u + log_w2)
    return value, of_a * change / a - of_b * change / b + depth


# --- densities -------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("phi", "panels", "orthogonal"))
def _log_density(
    phi: Activation, log_squares: Array, w: Array, q: Array, depth: Array, panels: int, orthogonal: bool
) -> Array:
    """Return the density of ln s at s^2 = exp(log_squares), ascending or not, without its atoms."""
    layers = Layers(2 * jnp.log(w), depth, orthogonal)
    coarse, fine = slope_law_of(phi, q, 2), slope_law_of(phi, q, panels)
    moments = _moments(phi, w, q, depth, orthogonal=orthogonal)
    # The neighbourhood of an atom is seen from just outside: inside, rounding would smear the atom over it.
    atom = jnp.where(moments.top_mass > 0, moments.atoms.log_squares[1], jnp.inf)
    targets = jnp.where(jnp.abs(log_squares - atom) < BESIDE, atom - BESIDE, log_squares)
    inside = (targets > moments.log_lower) & (targets < moments.log_upper) & (moments.relative_variance > 1e-12)
    targets = jnp.where(inside, targets, moments.log_mean)
    order = jnp.argsort(targets)
    ahead = _along(coarse, targets[order], layers)

    def down(given: tuple[Array, Array]) -> Array:
        """From the line above the axis to the axis itself."""
        target, u = given
        for angles, steps in ((DESCENT, 2), (np.full(1, np.pi), 6)):
            follow = functools.partial(_follow, fine, layers=layers, steps=steps)
            u = jax.lax.scan(lambda u, angle, f=follow: (f(u, target, angle), None), u, jnp.asarray(angles))[0]
        kept = kept_and_lost(fine, u)[0]
        # Between the parts of the support nothing but rounding is left of the imaginary part.
        return jnp.where(jnp.abs(jnp.imag(kept)) > NOTHING * jnp.abs(kept), 2 * jnp.imag(kept) / np.pi, 0.0)

    found = jax.lax.map(down, (targets[order], ahead), batch_size=16)
    density = jnp.zeros_like(found).at[order].set(found)
    return jnp.where(jnp.isnan(log_squares), jnp.nan, jnp.where(inside, jnp.maximum(density, 0.0), 0.0))


def _follow(slopes: SlopeLaw, u: Array, target: Array, angle: Array, layers: Layers, steps: int) -> Array:
    """Newton's method for ln(-z) = target - i angle, from a solution near by."""
    goal = jax.lax.complex(target, -angle)

    def newton(u: Array, _: None) -> tuple[Array, None]:
        value, slope = _log_minus_z(slopes, u, layers)
        step = (goal - value) / slope
        size = jnp.abs(step)
        u = u + step * jnp.minimum(1.0, 0.5 / jnp.where(size > 0, size, 1.0)).astype(u.dtype)
        # Not beyond the axis: the solution lies on this side of it, or on it.
        return jax.lax.complex(jnp.real(u), jnp.clip(jnp.imag(u), -np.pi, 0.0)), None

    return jax.lax.scan(newton, u, length=steps)[0]


def _along(slopes: SlopeLaw, targets: Array, layers: Layers) -> Array:
    """Solutions above the axis, at the angle ABOVE, for ascending targets: each is followed from the solution before it.

    The first comes from the negative axis, where all is real and monotone, through half a turn.
    """
    follow = functools.partial(_follow, slopes, layers=layers)
    first = targets[0]

    def halve(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = carry
        middle = (low + high) / 2
        value = _log_minus_z(slopes, jax.lax.complex(middle, 0 * middle), layers)[0]
        below = jnp.real(value) < first
        return (jnp.where(below, middle, low), jnp.where(below, high, middle)), None

    reach = 700.0 + 0.0 * first
    (low, high), _ = jax.lax.scan(halve, (-reach, reach), length=BISECTIONS)
    u = jax.lax.complex((low + high) / 2, jnp.zeros_like(first))
    angles = ABOVE * np.linspace(0, 1, TURN + 1)[1:]
    u = jax.lax.scan(lambda u, angle: (follow(u, first, angle, steps=4), None), u, jnp.asarray(angles))[0]

    def walk(carry: tuple[Array, Array], target: Array) -> tuple[tuple[Array, Array], Array]:
        def stride(state: tuple[Array, Array]) -> tuple[Array, Array]:
            u, here = state
            here = jnp.minimum(here + STRIDE, target)
            return follow(u, here, jnp.asarray(ABOVE), steps=3), here

        u, here = jax.lax.while_loop(lambda state: state[1] < target, stride, carry)
        return (u, here), u

    return jax.lax.scan(walk, (u, first), targets)[1]


# --- moments and edges -----------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("phi", "orthogonal"))
def _moments(phi: Activation, w: Array, q: Array, depth: Array, *, orthogonal: bool) -> SpectrumMoments:
    slopes = slope_law_of(phi, q, 8)
    layers = Layers(2 * jnp.log(w), depth, orthogonal)
    log_w2, (of_small, of_large) = layers.log_w2, layers.powers()
    top = jnp.max(slopes.log_t)  # beside it, so that tiny slopes do not underflow
    relative = jnp.exp(slopes.log_t - top)
    first, second = slopes.weights @ relative, slopes.weights @ relative**2
    log_mean = depth * (log_w2 + jnp.log(first) + top)
    spread = second / first**2 - 1
    relative_variance = jnp.maximum(depth * (spread + (0.0 if orthogonal else 1.0)), 0.0)
    zero = jnp.sum(jnp.where(jnp.isneginf(slopes.log_t), slopes.weights, 0.0))

    def log_z(v, sign):
        """ln z at y = exp(v) beyond the largest slope (sign 1) or below the smallest (sign -1)."""
        ratio = jnp.exp(jnp.minimum(sign * (slopes.log_t - v), -1e-300))  # below 1
        gap = -jnp.expm1(jnp.where(jnp.isneginf(slopes.log_t), -jnp.inf, jnp.log(ratio)))
        # m = E[t / (y - t)] and 1 + m = E[y / (y - t)], in absolute value
        small, large = slopes.weights @ (ratio / gap), slopes.weights @ (1 / gap)
        m, m1 = (small, large) if sign > 0 else (large, small)
        return of_small * jnp.log(m) + of_large * jnp.log(m1) + depth * (v + log_w2)

    log_max = 2 * jnp.log(jnp.asarray(phi.max_slope))
    upper = minimum_by_distance(lambda x: log_z(log_max + jnp.exp(x), 1.0))
    lower = -jnp.inf
    if orthogonal and phi.left == phi.right == "none" and keeps_sign(phi):
        lower = -minimum_by_distance(lambda x: -log_z(jnp.min(slopes.log_t) - jnp.exp(x), -1.0))
    atom, share = likeliest(slopes, log_max)
    mass = jnp.maximum(depth * (share - 1) + 1, 0.0) if orthogonal else jnp.zeros(())
    atoms = Atoms(jnp.stack([jnp.full_like(atom, -jnp.inf), depth * (log_w2 + atom)]), jnp.stack([zero, mass]))
    point = relative_variance <= 1e-12
    upper, lower = (jnp.where(point, log_mean, edge) for edge in (upper, lower))
    mean = jnp.exp(log_mean)
    return SpectrumMoments(
        mean, mean**2 * relative_variance, log_mean, relative_variance, atoms, lower, upper, jnp.exp(upper / 2)
    )


def _checked(
    where: str,
    activation: ActivationLike,
    depth: object,
    weight_scale: ArrayLike,
    bias_scale: ArrayLike,
    ensemble: str,
    q: ArrayLike | None,
) -> tuple[Activation, bool]:
    given = {"weight_scale": weight_scale, "bias_scale": bias_scale} | ({} if q is None else {"q": q})
    phi = checked(where, activation, **given)
    checks.size(where, "depth", depth)
    checks.one_of(where, "ensemble", ensemble, ENSEMBLES)
    return phi, ensemble == "orthogonal"
