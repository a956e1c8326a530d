"""What should be seen: signal propagation in wide networks, and what is exact at finite width.

Nothing here knows a network: theory and measurement meet in the analyses only.
"""

from jaxsat.theory.propagation import (
    FixedPoints,
    MeanField,
    correlation_map,
    correlation_trajectory,
    critical_weight_scale,
    fixed_points,
    gradient_growth,
    length_map,
    length_trajectory,
    log_gradient_norms,
    mean_field,
)
from jaxsat.theory.remedies import ResidualField, layer_norm_chi, residual_field

__all__ = [
    "FixedPoints",
    "MeanField",
    "ResidualField",
    "correlation_map",
    "correlation_trajectory",
    "critical_weight_scale",
    "fixed_points",
    "gradient_growth",
    "layer_norm_chi",
    "length_map",
    "length_trajectory",
    "log_gradient_norms",
    "mean_field",
    "residual_field",
]
