"""The models of the blind try (see ``blind_try``) that are made of the layers of public libraries."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from tests.probing.bank.case import Fault, draws, filled, model
from tests.probing.bank.layers import LABELS, classify


@model(
    "flax",
    Fault(
        "hidden biases of the token mix at -30", ("dead", "saturated"), "biases have mean -30", "Start the biases at 0"
    ),
    Fault("nan in a kernel of the channel mix", ("nonfinite",), "Dense_2"),
    Fault("what the block gives is stopped", ("disconnected",), "Dense_0", "remove it"),
)
def flax_linen_mixer(fault):
    """One block that mixes tokens, then channels (Tolstikhin et al. 2021)."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.LayerNorm()(x).swapaxes(1, 2)
            x = x + nn.Dense(9)(nn.gelu(nn.Dense(18)(y))).swapaxes(1, 2)
            x = x + nn.Dense(12)(nn.gelu(nn.Dense(24)(nn.LayerNorm()(x))))
            x = jax.lax.stop_gradient(x) if fault == "what the block gives is stopped" else x
            return nn.Dense(5)(nn.LayerNorm()(x).mean(axis=1))

    net, x = Net(), draws(0, 16, 9, 12)
    params = filled(jax.eval_shape(net.init, jax.random.key(0), x))
    inner = params["params"]
    inner["Dense_1"]["bias"] -= 30 if fault == "hidden biases of the token mix at -30" else 0
    inner["Dense_2"]["kernel"][1, 1] *= np.nan if fault == "nan in a kernel of the channel mix" else 1
    return lambda p, x, y: classify(net.apply(p, x), y), (params, x, LABELS)


@model(
    "flax",
    Fault("biases of the second layer at -30", ("dead",), "biases have mean -30", "Start the biases at 0"),
    Fault("one kernel x 3000", ("imbalanced", "exploding"), "Dense_1"),
    Fault("inf in an input", ("nonfinite",), "args[1]"),
)
def flax_linen_dense_net(fault):
    """Every layer sees all before it (Huang et al. 2017)."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(4):
                x = jnp.concatenate([x, nn.relu(nn.Dense(12)(x))], axis=1)
            return nn.Dense(5)(x)

    net, x = Net(), draws(0, 16, 8)
    params = filled(jax.eval_shape(net.init, jax.random.key(0), x))
    inner = params["params"]
    inner["Dense_1"]["bias"] -= 30 if fault == "biases of the second layer at -30" else 0
    inner["Dense_1"]["kernel"] *= 3000 if fault == "one kernel x 3000" else 1
    x[2, 3] = np.inf if fault == "inf in an input" else x[2, 3]
    return lambda p, x, y: classify(net.apply(p, x), y), (params, x, LABELS)


@model(
    "haiku",
    Fault("recurrent weights x 0.02", ("vanishing",), "scan"),
    Fault("recurrent weights x 30", ("saturated",), "tanh", "sigma_w = 1"),
    Fault("identity in place of tanh, weights x 2", ("exploding",), "['again']['w']"),
)
def haiku_recurrent(fault):
    """A plain recurrent network that must remember its first input for 30 steps (Elman 1990; Le et al. 2015)."""
    factor = {
        "recurrent weights x 0.02": 0.02,
        "recurrent weights x 30": 30.0,
        "identity in place of tanh, weights x 2": 2.0,
    }
    phi = (lambda h: h) if fault == "identity in place of tanh, weights x 2" else jnp.tanh

    def forward(xs):
        first, again = hk.Linear(16, name="first"), hk.Linear(16, name="again")
        last, _ = hk.scan(lambda h, x: (phi(first(x) + again(h)), None), jnp.zeros((8, 16)), xs)
        return hk.Linear(1, name="last")(last)

    net = hk.without_apply_rng(hk.transform(forward))
    xs = np.concatenate([draws(0, 1, 8, 2), np.zeros((29, 8, 2), np.float32)])
    params = filled(jax.eval_shape(net.init, jax.random.key(0), xs))
    params["again"]["w"] = (np.linalg.qr(draws(1, 16, 16))[0] * factor.get(fault or "", 1.0)).astype(np.float32)
    return lambda p, xs: jnp.mean((net.apply(p, xs) - xs[0, :, :1]) ** 2), (params, xs)


@model(
    "equinox",
    Fault("weights x 0.05", ("vanishing",), "sigmoid", "skip connections"),
    Fault("images of 0 to 255", ("saturated",), "sigmoid", "scale them to unit mean square"),
    Fault("nan in a bias", ("nonfinite",), "bias"),
)
def equinox_autoencoder(fault):
    """Twelve numbers through four and back, by sigmoid units (Hinton & Salakhutdinov 2006)."""
    shapes = eqx.filter_eval_shape(lambda key: eqx.nn.MLP(12, 12, 24, 6, jax.nn.sigmoid, key=key), jax.random.key(0))
    arrays, rest = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    factor = 0.2 if fault == "weights x 0.05" else 4.0
    drawn = jax.tree.map(lambda w: factor * w if w.ndim == 2 else w, filled(arrays))
    net = eqx.combine(drawn, rest)
    if fault == "nan in a bias":
        net = eqx.tree_at(lambda n: n.layers[2].bias, net, np.where(np.arange(24) == 3, np.nan, 0).astype(np.float32))
    x = np.abs(draws(0, 32, 2) @ draws(1, 2, 12)) * (100 if fault == "images of 0 to 255" else 1)
    goal = x / x.max()
    return lambda net, x, goal: jnp.mean((jax.vmap(net)(x) - goal) ** 2), (net, x, goal)


@model(
    "flax",
    Fault("gates shut by their biases", ("saturated",), "sigmoid", "biases nearer to 0"),
    Fault("images of 0 to 255 into tanh", ("saturated",), "tanh", "scale them to unit mean square"),
    Fault("a kernel of zeros", (), "all zeros"),
)
def flax_linen_squeeze(fault):
    """A convolution whose channels are gated by what all places say (Hu et al. 2018)."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = jnp.tanh(nn.Conv(8, (3, 3))(x))
            x = x * nn.sigmoid(nn.Dense(8)(nn.relu(nn.Dense(4)(x.mean(axis=(1, 2))))))[:, None, None]
            return nn.Dense(5)(nn.tanh(nn.Conv(8, (3, 3), strides=2)(x)).mean(axis=(1, 2)))

    net, x = Net(), draws(0, 16, 6, 6, 3)
    x = np.abs(x) * 100 if fault == "images of 0 to 255 into tanh" else x
    params = filled(jax.eval_shape(net.init, jax.random.key(0), x))
    params["params"]["Dense_0"]["bias"] -= 20 if fault == "gates shut by their biases" else 0
    params["params"]["Dense_2"]["kernel"] *= fault != "a kernel of zeros"
    return lambda p, x, y: classify(net.apply(p, x), y), (params, x, LABELS)
