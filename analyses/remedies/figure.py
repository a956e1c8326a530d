"""The figure of ``remedies``: a row for each remedy, from the dataset alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from analyses.remedies import AILMENTS, OWN, Options, judging
from analyses.shared import panels, words
from jaxsat.results import estimates, plotting

# Colour and marker of each ailment.
LOOKS = {OWN: ("0.25", "D"), AILMENTS[0]: (plotting.COLORS[0], "o"), AILMENTS[1]: (plotting.COLORS[1], "s")}
SHIFTS = {OWN: 0.0, AILMENTS[0]: -0.14, AILMENTS[1]: 0.14}  # of a point from the middle of its row


def draw(options: Options, dataset):
    """Return the figure: gradients, Jacobians and test accuracies side by side."""
    order, bar = judging.judged_cases(options, dataset)
    with plotting.style():
        fig, axes = plt.subplots(
            1, 3, sharey=True, figsize=(plotting.PAGE, 0.24 * len(order) + 1.0), layout="constrained"
        )
        gradients, jacobians, accuracies = axes
        for row, cases in enumerate(order):
            for case in cases:
                _draw_means(gradients, row, case.ailment, case.ratios)
                _draw_means(jacobians, row, case.ailment, case.conditions[None])
                _draw_means(accuracies, row, case.ailment, case.accuracies[None], trained=True)
        for ax in axes:
            ax.set_axisbelow(True)
            ax.grid(axis="y", color="0.92", lw=0.6)
        gradients.set_yticks(range(len(order)), labels=[cases[0].remedy for cases in order])
        gradients.set_ylim(len(order) - 0.5, -0.5)
        gradients.axvline(0, color="0.6", lw=0.6)
        accuracies.axvline(bar, color="0.6", lw=0.6, ls="--")
        gradients.set(xlabel=r"$\ln\,\|\delta_1\| / \|\delta_L\|$ (nats)", title="gradient, first / last layer")
        jacobians.set(xlabel=r"$\ln\,s_1 / s_{10}$ (nats)", title="Jacobian, before training")
        accuracies.set(xlabel="test accuracy", xlim=(0, 1.02), title="after training")
        _draw_legend(fig, jacobians, options)
        plotting.panel_letters(list(axes))
        plotting.footnote(fig, _footer(options, dataset))
    return fig


def _draw_means(ax, row: int, ailment: str, values: np.ndarray, trained: bool = False) -> None:
    """Means over seeds (last axis) with their intervals: hollow before training, filled after it."""
    color, marker = LOOKS[ailment]
    y = row + SHIFTS[ailment]
    for when, of_seeds in enumerate(values, start=int(trained)):
        finite = np.where(np.isfinite(of_seeds), of_seeds, np.nan)
        middle, low, high, _ = estimates.mean_interval(finite)
        below, above = panels.bars(middle, low, high)
        ax.errorbar(
            middle, y, xerr=[[below], [above]], color=color, marker=marker, ms=3.6, mfc=color if when else "w", mew=0.7,
            elinewidth=0.8, ls="none", zorder=3 + when,
        )  # fmt: skip


def _draw_legend(fig, ax, options: Options) -> None:
    labels: dict[str, Any] = {OWN: "sets the scale itself"}
    for ailment, scale in zip(AILMENTS, options.scales, strict=True):
        labels[ailment] = rf"weights {ailment}, $\sigma_w$ = {scale:g}"
    for ailment, label in labels.items():
        color, marker = LOOKS[ailment]
        ax.plot([], [], color=color, marker=marker, ls="none", label=label)
    ax.plot([], [], color="0.5", marker="o", mfc="w", ls="none", label="hollow: before training")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)


def _footer(options: Options, dataset) -> str:
    stopped = int((dataset.diverged_at.values >= 0).sum())
    return (
        f"{options.ailing} network of {options.depth} layers, n = {options.width}, on digits (8 x 8), batch {options.batch_size}, {int(dataset.step[-1])} steps, "
        f"each remedy at the best of {dataset.sizes['rate']} learning rates (lowest\nmedian training loss on {options.choosing} other seeds). "
        f"Mean and 95 % interval over {options.seeds} seeds (root {options.root_seed}). Rows are sorted by test accuracy in the worse case. "
        r"$\delta_l$: dE/dh$_l$,"
        "\n"
        r"root mean square over examples; $s_1 .. s_{10}$: the ten largest singular values of dx$_L$/dx$_1$ at one image. "
        f"Dashed: {judging.RECOVERED:.0%} of the way from chance to the\nfirst row. {stopped} of {dataset.loss.isel(step=-1).size} networks diverged, over all rates. "
        f"{words.made(dataset)}"
    )
