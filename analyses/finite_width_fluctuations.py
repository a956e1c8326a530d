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
from matplotlib.lines import Line2D

import jaxsat
from analyses.shared import command, layouts, panels, words
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import activations, checks, theory
from jaxsat.results import drawing, estimates, student

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
    command.produce(options, NAME, measure, DRAWINGS)


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


def draw_spread(options: Options, dataset: xarray.Dataset):
    """Return the figure of standard deviations against depth over width, and of discrepancies from theory."""
    std, off = _discrepancies(dataset, _norms(dataset))
    figure, axes = layouts.panels(options, 3, below=2 if layouts.narrow(options) else 1)
    _draw_spread(axes[0], dataset, std)
    for ax, (what, z) in zip(axes[1:], off.items(), strict=True):
        _draw_off(ax, dataset, z, what)
    handles = axes[0].get_legend_handles_labels()[0]
    handles += [
        Line2D([], [], **panels.marks(j, color="k", mew=None), label=f"width {width}")
        for j, width in enumerate(dataset.width.values)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if layouts.narrow(options) else 6)
    layouts.letters(axes)
    return figure


def draw_densities(options: Options, dataset: xarray.Dataset):
    """Return the figure of histograms and exact densities, a panel for each activation."""
    norms = _norms(dataset)
    figure, axes = layouts.panels(options, dataset.sizes["activation"], below=1)
    for row, ax in enumerate(axes):
        _draw_densities(ax, options, dataset.isel(activation=row), norms[row])
        ax.set_ylabel("density (1/nat)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(options.shown))
    layouts.letters(axes)
    return figure


def _norms(dataset) -> np.ndarray:
    """Return ln of the gradient norms (activation, width, layer, seed); NaN for dead networks, which have no gradient."""
    norms = dataset.log_gradient_norms.transpose("activation", "width", "layer", "seed").values
    return np.where(np.isfinite(norms), norms, np.nan)


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
    for share, color in zip(options.shown, drawing.COLORS, strict=False):
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
    ax.set(xscale="log", yscale="log", xlabel=r"passed / width, $\ell/n$", ylabel=r"std of $\ln\|\partial E/\partial h\|$ (nats)")  # fmt: skip


def _draw_off(ax, dataset, z, what: str) -> None:
    """Discrepancies of one statistic against layers passed in units of the width."""
    chosen = _places(dataset)
    for i, j in np.ndindex(z.shape[:2]):
        marks = panels.marks(j, color=panels.color(i), ms=3)
        ax.plot(_passed(dataset)[chosen] / dataset.width.values[j], z[i, j, chosen], **marks)
    panels.standard_errors(ax)
    ax.set(xscale="log", xlabel=r"passed / width, $\ell/n$", ylabel="discrepancy (s.e.)", title=what)


PAPER = "Hanin (2018) and Hanin & Nica (2018) prove that ln of the gradient norm of relu networks is nearly normal with a variance proportional to depth over width; their figures show other widths. The law for other activations is ours."


def _setting(options: Options, dataset) -> list[str]:
    scales = [
        f"{name} {float(s):.3f}" for name, s in zip(dataset.activation.values, dataset.weight_scale.values, strict=True)
    ]
    return [
        f"{options.seeds} seeds (root {options.root_seed}), {options.depth} layers, gaussian weights.",
        f"Weight scale {', '.join(scales)}; no biases, gaussian input of unit mean square, unit gaussian cotangent.",
        "Layers of a network are not independent.",
    ]  # fmt: skip


def of_spread(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say how the spread grows, and whether the law holds."""
    std, off = _discrepancies(dataset, _norms(dataset))
    law, numbers = dataset.theory_std.transpose("activation", "width", "layer").values, []
    for i, name in enumerate(dataset.activation.values):
        for j, width in enumerate(dataset.width.values):
            for at in _places(dataset):
                which = f"std of ln ||dE/dh||, {name}, width {width}, {_passed(dataset)[at]} layers passed"
                numbers.append(Number(which, *(float(p[i, j, at]) for p in std[:3]), float(law[i, j, at])))
    width, passed = int(dataset.width.values[0]), int(_passed(dataset)[0])
    told = [f"{float(std.estimate[i, 0, 0]):.2g} ({name})" for i, name in enumerate(dataset.activation.values)]
    z = off["std"][..., _places(dataset)]
    return Caption(
        f"After {passed} layers of width {width} gradients differ from network to network by {words.enumerated(told)} nats; {words.agreement(z)}.",
        [
            "Standard deviation over networks of ln of the gradient norm against the layers passed, in units of the width.",
            "Mean, measured less theory, in standard errors; grey: 95 %.",
            "Standard deviation, measured less theory, in standard errors.",
        ],
        "Points: measured, with 95 % intervals in a; marker: width; colour: activation. Lines: theory.",
        _setting(options, dataset),
        numbers,
        f"{THEORY} Discrepancies in standard errors: mean {words.worst(off['mean'])}; std {words.worst(off['std'])}.",
        PAPER,
    )  # fmt: skip


THEORY = "Exact for relu and identity without biases (Hanin 2018): sums over layers of independent terms. For others the log-normal law to first order in 1 / width; errors of order L / n^2 remain."


def of_densities(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say how far the law is from a normal one."""
    norms, middle, numbers = _norms(dataset), options.widths[len(options.widths) // 2], []
    told = []
    for i, name in enumerate(dataset.activation.values):
        for share in options.shown:
            values = norms[i, options.widths.index(middle), _place(dataset, share * middle)]
            values = values[np.isfinite(values)]
            skewness = float(np.mean(((values - values.mean()) / values.std()) ** 3))
            error = float(np.sqrt(6 / values.size)) * student.NORMAL
            numbers.append(
                Number(
                    f"skewness of ln ||dE/dh||, {name}, {share:g} widths passed",
                    skewness,
                    skewness - error,
                    skewness + error,
                    0.0,
                )
            )
        told.append(f"{numbers[-1].estimate:.2f} ({name})")
    normal = all(number.low <= 0 <= number.high for number in numbers)
    return Caption(
        f"ln of the gradient norm is {'normal as far as can be seen' if normal else 'not exactly normal'}: its skewness after {options.shown[-1]:g} layers per unit of width is {words.enumerated(told)}.",
        [f"{name}." for name in dataset.activation.values],
        f"Histograms at width {middle} after different numbers of layers, in units of the width, with 95 % intervals. Solid: the exact law (relu, identity), or the log-normal law. "
        "Dashed: the normal law with the exact mean and standard deviation.",
        _setting(options, dataset),
        numbers,
        f"{THEORY} The column theory has the skewness of a normal law; its interval is that for normal values.",
        PAPER,
    )  # fmt: skip


DRAWINGS = {"": Drawing(draw_spread, of_spread), "densities": Drawing(draw_densities, of_densities)}


if __name__ == "__main__":
    command.run(Options, main, __doc__)
