"""How do the singular values of a network's Jacobian spread with depth, and what does a plain decomposition show of it?

Random networks see a gaussian input of unit mean square. Every singular value of dx_l/dx_0 is computed at every depth, in
one pass in the log domain. Then the Jacobian of a narrow network is multiplied out from its layers and decomposed, in
float32 and in float64, as svd(jax.jacfwd) does. All three are compared with arithmetic of 900 digits.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import xarray
from tqdm import tqdm

import jaxsat
from analyses.shared import command, factored, layouts, words
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import addresses, checks
from jaxsat.measures import Measure, Variable
from jaxsat.results import drawing, estimates

NAME = "jacobian_spectra_with_depth"
ENSEMBLES = ("gaussian", "orthogonal")
# Weight scales at which mean squared gradients neither grow nor shrink, without biases: 1 / phi'(0) for functions through
# the origin that saturate, sqrt(2) for relu. The sigmoid's is where growth crossed zero in gradients_vanish_with_depth, at
# depth 100 and width 128. That is a measurement of finite networks, not a law.
CRITICAL = {"tanh": 1.0, "erf": 0.8862, "hard_tanh": 1.0, "relu": 1.4142, "sigmoid": 10.6}


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about a minute: fewer activations, seeds, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh", "erf", "hard_tanh", "relu", "sigmoid")
    """Names out of tanh, erf, hard_tanh, relu, sigmoid."""
    factors: tuple[float, ...] = (0.8, 1.0, 1.25)
    """Weight scales of each activation, as multiples of its critical one; 1 must be among them."""
    seeds: int = 128
    """Networks for each activation, ensemble and scale."""
    depth: int = 128
    """Layers."""
    width: int = 48
    """Units per layer."""
    truth_width: int = 12
    """Units per layer of the network held against 900 digits."""
    truth_depth: int = 60
    """Its layers."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"activations": ("tanh", "relu"), "seeds": 16, "depth": 32, "width": 24, "truth_width": 8, "truth_depth": 40}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    for name in options.activations:
        checks.one_of("--activations", "", name, CRITICAL)
    if 1.0 not in options.factors:
        raise ValueError(checks.refusal("--factors", "", "have 1 among them, the critical scale", options.factors))
    command.produce(options, NAME, measure, DRAWINGS)


def measure(options: Options) -> xarray.Dataset:
    """Return a sweep in the log domain, and a network in three ways beside the truth."""
    kinds = list(itertools.product(options.activations, ENSEMBLES))

    def spectra(net, key, x):
        """The weight scale of `net` is a multiple of the critical scale, which is another for each activation."""
        networks = [
            dataclasses.replace(net, activation=name, ensemble=ensemble, weight_scale=net.weight_scale * CRITICAL[name])
            for name, ensemble in kinds
        ]
        inputs = [jaxsat.networks.gaussian_input(net, key)] * len(kinds)
        every_depth = functools.partial(jaxsat.spectrum.log_singular_values_of_product, every_depth=True)
        found = factored.of_each(every_depth, networks, key, inputs)
        shape = len(options.activations), len(ENSEMBLES), options.depth, options.width
        return {"log_singular_values": found.reshape(shape)}

    label = Variable(
        ("activation", "ensemble", "depth", "index"), "ln of the singular values of dx_l/dx_0, descending",
        coordinates={"activation": list(options.activations), "ensemble": ENSEMBLES},
    )  # fmt: skip
    dataset = jaxsat.sweep(
        jaxsat.MLP(depth=options.depth, width=options.width),
        Measure("log_singular_values", spectra, {"log_singular_values": label}),
        {"weight_scale": list(options.factors)}, seeds=options.seeds, root_seed=options.root_seed,
        store=command.part(options, NAME),
    ).rename(weight_scale="factor")  # fmt: skip
    dataset.factor.attrs.update(long_name="weight scale over the critical scale", units="1")
    return dataset.merge(three_ways(options), combine_attrs="override")


def three_ways(options: Options) -> xarray.Dataset:
    """Return ln s at every depth of a tanh network: dense in two precisions, in the log domain, and to 900 digits."""
    net = jaxsat.MLP(depth=options.truth_depth, width=options.truth_width, activation="tanh")
    key = addresses.root(options.root_seed)
    params, x = net.init(key), jaxsat.networks.gaussian_input(net, key)
    f = jax.jit(jaxsat.factors)(net, params, x)
    weights = np.concatenate([f.first[None], f.hidden]).astype(float)
    logs = np.asarray(f.log_abs_slopes, float)
    with jax.enable_x64(True):
        ours = jaxsat.spectrum.log_singular_values_of_product(weights, logs, every_depth=True)
    rows = {
        "svd(J), float32": _dense(weights, logs, np.float32),
        "svd(J), float64": _dense(weights, logs, np.float64),
        "log domain, float64": np.asarray(ours),
        "900 digits": exact_log_singular_values(weights, logs),
    }
    told = {"long_name": "ln of the singular values of a tanh network", "units": "1"}
    coordinates = {
        "way": list(rows),
        "truth_depth": np.arange(1, options.truth_depth + 1),
        "truth_index": np.arange(1, options.truth_width + 1),
    }
    values = tuple(coordinates), np.stack(list(rows.values())), told
    return xarray.Dataset({"log_singular_values_by_method": values}, coordinates)


def _dense(weights: np.ndarray, log_slopes: np.ndarray, dtype) -> np.ndarray:
    """Return ln s of every partial product, multiplied out and decomposed in the given precision."""

    @jax.jit
    def decomposed(weights, slopes):
        def layer(product, factors):
            weight, slope = factors
            product = slope[:, None] * (weight @ product)
            return product, jnp.linalg.svd(product, compute_uv=False)

        return jax.lax.scan(layer, jnp.eye(weights.shape[1], dtype=dtype), (weights, slopes))[1]

    with jax.enable_x64(True), np.errstate(divide="ignore"):
        found = decomposed(jnp.asarray(weights, dtype), jnp.asarray(np.exp(log_slopes), dtype))
        return np.log(np.asarray(found, float))


def exact_log_singular_values(weights: np.ndarray, log_slopes: np.ndarray) -> np.ndarray:
    """Return ln s of every partial product by arithmetic with 900 digits."""
    found, layers = [], list(zip(weights, log_slopes, strict=True))
    with mpmath.workdps(900):
        product = mpmath.eye(weights.shape[1])
        for weight, logs in tqdm(layers, desc="900 digits", unit=" depths"):
            slopes = [mpmath.exp(mpmath.mpf(value)) for value in logs.tolist()]
            product = mpmath.diag(slopes) * mpmath.matrix(weight.tolist()) * product
            values = mpmath.svd_r(product, compute_uv=False)
            logs = [float(mpmath.log(abs(value))) for value in values]
            found.append(sorted(logs, reverse=True))
    return np.array(found)


def draw_ridges(options: Options, dataset: xarray.Dataset, ensemble: str):
    """Return the figure of the densities of ln s of one ensemble, a panel for each activation."""
    figure, axes = layouts.panels(options, len(options.activations), tall=1.25)
    for i, (ax, name) in enumerate(zip(axes, options.activations, strict=True)):
        shown = dataset.log_singular_values.sel(activation=name, ensemble=ensemble, factor=1.0)
        _draw_ridges(ax, shown, drawing.COLORS[i])
        ax.set(title=name, xlabel=r"$\ln s$", ylabel="depth $l$ (layers)")
    layouts.letters(axes)
    return figure


def draw_spread(options: Options, dataset: xarray.Dataset):
    """Return the figure of the condition number against depth."""
    figure, (ax,) = layouts.panels(options, 1)
    _draw_spread(ax, options, dataset)
    return figure


def draw_truth(options: Options, dataset: xarray.Dataset):
    """Return the figure of singular values in three ways beside 900 digits."""
    figure, (ax,) = layouts.panels(options, 1, tall=1.1, below=3)
    _draw_truth(ax, options, dataset)
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=2 if layouts.narrow(options) else 3
    )
    return figure


def _draw_ridges(ax, shown, color) -> None:
    """Density of ln s, a ridge for each depth."""
    depths = [d for d in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if d <= shown.sizes["depth"]]
    finite = shown.sel(depth=depths).values
    finite = finite[np.isfinite(finite)]
    edges = np.linspace(np.quantile(finite, 0.01) - 1, finite.max() + 1, 61)
    middle = (edges[1:] + edges[:-1]) / 2
    for level, depth in reversed(list(enumerate(depths))):
        found = estimates.density(shown.sel(depth=depth).values, edges)
        peak = max(found.high.max(), 1e-12)
        low, mid, high = (1.5 * v / peak for v in (found.low, found.estimate, found.high))
        drawing.ridge(ax, middle, low, mid, high, -float(level), color)
    ax.set_yticks(-np.arange(len(depths)), labels=[str(d) for d in depths])
    ax.set_xlim(edges[0], edges[-1])


def _draw_spread(ax, options: Options, dataset) -> None:
    """log10 of the largest over the smallest nonzero singular value against depth."""
    condition = _condition(dataset)
    for i, name in enumerate(options.activations):
        for ensemble, line in (("gaussian", "-"), ("orthogonal", "--")):
            for factor in options.factors:
                shown = condition.sel(activation=name, ensemble=ensemble, factor=factor).values
                low, mid, high = estimates.band(np.where(np.isfinite(shown), shown, np.nan), axis=0)
                if np.isfinite(mid).any() and factor == 1.0:
                    around = low, np.full_like(mid, np.nan), high
                    drawing.median_band(ax, dataset.depth.values, np.stack(around), drawing.COLORS[i])
                width = 1.1 if factor == 1.0 else 0.4
                ax.plot(dataset.depth, mid, line, color=drawing.COLORS[i], lw=width)
        ax.plot([], [], color=drawing.COLORS[i], label=name)
    ax.plot([], [], "k-", label="gaussian")
    ax.plot([], [], "k--", label="orthogonal")
    for bits, label in ((23, "1/eps, float32"), (52, "1/eps, float64")):
        ax.axhline(bits * np.log10(2), color="0.5", lw=0.7, ls=":")
        ax.text(1.1, bits * np.log10(2), label, fontsize="small", color="0.4", va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="depth $l$ (layers)", ylabel=r"$\log_{10}(s_1/\,$smallest nonzero $s)$")
    ax.set_ylim(0.3, None)
    ax.legend(ncols=2)


def _draw_truth(ax, options: Options, dataset) -> None:
    """Seven singular values of a narrow network, in three ways beside 900 digits."""
    ways, steps = dataset.log_singular_values_by_method, dataset.truth_depth.values
    true, ours = ways.sel(way="900 digits").values, ways.sel(way="log domain, float64").values
    index = np.unique(np.linspace(0.5, options.truth_width - 0.5, 7).astype(int))  # seven, evenly
    every = slice(None, None, max(1, len(steps) // 20))
    single, double = (true[:, 0] + np.log(np.finfo(dtype).eps) for dtype in (np.float32, np.float64))
    drawing.noise_region(ax, steps, double, single, "noise in float32", "....")
    drawing.noise_region(ax, steps, true.min() - 60, double, "noise in float64, too", "////")
    for way, style in (("svd(J), float32", ":"), ("svd(J), float64", "--")):
        color = drawing.COLORS[way.endswith("64")]
        ax.plot(steps, ways.sel(way=way).values[:, index], style, color=color, lw=0.9)
        ax.plot([], [], style, color=color, label=way)
    ax.plot(steps, true[:, index], "k-", lw=0.6)
    ax.plot([], [], "k-", lw=0.6, label="900 digits")
    marks = {"color": drawing.COLORS[2], "mfc": "none"}
    ax.plot(steps[every], ours[every][:, index], "o", ms=2.2, mew=0.6, **marks)
    worst = np.abs(ours - true).max()
    error = 10.0 ** np.ceil(np.log10(worst))
    ax.plot([], [], "o", label=f"log domain (error < {error:.0e})", **marks)
    ax.set(xlabel="depth $l$ (layers)", ylabel=r"$\ln s$", ylim=(true.min() - 30, true.max() + 3))


PAPER = "Saxe et al. (2013), figure 6 and section on dynamical isometry, and Pennington et al. (2017) show such spectra at a few depths. Every depth, and the comparison with 900 digits, are ours."
THEORY = "Not compared here; `analyses.spectra_against_free_probability` does, and `analyses.lyapunov_exponents` for the growth per layer."


def _setting(options: Options) -> list[str]:
    scales = [f"{name} {CRITICAL[name]:g}" for name in options.activations]
    return [
        f"{options.seeds} seeds (root {options.root_seed}), {options.width} units per layer.",
        f"No biases, gaussian input of unit mean square; critical weight scales {', '.join(scales)}.",
        "The scale of sigmoid is where the growth of networks of 100 layers of 128 units crosses 0.",
    ]


def _condition(dataset) -> xarray.DataArray:
    """Return log10 of the largest over the smallest nonzero singular value."""
    values = dataset.log_singular_values
    return (values.isel(index=0) - values.where(np.isfinite(values)).min("index")) / np.log(10)


def _condition_numbers(options: Options, dataset, factors: Sequence[float]) -> list[Number]:
    last = _condition(dataset).isel(depth=-1)
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
        "Density of ln of the singular values of dx_l/dx_0 at different depths, pooled over seeds. Each ridge is scaled to its peak; darker: 95 % band. Zero singular values (relu, hard_tanh) are left out. The factor of the title is a geometric mean over seeds.",
        _setting(options),
        numbers,
        THEORY,
        PAPER,
    )  # fmt: skip


def of_spread(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say at which depth float32 no longer holds the spectrum."""
    depths, told = dataset.depth.values, []
    limit = 23 * np.log10(2)
    for name in options.activations:
        middle = _condition(dataset).sel(activation=name, ensemble="gaussian", factor=1.0).median("seed").values
        (beyond,) = np.nonzero(middle > limit)
        told.append(
            f"{depths[beyond[0]]} layers ({name})" if beyond.size else f"more than {depths[-1]} layers ({name})"
        )
    return Caption(
        f"Singular values spread beyond what svd in float32 resolves (1/eps) after {words.enumerated(told)}, gaussian weights at the critical scale.",
        ["log10 of the largest over the smallest nonzero singular value against depth."],
        f"Medians; band: 5 to 95 % of seeds at the critical scale (thick). Thin: {words.listed([f for f in options.factors if f != 1.0])} times that scale. Solid: gaussian, dashed: orthogonal weights. Grey dots: 1/eps of float32 and float64.",
        _setting(options),
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


DRAWINGS = {
    "": Drawing(functools.partial(draw_ridges, ensemble="gaussian"), functools.partial(of_ridges, ensemble="gaussian")),
    "orthogonal": Drawing(
        functools.partial(draw_ridges, ensemble="orthogonal"), functools.partial(of_ridges, ensemble="orthogonal")
    ),
    "spread": Drawing(draw_spread, of_spread),
    "accuracy": Drawing(draw_truth, of_truth),
}


if __name__ == "__main__":
    command.run(Options, main, __doc__)
