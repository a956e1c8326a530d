"""Which relu units die while a network is trained, which were born dead, and does any come back?

A unit is dead where its slope is 0 for every training input: no gradient passes through it, and its own weights get no
gradient. Under plain gradient descent a dead unit of the first layer stays dead for ever. A deeper unit can be revived by
the layers below it. Dead units are counted unit by unit at recorded steps, against learning rate, scale of the initial
biases and leak. Networks that diverge are counted apart, because they stay as they were when they diverged.
"""

from __future__ import annotations

import dataclasses

from analyses.shared import command

NAME = "dying_relu"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds, rates and epochs (their options are ignored)."""
    activations: tuple[str, ...] = ("relu",)
    """Names from jaxsat.activations.names(). The first is looked at closely, the others are compared with it."""
    leaks: tuple[float, ...] = (0.01, 0.1)
    """Slopes below 0 of leaky_relu activations, which are compared too."""
    rates: tuple[float, ...] = (0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 2.0, 4.0)
    """Learning rates of plain gradient descent."""
    bias_scales: tuple[float, ...] = (0.0, 1.0, 3.0)
    """Scales sigma_b of the initial biases."""
    shown_rate: float = 0.1
    """The learning rate at which layers are compared; must be among rates."""
    clip: float = 1.0
    """Largest norm of the gradient in a second training, in which no network diverges. It trains the first activation at
    the smallest bias scale."""
    weight_scale: float = 2**0.5
    """Weight scale sigma_w."""
    seeds: int = 16
    """Networks for each combination."""
    epochs: int = 20
    """Passes over the training digits."""
    batch_size: int = 64
    """Examples of a minibatch."""
    depth: int = 4
    """Layers."""
    width: int = 64
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "seeds": 8, "epochs": 10, "rates": (0.1, 0.4, 0.8, 2.0), "bias_scales": (0.0, 3.0), "leaks": (0.01,), "width": 48,
}  # fmt: skip


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    from jaxsat import checks

    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.check_numbers(options, "rates", "clip", above=0)
    command.check_numbers(options, "bias_scales", "leaks", least=0)
    if options.shown_rate not in options.rates:
        rule = f"be among --rates, {options.rates}"
        raise ValueError(checks.refusal("--shown-rate", "", rule, options.shown_rate))
    command.check_at_least(options, "An interval needs two networks.", seeds=2)
