"""Where do activations saturate, and where does each dtype lose their slope?

The figure shows value, slope and ln slope of the catalogue. The saturated region, where the slope is at most 5 % of the
largest, is shaded. For each dtype it shows the points where the true slope becomes subnormal, where it rounds to zero, and
where the value rounds to its limit. It also shows the slopes of automatic differentiation: they lose half their digits
first, and become 0 long before the true slopes do.
"""

from __future__ import annotations

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analyses.shared import command, panels
from jaxsat import activations
from jaxsat.activations import precision
from jaxsat.results import plotting, provenance

NAME = "activations_saturate"
DTYPES = ("float64", "float32", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn")
SIDES = ("left", "right")
SPURIOUS = ("sigmoid", "tanh")
POINTS = ("subnormal", "zero", "rounds_to_limit")


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


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_numbers(options, "span", above=0)
    command.check_at_least(options, points=2)
    if options.activations:
        command.check_named(options.activations)
    command.produce(options, NAME, measure, draw)


def measure(options: Options) -> xarray.Dataset:
    """Return curves in float64, underflow points, and the slopes of automatic differentiation beside the true slopes."""
    started = time.perf_counter()
    names = options.activations or activations.names()
    records = [activations.get(name) for name in names]
    dataset = xarray.merge([_curves(options, records), _underflow(records), _far_slopes()])
    dataset = dataset.assign_coords(activation=list(names))
    dataset.attrs = provenance.of_run(
        {"analysis": NAME, "activations": list(names), "span": options.span, "seed": options.seed},
        seconds=time.perf_counter() - started,
    )
    dataset.attrs["far_out"] = _far_out()
    print(dataset.attrs["far_out"])
    return dataset


def _curves(options: Options, records) -> xarray.Dataset:
    """Return value, slope and ln |slope|, all activations in a single program."""
    x = np.linspace(-options.span, options.span, options.points)

    @jax.jit
    def of_all(x):
        return {
            "value": jnp.stack([phi(x) for phi in records]),
            "slope": jnp.stack([phi.slope(x) for phi in records]),
            "log_abs_slope": jnp.stack([phi.log_abs_slope(x) for phi in records]),
        }

    with jax.enable_x64(True):
        found = {name: (("activation", "x"), np.asarray(values)) for name, values in of_all(x).items()}
    return xarray.Dataset(found | {"max_slope": ("activation", [phi.max_slope for phi in records])}, {"x": x})


def _underflow(records) -> xarray.Dataset:
    """Return the underflow points of every activation, dtype and side."""
    points = [[[precision.underflow_points(a, d, side) for side in SIDES] for d in DTYPES] for a in records]
    told = {
        "long_name": "distance from 0 beyond which the dtype loses the slope, or the distance from the limit",
        "units": "1",
    }
    dataset = xarray.Dataset(coords={"dtype": list(DTYPES), "side": list(SIDES)})
    for field in POINTS:
        values = [[[getattr(point, field) for point in sides] for sides in dtypes] for dtypes in points]
        dataset[field] = ("activation", "dtype", "side"), values, told
    return dataset


def _far_slopes() -> xarray.Dataset:
    """Return ln slopes far out: the true ones, and those of automatic differentiation in two dtypes."""
    far, theirs = np.linspace(0, 60, 601), {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}
    with jax.enable_x64(True):
        logs = {"true": [np.asarray(activations.get(name).log_abs_slope(far)) for name in SPURIOUS]}
        for dtype in ("float64", "float32"):
            x = jnp.asarray(far, dtype)
            slopes = [jax.vmap(jax.grad(theirs[name]))(x) for name in SPURIOUS]
            with np.errstate(divide="ignore"):
                logs[f"autodiff in {dtype}"] = [np.log(np.asarray(slope, float)) for slope in slopes]
    values = ("source", "saturating", "x_far"), np.array(list(logs.values()))
    return xarray.Dataset({"log_slope_far": values}, {"source": list(logs), "saturating": list(SPURIOUS), "x_far": far})


def _far_out() -> str:
    """Return in words how far sigma(1000) and sigma(1001) are from 1, and from where on each dtype rounds them to 1."""
    sigmoid = activations.get("sigmoid")
    assert sigmoid.log_right_gap is not None
    with jax.enable_x64(True):
        gaps = [float(sigmoid.log_right_gap(jnp.asarray(at))) for at in (1000.0, 1001.0)]
    points = [f"{precision.underflow_points('sigmoid', d).rounds_to_limit:.2f} in {d}" for d in DTYPES]
    return (
        f"sigmoid: 1 - s(1000) = exp({gaps[0]:g}) and 1 - s(1001) = exp({gaps[1]:g}). They differ by a factor e, but both "
        f"values round to 1 in every dtype here, from x = {', '.join(points)}"
    )


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure, from the dataset alone."""
    names = dataset.activation.values
    columns = 5 if len(names) > 6 else 3
    rows = -(-len(names) // columns)
    with plotting.style():
        fig = plt.figure(figsize=(plotting.PAGE, 1.35 * rows + 4.6), layout="constrained")
        upper, lower = panels.stacked(fig, [1.35 * rows, 4.4])
        grid = upper.subplots(rows, columns, sharex=True, squeeze=False)
        for ax, name in zip(grid.flat, names, strict=False):
            _draw_activation(ax, dataset.sel(activation=name), name)
        for ax in grid.flat[len(names) :]:
            ax.set_axis_off()
        upper.supxlabel("$x$", fontsize=7.5)
        upper.legend(handles=_key(), loc="outside upper center", ncols=4)
        points, autodiff = lower.subplots(1, 2, width_ratios=[1.25, 1])
        _draw_points(points, dataset)
        _draw_autodiff(autodiff, dataset)
        plotting.panel_letters([grid[0, 0], points, autodiff])
        text = (
            "b: the true functions. Going out from 0, marks show the x at which the slope becomes subnormal (open) and rounds to 0 "
            "(filled), and at which the value rounds to its limit (bar).\n"
            f"c: slopes of jax.nn.sigmoid and jax.numpy.tanh by jax.grad. {dataset.attrs['created'][:10]}, {dataset.attrs['device']}."
        )
        plotting.footnote(fig, text)
    return fig


def _draw_activation(ax, one, name: str) -> None:
    """Value and slope of one activation, and ln slope on a second axis; the saturated region shaded."""
    x = one.x.values
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


def _key() -> list:
    """The legend of the upper panels."""
    return [
        Line2D([], [], color=plotting.COLORS[0], label=r"value $\phi(x)$ (left axis)"),
        Line2D([], [], color=plotting.COLORS[1], label=r"slope $\phi'(x)$ (left axis)"),
        Line2D([], [], color=plotting.COLORS[2], ls="--", label=r"$\ln|\phi'(x)|$ (right axis)"),
        Rectangle((0, 0), 1, 1, color="0.88", label="slope at most 5 % of the largest"),
    ]


def _draw_autodiff(ax, dataset) -> None:
    """True ln slopes, and those of automatic differentiation until they are 0."""
    for i, name in enumerate(SPURIOUS):
        for source, line in zip(dataset.source.values, ("-", "--", ":"), strict=True):
            values = dataset.log_slope_far.sel(saturating=name, source=source).values
            shown = np.where(np.isfinite(values), values, np.nan)
            ax.plot(dataset.x_far, shown, line, color=plotting.COLORS[i], label=f"{name}, {source}")
            if not np.isfinite(values).all():
                last = np.flatnonzero(np.isfinite(values))[-1]
                ax.plot(dataset.x_far[last], values[last], "x", color=plotting.COLORS[i], ms=5)
    ax.set(xlabel="$x$", ylabel=r"$\ln|\phi'(x)|$", ylim=(-62, 4), xlim=(0, 45))
    ax.legend(loc="lower left")
    ax.text(44, 1, "cross: autodiff returns 0 from here on", fontsize=6, va="top", ha="right")


def _draw_points(ax, dataset) -> None:
    """Underflow points of the softly saturating sides: a row for each, dtypes by colour."""
    rows, symmetric = _soft_sides(dataset)
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
    ax.set(
        xscale="log",
        xlabel="$|x|$  (points beyond the axis are written out)",
        xlim=(0.8, 3e4),
        ylim=(len(rows) - 0.4, -0.6),
    )
    for i, (name, side) in enumerate(rows):
        far = dataset.zero.sel(activation=name, side=side)
        beyond = [f"{d} {v:.0e}" for d, v in zip(dataset["dtype"].values, far.values, strict=True) if v > 3e4]
        ax.text(3e4, i + 0.42, "zero at " + "  ".join(beyond) if beyond else "", fontsize=4.5, ha="right", va="center")
    labels = [n if symmetric[n] else f"{n}, {'x > 0' if side == 'right' else 'x < 0'}" for n, side in rows]
    ax.set_yticks(range(len(rows)), labels)
    ax.legend(loc="lower right", title="dtype", title_fontsize=6.5)


def _soft_sides(dataset) -> tuple[list[tuple[str, str]], dict[str, bool]]:
    """Return (activation, side) of the sides that saturate softly, both together where they mirror each other."""

    def zeros(name, side):
        return dataset.zero.sel(activation=name, side=side).values

    def soft(name, side):  # at a hard end all dtypes agree: it is a kink
        return np.isfinite(zeros(name, side)).all() and np.ptp(zeros(name, side)) > 0

    names = [str(name) for name in dataset.activation.values]
    symmetric = {name: bool(np.allclose(zeros(name, "left"), zeros(name, "right"))) for name in names}
    pairs = [(name, side) for name in names for side in ("right", "left")]
    return [(n, side) for n, side in pairs if soft(n, side) and not (side == "left" and symmetric[n])], symmetric


if __name__ == "__main__":
    command.run(Options, main, __doc__)
