"""Activations phi: value, slope, ln|slope|, kinks, limits; any callable; where a dtype loses a slope (precision)."""

from jaxsat.activations.catalogue import celu, elu, get, leaky_relu, names
from jaxsat.activations.record import Activation, ActivationLike

__all__ = ["Activation", "ActivationLike", "celu", "elu", "get", "leaky_relu", "names"]
