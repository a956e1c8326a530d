"""The catalogue of activations: value, slope, ln|slope|, kinks, and how each one saturates.

Every formula is written in terms of exp(-|x|), so nothing overflows and no two nearly equal numbers are
subtracted. That matters for slopes: automatic differentiation of the logistic function computes s (1 - s), which
is exactly 0 from x = 37 on in float64 although the true slope there is 8.5e-17. Such a *spurious* saturation is
made by rounding, not by the network. Activations of this catalogue carry their own slope into
``jax.grad``, ``jax.jvp`` and ``jax.jacfwd``, so code built on them does not have that fault.

The records stand in three families: ``bounded``, ``rectifiers`` and ``gated``. What belongs to none of them is here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp

from jaxsat import checks
from jaxsat.activations import callables
from jaxsat.activations.bounded import BOUNDED
from jaxsat.activations.formulas import log_abs, log_sigmoid, sigmoid, step
from jaxsat.activations.gated import GATED
from jaxsat.activations.record import Activation, ActivationLike, Elementwise, sendable
from jaxsat.activations.rectifiers import RECTIFIERS, celu, elu, leaky_relu

__all__ = ["celu", "elu", "get", "leaky_relu", "names"]

SEE = "See jaxsat.activations.names()."


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
    "identity": _identity,
    **BOUNDED,
    **RECTIFIERS,
    **GATED,
    "log_sigmoid": _log_sigmoid_record,
    "sin": _sin,
}
_ALIASES = {
    "linear": "identity",
    "logistic": "sigmoid",
    "soft_sign": "softsign",
    "swish": "silu",
    "hard_swish": "hard_silu",
}


def names() -> tuple[str, ...]:
    """Return the names of the catalogue, in its order.

    >>> names()[:3]
    ('identity', 'sigmoid', 'tanh')
    """
    return tuple(_CATALOGUE)


def get(activation: ActivationLike) -> Activation:
    """Return the record of an activation, by name, or derived from any elementwise JAX function.

    Args:
        activation: a name from :func:`names` (or a common alias: swish, logistic, linear ...), a record (returned
            as it is), or a callable that maps an array to an array elementwise. For a callable everything
            beyond its value is *derived*: slopes by autodiff (with autodiff's own rounding: see the Accuracy note),
            kinks, maximum slope and saturation class by probing |x| <= 1e4.

    Raises:
        ValueError: unknown name (near matches are given), or a callable that is not elementwise.
        TypeError: none of the three.

    Accuracy: derived slopes underflow and cancel as autodiff does, and derived kinks are only those where the
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
    came = checks.Shown(type(activation).__name__)
    raise TypeError(checks.refusal("activation", "", "be a name, an Activation or a callable", came, SEE))


@functools.cache
def _by_name(name: str) -> Activation:
    if name not in _CATALOGUE:
        hint = checks.near(name, [*_CATALOGUE, *_ALIASES], otherwise=SEE)
        raise ValueError(checks.refusal("activation", "", "be a name of the catalogue", name, hint))
    return sendable(_CATALOGUE[name](), get, name)


@functools.lru_cache(maxsize=256)
def _derive(fn: Elementwise) -> Activation:
    found = callables.facts(fn)
    record = Activation(
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
    return sendable(record, get, fn)
