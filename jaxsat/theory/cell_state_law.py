"""The stationary law of an LSTM's inner state, c' = f c + i g, and the gradients that pass through it.

With untied weights (see ``state_maps``) the gates f, i, o and the candidate g = phi(a) are independent gaussian functions,
and c is a Markov chain with these random coefficients. Its law is not gaussian: it is found here, not assumed. A function
v(c) is carried as its values at Chebyshev nodes of asinh(c), and the matrix P of v -> E[v(f c + i g)] is made by gaussian
integrals. The weights pi with pi P = pi are then a quadrature rule for the stationary law.

Gradients have two parts, and the part in c depends on c: both remember the same forget gates. So D(c), the mean squared
tangent dc^2 of units whose state is c, is carried as such weights too, beside S = E[dh^2]:

    dc' = f dc + (f' c W_f + i' g W_i + i g' W_g) dh,    dh' = o phi'(c') dc' + o' phi(c') W_o dh

This is linear in (D, S). The largest eigenvalue is the factor of the mean squared gradient per step. Within
``jax.enable_x64(True)``.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsat import activations
from jaxsat.activations import Activation
from jaxsat.theory.gate_integrals import gate_rule

_COUNT = 64  # nodes of c, and of i g
_SPREADS = 10.0  # of c, in root mean squares, that the nodes cover, beyond the largest |i g|
_ANGLES = np.pi * (np.arange(_COUNT) + 0.5) / _COUNT
_UNIT_NODES = np.cos(_ANGLES)
_VALUES_TO_COEFFICIENTS = np.cos(np.outer(np.arange(_COUNT), _ANGLES)) * (2 / _COUNT)
_VALUES_TO_COEFFICIENTS[0] /= 2
_SQUARINGS = 14  # of the matrix whose largest eigenvalue is asked for


class LstmLaw(NamedTuple):
    """What the inner state of an LSTM does where gates have arguments of one variance.

    Attributes:
        nodes, weights: quadrature rule for c.
        inner_square: E[c^2].
        shown_square: E[o^2 phi(c)^2], the mean square of h.
        growth: factor of the mean squared gradient for each step back.
        step_square: mean squared singular value of the Jacobian of one step, of (h, c).
    """

    nodes: Float[Array, " nodes"]
    weights: Float[Array, " nodes"]
    inner_square: Float[Array, ""]
    shown_square: Float[Array, ""]
    growth: Float[Array, ""]
    step_square: Float[Array, ""]


class _Gates(NamedTuple):
    """Values, slopes and weights of the gates and of the candidate, and moments of the chain."""

    f: Array
    f_slope: Array
    f_weights: Array
    i: Array
    i_slope: Array
    i_weights: Array
    g: Array
    g_slope: Array
    g_weights: Array
    inner_square: Array


@functools.partial(jax.jit, static_argnames="phi")
def lstm_law(phi: Activation, weight: Array, q: Array, gate_bias: Array) -> LstmLaw:
    """Return the stationary law and the gradients of an LSTM whose gates see N(0, q), the forget gate with its bias.

    Accuracy: relative error of growth below 1e-5, of the squares below 1e-4 (1e-7 where gates are not saturated), for phi
        without kinks and a root mean square of c below 30; with kinks some 1e-3.
    """
    of = _gates(phi, q, gate_bias)
    largest = jnp.max(jnp.abs(of.g))
    reach = jnp.maximum(_SPREADS * jnp.sqrt(of.inner_square) + largest, 1e-100)
    stretch = jnp.arcsinh(reach)
    c = jnp.sinh(stretch * _UNIT_NODES)

    def interpolated(at: Array, weights: Array) -> Array:
        """Matrix from values at the nodes to sum_l weights_l v(at_il), for each i."""
        u = jnp.clip(jnp.arcsinh(at) / stretch, -1.0, 1.0)
        basis = jnp.cos(jnp.arccos(u)[:, :, None] * np.arange(_COUNT, dtype=float)[None, None, :])
        return jnp.einsum("ilk,l->ik", basis, weights) @ _VALUES_TO_COEFFICIENTS

    plain, by_gates = _law_of_writing(of, largest)
    written = c[:, None] + largest * _UNIT_NODES[None, :]
    write, write_slopes = interpolated(written, plain), interpolated(written, by_gates)
    kept = jnp.outer(c, of.f)
    keep = interpolated(kept, of.f_weights)
    keep_square = interpolated(kept, of.f_weights * of.f**2)
    keep_slope = interpolated(kept, of.f_weights * of.f_slope**2)

    pi = _left_null_vector(keep @ write)
    passed = keep_square @ write
    entered = weight**2 * (pi @ (c[:, None] ** 2 * keep_slope @ write + keep @ write_slopes))
    show, show_slope = of.i_weights @ of.i**2, of.i_weights @ of.i_slope**2  # o has the law of i
    square, slope_square = pi @ phi(c) ** 2, phi.slope(c) ** 2
    direct = weight**2 * show_slope * square
    step = jnp.zeros((_COUNT + 1, _COUNT + 1))
    step = step.at[:-1, :-1].set(passed).at[-1, :-1].set(entered)
    step = step.at[:-1, -1].set(show * passed @ slope_square).at[-1, -1].set(show * entered @ slope_square + direct)
    both = jnp.append(pi, 1.0) @ step
    return LstmLaw(
        c, pi, of.inner_square, show * square, _largest_eigenvalue(step), (jnp.sum(both[:-1]) + both[-1]) / 2
    )


def _gates(phi: Activation, q: Array, gate_bias: Array) -> _Gates:
    gate = activations.get("sigmoid")
    zero = jnp.zeros_like(q)
    a_f, w_f = gate_rule(gate_bias, q)
    a_i, w_i = gate_rule(zero, q)
    a_g, w_g = gate_rule(zero, q, phi.kinks)
    f, rest, i, g = gate(a_f), gate(-a_f), gate(a_i), phi(a_g)
    written = (w_i @ i) * (w_g @ g)
    mean = written / (w_f @ rest)
    square = (2 * (w_f @ f) * mean * written + (w_i @ i**2) * (w_g @ g**2)) / (w_f @ (rest * (1 + f)))
    slopes = gate.slope(a_f), gate.slope(a_i), phi.slope(a_g)
    return _Gates(f, slopes[0], w_f, i, slopes[1], w_i, g, slopes[2], w_g, square)


def _law_of_writing(of: _Gates, largest: Array) -> tuple[Array, Array]:
    """Quadrature weights at the nodes of y = i g: of E[v(y)], and of E[(i'^2 g^2 + i^2 g'^2) v(y)].

    They are exact where v is a polynomial of degree 63.
    """
    y = jnp.outer(of.i, of.g) / jnp.maximum(largest, 1e-300)
    mass = jnp.outer(of.i_weights, of.g_weights)
    slopes = jnp.outer(of.i_slope**2, of.g**2) + jnp.outer(of.i**2, of.g_slope**2)
    weights = jnp.stack([mass, mass * slopes])

    def moment(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        before, now = carry  # Chebyshev polynomials T_(k-1) and T_k
        return (now, 2 * y * now - before), jnp.einsum("wig,ig->w", weights, now)

    found = jax.lax.scan(moment, (y, jnp.ones_like(y)), length=_COUNT)[1]  # T_(-1) = T_1
    plain, by_gates = found.T @ _VALUES_TO_COEFFICIENTS
    return plain, by_gates


def _left_null_vector(transition: Array) -> Array:
    """pi with pi P = pi and sum pi = 1."""
    # One equation too many: the last is replaced by the sum.
    matrix = (transition - jnp.eye(_COUNT)).T.at[-1].set(1.0)
    return jnp.linalg.solve(matrix, jnp.zeros(_COUNT).at[-1].set(1.0))


def _largest_eigenvalue(matrix: Array) -> Array:
    """Of a matrix whose largest eigenvalue is simple and positive, by 2^14 steps of the power method."""

    def squared(power: Array, _: None) -> tuple[Array, None]:
        power = power @ power
        return power / jnp.maximum(jnp.max(jnp.abs(power)), 1e-300), None

    power = jax.lax.scan(squared, matrix / jnp.maximum(jnp.max(jnp.abs(matrix)), 1e-300), length=_SQUARINGS)[0]
    vector = jnp.ones(len(matrix)) @ power
    after = vector @ matrix
    return jnp.sum(jnp.abs(after)) / jnp.maximum(jnp.sum(jnp.abs(vector)), 1e-300)
