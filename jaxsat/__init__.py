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
    initializers,
    krylov,
    measures,
    monitoring,
    network,
    precision,
    probing,
    saturation,
    spectrum,
    theory,
)
from jaxsat.gradients import backpropagated_signal, log_gradient_norms
from jaxsat.initializers import critical_initializer
from jaxsat.jacobian import factors, jacobian, log_singular_values, singular_values
from jaxsat.monitoring import monitor
from jaxsat.network import MLP
from jaxsat.probing import probe
from jaxsat.sweep import sweep
from jaxsat.training import train

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "activations",
    "backpropagated_signal",
    "critical_initializer",
    "ensembles",
    "factors",
    "gaussian",
    "gradients",
    "initializers",
    "jacobian",
    "krylov",
    "log_gradient_norms",
    "log_singular_values",
    "measures",
    "monitor",
    "monitoring",
    "network",
    "precision",
    "probe",
    "probing",
    "saturation",
    "singular_values",
    "spectrum",
    "sweep",
    "theory",
    "train",
]
