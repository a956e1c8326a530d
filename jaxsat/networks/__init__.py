"""What a network is, the kinds of it, and grids of them."""

from jaxsat.networks.mlp import MLP, gaussian_input
from jaxsat.networks.parameters import Params, Trace

__all__ = ["MLP", "Params", "Trace", "gaussian_input"]
