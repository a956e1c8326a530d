"""What is wrong, in words: rules with numbers in them, and what theory says to try.

Each rule compares measured numbers with a threshold that stands here by name. Where none is crossed there is no finding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxsat import theory
from jaxsat.activations import Activation, precision
from jaxsat.probing.sites import Site

Code = Literal["saturated", "dead", "vanishing", "exploding", "underflow"]

SATURATED = 0.3  # of the entries; a standard normal pre-activation gives tanh 0.03
SATURATED_GATE = 0.6  # gates may be open or shut on purpose
DEAD = 0.3  # of the units, seen over at least FEW inputs
DEAD_OVER_FEW = 0.9
FEW = 8
GROWTH = math.log(1000)  # of the gradient norm, from the last activations back to the first
SHIFTED = 0.5  # mean of the biases
LOST = 0.05  # of the entries of a gradient
LOST_SLOPES = 0.02  # of the slopes


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: 'saturated', 'dead', 'vanishing', 'exploding' or 'underflow'.
        sites: where.
        message: what was measured, in a sentence.
        advice: what to try.
    """

    code: Code
    sites: tuple[Site, ...]
    message: str
    advice: str


def findings(sites: Sequence[Site]) -> tuple[Finding, ...]:
    """All findings for the sites of one run, in order of execution."""
    saturated, dead = _saturated(sites), _dead(sites)
    explained = [site for one in saturated for site in one.sites]
    rest = [site for site in sites if not any(site is one for one in explained)]
    return (*saturated, *dead, *_gradient(sites, bool(saturated or dead)), *_underflow(sites), *_lost_slopes(rest))


def _saturated(sites: Sequence[Site]) -> list[Finding]:
    found = []
    flagged: dict[tuple[str, str], list[Site]] = {}
    for site in sites:
        phi = site.activation
        if phi is None:
            continue
        if phi.left_limit is not None and phi.right_limit is not None:
            share = site.saturated_fraction
        elif "soft" in (phi.left, phi.right):
            share = site.mostly_saturated_fraction  # a side without slope is in use in health, but not for all inputs
        else:
            continue
        if share >= (SATURATED_GATE if site.role == "gate" else SATURATED):
            flagged.setdefault((site.kind, site.role), []).append(site)
    for (kind, _), where in flagged.items():
        share = _mean(where, "saturated_fraction")
        mostly = _mean(where, "mostly_saturated_fraction")
        message = (
            f"{place_of(where)}: {share:.0%} of {kind} pre-activations saturated (slope below 5 % of the largest), "
            f"{mostly:.0%} of the units for over 90 % of the inputs; "
            f"root mean square pre-activation {_mean(where, 'pre_activation_rms'):.3g}"
            f"{_biases(where) or _beside_critical(where)}."
        )
        start = "Start the biases at 0. " if _biases(where) else _initializer_advice(where)
        advice = (
            f"{start}If the inputs are large, scale them to unit mean square; a normalisation before the {kind} or a smaller "
            "learning rate keeps trained weights from getting there."
        )
        found.append(Finding("saturated", tuple(where), message, advice))
    return found


def _dead(sites: Sequence[Site]) -> list[Finding]:
    where = [
        site
        for site in sites
        if site.role == "activation"
        and site.dead_fraction >= (DEAD if site.inputs >= FEW else DEAD_OVER_FEW)
        and site.pre_activation_rms > 0  # where nothing arrives, something below is dead
    ]
    if not where:
        return []
    kinds = " and ".join(sorted({site.kind for site in where}))
    biases = _biases(where)
    message = (
        f"{place_of(where)}: {_mean(where, 'dead_fraction'):.0%} of {kinds} units have slope exactly 0 for each of the "
        f"{where[0].inputs} inputs{biases}."
    )
    advice = (
        f"{'Start the biases at 0.' if biases else 'Lower the learning rate.'} Dead units get no gradient and do not come "
        "back: initialise them anew, or take an activation without a flat side (leaky_relu, gelu)."
    )
    return [Finding("dead", tuple(where), message, advice)]


def _gradient(sites: Sequence[Site], explained: bool) -> list[Finding]:
    rows = [site for site in sites if site.role == "activation" and not math.isnan(site.zero_gradient_fraction)]
    broken = [site for site in rows if not site.log_gradient_norm < math.inf]
    if broken:
        message = f"{place_of(broken)}: the gradient is not finite in {broken[0].dtype}."
        advice = (
            "Lower the learning rate or the loss scale, clip gradients, and look for what overflows or is undefined in the "
            "site after the last of these."
        )
        return [Finding("exploding", tuple(broken), message, advice)]
    gone = [site for site in rows if site.log_gradient_norm == -math.inf]
    rows = [site for site in rows if site.log_gradient_norm > -math.inf]
    if len(rows) < 2:
        return []
    norms = np.array([site.log_gradient_norm for site in rows])
    quarter = max(1, len(rows) // 4)
    first, last = float(np.median(norms[:quarter])), float(np.median(norms[-quarter:]))
    rate = math.exp((first - last) / max(len(rows) - quarter, 1))
    if abs(first - last) < GROWTH and not (gone and not explained):
        return []
    ends = f"||dE/dh|| is exp({first:.1f}) at {place_of(rows[:1])} and exp({last:.1f}) at {place_of(rows[-1:])}"
    if first < last or gone:
        where = [site for site, norm in zip(rows, norms, strict=True) if norm < last - GROWTH]
        where = [] if abs(first - last) < GROWTH else where
        zero = f" At {place_of(gone)} it is exactly 0." if gone and not explained else ""
        message = (
            f"The gradient shrinks {rate:.2g}x per activation on the way back: {ends}{_beside_critical(rows)}.{zero}"
        )
        advice = (
            f"{_initializer_advice(rows)}Skip connections or normalisation keep the gradient alive in deep networks; "
            "an activation with slope 1 at 0 (tanh, relu at its critical scale) does where sigmoid cannot."
        )
        return [Finding("vanishing", tuple([] if explained else gone) + tuple(where), message, advice)]
    where = [site for site, norm in zip(rows, norms, strict=True) if norm > last + GROWTH]
    message = f"The gradient grows {rate:.2g}x per activation on the way back: {ends}{_beside_critical(rows)}."
    advice = f"{_initializer_advice(rows)}Clipping gradients bounds the step; residual branches want a scale of 1 / sqrt(depth)."
    return [Finding("exploding", tuple(where), message, advice)]


def _underflow(sites: Sequence[Site]) -> list[Finding]:
    found = []
    lost = [site for site in sites if site.underflow_fraction + site.subnormal_gradient_fraction >= LOST]
    if lost:
        message = (
            f"{place_of(lost)}: in {lost[0].dtype}, {_mean(lost, 'underflow_fraction'):.0%} of the gradient's entries are 0 "
            f"only because they underflow and {_mean(lost, 'subnormal_gradient_fraction'):.0%} are subnormal; "
            f"smallest norm exp({min(site.log_gradient_norm for site in lost):.1f})."
        )
        advice = (
            "Multiply the loss by a power of two and divide the gradients by it in float32 (loss scaling), or take a dtype "
            "of wider range (bfloat16, float32)."
        )
        found.append(Finding("underflow", tuple(lost), message, advice))
    return found


def _lost_slopes(sites: Sequence[Site]) -> list[Finding]:
    """Slopes that rounding alone makes 0. (Where units saturate by themselves, that is the finding.)"""
    found = []
    flat: dict[tuple[str, str], list[Site]] = {}
    for site in sites:
        phi = site.activation
        if phi is not None and "hard" not in (phi.left, phi.right) and site.zero_slope_fraction >= LOST_SLOPES:
            flat.setdefault((site.kind, site.dtype), []).append(site)
    for (kind, dtype), where in flat.items():
        phi = where[0].activation
        reach = precision.underflow_points(phi, np.dtype(dtype)).rounds_to_limit if phi is not None else math.inf
        beyond = f": its values round to their limit from h = {reach:.2g} on" if math.isfinite(reach) else ""
        message = (
            f"{place_of(where)}: {_mean(where, 'zero_slope_fraction'):.0%} of {kind}'s slopes are exactly 0 in {dtype}, "
            f"though {kind}'s slope is never 0{beyond}."
        )
        advice = (
            f"Compute the {kind} in a wider dtype (cast before it and back after it), or keep pre-activations small. The "
            "slopes of jaxsat.activations do not round to 0."
        )
        found.append(Finding("underflow", tuple(where), message, advice))
    return found


def critical_scale(phi: Activation | None, bias_scale: float) -> float:
    """sigma_w at the edge of chaos; NaN where there is none or the activation is not known."""
    if phi is None:
        return math.nan
    try:
        return float(theory.critical_weight_scale(phi, 0.0 if math.isnan(bias_scale) else bias_scale))
    except ValueError:
        return math.nan


def _scales(sites: Sequence[Site]) -> tuple[float, float, str, float]:
    """Median weight scale, the critical scale, the activation and bias scale it is for; NaN where not known."""
    known = [site for site in sites if math.isfinite(site.weight_scale) and site.activation is not None]
    if not known or len({site.kind for site in known}) > 1:
        return math.nan, math.nan, "", 0.0
    bias = float(np.median([site.bias_scale for site in known]))
    bias = float(f"{bias:.2g}")
    return (
        float(np.median([site.weight_scale for site in known])),
        critical_scale(known[0].activation, bias),
        known[0].kind,
        bias,
    )


def _biases(sites: Sequence[Site]) -> str:
    """What is to be said of biases that are far from 0 in all these sites."""
    means = [site.bias_mean for site in sites]
    return f"; biases have mean {np.mean(means):.3g}" if all(abs(mean) > SHIFTED for mean in means) else ""


def _beside_critical(sites: Sequence[Site]) -> str:
    scale, critical, _, _ = _scales(sites)
    if not math.isfinite(critical):
        return ""
    return f"; weights are {scale / critical:.2g}x the critical scale {critical:.3g}"


def _initializer_advice(sites: Sequence[Site]) -> str:
    scale, critical, kind, bias = _scales(sites)
    if not math.isfinite(critical) or abs(math.log(scale / critical)) < math.log(1.15):
        return ""
    return (
        f"Initialise with sigma_w = {critical:.3g} (it is {scale:.3g}): "
        f"jaxsat.critical_initializer({kind!r}, bias_scale={bias:g}). "
    )


def place_of(sites: Sequence[Site]) -> str:
    """Where some sites are, in a few words."""
    names = [site.path + (f"[{','.join(map(str, site.iteration))}]" if site.iteration else "") for site in sites]
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names)} sites)"


def _mean(sites: Sequence[Site], number: str) -> float:
    return float(np.mean([getattr(site, number) for site in sites]))
