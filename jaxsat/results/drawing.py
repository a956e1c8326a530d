"""Draw arrays on axes. Nothing is computed or saved here, and JAX is not needed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jaxsat import checks

COLUMN, PAGE = 3.35, 6.9  # widths of a paper's column and page, in inches

# Okabe and Ito (2008): different for every kind of colour vision. Yellow is left out: it is hard to see on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#555555")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

# The smallest letters, "small", have 6.2 points; those below and above a line of a formula have 0.7 times that.
STYLE: dict[Any, Any] = {
    "font.size": 7.4,
    "axes.titlesize": "medium",
    "axes.labelsize": "small",
    "figure.labelsize": "small",
    "legend.fontsize": "small",
    "legend.title_fontsize": "small",
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLORS),
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
}


# Theory over what was measured: black dashes with a white border are seen on any colour, and the colour between them.
OVER: dict[str, Any] = {
    "color": "k", "ls": (0, (2.5, 4)), "lw": 0.9, "path_effects": [patheffects.withStroke(linewidth=1.7, foreground="w")],
}  # fmt: skip


@contextmanager
def style() -> Iterator[None]:
    """Set the style of all figures inside a with block. Nothing stays changed after it."""
    with mpl.rc_context(STYLE):
        yield


def axis_or_new(ax: Axes | None) -> Axes:
    """Return an axis that is given, or that of a new figure, as wide as a paper's column. Its layout cuts nothing off.

    Raises:
        TypeError: something else is given.
    """
    if ax is not None:
        if not isinstance(ax, Axes):
            came = checks.Shown(type(ax).__name__)
            raise TypeError(
                checks.refusal("plotting", "ax", "be an axis of matplotlib, or None for a new figure", came)
            )
        return ax
    return plt.subplots(figsize=(COLUMN, 2.6), layout="constrained")[1]


def state(ax: Axes, finding: str) -> None:
    """Write a finding above an axis, in lines that are about as long as the axis is wide."""
    figure: Any = ax.figure
    place = ax.get_subplotspec()
    columns = place.get_gridspec().ncols if place is not None else 1
    letters = max(20, int(14.5 * figure.get_size_inches()[0] / columns))
    ax.set_title(textwrap.fill(finding, letters), loc="left", fontsize="small", fontweight="bold")


def legend_below(ax: Axes, more: int = 0) -> None:
    """Put the legend below an axis; `more` lines were left out, and it says so."""
    title = f"and {more} more" if more > 0 else None
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.25), title=title, borderaxespad=0)


def row_of_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, three in a row."""
    columns = min(count, 3)
    rows = -(-count // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(PAGE * max(columns, 2) / 3, 2.4 * rows), layout="constrained", squeeze=False
    )
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return fig, list(axes.flat[:count])


def panel_letters(axes: Sequence[Axes], start: str = "a") -> None:
    """Write a letter at the upper left of each panel."""
    for i, ax in enumerate(axes):
        ax.set_title(chr(ord(start) + i), loc="left", fontweight="bold")


def median_band(ax: Axes, x: np.ndarray, low_median_high: np.ndarray, color, label: str | None = None) -> None:
    """Draw a median line over the band between two quantiles. -inf and NaN are left blank."""
    low, median, high = (np.where(np.isfinite(q), q, np.nan) for q in low_median_high)
    ax.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    ax.plot(x, median, color=color, label=label)


def ridge(ax: Axes, x: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray, base: float, color) -> None:
    """Draw a curve with its band on a base line, in front of what is there already."""
    ax.fill_between(x, base, base + middle, color=color, alpha=0.35, linewidth=0)
    ax.fill_between(x, base + low, base + high, color=color, alpha=0.5, linewidth=0)
    ax.plot(x, base + middle, color=color, lw=0.6)


def noise_region(ax: Axes, x: np.ndarray, low, high, label: str, hatch: str) -> None:
    """Hatch the region between two curves: what lies in it is rounding noise."""
    ax.fill_between(x, low, high, facecolor="none", edgecolor="0.78", hatch=hatch, linewidth=0, label=label)


def scale_colors(scales: np.ndarray) -> ScalarMappable:
    """Return a logarithmic colour map of positive scales, safe for every kind of colour vision."""
    return ScalarMappable(LogNorm(float(np.min(scales)), float(np.max(scales))), plt.get_cmap("viridis_r"))


def footnote(fig, text: str) -> None:
    """Write definitions, sizes, seeds and the date below the figure, in small letters."""
    fig.text(0.01, -0.005, text, ha="left", va="top", fontsize="small", color="0.35", wrap=False)


def sites_figure(
    labels: Sequence[str], saturated: np.ndarray, dead: np.ndarray, log_norms: np.ndarray, flagged: Sequence[bool] = ()
):
    """Return a figure of two panels over the sites of a network: shares of saturated and dead units; ln of the gradient norm.

    The labels of flagged sites are red. Where there is no room for all labels, these are kept.
    """
    with style():
        count = len(labels)
        fig, (left, right) = plt.subplots(2, 1, sharex=True, figsize=(min(PAGE, max(COLUMN, 0.35 * count + 1)), 3.6))
        x = np.arange(count)
        left.bar(x - 0.2, saturated, 0.4, color=COLORS[0], label="saturated: slope at most 5 % of the largest")
        left.bar(x + 0.2, dead, 0.4, color=COLORS[1], label="dead: slope 0 for every input")
        left.set(ylabel="share", ylim=(0, 1))
        left.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
        right.plot(x, np.where(np.isfinite(log_norms), log_norms, np.nan), color=COLORS[2], marker="o")
        gone = np.isneginf(log_norms)
        if gone.any():
            low = np.min(log_norms[np.isfinite(log_norms)], initial=0.0) - 1
            right.plot(x[gone], np.full(gone.sum(), low), "x", color=COLORS[6], label="exactly 0")
            right.legend()
            if gone.all():
                right.set_yticks([])
        right.set(ylabel=r"$\ln\,\|\partial E/\partial h\|$")
        step = max(1, count // 24)
        marked = np.array(flagged, bool) if len(flagged) else np.zeros(count, bool)
        shown = [i for i in range(count) if i % step == 0 or (marked[i] and not (i and marked[i - 1]))]
        right.set_xticks(x[shown], [labels[i] for i in shown], rotation=45, ha="right")
        for i, text in zip(shown, right.get_xticklabels(), strict=True):
            text.set_color(COLORS[1] if marked[i] else "black")
        fig.align_ylabels()
        fig.tight_layout()
    return fig


def coordinates_figure(widths: Sequence[int], names: Sequence[str], panels: Mapping[str, Sequence[np.ndarray]]):
    """Return a figure with a panel for each quantity: a line for each layer against the width, both logarithmic."""
    with style():
        fig, axes = row_of_panels(len(panels))
        for ax, (title, lines) in zip(axes, panels.items(), strict=True):
            for i, (name, line) in enumerate(zip(names, lines, strict=True)):
                shown = np.where(line > 0, line, np.nan)
                ax.loglog(
                    widths,
                    shown,
                    color=COLORS[i % len(COLORS)],
                    marker=MARKERS[i // len(COLORS) % len(MARKERS)],
                    label=name,
                )
            ax.set(xlabel="width", title=title)
            ax.set_xticks(list(widths), [str(width) for width in widths])
            ax.minorticks_off()
        axes[0].set_ylabel("root mean square")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(names), 4))
    return fig
