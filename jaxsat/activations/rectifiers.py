"""Activations that keep one half of the line and flatten the other: ReLU and its kin, sharp and smooth."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
import numpy as np

from jaxsat import checks
from jaxsat.activations.formulas import LOG_2, box, log_abs, log_sigmoid, sigmoid, step
from jaxsat.activations.record import Activation, sendable


def _relu() -> Activation:
    return Activation(
        name="relu",
        formula="max(x, 0)",
        value_of=lambda x: jnp.maximum(x, 0),
        slope_of=lambda x: step(x, 0.0, 1.0),
        log_abs_slope_of=lambda x: step(x, -jnp.inf, 0.0),
        left="hard",
        right="none",
        max_slope=1.0,
        kinks=(0.0,),
        left_limit=Fraction(0),
        reference="Nair & Hinton 2010; Glorot, Bordes & Bengio 2011",
    )


def _relu6() -> Activation:
    def flat(x, log):
        return box(x, (x > 0) & (x < 6), 1.0, log)

    return Activation(
        name="relu6",
        formula="min(max(x, 0), 6)",
        value_of=lambda x: jnp.clip(x, 0, 6),
        slope_of=lambda x: flat(x, False),
        log_abs_slope_of=lambda x: flat(x, True),
        left="hard",
        right="hard",
        max_slope=1.0,
        kinks=(0.0, 6.0),
        left_limit=Fraction(0),
        right_limit=Fraction(6),
        reference="Krizhevsky 2010",
    )


def leaky_relu(negative_slope: float = 0.01) -> Activation:
    """Return leaky ReLU: x for x >= 0, negative_slope * x below. The same record for the same slope.

    >>> leaky_relu(0.25).name, float(leaky_relu(0.25)(-1.0))
    ('leaky_relu(0.25)', -0.25)
    """
    a = _parameter("leaky_relu", "negative_slope", negative_slope)
    return sendable(_leaky_relu(a), leaky_relu, a)


@functools.cache
def _leaky_relu(a: float) -> Activation:
    log_a = float(np.log(abs(a))) if a else -np.inf

    def below(x, there, elsewhere):
        return jnp.where(jnp.isnan(x), x, jnp.where(x >= 0, jnp.asarray(there, x.dtype), elsewhere))

    return Activation(
        name=_named("leaky_relu", a, 0.01),
        formula="x for x >= 0, a x below",
        value_of=lambda x: jnp.where(x >= 0, x, a * x),
        slope_of=lambda x: below(x, 1.0, a),
        log_abs_slope_of=lambda x: below(x, 0.0, log_a),
        left="hard" if a == 0 else "none",
        right="none",
        max_slope=max(1.0, abs(a)),
        kinks=(0.0,),
        slope_sign_of=lambda x: below(x, 1.0, float(np.sign(a))),
        left_limit=Fraction(0) if a == 0 else None,
        reference="Maas, Hannun & Ng 2013",
    )


@functools.cache
def _exponential_left(name: str, scale: Fraction, alpha: Fraction, width: Fraction, reference: str) -> Activation:
    """scale * (x for x > 0, alpha (exp(x / width) - 1) below): the ELU family."""
    s, left, w = float(scale), float(scale * alpha), float(width)
    log_left = float(np.log(left / w))

    def slope(x):
        half = jnp.exp(jnp.minimum(x, 0) / (2 * w))  # twice a factor, so that a subnormal exp is not flushed
        return jnp.where(x > 0, s, (left / w) * half * half)

    return Activation(
        name=name,
        formula="s x for x > 0, s a (exp(x / w) - 1) below",
        value_of=lambda x: jnp.where(x > 0, s * x, left * jnp.expm1(jnp.minimum(x, 0) / w)),
        slope_of=slope,
        log_abs_slope_of=lambda x: jnp.where(x > 0, float(np.log(s)), log_left + jnp.minimum(x, 0) / w),
        left="soft",
        right="none",
        max_slope=max(s, left / w),
        kinks=(0.0,),
        left_limit=-scale * alpha,
        log_left_gap=lambda x: float(np.log(left)) + x / w,
        reference=reference,
    )


def elu(alpha: float = 1.0) -> Activation:
    """Return ELU: x for x > 0, alpha (exp(x) - 1) below (Clevert, Unterthiner & Hochreiter 2016)."""
    a = _parameter("elu", "alpha", alpha, positive=True)
    record = _exponential_left(_named("elu", a, 1.0), Fraction(1), Fraction(a), Fraction(1), "Clevert et al. 2016")
    return sendable(record, elu, a)


def celu(alpha: float = 1.0) -> Activation:
    """Return CELU: x for x > 0, alpha (exp(x / alpha) - 1) below (Barron 2017)."""
    a = _parameter("celu", "alpha", alpha, positive=True)
    record = _exponential_left(_named("celu", a, 1.0), Fraction(1), Fraction(a), Fraction(a), "Barron 2017")
    return sendable(record, celu, a)


def _selu() -> Activation:
    scale, alpha = Fraction("1.0507009873554804934193349852946"), Fraction("1.6732632423543772848170429916717")
    return _exponential_left("selu", scale, alpha, Fraction(1), "Klambauer et al. 2017")


def _softplus() -> Activation:
    def value(x):
        return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))

    def log_gap(x):  # ln softplus(x): ln(log1p(e)) = ln e - e/2 + ..., and e underflows before x does
        e = jnp.exp(jnp.minimum(x, 0))
        near = value(jnp.maximum(x, -20))
        return jnp.where(x < -20, x - e / 2, jnp.log(near))

    return Activation(
        name="softplus",
        formula="ln(1 + exp(x))",
        value_of=value,
        slope_of=sigmoid,
        log_abs_slope_of=log_sigmoid,
        left="soft",
        right="none",
        max_slope=1.0,
        left_limit=Fraction(0),
        log_left_gap=log_gap,
        reference="Dugas et al. 2001",
    )


def _squareplus() -> Activation:
    # (x + r) / 2 with r = sqrt(x^2 + 4); for x < 0 its conjugate 2 / (r - x), and likewise for the slope.
    def root(x):
        return jnp.hypot(x, 2)

    def value(x):
        far = root(x) + jnp.abs(x)
        return jnp.where(x >= 0, far / 2, 2 / far)

    def slope(x):
        far = root(x) + jnp.abs(x)
        return jnp.where(x >= 0, far / 2, 2 / far) / root(x)

    def log_value_left(x):
        return LOG_2 - jnp.log(root(x) + jnp.abs(x))

    return Activation(
        name="squareplus",
        formula="(x + sqrt(x^2 + 4)) / 2",
        value_of=value,
        slope_of=slope,
        log_abs_slope_of=lambda x: jnp.where(x >= 0, -1, 1) * log_value_left(x) - jnp.log(root(x)),
        left="soft",
        right="none",
        max_slope=1.0,
        left_limit=Fraction(0),
        log_left_gap=log_value_left,
        reference="Barron 2021",
    )


def _sparse_plus() -> Activation:
    def slope(x):
        return jnp.clip((x + 1) / 2, 0, 1)

    return Activation(
        name="sparse_plus",
        formula="0 for x <= -1, (x + 1)^2 / 4 between, x for x >= 1",
        value_of=lambda x: jnp.where(x >= 1, x, (jnp.clip(x, -1, 1) + 1) ** 2 / 4),
        slope_of=slope,
        log_abs_slope_of=log_abs(slope),
        left="hard",
        right="none",
        max_slope=1.0,
        kinks=(-1.0, 1.0),
        left_limit=Fraction(0),
        reference="Blondel & Roulet 2024; jax.nn",
    )


def _parameter(owner: str, name: str, value: float, positive: bool = False) -> float:
    return checks.number(owner, name, value, above=0.0 if positive else -math.inf)


def _named(family: str, parameter: float, default: float) -> str:
    return family if parameter == default else f"{family}({parameter:g})"


RECTIFIERS: dict[str, Callable[[], Activation]] = {
    "relu": _relu,
    "leaky_relu": leaky_relu,
    "relu6": _relu6,
    "elu": elu,
    "selu": _selu,
    "celu": celu,
    "softplus": _softplus,
    "squareplus": _squareplus,
    "sparse_plus": _sparse_plus,
}
