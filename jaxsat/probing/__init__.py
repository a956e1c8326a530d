"""A saturation report for any JAX function: where its units saturate, die, and where its gradients go."""

from jaxsat.probing.finding import Finding
from jaxsat.probing.prober import Prepared, prepare, probe
from jaxsat.probing.report import Report
from jaxsat.probing.sites import Site

__all__ = ["Finding", "Prepared", "Report", "Site", "prepare", "probe"]
