"""At which rates do the directions of a network grow and shrink per layer, and does theory predict them?

The figure shows the Lyapunov exponents lambda_i = ln s_i / L of the Jacobian of random networks, against the index of the
direction. For linear gaussian networks the law is exact at any width (Newman 1986):
lambda_i = (ln 2 + psi((n - i + 1) / 2) - ln n) / 2 + ln sigma_w. Everything is in float64, because the signal of a linear
or relu network grows or shrinks as sigma_w^L, which leaves the range of float32 within a hundred layers.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import xarray
from matplotlib.lines import Line2D

import jaxsat
from analyses.shared import command, factored, layouts, panels, resolved, words
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import activations, theory
from jaxsat.linalg.lapack import after
from jaxsat.measures import Measure, Variable
from jaxsat.networks import gaussian_input
from jaxsat.results import drawing, estimates

NAME = "lyapunov_exponents"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("identity", "tanh", "relu", "softsign")
    """Names from jaxsat.activations.names(); identity, the linear network, has the exact law."""
    scales: tuple[float, ...] = (0.7, 1.0, 1.4, 2.0, 3.0)
    """Weight scales sigma_w."""
    seeds: int = 64
    """Networks for each activation and scale."""
    depth: int = 200
    """Layers."""
    width: int = 32
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"seeds": 16, "depth": 60, "width": 16}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.produce(options, NAME, measure, {"": Drawing(draw, caption)})


def measure(options: Options) -> xarray.Dataset:
    """Return the exponents of every network, from ln s / L and by QR, and the exact law."""
    names = [activations.get(name).name for name in options.activations]

    def exponents(net, key, x):
        networks = [dataclasses.replace(net, activation=name) for name in names]
        inputs = [gaussian_input(net, key)] * len(names)
        found, (values, errors) = factored.of_each(_in_both_ways, networks, key, inputs)
        of_each = {
            "exponents": values / options.depth,
            "exponents_by_qr": found.by_qr,
            "log_singular_values_error": errors,
        }
        return of_each

    dims, unit = ("activation", "index"), "nat per layer"
    labels = {
        "exponents": Variable(dims, "ln s_i / L", unit, {"activation": names}),
        "exponents_by_qr": Variable(dims, "mean growth of R_ii", unit, {"activation": names}),
        "log_singular_values_error": Variable(dims, "estimated error of ln s_i", "nat", {"activation": names}),
    }
    net = jaxsat.MLP(depth=options.depth, width=options.width)
    with jax.enable_x64(True):
        dataset = jaxsat.sweep(
            net, Measure("lyapunov", exponents, labels), {"weight_scale": sorted(options.scales)},
            seeds=options.seeds, root_seed=options.root_seed, store=command.part(options, NAME),
        )  # fmt: skip
        laws = [np.asarray(theory.gaussian_lyapunov_exponents(options.width, s)) for s in dataset.weight_scale.values]
    told = {"long_name": "exact law, linear", "units": "nat per layer"}
    dataset["law"] = ("weight_scale", "index"), np.stack(laws), told
    found = resolved.known(dataset.exponents, dataset.log_singular_values_error)
    dataset["exponents"] = dataset.exponents.copy(data=found)
    return dataset


def _in_both_ways(*layers):
    """Growth by QR, and ln of the singular values with their errors."""
    values, errors = jaxsat.spectrum.log_singular_values_of_product(*layers, with_error=True)
    weights, *slopes = layers
    return jaxsat.spectrum.lyapunov_exponents(after(values, weights), *slopes), (values, errors)


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure, a panel for each activation."""
    names, scales = options.activations, dataset.weight_scale.values
    figure, axes = layouts.panels(options, len(names), below=1)
    colors = drawing.scale_colors(scales)
    for ax, name in zip(axes, names, strict=True):
        _draw_exponents(ax, dataset.sel(activation=name), colors)
        ax.set(title=name, xlabel="index $i$", ylabel=r"exponent $\lambda_i$")
    handles = [
        Line2D([], [], color="k", marker="o", mfc="none", ms=3, ls="none", label=r"$\ln s_i / L$"),
        Line2D([], [], color="k", ls=":", label="by QR"),
        Line2D([], [], color="k", lw=0.7, label="exact law, linear"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    bar = figure.colorbar(colors, ax=axes, label=r"weight scale $\sigma_w$", aspect=40, pad=0.01)
    bar.set_ticks(scales, labels=[f"{s:g}" for s in scales])
    bar.minorticks_off()
    layouts.letters(axes)
    return figure


def _draw_exponents(ax, of, colors) -> None:
    """Exponents of one activation at every weight scale at which there are finite ones."""
    index = of["index"].values
    for scale in of.weight_scale.values:
        found, color = of.sel(weight_scale=scale), colors.to_rgba(scale)
        if not np.isfinite(found.exponents).any():
            continue
        mean, low, high, _ = estimates.mean_interval(_finite(found.exponents), axis=0)
        marks = {"color": color, "mfc": "none", "mew": 0.7, "ms": 3, "elinewidth": 0.8}
        ax.errorbar(index, mean, panels.bars(mean, low, high), fmt="o", **marks)
        by_qr = estimates.mean_interval(_finite(found.exponents_by_qr), axis=0)
        ax.plot(index, by_qr.estimate, ":", color=color, lw=0.9)
        if str(of.activation.values) == "identity":
            ax.plot(index, found.law, "k-", lw=0.7)
    ax.axhline(0, color="0.5", lw=0.6)


def _finite(values) -> np.ndarray:
    """Values over seeds and index, NaN where a network loses a direction altogether."""
    return np.where(np.isfinite(values), values, np.nan)


def _spread(exponents: np.ndarray) -> str:
    """Return by how much the directions grow apart, in words: mean over networks, of the directions that each keeps."""
    kept = np.isfinite(exponents)
    several = kept.sum(-1) > 1
    if not several.any():
        return "nothing to compare"
    known = np.where(kept, exponents, np.nan)[several]
    mean = float(np.mean(np.nanmax(known, -1) - np.nanmin(known, -1)))
    return (
        f"{mean:.2g}"
        if kept.all()
        else f"{mean:.2g} among the {kept[several].sum(-1).mean():.1f} directions that are left"
    )


def _beside_the_law(of: xarray.Dataset, numbers: list[Number]) -> np.ndarray:
    """Add the growth by QR and the exact law to the numbers; return how far they are apart, in standard errors.

    One scale is enough: networks of all scales share their draws, and a scale only shifts linear exponents.
    """
    of = of.sel(weight_scale=1.0, method="nearest")
    found = estimates.mean_interval(_finite(of.exponents_by_qr), axis=0)
    for i, index in enumerate(of["index"].values):
        ends = (float(part[i]) for part in found[:3])
        which = f"growth {index} by QR, identity, weight scale {float(of.weight_scale):g}"
        numbers.append(Number(which, *ends, float(of.law[i])))
    return panels.discrepancy(found, of.law.values)


def caption(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say how far the directions spread, and whether the exact law of linear networks holds."""
    numbers, spreads, missing, z = [], [], [], np.array([np.nan])
    for name in options.activations:
        for scale in dataset.weight_scale.values:
            of = dataset.sel(activation=name, weight_scale=scale)
            if not np.isfinite(of.exponents).any():
                missing.append(f"{name} at {scale:g}")
                continue
            found = estimates.mean_interval(_finite(of.exponents), axis=0)
            for i, index in enumerate(dataset["index"].values):
                ends = (float(part[i]) for part in found[:3])
                numbers.append(Number(f"ln s_{index} / L, {name}, weight scale {scale:g}", *ends))
        of = dataset.sel(activation=name).sel(weight_scale=1.0, method="nearest")
        spreads.append(f"{_spread(of.exponents.values)} ({name})")
    if "identity" in options.activations:
        z = _beside_the_law(dataset.sel(activation="identity"), numbers)
    law = f"; for the exact law of linear networks {words.agreement(z)}" if np.isfinite(z).any() else ""
    shown = float(dataset.weight_scale.sel(weight_scale=1.0, method="nearest"))
    return Caption(
        f"Directions grow apart by {words.enumerated(spreads)} nats per layer at weight scale {shown:g}{law}.",
        [f"{name}." for name in options.activations],
        "Lyapunov exponent against the index of the direction. Circles: ln s_i / L, mean over seeds with its 95 % interval. Dots: by QR. Line: exact law of linear gaussian networks. Colour: weight scale.",
        [
            f"{options.seeds} seeds (root {options.root_seed}), {options.depth} layers of {options.width} units.",
            "Gaussian weights and input, no biases.",
            resolved.sentence(dataset.log_singular_values_error),
            *([f"Nothing is drawn where no exponent is finite: {', '.join(missing)}."] if missing else []),
            "A direction that some networks lose altogether (relu) is averaged over the networks that keep it.",
        ],
        numbers,
        "Newman (1986): lambda_i = (ln 2 + psi((n - i + 1) / 2) - ln n) / 2 + ln sigma_w, exact for linear gaussian networks of any width as the depth grows. "
        "The mean growth by QR has this law at every depth, and is compared with it. ln s_i / L differs from it by O(1/L). "
        f"Discrepancies in standard errors: {words.worst(z)}.",
        "No figure of a paper is regenerated.",
    )  # fmt: skip


if __name__ == "__main__":
    command.run(Options, main, __doc__)
