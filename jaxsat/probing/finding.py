"""One thing that is wrong, and the words that all findings share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxsat.probing.sites import Site
from jaxsat.results import display

Code = Literal[
    "nonfinite", "saturated", "dead", "collapsed", "vanishing", "exploding", "underflow", "disconnected", "imbalanced"
]
Confidence = Literal["high", "medium", "low"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: 'nonfinite', 'saturated', 'dead', 'collapsed', 'vanishing', 'exploding', 'underflow', 'disconnected' or
            'imbalanced'.
        sites: where.
        message: the evidence: what was measured, in a sentence.
        advice: what to try; '' where the cause is not known.
        cause: what makes it, in a few words; '' where that is not known.
        confidence: that the cause is this: 'high' if the numbers leave no other, 'medium' if it is the usual one, 'low' if
            it is a guess or not known.
    """

    code: Code
    sites: tuple[Site, ...]
    message: str
    advice: str
    cause: str = ""
    confidence: Confidence = "low"

    def __repr__(self) -> str:
        return f"Finding({self.code}: {where_of(self.sites)})"

    def __str__(self) -> str:
        advice = f"\n    Try: {self.advice}" if self.advice else ""
        cause = f"\n    Cause: {self.cause} (confidence: {self.confidence})" if self.cause else ""
        return f"[{self.code}] {self.message}{cause}{advice}"

    def _repr_html_(self) -> str:
        cause = f"{self.cause} (confidence: {self.confidence})" if self.cause else ""
        words = {"where": where_of(self.sites), "seen": self.message, "cause": cause, "try": self.advice}
        return display.as_table(self.code, {name: text for name, text in words.items() if text})


def where_of(sites: Sequence[Site]) -> str:
    """Return where some sites are, in a few words."""
    names = [site.path + turns_of(site.iteration) for site in sites]
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names)} sites)"


def turns_of(iteration: Sequence[int]) -> str:
    """Return the indices in the scans around something: '[3]', or '' outside of all."""
    return f"[{','.join(map(str, iteration))}]" if iteration else ""


def mean_of(sites: Sequence[Site], number: str) -> float:
    """Return the mean of one number over some sites."""
    return float(np.mean([getattr(site, number) for site in sites]))
