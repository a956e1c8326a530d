"""The figure of ``dying_relu``: one function for each panel, from the dataset alone."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib import pyplot as plt

from analyses.dying_relu import Options
from analyses.dying_relu.measuring import shares_of_clipped, shares_of_units
from analyses.shared import panels, words
from jaxsat.results import estimates, plotting

KINDS = {"born": "born dead", "kept": "born dead, still dead", "died": "died in training"}
TITLES = (
    "at the end", "networks lost", "in time", "by layer", "came back", "with a leak", "accuracy", "the cost",
)  # fmt: skip


def draw(options: Options, dataset):
    """Return the figure of eight panels."""
    found, clipped = shares_of_units(dataset), shares_of_clipped(dataset)
    close, plain = found.isel(activation=0), found.isel(bias_scale=0)
    labels = [*options.activations, *(f"leak {leak:g}" for leak in options.leaks)]
    unit = f"dead {labels[0]} units, share"
    with plotting.style():
        fig, axes = plt.subplots(2, 4, figsize=(plotting.PAGE, 4.1), layout="constrained")
        (ends, lost, course, kinds), (revived, leaks, learnt, cost) = axes
        _draw_ends(ends, close, clipped, unit)
        _draw_lost(lost, close, options.seeds)
        _draw_course(fig, course, close.isel(bias_scale=0), unit)
        _draw_kinds(kinds, close.isel(bias_scale=-1).sel(learning_rate=options.shown_rate), unit)
        _draw_revived(revived, found.isel(bias_scale=-1).sel(learning_rate=options.shown_rate), labels)
        for i, label in enumerate(labels):
            _against_rate(leaks, plain.isel(activation=i), "end", i, label)
            _against_rate(learnt, plain.isel(activation=i), "accuracy", i, label)
        leaks.set(xscale="log", xlabel="learning rate", ylabel="share of units off")
        leaks.set(ylim=(None, 1.5 * leaks.get_ylim()[1]))
        learnt.set(xscale="log", xlabel="learning rate", ylabel="test accuracy", ylim=(-0.04, 1.04))
        _draw_cost(cost, close, clipped, unit)
        for ax, where in ((ends, "upper left"), (lost, "upper left"), (kinds, "upper left"), (revived, "lower right"),
                          (leaks, "upper left"), (learnt, "lower left")):  # fmt: skip
            ax.legend(loc=where, handlelength=1.2, borderaxespad=0.1)
        for ax, title in zip(axes.flat, TITLES, strict=True):
            ax.set_title(title)
        plotting.panel_letters(list(axes.flat))
        plotting.footnote(fig, _footer(options, dataset, close, clipped))
    return fig


def _draw_ends(ax, close, clipped, unit: str) -> None:
    """Dead units at the end against the learning rate, a colour for each bias scale; dotted: born dead."""
    for i, bias in enumerate(close.bias_scale.values):
        one = close.isel(bias_scale=i)
        _against_rate(ax, one, "end", i, rf"$\sigma_b$ = {bias:g}")
        ax.axhline(float(one.born.mean()), color=plotting.COLORS[i], ls=":", lw=0.8)
    smallest = close.bias_scale.values[0]
    _against_rate(ax, clipped, "end", close.sizes["bias_scale"], rf"$\sigma_b$ = {smallest:g}, clipped")
    ax.plot([], [], color="0.4", ls=":", lw=0.8, label="born dead")
    ax.set(xscale="log", xlabel="learning rate", ylabel=unit)
    ax.set(ylim=(None, 1.9 * ax.get_ylim()[1]))


def _draw_lost(ax, close, seeds: int) -> None:
    """Shares of networks with a layer all dead, and of networks that diverged."""
    rates = close.learning_rate.values
    for i in range(close.sizes["bias_scale"]):
        for name, ls, filled in (("blocked", "-", True), ("diverged", "--", False)):
            lost = close.isel(bias_scale=i)[name].sum("seed").transpose("learning_rate")
            share, low, high, _ = estimates.share_interval(lost.values, seeds)
            color = plotting.COLORS[i]
            ax.errorbar(
                rates, share, panels.bars(share, low, high), color=color, ls=ls, marker=plotting.MARKERS[i],
                mfc=color if filled else "white", mew=0.7, elinewidth=0.6, lw=0.9,
            )  # fmt: skip
    ax.plot([], [], color="0.4", label="a layer dead")
    ax.plot([], [], color="0.4", ls="--", label="diverged")
    ax.set(xscale="log", xlabel="learning rate", ylabel="share of networks")
    ax.set(ylim=(-0.04, 1.4), yticks=(0, 0.5, 1))


def _draw_course(fig, ax, plain, unit: str) -> None:
    """Dead units against updates, a colour for each learning rate; dashed where some network diverged."""
    rates, steps = plain.learning_rate.values, plain.step.values
    colors = plotting.scale_colors(rates)
    for rate in rates:
        values = plain.sel(learning_rate=rate).course.transpose("step", "seed").values
        mean, low, high, sound = _shares(values)
        style = "--" if sound[0] < values.shape[1] else "-"
        ax.plot(steps, mean, color=colors.to_rgba(rate), ls=style)
        ax.fill_between(steps, low, high, color=colors.to_rgba(rate), alpha=0.2, lw=0)
    ax.set(xscale="symlog", xlabel="updates", ylabel=unit, xlim=(0, None), ylim=(-0.01, 1.5 * ax.get_ylim()[1]))
    bar = fig.colorbar(colors, cax=ax.inset_axes((0.08, 0.94, 0.6, 0.035)), orientation="horizontal")
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
        marks = {"marker": plotting.MARKERS[i], "mec": plotting.COLORS[i], "mfc": "none", "ms": 2.2, "mew": 0.5}
        ax.plot(one.end.values.ravel(), one.accuracy.values.ravel(), ls="none", **marks)
    ax.set(xlabel=unit, ylabel="test accuracy", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))


def _shares(values):
    """Return the mean over networks of shares with its interval, which ends at 0 and 1."""
    mean, low, high, count = estimates.mean_interval(values)
    return mean, np.maximum(low, 0), np.minimum(high, 1), count


def _against_rate(ax, one, name: str, i: int, label: str) -> None:
    """Means over networks with their intervals; hollow where some diverged, a cross where all did."""
    rates = one.learning_rate.values
    mean, low, high, count = _shares(one[name].transpose("learning_rate", "seed").values)
    color, marker = plotting.COLORS[i], plotting.MARKERS[i]
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
    mean, low, high, _ = _shares(of.transpose("layer", "seed").values)
    marks = {"color": plotting.COLORS[i], "marker": plotting.MARKERS[i], "lw": 0.6, "ls": ":", "elinewidth": 0.8}
    ax.errorbar(of.layer.values + shift, mean, panels.bars(mean, low, high), **marks, label=label)


def _footer(options: Options, dataset, close, clipped) -> str:
    once, back = (close[n].sum([d for d in close[n].dims if d != "layer"]).values for n in ("once_off", "came_back"))
    plain, first = close.isel(bias_scale=0), options.activations[0]
    sound = plain.isel(learning_rate=~plain.diverged.any("seed").values)
    gone = int((dataset.diverged_at >= 0).sum()) + int((dataset.clipped_diverged_at >= 0).sum())
    text = (
        f"{dataset.diverged_at.size + dataset.clipped_diverged_at.size} networks, L = {options.depth}, n = {options.width}, gaussian weights, sigma_w = {options.weight_scale:.4g}, on digits; plain gradient descent, batch {options.batch_size}, {options.epochs} epochs; "
        f"{options.seeds} seeds (root {options.root_seed}). Means with 95 % intervals over seeds; shares of networks with Wilson's. Dead or off: pre-activation at most 0 for every training input "
        "(for relu: slope 0). Came back: off at a recorded step, on at a later step. "
        f"The {gone} networks that diverged are shown in b only. Hollow and dashed: some diverged (no bar: a single network is left); cross: all diverged. a to d, h: {first}; c, f, g: sigma_b = {dataset.bias_scale.values[0]:g}; "
        f"d, e: sigma_b = {dataset.bias_scale.values[-1]:g}, rate {options.shown_rate:g}; clipped: gradients of norm at most {options.clip:g}. {first}, all rates and biases, unclipped: "
        f"{back[0]} of {once[0]} units of the first layer that were once dead came back (theory: none), and {back[1:].sum()} of {once[1:].sum()} units of deeper layers. "
        f"At the smallest sigma_b {_effect(sound)} without clipping (rates at which no network diverged), and {_effect(clipped)} with clipping. {words.made(dataset)}"
    )
    return textwrap.fill(text, 185)


def _effect(of) -> str:
    """Return in words how the share of dead units changes from the smallest rate to the largest, seed by seed."""
    if of.sizes["learning_rate"] < 2:
        return "the effect of the rate is unknown"
    ends = of.isel(learning_rate=[0, -1])
    low, high = ends.learning_rate.values
    change = 100 * ends.end.diff("learning_rate").values.ravel()
    return f"the share of dead units changes by {words.mean_of(change, '.1f')} percentage points from rate {low:g} to rate {high:g}"
