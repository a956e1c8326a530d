"""Models made of the layers of public libraries: Flax (linen and nnx), Equinox, Haiku, Optax's losses."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from tests.probing.bank.case import Fault, draws, model, square

LABELS = np.random.default_rng(1).integers(0, 5, size=32)
X = draws(0, 32, 16)


def classify(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@model("flax", Fault("kernels x 40", ("saturated",), "tanh", "sigma_w = 1"), Fault("zero inputs of one unit", (), ""))
def flax_linen_mlp(fault):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(3):
                x = nn.tanh(nn.Dense(32)(x))
            return nn.Dense(5)(x)

    net = Net()
    params = net.init(jax.random.key(0), X)
    if fault == "kernels x 40":
        params = jax.tree.map(lambda w: 40 * w, params)
    x = X.copy()
    x[:, 0] = 0 if fault else x[:, 0]
    return lambda p, x, y: classify(net.apply(p, x), y), (params, x, LABELS)


@model(
    "flax",
    Fault("bias at -20", ("dead",), "biases have mean -20", "Start the biases at 0"),
    Fault("nan in a kernel", ("nonfinite",), "kernel"),
)
def flax_nnx_mlp(fault):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(16, 16, rngs=rngs) for _ in range(3)])
            self.norm = nnx.LayerNorm(16, rngs=rngs)
            self.out = nnx.Linear(16, 5, rngs=rngs)

        def __call__(self, x):
            for layer in self.layers:
                x = nnx.relu(layer(x))
            return self.out(self.norm(x))

    graph, state = nnx.split(Net(nnx.Rngs(0)))
    state = jax.tree.map(np.array, state)
    pure = nnx.to_pure_dict(state)
    if fault == "bias at -20":
        pure["layers"][1]["bias"] -= 20
    if fault == "nan in a kernel":
        pure["layers"][1]["kernel"][0, 0] = np.nan
    nnx.replace_by_pure_dict(state, pure)

    def loss(state, x, y):
        return classify(nnx.merge(graph, state, copy=True)(x), y)

    return loss, (state, X, LABELS)


@model(
    "equinox",
    Fault("weights x 100", ("saturated",), "tanh", "sigma_w = 1"),
    Fault("weights x 0.001", ("vanishing",), "critical scale", "sigma_w = 1"),
)
def equinox_mlp(fault):
    net = eqx.nn.MLP(16, 5, 24, 4, activation=jnp.tanh, key=jax.random.key(0))
    factor = {"weights x 100": 100.0, "weights x 0.001": 0.001}.get(fault or "", 1.7)
    net = jax.tree.map(lambda leaf: factor * leaf if eqx.is_array(leaf) else leaf, net)
    return lambda net, x, y: classify(jax.vmap(net)(x), y), (net, X, LABELS)


@model("haiku", Fault("recurrent weights x 50", ("saturated",), "tanh"))
def haiku_lstm(fault):
    def forward(xs):
        core = hk.LSTM(16)
        outputs, _ = hk.dynamic_unroll(core, xs, core.initial_state(8))
        return hk.Linear(1)(outputs)

    net = hk.without_apply_rng(hk.transform(forward))
    xs = draws(0, 12, 8, 4)
    params = net.init(jax.random.key(0), xs)
    if fault:
        params = jax.tree.map(lambda w: 50 * w, params)
    return lambda p, xs: jnp.mean((net.apply(p, xs) - 1.0) ** 2), (params, xs)


@model(
    "purejaxrl",
    Fault("frozen log-standard deviation of -60", ("nonfinite",), "inf"),
    Fault("target is not stopped but the network is", ("disconnected",), "body"),
)
def actor_critic(fault):
    """A shared body, an actor with a clipped ratio and a critic (Schulman et al. 2017)."""
    params = {
        "body": square(0, 16),
        "actor": draws(1, 16, 2, scale=0.1),
        "critic": draws(2, 16, 1),
        "log_std": np.zeros(2, np.float32),
    }
    if fault == "frozen log-standard deviation of -60":
        params["log_std"] -= 60
    batch = {
        "x": X,
        "action": draws(3, 32, 2),
        "old": draws(4, 32, scale=0.1) - 3.0,
        "gain": draws(5, 32),
        "value": draws(6, 32),
    }

    def loss(params, batch):
        h = jnp.tanh(batch["x"] @ params["body"])
        h = jax.lax.stop_gradient(h) if fault == "target is not stopped but the network is" else h
        mean, value = h @ params["actor"], (h @ params["critic"])[:, 0]
        z = (batch["action"] - mean) / jnp.exp(params["log_std"])
        ratio = jnp.exp(-0.5 * jnp.sum(z**2, axis=1) - jnp.sum(params["log_std"]) - batch["old"])
        if fault == "frozen log-standard deviation of -60":
            ratio = ratio * jnp.exp(jnp.sum(z**2, axis=1))
        clipped = jnp.minimum(ratio * batch["gain"], jnp.clip(ratio, 0.8, 1.2) * batch["gain"])
        return jnp.mean((value - batch["value"]) ** 2) - jnp.mean(clipped)

    return loss, (params, batch)


@model(
    "numpyro",
    Fault("decoder without a skip, 16 sigmoids", ("vanishing",), "sigmoid", "skip connections"),
    Fault("huge log variance", ("nonfinite",), "exp"),
)
def variational_autoencoder(fault):
    """Gaussian latent, Bernoulli output (Kingma & Welling 2014)."""
    params = {
        "up": square(0, 16),
        "mean": square(1, 16),
        "log_var": 0.1 * square(2, 16),
        "down": square(3, 16),
        "out": square(4, 16),
    }
    deep = [square(10 + i, 16) for i in range(16)]
    if fault == "huge log variance":
        params["log_var"] *= 1e5

    def loss(params, deep, x, noise):
        h = jax.nn.relu(x @ params["up"])
        mean, log_var = h @ params["mean"], h @ params["log_var"]
        z = mean + jnp.exp(0.5 * log_var) * noise
        if fault == "decoder without a skip, 16 sigmoids":
            for w in deep:
                z = jax.nn.sigmoid(z @ w)
        logits = jax.nn.relu(z @ params["down"]) @ params["out"]
        data = (x > 0).astype(x.dtype)
        fit = jnp.sum(jnp.maximum(logits, 0) - logits * data + jnp.log1p(jnp.exp(-jnp.abs(logits))), axis=1)
        return jnp.mean(fit + 0.5 * jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var, axis=1))

    return loss, (params, deep if fault == "decoder without a skip, 16 sigmoids" else [], X, draws(9, 32, 16))
