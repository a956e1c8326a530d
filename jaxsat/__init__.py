"""jaxsat: where do a network's gradients go?

Activations with slopes that are right where autodiff's are not, random networks as pure functions, exact Jacobians,
their singular values and
back-propagated signals in the log domain, measures of saturation, and sweeps over thousands of networks.
"""

from jaxsat import (
    activations,
    ensembles,
    gaussian,
    gradients,
    krylov,
    measures,
    network,
    precision,
    saturation,
    spectrum,
    theory,
)
from jaxsat.gradients import backpropagated_signal, log_gradient_norms
from jaxsat.jacobian import factors, jacobian, log_singular_values, singular_values
from jaxsat.network import MLP
from jaxsat.sweep import sweep
from jaxsat.training import train

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "activations",
    "backpropagated_signal",
    "ensembles",
    "factors",
    "gaussian",
    "gradients",
    "jacobian",
    "krylov",
    "log_gradient_norms",
    "log_singular_values",
    "measures",
    "network",
    "precision",
    "saturation",
    "singular_values",
    "spectrum",
    "sweep",
    "theory",
    "train",
]
