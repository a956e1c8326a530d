"""Rules for gradients: they vanish, explode, or are exactly 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxsat.probing.advice import beside_critical, larger_weights, smaller_weights
from jaxsat.probing.finding import Finding, where_of
from jaxsat.probing.sites import Site

GROWTH = math.log(1000)  # of the gradient norm, from the last activations back to the first
STOPPED = "stop_gradient, or a function without a derivative (round, sign, argmax, a comparison), stands between them and the loss"


class Slope(NamedTuple):
    """How the gradient changes along the activations.

    Attributes:
        rows: the activations with a gradient that is not 0.
        norms: ln of their gradient norms.
        first, last: medians over the first and the last quarter of them.
    """

    rows: Sequence[Site]
    norms: np.ndarray
    first: float
    last: float

    @property
    def ends(self) -> str:
        return (
            f"||dE/dh|| is exp({self.first:.1f}) at {where_of(self.rows[:1])} and exp({self.last:.1f}) at "
            f"{where_of(self.rows[-1:])}"
        )

    @property
    def rate(self) -> float:
        """Factor by which the gradient changes at each activation on the way back."""
        quarter = max(1, len(self.rows) // 4)
        return math.exp((self.first - self.last) / max(len(self.rows) - quarter, 1))


def with_gradient(sites: Sequence[Site]) -> list[Site]:
    """Return the activations that a gradient reaches, be it 0."""
    return [site for site in sites if site.role == "activation" and not math.isnan(site.zero_gradient_fraction)]


def gradient(sites: Sequence[Site], explained: bool) -> list[Finding]:
    """Return a finding if the gradient vanishes or explodes along the activations.

    Args:
        sites: of the run.
        explained: whether another finding says why units have no slope. Gradients of exactly 0 follow from that.
    """
    reached = with_gradient(sites)
    gone = [] if explained else [site for site in reached if site.log_gradient_norm == -math.inf]
    rows = [site for site in reached if -math.inf < site.log_gradient_norm < math.inf]
    slope = _slope(rows)
    if slope is None:
        return _zero(gone, not rows)
    if slope.first > slope.last:
        return [*_zero(gone, False), _exploding(slope)]
    return [_vanishing(slope, gone)]


def _slope(rows: Sequence[Site]) -> Slope | None:
    """Return how the gradient changes, if it does so by a factor of 1000."""
    if len(rows) < 2:
        return None
    norms = np.array([site.log_gradient_norm for site in rows])
    quarter = max(1, len(rows) // 4)
    first, last = float(np.median(norms[:quarter])), float(np.median(norms[-quarter:]))
    return Slope(rows, norms, first, last) if abs(first - last) >= GROWTH else None


def _zero(gone: Sequence[Site], everywhere: bool) -> list[Finding]:
    if not gone:
        return []
    what = "Every gradient is exactly 0" if everywhere else "The gradient is exactly 0"
    message = f"{what} at {where_of(gone)}."
    advice = (
        "What follows has slope 0, or is multiplied by 0. If a branch starts at 0 on purpose (a residual branch, a scale), "
        "probe again after a few steps."
    )
    return [Finding("vanishing", tuple(gone), message, advice)]


def _vanishing(slope: Slope, gone: Sequence[Site]) -> Finding:
    where = [site for site, norm in zip(slope.rows, slope.norms, strict=True) if norm < slope.last - GROWTH]
    zero = f" At {where_of(gone)} it is exactly 0." if gone else ""
    message = (
        f"The gradient shrinks {1 / slope.rate:.2g}x per activation on the way back: "
        f"{slope.ends}{beside_critical(slope.rows)}.{zero}"
    )
    advice = (
        f"{larger_weights(slope.rows)}Skip connections or normalisation keep the gradient alive in deep networks. "
        "Tanh and relu at their critical scales keep it of one size."
    )
    return Finding("vanishing", (*gone, *where), message, advice)


def _exploding(slope: Slope) -> Finding:
    where = [site for site, norm in zip(slope.rows, slope.norms, strict=True) if norm > slope.last + GROWTH]
    message = f"The gradient grows {slope.rate:.2g}x per activation on the way back: {slope.ends}{beside_critical(slope.rows)}."
    advice = (
        f"{smaller_weights(slope.rows)}Clipping gradients bounds the step. In residual networks, scale each branch by "
        "1 / sqrt(depth)."
    )
    return Finding("exploding", tuple(where), message, advice)


def unreached(sites: Sequence[Site]) -> tuple[list[Finding], list[str]]:
    """Return a finding if no gradient reaches any activation, or else a note if it does not reach some that ran."""
    ran = [site for site in sites if site.role == "activation" and site.ran]
    without = [site for site in ran if math.isnan(site.zero_gradient_fraction) and not site.in_while]
    if not without:
        return [], []
    if with_gradient(sites):
        note = f"no gradient reaches {where_of(without)}: {STOPPED}. If that is meant, all is well."
        return [], [note]
    message = f"No gradient reaches {where_of(without)}: {STOPPED}."
    return [
        Finding("vanishing", tuple(without), message, "Let the loss depend on them by a path with derivatives.")
    ], []
