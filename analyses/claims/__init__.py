"""Which of the claims about saturation, vanishing gradients and ReLU hold, and under which conditions?

Each claim is tested by an experiment, with an effect, its 95 % interval and a threshold. ``analyses.shared.verdicts`` has
the rule from which the verdict follows. Nothing is judged by hand: the table and the titles of the panels come from the
data.
"""

from __future__ import annotations

import dataclasses

from analyses.shared import command

NAME = "claims"
TOGETHER = 5  # claims whose effects are in a single figure


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about a minute: fewer seeds, epochs and layers (their options are ignored)."""
    activations: tuple[str, ...] = ("sigmoid", "tanh")
    """Sigmoidal activations on which the claims are tested: bounded on both sides."""
    learning_rates: tuple[float, ...] = (0.03, 0.1, 1.0)
    """Learning rates of the networks in training."""
    factor: float = 4.0
    """Large weight scale, in units of the standard one (1; sqrt 2 for relu)."""
    depth: int = 4
    """Layers of the networks in training."""
    width: int = 64
    """Units per layer."""
    examples: int = 500
    """Digits trained on; the rest of the 1797 are for testing."""
    epochs: int = 60
    """Passes over the training data."""
    batch_size: int = 50
    """Examples of a minibatch."""
    looks: int = 24
    """Number of times at which networks are looked at in training, at equal ratios."""
    seeds: int = 32
    """Networks for each setting of training."""
    drawn_depth: int = 20
    """Layers of the networks looked at before training."""
    drawn_seeds: int = 64
    """Number of those networks for each activation and weight scale."""
    level: float = 0.95
    """Training accuracy at which generalisation is compared."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "seeds": 8, "epochs": 25, "looks": 12, "learning_rates": (0.1, 1.0), "drawn_seeds": 16, "drawn_depth": 12,
}  # fmt: skip


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    from jaxsat import checks

    command.check_output(options, NAME)
    command.check_bounded(options.activations)
    command.check_at_least(options, depth=3, drawn_depth=3, seeds=2, drawn_seeds=2, epochs=1, looks=2)
    checks.integer("--examples", "", options.examples, 100, 1796)
    remedy = "A minibatch is at most as large as --examples."
    checks.integer("--batch-size", "", options.batch_size, 1, options.examples, remedy)
    command.check_numbers(options, "learning_rates", above=0)
    command.check_numbers(options, "factor", above=1)
    command.check_numbers(options, "level", least=0.2, most=0.999)
