"""What became of the networks of ``saturation_during_training``, as numbers with stated rules, from its dataset alone.

Saturated: the standard deviation of the activations of the top sigmoid layer has fallen below half of what it was at the start,
and their mean is where the slope is at most a quarter of the largest: below 0.067 or above 0.933. Recovered: after that, the
standard deviation is above what it was at the start.
"""

from __future__ import annotations

import numpy as np

QUARTER = 0.25  # of the largest slope: where the 98th percentile counts as bent over


def epochs_of_recovery(of) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each depth, the epochs at which top layers saturated and recovered; NaN where they did not."""
    epoch, found = of.sigmoid_epoch.values, []
    for depth in of.depth.values:
        top = of.sel(depth=depth, sigmoid_layer=depth).transpose("seed", "sigmoid_step", ...)
        std, mean = top.sigmoid_activation_std.values, top.sigmoid_activation_mean.values
        saturated = 4 * mean * (1 - mean) <= QUARTER  # the slope of the sigmoid over its largest
        sunk = np.logical_or.accumulate((std < std[:, :1] / 2) & saturated, axis=1)
        found.append((_first(epoch, sunk), _first(epoch, sunk & (std > std[:, :1]))))
    return found


def _first(epoch, mask):
    """Return the first epoch at which a mask (network, step) holds."""
    return np.where(mask.any(1), epoch[mask.argmax(1)], np.nan)


def order(dataset, name: str, kind: str) -> str:
    """Return in which order layers bend over, and in how many networks the first layer is first."""
    of = dataset.sel(activation=name, initialisation=kind)
    bent = (of.slope_share <= QUARTER).transpose("layer", "seed", "step").values
    at = np.stack([_first(of.epoch.values, layer) for layer in bent])
    at = np.where(np.isnan(at), np.inf, at)
    (reached,) = np.nonzero(np.isfinite(at).all(1))
    when = np.median(at, axis=1)
    ties = [[str(i + 1) for i in reached if when[i] == epoch] for epoch in np.unique(when[reached])]
    ranked = [" with ".join(tie) for tie in ties]  # at the same epoch that was looked at
    never = [str(i + 1) for i in range(len(at)) if i not in reached]
    first = int((at[:1] < at[1:]).all(0).sum())
    tail = f" (not all networks: {', '.join(never)})" if never else ""
    ordered = ", ".join(ranked) or "of no layer"
    return f"{ordered}{tail} ({name}; layer 1 is first in {first} of {at.shape[1]} networks)"


def spreads_in_training(dataset, name: str, kind: str) -> np.ndarray:
    """Return the largest over the smallest layer's weight gradient, geometric mean over records after the start, by seed."""
    of = dataset.sel(activation=name, initialisation=kind).isel(step=slice(1, None))
    logs = np.log(of.weight_gradient)
    return np.exp((logs.max("layer") - logs.min("layer")).mean("step")).values
