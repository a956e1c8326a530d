"""The figures of ``saturation_during_training``, a question each, put together from their panels."""

from __future__ import annotations

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from analyses.saturation_during_training import INITIALISATIONS, Options, curves
from analyses.shared import layouts

KINDS = tuple(INITIALISATIONS)


def shown_fates(options: Options) -> list[tuple[int, str]]:
    """Return depth and initialisation of the sigmoid networks that are shown."""
    return [(options.shown[0], KINDS[0]), (options.shown[0], KINDS[1]), (options.shown[1], KINDS[0])]


def draw_sigmoid(options: Options, dataset):
    """Return the figure of sigmoid networks in training, and of when their top layer leaves saturation."""
    figure, axes = layouts.panels(options, 4, below=_lines(options, max(options.shown)))
    count = max(options.shown)
    for ax, (depth, kind) in zip(axes, shown_fates(options), strict=False):
        curves.fate(ax, dataset.sel(depth=depth, initialisation=kind), depth, count)
        ax.set_title(f"{depth} layers, {kind}")
        ax.set(ylabel="activation")
    axes[3].set_title("top layer")
    curves.recoveries(axes[3], dataset, options.sigmoid_epochs)
    _legend(figure, options, count)
    layouts.letters(axes)
    return figure


def draw_training(options: Options, dataset):
    """Return the figure of activations against time, under either initialisation."""
    names = dataset.activation.values
    figure, axes = layouts.panels(options, 2 * len(names), most=2, below=_lines(options, options.depth + 3))
    for ax, (name, kind) in zip(axes, _pairs(names), strict=True):
        of = dataset.sel(activation=name, initialisation=kind)
        curves.lines(ax, of, "activation_std", "-")
        curves.lines(ax, of, "highest", "--")
        ax.set(ylim=(0, 1.02), ylabel="activation", title=f"{name}, {kind}")
    _legend(figure, options, options.depth, {"-": "standard deviation", "--": "98th percentile"})
    layouts.letters(axes)
    return figure


def draw_end(options: Options, dataset):
    """Return the figure of the densities of activations at the end, under either initialisation."""
    names = dataset.activation.values
    figure, axes = layouts.panels(options, 2 * len(names), most=2, below=_lines(options, options.depth))
    for ax, (name, kind) in zip(axes, _pairs(names), strict=True):
        curves.activations_of(ax, dataset.sel(activation=name, initialisation=kind), -1, str(name))
        ax.set(xlabel="activation at the end", ylabel="density", title=f"{name}, {kind}")
    _legend(figure, options, options.depth)
    layouts.letters(axes)
    return figure


def _pairs(names) -> list[tuple[str, str]]:
    return [(str(name), kind) for name in names for kind in KINDS]


def draw_start(options: Options, dataset):
    """Return the figure of activations and gradients before training, of the first activation."""
    name = str(dataset.activation.values[0])
    of_name = dataset.sel(activation=name)
    figure, axes = layouts.panels(
        options, 6, most=2 if layouts.narrow(options) else 3, below=_lines(options, options.depth + 3)
    )
    forward, backward, weights, ratios = axes[:2], axes[2:4], axes[4], axes[5]
    for kind, ahead, back in zip(KINDS, forward, backward, strict=True):
        of = of_name.sel(initialisation=kind)
        curves.activations_of(ahead, of, 0, name)
        curves.theory_of(ahead, of, name)
        ahead.set(xlabel="activation", ylabel="density", title=kind)
        curves.entries(back, of, "signal")
        back.set(xlabel=r"$\partial E/\partial h_l$", ylabel="density", title=kind)
    curves.entries(weights, of_name.sel(initialisation=KINDS[0]), "weight")
    weights.set(xlabel=r"$\partial E/\partial W$", ylabel="density", title=KINDS[0])
    curves.ratios(ratios, of_name)
    ratios.set_title("over last layer")
    handles = [Line2D([], [], color="0.3", ls=":", label="theory"), *ratios.get_legend_handles_labels()[0]]
    _legend(figure, options, options.depth, {}, handles)
    layouts.letters(axes)
    return figure


def draw_weight_gradients(options: Options, dataset):
    """Return the figure of weight gradients in training, under either initialisation, of the first activation."""
    of_name = dataset.isel(activation=0)
    figure, axes = layouts.panels(options, 2, below=_lines(options, options.depth))
    for ax, kind in zip(axes, KINDS, strict=True):
        curves.lines(ax, of_name.sel(initialisation=kind), "weight_gradient", "-", geometric=True)
        ax.set(yscale="log", title=kind)
    shown = np.concatenate([np.asarray(line.get_ydata(), float) for ax in axes for line in ax.lines])
    for ax in axes:  # bands of few networks may be wide: they do not decide what is shown
        ax.set(ylim=(np.nanmin(shown) / 3, np.nanmax(shown) * 3))
        ax.yaxis.set_minor_formatter(NullFormatter())
    axes[0].set(ylabel=r"$\partial E/\partial W$, r.m.s.")
    _legend(figure, options, options.depth)
    layouts.letters(axes)
    return figure


COLUMNS = {"column": 3, "page": 8}  # of a legend


def _lines(options: Options, entries: int) -> int:
    """Return the lines of a legend."""
    return -(-entries // COLUMNS[options.figure_width])


def _legend(
    figure, options: Options, count: int, lines: dict[str, str] | None = None, more: list | None = None
) -> None:
    handles = [Line2D([], [], color=c, label=f"layer {i + 1}") for i, c in enumerate(curves.colors(count))]
    handles += [Line2D([], [], color="0.4", ls=ls, label=label) for ls, label in (lines or {}).items()]
    figure.legend(
        handles=handles + (more or []), loc="outside lower center", ncols=COLUMNS[options.figure_width],
        columnspacing=1.0,
    )  # fmt: skip
