"""From measured arrays to numbers with error bars: NumPy only, seeds along one axis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, "..."]


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % confidence interval, and how many networks it rests on."""

    estimate: Values
    low: Values
    high: Values
    count: np.ndarray


class Crossing(NamedTuple):
    """Where a rate crosses zero, with a 95 % bootstrap interval over seeds."""

    at: float
    low: float
    high: float


def growth_rates(log_norms: Float[np.ndarray, "*shape layer"], margin: float = 0.1) -> Float[np.ndarray, "*shape"]:
    """Growth of a gradient per layer that it is propagated back through: the least-squares slope of ln norm.

    Args:
        log_norms: ln ||dE/dh_l|| along the last axis, l = 1 .. depth.
        margin: share of the layers left out at either end, where the network is not yet, or no longer, stationary.

    Returns: nats per layer; positive where gradients explode on the way back, NaN where some norm is not finite.

    >>> growth_rates(np.array([[-3.0, -2.0, -1.0, 0.0]]), margin=0.0).tolist()  # a factor 1/e per layer
    [-1.0]
    """
    depth = log_norms.shape[-1]
    skip = min(int(margin * depth), (depth - 2) // 2)
    if depth < 2:
        raise ValueError(f"growth_rates: `log_norms` must have at least 2 layers; got {depth}.")
    back = -np.arange(depth, dtype=float)[skip : depth - skip]
    back -= back.mean()
    values = np.asarray(log_norms, float)[..., skip : depth - skip]
    finite = np.isfinite(values).all(-1)
    slopes = np.where(np.isfinite(values), values, 0) @ back / (back @ back)
    return np.where(finite, slopes, np.nan)


def mean_interval(values: Values, axis: int = -1) -> Interval:
    """Mean over networks with its 95 % confidence interval (1.96 standard errors), NaN left out and counted.

    >>> mean_interval(np.array([1.0, 3.0, np.nan])).estimate.item(), mean_interval(np.array([1.0, 3.0])).count.item()
    (2.0, 2)
    """
    finite = np.isfinite(values)
    count = finite.sum(axis)
    kept = np.where(finite, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = kept.sum(axis) / count
        spread = np.where(finite, values - np.expand_dims(mean, axis), 0.0)
        half = 1.96 * np.sqrt((spread**2).sum(axis) / (count - 1) / count)
    return Interval(mean, mean - half, mean + half, count)


def std_interval(values: Values, axis: int = -1) -> Interval:
    """Standard deviation over networks with its 95 % interval, NaN left out and counted.

    Its standard error is std sqrt((kurtosis - 1) / count) / 2, with the kurtosis of the values: they need not be normal.

    >>> found = std_interval(np.array([-1.0, 1.0] * 50))
    >>> round(found.estimate.item(), 4), found.count.item()
    (1.005, 100)
    """
    finite = np.isfinite(values)
    count = finite.sum(axis)
    kept = np.where(finite, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.expand_dims(kept.sum(axis) / count, axis)
        spread = np.where(finite, values - mean, 0.0)
        square = (spread**2).sum(axis) / count
        kurtosis = (spread**4).sum(axis) / count / square**2
        std = np.sqrt(square * count / (count - 1))
        half = 1.96 * std * np.sqrt(np.maximum(kurtosis - 1, 0) / count) / 2
    return Interval(std, std - half, std + half, count)


def share_interval(successes, count) -> Interval:
    """Share of networks with Wilson's 95 % interval, which is right for shares near 0 and 1 (Brown, Cai & DasGupta 2001).

    >>> found = share_interval(0, 20)
    >>> found.estimate.item(), found.low.item(), round(found.high.item(), 4)
    (0.0, 0.0, 0.1611)
    """
    successes, count = np.broadcast_arrays(np.asarray(successes, float), np.asarray(count, float))
    if not np.all((successes >= 0) & (successes <= count) & (count > 0)):
        raise ValueError(f"share_interval: `successes` must be from 0 to `count`; got {successes} of {count}.")
    z2 = 1.96**2
    share = successes / count
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(share * (1 - share) * z2 / count + z2**2 / (4 * count**2)) / (1 + z2 / count)
    low, high = np.where(successes == 0, 0, centre - half), np.where(successes == count, 1, centre + half)
    return Interval(share, low, high, count.astype(int))


def band(values: Values, axis: int = -1, levels: tuple[float, float, float] = (0.05, 0.5, 0.95)) -> Values:
    """Quantiles over networks, first axis: low, median, high. NaN networks are left out, all-NaN gives NaN.

    Quantiles are order statistics ('nearest'), so that -inf, an exactly zero gradient, is ranked and not averaged.

    >>> band(np.array([-np.inf, 0.0, 1.0, np.nan])).tolist()
    [-inf, 0.0, 1.0]
    """
    if np.shape(values)[axis] == 0:
        raise ValueError(f"band: `values` must have at least one network; got shape {np.shape(values)}.")
    ordered = np.sort(np.moveaxis(np.asarray(values, float), axis, -1), axis=-1)  # NaN goes last
    count = (~np.isnan(ordered)).sum(-1)
    index = [np.clip(np.rint(level * (count - 1)).astype(int), 0, None) for level in levels]
    return np.stack([np.take_along_axis(ordered, i[..., None], axis=-1)[..., 0] for i in index])


def zero_crossings(
    scales: Float[np.ndarray, " scale"], rates: Float[np.ndarray, "scale seed"], resamples: int = 1000, seed: int = 0
) -> list[Crossing]:
    """Weight scales at which the mean rate changes sign, by linear interpolation in ln scale.

    Args:
        scales: ascending, positive.
        rates: one for each scale and seed; seeds are resampled as a whole, since scales share their draws.
        resamples, seed: of the bootstrap.

    Accuracy: the interval is the sampling error alone. Interpolation adds up to an eighth of the squared spacing in
    ln scale times the curvature of the rate; choose a finer grid where that matters.

    >>> rates = np.array([[-1.0, -1.1], [1.0, 0.9]])
    >>> round(zero_crossings(np.array([1.0, np.e]), rates)[0].at, 3)
    1.69
    """
    if not (np.all(scales > 0) and np.all(np.diff(scales) > 0)):
        raise ValueError(f"zero_crossings: `scales` must be positive and ascending; got {scales}.")
    known = np.isfinite(rates).all(0)
    if not known.any():
        return []
    rates = rates[:, known]
    chosen = np.random.default_rng(seed).integers(rates.shape[1], size=(resamples, rates.shape[1]))
    weights = np.stack([np.bincount(row, minlength=rates.shape[1]) for row in chosen]) / rates.shape[1]
    resampled = rates @ weights.T
    mean = rates.mean(1)
    crossings = []
    for i in np.flatnonzero(np.sign(mean[:-1]) * np.sign(mean[1:]) < 0):
        x0, x1 = np.log(scales[i]), np.log(scales[i + 1])
        step = resampled[i + 1] - resampled[i]
        estimates = np.exp(x0 - resampled[i] * (x1 - x0) / step)
        low, high = np.quantile(estimates, [0.025, 0.975])
        at = np.exp(x0 - mean[i] * (x1 - x0) / (mean[i + 1] - mean[i]))
        crossings.append(Crossing(float(at), float(low), float(high)))
    return crossings


def density(
    values: Float[np.ndarray, "seed k"], edges: Float[np.ndarray, " edge"], resamples: int = 400, seed: int = 0
) -> Interval:
    """Density of values pooled over seeds, by histogram, with a 95 % bootstrap band: seeds are resampled as a whole.

    Args:
        values: such as ln s, k of them for each network. NaN networks are left out; -inf counts in the total, so the
            density integrates to the share of values that are finite and within the edges.
        edges: of the bins, ascending.

    Returns: per unit of the values, one number for each bin.

    >>> density(np.array([[0.5, 1.5], [0.5, -np.inf]]), np.array([0.0, 1.0, 2.0])).estimate.tolist()
    [0.5, 0.25]
    """
    if not (len(edges) > 1 and np.all(np.diff(edges) > 0)):
        raise ValueError(f"density: `edges` must be at least two, ascending; got {edges}.")
    kept = values[~np.isnan(values).any(1)]
    shares = np.stack([np.histogram(row[np.isfinite(row)], edges)[0] for row in kept]) if len(kept) else kept[:, :0]
    return _pooled(shares / (values.shape[1] * np.diff(edges)), resamples, seed)


def distribution(
    values: Float[np.ndarray, "seed k"], points: Float[np.ndarray, " point"], resamples: int = 400, seed: int = 0
) -> Interval:
    """Empirical distribution function of values pooled over seeds, at `points`, with a 95 % bootstrap band over seeds.

    >>> distribution(np.array([[0.5, 1.5], [0.5, -np.inf]]), np.array([0.0, 1.0, 2.0])).estimate.tolist()
    [0.25, 0.75, 1.0]
    """
    kept = np.sort(values[~np.isnan(values).any(1)], axis=1)
    below = np.stack([np.searchsorted(row, points, side="right") for row in kept]) if len(kept) else kept[:, :0]
    return _pooled(below / values.shape[1], resamples, seed)


def _pooled(per_seed: Float[np.ndarray, "seed point"], resamples: int, seed: int) -> Interval:
    count = len(per_seed)
    if not count:
        raise ValueError("estimates: `values` must have at least one network without NaN; got none.")
    chosen = np.random.default_rng(seed).integers(count, size=(resamples, count))
    weights = np.stack([np.bincount(row, minlength=count) for row in chosen]) / count
    low, high = np.quantile(weights @ per_seed, [0.025, 0.975], axis=0)
    return Interval(per_seed.mean(0), low, high, np.full(per_seed.shape[1], count))
