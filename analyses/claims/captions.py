"""What is said of the figures of ``claims``, from the dataset alone."""

from __future__ import annotations

from collections import Counter

from analyses.claims import Options
from analyses.claims.judging import judged_claims
from analyses.shared import verdicts, words
from analyses.shared.captions import Caption, Number

RULE = (
    "A condition meets what is wanted where its whole 95 % interval does, misses it where no part of the interval does, and is open otherwise. "
    "A claim holds if every condition meets it, holds under conditions if some do, does not hold if every condition misses it, and is undecided otherwise."
)  # fmt: skip
VERBS = {
    verdicts.HOLDS: ("holds", "hold"),
    verdicts.UNDER_CONDITIONS: ("holds under conditions", "hold under conditions"),
    verdicts.DOES_NOT_HOLD: ("does not hold", "do not hold"),
    verdicts.UNDECIDED: ("is undecided", "are undecided"),
}
PAPER = (
    "The claims are those with which this project was started, and one on recurrent networks; no paper is regenerated."
)


def _setting(options: Options, dataset) -> list[str]:
    diverged = (dataset.diverged_at >= 0).sum(("scale", "learning_rate", "seed"))
    gone = ", ".join(f"{int(n)} {a}" for a, n in zip(dataset.activation.values, diverged.values, strict=True) if n)
    fastest = "; ".join(f"{a} {f}" for a, f in zip(dataset.activation.values, dataset.fastest.values, strict=True))
    return [
        f"Training: {options.seeds} seeds (root {options.root_seed}), {options.depth} layers of {options.width} units, digits.",
        f"Start: {options.drawn_seeds} seeds, {options.drawn_depth} layers.",
        f"{options.examples} digits, {options.epochs} epochs, batch {options.batch_size}, gradient descent; weight scale standard: 1 (relu 1.41), large: {options.factor:g} times that.",
        f"Networks that diverged stay as they were then: {gone or 'none'} of {dataset.diverged_at[0].size} each.",
        f"Claim 8 compares {fastest}. Saturated: slope at most 5 % of the largest (relu: 0).",
    ]


def _numbers(claims) -> list[Number]:
    return [
        Number(f"{claim.rows.key.values}: {claim.rows.effect.values}, {effect.condition}", float(middle), effect.low, effect.high, float(expected))
        for claim in claims
        for effect, middle, expected in zip(claim.effects, claim.rows.estimate.values, claim.rows.expected.values, strict=True)
    ]  # fmt: skip


def of_verdicts(options: Options, dataset) -> Caption:
    """Say how many claims hold."""
    claims = list(judged_claims(dataset))
    counts = Counter(claim.verdict.word for claim in claims)
    told = [f"{counts[word]} {VERBS[word][counts[word] > 1]}" for word in VERBS if counts[word]]
    return Caption(
        f"Of {len(claims)} claims about saturation and vanishing gradients {words.enumerated(told)}.",
        ["Each claim, the share of the conditions under which it is met, and the verdict."],
        RULE,
        _setting(options, dataset),
        _numbers(claims),
        "Where theory or exact arithmetic says what the effect must be, the column theory has it.",
        PAPER,
    )


def of_effects(options: Options, dataset, first: int, last: int) -> Caption:
    """Say of some claims what the verdict on each is."""
    claims = list(judged_claims(dataset))[first:last]
    found: dict[str, list[str]] = {}
    for claim in claims:
        found.setdefault(claim.verdict.word, []).append(str(claim.rows.key.values))
    told = [f"{words.enumerated(keys)} {VERBS[word][len(keys) > 1]}" for word, keys in found.items()]
    subject = "Claim" if len(next(iter(found.values()))) == 1 else "Claims"
    return Caption(
        f"{subject} {'; '.join(told)}.",
        [f"Claim {claim.rows.key.values}, {claim.rows.wording.values}: {claim.rows.experiment.values}." for claim in claims],
        f"Effect under each condition with its 95 % interval, what theory or exact arithmetic says (tick), and the threshold (dashed). {RULE}",
        _setting(options, dataset),
        _numbers(claims),
        "Where theory or exact arithmetic says what the effect must be, the column theory has it.",
        PAPER,
    )  # fmt: skip
