"""What is said of the figures of ``jacobian_spectra_with_depth``, from the dataset alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import xarray

from analyses.jacobian_spectra_with_depth import CRITICAL, ENSEMBLES, Options
from analyses.jacobian_spectra_with_depth.figure import condition
from analyses.shared import resolved, words
from analyses.shared.captions import Caption, Number
from jaxsat.results import estimates

PAPER = "Saxe et al. (2013), figure 6 and section on dynamical isometry, and Pennington et al. (2017) show such spectra at a few depths. Every depth, and the comparison with 900 digits, are ours."
THEORY = "Not compared here; `analyses.spectra_against_free_probability` does, and `analyses.lyapunov_exponents` for the growth per layer."


def _setting(options: Options, dataset: xarray.Dataset) -> list[str]:
    scales = [f"{name} {CRITICAL[name]:g}" for name in options.activations]
    return [
        f"{options.seeds} seeds (root {options.root_seed}), {options.width} units per layer.",
        f"After the last layer: {resolved.sentence(dataset.log_singular_values_error)}",
        f"No biases, gaussian input of unit mean square; critical weight scales {', '.join(scales)}.",
        "The scale of sigmoid is where the growth of networks of 100 layers of 128 units crosses 0.",
    ]


def _condition_numbers(options: Options, dataset, factors: Sequence[float]) -> list[Number]:
    last = condition(dataset).isel(depth=-1)
    found: list[Number] = []
    for name, ensemble, factor in itertools.product(options.activations, ENSEMBLES, factors):
        values = last.sel(activation=name, ensemble=ensemble, factor=factor).values
        interval = estimates.mean_interval(np.where(np.isfinite(values), values, np.nan))
        which = f"{name}, {ensemble}, {factor:g} times the critical scale, {options.depth} layers"
        found.append(Number(f"log10 of largest over smallest nonzero s, mean, {which}", *map(float, interval[:3])))
    return found


def of_ridges(options: Options, dataset: xarray.Dataset, ensemble: str) -> Caption:
    """Say how far singular values of one ensemble spread at the critical scale."""
    numbers = [n for n in _condition_numbers(options, dataset, [1.0]) if f", {ensemble}," in n.what]
    told = [
        f"{words.factor(n.estimate * np.log(10))} ({name})"
        for n, name in zip(numbers, options.activations, strict=True)
    ]
    return Caption(
        f"With {ensemble} weights at the critical scale, {options.depth} layers spread the nonzero singular values by a typical factor {words.enumerated(told)}.",
        [f"{name}." for name in options.activations],
        "Density of ln of the singular values of dx_l/dx_0 at different depths, pooled over seeds. Each ridge is scaled to its peak; darker: 95 % band. Zero singular values (relu, hard_tanh) are left out, and the axis of each panel leaves out its lowest 1 %. The factor of the title is a geometric mean over seeds.",
        _setting(options, dataset),
        numbers,
        THEORY,
        PAPER,
    )  # fmt: skip


def of_spread(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say at which depth float32 no longer holds the spectrum."""
    depths, told = dataset.depth.values, []
    limit = 23 * np.log10(2)
    for name in options.activations:
        middle = condition(dataset).sel(activation=name, ensemble="gaussian", factor=1.0).median("seed").values
        (beyond,) = np.nonzero(middle > limit)
        told.append(
            f"{depths[beyond[0]]} layer{'s' if depths[beyond[0]] > 1 else ''} ({name})"
            if beyond.size
            else f"more than {depths[-1]} layers ({name})"
        )
    return Caption(
        f"Singular values spread beyond what svd in float32 resolves (1/eps) after {words.enumerated(told)}, gaussian weights at the critical scale.",
        ["log10 of the largest over the smallest nonzero singular value against depth."],
        f"Medians; band: 5 to 95 % of seeds at the critical scale (thick). Thin: {words.listed([f for f in options.factors if f != 1.0])} times that scale. Solid: gaussian, dashed: orthogonal weights. Grey dots: 1/eps of float32 and float64.",
        _setting(options, dataset),
        _condition_numbers(options, dataset, options.factors),
        THEORY,
        PAPER,
    )  # fmt: skip


def of_truth(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say how far each way is from the truth."""
    ways = dataset.log_singular_values_by_method
    true = ways.sel(way="900 digits")
    errors = {str(way): float(np.abs(ways.sel(way=way) - true).max()) for way in ways.way.values if way != "900 digits"}
    numbers = [Number(f"largest error in ln s, {way}", error, expected=0.0) for way, error in errors.items()]
    plain, ours = errors["svd(J), float64"], errors["log domain, float64"]
    return Caption(
        f"After {options.truth_depth} layers the smallest singular values by svd are off by {plain:.0f} nats in float64; in the log domain by {ours:.0e}.",
        [f"Seven singular values of a tanh network of width {options.truth_width}, from the largest to the smallest, against depth."],
        "Black: 900 digits. Circles: log domain. Dashed, dotted: svd of the Jacobian multiplied out. Hatched: below eps times the largest singular value, where svd has rounding noise only.",
        [f"A tanh network of width {options.truth_width}, weight scale 1 (root {options.root_seed})."],
        numbers,
        "The truth is arithmetic of 900 digits (mpmath).",
        PAPER,
    )  # fmt: skip
