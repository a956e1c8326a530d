"""What is said of the figures of ``gradients_vanish_in_time``, and the table, from the dataset alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray

from analyses.gradients_vanish_in_time import Options
from analyses.gradients_vanish_in_time.figure import growth_of
from analyses.shared import words
from analyses.shared.captions import Caption, Number
from jaxsat.results import estimates

PAPER = (
    "No single figure of a paper is regenerated. Hochreiter (1991), Bengio et al. (1994) and Pascanu et al. (2013) show that gradients vanish in time; the "
    "mean field of gated cells is that of Chen et al. (2018) and Gilboa et al. (2019). Here networks keep their weights over time, theory does not."
)
THEORY = "Mean field with untied weights: the growth of ln ||dE/dh|| per step back is ln(chi) / 2 (root mean square). Networks keep their weights, so that the state of a gated cell is correlated with them."


def _setting(options: Options, width: int, seeds: int) -> list[str]:
    return [
        f"{seeds} seeds (root {options.root_seed}), {width} units.",
        f"Gaussian weights, fresh inputs of scale {options.input_scale:g}; {options.before} steps before, in which the state settles.",
    ]


def of_curves(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say whether gates and their bias let gradients last."""
    rows = table(options, dataset)
    numbers = [
        Number(
            f"growth (nats per step back), {row['cell']}, weight scale {row['weight scale']:g}, gate bias {row['gate bias']}",
            row["growth per step"], row["low"], row["high"], row["theory"],
        )
        for row in rows
    ]  # fmt: skip
    off = np.array([abs(row["measured - theory"]) for row in rows])
    return Caption(
        finding(options, dataset),
        [f"{cell}." for cell in options.cells],
        f"ln of the norm of the gradient after each number of steps back (for an lstm, with the inner state). Median, 5 to 95 % of seeds. Colour: weight scale (tanh cell), or gate bias at weight scale {options.shown_scale:g}. "
        "Dashed: slope in theory, from half of the steps on. Grey dots: the smallest normal number of float32.",
        _setting(options, options.width, options.seeds),
        numbers,
        f"{THEORY} Largest difference: {off.max():.3f} nats per step.",
        PAPER,
    )


def of_spectra(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say how far the singular values of the state's Jacobian spread."""
    last, numbers, told = dataset.log_singular_values.isel(spectrum_lag=-1), [], []
    for cell in options.spectrum_cells:
        ends = {}
        for quantile, what in ((1.0, "largest"), (0.5, "median"), (0.0, "smallest")):
            values = last.sel(spectrum_cell=cell, quantile=quantile).values
            found = estimates.mean_interval(np.where(np.isfinite(values), values, np.nan))
            numbers.append(
                Number(f"ln of the {what} singular value over {options.lags} steps, {cell}", *map(float, found[:3]))
            )
            ends[quantile] = float(found.estimate)
        told.append(f"{words.factor(ends[1.0] - ends[0.0])} ({cell})")
    return Caption(
        f"Over {options.lags} steps the largest singular value of the state's Jacobian exceeds the smallest by a factor {words.enumerated(told)}.",
        ["Largest, median and smallest singular value of dh_t/dh_0 against time."],
        f"Median over seeds; weight scale {options.shown_scale:g}, gate bias {max(options.gate_biases):g}. The state of an lstm is (h, c). Colour: cell.",
        _setting(options, options.spectrum_width, options.spectrum_seeds),
        numbers,
        "Not compared with theory.",
        PAPER,
    )  # fmt: skip


def of_zeros(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say after how many steps plain back-propagation returns 0."""
    numbers, told = [], []
    for dtype in options.dtypes:
        lost = []
        for cell in options.cells:
            zero = (
                dataset.plain_gradient_is_zero.sel(cell=cell, dtype=dtype).transpose("plain_seed", "plain_lag").values
            )
            found = estimates.share_interval(zero[:, -1].sum(), len(zero))
            numbers.append(
                Number(f"share with gradient 0 after {options.lags} steps, {cell}, {dtype}", *map(float, found[:3]))
            )
            (at,) = np.nonzero(zero.mean(0) > 0.5)
            if at.size:
                lost.append(f"{int(dataset.plain_lag[at[0]])} steps ({cell})")
        told.append(f"in {dtype} after {words.enumerated(lost)}" if lost else f"in {dtype} for none")
    return Caption(
        f"Plain back-propagation through time returns exactly 0 in most networks: {'; '.join(told)}.",
        ["Share of networks whose gradient is exactly 0 for the whole state, against the steps it has gone back."],
        f"Colour: cell; line: dtype. Weight scale {options.shown_scale:g}, gate bias {min(options.gate_biases):g}.",
        _setting(options, options.width, options.plain_seeds),
        numbers,
        "Not compared with theory.",
        PAPER,
    )  # fmt: skip


def finding(options: Options, dataset: xarray.Dataset) -> str:
    """Return what the figure shows, in a sentence made from the data."""
    low, high = min(options.gate_biases), max(options.gate_biases)

    def rate(cell: str, bias: float) -> float:
        return float(growth_of(dataset, cell, options.shown_scale, bias).mean())

    gated = [cell for cell in options.cells if cell != "tanh"]
    lines = [f"{cell} {_steps(rate(cell, low))} to {_steps(rate(cell, high))}" for cell in gated]
    where = f"steps per factor e, weight scale {options.shown_scale:g}"
    if "tanh" not in options.cells or not gated:
        return f"How fast gradients vanish in time ({where}): {', '.join(lines) or _steps(rate('tanh', low))}."
    plain = rate("tanh", low)
    lines.insert(0, f"tanh cell {_steps(plain)}")
    if plain >= 0:
        return f"Gradients of the tanh cell do not vanish ({where}, gate bias {low:g} to {high:g}: {', '.join(lines)})."
    with_gates, with_bias = (max(rate(cell, bias) for cell in gated) for bias in (low, high))
    says = {
        (True, True): "A gate alone does not let gradients last; a gate that is biased to keep the state does",
        (False, True): "Gates let gradients last, and a bias to keep the state lets them last longer",
        (True, False): "Neither gates nor their bias let gradients last",
        (False, False): "Gates let gradients last, and their bias adds little",
    }[with_gates < plain / 2, with_bias > with_gates / 2]
    return f"{says} ({where}, gate bias {low:g} to {high:g}: {', '.join(lines)})."


def _steps(growth: float) -> str:
    """Steps in which a gradient shrinks by e, in words."""
    if growth >= 0:
        return "no limit"
    return f"{-1 / growth:.1f}" if growth < -0.1 else f"{-1 / growth:.0f}"


def table(options: Options, dataset: xarray.Dataset) -> list[dict[str, Any]]:
    """Growth of ln ||dE/dh_t|| per step back, over the second half of the lags: mean over seeds with its 95 % interval.
    Theory is ln(chi) / 2 of the mean field with untied weights; the networks keep their weights, so that the state of a
    gated cell is correlated with them. In the tanh cell a difference of order 1 / width may be left.
    """
    rows = []
    for cell in options.cells:
        biases = dataset.gate_bias.values if cell != "tanh" else dataset.gate_bias.values[:1]
        for scale in dataset.weight_scale.values:
            for bias in biases:
                found = estimates.mean_interval(growth_of(dataset, cell, scale, bias))
                expected = float(dataset.theory_growth.sel(cell=cell, weight_scale=scale, gate_bias=bias))
                rows.append(
                    {
                        "cell": cell,
                        "weight scale": float(scale),
                        "gate bias": float(bias) if cell != "tanh" else "none",
                        "growth per step": float(found.estimate),
                        "low": float(found.low),
                        "high": float(found.high),
                        "theory": expected,
                        "measured - theory": float(found.estimate) - expected,
                    }
                )
    return rows
