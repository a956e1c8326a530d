"""How do the singular values of a network's Jacobian spread with depth, and what does a plain decomposition show of it?

Random networks see a gaussian input of unit mean square. Every singular value of dx_l/dx_0 is computed at every depth, in
one pass in the log domain. Then the Jacobian of a narrow network is multiplied out from its layers and decomposed, in
float32 and in float64, as svd(jax.jacfwd) does. All three are compared with arithmetic of 900 digits.
"""

from __future__ import annotations

import dataclasses

from analyses.shared import command

NAME = "jacobian_spectra_with_depth"
ENSEMBLES = ("gaussian", "orthogonal")
# Weight scales at which mean squared gradients neither grow nor shrink, without biases: 1 / phi'(0) for functions through
# the origin that saturate, sqrt(2) for relu. The sigmoid's is where growth crossed zero in gradients_vanish_with_depth, at
# depth 100 and width 128. That is a measurement of finite networks, not a law.
CRITICAL = {"tanh": 1.0, "erf": 0.8862, "hard_tanh": 1.0, "relu": 1.4142, "sigmoid": 10.6}


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about a minute: fewer activations, seeds, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh", "erf", "hard_tanh", "relu", "sigmoid")
    """Names out of tanh, erf, hard_tanh, relu, sigmoid."""
    factors: tuple[float, ...] = (0.8, 1.0, 1.25)
    """Weight scales of each activation, as multiples of its critical one; 1 must be among them."""
    seeds: int = 128
    """Networks for each activation, ensemble and scale."""
    depth: int = 128
    """Layers."""
    width: int = 48
    """Units per layer."""
    truth_width: int = 12
    """Units per layer of the network held against 900 digits."""
    truth_depth: int = 60
    """Its layers."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"activations": ("tanh", "relu"), "seeds": 16, "depth": 32, "width": 24, "truth_width": 8, "truth_depth": 40}


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    from jaxsat import checks

    command.check_output(options, NAME)
    command.check_named(options.activations)
    for name in options.activations:
        checks.one_of("--activations", "", name, CRITICAL)
    if 1.0 not in options.factors:
        raise ValueError(checks.refusal("--factors", "", "have 1 among them, the critical scale", options.factors))
