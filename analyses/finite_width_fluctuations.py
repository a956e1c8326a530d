"""How much do gradients differ from network to network, and do they follow the law as depth over width grows?

ln of the gradient norm is a sum over layers. It is nearly normal, with a variance that grows as depth / width. Its law is
exact for relu and linear networks without biases (Hanin 2018; Hanin & Nica 2018), and known to first order in 1 / width
for others. The figure compares it with histograms, means and standard deviations of random networks.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import xarray
from matplotlib import pyplot as plt

import jaxsat
from analyses.shared import command, panels, words
from jaxsat import activations, checks, theory
from jaxsat.results import estimates, plotting

NAME = "finite_width_fluctuations"
EXACT = ("relu", "identity")


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about half a minute: fewer activations, seeds, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("relu", "identity", "tanh")
    """Names from jaxsat.activations.names()."""
    factor: float = 1.5
    """Weight scale in units of the critical scale, for all activations but relu and identity, which are at it."""
    widths: tuple[int, ...] = (16, 32, 64)
    """Units per layer."""
    depth: int = 128
    """Layers; gradients at layer l have passed depth - l of them."""
    shown: tuple[float, ...] = (0.25, 1.0, 3.0)
    """Layers passed, in units of the width, whose histograms are drawn."""
    seeds: int = 4000
    """Networks for each activation and width."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"activations": ("relu", "tanh"), "seeds": 1000, "depth": 64, "widths": (16, 32), "shown": (0.25, 1.0)}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.check_at_least(options, depth=2, seeds=4)
    command.check_numbers(options, "widths", least=1)
    longest = (options.depth - 1) / options.widths[len(options.widths) // 2]
    if not options.shown or min(options.shown) <= 0 or max(options.shown) > longest:
        rule = f"be above 0 and at most (depth - 1) / width = {longest:.3g}"
        raise ValueError(checks.refusal("--shown", "", rule, options.shown))
    command.check_numbers(options, "factor", above=0)
    command.produce(options, NAME, measure, draw)


def measure(options: Options) -> xarray.Dataset:
    """Return ln of the gradient norm at every layer of every network, and its law."""
    parts: list[xarray.Dataset] = []
    for name in (activations.get(a).name for a in options.activations):
        scale = _scale(options, name)
        net = jaxsat.MLP(depth=options.depth, width=1, activation=name, weight_scale=scale)
        part = jaxsat.sweep(
            net, "log_gradient_norms", {"width": list(options.widths)}, seeds=options.seeds,
            root_seed=options.root_seed, store=command.part(options, NAME, name),
        )  # fmt: skip
        laws = [_law(name, options.depth, width, scale) for width in options.widths]
        for i, (field, long_name) in enumerate((("mean", "mean of ln ||dE/dh_l||"), ("std", "its standard deviation"))):
            told = {"long_name": f"{long_name}, theory", "units": "nat"}
            part[f"theory_{field}"] = ("width", "layer"), np.stack([law[i] for law in laws]), told
        part["weight_scale"] = (), scale, {"long_name": "weight scale sigma_w", "units": "1"}
        parts.append(part.expand_dims(activation=[name]))
    return xarray.concat(parts, "activation", combine_attrs="override")


def _scale(options: Options, name: str) -> float:
    """Return the weight scale of an activation: for relu and identity the scale that keeps every mean square."""
    with jax.enable_x64(True):  # in float32 sqrt 2 is below the edge
        if name in EXACT:
            return float(theory.length_map(name, 1.0, 1.0)) ** -0.5
        return options.factor * float(theory.critical_weight_scale(name))


def _law(name: str, depth: int, width: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of ln ||dE/dh_l|| for every layer: exact, or to first order in 1 / width."""
    with jax.enable_x64(True):
        law = (theory.exact_log_norms if name in EXACT else theory.log_normal_law)(name, depth, width, scale)
        return np.asarray(law.mean), np.asarray(law.std)


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure, from the dataset and the exact densities."""
    names = list(dataset.activation.values)
    norms = dataset.log_gradient_norms.transpose("activation", "width", "layer", "seed").values
    norms = np.where(np.isfinite(norms), norms, np.nan)  # dead networks have no gradient
    std, off = _discrepancies(dataset, norms)
    with plotting.style():
        fig = plt.figure(figsize=(plotting.PAGE, 4.6), layout="constrained")
        top, bottom = panels.stacked(fig, [1, 1])
        densities = list(top.subplots(1, len(names), squeeze=False).flat)
        spread, *discrepancies = bottom.subplots(1, 3)
        for row, ax in enumerate(densities):
            _draw_densities(ax, options, dataset.isel(activation=row), norms[row])
        densities[0].set_ylabel("density (1/nat)")
        densities[0].legend(loc="upper left")
        _draw_spread(spread, dataset, std)
        for ax, (what, z) in zip(discrepancies, off.items(), strict=True):
            _draw_off(ax, dataset, z, what)
        for j, width in enumerate(dataset.width.values):
            marks = panels.marks(j, color="k", mew=None)
            discrepancies[0].plot([], [], **marks, label=f"n = {width}")
        discrepancies[0].legend()
        plotting.panel_letters([*densities, spread, *discrepancies])
        plotting.footnote(fig, _footer(options, dataset, off))
    return fig


def _discrepancies(dataset, norms) -> tuple[estimates.Interval, dict[str, np.ndarray]]:
    """Return standard deviations over networks, and how far they and the means are off theory, in standard errors."""
    std = estimates.std_interval(norms)
    law_mean, law_std = (
        dataset[v].transpose("activation", "width", "layer").values for v in ("theory_mean", "theory_std")
    )
    random = law_std > 0
    found = {"mean": (estimates.mean_interval(norms), law_mean), "std": (std, law_std)}
    return std, {what: np.where(random, panels.discrepancy(*pair), np.nan) for what, pair in found.items()}


def _passed(dataset) -> np.ndarray:
    """The number of layers that gradients at each layer have passed."""
    return dataset.sizes["layer"] - dataset.layer.values


def _places(dataset) -> list[int]:
    """The layers that are shown, as indices: about equally far apart in ln of the layers passed."""
    every = np.unique(np.geomspace(1, dataset.sizes["layer"] - 1, 10).astype(int))
    return [_place(dataset, passed) for passed in every]


def _place(dataset, passed: float) -> int:
    """The layer whose gradients have passed this number of layers, as an index; the nearest, if there is none."""
    distance = np.abs(_passed(dataset) - passed)
    return int(distance.argmin())


def _draw_densities(ax, options: Options, of, norms) -> None:
    """Histograms at the middle width after different numbers of layers, with their laws."""
    middle = options.widths[len(options.widths) // 2]
    for share, color in zip(options.shown, plotting.COLORS, strict=False):
        at = _place(of, share * middle)
        values = norms[options.widths.index(middle), at]
        _draw_histogram(ax, values, color, rf"$\ell/n$ = {share:g}")
        _draw_law(ax, of, int(_passed(of)[at]), middle, color)
    ax.set(xlabel=r"$\ln\,\|\partial E/\partial h\|$ (nats)", yscale="log", ylim=(2e-3, None))
    ax.set_title(str(of.activation.values))


def _draw_histogram(ax, values, color, label) -> None:
    """Densities with 95 % intervals, as points."""
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, 40)
    kept = counts > 0
    share, low, high = (part[kept] / np.diff(edges)[kept] for part in estimates.share_interval(counts, len(values))[:3])
    middle = ((edges[1:] + edges[:-1]) / 2)[kept]
    ax.errorbar(
        middle, share, panels.bars(share, low, high), color=color, fmt="o", ms=1.8, elinewidth=0.6, mfc="none", mew=0.6,
        label=label,
    )  # fmt: skip


def _draw_law(ax, of, passed: int, width: int, color) -> None:
    """The exact density, if it is known, and the normal law."""
    name, scale, at = str(of.activation.values), float(of.weight_scale), of.sizes["layer"] - 1 - passed
    mean, std = (float(of[f"theory_{field}"].sel(width=width)[at]) for field in ("mean", "std"))
    x = np.linspace(mean - 4.5 * std, mean + 4.5 * std, 300)
    if name in EXACT:
        # Without biases the law at layer l is that of a network of the layers above.
        with jax.enable_x64(True):
            exact = theory.exact_log_norm_distribution(x, name, passed + 1, width, scale).density
        ax.plot(x, exact, color=color, lw=1.0)
    style = {"ls": "--", "lw": 0.7} if name in EXACT else {"ls": "-", "lw": 1.0}
    ax.plot(x, np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi)), color=color, **style)


def _draw_spread(ax, dataset, std) -> None:
    """Standard deviations against layers passed in units of the width; lines are theory."""
    chosen, law = _places(dataset), dataset.theory_std.transpose("activation", "width", "layer").values
    for i, name in enumerate(dataset.activation.values):
        for j, width in enumerate(dataset.width.values):
            mid, low, high = (part[i, j, chosen] for part in std[:3])
            marks = panels.marks(j, color=panels.color(i), ms=3)
            ax.errorbar(_passed(dataset)[chosen] / width, mid, panels.bars(mid, low, high), **marks, elinewidth=0.7)
            label = f"{name}" if j == 0 else None
            ax.plot(_passed(dataset)[:-1] / width, law[i, j, :-1], color=panels.color(i), lw=0.8, label=label)
    ax.set(xscale="log", yscale="log", xlabel=r"layers passed / width, $\ell/n$", ylabel=r"std of $\ln\|\partial E/\partial h\|$ (nats)")  # fmt: skip
    ax.legend()


def _draw_off(ax, dataset, z, what: str) -> None:
    """Discrepancies of one statistic against layers passed in units of the width."""
    chosen = _places(dataset)
    for i, j in np.ndindex(z.shape[:2]):
        marks = panels.marks(j, color=panels.color(i), ms=3)
        ax.plot(_passed(dataset)[chosen] / dataset.width.values[j], z[i, j, chosen], **marks)
    panels.standard_errors(ax)
    ax.set(xscale="log", xlabel=r"layers passed / width, $\ell/n$", ylabel=f"{what}: measured - theory (s.e.)")


def _footer(options: Options, dataset, off: dict[str, np.ndarray]) -> str:
    names, scales = dataset.activation.values, dataset.weight_scale.values
    told = ", ".join(f"{name} {float(scale):.3f}" for name, scale in zip(names, scales, strict=True))
    middle = options.widths[len(options.widths) // 2]
    return (
        f"a-{chr(96 + len(names))}: width {middle}. Points: histograms with 95 % intervals. Solid: the exact law (relu, identity), or the log-normal law to first order in 1/n\n"
        f"(others; errors of order L/n^2 remain). Dashed: the normal law with the exact mean and standard deviation. {options.seeds} seeds (root {options.root_seed}), L = {options.depth}, gaussian\n"
        f"weights, no biases, gaussian input of unit mean square, unit gaussian cotangent. sigma_w: {told}. Layers of a network are not independent.\n"
        f"Discrepancies in standard errors (grey: 95 %): mean {words.worst(off['mean'])}; std {words.worst(off['std'])}. {words.made(dataset)}"
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
