"""Rules for gradients: they vanish, explode, or are exactly 0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxsat.probing.advice import (
    Form,
    against_exploding,
    against_vanishing,
    beside_critical,
    larger_weights,
    smaller_weights,
)
from jaxsat.probing.finding import Finding, turns_of, where_of
from jaxsat.probing.flow_points import FlowPoint
from jaxsat.probing.gradient_paths import Chain, GradientPaths, Measurement
from jaxsat.probing.sites import Site

GROWTH = math.log(1000)  # of the gradient norm, between two places on one chain
EXPLAINED = math.log(100)  # the same, where weights below the critical scale explain that it shrinks
STOPPED = "stop_gradient, or a function without a derivative (round, sign, argmax, a comparison), stands between them and the loss"


class Fall(NamedTuple):
    """The largest change of the gradient along a chain.

    Attributes:
        first, last: its ends, in the order of execution.
        steps: from one to the other.
        change: ln of the gradient's norm at the first, less that at the last. Negative: it shrinks on the way back.
        typical: the same of the medians over the first and over the last quarter of the way: one odd place does not count.
        form: 'residual' if there is a residual stream on the way, 'gated' if gates do so, else 'plain'.
    """

    first: Measurement
    last: Measurement
    steps: int
    change: float
    typical: float
    form: Form

    @property
    def ends(self) -> str:
        return (
            f"||dE/dh|| is exp({self.first.log_gradient_norm:.1f}) at {name_of(self.first)} and "
            f"exp({self.last.log_gradient_norm:.1f}) at {name_of(self.last)}"
        )

    @property
    def rate(self) -> float:
        """Factor by which the gradient changes at each step on the way back."""
        return math.exp(self.change / self.steps)


def name_of(place: Measurement) -> str:
    """Return what a place is called: of a linear map, the path of its weight."""
    named = f"{place.weight} ({place.kind})" if isinstance(place, FlowPoint) and place.weight else place.path
    return named + turns_of(place.iteration)


def with_gradient(sites: Sequence[Site]) -> list[Site]:
    """Return the activations that a gradient reaches, be it 0."""
    return [site for site in sites if site.role == "activation" and not math.isnan(site.zero_gradient_fraction)]


def gradient(sites: Sequence[Site], explained: bool, paths: GradientPaths) -> list[Finding]:
    """Return a finding if the gradient vanishes along a chain, and one if it explodes.

    Args:
        sites: of the run.
        explained: whether another finding says why units have no slope. Gradients of exactly 0 follow from that.
        paths: the chains.
    """
    gone = [] if explained else [site for site in with_gradient(sites) if site.log_gradient_norm == -math.inf]
    falls = [fall for chain in paths.chains if (fall := _fall(chain)) is not None]
    falls = [fall for fall in falls if _counts(sites, paths, fall)]
    worst = max((fall for fall in falls if fall.change < 0), key=lambda fall: -fall.change, default=None)
    most = max((fall for fall in falls if fall.change > 0), key=lambda fall: fall.change, default=None)
    finite = any(math.isfinite(site.log_gradient_norm) for site in with_gradient(sites))
    found = _zero(gone, not finite) if worst is None else [_vanishing(sites, paths, worst, gone)]
    return found if most is None else [*found, _exploding(sites, paths, most)]


def _counts(sites: Sequence[Site], paths: GradientPaths, fall: Fall) -> bool:
    """Return whether a change is a finding: it is large, or weights below the critical scale explain that it shrinks.

    On the way back through the search for a fixed point it shrinks because the search ends.
    """
    if fall.change < 0 and {fall.first.path, fall.last.path} <= paths.settling:
        return False
    if fall.typical * np.sign(fall.change) >= GROWTH:
        return True
    plain = fall.form == "plain" and not paths.residual and not paths.normalized
    seen = fall.change <= -EXPLAINED and fall.typical <= -EXPLAINED / 2
    return plain and seen and larger_weights(_of_one_map(site for site in sites if site.role == "activation")) != ""


def _fall(chain: Chain) -> Fall | None:
    """Return the largest change between two places of a chain, be it up or down."""
    rows = [place for place in chain if math.isfinite(place.log_gradient_norm)]
    best: Fall | None = None
    for sign in (1, -1):
        end = len(rows) - 1
        for i in range(len(rows) - 2, -1, -1):  # the end after i that is furthest from it
            end = max(end, i + 1, key=lambda k: -sign * rows[k].log_gradient_norm)
            change = rows[i].log_gradient_norm - rows[end].log_gradient_norm
            if sign * change > 0 and (best is None or abs(change) > abs(best.change)):
                best = Fall(rows[i], rows[end], end - i, change, *_seen_whole(rows[i : end + 1]))
    return best


def _seen_whole(rows: Chain) -> tuple[float, Form]:
    """Return the change from quarter to quarter, and the form of the way."""
    norms, quarter = [place.log_gradient_norm for place in rows], max(1, len(rows) // 4)
    flow = {place.kind for place in rows if isinstance(place, FlowPoint)}
    form: Form = "gated" if "cell" in flow or any(isinstance(p, Site) and p.role == "gate" for p in rows) else "plain"
    return float(np.median(norms[:quarter]) - np.median(norms[-quarter:])), "residual" if "stream" in flow else form


def _along(sites: Sequence[Site], fall: Fall) -> list[Site]:
    """Return the activations between the ends of a fall whose gradients are as far off as that of its far end."""
    order = [(site.path, site.iteration) for site in sites]
    ends = [
        order.index(key) if (key := (place.path, place.iteration)) in order else None
        for place in (fall.first, fall.last)
    ]
    start, stop = ends[0] or 0, len(sites) - 1 if ends[1] is None else ends[1]
    roles = {"activation", *(place.role for place in (fall.first, fall.last) if isinstance(place, Site))}
    limit = GROWTH if abs(fall.typical) >= GROWTH else EXPLAINED
    from_end = [site.log_gradient_norm - fall.last.log_gradient_norm for site in sites]
    return [
        site
        for site, change in zip(sites[start : stop + 1], from_end[start : stop + 1], strict=True)
        if site.role in roles and math.isfinite(change) and change * np.sign(fall.change) > limit
    ]


def _of_one_map(sites: Iterable[Site]) -> list[Site]:
    """Return the sites whose pre-activation one linear map makes. Of several, the gradient passes one: which is not known."""
    return [site for site in sites if site.maps < 2]


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


def _vanishing(sites: Sequence[Site], paths: GradientPaths, fall: Fall, gone: Sequence[Site]) -> Finding:
    where = _along(sites, fall)
    rows = _of_one_map(where or (site for site in sites if site.role == "activation"))
    zero = f" At {where_of(gone)} it is exactly 0." if gone else ""
    beside = "" if paths.residual or paths.normalized else beside_critical(rows)
    message = f"The gradient shrinks {1 / fall.rate:.2g}x per step on the way back: {fall.ends}{beside}.{zero}"
    advice = against_vanishing(rows, fall.form, paths.normalized)
    cause = {"gated": "gates that pass on less than all of the state", "residual": "something on the stream"}.get(
        fall.form, ""
    )
    cause = cause or ("weights below the critical scale" if beside and larger_weights(rows) else "")
    return Finding("vanishing", (*gone, *where), message, advice, cause, "medium" if cause else "low")


def _exploding(sites: Sequence[Site], paths: GradientPaths, fall: Fall) -> Finding:
    where = _along(sites, fall)
    rows = _of_one_map(where or (site for site in sites if site.role == "activation"))
    beside = "" if paths.residual or paths.normalized else beside_critical(rows)
    message = f"The gradient grows {fall.rate:.2g}x per step on the way back: {fall.ends}{beside}."
    advice = against_exploding(rows, fall.form, paths.normalized)
    cause = "branches that add up" if fall.form == "residual" else ""
    cause = cause or ("weights above the critical scale" if beside and smaller_weights(rows) else "")
    return Finding("exploding", tuple(where), message, advice, cause, "medium" if cause else "low")


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
