"""Activations: value, slope, ln|slope|, kinks and limits of each, and where a dtype loses a slope."""

from jaxsat.activations.catalogue import celu, elu, get, leaky_relu, names
from jaxsat.activations.record import Activation, ActivationLike

__all__ = ["Activation", "ActivationLike", "celu", "elu", "get", "leaky_relu", "names"]
