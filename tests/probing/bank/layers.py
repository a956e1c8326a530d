"""More models of the layers of public libraries: attention, batch normalisation, gated convolutions and recurrence."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.probing.bank.case import Fault, draws, filled, model

LABELS = np.random.default_rng(1).integers(0, 5, size=16)


def classify(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@model(
    "flax",
    Fault("query kernels x 300", ("collapsed",), "softmax", "queries"),
    Fault("nan in the position embedding", ("nonfinite",), "position"),
    Fault("attention is added with weight 0", (), "all zeros"),
)
def flax_linen_vit(fault):
    """A vision transformer of one block (Dosovitskiy et al. 2021)."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(16, (2, 2), strides=(2, 2))(x)
            x = x.reshape(x.shape[0], -1, 16)
            x = x + self.param("position", nn.initializers.normal(0.02), x.shape[1:])[None]
            x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
            x = x + nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
            return nn.Dense(5)(nn.LayerNorm()(x).mean(axis=1))

    net, x = Net(), draws(0, 16, 6, 6, 2)
    params = filled(jax.eval_shape(net.init, jax.random.key(0), x))
    inner = params["params"]
    attention = inner["MultiHeadDotProductAttention_0"]
    attention["query"]["kernel"] *= 300 if fault == "query kernels x 300" else 1
    attention["out"]["kernel"] *= fault != "attention is added with weight 0"
    inner["position"][1, 1] = np.nan if fault == "nan in the position embedding" else 0.1
    return lambda p, x, y: classify(net.apply(p, x), y), (params, x, LABELS)


@model(
    "flax",
    Fault("shift after normalisation at -10", ("dead",), "bias", "Start the biases at 0"),
    Fault("a kernel x 1e4 before a normalisation", ("imbalanced",), "Conv_1"),
    Fault("nan in an image", ("nonfinite",), "args[1]"),
)
def flax_linen_batch_norm(fault):
    """Two convolutions with batch normalisation (Ioffe & Szegedy 2015), which returns its statistics, too."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for width in (8, 16):
                x = nn.relu(nn.BatchNorm(use_running_average=False)(nn.Conv(width, (3, 3), strides=2)(x)))
            return nn.Dense(5)(nn.relu(nn.Dense(16)(x.mean(axis=(1, 2)))))

    net, x = Net(), draws(0, 16, 8, 8, 3)
    state = filled(jax.eval_shape(net.init, jax.random.key(0), x))
    inner = state["params"]
    inner["BatchNorm_1"]["bias"] -= 10 if fault == "shift after normalisation at -10" else 0
    inner["Conv_1"]["kernel"] *= 1e4 if fault == "a kernel x 1e4 before a normalisation" else 1
    x[2, 3, 3, 1] = np.nan if fault == "nan in an image" else 0

    def loss(params, x, y, statistics):
        logits, after = net.apply({"params": params, "batch_stats": statistics}, x, mutable=["batch_stats"])
        return classify(logits, y), after

    return loss, (state["params"], x, LABELS, state["batch_stats"])


@model(
    "flax",
    Fault("recurrent kernels x 60", ("saturated",), "tanh"),
    Fault("the state is not kept", ("vanishing",), "gates", "open the gates"),
)
def flax_linen_gru(fault):
    """A gated recurrent unit, read at the last of 16 steps (Cho et al. 2014)."""
    net = nn.RNN(nn.GRUCell(16))
    xs = draws(0, 16, 16, 4)
    cell = filled(jax.eval_shape(net.init, jax.random.key(0), xs))
    gates = cell["params"]["cell"]
    gates["iz"]["bias"] += 1.0  # z keeps the state
    for name in ("hr", "hz", "hn"):
        gates[name]["kernel"] *= 60 if fault == "recurrent kernels x 60" else 1
    if fault == "the state is not kept":
        gates["iz"]["bias"] -= 9.0
        gates["hn"]["kernel"] *= 0.2
    params = {"cell": cell, "out": draws(9, 16, 5, scale=0.25)}
    return lambda p, xs, y: classify(net.apply(p["cell"], xs)[:, -1] @ p["out"], y), (params, xs, LABELS)


@model(
    "haiku",
    Fault("filters x 60", ("saturated",), "tanh"),
    Fault("gates shut by their biases", ("saturated", "vanishing"), "gate", "biases nearer to 0"),
)
def haiku_wavenet(fault):
    """Dilated convolutions with gates and skip connections (van den Oord et al. 2016)."""

    def forward(xs):
        x, total = hk.Conv1D(8, 1, name="first")(xs), 0.0
        for i in range(3):
            signal = hk.Conv1D(8, 2, rate=2**i, padding=hk.pad.causal, name=f"filter{i}")(x)
            gate = hk.Conv1D(8, 2, rate=2**i, padding=hk.pad.causal, name=f"gate{i}")(x)
            out = jnp.tanh(signal) * jax.nn.sigmoid(gate)
            total = total + hk.Conv1D(8, 1, name=f"skip{i}")(out)
            x = x + hk.Conv1D(8, 1, name=f"rest{i}")(out)
        return hk.Conv1D(1, 1, name="last")(jax.nn.relu(total))

    net = hk.without_apply_rng(hk.transform(forward))
    wave = np.sin(0.7 * np.arange(25))[None, :, None] * np.linspace(0.5, 1.5, 4)[:, None, None]
    wave = wave.astype(np.float32)
    params = filled(jax.eval_shape(net.init, jax.random.key(0), wave[:, :-1]))
    for name, layer in params.items():
        if name.startswith("filter"):
            layer["w"] *= 60 if fault == "filters x 60" else 1
        if name.startswith("gate"):
            layer["b"] -= 20 if fault == "gates shut by their biases" else 0
    return lambda p, wave: jnp.mean((net.apply(p, wave[:, :-1]) - wave[:, 1:]) ** 2), (params, wave)


@model(
    "equinox",
    Fault("key projection x 300", ("collapsed",), "softmax", "keys"),
    Fault("nan in a norm's weight", ("nonfinite",), "norm"),
)
def equinox_attention(fault):
    """Attention over sets of vectors, one set at a time under vmap (Vaswani et al. 2017)."""

    class Net(eqx.Module):
        norm: eqx.nn.LayerNorm
        attention: eqx.nn.MultiheadAttention
        mlp: eqx.nn.MLP

        def __init__(self, key):
            self.norm = eqx.nn.LayerNorm(16)
            self.attention = eqx.nn.MultiheadAttention(2, 16, key=key)
            self.mlp = eqx.nn.MLP(16, 5, 32, 1, key=key)

        def __call__(self, x):
            h = jax.vmap(self.norm)(x)
            return self.mlp(jnp.mean(x + self.attention(h, h, h), axis=0))

    shapes = eqx.filter_eval_shape(Net, jax.random.key(0))
    arrays, rest = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    net = eqx.combine(filled(arrays), rest)
    factor = 300.0 if fault == "key projection x 300" else 1.0
    net = eqx.tree_at(lambda n: n.attention.key_proj.weight, net, replace_fn=lambda w: factor * w)
    if fault == "nan in a norm's weight":
        net = eqx.tree_at(lambda n: n.norm.weight, net, replace_fn=lambda w: np.where(np.arange(16) == 3, np.nan, w))
    return lambda net, x, y: classify(jax.vmap(net)(x), y), (net, draws(0, 16, 6, 16), LABELS)
