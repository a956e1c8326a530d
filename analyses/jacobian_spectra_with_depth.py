"""How do the singular values of a network's Jacobian spread with depth, and what does a plain decomposition show of it?

Random networks see a gaussian input of unit mean square. Every singular value of dx_l/dx_0 is found for every depth from
one pass in the log domain. Beside that, the Jacobian of one narrow network is multiplied out from its layers and
decomposed, in float32 and in float64, as svd(jax.jacfwd) does, and all three are held against arithmetic with 900 digits.
"""

from __future__ import annotations

import dataclasses

from analyses import command
from jaxsat import addresses

NAME = "jacobian_spectra_with_depth"
# Scales at which mean squared gradients neither grow nor shrink without biases: 1 / phi'(0) for functions through the
# origin that saturate, sqrt(2) for relu. The sigmoid's is where growth crossed zero in gradients_vanish_with_depth, at
# depth 100 and width 128: a measurement of finite networks, no law.
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
    for name in options.activations:
        if name not in CRITICAL:
            from jaxsat import activations

            activations.get(name)
            raise ValueError(f"activations: must be out of {', '.join(CRITICAL)}; got {name!r}.")
    if 1.0 not in options.factors:
        raise ValueError(f"factors: must have 1 among them; got {options.factors}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """Sweeps in the log domain, one for each activation; and one network three ways beside the truth."""
    import numpy as np
    import xarray

    import jaxsat

    parts = []
    for name in options.activations:
        net = jaxsat.MLP(depth=options.depth, width=options.width, activation=name)
        over = {"ensemble": ["gaussian", "orthogonal"], "weight_scale": CRITICAL[name] * np.array(options.factors)}
        part = jaxsat.sweep(
            net,
            "log_singular_values",
            over,
            seeds=options.seeds,
            root_seed=options.root_seed,
            every_depth=True,
            store=command.part(options, NAME, name),
        )
        part = part.assign_coords(factor=("weight_scale", list(options.factors))).swap_dims(weight_scale="factor")
        parts.append(part.drop_vars("weight_scale").expand_dims(activation=[name]))
    together = xarray.concat(parts, "activation", combine_attrs="override")
    return together.merge(three_ways(options), combine_attrs="override")


def three_ways(options: Options):
    """ln s at every depth of one tanh network: dense in two precisions, in the log domain, and to 900 digits."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray
    from tqdm import tqdm

    import jaxsat

    net = jaxsat.MLP(depth=options.truth_depth, width=options.truth_width, activation="tanh")
    key = addresses.root(options.root_seed)
    x = jaxsat.networks.gaussian_input(net, key)
    params = net.init(key)
    f = jaxsat.factors(net, params, x)

    def dense(dtype):
        with jax.enable_x64(True):
            weights = [jnp.asarray(w, dtype) for w in (f.first, *f.hidden)]
            slopes = jnp.exp(jnp.asarray(f.log_abs_slopes, jnp.float64)).astype(dtype)
            found, product = [], jnp.eye(options.truth_width, dtype=dtype)
            for w, slope in zip(weights, slopes, strict=True):
                product = slope[:, None] * (w @ product)
                found.append(jnp.linalg.svd(product, compute_uv=False).astype(jnp.float64))
            with np.errstate(divide="ignore"):
                return np.log(np.asarray(found))

    weights = np.concatenate([f.first[None], f.hidden]).astype(float)
    logs = np.asarray(f.log_abs_slopes, float)
    with jax.enable_x64(True):
        ours = jaxsat.spectrum.log_singular_values_of_product(weights, logs, every_depth=True)
    rows = {
        "svd(J), float32": dense(jnp.float32),
        "svd(J), float64": dense(jnp.float64),
        "log domain, float64": np.asarray(ours),
        "900 digits": exact(weights, logs, tqdm),
    }
    labels = {"long_name": "ln of the singular values of one tanh network", "units": "1"}
    return xarray.Dataset(
        {
            "log_singular_values_by_method": (
                ("way", "truth_depth", "truth_index"),
                np.stack(list(rows.values())),
                labels,
            )
        },
        coords={
            "way": list(rows),
            "truth_depth": np.arange(1, options.truth_depth + 1),
            "truth_index": np.arange(1, options.truth_width + 1),
        },
    )


def exact(weights, log_slopes, progress):
    """ln s of every partial product by arithmetic with 900 digits."""
    import mpmath
    import numpy as np

    found = []
    with mpmath.workdps(900):
        product = mpmath.eye(weights.shape[1])
        for w, logs in progress(list(zip(weights, log_slopes, strict=True)), desc="900 digits", unit=" depths"):
            product = (
                mpmath.diag([mpmath.exp(mpmath.mpf(float(v))) for v in logs]) * mpmath.matrix(w.tolist()) * product
            )
            values = mpmath.svd_r(product, compute_uv=False)
            found.append(sorted((float(mpmath.log(abs(v))) for v in values), reverse=True))
    return np.array(found)


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt

    from jaxsat.results import estimates, plotting

    values = dataset.log_singular_values
    depths = [d for d in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if d <= options.depth]
    color = {name: plotting.COLORS[i] for i, name in enumerate(options.activations)}
    with plotting.style():
        columns = len(options.activations)
        fig = plt.figure(figsize=(plotting.PAGE, 8.2), layout="constrained")
        upper, lower = fig.subfigures(2, 1, height_ratios=[1.35, 1])
        ridges = upper.subplots(2, columns, squeeze=False, sharey=True)
        for row, ensemble in zip(ridges, ("gaussian", "orthogonal"), strict=True):
            for ax, name in zip(row, options.activations, strict=True):
                shown = values.sel(activation=name, ensemble=ensemble, factor=1.0)
                finite = shown.sel(depth=depths).values
                finite = finite[np.isfinite(finite)]
                edges = np.linspace(np.quantile(finite, 0.01) - 1, finite.max() + 1, 61)
                middle = (edges[1:] + edges[:-1]) / 2
                for level, depth in reversed(list(enumerate(depths))):
                    found = estimates.density(shown.sel(depth=depth).values, edges)
                    peak = max(found.high.max(), 1e-12)
                    low, mid, high = (1.5 * v / peak for v in (found.low, found.estimate, found.high))
                    plotting.ridge(ax, middle, low, mid, high, -level, color[name])
                ax.set_yticks(-np.arange(len(depths)), labels=[str(d) for d in depths])
                ax.set_xlim(edges[0], edges[-1])
                ax.set_title(name if ensemble == "gaussian" else "")
            row[0].set_ylabel(f"{ensemble} weights\ndepth $l$ (layers)")
        upper.supxlabel(r"$\ln s$ of $\partial x_l/\partial x_0$, at the critical scale", fontsize=7.5)

        spread, truth = lower.subplots(1, 2)
        condition = (values.isel(index=0) - values.where(np.isfinite(values)).min("index")) / np.log(10)
        for name in options.activations:
            for ensemble, line in (("gaussian", "-"), ("orthogonal", "--")):
                for factor in options.factors:
                    shown = condition.sel(activation=name, ensemble=ensemble, factor=factor).values
                    low, mid, high = estimates.band(np.where(np.isfinite(shown), shown, np.nan), axis=0)
                    if np.isfinite(mid).any() and factor == 1.0:
                        plotting.median_band(
                            spread, dataset.depth.values, (low, np.full_like(mid, np.nan), high), color[name]
                        )
                    width = 1.1 if factor == 1.0 else 0.4
                    spread.plot(dataset.depth, mid, line, color=color[name], lw=width)
            spread.plot([], [], color=color[name], label=name)
        spread.plot([], [], "k-", label="gaussian")
        spread.plot([], [], "k--", label="orthogonal")
        for bits, label in ((23, "1/eps, float32"), (52, "1/eps, float64")):
            spread.axhline(bits * np.log10(2), color="0.5", lw=0.7, ls=":")
            spread.text(1.1, bits * np.log10(2), label, fontsize=5.5, color="0.4", va="bottom")
        spread.set(
            xscale="log",
            yscale="log",
            xlabel="depth $l$ (layers)",
            ylabel=r"$\log_{10}(s_1/\,$smallest nonzero $s)$",
        )
        spread.set_ylim(0.3, None)
        spread.legend(ncols=2)

        ways = dataset.log_singular_values_by_method
        true = ways.sel(way="900 digits").values
        steps = dataset.truth_depth.values
        index = np.unique(np.linspace(0, options.truth_width - 1, 7).round().astype(int))
        every = slice(None, None, max(1, len(steps) // 20))
        single, double = (true[:, 0] + np.log(np.finfo(dtype).eps) for dtype in (np.float32, np.float64))
        plotting.noise_region(truth, steps, double, single, "below eps $s_1$: noise in float32", "....")
        plotting.noise_region(truth, steps, true.min() - 60, double, "noise in float64 too", "////")
        for way, style in (("svd(J), float32", ":"), ("svd(J), float64", "--")):
            truth.plot(
                steps,
                ways.sel(way=way).values[:, index],
                style,
                color=plotting.COLORS[way.endswith("64")],
                lw=0.9,
            )
            truth.plot([], [], style, color=plotting.COLORS[way.endswith("64")], label=way)
        truth.plot(steps, true[:, index], "k-", lw=0.6)
        truth.plot([], [], "k-", lw=0.6, label="900 digits")
        truth.plot(
            steps[every],
            ways.sel(way="log domain, float64").values[every][:, index],
            "o",
            color=plotting.COLORS[2],
            ms=2.2,
            mfc="none",
            mew=0.6,
        )
        error = np.abs(ways.sel(way="log domain, float64").values - true).max()
        truth.plot(
            [],
            [],
            "o",
            color=plotting.COLORS[2],
            mfc="none",
            label=f"log domain (error < {10.0 ** np.ceil(np.log10(error)):.0e})",
        )
        truth.set(xlabel="depth $l$ (layers)", ylabel=r"$\ln s$", ylim=(true.min() - 30, true.max() + 3))
        truth.set_title(f"one tanh network, width {options.truth_width}")
        truth.legend(loc="lower left")
        plotting.panel_letters([ridges[0, 0], ridges[1, 0], spread, truth])
        crossing = " (where growth of finite networks, L = 100, n = 128, crosses zero)"
        scales = [f"{n} {CRITICAL[n]:g}{crossing if n == 'sigmoid' else ''}" for n in options.activations]
        footer = (
            f"{options.seeds} seeds (root {options.root_seed}), n = {options.width}, no biases, gaussian input of unit mean square.\n"
            f"Critical scales: {', '.join(scales)}.\n"
            "a, b: density pooled over seeds, each ridge scaled to its peak, darker: 95 % bootstrap band over seeds; zero singular values (relu, hard_tanh) are left out. "
            "c: median and,\nat the critical scale (thick), 5-95 % of seeds; thin: "
            f"{', '.join(f'{f:g}' for f in options.factors if f != 1.0)} times that scale. "
            f"d: seven of the singular values, from the largest to the smallest. {dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


if __name__ == "__main__":
    command.run(Options, main, __doc__)
