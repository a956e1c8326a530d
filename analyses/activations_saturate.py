"""Where do activations saturate, and where does each dtype stop seeing their slope?

Value, slope and ln slope of the catalogue, with the saturated region (slope at most 5 % of the largest) shaded; for each
dtype the points where the true slope becomes subnormal, rounds to zero, and where the value rounds to its limit; and
the slopes of automatic differentiation, which lose half their digits and then vanish long before the true ones do.
"""

from __future__ import annotations

import dataclasses

from analyses import command

NAME = "activations_saturate"
DTYPES = ("float64", "float32", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn")


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A coarser grid and six activations only."""
    activations: tuple[str, ...] = ()
    """Names from jaxsat.activations.names(); none means the whole catalogue."""
    span: float = 8.0
    """Curves are drawn over [-span, span]."""
    points: int = 1601
    """Points of each curve."""
    seed: int = 0
    """Recorded with the dataset; nothing here is random."""


QUICK = {"activations": ("sigmoid", "tanh", "softsign", "erf", "relu", "gelu"), "points": 401}
SPURIOUS = ("sigmoid", "tanh")


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    if not (0 < options.span < float("inf")):
        raise ValueError(f"span: must be positive and finite; got {options.span}.")
    if options.points < 2:
        raise ValueError(f"points: must be at least 2; got {options.points}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """Curves in float64, underflow points, and autodiff's slopes beside the true ones."""
    import time

    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray

    from jaxsat import activations
    from jaxsat.activations import precision
    from jaxsat.results import provenance

    started = time.perf_counter()
    names = options.activations or activations.names()
    records = [activations.get(name) for name in names]
    x = np.linspace(-options.span, options.span, options.points)
    far = np.linspace(0, 60, 601)
    sides = ("left", "right")
    points = [[[precision.underflow_points(a, d, side) for side in sides] for d in DTYPES] for a in records]
    with jax.enable_x64(True):
        curves = {
            "value": [np.asarray(a(x)) for a in records],
            "slope": [np.asarray(a.slope(x)) for a in records],
            "log_abs_slope": [np.asarray(a.log_abs_slope(x)) for a in records],
        }
        sigmoid = activations.get("sigmoid")
        assert sigmoid.log_right_gap is not None
        gaps = [float(sigmoid.log_right_gap(jnp.asarray(at))) for at in (1000.0, 1001.0)]
        theirs = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}
        log_slopes = {"true": [np.asarray(activations.get(n).log_abs_slope(far)) for n in SPURIOUS]}
        for dtype in ("float64", "float32"):
            autodiff = [jax.vmap(jax.grad(theirs[n]))(jnp.asarray(far, dtype)) for n in SPURIOUS]
            with np.errstate(divide="ignore"):
                log_slopes[f"autodiff in {dtype}"] = [np.log(np.asarray(a, float)) for a in autodiff]
    dataset = xarray.Dataset(
        {name: (("activation", "x"), np.stack(values)) for name, values in curves.items()}
        | {
            field: (("activation", "dtype", "side"), [[[getattr(p, field) for p in q] for q in r] for r in points])
            for field in ("subnormal", "zero", "rounds_to_limit")
        }
        | {"log_slope_far": (("source", "saturating", "x_far"), np.array(list(log_slopes.values())))}
        | {"max_slope": ("activation", [a.max_slope for a in records])},
        coords={
            "activation": list(names), "x": x, "dtype": list(DTYPES), "side": list(sides),
            "source": list(log_slopes), "saturating": list(SPURIOUS), "x_far": far,
        },
    )  # fmt: skip
    units = {"long_name": "distance from 0 beyond which the dtype loses it", "units": "1"}
    for field in ("subnormal", "zero", "rounds_to_limit"):
        dataset[field].attrs = units
    dataset.attrs = provenance.of_run(
        {"analysis": NAME, "activations": list(names), "span": options.span, "seed": options.seed},
        seconds=time.perf_counter() - started,
    )
    dataset.attrs["far_out"] = (
        f"sigmoid: 1 - s(1000) = exp({gaps[0]:g}), 1 - s(1001) = exp({gaps[1]:g}): a factor e apart, and both values "
        "round to 1 in every dtype here, from x = "
        + ", ".join(f"{precision.underflow_points('sigmoid', d).rounds_to_limit:.2f} in {d}" for d in DTYPES)
    )
    print(dataset.attrs["far_out"])
    return dataset


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt

    from jaxsat.results import plotting

    names, x = dataset.activation.values, dataset.x.values
    columns = 5 if len(names) > 6 else 3
    rows = -(-len(names) // columns)
    with plotting.style():
        fig = plt.figure(figsize=(plotting.PAGE, 1.35 * rows + 4.6), layout="constrained")
        upper, lower = fig.subfigures(2, 1, height_ratios=[1.35 * rows, 4.4])
        grid = upper.subplots(rows, columns, sharex=True, squeeze=False)
        for ax, name in zip(grid.flat, names, strict=False):
            one = dataset.sel(activation=name)
            saturated = one.log_abs_slope.values <= np.log(0.05 * float(one.max_slope))
            ax.fill_between(x, 0, 1, where=saturated, transform=ax.get_xaxis_transform(), color="0.88", lw=0)
            ax.plot(x, one.value, color=plotting.COLORS[0])
            ax.plot(x, one.slope, color=plotting.COLORS[1])
            ax.set_ylim(-2.1, 2.1)
            ax.set_title(name)
            log_ax = ax.twinx()
            log_ax.plot(x, one.log_abs_slope, color=plotting.COLORS[2], ls="--", lw=0.9)
            log_ax.set_ylim(-16, 2)
            log_ax.spines["right"].set_visible(True)
            log_ax.tick_params(axis="y", labelright=ax.get_subplotspec().is_last_col(), labelsize=6)
            ax.tick_params(axis="y", labelleft=ax.get_subplotspec().is_first_col(), labelsize=6)
        for ax in grid.flat[len(names) :]:
            ax.set_axis_off()
        upper.supxlabel("$x$", fontsize=7.5)
        key = [
            plt.Line2D([], [], color=plotting.COLORS[0], label=r"value $\phi(x)$ (left axis)"),
            plt.Line2D([], [], color=plotting.COLORS[1], label=r"slope $\phi'(x)$ (left axis)"),
            plt.Line2D([], [], color=plotting.COLORS[2], ls="--", label=r"$\ln|\phi'(x)|$ (right axis)"),
            plt.Rectangle((0, 0), 1, 1, color="0.88", label="slope at most 5 % of the largest"),
        ]
        upper.legend(handles=key, loc="outside upper center", ncols=4)

        points, autodiff = lower.subplots(1, 2, width_ratios=[1.25, 1])
        _draw_points(points, dataset)
        for i, name in enumerate(SPURIOUS):
            for source, line in zip(dataset.source.values, ("-", "--", ":"), strict=True):
                values = dataset.log_slope_far.sel(saturating=name, source=source).values
                shown = np.where(np.isfinite(values), values, np.nan)
                autodiff.plot(dataset.x_far, shown, line, color=plotting.COLORS[i], label=f"{name}, {source}")
                if not np.isfinite(values).all():
                    last = np.flatnonzero(np.isfinite(values))[-1]
                    autodiff.plot(dataset.x_far[last], values[last], "x", color=plotting.COLORS[i], ms=5)
        autodiff.set(xlabel="$x$", ylabel=r"$\ln|\phi'(x)|$", ylim=(-62, 4), xlim=(0, 45))
        autodiff.legend(loc="lower left")
        autodiff.text(44, 1, "x: autodiff returns 0 from here on", fontsize=6, va="top", ha="right")
        plotting.panel_letters([grid[0, 0], points, autodiff])
        text = (
            "b: the true functions; going out from 0, x is where the slope turns subnormal (open), rounds to 0 (filled), and "
            "the value rounds to its limit (bar).\n"
            f"c: slopes of jax.nn.sigmoid and jax.numpy.tanh by jax.grad. {dataset.attrs['created'][:10]}, {dataset.attrs['device']}."
        )
        plotting.footnote(fig, text)
    return fig


def _draw_points(ax, dataset) -> None:
    """Underflow points of the softly saturating sides, a row for each, dtypes by colour."""
    import numpy as np

    from jaxsat.results import plotting

    def zeros(name, side):
        return dataset.zero.sel(activation=name, side=side).values

    def soft(name, side):  # at a hard end all dtypes agree: it is a kink
        return np.isfinite(zeros(name, side)).all() and np.ptp(zeros(name, side)) > 0

    symmetric = {n: bool(np.allclose(zeros(n, "left"), zeros(n, "right"))) for n in dataset.activation.values}
    rows = [
        (name, side)
        for name in dataset.activation.values
        for side in ("right", "left")
        if soft(name, side) and not (side == "left" and symmetric[name])
    ]
    offsets = np.linspace(0.3, -0.3, dataset.sizes["dtype"])
    for j, dtype in enumerate(dataset["dtype"].values):
        color = plotting.COLORS[j]
        for i, (name, side) in enumerate(rows):
            one = dataset.sel(activation=name, side=side, dtype=dtype)
            y = i + offsets[j]
            ax.plot([one.subnormal, one.zero], [y, y], "-", color=color, lw=0.7)
            ax.plot(one.subnormal, y, "o", color=color, mfc="white", ms=3)
            ax.plot(one.zero, y, "o", color=color, ms=3, label=dtype if i == 0 else None)
            if np.isfinite(one.rounds_to_limit):
                ax.plot(one.rounds_to_limit, y, "|", color=color, ms=5, mew=1.2)
    ax.set(xscale="log", xlabel="$|x|$  (beyond the axis: written)", xlim=(0.8, 3e4), ylim=(len(rows) - 0.4, -0.6))
    for i, (name, side) in enumerate(rows):
        far = dataset.zero.sel(activation=name, side=side)
        beyond = [f"{d} {v:.0e}" for d, v in zip(dataset["dtype"].values, far.values, strict=True) if v > 3e4]
        ax.text(3e4, i + 0.42, "zero at " + "  ".join(beyond) if beyond else "", fontsize=4.5, ha="right", va="center")
    labels = [n if symmetric[n] else f"{n}, {'x > 0' if side == 'right' else 'x < 0'}" for n, side in rows]
    ax.set_yticks(range(len(rows)), labels)
    ax.legend(loc="lower right", title="dtype", title_fontsize=6.5)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
