"""What should be seen: gaussian integrals, mean field, free probability, finite width. Never imports networks.

Theory and measurement are two witnesses: they meet in the tests, in the analyses, and in the advice of `probing`.
"""

from jaxsat.theory.correlations import correlation_map, correlation_trajectory
from jaxsat.theory.dying import BornDeadBounds, born_dead_bounds, born_dead_probability, saturated_probability
from jaxsat.theory.edge_of_chaos import critical_weight_scale
from jaxsat.theory.exact_norms import (
    Distribution,
    LogNormLaw,
    NormMoments,
    exact_log_norm_distribution,
    exact_log_norms,
    gaussian_lyapunov_exponents,
    norm_moments,
)
from jaxsat.theory.free_probability import SpectrumMoments, log_spectrum_density, spectrum_density, spectrum_moments
from jaxsat.theory.lengths import FixedPoints, fixed_points, length_map, length_trajectory
from jaxsat.theory.log_normal import log_normal_law
from jaxsat.theory.propagation import MeanField, gradient_growth, log_gradient_norms, mean_field
from jaxsat.theory.recurrent_field import (
    RecurrentField,
    RecurrentTrajectory,
    recurrent_mean_field,
    recurrent_trajectory,
)
from jaxsat.theory.residual import ResidualField, layer_norm_chi, residual_field

__all__ = [
    "BornDeadBounds",
    "Distribution",
    "FixedPoints",
    "LogNormLaw",
    "MeanField",
    "NormMoments",
    "RecurrentField",
    "RecurrentTrajectory",
    "ResidualField",
    "SpectrumMoments",
    "born_dead_bounds",
    "born_dead_probability",
    "correlation_map",
    "correlation_trajectory",
    "critical_weight_scale",
    "exact_log_norm_distribution",
    "exact_log_norms",
    "fixed_points",
    "gaussian_lyapunov_exponents",
    "gradient_growth",
    "layer_norm_chi",
    "length_map",
    "length_trajectory",
    "log_gradient_norms",
    "log_normal_law",
    "log_spectrum_density",
    "mean_field",
    "norm_moments",
    "recurrent_mean_field",
    "recurrent_trajectory",
    "residual_field",
    "saturated_probability",
    "spectrum_density",
    "spectrum_moments",
]
