"""The catalogue of activations: value, slope, ln|slope|, kinks, and how each one saturates.

Every formula is written in terms of exp(-|x|), so nothing overflows and no two nearly equal numbers are
subtracted. That matters for slopes: automatic differentiation of the logistic function computes s (1 - s), which
is exactly 0 from x = 37 on in float64 although the true slope there is 8.5e-17. Such a *spurious* saturation is
made by rounding, not by the network. Activations of this catalogue carry their own slope into
``jax.grad``, ``jax.jvp`` and ``jax.jacfwd``, so code built on them does not have that fault.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array

from jaxsat.activations import callables
from jaxsat.activations.formulas import (
    LOG_2,
    SQRT_2_OVER_PI,
    at_least_single,
    box,
    log_abs,
    log_density,
    log_ndtr,
    log_sech2,
    log_sigmoid,
    sech2,
    sigmoid,
    step,
    tail_factor,
    times_sigmoid,
)
from jaxsat.activations.record import Activation, Elementwise


def _identity() -> Activation:
    return Activation(
        name="identity",
        formula="x",
        value_of=lambda x: x,
        slope_of=lambda x: step(x, 1.0, 1.0),
        log_abs_slope_of=lambda x: step(x, 0.0, 0.0),
        left="none",
        right="none",
        max_slope=1.0,
    )


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
    """Leaky ReLU: x for x >= 0, negative_slope * x below. The same record for the same slope.

    >>> leaky_relu(0.25).name, float(leaky_relu(0.25)(-1.0))
    ('leaky_relu(0.25)', -0.25)
    """
    return _leaky_relu(_parameter("leaky_relu", "negative_slope", negative_slope))


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
    """ELU: x for x > 0, alpha (exp(x) - 1) below (Clevert, Unterthiner & Hochreiter 2016)."""
    a = _parameter("elu", "alpha", alpha, positive=True)
    return _exponential_left(_named("elu", a, 1.0), Fraction(1), Fraction(a), Fraction(1), "Clevert et al. 2016")


def celu(alpha: float = 1.0) -> Activation:
    """CELU: x for x > 0, alpha (exp(x / alpha) - 1) below (Barron 2017)."""
    a = _parameter("celu", "alpha", alpha, positive=True)
    return _exponential_left(_named("celu", a, 1.0), Fraction(1), Fraction(a), Fraction(a), "Barron 2017")


def _selu() -> Activation:
    scale, alpha = Fraction("1.0507009873554804934193349852946"), Fraction("1.6732632423543772848170429916717")
    return _exponential_left("selu", scale, alpha, Fraction(1), "Klambauer et al. 2017")


def _softplus() -> Activation:
    def value(x):
        return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))

    def log_gap(x):  # ln softplus(x): ln(log1p(e)) = ln e - e/2 + ..., and e underflows before x does
        e = jnp.exp(jnp.minimum(x, 0))
        return jnp.where(x < -20, x - e / 2, jnp.log(value(jnp.maximum(x, -20))))

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


def _log_sigmoid_record() -> Activation:
    softplus_gap = get("softplus").log_left_gap
    assert softplus_gap is not None
    return Activation(
        name="log_sigmoid",
        formula="-ln(1 + exp(-x))",
        value_of=log_sigmoid,
        slope_of=lambda x: sigmoid(-x),
        log_abs_slope_of=lambda x: log_sigmoid(-x),
        left="none",
        right="soft",
        max_slope=1.0,
        right_limit=Fraction(0),
        log_right_gap=lambda x: softplus_gap(-x),
        reference="jax.nn",
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
        return jnp.where(x < -10, far, jnp.log(jnp.abs(slope(jnp.maximum(x, -10)))))

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


def _sin() -> Activation:
    return Activation(
        name="sin",
        formula="sin(x)",
        value_of=jnp.sin,
        slope_of=jnp.cos,
        log_abs_slope_of=log_abs(jnp.cos),
        left="none",
        right="none",
        max_slope=1.0,
        slope_sign_of=lambda x: jnp.sign(jnp.cos(x)),
        reference="Sitzmann et al. 2020",
    )


_CATALOGUE: dict[str, Callable[[], Activation]] = {
    "identity": _identity, "sigmoid": _sigmoid_record, "tanh": _tanh, "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": _hard_tanh, "erf": _erf, "arctan": _arctan, "softsign": _softsign, "lecun_tanh": _lecun_tanh,
    "relu": _relu, "leaky_relu": leaky_relu, "relu6": _relu6, "elu": elu, "selu": _selu, "celu": celu,
    "softplus": _softplus, "squareplus": _squareplus, "sparse_plus": _sparse_plus, "gelu": _gelu,
    "gelu_tanh": _gelu_tanh, "silu": _silu, "hard_silu": _hard_silu, "mish": _mish,
    "log_sigmoid": _log_sigmoid_record, "sin": _sin,
}  # fmt: skip
_ALIASES = {
    "linear": "identity",
    "logistic": "sigmoid",
    "soft_sign": "softsign",
    "swish": "silu",
    "hard_swish": "hard_silu",
}


def names() -> tuple[str, ...]:
    """Names of the catalogue, in its order.

    >>> names()[:3]
    ('identity', 'sigmoid', 'tanh')
    """
    return tuple(_CATALOGUE)


def get(activation: str | Activation | Callable[[Array], Array]) -> Activation:
    """The record of an activation, by name, or derived from any elementwise JAX function.

    Args:
        activation: a name from :func:`names` (or a common alias: swish, logistic, linear ...), a record (returned
            as it is), or a callable that maps an array to an array elementwise. For a callable everything
            beyond its value is *derived*: slopes by autodiff (with autodiff's own rounding: see the Accuracy note),
            kinks, maximum slope and saturation class by probing |x| <= 1e4.

    Raises:
        ValueError: unknown name (near matches are given), or a callable that is not elementwise.
        TypeError: neither of the three.

    Accuracy: derived slopes underflow and cancel as autodiff does, and derived kinks are found only where the
    slope itself jumps, inside [-10, 10].

    >>> get("tanh") is get("tanh")
    True
    >>> bent = get(lambda x: jnp.where(x > 1, 1 + (x - 1) / 10, x))
    >>> bent.derived, bent.right, [round(k, 6) for k in bent.kinks]
    (True, 'none', [1.0])
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        return _by_name(_ALIASES.get(activation, activation))
    if callable(activation):
        return _derive(activation)
    raise TypeError(
        f"activation: must be a name, an Activation or a callable; got {type(activation).__name__}. "
        "See jaxsat.activations.names()."
    )


@functools.cache
def _by_name(name: str) -> Activation:
    if name not in _CATALOGUE:
        near = difflib.get_close_matches(name, [*_CATALOGUE, *_ALIASES], n=3)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "See jaxsat.activations.names()."
        raise ValueError(f"activation: must be a name of the catalogue; got {name!r}. {hint}")
    return _CATALOGUE[name]()


def _parameter(owner: str, name: str, value: float, positive: bool = False) -> float:
    rule = "finite and positive" if positive else "finite"
    try:
        number = float(np.asarray(value, dtype=float))
    except (TypeError, ValueError):
        raise TypeError(f"{owner}: `{name}` must be a number, {rule}, as in {owner}(0.5); got {value!r}.") from None
    if not np.isfinite(number) or (positive and number <= 0):
        raise ValueError(f"{owner}: `{name}` must be {rule}; got {value}.")
    return number


def _named(family: str, parameter: float, default: float) -> str:
    return family if parameter == default else f"{family}({parameter:g})"


@functools.lru_cache(maxsize=256)
def _derive(fn: Elementwise) -> Activation:
    found = callables.facts(fn)
    return Activation(
        name=found.name,
        formula="derived from a callable",
        value_of=fn,
        slope_of=found.slope_of,
        log_abs_slope_of=log_abs(found.slope_of),
        left=found.left,
        right=found.right,
        max_slope=found.max_slope,
        kinks=found.kinks,
        slope_sign_of=lambda x: jnp.sign(found.slope_of(x)),
        derived=True,
    )
