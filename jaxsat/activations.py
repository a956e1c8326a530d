"""The catalogue of activations: value, slope, ln|slope|, kinks, and how each one saturates.

Every formula is written in terms of exp(-|x|), so nothing overflows and no two nearly equal numbers are
subtracted. That matters for slopes: automatic differentiation of the logistic function computes s (1 - s), which
is exactly 0 from x = 37 on in float64 although the true slope there is 8.5e-17. Such a *spurious* saturation is
made by rounding, not by the network. Activations of this catalogue carry their own slope into
``jax.grad``, ``jax.jvp`` and ``jax.jacfwd``, so code built on them does not have that fault.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, ArrayLike, Float, Real

from jaxsat import derived
from jaxsat.derived import Saturation

Elementwise = Callable[[Array], Array]

LOG_2 = float(np.log(2.0))
LOG_SQRT_2PI = 0.9189385332046727418
SQRT_2_OVER_PI = 0.7978845608028653559


@dataclasses.dataclass(frozen=True, eq=False)
class Activation:
    """An elementwise nonlinearity phi and what is known about it.

    Call it for phi(x). Records are hashable (by identity) and meant to be static arguments of ``jax.jit``; get
    them from :func:`get`, which returns the same record for the same name, or the same callable, every time.

    Attributes:
        name: catalogue name, or the callable's own name.
        formula: phi(x) in words.
        left, right: saturation class of each tail (Gulcehre et al. 2016): 'soft' where phi' -> 0 only in the
            limit, 'hard' where phi' = 0 beyond a finite point, 'none' otherwise.
        kinks: points where some derivative of phi jumps, ascending. Integrals should be split there.
        max_slope: sup |phi'(x)| over the real line.
        left_limit, right_limit: exact limits of phi at -inf and +inf; None where phi has no finite limit.
        log_left_gap, log_right_gap: ln|phi(x) - limit| for x in that tail; None where there is no limit or
            the limit is reached (hard saturation).
        reference: where the function was introduced.
        derived: True when slope, kinks and classes were found by autodiff and probing rather than by formula.

    Dtype: float16, bfloat16, float32 and float64 go in and come out unchanged; integers become the default float.

    Accuracy: values and slopes have relative error below 1e-12 in float64 for |x| <= 1000, wherever the result
    is a normal number; slopes that change sign (sin, gelu, gelu_tanh, silu, mish) keep an absolute error of a few
    eps near their zeros. ln|slope| keeps that accuracy where the slope itself underflows.

    >>> tanh = get("tanh")
    >>> print(f"{tanh(0.5):.6f} {tanh.slope(0.5):.6f} {tanh.log_abs_slope(1000.0):.3f}")
    0.462117 0.786448 -1998.614
    >>> print(f"{jax.grad(get('sigmoid'))(40.0):.3e} {jax.grad(jax.nn.sigmoid)(40.0):.3e}")
    4.248e-18 0.000e+00
    """

    name: str
    formula: str
    value_of: Elementwise = dataclasses.field(repr=False)
    slope_of: Elementwise = dataclasses.field(repr=False)
    log_abs_slope_of: Elementwise = dataclasses.field(repr=False)
    left: Saturation
    right: Saturation
    max_slope: float
    kinks: tuple[float, ...] = ()
    slope_sign_of: Elementwise | None = dataclasses.field(default=None, repr=False)
    left_limit: Fraction | None = None
    right_limit: Fraction | None = None
    log_left_gap: Elementwise | None = dataclasses.field(default=None, repr=False)
    log_right_gap: Elementwise | None = dataclasses.field(default=None, repr=False)
    reference: str = ""
    derived: bool = False

    def __post_init__(self) -> None:
        plain, slope = self.value_of, self.slope_of

        @jax.custom_jvp
        def value(x):  # of one argument: custom_jvp would differentiate a callable's default arguments too
            return plain(x)

        @value.defjvp
        def _jvp(primals, tangents):
            (x,), (t,) = primals, tangents
            return value(x), slope(x) * t

        object.__setattr__(self, "value_of", value)

    def __call__(self, x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """phi(x), elementwise."""
        return self.value_of(_floating(x))

    def slope(self, x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """phi'(x), elementwise. At a kink: the value jax.grad of the jax.nn function gives, where there is one."""
        return self.slope_of(_floating(x))

    def log_abs_slope(self, x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """ln|phi'(x)|, elementwise; -inf where the slope is exactly zero."""
        return self.log_abs_slope_of(_floating(x))

    def slope_sign(self, x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Sign of phi'(x), elementwise: -1, 0 or 1, right where the slope itself underflows."""
        x = _floating(x)
        if self.slope_sign_of is not None:
            return self.slope_sign_of(x)
        return jnp.where(jnp.isnan(x), x, (self.log_abs_slope_of(x) > -jnp.inf).astype(x.dtype))


def _floating(x: ArrayLike) -> Array:
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"activation: `x` must be real; got {x.dtype}. Pass the real and imaginary parts separately.")
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


# --- building blocks -------------------------------------------------------------------------------------------


def _sigmoid(x: Array) -> Array:
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, 1, e) / (1 + e)


def _times_sigmoid(a: Array, u: Array) -> Array:
    """a * sigmoid(u), right also where sigmoid(u) alone is subnormal and would be flushed to zero."""
    half = jnp.exp(jnp.where(u < 0, u, 0) / 2)  # `where`, not `minimum`: at 0 its derivative must be abs's, one-sided
    return a * half / (1 + jnp.exp(-jnp.abs(u))) * half


def _log_sigmoid(x: Array) -> Array:
    return jnp.where(x < 0, x, 0) - jnp.log1p(jnp.exp(-jnp.abs(x)))


def _sech2(x: Array, height: float = 1.0) -> Array:
    root = jnp.exp(-jnp.abs(x))  # twice a factor: its square alone may be subnormal, and flushed to zero
    return 4 * height * root / (1 + root * root) ** 2 * root


def _log_sech2(x: Array) -> Array:
    return 2 * (LOG_2 - jnp.abs(x) - jnp.log1p(jnp.exp(-2 * jnp.abs(x))))


def _at_least_single(fn: Elementwise) -> Elementwise:
    """fn, computed in float32 for the half precisions, which jax.scipy does not take."""

    def wide(x):
        return fn(x) if x.dtype in (jnp.float32, jnp.float64) else fn(x.astype(jnp.float32)).astype(x.dtype)

    return wide


def _log_density(x: Array) -> Array:
    return -x * x / 2 - LOG_SQRT_2PI


def _tail_factor(t: Array) -> Array:
    """t Phi(-t) / density(t) for t >= 10, by its asymptotic series: the first term left out is below 1e-15."""
    factor = jnp.ones_like(t)
    for k in range(31, 0, -2):
        factor = 1 - k * factor / (t * t)
    return factor


@_at_least_single
def _log_ndtr(x: Array) -> Array:
    """ln Phi(x) for x <= 0. jax.scipy's is wrong by 3e-9 just beyond its switch of formulas at -20."""
    far = jnp.maximum(-x, 10)
    near = jnp.log(ndtr(jnp.maximum(x, -10)))
    return jnp.where(x < -10, _log_density(far) + jnp.log(_tail_factor(far) / far), near)


def _step(x: Array, left: float, right: float) -> Array:
    """left for x <= 0, right for x > 0, in x's dtype; NaN stays NaN."""
    return jnp.where(jnp.isnan(x), x, jnp.where(x > 0, jnp.asarray(right, x.dtype), jnp.asarray(left, x.dtype)))


def _box(x: Array, inside: Array, height: float, log: bool) -> Array:
    """A constant slope `height` inside, 0 outside; or its logarithm. NaN stays NaN."""
    there, elsewhere = (np.log(height), -jnp.inf) if log else (height, 0.0)
    box = jnp.where(inside, jnp.asarray(there, x.dtype), jnp.asarray(elsewhere, x.dtype))
    return jnp.where(jnp.isnan(x), x, box)


def _log_abs(slope: Elementwise) -> Elementwise:
    """ln|slope| of a slope that does not underflow where it matters."""
    return lambda x: jnp.log(jnp.abs(slope(x)))


# --- the catalogue ---------------------------------------------------------------------------------------------


def _identity() -> Activation:
    return Activation(
        "identity", "x", lambda x: x, lambda x: _step(x, 1.0, 1.0), lambda x: _step(x, 0.0, 0.0), "none", "none", 1.0
    )


def _sigmoid_record() -> Activation:
    def slope(x):
        e = jnp.exp(-jnp.abs(x))
        return e / (1 + e) ** 2

    return Activation(
        "sigmoid", "1 / (1 + exp(-x))", _sigmoid, slope,
        lambda x: -jnp.abs(x) - 2 * jnp.log1p(jnp.exp(-jnp.abs(x))),
        "soft", "soft", 0.25, left_limit=Fraction(0), right_limit=Fraction(1),
        log_left_gap=_log_sigmoid, log_right_gap=lambda x: _log_sigmoid(-x),
        reference="Rumelhart, Hinton & Williams 1986",
    )  # fmt: skip


def _tanh() -> Activation:
    def log_gap(x):
        return LOG_2 + _log_sigmoid(-2 * jnp.abs(x))

    return Activation(
        "tanh", "tanh(x)", jnp.tanh, _sech2, _log_sech2, "soft", "soft", 1.0,
        left_limit=Fraction(-1), right_limit=Fraction(1), log_left_gap=log_gap, log_right_gap=log_gap,
        reference="LeCun, Bottou, Orr & Mueller 1998",
    )  # fmt: skip


def _lecun_tanh() -> Activation:
    a, b = 1.7159, 2 / 3

    def log_gap(x):
        return float(np.log(2 * a)) + _log_sigmoid(-2 * b * jnp.abs(x))

    return Activation(
        "lecun_tanh", "1.7159 tanh(2 x / 3)", lambda x: a * jnp.tanh(b * x), lambda x: _sech2(b * x, a * b),
        lambda x: float(np.log(a * b)) + _log_sech2(b * x), "soft", "soft", a * b,
        left_limit=-Fraction("1.7159"), right_limit=Fraction("1.7159"), log_left_gap=log_gap, log_right_gap=log_gap,
        reference="LeCun, Bottou, Orr & Mueller 1998",
    )  # fmt: skip


def _erf() -> Activation:
    height = 2 * SQRT_2_OVER_PI / np.sqrt(2.0)

    def log_gap(x):
        return LOG_2 + _log_ndtr(-float(np.sqrt(2.0)) * jnp.abs(x))

    return Activation(
        "erf", "erf(x)", jax.lax.erf, lambda x: float(height) * jnp.exp(-x * x / 2) * jnp.exp(-x * x / 2),
        lambda x: float(np.log(height)) - x * x, "soft", "soft", float(height),
        left_limit=Fraction(-1), right_limit=Fraction(1), log_left_gap=log_gap, log_right_gap=log_gap,
        reference="Williams 1997",
    )  # fmt: skip


def _arctan() -> Activation:
    half_pi = Fraction("1.57079632679489661923132169163975144209858469968755")

    def log_gap(x):
        return jnp.log(jnp.arctan(1 / jnp.abs(x)))

    return Activation(
        "arctan", "arctan(x)", jnp.arctan, lambda x: 1 / (1 + x * x), lambda x: -2 * jnp.log(jnp.hypot(x, 1)),
        "soft", "soft", 1.0, left_limit=-half_pi, right_limit=half_pi, log_left_gap=log_gap, log_right_gap=log_gap,
        reference="Gulcehre et al. 2016",
    )  # fmt: skip


def _softsign() -> Activation:
    def log_gap(x):
        return -jnp.log1p(jnp.abs(x))

    return Activation(
        "softsign", "x / (1 + |x|)", lambda x: x / (1 + jnp.abs(x)), lambda x: 1 / (1 + jnp.abs(x)) ** 2,
        lambda x: -2 * jnp.log1p(jnp.abs(x)), "soft", "soft", 1.0, kinks=(0.0,),
        left_limit=Fraction(-1), right_limit=Fraction(1), log_left_gap=log_gap, log_right_gap=log_gap,
        reference="Bergstra, Desjardins, Lamblin & Bengio 2009; Glorot & Bengio 2010",
    )  # fmt: skip


def _hard_sigmoid() -> Activation:
    def box(x, log):
        return _box(x, jnp.abs(x) < 3, 1 / 6, log)

    return Activation(
        "hard_sigmoid", "min(max(x + 3, 0), 6) / 6", lambda x: jnp.clip(x + 3, 0, 6) / 6,
        lambda x: box(x, False), lambda x: box(x, True), "hard", "hard", 1 / 6, kinks=(-3.0, 3.0),
        left_limit=Fraction(0), right_limit=Fraction(1), reference="Courbariaux, Bengio & David 2015; jax.nn",
    )  # fmt: skip


def _hard_tanh() -> Activation:
    def box(x, log):
        return _box(x, jnp.abs(x) <= 1, 1.0, log)

    return Activation(
        "hard_tanh", "min(max(x, -1), 1)", lambda x: jnp.clip(x, -1, 1),
        lambda x: box(x, False), lambda x: box(x, True), "hard", "hard", 1.0, kinks=(-1.0, 1.0),
        left_limit=Fraction(-1), right_limit=Fraction(1), reference="Collobert 2004",
    )  # fmt: skip


def _relu() -> Activation:
    return Activation(
        "relu", "max(x, 0)", lambda x: jnp.maximum(x, 0), lambda x: _step(x, 0.0, 1.0),
        lambda x: _step(x, -jnp.inf, 0.0), "hard", "none", 1.0, kinks=(0.0,), left_limit=Fraction(0),
        reference="Nair & Hinton 2010; Glorot, Bordes & Bengio 2011",
    )  # fmt: skip


def _relu6() -> Activation:
    def box(x, log):
        return _box(x, (x > 0) & (x < 6), 1.0, log)

    return Activation(
        "relu6", "min(max(x, 0), 6)", lambda x: jnp.clip(x, 0, 6), lambda x: box(x, False), lambda x: box(x, True),
        "hard", "hard", 1.0, kinks=(0.0, 6.0), left_limit=Fraction(0), right_limit=Fraction(6),
        reference="Krizhevsky 2010",
    )  # fmt: skip


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
        _named("leaky_relu", a, 0.01), "x for x >= 0, a x below", lambda x: jnp.where(x >= 0, x, a * x),
        lambda x: below(x, 1.0, a), lambda x: below(x, 0.0, log_a), "hard" if a == 0 else "none", "none",
        max(1.0, abs(a)), kinks=(0.0,), slope_sign_of=lambda x: below(x, 1.0, float(np.sign(a))), left_limit=Fraction(0) if a == 0 else None,
        reference="Maas, Hannun & Ng 2013",
    )  # fmt: skip


@functools.cache
def _exponential_left(name: str, scale: Fraction, alpha: Fraction, width: Fraction, reference: str) -> Activation:
    """scale * (x for x > 0, alpha (exp(x / width) - 1) below): the ELU family."""
    s, left, w = float(scale), float(scale * alpha), float(width)
    log_left = float(np.log(left / w))

    def slope(x):
        half = jnp.exp(jnp.minimum(x, 0) / (2 * w))  # twice a factor, so that a subnormal exp is not flushed
        return jnp.where(x > 0, s, (left / w) * half * half)

    return Activation(
        name, "s x for x > 0, s a (exp(x / w) - 1) below",
        lambda x: jnp.where(x > 0, s * x, left * jnp.expm1(jnp.minimum(x, 0) / w)), slope,
        lambda x: jnp.where(x > 0, float(np.log(s)), log_left + jnp.minimum(x, 0) / w),
        "soft", "none", max(s, left / w), kinks=(0.0,), left_limit=-scale * alpha,
        log_left_gap=lambda x: float(np.log(left)) + x / w, reference=reference,
    )  # fmt: skip


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
        "softplus", "ln(1 + exp(x))", value, _sigmoid, _log_sigmoid, "soft", "none", 1.0,
        left_limit=Fraction(0), log_left_gap=log_gap, reference="Dugas et al. 2001",
    )  # fmt: skip


def _log_sigmoid_record() -> Activation:
    softplus_gap = get("softplus").log_left_gap
    assert softplus_gap is not None
    return Activation(
        "log_sigmoid", "-ln(1 + exp(-x))", _log_sigmoid, lambda x: _sigmoid(-x), lambda x: _log_sigmoid(-x),
        "none", "soft", 1.0, right_limit=Fraction(0), log_right_gap=lambda x: softplus_gap(-x), reference="jax.nn",
    )  # fmt: skip


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
        "squareplus", "(x + sqrt(x^2 + 4)) / 2", value, slope,
        lambda x: jnp.where(x >= 0, -1, 1) * log_value_left(x) - jnp.log(root(x)),
        "soft", "none", 1.0, left_limit=Fraction(0), log_left_gap=log_value_left, reference="Barron 2021",
    )  # fmt: skip


def _sparse_plus() -> Activation:
    def slope(x):
        return jnp.clip((x + 1) / 2, 0, 1)

    return Activation(
        "sparse_plus", "0 for x <= -1, (x + 1)^2 / 4 between, x for x >= 1",
        lambda x: jnp.where(x >= 1, x, (jnp.clip(x, -1, 1) + 1) ** 2 / 4), slope, _log_abs(slope),
        "hard", "none", 1.0, kinks=(-1.0, 1.0), left_limit=Fraction(0), reference="Blondel & Roulet 2024; jax.nn",
    )  # fmt: skip


def _gated(name: str, formula: str, u: Elementwise, du: Elementwise, max_slope: float, reference: str) -> Activation:
    """x * sigmoid(u(x)): silu and the tanh form of gelu."""

    def bracket(x):  # slope / sigmoid(u)
        return 1 + x * du(x) * _sigmoid(-u(x))

    return Activation(
        name, formula, lambda x: _times_sigmoid(x, u(x)), lambda x: _times_sigmoid(bracket(x), u(x)),
        lambda x: _log_sigmoid(u(x)) + jnp.log(jnp.abs(bracket(x))), "soft", "none", max_slope,
        slope_sign_of=lambda x: jnp.sign(bracket(x)), left_limit=Fraction(0),
        log_left_gap=lambda x: jnp.log(jnp.abs(x)) + _log_sigmoid(u(x)), reference=reference,
    )  # fmt: skip


def _silu() -> Activation:
    return _gated(
        "silu", "x / (1 + exp(-x))", lambda x: x, jnp.ones_like, 1.0998393201288669,
        "Elfwing, Uchibe & Doya 2018; Ramachandran et al. 2017",
    )  # fmt: skip


def _gelu_tanh() -> Activation:
    a, b = 2 * SQRT_2_OVER_PI, 0.044715
    return _gated(
        "gelu_tanh", "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2", lambda x: a * x * (1 + b * x * x),
        lambda x: a * (1 + 3 * b * x * x), 1.1289930686587718, "Hendrycks & Gimpel 2016",
    )  # fmt: skip


def _gelu() -> Activation:
    # Far left x Phi(x) = -density(x) f and phi'(x) = -density(x) (t - f / t), with t = -x and f = _tail_factor(t): the
    # density comes as the square of its root, since alone it may be subnormal, and flushed to zero.
    def far_left(x, near, factor):
        t = jnp.maximum(-x, 10)
        root = jnp.exp(_log_density(t) / 2)
        return jnp.where(x < -10, -root * factor(t) * root, near(jnp.maximum(x, -10)))

    @_at_least_single
    def value(x):
        return far_left(x, lambda x: x * ndtr(x), _tail_factor)

    @_at_least_single
    def slope(x):
        return far_left(x, lambda x: ndtr(x) + x * jnp.exp(_log_density(x)), lambda t: t - _tail_factor(t) / t)

    @_at_least_single
    def log_abs_slope(x):
        t = jnp.maximum(-x, 10)
        far = _log_density(t) + jnp.log(t - _tail_factor(t) / t)
        return jnp.where(x < -10, far, jnp.log(jnp.abs(slope(jnp.maximum(x, -10)))))

    return Activation(
        "gelu", "x Phi(x), Phi the normal distribution function", value, slope, log_abs_slope,
        "soft", "none", 1.1289041451851548,
        slope_sign_of=lambda x: jnp.sign(slope(jnp.maximum(x, -2))), left_limit=Fraction(0),
        log_left_gap=lambda x: jnp.log(jnp.abs(x)) + _log_ndtr(x), reference="Hendrycks & Gimpel 2016",
    )  # fmt: skip


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
        "mish", "x tanh(ln(1 + exp(x)))", value, lambda x: left_factor(bracket(x), x),
        lambda x: jnp.minimum(x, 0) + jnp.log(jnp.abs(bracket(x))), "soft", "none", 1.0884981612517279,
        slope_sign_of=lambda x: jnp.sign(bracket(x)), left_limit=Fraction(0), log_left_gap=log_gap, reference="Misra 2019",
    )  # fmt: skip


def _hard_silu() -> Activation:
    def slope(x):
        return jnp.where(x >= 3, 1, jnp.where(x <= -3, 0, (2 * jnp.where(jnp.abs(x) < 3, x, 0) + 3) / 6)) + 0 * x

    return Activation(
        "hard_silu", "x min(max(x + 3, 0), 6) / 6", lambda x: x * (jnp.clip(x + 3, 0, 6) / 6), slope,
        _log_abs(slope), "hard", "none", 1.5, kinks=(-3.0, 3.0), slope_sign_of=lambda x: jnp.sign(slope(x)), left_limit=Fraction(0),
        reference="Howard et al. 2019",
    )  # fmt: skip


def _sin() -> Activation:
    return Activation(
        "sin", "sin(x)", jnp.sin, jnp.cos, _log_abs(jnp.cos), "none", "none", 1.0, slope_sign_of=lambda x: jnp.sign(jnp.cos(x)),
        reference="Sitzmann et al. 2020",
    )  # fmt: skip


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
    found = derived.facts(fn)
    return Activation(
        found.name, "derived from a callable", fn, found.slope_of, _log_abs(found.slope_of), found.left, found.right,
        found.max_slope, kinks=found.kinks, slope_sign_of=lambda x: jnp.sign(found.slope_of(x)), derived=True,
    )  # fmt: skip
