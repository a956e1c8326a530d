"""The figure of ``remedies``: a row for each remedy, from the dataset alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyses.remedies import AILMENTS, OWN, Options, judging
from analyses.shared import layouts, panels
from jaxsat.results import drawing, estimates

# Colour and marker of each ailment.
LOOKS = {OWN: ("0.25", "D"), AILMENTS[0]: (drawing.COLORS[0], "o"), AILMENTS[1]: (drawing.COLORS[1], "s")}
SHIFTS = {OWN: 0.0, AILMENTS[0]: -0.14, AILMENTS[1]: 0.14}  # of a point from the middle of its row


def draw(options: Options, dataset):
    """Return the figure: test accuracies, gradients and Jacobians, a row for each remedy."""
    order, bar = judging.judged_cases(options, dataset)
    narrow = layouts.narrow(options)
    high = 0.17 * len(order)
    figure = layouts.empty(options, (2 * (high + 0.65) if narrow else high + 0.65) + 0.55)
    # In a column accuracies have a row of their own.
    grid = figure.add_gridspec(2, 2) if narrow else figure.add_gridspec(1, 3)
    places = (grid[0, :], grid[1, 0], grid[1, 1]) if narrow else (grid[0, 0], grid[0, 1], grid[0, 2])
    accuracies, gradients, jacobians = axes = [figure.add_subplot(place) for place in places]
    for row, cases in enumerate(order):
        for case in cases:
            for when, ratios in enumerate(case.ratios):
                _draw_mean(gradients, row, case.ailment, _finite_mean(ratios), trained=bool(when))
            _draw_mean(jacobians, row, case.ailment, _finite_mean(case.conditions), trained=False)
            _draw_mean(accuracies, row, case.ailment, case.accuracy_interval, trained=True)
    for ax in axes:
        ax.set_axisbelow(True)
        ax.grid(axis="y", color="0.92", lw=0.6)
        named = ax is accuracies or (narrow and ax is gradients)
        ax.set_yticks(range(len(order)), labels=[cases[0].remedy if named else "" for cases in order])
        ax.set_ylim(len(order) - 0.5, -0.5)
    gradients.axvline(0, color="0.6", lw=0.6)
    accuracies.axvline(bar, color="0.6", lw=0.6, ls="--")
    gradients.set(xlabel=r"$\ln\,\|\delta_1\| / \|\delta_L\|$ (nats)", title="gradients")
    jacobians.set(xlabel=r"$\ln\,s_1 / s_{10}$ (nats)", title="Jacobian")
    accuracies.set(xlabel="test accuracy", xlim=(0, 1.02), title="after training")
    _draw_legend(figure, jacobians, options)
    layouts.letters(axes)
    return figure


def _finite_mean(of_seeds: np.ndarray) -> estimates.Interval:
    return estimates.mean_interval(np.where(np.isfinite(of_seeds), of_seeds, np.nan))


def _draw_mean(ax, row: int, ailment: str, found: estimates.Interval, trained: bool) -> None:
    """A mean over seeds with its interval: hollow before training, filled after it."""
    color, marker = LOOKS[ailment]
    y = row + SHIFTS[ailment]
    below, above = panels.bars(*found[:3])
    ax.errorbar(
        found.estimate, y, xerr=[[below], [above]], color=color, marker=marker, ms=3.2, mfc=color if trained else "w",
        mew=0.7, elinewidth=0.8, ls="none", zorder=3 + trained,
    )  # fmt: skip


def _draw_legend(figure, ax, options: Options) -> None:
    labels: dict[str, Any] = {OWN: "sets the scale itself"}
    for ailment, scale in zip(AILMENTS, options.scales, strict=True):
        labels[ailment] = f"{ailment}: {scale:g}"
    for ailment, label in labels.items():
        color, marker = LOOKS[ailment]
        ax.plot([], [], color=color, marker=marker, ls="none", label=label)
    ax.plot([], [], color="0.5", marker="o", mfc="w", ls="none", label="hollow: at the start")
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=2 if layouts.narrow(options) else 4
    )
