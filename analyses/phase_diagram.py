"""Where in the plane of weight and bias scales do gradients vanish or explode, and does the theory hold for networks?

Mean-field theory (Poole et al. 2016; Schoenholz et al. 2017) is about infinitely wide networks. The figure shows its chi,
the factor of the mean squared gradient per layer back, with the edge of chaos chi = 1, and the depth scales xi. Over them
it shows the growth of gradients measured in networks of finite width, and the discrepancy in standard errors.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import xarray
from matplotlib.colors import TwoSlopeNorm

import jaxsat
from analyses.shared import command, layouts, panels, theories, words
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import checks, theory
from jaxsat.results import estimates

NAME = "phase_diagram"
MARGIN = 0.2  # share of the layers left out at either end where growth is measured


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about half a minute: fewer activations, points, scales, seeds and units (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh", "erf")
    """Names from jaxsat.activations.names()."""
    points: int = 200
    """Points of the theory along each axis."""
    weight_range: tuple[float, float] = (0.5, 4.0)
    """Smallest and largest weight scale sigma_w."""
    bias_range: tuple[float, float] = (0.0, 1.5)
    """Smallest and largest bias scale sigma_b."""
    weight_count: int = 8
    """Weight scales at which networks are measured."""
    bias_count: int = 4
    """Bias scales at which networks are measured."""
    seeds: int = 64
    """Networks for each activation and pair of scales."""
    depth: int = 30
    """Layers."""
    width: int = 256
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "activations": ("tanh",),
    "points": 50,
    "weight_count": 5,
    "bias_count": 3,
    "seeds": 16,
    "depth": 20,
    "width": 128,
}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.check_at_least(options, points=2, weight_count=2, bias_count=2, depth=5)
    # Without weights there are no gradients; networks without biases are among those measured.
    command.check_numbers(options, "weight_range", above=0)
    command.check_numbers(options, "bias_range", least=0)
    for name in ("weight_range", "bias_range"):
        low, high = getattr(options, name)
        if not low < high:
            rule = "be the smaller number, then the larger"
            raise ValueError(checks.refusal(command.flag(name), "", rule, (low, high)))
    command.produce(options, NAME, measure, DRAWINGS)


def measure(options: Options) -> xarray.Dataset:
    """Return theory over a fine grid, and a sweep over a coarse one."""
    scales = np.linspace(*options.weight_range, options.weight_count)
    biases = np.linspace(*options.bias_range, options.bias_count)
    over = {"activation": list(options.activations), "bias_scale": biases, "weight_scale": scales}
    dataset = jaxsat.sweep(
        jaxsat.MLP(depth=options.depth, width=options.width), "log_gradient_norms", over, seeds=options.seeds,
        root_seed=options.root_seed, store=command.part(options, NAME),
    )  # fmt: skip
    growth = estimates.growth_rates(dataset.log_gradient_norms.values, margin=MARGIN)
    dataset["growth"] = (*over, "seed"), growth, {"long_name": "growth of ||dE/dh_l||", "units": "nat per layer back"}
    fine_w = np.linspace(*options.weight_range, options.points)
    fine_b = np.linspace(*options.bias_range, options.points)
    b, w = "fine_bias_scale", "fine_weight_scale"
    told = {
        "chi": ((b, w), "chi", "1"),
        "xi_q": ((b, w), "depth scale of lengths", "layer"),
        "xi_c": (("bias_scale", w), "depth scale of correlations", "layer"),
        "edge": ((b,), "critical weight scale", "1"),
        "expected_growth": (("bias_scale", "weight_scale"), "growth of ||dE/dh_l||, theory", "nat per layer back"),
    }
    found = theories.of_each(lambda name: _theory(options, name, biases, scales, fine_b, fine_w), options.activations)
    for name, (dims, long_name, units) in told.items():
        values = np.stack([of[name] for of in found])
        dataset[name] = xarray.Variable(("activation", *dims), values, {"long_name": long_name, "units": units})
    return dataset.assign_coords({b: fine_b, w: fine_w})


def _theory(options: Options, name: str, biases, scales, fine_b, fine_w) -> dict[str, np.ndarray]:
    """Return what theory says of one activation, over the fine plane and at the scales measured."""

    def lengths(b, w):
        field = theory.mean_field(name, w, b)
        return field.chi, field.xi_q

    def norms(b, w):
        return theory.log_normal_law(name, options.depth, options.width, w, b).mean

    fine, coarse = np.meshgrid(fine_b, fine_w, indexing="ij"), np.meshgrid(biases, scales, indexing="ij")
    chi, xi_q = theories.over(lengths, *fine, at_a_time=theories.AT_A_TIME)
    return {
        "chi": chi,
        "xi_q": xi_q,
        # A correlation near 1 costs two hundred times the rest. So points are not batched, and only those at the bias
        # scales of the networks are drawn.
        "xi_c": theories.over(
            lambda b, w: theory.mean_field(name, w, b).xi_c, *np.meshgrid(biases, fine_w, indexing="ij")
        ),
        "edge": theories.over(lambda b: theory.critical_weight_scale(name, b), fine_b, at_a_time=theories.AT_A_TIME),
        "expected_growth": estimates.growth_rates(
            theories.over(norms, *coarse, at_a_time=theories.AT_A_TIME), margin=MARGIN
        ),
    }  # fmt: skip


def draw_planes(options: Options, dataset: xarray.Dataset):
    """Return the figure of the planes of weight and bias scale, a panel for each activation."""
    logs = np.log(dataset.chi) / 2
    norm = TwoSlopeNorm(0.0, min(-0.05, float(logs.min())), max(0.05, float(logs.max())))
    figure, axes = layouts.panels(options, len(options.activations), below=1)
    mesh = None
    for ax, name in zip(axes, options.activations, strict=True):
        mesh = _draw_plane(ax, dataset.sel(activation=name), norm)
        ax.set_title(name)
    assert mesh is not None
    figure.colorbar(mesh, ax=axes, pad=0.02, aspect=25, label="growth, nats per layer back")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    layouts.letters(axes)
    return figure


def draw_depth_scales(options: Options, dataset: xarray.Dataset):
    """Return the figure of the depth scales of theory, a panel for each activation."""
    figure, axes = layouts.panels(options, len(options.activations))
    for ax, name in zip(axes, options.activations, strict=True):
        _draw_depth_scales(ax, dataset.sel(activation=name))
        ax.set_title(name)
    for i, bias in enumerate(dataset.bias_scale.values):
        axes[0].plot([], [], color=panels.color(i), label=rf"$\sigma_b$ = {bias:.2g}")
    axes[0].plot([], [], "k-", label=r"$\xi_c$")
    axes[0].plot([], [], "k:", label=r"$\xi_q$")
    axes[0].legend(loc="upper right", ncols=2)
    layouts.letters(axes)
    return figure


def draw_growth(options: Options, dataset: xarray.Dataset):
    """Return the figure of the growth measured, and its discrepancy from theory, for each activation."""
    off = _discrepancy(dataset)
    figure, axes = layouts.panels(options, 2 * len(options.activations), most=2)
    for row, name in enumerate(options.activations):
        of, (growth, z) = dataset.sel(activation=name), axes[2 * row : 2 * row + 2]
        _draw_growth(growth, of)
        for i in range(of.sizes["bias_scale"]):
            z.plot(of.weight_scale, off[row, i], **panels.marks(i, mew=0.8))
        panels.standard_errors(z)
        z.set(xlabel=r"weight scale $\sigma_w$", title=name)
        growth.set_title(name)
    axes[0].legend(loc="lower right")
    layouts.letters(axes)
    return figure


def _discrepancy(dataset: xarray.Dataset) -> np.ndarray:
    return panels.discrepancy(estimates.mean_interval(dataset.growth.values), dataset.expected_growth.values)


def _draw_plane(ax, of, norm):
    """Growth of the gradient by theory, in colour, with measured networks in the same colours over it."""
    w, b = of.fine_weight_scale.values, of.fine_bias_scale.values
    growth = np.log(of.chi.values) / 2
    mesh = ax.pcolormesh(w, b, growth, cmap="RdBu_r", norm=norm, rasterized=True, shading="nearest")
    ax.plot(of.edge, b, "k-", lw=1.2, label=r"edge of chaos, $\chi=1$")
    at_w, at_b = np.meshgrid(of.weight_scale.values, of.bias_scale.values)
    ax.scatter(
        at_w, at_b, c=estimates.mean_interval(of.growth.values).estimate, cmap="RdBu_r", norm=norm, s=22,
        edgecolors="k", linewidths=0.5, label="measured", clip_on=False, zorder=3,
    )  # fmt: skip
    ax.set(xlabel=r"weight scale $\sigma_w$", ylabel=r"bias scale $\sigma_b$", xlim=w[[0, -1]], ylim=b[[0, -1]])
    return mesh


def _nearest(of, bias: float) -> int:
    """The place of a bias scale in the fine grid."""
    return int(np.abs(of.fine_bias_scale.values - bias).argmin())


def _draw_depth_scales(ax, of) -> None:
    """Depth scales of correlations and of lengths, a colour for each bias scale."""
    w = of.fine_weight_scale.values
    for i, bias in enumerate(of.bias_scale.values):
        xi_c = of.xi_c.values[i]
        ax.plot(w, np.where(np.isfinite(xi_c), xi_c, np.nan), color=panels.color(i))
        ax.plot(w, of.xi_q.values[_nearest(of, bias)], ":", color=panels.color(i))
    ax.set(yscale="log", ylim=(0.3, 300), xlabel=r"weight scale $\sigma_w$", ylabel=r"depth scale (layers)")


def _draw_growth(ax, of) -> None:
    """Growth of the gradient, measured and by theory, a colour for each bias scale."""
    found = estimates.mean_interval(of.growth.values)
    for i, bias in enumerate(of.bias_scale.values):
        mean, low, high = (part[i] for part in found[:3])
        label = rf"$\sigma_b$ = {bias:.2g}"
        ax.errorbar(of.weight_scale, mean, panels.bars(mean, low, high), **panels.marks(i, mew=0.8), label=label)
        ax.plot(of.fine_weight_scale, np.log(of.chi.values[_nearest(of, bias)]) / 2, color=panels.color(i), lw=0.9)
    ax.axhline(0, color="0.5", lw=0.6)
    ax.set(xlabel=r"weight scale $\sigma_w$", ylabel="growth, nats per layer back")


THEORY = (
    "Mean-field theory at infinite width: growth = ln(chi) / 2 with chi = sigma_w^2 E[phi'(sqrt(q) z)^2], z normal, q the stationary length. The edge of chaos is "
    "chi = 1. The discrepancies, and the column theory, are from theory to first order in 1 / width, over the same layers."
)
PAPER = "Poole et al. (2016), figure 1, and Schoenholz et al. (2017), figures 1 and 2, have such planes for tanh. The points measured at finite width are ours."


def _setting(options: Options) -> list[str]:
    return [
        f"{options.seeds} seeds (root {options.root_seed}), {options.depth} layers of {options.width} units.",
        "Gaussian weights and input of unit mean square; growth by least squares over the middle 60 % of the layers.",
    ]


def of_planes(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say where the edge of chaos lies."""
    ends, numbers = dataset.fine_bias_scale.values[[0, -1]], []
    for name in options.activations:
        edges = dataset.edge.sel(activation=name).values[[0, -1]]
        numbers += [
            Number(f"critical weight scale, {name}, bias scale {b:g}", math.nan, expected=float(edge))
            for b, edge in zip(ends, edges, strict=True)
        ]
    told = [
        f"{numbers[2 * i].expected:.3g} to {numbers[2 * i + 1].expected:.3g} ({n})"
        for i, n in enumerate(options.activations)
    ]
    return Caption(
        f"In theory gradients vanish left of the edge of chaos and explode right of it: weight scale {words.enumerated(told)} at bias scale {ends[0]:g} to {ends[1]:g}.",
        [f"{name}." for name in options.activations],
        "Growth of the gradient per layer back in theory (colour), the edge of chaos (line), and the growth measured in networks (points, in the same colours).",
        _setting(options),
        numbers,
        THEORY,
        PAPER,
    )  # fmt: skip


def of_depth_scales(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say how far information passes at the edge, and away from it."""
    numbers = [
        Number(f"depth scale of correlations (layers), {name}, bias scale {bias:.2g}, weight scale {w:.3g}", math.nan, expected=float(xi))
        for name in options.activations
        for bias in dataset.bias_scale.values
        for w, xi in zip(dataset.weight_scale.values, np.interp(dataset.weight_scale, dataset.fine_weight_scale, dataset.xi_c.sel(activation=name, bias_scale=bias)), strict=True)
    ]  # fmt: skip
    name = options.activations[0]
    of = dataset.xi_c.sel(activation=name).isel(bias_scale=min(1, dataset.sizes["bias_scale"] - 1))
    xi = np.where(np.isfinite(of), of, np.nan)
    best, w = int(np.nanargmax(xi)), dataset.fine_weight_scale.values
    edge = float(np.interp(of.bias_scale, dataset.fine_bias_scale, dataset.edge.sel(activation=name)))
    return Caption(
        f"In theory the depth scale of correlations of {name} at bias scale {float(of.bias_scale):.2g} is {xi[0]:.2g} layers at weight scale {w[0]:g} and {xi[-1]:.2g} at {w[-1]:g}, with its peak at {w[best]:.3g}, beside the edge of chaos at {edge:.3g}.",
        [f"{name}." for name in options.activations],
        "Depth scales of correlations (solid) and of lengths (dots) in theory against the weight scale. Colour: bias scale, "
        + ", ".join(f"{bias:.2g}" for bias in dataset.bias_scale.values) + ".",
        ["Theory only: mean field, infinite width."],
        numbers,
        THEORY,
        PAPER,
    )  # fmt: skip


def of_growth(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say whether theory holds for networks of finite width."""
    off, numbers = _discrepancy(dataset), []
    for name in options.activations:
        of = dataset.sel(activation=name)
        found = estimates.mean_interval(of.growth.values)
        for i, j in np.ndindex(found.estimate.shape):
            which = f"{name}, bias scale {float(of.bias_scale[i]):.2g}, weight scale {float(of.weight_scale[j]):.3g}"
            ends = (float(part[i, j]) for part in found[:3])
            numbers.append(Number(f"growth (nats per layer back), {which}", *ends, float(of.expected_growth[i, j])))
    return Caption(
        f"Growth of gradients in networks of width {options.width}: {words.agreement(off)}.",
        [text for name in options.activations for text in (f"Growth of the gradient per layer back, {name}.", f"Measured less theory, {name}.")],
        "Points: means over seeds with 95 % intervals; colour: bias scale. Lines: infinite width. Discrepancies are from theory to first order in 1 / width, "
        "in standard errors; grey: 95 %.",
        _setting(options),
        numbers,
        f"{THEORY} Discrepancies in standard errors: {words.worst(off)}.",
        PAPER,
    )  # fmt: skip


DRAWINGS = {
    "": Drawing(draw_planes, of_planes),
    "depth_scales": Drawing(draw_depth_scales, of_depth_scales),
    "growth": Drawing(draw_growth, of_growth),
}


if __name__ == "__main__":
    command.run(Options, main, __doc__)
