"""What theory and arithmetic say to try. Where the cause is not known there is no advice.

A critical weight scale belongs to a plain network: its advice is given only if the weights are on the side of it that
explains what was found, and never for gates.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxsat import theory
from jaxsat.activations import Activation
from jaxsat.probing.sites import Site

SHIFTED = 0.5  # mean of the biases
CLOSE = 1.15  # a weight scale within this factor of the critical one is taken as critical

# Critical weight scales without biases, of jaxsat.theory.critical_weight_scale; None: there is none. Computing one
# compiles for seconds, and most networks start without biases.
WITHOUT_BIASES: dict[str, float | None] = {
    **dict.fromkeys(("identity", "tanh", "hard_tanh", "softsign", "arctan", "sin", "elu", "celu"), 1.0),
    **dict.fromkeys(("relu", "relu6", "softplus", "squareplus"), math.sqrt(2)),
    **dict.fromkeys(("gelu", "gelu_tanh", "silu", "mish", "hard_silu"), None),
    "erf": math.sqrt(math.pi) / 2,
    "lecun_tanh": 0.8741768,
    "leaky_relu": math.sqrt(2 / 1.0001),
    "selu": 0.6904861,
    "sigmoid": 10.1492597,
    "hard_sigmoid": 10.3294830,
}


@functools.lru_cache(maxsize=256)
def critical_scale(phi: Activation | None, bias_scale: float) -> float:
    """Return sigma_w at the edge of chaos; NaN where there is none or the activation is not known."""
    if phi is None:
        return math.nan
    if not bias_scale > 0 and phi.name in WITHOUT_BIASES:
        known = WITHOUT_BIASES[phi.name]
        return math.nan if known is None else known
    try:
        return float(theory.critical_weight_scale(phi, 0.0 if math.isnan(bias_scale) else bias_scale))
    except ValueError:
        return math.nan


class Scales(NamedTuple):
    """Weights of some sites beside the critical scale of their activation. NaN where not known.

    Attributes:
        weight: median sigma_w.
        critical: critical sigma_w for these biases.
        kind: the activation.
        bias: median sigma_b, in two digits.
    """

    weight: float
    critical: float
    kind: str
    bias: float

    @property
    def known(self) -> bool:
        return math.isfinite(self.critical) and self.weight > 0

    @property
    def ratio(self) -> float:
        return self.weight / self.critical


def scales_of(sites: Sequence[Site]) -> Scales:
    """Return the scales of sites of one kind of activation. Gates have no critical scale."""
    known = [site for site in sites if math.isfinite(site.weight_scale) and site.activation is not None]
    plain = all(site.role == "activation" for site in sites)
    if not known or not plain or len({site.kind for site in known}) > 1:
        return Scales(math.nan, math.nan, "", 0.0)
    bias = float(f"{float(np.median([site.bias_scale for site in known])):.2g}")
    weight = float(np.median([site.weight_scale for site in known]))
    return Scales(weight, critical_scale(known[0].activation, bias), known[0].kind, bias)


def beside_critical(sites: Sequence[Site]) -> str:
    """Return how the weights compare with the critical scale, as the end of a sentence; '' if that is not known."""
    scales = scales_of(sites)
    if not scales.known:
        return ""
    return f"; weights are {scales.ratio:.2g}x the critical scale {scales.critical:.3g}"


def smaller_weights(sites: Sequence[Site]) -> str:
    """Return advice to initialise at the critical scale, if the weights are above it."""
    scales = scales_of(sites)
    return _initializer(scales) if scales.known and scales.ratio > CLOSE else ""


def larger_weights(sites: Sequence[Site]) -> str:
    """Return advice for weights below the critical scale.

    At the critical scale of a bounded activation that is not 0 at 0 (sigmoid: 10) half of the units saturate, so there
    the advice is another activation.
    """
    scales = scales_of(sites)
    if not scales.known or scales.ratio > 1 / CLOSE:
        return ""
    if scales.critical > 3:
        return (
            f"Take tanh or relu instead of {scales.kind}: at the critical scale of {scales.kind}, "
            f"{scales.critical:.3g}, many of its units are saturated. "
        )
    return _initializer(scales)


def _initializer(scales: Scales) -> str:
    return (
        f"Initialise with sigma_w = {scales.critical:.3g} (it is {scales.weight:.3g}): "
        f"jaxsat.critical_initializer({scales.kind!r}, bias_scale={scales.bias:g}). "
    )


def shifted_biases(sites: Sequence[Site]) -> str:
    """Return what to say of biases that are far from 0 in all these sites; '' if they are not."""
    means = [site.bias_mean for site in sites]
    return f"; biases have mean {np.mean(means):.3g}" if all(abs(mean) > SHIFTED for mean in means) else ""
