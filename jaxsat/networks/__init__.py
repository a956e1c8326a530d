"""What a network is, the kinds of it, and grids of them."""

from jaxsat.networks.mlp import MLP, Params, Trace, gaussian_input

__all__ = ["MLP", "Params", "Trace", "gaussian_input"]
