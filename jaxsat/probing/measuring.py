"""What is measured at a site, reduced where it is made: nothing of the size of an activation is kept.

Slopes are those of automatic differentiation, in the run's own dtype: they are what training sees. A sink is a small
array of zeros that a site's pre-activation is tied to; its "gradient" is the statistics of the gradient that arrives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxsat.linalg.magnitudes import magnitude, wide
from jaxsat.probing.survey import SiteDescription
from jaxsat.probing.values import Value, replay

LEVEL = 0.05  # saturated: |slope| <= LEVEL * max|slope|
MOSTLY = 0.9  # a unit is mostly saturated if it is so for more than this share of the inputs


class Forward(NamedTuple):
    """Statistics of one site over units and inputs; NaN where there is no such number."""

    pre_activation_mean: Any
    pre_activation_rms: Any
    pre_activation_min: Any
    pre_activation_max: Any
    activation_rms: Any
    slope_mean: Any
    slope_rms: Any
    zero_slope_fraction: Any
    saturated_fraction: Any
    mostly_saturated_fraction: Any
    never_saturated_fraction: Any
    dead_fraction: Any
    weight_scale: Any
    bias_scale: Any
    bias_mean: Any


class Backward(NamedTuple):
    """Statistics of the gradient with respect to one site's pre-activation."""

    reached: Any
    log_gradient_norm: Any
    zero_gradient_fraction: Any
    subnormal_gradient_fraction: Any


def forward(site: SiteDescription, root: Value, end: Value) -> Forward:
    """Statistics of pre-activations, slopes and parameters at a site."""
    x, y = lax.stop_gradient((root.array, end.array))
    to = wide(x.dtype)
    missing = jnp.full((), jnp.nan, to)
    numbers = dict.fromkeys(Forward._fields, missing)
    h = x.astype(to)
    numbers |= {
        "pre_activation_mean": jnp.mean(h),
        "pre_activation_rms": jnp.sqrt(jnp.mean(h * h)),
        "pre_activation_min": jnp.min(h),
        "pre_activation_max": jnp.max(h),
        "activation_rms": jnp.sqrt(jnp.mean(jnp.square(y.astype(to)))),
    }
    if site.role in ("activation", "gate"):
        numbers |= _slopes(site, replayed_slope(root, end, x), to)
    if len(root.facts.maps) == 1:
        (weight,) = root.facts.maps
        numbers["weight_scale"] = _rms(weight.value, to) * jnp.sqrt(jnp.asarray(weight.fan_in, to))
        numbers["bias_scale"], numbers["bias_mean"] = jnp.zeros((), to), jnp.zeros((), to)
        if root.facts.bias is not None:
            bias = lax.stop_gradient(root.facts.bias.value)
            numbers["bias_scale"], numbers["bias_mean"] = _rms(bias, to), jnp.mean(bias, dtype=to)
    return Forward(**numbers)


def replayed_slope(root: Value, end: Value, x: Any) -> Array:
    """phi'(x), entry by entry: the chain is elementwise, so one pull-back of ones gives every slope."""
    y, pull = jax.vjp(lambda x: replay(end, root, x), x)
    return pull(jnp.ones_like(y))[0]


def _slopes(site: SiteDescription, slope: Array, to: Any) -> dict[str, Array]:
    d = jnp.abs(slope.astype(to))
    largest = jnp.max(d) if site.max_slope is None else jnp.asarray(site.max_slope, to)
    saturated, zero = d <= LEVEL * largest, slope == 0
    axis = site.unit_axis % d.ndim
    inputs = tuple(i for i in range(d.ndim) if i != axis)
    share, dead = jnp.mean(saturated, axis=inputs, dtype=to), jnp.all(zero, axis=inputs)
    # A slope that only tends to 0 is never exactly 0: where it is so, rounding made it, and the unit is not dead.
    soft = site.activation is not None and "hard" not in (site.activation.left, site.activation.right)
    return {
        "slope_mean": jnp.mean(slope, dtype=to),
        "slope_rms": jnp.sqrt(jnp.mean(d * d)),
        "zero_slope_fraction": jnp.mean(zero, dtype=to),
        "saturated_fraction": jnp.mean(share),
        "mostly_saturated_fraction": jnp.mean(share > MOSTLY, dtype=to),
        "never_saturated_fraction": jnp.mean(share == 0, dtype=to),
        "dead_fraction": jnp.zeros((), to) if soft else jnp.mean(dead, dtype=to),
    }


def _rms(x: Any, to: Any) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(lax.stop_gradient(x).astype(to))))


def sink(site: SiteDescription) -> Float[Array, "*iterations 4"]:
    """Zeros in whose place the gradient's statistics come out, one row for each iteration."""
    return jnp.zeros((*site.lengths, len(Backward._fields)), wide(jnp.dtype(site.dtype)))


@jax.custom_vjp
def tied(x: Array, sink: Array) -> Array:
    """x itself; the sink's gradient is the :class:`Backward` of x's gradient."""
    return x


def _tied_forward(x: Array, sink: Array) -> tuple[Array, None]:
    return x, None


def _tied_backward(_: None, gradient: Array) -> tuple[Array, Array]:
    found = magnitude(gradient)
    return gradient, jnp.stack([jnp.ones_like(found.log_norm), *found])


tied.defvjp(_tied_forward, _tied_backward)
