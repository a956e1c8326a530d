"""Activations of the form x times a gate, x g(x), where g rises from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
from jax.scipy.special import ndtr

from jaxsat.activations.formulas import (
    SQRT_2_OVER_PI,
    at_least_single,
    log_abs,
    log_density,
    log_ndtr,
    log_sigmoid,
    sigmoid,
    tail_factor,
    times_sigmoid,
)
from jaxsat.activations.record import Activation, Elementwise


def _gated(name: str, formula: str, u: Elementwise, du: Elementwise, max_slope: float, reference: str) -> Activation:
    """x * sigmoid(u(x)): silu and the tanh form of gelu."""

    def bracket(x):  # slope / sigmoid(u)
        return 1 + x * du(x) * sigmoid(-u(x))

    return Activation(
        name=name,
        formula=formula,
        value_of=lambda x: times_sigmoid(x, u(x)),
        slope_of=lambda x: times_sigmoid(bracket(x), u(x)),
        log_abs_slope_of=lambda x: log_sigmoid(u(x)) + jnp.log(jnp.abs(bracket(x))),
        left="soft",
        right="none",
        max_slope=max_slope,
        slope_sign_of=lambda x: jnp.sign(bracket(x)),
        left_limit=Fraction(0),
        log_left_gap=lambda x: jnp.log(jnp.abs(x)) + log_sigmoid(u(x)),
        reference=reference,
    )


def _silu() -> Activation:
    return _gated(
        "silu",
        "x / (1 + exp(-x))",
        lambda x: x,
        jnp.ones_like,
        1.0998393201288669,
        "Elfwing, Uchibe & Doya 2018; Ramachandran et al. 2017",
    )


def _gelu_tanh() -> Activation:
    a, b = 2 * SQRT_2_OVER_PI, 0.044715
    return _gated(
        "gelu_tanh",
        "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
        lambda x: a * x * (1 + b * x * x),
        lambda x: a * (1 + 3 * b * x * x),
        1.1289930686587718,
        "Hendrycks & Gimpel 2016",
    )


def _gelu() -> Activation:
    # Far left x Phi(x) = -density(x) f and phi'(x) = -density(x) (t - f / t), with t = -x and f = tail_factor(t): the
    # density comes as the square of its root, since alone it may be subnormal, and flushed to zero.
    def far_left(x, near, factor):
        t = jnp.maximum(-x, 10)
        root = jnp.exp(log_density(t) / 2)
        return jnp.where(x < -10, -root * factor(t) * root, near(jnp.maximum(x, -10)))

    @at_least_single
    def value(x):
        return far_left(x, lambda x: x * ndtr(x), tail_factor)

    @at_least_single
    def slope(x):
        return far_left(x, lambda x: ndtr(x) + x * jnp.exp(log_density(x)), lambda t: t - tail_factor(t) / t)

    @at_least_single
    def log_abs_slope(x):
        t = jnp.maximum(-x, 10)
        far = log_density(t) + jnp.log(t - tail_factor(t) / t)
        near = slope(jnp.maximum(x, -10))
        return jnp.where(x < -10, far, jnp.log(jnp.abs(near)))

    return Activation(
        name="gelu",
        formula="x Phi(x), Phi the normal distribution function",
        value_of=value,
        slope_of=slope,
        log_abs_slope_of=log_abs_slope,
        left="soft",
        right="none",
        max_slope=1.1289041451851548,
        slope_sign_of=lambda x: jnp.sign(slope(jnp.maximum(x, -2))),
        left_limit=Fraction(0),
        log_left_gap=lambda x: jnp.log(jnp.abs(x)) + log_ndtr(x),
        reference="Hendrycks & Gimpel 2016",
    )


def _mish() -> Activation:
    # With e = exp(-|x|): tanh(softplus(x)) = p / (p + q), where (p, q) = (e (e + 2), 2) left of 0 and
    # (1 + 2 e, 2 e^2) right of it; sech(softplus(x))^2 sigmoid(x) = 2 (1 + e) * (2 e, 2 e^2) / (p + q)^2.
    def gate(x):
        e = jnp.exp(-jnp.abs(x))
        p = jnp.where(x < 0, e + 2, 1 + 2 * e)  # left of 0: without its factor e
        total = jnp.where(x < 0, e * (e + 2) + 2, 1 + 2 * e + 2 * e * e)
        return e, p, total

    def left_factor(a, x):  # a exp(x) left of 0, a right of it; halved so that a subnormal exp(x) is not flushed
        half = jnp.exp(jnp.where(x < 0, x, 0) / 2)
        return a * half * half

    def value(x):
        _, p, total = gate(x)
        return left_factor(x * (p / total), x)

    def bracket(x):  # slope / (e left of 0, 1 right of it)
        e, p, total = gate(x)
        gated = jnp.where(x < 0, p / total, 1 - 2 * e * e / total)
        return gated + 4 * x * (1 + e) * jnp.where(x < 0, 1, e * e) / total**2

    def log_gap(x):
        _, p, total = gate(x)
        return x + jnp.log(jnp.abs(x) * p / total)

    return Activation(
        name="mish",
        formula="x tanh(ln(1 + exp(x)))",
        value_of=value,
        slope_of=lambda x: left_factor(bracket(x), x),
        log_abs_slope_of=lambda x: jnp.minimum(x, 0) + jnp.log(jnp.abs(bracket(x))),
        left="soft",
        right="none",
        max_slope=1.0884981612517279,
        slope_sign_of=lambda x: jnp.sign(bracket(x)),
        left_limit=Fraction(0),
        log_left_gap=log_gap,
        reference="Misra 2019",
    )


def _hard_silu() -> Activation:
    def slope(x):
        return jnp.where(x >= 3, 1, jnp.where(x <= -3, 0, (2 * jnp.where(jnp.abs(x) < 3, x, 0) + 3) / 6)) + 0 * x

    return Activation(
        name="hard_silu",
        formula="x min(max(x + 3, 0), 6) / 6",
        value_of=lambda x: x * (jnp.clip(x + 3, 0, 6) / 6),
        slope_of=slope,
        log_abs_slope_of=log_abs(slope),
        left="hard",
        right="none",
        max_slope=1.5,
        kinks=(-3.0, 3.0),
        slope_sign_of=lambda x: jnp.sign(slope(x)),
        left_limit=Fraction(0),
        reference="Howard et al. 2019",
    )


GATED: dict[str, Callable[[], Activation]] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "hard_silu": _hard_silu,
    "mish": _mish,
}
