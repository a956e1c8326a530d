"""What is said of the figures of ``gradients_vanish_with_depth``: findings, captions and numbers, from the dataset alone."""

from __future__ import annotations

import numpy as np

from analyses.gradients_vanish_with_depth import DTYPES, Options
from analyses.gradients_vanish_with_depth.figure import growth_of, shown_scales, too_small
from analyses.shared import words
from analyses.shared.captions import Caption, Number
from jaxsat.results import estimates

PAPER = (
    "No single figure of a paper is regenerated. Glorot & Bengio (2010) show such curves for five layers, Schoenholz et al. (2017) "
    "in their figure 3 for tanh networks of width 300. Here are more layers and activations, and the networks see digits "
    "and not MNIST."
)
THEORY = (
    "The mean of ln ||dE/dh_l|| to first order in 1 / width (`jaxsat.theory.log_normal_law`): it follows the length of the "
    "activations from the input on and adds the fluctuations of finite width. At infinite width the growth per layer back is ln(chi) / 2. "
    "The median of many networks lies below their root mean square, which mean-field theory predicts."
)


def _setting(options: Options) -> list[str]:
    return [
        f"{options.seeds} seeds (root {options.root_seed}), {options.depth} layers of {options.width} units.",
        f"Gaussian weights, bias scale {options.bias_scale:g}; root mean square over {options.images} standardised digits.",
    ]


def of_curves(options: Options, dataset) -> Caption:
    """Say by how much the gradient changes over all layers."""
    scale = options.zero_scale
    changes = [_change(dataset, name, scale) for name in options.activations]
    known = [(name, float(np.nanmean(change))) for name, change in zip(options.activations, changes, strict=True)]
    told = words.enumerated([f"{words.factor(ln)} ({name})" for name, ln in known])
    numbers = []
    for name in options.activations:
        for one in shown_scales(dataset.sel(activation=name)):
            found = estimates.mean_interval(_change(dataset, name, one))
            theory = dataset.theory.sel(activation=name, weight_scale=one).values
            ends = (float(part) for part in found[:3])
            numbers.append(
                Number(f"ln change over all layers, {name}, weight scale {one:g}", *ends, float(theory[0] - theory[-1]))
            )
    verb = "vanish" if all(ln < 0 for _, ln in known) else "explode" if all(ln > 0 for _, ln in known) else "change"
    return Caption(
        f"Gradients {verb} with depth: at weight scale {scale:g}, {options.depth - 1} layers multiply them by {told}.",
        [f"{name}." for name in options.activations],
        "ln of the norm of the gradient against the layers it has passed. Colour: weight scale. Line: median; band: 5 to 95 % of "
        "seeds. Dashed: theory. Grey dots: the smallest normal number of float32.",
        _setting(options),
        numbers,
        THEORY,
        PAPER,
    )


def _change(dataset, name: str, scale: float) -> np.ndarray:
    """Return ln of the gradient norm at the first layer less that at the last, for each seed; NaN where it is not finite."""
    norms = dataset.log_gradient_norms.sel(activation=name, weight_scale=scale).transpose("seed", "layer").values
    with np.errstate(invalid="ignore"):
        change = norms[:, 0] - norms[:, -1]
    return np.where(np.isfinite(change), change, np.nan)


def _crossing_near(scale: float, dataset, law: np.ndarray) -> float:
    """Return the weight scale nearest to this one at which theory has no growth; NaN where there is none."""
    fine, known = dataset.fine_weight_scale.values, np.isfinite(law)
    found = [c.at for c in estimates.zero_crossings(fine[known], law[known, None])] if known.any() else []
    return min(found, key=lambda at: abs(at - scale), default=float("nan"))


def of_growth(options: Options, dataset) -> Caption:
    """Say at which weight scale gradients neither vanish nor explode."""
    scales, numbers, told, never = dataset.weight_scale.values, [], [], []
    for name in dataset.activation.values:
        rates = growth_of(dataset, name)
        known = np.isfinite(rates).any(1)
        crossings = estimates.zero_crossings(scales[known], rates[known])
        law = dataset.theory_growth.sel(activation=name).values
        for c in crossings:
            ends = c.at, c.low, c.high
            numbers.append(Number(f"weight scale of no growth, {name}", *ends, _crossing_near(c.at, dataset, law)))
        told += [f"{words.enumerated([f'{c.at:.3g}' for c in crossings])} ({name})"] if crossings else []
        never += [] if crossings else [f"{name}"]
        for scale, of_scale in zip(scales[known], rates[known], strict=True):
            ends = (float(part) for part in estimates.mean_interval(of_scale)[:3])
            expected = float(np.interp(np.log(scale), np.log(dataset.fine_weight_scale.values), law))
            numbers.append(Number(f"growth per layer back (nats), {name}, weight scale {scale:g}", *ends, expected))
    finding = f"Gradients neither vanish nor explode at weight scale {words.enumerated(told)}" if told else ""
    none = f"for {words.enumerated(never)} at no scale that was tried" if never else ""
    return Caption(
        f"{finding}{', and ' if finding and none else ''}{none if finding else none.replace('for', 'Gradients are balanced for', 1)}.",
        [
            "Growth of the norm of the gradient per layer back against the weight scale, by least squares over the middle 80 % of the layers."
        ],
        "Points: mean over seeds with its 95 % interval. Lines: theory. Ticks: where the growth is 0, interpolated in ln of the scale (intervals leave the error of that out).",
        _setting(options),
        numbers,
        THEORY,
        PAPER,
    )


def of_saturation(options: Options, dataset) -> Caption:
    """Say which share of the units is saturated, and which is dead."""
    shares, numbers, most = dataset.sel(weight_scale=options.saturation_scale), [], {}
    for variable, what in (("saturated_fraction", "saturated"), ("dead_fraction", "dead")):
        for name in dataset.activation.values:
            of_seed = shares[variable].sel(activation=name).mean("layer").values
            found = estimates.mean_share_interval(of_seed, options.width * options.depth)
            numbers.append(Number(f"share of {what} units, {name}, mean over layers", *(float(p) for p in found[:3])))
            most[what, str(name)] = float(found.estimate)
    told = [f"{100 * most['saturated', name]:.0f} % ({name})" for name in options.activations]
    dead = max(options.activations, key=lambda name: most["dead", name])
    some = (
        f"; at most {100 * most['dead', dead]:.0f} % are dead ({dead})" if most["dead", dead] > 0 else "; none is dead"
    )
    return Caption(
        f"At weight scale {options.saturation_scale:g}, {words.enumerated(told)} of the units are saturated{some}.",
        [
            "Share of units whose slope is at most 5 % of the largest slope of the activation, at each layer.",
            f"Share of units with slope 0 for all {options.images} images.",
        ],
        "Lines: mean over seeds; bands: its 95 % interval.",
        _setting(options),
        numbers,
        "Not compared here; `analyses.born_dead` compares the share of saturated units with mean-field theory.",
        PAPER,
    )


def of_zeros(options: Options, dataset) -> Caption:
    """Say from how many layers on plain back-propagation returns 0."""
    at, numbers, told = dataset.sel(weight_scale=options.zero_scale), [], []
    for dtype in DTYPES:
        lost = []
        for name in options.activations:
            one = at.sel(dtype=dtype, activation=name)
            zero = one.plain_gradient_is_zero.transpose("plain_seed", "layer").values
            reached = (zero.mean(0) > 0.5).nonzero()[0]
            found = estimates.share_interval(zero[:, 0].sum(), len(zero))
            expected = float(too_small(one, dtype)[1][:, 0].mean())
            numbers.append(
                Number(f"share with gradient 0 at layer 1, {name}, {dtype}", *(float(p) for p in found[:3]), expected)
            )
            if reached.size:
                passed = options.depth - 1 - int(reached[-1])
                lost.append(f"after {passed} layers ({name})" if passed else f"at the last layer already ({name})")
        told.append(f"in {dtype} {words.enumerated(lost) if lost else 'for none'}")
    return Caption(
        f"At weight scale {options.zero_scale:g} plain back-propagation returns exactly 0 in most networks: {'; '.join(told)}.",
        [f"{dtype}." for dtype in DTYPES],
        "Share of networks whose gradient is exactly 0 for every unit and image, against the layers it has passed. "
        "Marks: jax.grad in this dtype. Solid: the exact gradient, known in logs, is below the normal numbers of the dtype. "
        "Dotted: it is below the subnormal numbers, too.",
        [*_setting(options), f"jax.grad: {options.plain_seeds} seeds."],
        numbers,
        "The column theory is the share of networks whose exact gradient, computed in logs, rounds to 0 in this dtype. Where jax.grad is 0 "
        "earlier, something underflows before the gradient: activations of relu in float16 do at small scales, so every unit is dead.",
        PAPER,
    )
