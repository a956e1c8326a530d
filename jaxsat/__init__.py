"""jaxsat: where do a network's gradients go?

Activations with slopes that are right where autodiff's are not, random networks as pure functions, exact Jacobians,
their singular values and
back-propagated signals in the log domain, measures of saturation, and sweeps over thousands of networks.
"""

from jaxsat import activations, addresses, measures, networks, plotting, theory
from jaxsat.activations import precision
from jaxsat.linalg import ensembles, krylov, spectrum
from jaxsat.measures import gradients, saturation
from jaxsat.measures.gradients import backpropagated_signal, log_gradient_norms
from jaxsat.measures.jacobians import factors, jacobian, log_singular_values, singular_values
from jaxsat.measures.scan_exponents import lyapunov_exponents_of_scan
from jaxsat.measures.scan_gradients import gradients_of_scan, log_gradient_norms_of_scan
from jaxsat.measures.scan_spectra import leading_log_singular_values_of_scan, log_singular_values_of_scan
from jaxsat.networks.mlp import MLP
from jaxsat.networks.recurrent import Recurrent
from jaxsat.probing import monitoring
from jaxsat.probing.coordinates import coordinate_check
from jaxsat.probing.monitoring import PeriodicProbe, monitor
from jaxsat.probing.precision_what_if import precision_report
from jaxsat.probing.prober import probe
from jaxsat.results import estimates
from jaxsat.sweeps.sweeping import sweep
from jaxsat.theory.initializers import critical_initializer
from jaxsat.training import datasets
from jaxsat.training.together import train

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "PeriodicProbe",
    "Recurrent",
    "activations",
    "addresses",
    "backpropagated_signal",
    "coordinate_check",
    "critical_initializer",
    "datasets",
    "ensembles",
    "estimates",
    "factors",
    "gradients",
    "gradients_of_scan",
    "jacobian",
    "krylov",
    "leading_log_singular_values_of_scan",
    "log_gradient_norms",
    "log_gradient_norms_of_scan",
    "log_singular_values",
    "log_singular_values_of_scan",
    "lyapunov_exponents_of_scan",
    "measures",
    "monitor",
    "monitoring",
    "networks",
    "plotting",
    "precision",
    "precision_report",
    "probe",
    "saturation",
    "singular_values",
    "spectrum",
    "sweep",
    "theory",
    "train",
]
