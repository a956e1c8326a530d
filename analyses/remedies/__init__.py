"""Which change makes an untrainable deep network trainable, and what should be tried first?

A deep network on digits has weights that are too small, so that gradients vanish, or too large, so that they explode. It is
trained as it is, and with a single thing changed. Three numbers are compared: the ratio of the gradients at the first
and the last layer, before and after training; the spread of the singular values of the Jacobian before training (for an
optimiser this is the spread of the untreated network); and the test accuracy. Every remedy gets the learning rate that suits
it, chosen on seeds that are not reported.
"""

from __future__ import annotations

import dataclasses

from analyses.shared import command

NAME = "remedies"
OWN = "its own"  # instead of an ailment, for a remedy that sets the scale of weights itself
AILMENTS: tuple[str, str] = ("too small", "too large")


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in under a minute: fewer remedies, rates and seeds (their options are ignored)."""
    ailing: str = "tanh"
    """Activation of the network that cannot be trained."""
    scales: tuple[float, float] = (0.5, 4.0)
    """Its bad weight scales sigma_w: too small, too large."""
    activations: tuple[str, ...] = ("relu", "leaky_relu", "selu")
    """Activations tried instead, each at the weight scale that keeps a mean square of 1 (He's for relu, LeCun's for selu)."""
    residual_scale: float = 0.2
    """a of the skip connections x + a phi(h)."""
    clip: float = 1.0
    """Largest norm of a clipped gradient."""
    optimizers: tuple[str, ...] = ("clipping", "adam", "normalised steps")
    """Optimisers tried instead of plain gradient descent."""
    rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    """Learning rates to choose from; adam gets a thirtieth of them."""
    choosing: int = 3
    """Seeds on which the learning rate of a remedy is chosen: the rate with the lowest median training loss at the end."""
    seeds: int = 7
    """Other seeds, whose results are reported."""
    depth: int = 24
    """Layers."""
    width: int = 64
    """Units per layer."""
    epochs: int = 10
    """Passes over the training data."""
    batch_size: int = 64
    """Examples of a minibatch."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "activations": ("relu",), "optimizers": ("adam",), "rates": (0.03, 0.1), "choosing": 1, "seeds": 4, "width": 32, "epochs": 8,
}  # fmt: skip


OPTIMIZERS = ("clipping", "adam", "normalised steps")


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    from jaxsat import checks

    command.check_output(options, NAME)
    command.check_named((options.ailing, *options.activations))
    command.check_at_least(options, choosing=1, depth=2, width=10, epochs=1, batch_size=1)
    command.check_at_least(options, "An interval needs two networks.", seeds=2)
    if not 0 < options.scales[0] < options.scales[1]:
        rule = "be two numbers, 0 < too small < too large"
        raise ValueError(checks.refusal("--scales", "", rule, options.scales))
    command.check_numbers(options, "rates", "residual_scale", "clip", above=0)
    for name in options.optimizers:
        checks.one_of("--optimizers", "", name, OPTIMIZERS)
