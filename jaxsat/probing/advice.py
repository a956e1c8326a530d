"""What theory and arithmetic say to try. Where the cause is not known there is no advice.

A critical weight scale belongs to a plain network: its advice is given only if the weights are on the side of it that
explains what was found, and never for gates.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from jaxsat.activations import Activation
from jaxsat.probing.host_theory import growth_with_layer_norm, growth_with_skip, quick_edge
from jaxsat.probing.sites import Site

Form = Literal["plain", "residual", "gated"]
SHIFTED = 0.5  # mean of the biases
SHARE = 0.1  # of the pre-activations that a mean of biases must be, to explain anything
ALIVE = (0.8, 1.25)  # a factor of the gradient per layer that deep networks train with
NO_BIAS = 1e-3  # float32 resolves the edge of chaos from here on; below, critical scales are up to 5 % off (softsign)
LARGE_BIASES = 2.0  # sigma_b
CLOSE = 1.15  # a weight scale within this factor of the critical one is taken as critical

# Critical weight scales without biases, of jaxsat.theory.critical_weight_scale; None: there is none.
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
    if not bias_scale > NO_BIAS and phi.name in WITHOUT_BIASES:
        known = WITHOUT_BIASES[phi.name]
        return math.nan if known is None else known
    return quick_edge(phi, bias_scale if bias_scale > 0 else 0.0)


class Scales(NamedTuple):
    """Weights of some sites beside the critical scale of their activation. NaN where not known.

    Attributes:
        weight: median sigma_w.
        critical: critical sigma_w for these biases.
        kind: the activation.
        bias: sigma_b that the critical scale is for: the median, in two digits, or 0 where that is large.
        seen: the median itself.
    """

    weight: float
    critical: float
    kind: str
    bias: float
    seen: float

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
        return Scales(math.nan, math.nan, "", 0.0, 0.0)
    seen = float(f"{float(np.median([site.bias_scale for site in known])):.2g}")
    bias = 0.0 if seen > LARGE_BIASES else seen  # weights that outweigh such biases saturate
    weight = float(np.median([site.weight_scale for site in known]))
    return Scales(weight, critical_scale(known[0].activation, bias), known[0].kind, bias, seen)


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
            f"Take tanh or relu instead of {scales.kind}, with weights from jaxsat.critical_initializer: at the critical "
            f"scale of {scales.kind}, {scales.critical:.3g}, many of its units are saturated. "
        )
    return _initializer(scales)


def against_vanishing(sites: Sequence[Site], form: Form, normalized: bool) -> str:
    """Return what to do where gradients vanish along plain layers, or on a residual stream.

    Args:
        sites: the activations on the way.
        form: of what the gradient passes.
        normalized: whether there are normalisations.
    """
    if form == "gated":
        return (
            "The gates pass on less than all of the state at each step. Biases that open the gates which keep it (forget "
            "gate of an LSTM, update gate of a GRU) lengthen the memory; so does a shorter way."
        )
    if form == "residual":
        return (
            "There are skip connections already: look for what stands on the stream itself, such as an activation, a "
            "normalisation or a scale after the sum, and move it into the branch."
        )
    first = "" if normalized else larger_weights(sites)
    return f"{first}{_tried(sites, normalized)}"


def against_exploding(sites: Sequence[Site], form: Form, normalized: bool) -> str:
    """Return what to do where gradients explode. Arguments as of :func:`against_vanishing`."""
    if form == "residual":
        return (
            "Scale each branch by 1 / sqrt(their number), or normalise at the beginning of each branch. Clipping gradients "
            "bounds the step."
        )
    first = "" if normalized else smaller_weights(sites)
    return f"{first}Clipping gradients bounds the step."


def _tried(sites: Sequence[Site], normalized: bool) -> str:
    """Return what theory says of skip connections and of layer normalisation in place of what was found."""
    scales = scales_of(sites)
    phi = sites[0].activation if sites else None
    if phi is None or not scales.weight > 0:
        return "Skip connections keep the gradient alive in deep networks."
    q = float(np.median([site.pre_activation_rms for site in sites])) ** 2
    skip = growth_with_skip(phi, scales.weight, q)
    norm = growth_with_layer_norm(phi, scales.weight, 0.0 if math.isnan(scales.bias) else scales.bias)
    said = []
    if ALIVE[0] <= skip <= ALIVE[1]:
        said.append(f"With skip connections, x + {phi.name}(h), theory gives {skip:.3g}x a layer.")
    if not normalized and ALIVE[0] <= norm <= ALIVE[1]:
        said.append(f"With layer normalisation before each {phi.name} it gives {norm:.3g}x.")
    elif not normalized:
        said.append(f"Layer normalisation would not help: {norm:.2g}x a layer.")
    return " ".join(said)


def _initializer(scales: Scales) -> str:
    biases = f", biases at 0 (they have scale {scales.seen:g})" if scales.seen > LARGE_BIASES else ""
    return (
        f"Initialise with sigma_w = {scales.critical:.3g} (it is {scales.weight:.3g}){biases}: "
        f"jaxsat.critical_initializer({scales.kind!r}, bias_scale={scales.bias:g}). "
    )


def shifted_biases(sites: Sequence[Site]) -> str:
    """Return what to say of biases that are far from 0 in all these sites; '' if they are not."""
    far = all(abs(site.bias_mean) > max(SHIFTED, SHARE * site.pre_activation_rms) for site in sites)
    return f"; biases have mean {np.mean([site.bias_mean for site in sites]):.3g}" if far else ""
