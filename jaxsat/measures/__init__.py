"""What is looked at in a network: Jacobians, back-propagated signals, saturation; and the catalogue of measures."""

from jaxsat.measures.registry import Measure, Variable, get, names

__all__ = ["Measure", "Variable", "get", "names"]
