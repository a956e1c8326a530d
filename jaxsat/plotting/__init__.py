"""Figures from datasets in one line: each function draws a measure of `jaxsat.sweep` or `jaxsat.train` on an axis.

Every function takes the dataset first. It draws on `ax` if that is given, and else on the axis of a new figure, and returns
the axis. Lines are medians over networks, bands go from the 5 % to the 95 % quantile, and the title is a finding made from
the numbers. matplotlib is imported by the first drawing, not by ``import jaxsat``.
"""

from jaxsat.plotting.curves import measure
from jaxsat.plotting.of_measures import (
    gradient_norms,
    histogram,
    input_correlations,
    percentile_lines,
    pre_activations,
    training_curves,
    unit_shares,
)
from jaxsat.plotting.of_spectra import spectrum

__all__ = [
    "gradient_norms",
    "histogram",
    "input_correlations",
    "measure",
    "percentile_lines",
    "pre_activations",
    "spectrum",
    "training_curves",
    "unit_shares",
]
