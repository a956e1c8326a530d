"""The figure of ``saturation_during_training``, put together from its panels."""

from __future__ import annotations

import textwrap

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from analyses.saturation_during_training import INITIALISATIONS, PROBE, Options, curves, fates
from analyses.shared import words
from jaxsat.results import plotting

KINDS = tuple(INITIALISATIONS)


def draw(options: Options, dataset):
    """Return the figure: sigmoid networks above, the others in training below them, and the start in the last two rows."""
    names = [str(name) for name in dataset.activation.values]
    first, rows = dataset.sel(activation=names[0]), 3 + len(names)
    with plotting.style(), plt.rc_context({"axes.titlesize": 6.5}):
        fig, axes = plt.subplots(rows, 4, figsize=(plotting.PAGE, 1.62 * rows), layout="constrained")
        _draw_sigmoid(axes[0], options, dataset)
        for row, name in zip(axes[1:], names, strict=False):
            _draw_training(row, dataset.sel(activation=name), name)
        _draw_start(axes[-2], first, names[0])
        _draw_gradients(axes[-1], first, names[0])
        for ax in (axes[-2, 0], axes[-2, 2], axes[-1, 0]):
            ax.set(ylabel="density")
        _draw_legend(fig, options)
        plotting.panel_letters(list(axes.flat))
        plotting.footnote(fig, _footer(options, dataset))
    return fig


def _layers(options: Options) -> int:
    """Return the number of layers that have a colour of their own."""
    return max(options.depth, *options.shown)


def _draw_sigmoid(row, options: Options, dataset) -> None:
    """Activations of three sigmoid networks in training, and when the top layer leaves saturation."""
    shown = [(options.shown[0], KINDS[0]), (options.shown[0], KINDS[1]), (options.shown[1], KINDS[0])]
    for ax, (depth, kind) in zip(row, shown, strict=False):
        curves.fate(ax, dataset.sel(depth=depth, initialisation=kind), depth, _layers(options))
        ax.set_title(f"L = {depth}, {kind}")
    row[0].set(ylabel="sigmoid activation")
    row[3].set_title("sigmoid, top layer")
    curves.escapes(row[3], dataset, options.sigmoid_epochs)


def _draw_training(row, of_name, name: str) -> None:
    """Activations against time, and their densities at the end, under either initialisation."""
    for kind, course, end in zip(KINDS, row[:2], row[2:], strict=True):
        of = of_name.sel(initialisation=kind)
        curves.lines(course, of, "activation_std", "-")
        curves.lines(course, of, "highest", "--")
        course.set(ylim=(0, 1.02))
        curves.activations_of(end, of, -1, name)
        end.set(xlabel="activation at the end")
        for ax in (course, end):
            ax.set_title(f"{name}, {kind}")
    row[0].set(ylabel="activation")
    row[2].set(ylabel="density")


def _draw_start(row, of_name, name: str) -> None:
    """Densities of activations and of gradients at the start, under either initialisation."""
    for i, kind in enumerate(KINDS):
        of = of_name.sel(initialisation=kind)
        curves.activations_of(row[i], of, 0, name)
        curves.theory_of(row[i], of, name)
        row[i].set(xlabel="activation at the start")
        curves.entries(row[2 + i], of, "signal")
        row[2 + i].set(xlabel=r"$\partial E/\partial h$ at the start")
        for ax in (row[i], row[2 + i]):
            ax.set_title(f"{name}, {kind}")


def _draw_gradients(row, of_name, name: str) -> None:
    """Weight gradients at the start, gradients over the last layer's, and weight gradients in training."""
    curves.entries(row[0], of_name.sel(initialisation=KINDS[0]), "weight")
    row[0].set(xlabel=r"$\partial E/\partial W$ at the start")
    row[0].set_title(f"{name}, {KINDS[0]}")
    curves.ratios(row[1], of_name)
    row[1].set_title(f"{name}, at the start")
    for ax, kind in zip(row[2:], KINDS, strict=True):
        curves.lines(ax, of_name.sel(initialisation=kind), "weight_gradient", "-", geometric=True)
        ax.set_title(f"{name}, {kind}")
        ax.set(yscale="log")
    ends = [end for ax in row[2:] for end in ax.get_ylim()]
    for ax in row[2:]:
        ax.set(ylim=(min(ends), max(ends)))
        ax.yaxis.set_minor_formatter(NullFormatter())
    row[2].set(ylabel=r"$\partial E/\partial W$, r.m.s.")


def _draw_legend(fig, options: Options) -> None:
    count = _layers(options)
    handles = [Line2D([], [], color=color) for color in curves.colors(count)]
    handles += [Line2D([], [], color="0.4"), Line2D([], [], color="0.4", ls="--")]
    labels = [*(f"layer {i + 1}" for i in range(count)), "standard deviation", "98th percentile"]
    fig.legend(handles, labels, loc="outside upper center", ncols=len(handles))


def _footer(options: Options, dataset) -> str:
    first, (standard, normalised) = str(dataset.activation.values[0]), KINDS
    told = [fates.in_words(dataset, depth, kind) for depth in options.shown for kind in KINDS]
    orders = [fates.order(dataset, str(name), standard) for name in dataset.activation.values]
    at_start = [
        f"{what} {fates.ratio_at_start(dataset, first, standard, name)} {standard}, "
        f"{fates.ratio_at_start(dataset, first, normalised, name)} {normalised}"
        for what, name in (("dE/dh", "signal"), ("dE/dW", "weight_gradient"))
    ]
    accuracy = dataset.test_accuracy.sel(activation=first).isel(step=-1)
    right = [f"{words.mean_of(accuracy.sel(initialisation=kind), '.2f')} {kind}" for kind in KINDS]
    text = (
        f"Glorot & Bengio 2010, figures 2 (a to d), 3, 4, 6 to 9. On {options.sigmoid_data} (sigmoid) and {options.data} (others), n = {options.width}, uniform weights, sigma_w = 1/sqrt(3) ({standard}) or 1 ({normalised}), no biases at the start; plain gradient descent, batch {options.batch_size}, "
        f"rate {options.sigmoid_rate:g} (sigmoid), {options.rate:g} (others); {options.seeds} seeds (root {options.root_seed}), for histograms of gradients {options.start_seeds}. Bands: 95 % intervals over seeds; "
        f"a to c: mean and s.d. over units and {PROBE} training examples in a network; thin: the top layer of the others. Gradients in training: geometric means. Dotted lines, and lines of the ratios: mean field, infinite width, all inputs of the same length. Ratios, filled: dE/dh; hollow: dE/dW of single examples. "
        f"Sunk: the s.d. of the top layer has fallen below half of its start. Escaped: after that it is above its start. Sigmoid: {'; '.join(told)}. "
        f"Order in which the slope at the 98th percentile falls to a quarter: {'; '.join(orders)}. First over last layer at the start, r.m.s., {first}: {'; '.join(at_start)}. "
        f"Largest over smallest layer's dE/dW in training: {fates.spread_in_training(dataset, first, standard)} {standard}, {fates.spread_in_training(dataset, first, normalised)} {normalised}. "
        f"Test accuracy at the end, {first}: {', '.join(right)}. {words.made(dataset)}"
    )
    return textwrap.fill(text, 195)
