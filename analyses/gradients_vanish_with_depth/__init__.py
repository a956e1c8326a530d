"""How do gradients vanish or explode with depth, for which activation and weight scale, and how sure are we?

Random networks see real images (scikit-learn's handwritten digits, standardised). A gaussian cotangent of unit norm is
propagated back from the last layer. The norm of the signal at every layer is followed in the log domain, over weight
scales and seeds. All networks with the same seed share their weights up to the scale. Over the measurement the figure shows
the mean of ln||delta_l|| in theory, to first order in 1 / width.
"""

from __future__ import annotations

import dataclasses

from analyses.shared import command

NAME = "gradients_vanish_with_depth"
DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about a minute: fewer activations, seeds, scales, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("sigmoid", "tanh", "softsign", "relu", "gelu", "selu")
    """Names from jaxsat.activations.names()."""
    scales: tuple[float, ...] = (0.6, 0.7, 0.85, 1.0, 1.1, 1.2, 1.4, 1.5, 1.6, 2.0, 2.5, 3.0)
    """Weight scales sigma_w of every activation."""
    large_scales: tuple[float, ...] = (6.0, 10.0, 11.0, 16.0)
    """More scales for activations with bounded values (the forward pass of others overflows float32 there)."""
    bias_scale: float = 0.0
    """Bias scale sigma_b of every network."""
    seeds: int = 1000
    """Networks for each activation and scale."""
    depth: int = 100
    """Layers."""
    width: int = 128
    """Units per layer."""
    images: int = 8
    """Images each network sees. Gradients are root mean squares over them; a dead unit is dead for all of them."""
    root_seed: int = 0
    """Root of all randomness."""
    saturation_scale: float = 2.0
    """Scale at which saturated and dead fractions are drawn; must be among `scales`."""
    zero_scale: float = 1.0
    """Scale at which shares of zero gradients are drawn; must be among `scales`."""
    plain_seeds: int = 50
    """Networks for each activation in which plain back-propagation is also run, in every dtype."""


QUICK = {"activations": ("sigmoid", "tanh", "relu"), "seeds": 24, "depth": 40, "width": 64, "images": 4, "plain_seeds": 16,
         "scales": (0.6, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0), "large_scales": (6.0, 16.0)}  # fmt: skip


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    from jaxsat import checks

    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.check_numbers(options, "scales", "large_scales", above=0)
    for name in ("saturation_scale", "zero_scale"):
        if getattr(options, name) not in options.scales:
            rule = f"be among --scales, {options.scales}"
            raise ValueError(checks.refusal(command.flag(name), "", rule, getattr(options, name)))
    command.check_at_least(options, "A growth rate needs three layers.", depth=3)
    command.check_at_least(options, images=1, width=1, seeds=1, plain_seeds=1)
