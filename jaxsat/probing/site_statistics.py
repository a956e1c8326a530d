"""Statistics of sites, from sums over their inputs. Sites of one shape are finished together, which compiles once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsat.linalg.magnitudes import maximum_or_nan
from jaxsat.linalg.packed_arrays import means, norms_in_logs

MEDIAN_OF_SQUARE = 0.4549364  # of a standard normal number
MOSTLY = 0.9  # a unit is mostly saturated if it is so for more than this share of the inputs

# What is summed over inputs, for each unit: first the least and the most, then what these means, or roots of them, are of.
MEANS = {
    "h": "pre_activation_mean",
    "wrong": "nonfinite_fraction",
    "h_squared": "pre_activation_rms",
    "y_squared": "activation_rms",
    "slope_squared": "slope_rms",
    "slope": "slope_mean",
    "saturated": "saturated_fraction",
    "zero": "zero_slope_fraction",
}
SUMS = ("least", "most", *MEANS)
WITHOUT_SLOPES = SUMS[:6]

# In a program; on the host, over the iterations of a loop; of a single iteration.
Statistic = Array | np.ndarray | float
Named = tuple[tuple[str, ...], Array]  # numbers, and what they are


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


class Kind(NamedTuple):
    """How a site is finished.

    Attributes:
        sums: what was summed: names of SUMS, or of statistics that are finished already.
        inputs: how many each unit has seen.
        dies: whether a unit whose slopes are all 0 is dead.
    """

    sums: tuple[str, ...]
    inputs: int = 0
    dies: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Unfinished:
    """What a site's statistics are made of.

    Attributes:
        kind: how it is finished.
        sums: of rows of inputs, for each unit; or statistics, as one row of one unit.
        features: of some inputs.
        weights: of the linear maps before it, each with its fan-in.
        bias: that is added before it.
    """

    kind: Kind
    sums: tuple[Array, ...]
    features: Array | None
    weights: tuple[tuple[Any, int], ...]
    bias: Any


def settled(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results. Each unfinished site becomes one array, in the order of :class:`Forward`.

    One array and not twenty, since each array that leaves a program costs time.
    """
    sites = {key: one for key, one in results.items() if isinstance(one, Unfinished)}
    if not sites:
        return dict(results)
    groups: dict[Any, list[str]] = {}
    for key, one in sites.items():
        features = None if one.features is None else one.features.shape
        groups.setdefault((one.kind, one.sums[0].shape, one.sums[0].dtype, features), []).append(key)
    order = [key for group in groups.values() for key in group]
    scales = _scales([sites[key] for key in order])
    found: dict[str, Array] = {}
    for (kind, shape, dtype, features), group in groups.items():
        mine = [sites[key] for key in group]
        sums = jnp.stack([one for site in mine for one in site.sums]).reshape(len(mine), len(kind.sums), *shape)
        rows = None if features is None else jnp.stack([site.features for site in mine if site.features is not None])
        of_weights = scales[len(found) : len(found) + len(mine)].astype(dtype)
        found |= dict(zip(group, jax.vmap(partial(_finished, kind))(sums, rows, of_weights), strict=True))
    return {key: found.get(key, one) for key, one in results.items()}


def _scales(sites: Sequence[Unfinished]) -> Float[Array, "sites 3"]:
    """Return the largest scale of its weights for each site, the scale of the bias, and the bias's mean.

    A linear map without a bias has one of zeros.
    """
    weights = [jnp.asarray(weight) for site in sites for weight, _ in site.weights]
    biases = [jnp.asarray(site.bias) for site in sites if site.bias is not None]
    fan_ins = [fan_in for site in sites for _, fan_in in site.weights] + [1] * len(biases)
    log_sizes = norms_in_logs(weights + biases)
    factors = [math.sqrt(fan_in / one.size) for fan_in, one in zip(fan_ins, weights + biases, strict=True)]
    dtype = log_sizes.dtype
    known = [jnp.exp(log_sizes) * np.array(factors, dtype), means(biases).astype(dtype), np.array([np.nan, 0], dtype)]
    pool = jnp.concatenate(known)
    nothing, zero = pool.size - 2, pool.size - 1
    counts = np.array([len(site.weights) for site in sites])
    has_bias = np.array([site.bias is not None for site in sites])
    bias_at, without = len(weights) + np.cumsum(has_bias) - 1, np.where(counts > 0, zero, nothing)
    # A column for each weight. Where a site has fewer than others, its last stands there again.
    place, ends = np.arange(max(counts.max(), 1))[None, :], np.cumsum(counts)[:, None]
    weight_at = np.minimum(ends - counts[:, None] + place, ends - 1)
    largest = maximum_or_nan(pool[np.where(counts[:, None] > 0, weight_at, nothing)], axis=1)
    of_biases = [np.where(has_bias, at, without) for at in (bias_at, bias_at + len(biases))]
    return jnp.stack([largest, *(pool[at] for at in of_biases)], axis=1)


def _finished(
    kind: Kind, sums: Float[Array, "sums rows units"], features: Array | None, scales: Float[Array, " 3"]
) -> Float[Array, " statistics"]:
    """Return the statistics of a site, in the order of :class:`Forward`; NaN where there is no such number."""
    to = sums.dtype
    pool: list[Named] = [(("weight_scale", "bias_scale", "bias_mean"), scales)]
    if kind.inputs:
        pool.append((("pre_activation_min",), -maximum_or_nan(-sums[:1], axis=(1, 2))))
        pool.append((("pre_activation_max",), maximum_or_nan(sums[1:2], axis=(1, 2))))
        pool += _of_units(kind, jnp.sum(sums[2:], axis=1))
    else:
        pool.append((kind.sums, sums[:, 0, 0]))
    if features is not None:
        pool.append((("participation_ratio",), feature_participation(features).astype(to)[None]))
    pool.append((("",), jnp.full(1, jnp.nan, to)))
    order = [name for names, _ in pool for name in names]
    numbers = jnp.concatenate([values for _, values in pool])
    return numbers[np.array([order.index(name if name in order else "") for name in Forward._fields])]


def _of_units(kind: Kind, sums: Float[Array, "sums units"]) -> list[Named]:
    """Return names and values of statistics over all units, from the sums of each."""
    to, units, names = sums.dtype, sums.shape[1], [*MEANS]
    rows, sizes = [sums], [units * kind.inputs] * len(sums)
    found: list[Named] = []
    if "slope" in kind.sums:
        share = sums[names.index("saturated")] / kind.inputs
        dead = (sums[names.index("zero")] == kind.inputs) & kind.dies
        rows.append(jnp.stack([share > MOSTLY, share == 0, dead]).astype(to))
        sizes += [units] * 3
        h, h_squared = (sums[names.index(name)] / kind.inputs for name in ("h", "h_squared"))
        found.append((("input_correlation",), _alike(h, h_squared)[None]))
    of_all = jnp.sum(jnp.concatenate(rows), axis=1) / np.array(sizes, to)
    named = (*MEANS.values(), "mostly_saturated_fraction", "never_saturated_fraction", "dead_fraction")[: len(sizes)]
    roots = [i for i, name in enumerate(named) if name.endswith("_rms")]  # neighbours
    first, last = roots[0], roots[-1] + 1
    values = jnp.concatenate([of_all[:first], jnp.sqrt(of_all[first:last]), of_all[last:]])
    return [*found, (named, values)]


def _alike(mean: Float[Array, " units"], square: Float[Array, " units"]) -> Array:
    """Return how alike the inputs are to a layer: the correlation of two of them, 1 if they are the same.

    In a Gaussian layer the means of units over inputs have variance c and the deviations from them 1 - c. The median of
    the squared means stands for their variance, so that the biases of a few units do not count.

    Args:
        mean, square: of each unit's pre-activation and of its square, over inputs.
    """
    within = jnp.maximum(jnp.mean(square - mean * mean), 0)  # 0 where it is below rounding
    ranked, middle = jnp.sort(mean * mean), mean.size // 2
    between = (ranked[middle] + ranked[(mean.size - 1) // 2]) / 2 / MEDIAN_OF_SQUARE
    total = between + within
    return jnp.where(total > 0, between / jnp.where(total > 0, total, 1), jnp.nan)


def feature_participation(rows: Float[Array, "inputs units"]) -> Float[Array, ""]:
    """Return in how many directions features vary: (sum of the variances)^2 / sum of their squares, along principal axes.

    It is between 1 and the number of units; NaN where nothing varies by more than rounding does: 10 eps times the largest
    feature.
    """
    largest = jnp.max(jnp.abs(rows))  # scaled to 1: fourth powers of small features underflow
    rows = rows / jnp.where(largest > 0, largest, 1)
    rows = rows - jnp.mean(rows, axis=0, keepdims=True)
    smaller = rows.T @ rows if rows.shape[1] <= rows.shape[0] else rows @ rows.T  # the same sums of eigenvalues
    trace, squares = jnp.trace(smaller), jnp.sum(jnp.square(smaller))
    varies = trace > rows.size * (10 * jnp.finfo(rows.dtype).eps) ** 2
    return jnp.where(varies, jnp.square(trace) / jnp.where(varies, squares, 1), jnp.nan)
