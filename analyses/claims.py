"""Which of the claims about saturation, vanishing gradients and ReLU hold, and under which conditions?

Each claim is put to an experiment, with an effect, its 95 % interval and a threshold; ``verdicts`` has the rule by which
the verdict follows. Nothing is judged by hand: the table and the panels' titles come out of the data.
"""

from __future__ import annotations

import dataclasses
import textwrap

from analyses import command

NAME = "claims"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about a minute: fewer seeds, epochs and layers (their options are ignored)."""
    activations: tuple[str, ...] = ("sigmoid", "tanh")
    """Sigmoidal activations on which the claims are tested: bounded on both sides."""
    learning_rates: tuple[float, ...] = (0.03, 0.1, 1.0)
    """Of the networks in training."""
    factor: float = 4.0
    """Large weight scale, in units of the standard one (1; sqrt 2 for relu)."""
    depth: int = 4
    """Layers of the networks in training."""
    width: int = 64
    """Units per layer."""
    examples: int = 500
    """Digits trained on; the others of the 1797 are for testing."""
    epochs: int = 60
    """Of training."""
    batch_size: int = 50
    """Of training."""
    looks: int = 24
    """Times at which networks are looked at in training, at equal ratios."""
    seeds: int = 32
    """Networks for each setting of training."""
    drawn_depth: int = 20
    """Layers of the networks looked at before training."""
    drawn_seeds: int = 64
    """Their number for each activation and weight scale."""
    level: float = 0.95
    """Training accuracy at which generalisation is compared."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "seeds": 8, "epochs": 25, "looks": 12, "learning_rates": (0.1, 1.0), "drawn_seeds": 16, "drawn_depth": 12,
}  # fmt: skip


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_bounded(options.activations)
    for name, least in (
        ("depth", 3),
        ("drawn_depth", 3),
        ("seeds", 2),
        ("drawn_seeds", 2),
        ("epochs", 1),
        ("looks", 2),
    ):
        if getattr(options, name) < least:
            raise ValueError(f"{name}: must be at least {least}; got {getattr(options, name)}.")
    if not 100 <= options.examples < 1797:
        raise ValueError(f"examples: must be from 100 to 1796; got {options.examples}.")
    if not 1 <= options.batch_size <= options.examples:
        raise ValueError(f"batch_size: must be from 1 to the number of examples; got {options.batch_size}.")
    command.check_positive(options, "learning_rates")
    if not options.factor > 1:
        raise ValueError(f"factor: must be above 1; got {options.factor}.")
    if not 0.2 <= options.level < 1:
        raise ValueError(f"level: must be from 0.2 to below 1; got {options.level}.")
    command.produce(options, NAME, measure, draw, tables=tables)


def measure(options: Options):
    """The networks in training, and one row for each claim and condition."""
    import numpy as np

    from analyses.claim_experiments import CLAIMS, Networks
    from jaxsat.results import provenance

    networks = Networks(options, NAME)
    rows = [(number, row) for number, claim in enumerate(CLAIMS) for row in claim.rows(networks)]
    dataset = networks.trained.copy()
    longest = max(options.seeds, options.drawn_seeds)
    values = np.full((len(rows), longest), np.nan)
    for place, (_, row) in enumerate(rows):
        values[place, : len(row.values)] = row.values
    for name, long_name in (("estimate", "effect"), ("low", "lower end of its 95 % interval"), ("high", "upper end"), ("expected", "what theory says")):  # fmt: skip
        dataset[name] = "row", [getattr(row, name) for _, row in rows], {"long_name": long_name}
    dataset["effect_of_seed"] = (
        ("row", "network"),
        values,
        {"long_name": "effect in one network; NaN: none, or computed"},
    )
    fastest = [networks.fastest(str(name)) for name in dataset.activation.values]
    dataset = dataset.assign_coords(
        condition=("row", [row.condition for _, row in rows]),
        claim_of_row=("row", [number for number, _ in rows]),
        **{
            name: ("claim", [getattr(claim, name) for claim in CLAIMS])
            for name in ("key", "wording", "experiment", "effect")
        },
        fastest=("activation", [f"{label}, rate {rate:g}" for label, rate in fastest]),
        side=("claim", [claim.wanted.side for claim in CLAIMS]),
        threshold=("claim", [claim.wanted.threshold for claim in CLAIMS]),
        logarithmic=("claim", [claim.logarithmic for claim in CLAIMS]),
    )
    dataset.attrs |= provenance.of_run({"looks": options.looks})
    return dataset


def judged(dataset):
    """(claim, its rows, its verdict) for each claim, by the rule, from the dataset alone."""
    from analyses import verdicts

    for number in range(dataset.sizes["claim"]):
        claim = dataset.isel(claim=number)
        rows = claim.isel(row=(dataset.claim_of_row == number).values)
        wanted = verdicts.Wanted(claim.side.item(), claim.threshold.item())
        effects = [
            verdicts.Effect(str(c), float(low), float(high))
            for c, low, high in zip(rows.condition.values, rows.low.values, rows.high.values, strict=True)
        ]
        yield rows, wanted, effects, verdicts.judge(effects, wanted)


def tables(options: Options, dataset):
    """A condition meets what is wanted where its whole 95 % interval does (the threshold counts), misses it where none of the
    interval does, and is open otherwise. A claim holds where every condition meets it, does not hold where every one misses
    it, holds under conditions where some meet it, and is undecided where none does and some are open. Intervals are means
    over seeds with 1.96 standard errors; where nothing is sampled they are those of the computation.
    """
    from analyses import verdicts

    words = {True: "yes", False: "no", None: "open"}
    return [
        {
            "no.": str(rows.key.values),
            "claim": str(rows.wording.values),
            "condition": effect.condition,
            "effect": str(rows.effect.values),
            "measured": float(rows.estimate[place]),
            "low": effect.low,
            "high": effect.high,
            "wanted": str(wanted),
            "meets it": words[verdicts.meets(effect.low, effect.high, wanted)],
            "verdict": verdict.word,
            "experiment": str(rows.experiment.values),
        }
        for rows, wanted, effects, verdict in judged(dataset)
        for place, effect in enumerate(effects)
    ]


def draw(options: Options, dataset):
    """One panel for each claim, from the dataset alone."""
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    from analyses import verdicts
    from jaxsat.results import plotting

    blue, red, grey = plotting.COLORS[0], plotting.COLORS[1], "0.4"
    looks = {True: (blue, "o", "full"), False: (red, "X", "full"), None: (grey, "s", "none")}
    colors = {
        verdicts.HOLDS: blue,
        verdicts.DOES_NOT_HOLD: red,
        verdicts.UNDECIDED: grey,
        verdicts.UNDER_CONDITIONS: "k",
    }
    found = list(judged(dataset))
    with plotting.style():
        lines = [5 + max(len(effects) for _, _, effects, _ in found[i : i + 2]) for i in range(0, len(found), 2)]
        fig, axes = plt.subplots(
            len(lines), 2, figsize=(plotting.PAGE, 0.125 * sum(lines) + 0.4), layout="constrained",
            gridspec_kw={"height_ratios": [n - 4 for n in lines]},
        )  # fmt: skip
        for ax, (rows, wanted, effects, verdict) in zip(axes.flat, found, strict=False):
            for place, effect in enumerate(effects):
                color, marker, fill = looks[verdicts.meets(effect.low, effect.high, wanted)]
                middle = float(rows.estimate[place])
                ax.errorbar(
                    middle, place, xerr=[[middle - effect.low], [effect.high - middle]], color=color, marker=marker,
                    fillstyle=fill, ms=3.2, mew=0.6, elinewidth=1.0, ls="none",
                )  # fmt: skip
                if rows.logarithmic:
                    ax.annotate(
                        f"{middle:.3g}",
                        (middle, place),
                        (5, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=5.5,
                        bbox={"facecolor": "w", "edgecolor": "none", "pad": 0.3},
                    )
                ax.plot(rows.expected[place], place, marker="|", ms=7, mew=0.8, color="k")
            ax.set_yticks(range(len(effects)), [effect.condition for effect in effects], fontsize=6)
            ax.set_ylim(len(effects) - 0.4, -0.6)
            if rows.logarithmic:
                ax.set_xscale("log")
            ax.axvline(wanted.threshold, color="0.5", lw=0.7, ls="--", zorder=0)
            ax.set_xlabel(f"{rows.effect.values} (wanted: {wanted})", fontsize=6.5)
            count = f": {len(verdict.met)} of {len(effects)}" if verdict.word == verdicts.UNDER_CONDITIONS else ""
            title = textwrap.fill(f"{rows.key.values}  {rows.wording.values}", 48)
            ax.set_title(title, loc="left", x=-0.6, y=1, pad=13)
            ax.annotate(
                verdict.word + count, (-0.6, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", weight="bold",
                color=colors[verdict.word], fontsize=7,
            )  # fmt: skip
        for ax in axes.flat[len(found) :]:
            ax.axis("off")
        legend = {"meets what is wanted": True, "misses it": False, "open": None}
        marks = [
            Line2D(
                [],
                [],
                color=color,
                marker=marker,
                mfc=color if fill == "full" else "none",
                ms=3.2,
                mew=0.6,
                ls="none",
                label=text,
            )
            for text, (color, marker, fill) in ((text, looks[state]) for text, state in legend.items())
        ]
        marks.append(Line2D([], [], marker="|", ms=7, mew=0.8, color="k", ls="none", label="theory, or exact"))
        marks.append(Line2D([], [], color="0.5", lw=0.7, ls="--", label="threshold"))
        fig.legend(handles=marks, loc="outside upper center", ncols=5, title="95 % interval under one condition")
        diverged = (dataset.diverged_at >= 0).sum(("scale", "learning_rate", "seed"))
        gone = ", ".join(f"{int(n)} {a}" for a, n in zip(dataset.activation.values, diverged.values, strict=True) if n)
        fastest = "; ".join(f"{a} {f}" for a, f in zip(dataset.activation.values, dataset.fastest.values, strict=True))
        footer = (
            f"A claim holds where every condition meets the threshold, under conditions where some do, does not hold where every one misses it; else it is undecided.\n"
            f"Trained: {options.depth} layers of {options.width}, {options.examples} digits, {options.epochs} epochs, batch {options.batch_size}, SGD, {options.seeds} seeds (root {options.root_seed}); weight scale standard: 1 (relu 1.41), large: {options.factor:g} times that.\n"
            f"Diverged, and left as they were then: {gone or 'none'} of {dataset.diverged_at[0].size} each. 8 compares {fastest}.\n"
            f"Start: {options.drawn_depth} layers of {options.width}, {options.drawn_seeds} seeds, gaussian weights, no biases. Saturated: slope at most 5 % of the largest (relu: 0). Means over seeds, 1.96 standard errors.\n"
            f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


if __name__ == "__main__":
    command.run(Options, main, __doc__)
