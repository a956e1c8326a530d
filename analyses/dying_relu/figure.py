"""The figure of ``dying_relu``: one function for each panel, from the dataset alone."""

from __future__ import annotations

import numpy as np
from matplotlib.lines import Line2D

from analyses.dying_relu import Options
from analyses.dying_relu.measuring import shares_of_clipped, shares_of_units
from analyses.shared import layouts, panels
from jaxsat.results import drawing, estimates

KINDS = {"born": "born dead", "kept": "still dead", "died": "died"}


def labels_of(options: Options) -> list[str]:
    """Return the names of the activations that are compared."""
    return [*options.activations, *(f"leak {leak:g}" for leak in options.leaks)]


def unit_of(options: Options) -> str:
    """Return what is counted, as axes say it."""
    return f"dead {options.activations[0]} units, share"


def draw_rates(options: Options, dataset):
    """Return the figure of dead units against learning rate and time, of networks lost, and of what dead units cost."""
    found, clipped = shares_of_units(dataset), shares_of_clipped(dataset)
    close, unit = found.isel(activation=0), unit_of(options)
    figure, axes = layouts.panels(options, 4, below=3 if layouts.narrow(options) else 2)
    ends, lost, course, cost = axes
    _draw_ends(ends, close, clipped, unit)
    _draw_lost(lost, close)
    _draw_course(course, close.isel(bias_scale=0), unit)
    _draw_cost(cost, close, clipped, unit)
    for ax, title in zip(axes, ("at the end", "networks lost", "in time", "the cost"), strict=True):
        ax.set_title(title)
    handles = ends.get_legend_handles_labels()[0]
    handles += [
        Line2D([], [], color="0.4", label="b: a layer dead"),
        Line2D([], [], color="0.4", ls="--", label="b: diverged"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if layouts.narrow(options) else 4)
    layouts.letters(axes)
    return figure


def draw_layers(options: Options, dataset):
    """Return the figure of dead units by layer, and of units that came back."""
    at = {"learning_rate": options.shown_rate}
    found = shares_of_units(dataset).isel(bias_scale=-1).sel(at)
    figure, axes = layouts.panels(options, 2)
    kinds, revived = axes
    _draw_kinds(kinds, found.isel(activation=0), unit_of(options))
    _draw_revived(revived, found, labels_of(options))
    kinds.set_title("dead")
    revived.set_title("came back")
    for ax in axes:
        ax.legend(loc="upper left", handlelength=1.2, borderaxespad=0.1)
    layouts.letters(axes)
    return figure


def draw_leaks(options: Options, dataset):
    """Return the figure of units off, and of test accuracies, with and without a leak."""
    plain, labels = shares_of_units(dataset).isel(bias_scale=0), labels_of(options)
    figure, axes = layouts.panels(options, 2, below=1)
    leaks, learnt = axes
    for i, name in enumerate(labels):
        _against_rate(leaks, plain.isel(activation=i), "end", i, name)
        _against_rate(learnt, plain.isel(activation=i), "accuracy", i, name)
    leaks.set(xscale="log", xlabel="learning rate", ylabel="share of units off", title="off at the end")
    learnt.set(xscale="log", xlabel="learning rate", ylabel="test accuracy", ylim=(-0.04, 1.04), title="accuracy")
    figure.legend(*leaks.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    layouts.letters(axes)
    return figure


def _draw_ends(ax, close, clipped, unit: str) -> None:
    """Dead units at the end against the learning rate, a colour for each bias scale; dotted: born dead."""
    for i, bias in enumerate(close.bias_scale.values):
        one = close.isel(bias_scale=i)
        _against_rate(ax, one, "end", i, rf"$\sigma_b$ = {bias:g}")
        ax.axhline(float(one.born.mean()), color=drawing.COLORS[i], ls=":", lw=0.8)
    smallest = close.bias_scale.values[0]
    _against_rate(ax, clipped, "end", close.sizes["bias_scale"], rf"$\sigma_b$ = {smallest:g}, clipped")
    ax.plot([], [], color="0.4", ls=":", lw=0.8, label="born dead")
    ax.set(xscale="log", xlabel="learning rate", ylabel=unit)


def _draw_lost(ax, close) -> None:
    """Shares of networks with a layer all dead, among those that did not diverge; and of networks that diverged."""
    rates = close.learning_rate.values
    for i in range(close.sizes["bias_scale"]):
        for name, ls, filled in (("blocked", "-", True), ("diverged", "--", False)):
            share, low, high = networks_lost(close.isel(bias_scale=i), name)[:3]
            color = drawing.COLORS[i]
            ax.errorbar(
                rates, share, panels.bars(share, low, high), color=color, ls=ls, marker=drawing.MARKERS[i],
                mfc=color if filled else "white", mew=0.7, elinewidth=0.6, lw=0.9,
            )  # fmt: skip
    ax.set(xscale="log", xlabel="learning rate", ylabel="share of networks")
    ax.set(ylim=(-0.04, 1.04), yticks=(0, 0.5, 1))


def _draw_course(ax, plain, unit: str) -> None:
    """Dead units against updates, a colour for each learning rate; dashed where some network diverged."""
    rates, steps = plain.learning_rate.values, plain.step.values
    colors = drawing.scale_colors(rates)
    for rate in rates:
        mean, low, high, sound = mean_of(plain.sel(learning_rate=rate).course)
        style = "--" if sound[0] < plain.sizes["seed"] else "-"
        ax.plot(steps, mean, color=colors.to_rgba(rate), ls=style)
        ax.fill_between(steps, low, high, color=colors.to_rgba(rate), alpha=0.2, lw=0)
    ax.set(xscale="symlog", xlabel="updates", ylabel=unit, xlim=(0, None), ylim=(-0.01, 1.5 * ax.get_ylim()[1]))
    bar = ax.figure.colorbar(colors, cax=ax.inset_axes((0.08, 0.94, 0.7, 0.04)), orientation="horizontal")
    bar.set_label("learning rate", labelpad=0)


def _draw_kinds(ax, middle, unit: str) -> None:
    """Units born dead, still dead at the end, and died in training, by layer."""
    for i, (name, label) in enumerate(KINDS.items()):
        _points(ax, middle[name], i, label)
    ax.set(xlabel="layer", ylabel=unit, xticks=middle.layer.values, ylim=(None, 1.7 * ax.get_ylim()[1]))


def _draw_revived(ax, found, labels: list[str]) -> None:
    """Units that came back, as a share of those that were ever off, by layer."""
    for i, label in enumerate(labels):
        _points(ax, found.isel(activation=i).back, i, label, shift=0.12 * i)
    ax.set(xlabel="layer", ylabel="share of units ever off", xticks=found.layer.values, ylim=(-0.04, 1.04))


def _draw_cost(ax, close, clipped, unit: str) -> None:
    """Test accuracy against dead units, network by network."""
    for i, one in enumerate([*(close.isel(bias_scale=i) for i in range(close.sizes["bias_scale"])), clipped]):
        marks = {"marker": drawing.MARKERS[i], "mec": drawing.COLORS[i], "mfc": "none", "ms": 2.2, "mew": 0.5}
        ax.plot(one.end.values.ravel(), one.accuracy.values.ravel(), ls="none", **marks)
    ax.set(xlabel=unit, ylabel="test accuracy", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))


def networks_lost(of, name: str) -> estimates.Interval:
    """Return the share of networks with a layer all dead ("blocked", of those that did not diverge), or "diverged"; by rate."""
    lost = of[name].transpose("learning_rate", "seed").values
    counted = np.ones_like(lost) if name == "diverged" else ~of.diverged.transpose("learning_rate", "seed").values
    some = counted.any(1)
    found = estimates.share_interval(lost.sum(1), np.maximum(counted.sum(1), 1))
    return estimates.Interval(*(np.where(some, part, np.nan) for part in found[:3]), counted.sum(1))


def mean_of(share) -> estimates.Interval:
    """Return the mean over networks of a share, with its interval."""
    return estimates.mean_share_interval(share.transpose(..., "seed").values, share.attrs["of"])


def _against_rate(ax, one, name: str, i: int, label: str) -> None:
    """Means over networks with their intervals; hollow where some diverged, a cross where all did."""
    rates = one.learning_rate.values
    mean, low, high, count = mean_of(one[name])
    color, marker = drawing.COLORS[i], drawing.MARKERS[i]
    ax.plot(rates, mean, color=color, lw=0.9)
    ax.errorbar(rates, mean, panels.bars(mean, low, high), color=color, ls="none", elinewidth=0.7)
    for some, fill in ((False, color), (True, "white")):
        here = (count < one.sizes["seed"]) == some
        ax.plot(rates[here], mean[here], marker, color=color, mfc=fill, mew=0.7)
    gone = count == 0
    ax.plot(rates[gone], np.full(gone.sum(), -0.01 * i), "x", color=color, mew=0.7)
    ax.plot([], [], marker=marker, color=color, label=label)


def _points(ax, of, i: int, label: str, shift: float = 0.0) -> None:
    """Means over networks with their intervals, by layer."""
    mean, low, high, _ = mean_of(of)
    marks = {"color": drawing.COLORS[i], "marker": drawing.MARKERS[i], "lw": 0.6, "ls": ":", "elinewidth": 0.8}
    ax.errorbar(of.layer.values + shift, mean, panels.bars(mean, low, high), **marks, label=label)
