"""What became of the networks of ``saturation_during_training``, as numbers with stated rules, from its dataset alone.

Sunk: the standard deviation of the activations of the top sigmoid layer has fallen below half of what it was at the start.
Escaped: after that, it is above what it was at the start.
"""

from __future__ import annotations

import numpy as np

from analyses.shared.words import mean_of

QUARTER = 0.25  # of the largest slope: where the 98th percentile counts as bent over


def epochs_of_escape(of) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each depth, the epochs at which networks sank and escaped; NaN where they did not."""
    epoch, found = of.sigmoid_epoch.values, []
    for depth in of.depth.values:
        std = of.sigmoid_activation_std.sel(depth=depth, sigmoid_layer=depth).transpose("seed", "sigmoid_step").values
        sunk = np.logical_or.accumulate(std < std[:, :1] / 2, axis=1)
        found.append((_first(epoch, sunk), _first(epoch, sunk & (std > std[:, :1]))))
    return found


def _first(epoch, mask):
    """Return the first epoch at which a mask (network, step) holds."""
    return np.where(mask.any(1), epoch[mask.argmax(1)], np.nan)


def in_words(dataset, depth: int, kind: str) -> str:
    """Return how low the top sigmoid layer goes, how low the others go, and what becomes of it."""
    of = dataset.sel(initialisation=kind)
    mean = of.sigmoid_activation_mean.sel(depth=depth).transpose("seed", "sigmoid_layer", "sigmoid_step").values
    lowest = mean[:, :depth].min(-1)
    sank, left = dict(zip(of.depth.values.tolist(), epochs_of_escape(of), strict=True))[depth]
    escaped = np.isfinite(left)
    sunk = int(np.isfinite(sank).sum())
    share = f"{escaped.sum()} of {sunk} that sank escape" if sunk else "none sinks"
    when = f", those at epoch {mean_of(left[escaped], '.0f')}" if escaped.sum() > 1 else ""
    others = f" (others: {lowest[:, :-1].min():.2f} at least)" if depth > 1 else ""
    return f"{depth} layers, {kind}: top mean falls to {mean_of(lowest[:, -1], '.3f')}{others}; {share}{when}"


def order(dataset, name: str, kind: str) -> str:
    """Return in which order layers bend over, and in how many networks the first layer is first."""
    of = dataset.sel(activation=name, initialisation=kind)
    bent = (of.slope_share <= QUARTER).transpose("layer", "seed", "step").values
    at = np.stack([_first(of.epoch.values, layer) for layer in bent])
    at = np.where(np.isnan(at), np.inf, at)
    (reached,) = np.nonzero(np.isfinite(at).all(1))
    ranked = [str(i + 1) for i in np.argsort(np.median(at, axis=1), kind="stable") if i in reached]
    never = [str(i + 1) for i in range(len(at)) if i not in reached]
    first, all_in_order = int((at[:1] < at[1:]).all(0).sum()), int((at[:-1] < at[1:]).all(0).sum())
    tail = f", not in all networks: {', '.join(never)}" if never else ""
    return f"{name}, {kind}: {' '.join(ranked) or 'none'}{tail} (layer 1 first in {first}, from the input up in {all_in_order} of {at.shape[1]})"


def ratio_at_start(dataset, name: str, kind: str, variable: str) -> str:
    """Return the root mean square gradient of the first layer over that of the last, and what theory says."""
    of = dataset.sel(activation=name, initialisation=kind)
    values = of[variable].isel(step=0).transpose("layer", "seed").values
    return f"{mean_of(values[0] / values[-1], '.2f')} (theory {float(of[f'theory_{variable}'][0]):.2f})"


def spread_in_training(dataset, name: str, kind: str) -> str:
    """Return the largest over the smallest layer's weight gradient, geometric mean over records after the start."""
    of = dataset.sel(activation=name, initialisation=kind).isel(step=slice(1, None))
    logs = np.log(of.weight_gradient)
    spread = np.exp((logs.max("layer") - logs.min("layer")).mean("step"))
    return mean_of(spread.values, ".1f")
