"""The figures of ``claims``: a line for each claim; and the effects under every condition, a few claims at a time."""

from __future__ import annotations

import itertools
import textwrap

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analyses.claims import Options
from analyses.claims.judging import JudgedClaim, judged_claims
from analyses.shared import layouts, verdicts
from jaxsat.results import drawing

BLUE, RED, GREY = drawing.COLORS[0], drawing.COLORS[1], "0.6"
# Colour, marker and fill of a condition that meets what is wanted, misses it, or is open.
LOOKS = {True: (BLUE, "o", "full"), False: (RED, "X", "full"), None: (GREY, "s", "none")}
WORDS = {True: "meets it", False: "misses it", None: "open"}
COLORS = {
    verdicts.HOLDS: BLUE, verdicts.DOES_NOT_HOLD: RED, verdicts.UNDECIDED: "0.4", verdicts.UNDER_CONDITIONS: "k",
}  # fmt: skip
LINE = 0.13  # height of a line of text, in inches


def draw_verdicts(options: Options, dataset):
    """Return the figure with a line for each claim: which share of the conditions meets it, and the verdict."""
    claims = list(judged_claims(dataset))
    letters = int((34 if layouts.narrow(options) else 60) / layouts.letter_size(options) ** 2)
    wordings = [textwrap.wrap(_told(claim), letters) for claim in claims]
    rows = [max(len(lines), 1) + 0.5 for lines in wordings]
    figure = layouts.empty(options, LINE * layouts.letter_size(options) * sum(rows) + 0.7)
    ax = figure.add_subplot()
    ends = [-sum(rows[:i]) for i in range(len(rows) + 1)]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(ends)]
    for claim, y in zip(claims, middles, strict=True):
        left, count, verdict = 0.0, len(claim.effects), claim.verdict
        for state, met in ((True, verdict.met), (None, verdict.open), (False, verdict.missed)):
            ax.barh(y, len(met) / count, 1.0, left, color=LOOKS[state][0], lw=0)
            left += len(met) / count
            ax.text(1.04, y, verdict.word, va="center", color=COLORS[verdict.word], weight="bold", fontsize="small")
    ax.set_yticks(middles, ["\n".join(lines) for lines in wordings])
    ax.set(xlim=(0, 1), ylim=(ends[-1], 0.3), xticks=(0, 0.5, 1), xlabel="share of conditions")
    ax.tick_params(axis="y", length=0)
    patches = [Patch(color=LOOKS[state][0], label=word) for state, word in WORDS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3)
    return figure


def _told(claim: JudgedClaim) -> str:
    return f"{claim.rows.key.values}  {claim.rows.wording.values}"


def draw_effects(options: Options, dataset, first: int, last: int):
    """Return the figure of the effects under every condition, of claims `first` to `last` - 1."""
    claims = list(judged_claims(dataset))[first:last]
    columns = 1 if layouts.narrow(options) else 2
    rows = [claims[i : i + columns] for i in range(0, len(claims), columns)]
    lines = [max(len(claim.effects) for claim in row) for row in rows]
    figure = layouts.empty(options, LINE * sum(n + 5.0 for n in lines) + 0.5)
    grid = figure.add_gridspec(len(rows), columns, height_ratios=[n + 1 for n in lines])
    for i, row in enumerate(rows):
        for j, claim in enumerate(row):
            ax = figure.add_subplot(grid[i, j])
            _draw_effects(ax, claim)
            letters = int((58 if columns == 1 else 46) / layouts.letter_size(options))
            title = textwrap.fill(_told(claim), letters)
            ax.set_title(
                f"{title}\n{claim.verdict.word}", loc="right", fontsize="small", color=COLORS[claim.verdict.word]
            )
    _draw_legend(figure, columns)
    return figure


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
                f"{middle:.3g}", (middle, place), (5, 0), textcoords="offset points", va="center", fontsize="small",
                bbox={"facecolor": "w", "edgecolor": "none", "pad": 0.3},
            )  # fmt: skip
        ax.plot(claim.rows.expected[place], place, marker="|", ms=7, mew=0.8, color="k")
    ax.set_yticks(range(len(claim.effects)), [effect.condition for effect in claim.effects])
    ax.set_ylim(len(claim.effects) - 0.4, -0.6)
    if claim.rows.logarithmic:
        ax.set_xscale("log")
    ax.axvline(claim.wanted.threshold, color="0.5", lw=0.7, ls="--", zorder=0)
    ax.set_xlabel(f"{claim.rows.effect.values} (wanted: {claim.wanted})", loc="right")


def _draw_legend(figure, columns: int) -> None:
    marks = []
    for state, word in WORDS.items():
        color, marker, fill = LOOKS[state]
        face = color if fill == "full" else "none"
        marks.append(Line2D([], [], color=color, marker=marker, mfc=face, ms=3.2, mew=0.6, ls="none", label=word))
    marks.append(Line2D([], [], marker="|", ms=7, mew=0.8, color="k", ls="none", label="theory, or exact"))
    marks.append(Line2D([], [], color="0.5", lw=0.7, ls="--", label="threshold"))
    figure.legend(handles=marks, loc="outside lower center", ncols=3 if columns == 1 else 5)
