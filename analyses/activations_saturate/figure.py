"""The figures of ``activations_saturate``, from the dataset alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analyses.activations_saturate import SPURIOUS, Options
from analyses.shared import layouts
from jaxsat.results import drawing

FARTHEST = 3e4  # |x| at the end of the axis


def draw_curves(options: Options, dataset, shown: Sequence[str]):
    """Return the figure of some activations: value, slope and ln slope."""
    figure, axes = layouts.panels(options, len(shown), most=2 if layouts.narrow(options) else None, below=2)
    for ax, name in zip(axes, shown, strict=True):
        _draw_activation(ax, dataset.sel(activation=name), name)
        ax.set_xlabel("$x$")
    figure.legend(handles=_key(), loc="outside lower center", ncols=2 if layouts.narrow(options) else 4)
    layouts.letters(axes)
    return figure


def _draw_activation(ax, one, name: str) -> None:
    """Value and slope of one activation, and ln slope on a second axis; the saturated region shaded."""
    x = one.x.values
    saturated = one.log_abs_slope.values <= np.log(0.05 * float(one.max_slope))
    ax.fill_between(x, 0, 1, where=saturated, transform=ax.get_xaxis_transform(), color="0.88", lw=0)
    ax.plot(x, one.value, color=drawing.COLORS[0])
    ax.plot(x, one.slope, color=drawing.COLORS[1])
    ax.set_ylim(-2.1, 2.1)
    ax.set_title(name)
    log_ax = ax.twinx()
    log_ax.plot(x, one.log_abs_slope, color=drawing.COLORS[2], ls="--", lw=0.9)
    log_ax.set_ylim(-16, 2)
    log_ax.spines["right"].set_visible(True)
    log_ax.tick_params(axis="y", labelright=ax.get_subplotspec().is_last_col())
    ax.tick_params(axis="y", labelleft=ax.get_subplotspec().is_first_col())


def _key() -> list:
    """The legend of the upper panels."""
    return [
        Line2D([], [], color=drawing.COLORS[0], label=r"value $\phi(x)$ (left axis)"),
        Line2D([], [], color=drawing.COLORS[1], label=r"slope $\phi'(x)$ (left axis)"),
        Line2D([], [], color=drawing.COLORS[2], ls="--", label=r"$\ln|\phi'(x)|$ (right axis)"),
        Rectangle((0, 0), 1, 1, color="0.88", label="slope at most 5 % of the largest"),
    ]


def draw_autodiff(options: Options, dataset):
    """Return the figure of true ln slopes, and those of automatic differentiation until they are 0."""
    figure, axes = layouts.panels(options, len(SPURIOUS), below=2)
    for ax, name in zip(axes, SPURIOUS, strict=True):
        for i, (source, line) in enumerate(zip(dataset.source.values, ("-", "--", ":"), strict=True)):
            values = dataset.log_slope_far.sel(saturating=name, source=source).values
            shown, color = np.where(np.isfinite(values), values, np.nan), drawing.COLORS[i]
            ax.plot(dataset.x_far, shown, line, color=color, label=str(source) if ax is axes[0] else None)
            if not np.isfinite(values).all():
                last = np.flatnonzero(np.isfinite(values))[-1]
                ax.plot(dataset.x_far[last], values[last], "x", color=color, ms=5)
        ax.set(xlabel="$x$", ylim=(-62, 4), xlim=(0, 45), title=name)
    axes[0].set_ylabel(r"$\ln|\phi'(x)|$")
    axes[0].plot([], [], "kx", ms=5, label="0 from here on")
    figure.legend(loc="outside lower center", ncols=2 if layouts.narrow(options) else 4)
    layouts.letters(axes)
    return figure


def draw_points(options: Options, dataset):
    """Return the figure of the points where dtypes lose slopes: a row for each softly saturating side, dtypes by colour."""
    rows, symmetric = soft_sides(dataset)
    count = dataset.sizes["dtype"]
    figure = layouts.empty(options, max(0.3 * len(rows), 1.0) + 0.9)
    ax = figure.add_subplot()
    offsets = np.linspace(0.34, -0.34, count)
    for j, dtype in enumerate(dataset["dtype"].values):
        color = drawing.COLORS[j]
        for i, (name, side) in enumerate(rows):
            one = dataset.sel(activation=name, side=side, dtype=dtype)
            start, end, y = float(one.subnormal), float(one.zero), i + offsets[j]
            ax.plot([start, min(end, FARTHEST)], [y, y], "-", color=color, lw=0.8)
            ax.plot(start, y, "o", color=color, mfc="white", ms=2.8, mew=0.8)
            if end <= FARTHEST:
                ax.plot(end, y, "o", color=color, ms=2.8)
            else:
                ax.plot(FARTHEST, y, ">", color=color, ms=3, clip_on=False)
            if np.isfinite(one.rounds_to_limit):
                ax.plot(one.rounds_to_limit, y, "|", color=color, ms=4.5, mew=1.2)
        ax.plot([], [], "-", color=color, label=dtype)
    for y in range(len(rows) - 1):
        ax.axhline(y + 0.5, color="0.9", lw=0.5)
    ax.set(xscale="log", xlabel="$|x|$", xlim=(0.8, FARTHEST), ylim=(len(rows) - 0.4, -0.6))
    ax.set_yticks(range(len(rows)), [label(name, side, symmetric) for name, side in rows])
    ax.plot([], [], "ko", mfc="white", ms=2.8, mew=0.8, label="slope subnormal")
    ax.plot([], [], "ko", ms=2.8, label="slope 0")
    ax.plot([], [], "k|", ms=4.5, mew=1.2, ls="none", label="value is the limit")
    figure.legend(loc="outside lower center", ncols=3 if layouts.narrow(options) else 5)
    return figure


def label(name: str, side: str, symmetric: dict[str, bool]) -> str:
    """Return a side of an activation in words."""
    return name if symmetric[name] else f"{name}, {'x > 0' if side == 'right' else 'x < 0'}"


def soft_sides(dataset) -> tuple[list[tuple[str, str]], dict[str, bool]]:
    """Return (activation, side) of the sides that saturate softly, both together where they mirror each other."""

    def zeros(name, side):
        return dataset.zero.sel(activation=name, side=side).values

    def soft(name, side):  # at a hard end all dtypes agree: it is a kink
        return np.isfinite(zeros(name, side)).all() and np.ptp(zeros(name, side)) > 0

    names = [str(name) for name in dataset.activation.values]
    symmetric = {name: bool(np.allclose(zeros(name, "left"), zeros(name, "right"))) for name in names}
    pairs = [(name, side) for name in names for side in ("right", "left")]
    return [(n, side) for n, side in pairs if soft(n, side) and not (side == "left" and symmetric[n])], symmetric
