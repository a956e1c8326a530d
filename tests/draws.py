"""Networks drawn by NumPy: where a test is not about jaxsat's draws, it need not compile them for each shape."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxsat import MLP, Recurrent, addresses
from jaxsat.networks.cells import RecurrentParams
from jaxsat.networks.parameters import Params
from jaxsat.networks.recurrent import SWEPT


def params_of(net: MLP, seed: int = 0, dtype: type = np.float64) -> Params:
    """Return parameters of an MLP: gaussian or orthogonal draws at unit scale, with the scales of the network."""
    rng = np.random.default_rng(seed)

    def array(numbers: ArrayLike) -> Array:
        return jnp.asarray(np.asarray(numbers, dtype))

    def draw(n_out: int, n_in: int) -> np.ndarray:
        gaussian = rng.normal(size=(n_out, n_in))
        return np.linalg.qr(gaussian)[0] if net.ensemble == "orthogonal" else gaussian / np.sqrt(n_in)

    width, outputs = net.width, net.outputs
    hidden = [draw(width, width) for _ in range(net.depth - 1)]
    return Params(
        first=array(draw(width, net.input_width)),
        hidden=array(np.reshape(hidden, (net.depth - 1, width, width))),
        biases=array(rng.normal(size=(net.depth, width))),
        readout=None if outputs is None else array(draw(outputs, width)),
        readout_bias=None if outputs is None else array(rng.normal(size=outputs)),
        weight_scale=array(net.weight_scale),
        bias_scale=array(net.bias_scale),
        residual_scale=None if net.residual_scale is None else array(net.residual_scale),
    )


def recurrent_params_of(net: Recurrent, seed: int = 0) -> RecurrentParams:
    """Return parameters of a recurrent network: gaussian draws at unit scale, with the scales of the network."""
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda like: jnp.asarray(rng.normal(size=like.shape) / like.shape[-1] ** 0.5 if like.shape else np.float64(0)),
        jax.eval_shape(net.init, addresses.root(0)),
    )
    scales = {name: getattr(net, name) for name in SWEPT}
    return params._replace(**{name: jnp.asarray(np.float64(s)) for name, s in scales.items() if not isinstance(s, str)})
