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


QUICK = {"seeds": 8, "epochs": 30, "looks": 16, "drawn_seeds": 16, "drawn_depth": 12}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    from jaxsat import activations

    if not options.activations:
        raise ValueError("activations: must name at least one; got none.")
    for phi in map(activations.get, options.activations):
        if phi.left_limit is None or phi.right_limit is None:
            raise ValueError(f"activations: must be bounded on both sides; got {phi.name!r}.")
    for name, least in (("depth", 3), ("drawn_depth", 3), ("seeds", 2), ("drawn_seeds", 2), ("epochs", 1), ("looks", 2)):
        if getattr(options, name) < least:
            raise ValueError(f"{name}: must be at least {least}; got {getattr(options, name)}.")
    if not 100 <= options.examples < 1797:
        raise ValueError(f"examples: must be from 100 to 1796; got {options.examples}.")
    if not 1 <= options.batch_size <= options.examples:
        raise ValueError(f"batch_size: must be from 1 to the number of examples; got {options.batch_size}.")
    if not options.learning_rates or min(options.learning_rates) <= 0:
        raise ValueError(f"learning_rates: must be at least one, each above 0; got {options.learning_rates}.")
    if not options.factor > 1:
        raise ValueError(f"factor: must be above 1; got {options.factor}.")
    if not 0.2 <= options.level < 1:
        raise ValueError(f"level: must be from 0.2 to below 1; got {options.level}.")
    command.produce(options, NAME, measure, draw, tables=tables)


def measure(options: Options):
    """The networks in training, and one row for each claim and condition."""
    import numpy as np

    from analyses.claim_experiments import CLAIMS, Networks
    from jaxsat import provenance

    networks = Networks(options, NAME)
    rows = [(number, row) for number, claim in enumerate(CLAIMS) for row in claim.rows(networks)]
    dataset = networks.trained.copy()
    longest = max(options.seeds, options.drawn_seeds)
    values = np.full((len(rows), longest), np.nan)
    for place, (_, row) in enumerate(rows):
        values[place, : len(row.values)] = row.values
    for name, long_name in (("estimate", "effect"), ("low", "lower end of its 95 % interval"), ("high", "upper end"), ("expected", "what theory says")):  # fmt: skip
        dataset[name] = "row", [getattr(row, name) for _, row in rows], {"long_name": long_name}
    dataset["effect_of_seed"] = ("row", "network"), values, {"long_name": "effect in one network; NaN: none, or computed"}
    texts = {"key": "key", "wording": "wording", "experiment": "experiment", "effect": "effect"}
    dataset = dataset.assign_coords(
        condition=("row", [row.condition for _, row in rows]),
        claim_of_row=("row", [number for number, _ in rows]),
        **{name: ("claim", [getattr(claim, name) for claim in CLAIMS]) for name in texts},
        side=("claim", [claim.wanted.side for claim in CLAIMS]),
        threshold=("claim", [claim.wanted.threshold for claim in CLAIMS]),
        logarithmic=("claim", [claim.logarithmic for claim in CLAIMS]),
    )
    dataset.attrs |= provenance.record({"looks": options.looks})
    return dataset


def judged(dataset):
    """(claim, its rows, its verdict) for each claim, by the rule, from the dataset alone."""
    from analyses import verdicts

    for number in range(dataset.sizes["claim"]):
        claim = dataset.isel(claim=number)
        rows = claim.isel(row=(dataset.claim_of_row == number).values)
        wanted = verdicts.Wanted(str(claim.side.values), float(claim.threshold))
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

    words = {True: "meets", False: "misses", None: "open"}
    return [
        {
            "": str(rows.key.values),
            "claim": str(rows.wording.values),
            "condition": effect.condition,
            "effect": str(rows.effect.values),
            "measured": float(rows.estimate[place]),
            "low": effect.low,
            "high": effect.high,
            "wanted": str(wanted),
            "condition's": words[verdicts.meets(effect.low, effect.high, wanted)],
            "verdict": verdict.word,
            "experiment": str(rows.experiment.values),
        }
        for rows, wanted, effects, verdict in judged(dataset)
        for place, effect in enumerate(effects)
    ]


def draw(options: Options, dataset):
    """One panel for each claim, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt

    from analyses import verdicts
    from jaxsat import plotting

    looks = {True: (plotting.COLORS[0], "o", "full"), False: (plotting.COLORS[1], "X", "full"), None: ("0.4", "s", "none")}
    found = list(judged(dataset))
    with plotting.style():
        lines = [1.6 + max(len(effects) for _, _, effects, _ in found[i : i + 2]) * 0.75 for i in range(0, len(found), 2)]
        fig, axes = plt.subplots(
            len(lines), 2, figsize=(plotting.PAGE, 0.17 * sum(lines) + 2.2), layout="constrained",
            gridspec_kw={"height_ratios": lines},
        )  # fmt: skip
        for ax, (rows, wanted, effects, verdict) in zip(axes.flat, found, strict=False):
            for place, effect in enumerate(effects):
                color, marker, fill = looks[verdicts.meets(effect.low, effect.high, wanted)]
                middle = float(rows.estimate[place])
                ax.errorbar(
                    middle, place, xerr=[[middle - effect.low], [effect.high - middle]], color=color, marker=marker,
                    fillstyle=fill, ms=3.5, mew=0.6, elinewidth=1.0, ls="none",
                )  # fmt: skip
                ax.plot(rows.expected[place], place, marker="|", ms=8, mew=0.8, color="k")
            ax.set_yticks(range(len(effects)), [effect.condition for effect in effects])
            ax.set_ylim(len(effects) - 0.4, -0.6)
            if rows.logarithmic:
                ax.set_xscale("log")
            ax.axvline(wanted.threshold, color="0.5", lw=0.7, ls="--", zorder=0)
            ax.set_xlabel(f"{rows.effect.values} (wanted: {wanted})")
            title = textwrap.fill(f"{rows.key.values}  {rows.wording.values}", 58)
            ax.set_title(f"{title}\n{verdict.word}", loc="left", x=-0.55)
        for ax in axes.flat[len(found) :]:
            ax.axis("off")
        np.empty(0)
        footer = f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        plotting.footnote(fig, footer)
    return fig


if __name__ == "__main__":
    command.run(Options, main, __doc__)
