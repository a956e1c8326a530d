"""How fast do gradients vanish in time, in which recurrent cell, and what do gates and their biases change?

Random recurrent networks read fresh gaussian inputs. After some steps, when the state has settled, a gaussian cotangent of
unit norm goes back through time from the last state. The norm of what arrives at each step is followed in the log domain.
Beside it stand the spectrum of the state's Jacobian over that many steps, and the share of networks whose gradient is
exactly 0 in each dtype. The theory is mean field with untied weights; the networks keep their weights.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from analyses.shared import command

NAME = "gradients_vanish_in_time"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about half a minute: fewer seeds, steps, units and settings (their options are ignored)."""
    cells: tuple[Literal["tanh", "minimal", "gru", "lstm"], ...] = ("tanh", "minimal", "gru", "lstm")
    """Cells of recurrent networks."""
    dtypes: tuple[Literal["float32", "bfloat16", "float16"], ...] = ("float32", "bfloat16", "float16")
    """In which plain back-propagation is run."""
    scales: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0)
    """Weight scales."""
    gate_biases: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0)
    """Biases of the gate that keeps the state. The tanh cell has none."""
    shown_scale: float = 1.0
    """Weight scale at which gated cells are drawn against the lag; must be among `scales`."""
    bias_scale: float = 0.0
    """Scale of random biases."""
    input_scale: float = 1.0
    """Scale of the weights on inputs, which have mean square 1."""
    lags: int = 250
    """Steps over which gradients go back."""
    before: int = 150
    """Steps before those, in which the state settles."""
    width: int = 128
    """Units."""
    seeds: int = 100
    """Networks for each setting."""
    spectrum_cells: tuple[Literal["tanh", "minimal", "gru", "lstm"], ...] = ("tanh", "minimal", "gru", "lstm")
    """Cells whose spectrum is taken."""
    spectrum_width: int = 24
    """Units of the networks whose spectrum is taken."""
    spectrum_seeds: int = 8
    """Number of those networks for each cell."""
    plain_seeds: int = 16
    """Networks for each cell in which plain back-propagation is run, in every dtype."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"cells": ("tanh", "lstm"), "dtypes": ("float16",), "spectrum_cells": ("lstm",), "scales": (0.5, 1.0, 2.0), "gate_biases": (0.0, 3.0), "lags": 120, "before": 60, "width": 32, "seeds": 12,
         "spectrum_width": 8, "spectrum_seeds": 3, "plain_seeds": 4}  # fmt: skip


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    from jaxsat import checks

    command.check_output(options, NAME)
    for name in ("cells", "dtypes", "spectrum_cells"):
        if not getattr(options, name):
            raise ValueError(checks.refusal(command.flag(name), "", "have at least one name", checks.Shown("none")))
    command.check_numbers(options, "scales", above=0)
    command.check_numbers(options, "gate_biases")
    command.check_numbers(options, "bias_scale", "input_scale", least=0)
    if options.shown_scale not in options.scales:
        rule = f"be among --scales, {options.scales}"
        raise ValueError(checks.refusal("--shown-scale", "", rule, options.shown_scale))
    command.check_at_least(options, "A growth rate needs ten steps.", lags=10)
    command.check_at_least(options, before=0, width=1, spectrum_width=2, seeds=2, spectrum_seeds=1, plain_seeds=1)
