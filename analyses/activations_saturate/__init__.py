"""Where do activations saturate, and where does each dtype lose their slope?

The figure shows value, slope and ln slope of the catalogue. The saturated region, where the slope is at most 5 % of the
largest, is shaded. For each dtype it shows the points where the true slope becomes subnormal, where it rounds to zero, and
where the value rounds to its limit. It also shows the slopes of automatic differentiation: they lose half their digits
first, and become 0 long before the true slopes do.
"""

from __future__ import annotations

import dataclasses

from analyses.shared import command

NAME = "activations_saturate"
DTYPES = ("float64", "float32", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn")
SPURIOUS = ("sigmoid", "tanh")


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A coarser grid and six activations only."""
    activations: tuple[str, ...] = ()
    """Names from jaxsat.activations.names(); none means the whole catalogue."""
    span: float = 8.0
    """Curves are drawn over [-span, span]."""
    points: int = 1601
    """Points of each curve."""
    seed: int = 0
    """Recorded with the dataset; nothing here is random."""


QUICK = {"activations": ("sigmoid", "tanh", "softsign", "erf", "relu", "gelu"), "points": 401}


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    command.check_output(options, NAME)
    command.check_numbers(options, "span", above=0)
    command.check_at_least(options, points=2)
    if options.activations:
        command.check_named(options.activations)
