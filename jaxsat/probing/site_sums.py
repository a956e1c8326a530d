"""What is summed over the inputs of a site, where it is made: of 512 inputs, ten numbers for each unit are kept.

Slopes are those of automatic differentiation, in the run's own dtype: they are what training sees.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxsat.linalg.folding import fold_rows
from jaxsat.linalg.magnitudes import wide
from jaxsat.probing.site_statistics import SUMS, WITHOUT_SLOPES, Kind, Unfinished
from jaxsat.probing.survey import SiteDescription
from jaxsat.probing.values import Value, replay

LEVEL = 0.05  # saturated: |slope| <= LEVEL * max|slope|
MASKED = -9999.0  # a score of a softmax that is this low stands for "not this key"
GOLDEN = (5**0.5 - 1) / 2
RANKED = 512  # inputs by which the rank of features is judged


def forward(site: SiteDescription, root: Value, end: Value) -> Unfinished:
    """Return the sums that a site's statistics are made of."""
    x, y = lax.stop_gradient((root.array, end.array))
    weights, bias = _parameters(root) if site.has_own_weights else ((), None)
    if site.role == "softmax":
        to = wide(x.dtype)
        scores = _scores(site.axes, x.astype(to), y.astype(to))
        return Unfinished(Kind(tuple(scores)), tuple(one[None, None] for one in scores.values()), None, weights, bias)
    if site.role not in ("activation", "gate"):
        sums = _sums(x, y, None, None, tuple(range(x.ndim)))
        return Unfinished(Kind(WITHOUT_SLOPES, x.size), sums, None, weights, bias)
    inputs = _inputs_of(site, x.ndim)
    sums = _sums(x, y, replayed_slope(root, end, x), site.max_slope, inputs)
    # A slope that only tends to 0 is never exactly 0: where it is so, rounding made it, and the unit is not dead.
    dies = site.activation is None or "hard" in (site.activation.left, site.activation.right)
    features = None
    if site.role == "activation" and site.unit_axes:
        features = sampled(_inputs_first(y, inputs)).astype(wide(y.dtype))
    each = math.prod(x.shape[i] for i in inputs)
    return Unfinished(Kind(SUMS, each, dies), sums, features, weights, bias)


@partial(jax.jit, static_argnames=("max_slope", "inputs"))  # traced once for a shape
def _sums(
    x: Array, y: Array, slope: Array | None, max_slope: float | None, inputs: tuple[int, ...]
) -> tuple[Array, ...]:
    """Return sums over rows of inputs, for each unit, in the order of SUMS; without a slope, of WITHOUT_SLOPES."""
    h = x.astype(wide(x.dtype))
    wrong = ~(jnp.isfinite(x) & jnp.isfinite(y))
    sums = [h, wrong, h * h, jnp.square(y.astype(h.dtype))]
    if slope is not None:
        d = jnp.abs(slope.astype(h.dtype))
        largest = jnp.max(d) if max_slope is None else jnp.asarray(max_slope, h.dtype)
        sums += [d * d, slope, d <= LEVEL * largest, slope == 0]
    folds = [("min", h), ("max", h), *(("add", one.astype(h.dtype)) for one in sums)]
    return tuple(fold_rows([(way, _inputs_first(one, inputs)) for way, one in folds]))


def _inputs_first(array: Array, inputs: tuple[int, ...]) -> Float[Array, "inputs units"]:
    units = [i for i in range(array.ndim) if i not in inputs]
    each = math.prod(array.shape[i] for i in inputs)
    return array.transpose(*inputs, *units).reshape(each, -1)


def _parameters(root: Value) -> tuple[tuple[tuple[Any, int], ...], Any]:
    """Return the weights and fan-ins of the linear maps before a site, and the bias."""
    weights = tuple((lax.stop_gradient(one.value), one.fan_in) for one in root.facts.maps)
    bias = None if root.facts.bias is None else lax.stop_gradient(root.facts.bias.value)
    return weights, bias


def _scores(axes: tuple[int, ...], h: Array, e: Array) -> dict[str, Array]:
    """Return statistics of a softmax over the scores that are not masked.

    Args:
        axes: over which it sums.
        h: scores. Those of at most MASKED are masked.
        e: exp of the scores less something that is the same in each row.
    """
    to = h.dtype
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


def _inputs_of(site: SiteDescription, rank: int) -> tuple[int, ...]:
    """Return the axes that are not the units': over which each unit is seen."""
    units = {axis % rank for axis in site.unit_axes if rank}
    return tuple(i for i in range(rank) if i not in units)


def sampled(features: Float[Array, "*inputs units"]) -> Float[Array, "rows units"]:
    """Return the features of at most RANKED inputs, evenly spread by the golden ratio: no period of a batch counts."""
    rows = features.reshape(-1, features.shape[-1])
    if rows.shape[0] <= RANKED:
        return rows
    return rows[np.sort((rows.shape[0] * (np.arange(RANKED) * GOLDEN % 1)).astype(int))]


def replayed_slope(root: Value, end: Value, x: Any) -> Array:
    """Return phi'(x), entry by entry: the chain is elementwise, so one pull-back of ones gives every slope."""
    y, pull = jax.vjp(lambda x: replay(end, root, x), x)
    return pull(jnp.ones_like(y))[0]
