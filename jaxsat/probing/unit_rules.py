"""Rules for units: saturated, dead, and softmaxes that have collapsed."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from jaxsat.probing.advice import beside_critical, scales_of, shifted_biases, smaller_weights
from jaxsat.probing.finding import Finding, mean_of, where_of
from jaxsat.probing.flow_graph import NO_GRADIENT
from jaxsat.probing.sites import Site

SATURATED = 0.3  # of the entries; a standard normal pre-activation gives tanh 0.03
SATURATED_GATE = 0.6  # gates may be open or shut on purpose
DEAD = 0.1  # of the units beyond what similar inputs explain, seen over at least FEW inputs
DEAD_OVER_FEW = 0.9
LARGE_WEIGHTS = 2.5  # weights, in critical scales
FEW = 8
UNLIKELY = 1e-3
COLLAPSED = 0.1  # entropy of attention, relative to equal weights
ROUTED = 0.02  # the same of another softmax inside the network: a router or a weighting may choose, but not for good
POSITIVE = ("softplus", "squareplus")  # often make scales or step sizes, whose small values are meant


def saturated(sites: Sequence[Site], residual: bool = False) -> list[Finding]:
    """Return a finding for each kind of activation whose pre-activations lie where the slope is small.

    Args:
        sites: of the run.
        residual: whether there is a residual stream: critical scales of plain networks say nothing then.
    """
    flagged: dict[tuple[str, str], list[Site]] = {}
    for site in sites:
        if _saturated_share(site) >= (SATURATED_GATE if site.role == "gate" else SATURATED):
            flagged.setdefault((site.kind, site.role), []).append(site)
    return [_saturated(kind, where, residual) for (kind, _), where in flagged.items() if not _is_in_use(where)]


def _is_in_use(where: Sequence[Site]) -> bool:
    """Return whether a bounded activation is only used at both ends, as trained networks do, each unit for some inputs.

    At this share large weights are a reason to speak. Training alone took them to 2.3 critical scales in a healthy network.
    """
    scales = scales_of(where)
    moderate = (
        mean_of(where, "saturated_fraction") < SATURATED_GATE and mean_of(where, "mostly_saturated_fraction") < DEAD
    )
    return moderate and scales.known and scales.ratio <= LARGE_WEIGHTS and not shifted_biases(where)


def _saturated_share(site: Site) -> float:
    """Return the share of entries that counts against an activation; NaN if none does.

    A bounded activation is saturated at both ends. One that is flat on one side only is used there in healthy networks,
    but not for all inputs: there the units count that are flat for most inputs.
    """
    phi = site.activation
    if phi is None:
        return math.nan
    if phi.left_limit is not None and phi.right_limit is not None:
        return site.saturated_fraction
    return site.mostly_saturated_fraction if "soft" in (phi.left, phi.right) else math.nan


def _saturated(kind: str, where: Sequence[Site], residual: bool) -> Finding:
    biases = shifted_biases(where)
    message = (
        f"{where_of(where)}: {mean_of(where, 'saturated_fraction'):.0%} of {kind} pre-activations are saturated (slope "
        f"below 5 % of the largest), {mean_of(where, 'mostly_saturated_fraction'):.0%} of the units for over 90 % of the "
        f"inputs; root mean square pre-activation {mean_of(where, 'pre_activation_rms'):.3g}"
        f"{biases or ('' if residual else beside_critical(where))}."
    )
    large = "" if residual else smaller_weights(where)
    cause = "biases far from 0" if biases else "weights above the critical scale" if large else ""
    advice = _against_saturation(kind, where, bool(biases), residual)
    return Finding("saturated", tuple(where), message, advice, cause, "medium" if cause else "low")


def _against_saturation(kind: str, where: Sequence[Site], biased: bool, residual: bool) -> str:
    if kind in POSITIVE:
        return (
            f"If {kind} makes a scale or a step size here, small values may be meant. If not, look at what shifts its "
            "inputs."
        )
    if where[0].role == "gate":
        return (
            "A gate may be open or shut on purpose. If this is not meant, start its biases nearer to 0."
            if biased
            else ""
        )
    if biased:
        return "Start the biases at 0."
    if residual:
        return (
            f"A normalisation before the {kind}, inside the branch, keeps pre-activations small however far the residual "
            "stream grows. Branches scaled by 1 / sqrt(their number) let it grow less."
        )
    smaller = smaller_weights(where)
    return (
        f"{smaller}If the inputs are large, scale them to unit mean square. A normalisation before the {kind} keeps "
        "pre-activations small during training."
    )


def dead(sites: Sequence[Site]) -> list[Finding]:
    """Return a finding for the sites where units have slope 0 for every input."""
    where = [site for site in sites if site.role == "activation" and _is_dead(site)]
    if not where:
        return []
    kinds = " and ".join(sorted({site.kind for site in where}))
    biases = shifted_biases(where)
    message = (
        f"{where_of(where)}: {mean_of(where, 'dead_fraction'):.0%} of {kinds} units have slope exactly 0 for each of the "
        f"{where[0].inputs} inputs{biases}."
    )
    cause = "Start the biases at 0. " if biases else ""
    advice = (
        f"{cause or _off_centre(where)}Dead units get no gradient themselves; only changes in earlier layers bring them back. "
        "An activation without a flat side (leaky_relu, gelu) has none. If they died during training, a smaller learning "
        "rate keeps others alive."
    )
    low = _off_centre(where)
    reason = "biases far from 0" if biases else "pre-activations off centre" if low else ""
    return [Finding("dead", tuple(where), message, advice, reason, "medium" if reason else "low")]


def _off_centre(where: Sequence[Site]) -> str:
    """Return what to do about pre-activations that lie below 0 as a whole, though biases do not put them there."""
    if all(site.pre_activation_mean < -0.5 * site.pre_activation_rms for site in where):
        return (
            f"Pre-activations have mean {mean_of(where, 'pre_activation_mean'):.3g}: centre the inputs of these layers, or "
            "normalise before the activation. "
        )
    return ""


def _is_dead(site: Site) -> bool:
    """Return whether more units are dead than similar inputs explain. A site that nothing reaches is not dead itself."""
    if not site.pre_activation_rms > 0 or NO_GRADIENT & set(site.kind.split("+")):
        return False  # round and the like have no slope by nature
    if site.inputs < FEW:
        return site.dead_fraction >= DEAD_OVER_FEW
    # Biases that shift all units make inputs look alike. That is the fault, and no excuse for it.
    chance = dead_by_chance(site.inputs, 0.0 if shifted_biases([site]) else site.input_correlation)
    if site.dead_fraction == 1 and chance**site.units < UNLIKELY:
        return True
    error = math.sqrt(chance * (1 - chance) / site.units)
    return site.dead_fraction >= chance + 3 * error + DEAD


@functools.lru_cache(maxsize=1024)
def dead_by_chance(inputs: int, correlation: float) -> float:
    """Return the share of relu units that a healthy layer has dead over a number of inputs.

    Pre-activations are Gaussian with mean 0, and those of two inputs have the given correlation: a unit's mean over
    inputs has variance c, and its deviations from it have variance 1 - c. NaN counts as correlation 0.

    >>> round(dead_by_chance(3, 0.0), 3), round(dead_by_chance(1000, 1.0), 3)  # 1 / 8; all inputs are one
    (0.125, 0.5)
    """
    c = 0.0 if math.isnan(correlation) else min(max(correlation, 0.0), 1 - 1e-12)
    z = np.linspace(-8, 8, 4000)
    density = np.exp(-z * z / 2)
    at = -z * math.sqrt(c / (1 - c)) / math.sqrt(2)
    all_negative = ((1 + np.array([math.erf(a) for a in at])) / 2) ** inputs
    return float(np.sum(density * all_negative) / np.sum(density))


def collapsed(sites: Sequence[Site]) -> list[Finding]:
    """Return a finding for attention that gives nearly all weight to one key, and one for other softmaxes that do so.

    Args:
        sites: of the network; the softmax of a loss is none.
    """
    softmaxes = [site for site in sites if site.role == "softmax"]
    keys = [site for site in softmaxes if site.attention and site.entropy <= COLLAPSED]
    entries = [site for site in softmaxes if not site.attention and site.entropy <= ROUTED]
    queries = "divide them by the square root of the head's width, normalise queries and keys, or initialise their weights smaller"
    weights = "normalise what they are made from, or initialise their weights smaller"
    found = [("attention has collapsed onto one key each", keys, queries)]
    found += [("the softmax gives all weight to one entry each", entries, weights)]
    return [_collapsed(*one) for one in found if one[1]]


def _collapsed(what: str, where: Sequence[Site], remedy: str) -> Finding:
    largest = max(site.pre_activation_max for site in where)
    message = (
        f"{where_of(where)}: {what}: mean entropy {mean_of(where, 'entropy'):.2g} of that of equal weights; largest score "
        f"that is not masked {largest:.3g}."
    )
    advice = f"Scores this large leave no gradient to the others: {remedy}."
    return Finding("collapsed", tuple(where), message, advice, "scores too large", "high")
