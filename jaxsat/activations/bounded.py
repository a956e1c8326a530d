"""Activations that tend to a limit on both sides: the sigmoids, soft and hard."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.activations.formulas import LOG_2, SQRT_2_OVER_PI, box, log_ndtr, log_sech2, log_sigmoid, sech2, sigmoid
from jaxsat.activations.record import Activation


def _sigmoid_record() -> Activation:
    def slope(x):
        e = jnp.exp(-jnp.abs(x))
        return e / (1 + e) ** 2

    return Activation(
        name="sigmoid",
        formula="1 / (1 + exp(-x))",
        value_of=sigmoid,
        slope_of=slope,
        log_abs_slope_of=lambda x: -jnp.abs(x) - 2 * jnp.log1p(jnp.exp(-jnp.abs(x))),
        left="soft",
        right="soft",
        max_slope=0.25,
        left_limit=Fraction(0),
        right_limit=Fraction(1),
        log_left_gap=log_sigmoid,
        log_right_gap=lambda x: log_sigmoid(-x),
        reference="Rumelhart, Hinton & Williams 1986",
    )


def _tanh() -> Activation:
    def log_gap(x):
        return LOG_2 + log_sigmoid(-2 * jnp.abs(x))

    return Activation(
        name="tanh",
        formula="tanh(x)",
        value_of=jnp.tanh,
        slope_of=sech2,
        log_abs_slope_of=log_sech2,
        left="soft",
        right="soft",
        max_slope=1.0,
        left_limit=Fraction(-1),
        right_limit=Fraction(1),
        log_left_gap=log_gap,
        log_right_gap=log_gap,
        reference="LeCun, Bottou, Orr & Mueller 1998",
    )


def _lecun_tanh() -> Activation:
    a, b = 1.7159, 2 / 3

    def log_gap(x):
        return float(np.log(2 * a)) + log_sigmoid(-2 * b * jnp.abs(x))

    return Activation(
        name="lecun_tanh",
        formula="1.7159 tanh(2 x / 3)",
        value_of=lambda x: a * jnp.tanh(b * x),
        slope_of=lambda x: sech2(b * x, a * b),
        log_abs_slope_of=lambda x: float(np.log(a * b)) + log_sech2(b * x),
        left="soft",
        right="soft",
        max_slope=a * b,
        left_limit=-Fraction("1.7159"),
        right_limit=Fraction("1.7159"),
        log_left_gap=log_gap,
        log_right_gap=log_gap,
        reference="LeCun, Bottou, Orr & Mueller 1998",
    )


def _erf() -> Activation:
    height = 2 * SQRT_2_OVER_PI / np.sqrt(2.0)

    def log_gap(x):
        return LOG_2 + log_ndtr(-float(np.sqrt(2.0)) * jnp.abs(x))

    return Activation(
        name="erf",
        formula="erf(x)",
        value_of=jax.lax.erf,
        slope_of=lambda x: float(height) * jnp.exp(-x * x / 2) * jnp.exp(-x * x / 2),
        log_abs_slope_of=lambda x: float(np.log(height)) - x * x,
        left="soft",
        right="soft",
        max_slope=float(height),
        left_limit=Fraction(-1),
        right_limit=Fraction(1),
        log_left_gap=log_gap,
        log_right_gap=log_gap,
        reference="Williams 1997",
    )


def _arctan() -> Activation:
    half_pi = Fraction("1.57079632679489661923132169163975144209858469968755")

    def log_gap(x):
        return jnp.log(jnp.arctan(1 / jnp.abs(x)))

    return Activation(
        name="arctan",
        formula="arctan(x)",
        value_of=jnp.arctan,
        slope_of=lambda x: 1 / (1 + x * x),
        log_abs_slope_of=lambda x: -2 * jnp.log(jnp.hypot(x, 1)),
        left="soft",
        right="soft",
        max_slope=1.0,
        left_limit=-half_pi,
        right_limit=half_pi,
        log_left_gap=log_gap,
        log_right_gap=log_gap,
        reference="Gulcehre et al. 2016",
    )


def _softsign() -> Activation:
    def log_gap(x):
        return -jnp.log1p(jnp.abs(x))

    return Activation(
        name="softsign",
        formula="x / (1 + |x|)",
        value_of=lambda x: x / (1 + jnp.abs(x)),
        slope_of=lambda x: 1 / (1 + jnp.abs(x)) ** 2,
        log_abs_slope_of=lambda x: -2 * jnp.log1p(jnp.abs(x)),
        left="soft",
        right="soft",
        max_slope=1.0,
        kinks=(0.0,),
        left_limit=Fraction(-1),
        right_limit=Fraction(1),
        log_left_gap=log_gap,
        log_right_gap=log_gap,
        reference="Bergstra, Desjardins, Lamblin & Bengio 2009; Glorot & Bengio 2010",
    )


def _hard_sigmoid() -> Activation:
    def flat(x, log):
        return box(x, jnp.abs(x) < 3, 1 / 6, log)

    return Activation(
        name="hard_sigmoid",
        formula="min(max(x + 3, 0), 6) / 6",
        value_of=lambda x: jnp.clip(x + 3, 0, 6) / 6,
        slope_of=lambda x: flat(x, False),
        log_abs_slope_of=lambda x: flat(x, True),
        left="hard",
        right="hard",
        max_slope=1 / 6,
        kinks=(-3.0, 3.0),
        left_limit=Fraction(0),
        right_limit=Fraction(1),
        reference="Courbariaux, Bengio & David 2015; jax.nn",
    )


def _hard_tanh() -> Activation:
    def flat(x, log):
        return box(x, jnp.abs(x) <= 1, 1.0, log)

    return Activation(
        name="hard_tanh",
        formula="min(max(x, -1), 1)",
        value_of=lambda x: jnp.clip(x, -1, 1),
        slope_of=lambda x: flat(x, False),
        log_abs_slope_of=lambda x: flat(x, True),
        left="hard",
        right="hard",
        max_slope=1.0,
        kinks=(-1.0, 1.0),
        left_limit=Fraction(-1),
        right_limit=Fraction(1),
        reference="Collobert 2004",
    )


BOUNDED: dict[str, Callable[[], Activation]] = {
    "sigmoid": _sigmoid_record,
    "tanh": _tanh,
    "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": _hard_tanh,
    "erf": _erf,
    "arctan": _arctan,
    "softsign": _softsign,
    "lecun_tanh": _lecun_tanh,
}
