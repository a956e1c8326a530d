"""How do layers saturate while a network is trained, and what does the initialisation change?

Glorot & Bengio (2010), figures 2 to 4 and 6 to 9. The top layer of a deep sigmoid network goes to 0 early, stays there
while nothing is learnt, and leaves late or never. The figure shows this; then activations of tanh and softsign networks
against time and at the end; and activations, back-propagated gradients and weight gradients at the start, under the
standard initialisation (uniform on +-1 / sqrt n, sigma_w = 1 / sqrt 3) and the normalised one (sigma_w = 1). Their networks
of 1000 units saw an endless stream of Shapeset-3x2. Here networks are small. The sigmoid networks learn the digits. The
others learn 2000 images like Shapeset-3x2 by heart: on test images they are little better than chance.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from analyses.shared import command

NAME = "saturation_during_training"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer activations, seeds, epochs and depths, digits only (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh", "softsign")
    """Bounded activations beside sigmoid: names from jaxsat.activations.names(). The first is looked at before training,
    too."""
    sigmoid_data: Literal["digits", "shapes"] = "digits"
    """Data of the sigmoid networks: scikit-learn's digits, or 2000 images of 16 x 16 pixels like Shapeset-3x2."""
    data: Literal["digits", "shapes"] = "shapes"
    """Data of the other networks."""
    depths: tuple[int, ...] = (2, 3, 4, 5)
    """Hidden layers of the sigmoid networks."""
    shown: tuple[int, int] = (4, 5)
    """Two of the depths, whose layers are shown: the depth that recovers in Glorot & Bengio, and the depth that does not."""
    depth: int = 5
    """Hidden layers of the other networks."""
    sigmoid_epochs: int = 120
    """Passes over the training data, sigmoid networks."""
    epochs: int = 80
    """Passes over the training data, other networks."""
    sigmoid_rate: float = 0.5
    """Learning rate of plain gradient descent, sigmoid networks."""
    rate: float = 0.1
    """Learning rate, other networks."""
    batch_size: int = 10
    """Examples of a minibatch."""
    seeds: int = 8
    """Networks for each activation, depth and initialisation."""
    start_seeds: int = 32
    """Networks looked at before training."""
    width: int = 64
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "activations": ("tanh",),
    "depths": (2, 4), "shown": (2, 4), "data": "digits", "sigmoid_epochs": 40, "epochs": 12, "seeds": 3, "start_seeds": 8,
}  # fmt: skip
INITIALISATIONS = {"standard": 3**-0.5, "normalised": 1.0}
TEST_SHAPES = 500
PROBE = 300  # training examples on which layers are looked at
RECORD = ("pre_activation_percentiles", "activation_histogram", "log_gradient_norms",
          "log_weight_gradient_norms")  # fmt: skip


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    from jaxsat import checks

    command.check_output(options, NAME)
    command.check_bounded(options.activations)  # histograms go over their range
    command.check_numbers(options, "depths", least=1)
    command.check_at_least(options, depth=1, width=1, sigmoid_epochs=1, epochs=1, batch_size=1)
    command.check_numbers(options, "sigmoid_rate", "rate", above=0)
    if not set(options.shown) <= set(options.depths):
        raise ValueError(checks.refusal("--shown", "", f"be two of --depths, {options.depths}", options.shown))
    command.check_at_least(options, "An interval needs two networks.", seeds=2, start_seeds=2)
