"""What a network is, the kinds of it, and grids of them."""

from jaxsat.networks.cells import RecurrentParams, RecurrentTrace
from jaxsat.networks.mlp import MLP
from jaxsat.networks.parameters import Params, Trace
from jaxsat.networks.protocol import Network, gaussian_input
from jaxsat.networks.recurrent import Recurrent
from jaxsat.networks.registration import as_network

__all__ = [
    "MLP",
    "Network",
    "Params",
    "Recurrent",
    "RecurrentParams",
    "RecurrentTrace",
    "Trace",
    "as_network",
    "gaussian_input",
]
