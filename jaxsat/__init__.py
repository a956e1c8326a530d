"""jaxsat: where do a network's gradients go?

Activations with slopes that are right where autodiff's are not, random networks as pure functions, exact Jacobians,
back-propagated signals in the log domain, measures of saturation, and sweeps over thousands of networks.
"""

from jaxsat import activations, ensembles, gradients, measures, network, precision, saturation
from jaxsat.gradients import backpropagated_signal, log_gradient_norms
from jaxsat.jacobian import factors, jacobian
from jaxsat.network import MLP
from jaxsat.sweep import sweep

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "activations",
    "backpropagated_signal",
    "ensembles",
    "factors",
    "gradients",
    "jacobian",
    "log_gradient_norms",
    "measures",
    "network",
    "precision",
    "saturation",
    "sweep",
]
