"""What is measured at a site, reduced where it is made: nothing of the size of an activation is kept.

Slopes are those of automatic differentiation, in the run's own dtype: they are what training sees. A sink is a small
array of zeros that a site's pre-activation is tied to; its "gradient" is the statistics of the gradient that arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from jaxsat.linalg.magnitudes import magnitude, wide
from jaxsat.probing.flow_points import FlowPlace
from jaxsat.probing.reader import Reader
from jaxsat.probing.survey import SiteDescription
from jaxsat.probing.values import Address, Value, key_of, replay

LEVEL = 0.05  # saturated: |slope| <= LEVEL * max|slope|
MASKED = -9999.0  # a score of a softmax that is this low stands for "not this key"
GOLDEN = (5**0.5 - 1) / 2
RANKED = 512  # inputs by which the rank of features is judged
MEDIAN_OF_SQUARE = 0.4549364  # of a standard normal number
MOSTLY = 0.9  # a unit is mostly saturated if it is so for more than this share of the inputs

# In a program; on the host, over the iterations of a loop; of a single iteration.
Statistic = Array | np.ndarray | float


class Forward(NamedTuple):
    """Statistics of one site over units and inputs; NaN where there is no such number."""

    pre_activation_mean: Statistic
    pre_activation_rms: Statistic
    pre_activation_min: Statistic
    pre_activation_max: Statistic
    activation_rms: Statistic
    slope_mean: Statistic
    slope_rms: Statistic
    zero_slope_fraction: Statistic
    saturated_fraction: Statistic
    mostly_saturated_fraction: Statistic
    never_saturated_fraction: Statistic
    dead_fraction: Statistic
    weight_scale: Statistic
    bias_scale: Statistic
    bias_mean: Statistic
    nonfinite_fraction: Statistic
    input_correlation: Statistic
    entropy: Statistic
    participation_ratio: Statistic


class Measured(NamedTuple):
    """What one run of a probe measures.

    Attributes:
        loss: the scalar that gradients are taken of; None if there is none.
        forward: statistics of each site, by the key of its end; stacked along the last axis as they leave a program.
        backward: rows of :class:`Backward`, by the key of a site's pre-activation.
        arguments: largest magnitude in each argument; NaN if there is a NaN in it, 0 if it is no floating array.
        outputs: the same of the function's outputs.
        weights: ln of the norms of gradient and value of the weights, by the index of the argument.
    """

    loss: Any
    forward: dict[str, Any]
    backward: dict[str, Any]
    arguments: Any
    outputs: Any
    weights: dict[int, Any]


def on_host(measured: Measured) -> Measured:
    """Return what a program measured as NumPy arrays, its statistics by name."""
    measured = jax.device_get(measured)
    named = {key: Forward(*np.moveaxis(np.asarray(rows), -1, 0)) for key, rows in measured.forward.items()}
    return measured._replace(forward=named)


def largest(arrays: Sequence[Any]) -> list[Array]:
    """Return the largest magnitude in each array; NaN if there is a NaN in it, 0 if it is no floating array."""

    def of(array: Any) -> Array:
        dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating):
            return jnp.zeros((), jnp.float32)
        size = jnp.abs(lax.stop_gradient(array))
        return jnp.max(size, initial=0).astype(wide(dtype))

    return [of(array) for array in arrays]


class Backward(NamedTuple):
    """Statistics of the gradient with respect to one site's pre-activation."""

    reached: Statistic
    log_gradient_norm: Statistic
    zero_gradient_fraction: Statistic
    subnormal_gradient_fraction: Statistic


def forward(site: SiteDescription, root: Value, end: Value) -> Array:
    """Return the :class:`Forward` of a site, stacked: each array that leaves a program costs time."""
    x, y = lax.stop_gradient((root.array, end.array))
    to = wide(x.dtype)
    numbers = dict.fromkeys(Forward._fields, jnp.full((), jnp.nan, to))
    h = x.astype(to)
    if site.role == "softmax":
        numbers |= _scores(site, h, y.astype(to))
    else:
        numbers |= {
            "pre_activation_mean": jnp.mean(h),
            "pre_activation_rms": jnp.sqrt(jnp.mean(h * h)),
            "pre_activation_min": jnp.min(h),
            "pre_activation_max": jnp.max(h),
            "activation_rms": jnp.sqrt(jnp.mean(jnp.square(y.astype(to)))),
            "nonfinite_fraction": jnp.mean(~(jnp.isfinite(x) & jnp.isfinite(y)), dtype=to),
        }
    if site.role in ("activation", "gate"):
        numbers |= _slopes(site, replayed_slope(root, end, x), to)
        numbers["input_correlation"] = _alike(h, inputs_of(site, h.ndim))
    if site.role == "activation" and site.unit_axis is not None:
        numbers["participation_ratio"] = feature_participation(jnp.moveaxis(y, site.unit_axis, -1), to)
    numbers |= _parameters(root, to)
    return jnp.stack([numbers[name] for name in Forward._fields])


def _parameters(root: Value, to: DTypeLike) -> dict[str, Array]:
    """Return the scales of the weight and of the bias before a site, if one linear map is there, or a bias alone."""
    numbers: dict[str, Array] = {}
    if len(root.facts.maps) > 1:
        return numbers
    for weight in root.facts.maps:
        numbers["weight_scale"] = _rms(weight.value, to) * jnp.sqrt(jnp.asarray(weight.fan_in, to))
        numbers |= {"bias_scale": jnp.zeros((), to), "bias_mean": jnp.zeros((), to)}
    if root.facts.bias is not None:
        bias = lax.stop_gradient(root.facts.bias.value)
        numbers |= {"bias_scale": _rms(bias, to), "bias_mean": jnp.mean(bias, dtype=to)}
    return numbers


def _scores(site: SiteDescription, h: Array, e: Array) -> dict[str, Array]:
    """Return statistics of a softmax over the scores that are not masked.

    Args:
        site: with the axes that it sums over.
        h: scores. Those of at most MASKED are masked.
        e: exp of the scores less something that is the same in each row.
    """
    to, axes = h.dtype, site.axes
    open_ = h > MASKED  # False for NaN too
    count = jnp.maximum(jnp.sum(open_, dtype=to), 1)
    kept = jnp.where(open_, h, 0)
    p = jnp.where(open_, e, 0)
    p = p / jnp.maximum(jnp.sum(p, axis=axes, keepdims=True), jnp.finfo(to).tiny)
    keys = jnp.sum(open_, axis=axes, dtype=to)
    log_p = jnp.log(jnp.where(p > 0, p, 1))
    entropy = -jnp.sum(jnp.where(p > 0, p * log_p, 0), axis=axes)
    rows = keys > 1  # a query with one key has no choice
    share = jnp.where(rows, entropy / jnp.log(jnp.where(rows, keys, 2)), 0)
    return {
        "pre_activation_mean": jnp.sum(kept) / count,
        "pre_activation_rms": jnp.sqrt(jnp.sum(kept * kept) / count),
        "pre_activation_min": jnp.min(jnp.where(open_, h, jnp.inf)),
        "pre_activation_max": jnp.max(jnp.where(open_, h, -jnp.inf)),
        "activation_rms": jnp.sqrt(jnp.mean(e * e)),
        "nonfinite_fraction": jnp.mean(jnp.isnan(h) | (h == jnp.inf) | ~jnp.isfinite(e), dtype=to),
        "entropy": jnp.where(jnp.any(rows), jnp.sum(share) / jnp.maximum(jnp.sum(rows, dtype=to), 1), jnp.nan),
    }


def inputs_of(site: SiteDescription, rank: int) -> tuple[int, ...]:
    """Return the axes that are not the units': over which each unit is seen."""
    axis = None if site.unit_axis is None else site.unit_axis % rank
    return tuple(i for i in range(rank) if i != axis)


def _alike(h: Array, inputs: tuple[int, ...]) -> Array:
    """Return how alike the inputs are to a layer: the correlation of two of them, 1 if they are the same.

    In a Gaussian layer the means of units over inputs have variance c and the deviations from them 1 - c. The median of
    the squared means stands for their variance, so that the biases of a few units do not count.
    """
    mean = jnp.mean(h, axis=inputs, keepdims=True)
    within = jnp.mean(jnp.square(h - mean))
    between = jnp.median(mean * mean) / MEDIAN_OF_SQUARE
    total = between + within
    return jnp.where(total > 0, between / jnp.where(total > 0, total, 1), jnp.nan)


def feature_participation(features: Float[Array, "*inputs units"], to: DTypeLike) -> Float[Array, ""]:
    """Return in how many directions features vary: (sum of the variances)^2 / sum of their squares, along principal axes.

    It is between 1 and the number of units; NaN where nothing varies by more than rounding does: 10 eps times the largest
    feature. At most RANKED inputs are looked at: evenly spread, by the golden ratio, so that no period of positions in a
    batch counts.
    """
    rows = features.reshape(-1, features.shape[-1])
    if rows.shape[0] > RANKED:
        rows = rows[np.sort((rows.shape[0] * (np.arange(RANKED) * GOLDEN % 1)).astype(int))]
    rows = rows.astype(to)
    largest = jnp.max(jnp.abs(rows))  # scaled to 1: fourth powers of small features underflow
    rows = rows / jnp.where(largest > 0, largest, 1)
    rows = rows - jnp.mean(rows, axis=0, keepdims=True)
    smaller = rows.T @ rows if rows.shape[1] <= rows.shape[0] else rows @ rows.T  # the same sums of eigenvalues
    trace, squares = jnp.trace(smaller), jnp.sum(jnp.square(smaller))
    varies = trace > rows.size * (10 * jnp.finfo(to).eps) ** 2
    return jnp.where(varies, jnp.square(trace) / jnp.where(varies, squares, 1), jnp.nan)


def replayed_slope(root: Value, end: Value, x: Any) -> Array:
    """Return phi'(x), entry by entry: the chain is elementwise, so one pull-back of ones gives every slope."""
    y, pull = jax.vjp(lambda x: replay(end, root, x), x)
    return pull(jnp.ones_like(y))[0]


def _slopes(site: SiteDescription, slope: Array, to: DTypeLike) -> dict[str, Array]:
    d = jnp.abs(slope.astype(to))
    largest = jnp.max(d) if site.max_slope is None else jnp.asarray(site.max_slope, to)
    saturated, zero = d <= LEVEL * largest, slope == 0
    inputs = inputs_of(site, d.ndim)
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


def _rms(x: Any, to: DTypeLike) -> Array:
    values = lax.stop_gradient(x).astype(to)
    return jnp.sqrt(jnp.mean(jnp.square(values)))


def sink(site: SiteDescription | FlowPlace) -> Float[Array, "*iterations 4"]:
    """Return zeros, one row for each iteration. Their gradient is the statistics of the gradient at the site."""
    return jnp.zeros((*site.lengths, len(Backward._fields)), wide(jnp.dtype(site.dtype)))


@jax.custom_vjp
def tied(x: Array, sink: Array) -> Array:
    """Return x itself. The gradient of the sink is the :class:`Backward` of x's gradient."""
    return x


def _tied_forward(x: Array, sink: Array) -> tuple[Array, Array]:
    return x, sink


def _tied_backward(sink: Array, gradient: Array) -> tuple[Array, Array]:
    found = magnitude(gradient)
    rows = jnp.stack([jnp.ones_like(found.log_norm), *found])
    return gradient, sink + rows  # zeros: a sum differs between shards as the sink does


tied.defvjp(_tied_forward, _tied_backward)


def tie(reader: Reader, address: Address, array: Any) -> Any:
    """Tie a value to its sink, if the reader has one for it."""
    key = key_of(address)
    return tied(array, reader.sinks[key]) if key in reader.sinks else array
