"""The verdicts on all claims, by the rule, from the dataset alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import xarray

from analyses.claims import Options
from analyses.shared import verdicts

WORDS = {True: "yes", False: "no", None: "open"}


class JudgedClaim(NamedTuple):
    """A claim with the rows of its experiment, what it says of its effect, the effects, and the verdict."""

    rows: xarray.Dataset
    wanted: verdicts.Wanted
    effects: list[verdicts.Effect]
    verdict: verdicts.Verdict


def judged_claims(dataset: xarray.Dataset) -> Iterator[JudgedClaim]:
    """Yield every claim with its verdict."""
    for number in range(dataset.sizes["claim"]):
        claim = dataset.isel(claim=number)
        rows = claim.isel(row=(dataset.claim_of_row == number).values)
        wanted = verdicts.Wanted(claim.side.item(), claim.threshold.item())
        ends = zip(rows.condition.values, rows.low.values, rows.high.values, strict=True)
        effects = [verdicts.Effect(str(condition), float(low), float(high)) for condition, low, high in ends]
        yield JudgedClaim(rows, wanted, effects, verdicts.judge(effects, wanted))


def table(options: Options, dataset: xarray.Dataset) -> list[dict[str, Any]]:
    """A condition meets what is wanted where its whole 95 % interval does (the threshold counts as met). It misses it where
    no part of the interval does. Otherwise it is open. A claim holds where every condition meets it. It does not hold
    where every condition misses it. It holds under conditions where some conditions meet it. It is undecided where no
    condition meets it and some are open. Intervals are 95 % intervals of the mean over seeds. Where nothing is sampled
    they are intervals of the computation.
    """
    return [
        {
            "no.": str(claim.rows.key.values),
            "claim": str(claim.rows.wording.values),
            "condition": effect.condition,
            "effect": str(claim.rows.effect.values),
            "measured": float(claim.rows.estimate[place]),
            "low": effect.low,
            "high": effect.high,
            "wanted": str(claim.wanted),
            "meets it": WORDS[verdicts.meets(effect.low, effect.high, claim.wanted)],
            "verdict": claim.verdict.word,
            "experiment": str(claim.rows.experiment.values),
        }
        for claim in judged_claims(dataset)
        for place, effect in enumerate(claim.effects)
    ]
