"""Activations: value, slope, ln|slope|, kinks and limits of each, and where a dtype loses a slope."""

from jaxsat.activations.catalogue import celu, elu, get, leaky_relu, names
from jaxsat.activations.record import Activation

__all__ = ["Activation", "celu", "elu", "get", "leaky_relu", "names"]
