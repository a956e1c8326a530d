"""The figure of ``claims``: a panel for each claim, from the dataset alone."""

from __future__ import annotations

import textwrap

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from analyses.claims import Options
from analyses.claims.judging import JudgedClaim, judged_claims
from analyses.shared import verdicts, words
from jaxsat.results import plotting

BLUE, RED, GREY = plotting.COLORS[0], plotting.COLORS[1], "0.4"
# Colour, marker and fill of a condition that meets what is wanted, misses it, or is open.
LOOKS = {True: (BLUE, "o", "full"), False: (RED, "X", "full"), None: (GREY, "s", "none")}
COLORS = {
    verdicts.HOLDS: BLUE, verdicts.DOES_NOT_HOLD: RED, verdicts.UNDECIDED: GREY, verdicts.UNDER_CONDITIONS: "k",
}  # fmt: skip


def draw(options: Options, dataset):
    """Return the figure."""
    claims = list(judged_claims(dataset))
    lines = [5 + max(len(claim.effects) for claim in claims[i : i + 2]) for i in range(0, len(claims), 2)]
    with plotting.style():
        fig, axes = plt.subplots(
            len(lines), 2, figsize=(plotting.PAGE, 0.125 * sum(lines) + 0.4), layout="constrained",
            gridspec_kw={"height_ratios": [n - 4 for n in lines]},
        )  # fmt: skip
        for ax, claim in zip(axes.flat, claims, strict=False):
            _draw_effects(ax, claim)
            _draw_title(ax, claim)
        for ax in axes.flat[len(claims) :]:
            ax.axis("off")
        _draw_legend(fig)
        plotting.footnote(fig, _footer(options, dataset))
    return fig


def _draw_effects(ax, claim: JudgedClaim) -> None:
    """The effect under each condition with its interval, what theory says, and the threshold."""
    for place, effect in enumerate(claim.effects):
        color, marker, fill = LOOKS[verdicts.meets(effect.low, effect.high, claim.wanted)]
        middle = float(claim.rows.estimate[place])
        below, above = middle - effect.low, effect.high - middle
        ax.errorbar(
            middle, place, xerr=[[below], [above]], color=color, marker=marker, fillstyle=fill, ms=3.2, mew=0.6,
            elinewidth=1.0, ls="none",
        )  # fmt: skip
        if claim.rows.logarithmic:
            ax.annotate(
                f"{middle:.3g}", (middle, place), (5, 0), textcoords="offset points", va="center", fontsize=5.5,
                bbox={"facecolor": "w", "edgecolor": "none", "pad": 0.3},
            )  # fmt: skip
        ax.plot(claim.rows.expected[place], place, marker="|", ms=7, mew=0.8, color="k")
    ax.set_yticks(range(len(claim.effects)), [effect.condition for effect in claim.effects], fontsize=6)
    ax.set_ylim(len(claim.effects) - 0.4, -0.6)
    if claim.rows.logarithmic:
        ax.set_xscale("log")
    ax.axvline(claim.wanted.threshold, color="0.5", lw=0.7, ls="--", zorder=0)
    ax.set_xlabel(f"{claim.rows.effect.values} (wanted: {claim.wanted})", fontsize=6.5)


def _draw_title(ax, claim: JudgedClaim) -> None:
    """The claim as it was made, and the verdict on it."""
    verdict = claim.verdict
    count = f": {len(verdict.met)} of {len(claim.effects)}" if verdict.word == verdicts.UNDER_CONDITIONS else ""
    title = textwrap.fill(f"{claim.rows.key.values}  {claim.rows.wording.values}", 48)
    ax.set_title(title, loc="left", x=-0.6, y=1, pad=13)
    ax.annotate(
        verdict.word + count, (-0.6, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", weight="bold",
        color=COLORS[verdict.word], fontsize=7,
    )  # fmt: skip


def _draw_legend(fig) -> None:
    marks = []
    for text, state in {"meets what is wanted": True, "misses it": False, "open": None}.items():
        color, marker, fill = LOOKS[state]
        face = color if fill == "full" else "none"
        marks.append(Line2D([], [], color=color, marker=marker, mfc=face, ms=3.2, mew=0.6, ls="none", label=text))
    marks.append(Line2D([], [], marker="|", ms=7, mew=0.8, color="k", ls="none", label="theory, or exact"))
    marks.append(Line2D([], [], color="0.5", lw=0.7, ls="--", label="threshold"))
    fig.legend(handles=marks, loc="outside upper center", ncols=5, title="95 % interval under one condition")


def _footer(options: Options, dataset) -> str:
    diverged = (dataset.diverged_at >= 0).sum(("scale", "learning_rate", "seed"))
    gone = ", ".join(f"{int(n)} {a}" for a, n in zip(dataset.activation.values, diverged.values, strict=True) if n)
    fastest = "; ".join(f"{a} {f}" for a, f in zip(dataset.activation.values, dataset.fastest.values, strict=True))
    return (
        f"A claim holds if every condition meets the threshold, holds under conditions if some do, and does not hold if every condition misses it. Otherwise it is undecided.\n"
        f"Trained: {options.depth} layers of {options.width}, {options.examples} digits, {options.epochs} epochs, batch {options.batch_size}, SGD, {options.seeds} seeds (root {options.root_seed}); weight scale standard: 1 (relu 1.41), large: {options.factor:g} times that.\n"
        f"Networks that diverged stay as they were then: {gone or 'none'} of {dataset.diverged_at[0].size} each. Claim 8 compares {fastest}.\n"
        f"Start: {options.drawn_depth} layers of {options.width}, {options.drawn_seeds} seeds, gaussian weights, no biases. Saturated: slope at most 5 % of the largest (relu: 0). Means over seeds with 95 % intervals.\n"
        f"{words.made(dataset)}"
    )
