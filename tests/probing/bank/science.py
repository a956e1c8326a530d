"""Flows, graphs, differential equations, fields and Gaussian processes, written from their papers."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.probing.bank.case import Fault, draws, model


def dense(seed, inputs, outputs, scale=1.0):
    return {"w": draws(seed, inputs, outputs, scale=scale * inputs**-0.5), "b": np.zeros(outputs, np.float32)}


def apply(p, x):
    return x @ p["w"] + p["b"]


@model(
    "distrax",
    Fault("scales x 200", ("saturated",), "tanh"),
    Fault("hidden biases at -20", ("dead",), "biases have mean -20", "Start the biases at 0"),
    Fault("scales x 200, not bounded", ("nonfinite",), "exp"),
)
def real_nvp(fault):
    """Four affine couplings on eight dimensions, the scales bounded by tanh (Dinh et al. 2017)."""
    params = [
        {"up": dense(i, 4, 16), "scale": dense(20 + i, 16, 4, 0.5), "shift": dense(40 + i, 16, 4, 0.5)}
        for i in range(4)
    ]
    for p in params:
        p["scale"]["w"] *= 200 if fault in ("scales x 200", "scales x 200, not bounded") else 1
        p["up"]["b"] -= 20 if fault == "hidden biases at -20" else 0

    def loss(params, x):
        total = 0.0
        for p in params:
            fixed, moved = x[:, :4], x[:, 4:]
            h = jax.nn.relu(apply(p["up"], fixed))
            scale = apply(p["scale"], h)
            scale = scale if fault == "scales x 200, not bounded" else jnp.tanh(scale)
            total = total + jnp.sum(scale, axis=1)
            x = jnp.concatenate([moved * jnp.exp(scale) + apply(p["shift"], h), fixed], axis=1)
        return jnp.mean(0.5 * jnp.sum(x * x, axis=1) - total)

    x = draws(0, 32, 8)
    x[:, 4:] = 2 * x[:, 4:] + np.sin(3 * x[:, :4])
    return loss, (params, x)


@model(
    "jraph",
    Fault("a node without edges", ("nonfinite",), "div"),
    Fault("biases at -30", ("dead",), "biases have mean -30", "Start the biases at 0"),
)
def graph_convolutions(fault):
    """Three graph convolutions with mean aggregation, then a sum over nodes (Kipf & Welling 2017)."""
    params = [dense(i, 12, 12, 1.4) for i in range(3)] + [dense(9, 12, 1)]
    for p in params[:3]:
        p["b"] -= 30 if fault == "biases at -30" else 0
    rng = np.random.default_rng(3)
    sender, receiver = rng.integers(0, 20, size=60), np.r_[np.arange(20), rng.integers(0, 20, size=40)]
    receiver = np.where(receiver == 4, 5, receiver) if fault == "a node without edges" else receiver

    def loss(params, x, sender, receiver, y):
        degree = jax.ops.segment_sum(jnp.ones(60), receiver, 20)[:, None]
        for p in params[:3]:
            h = jax.ops.segment_sum(x[sender], receiver, 20) / degree
            x = jax.nn.relu(apply(p, h + x))
        return jnp.mean((apply(params[3], x)[:, 0] - y) ** 2)

    return loss, (params, draws(4, 20, 12), sender, receiver, draws(5, 20))


@model(
    "diffrax",
    Fault("weights x 60", ("saturated",), "tanh"),
    Fault("steps of 40 in time", ("nonfinite",), "iteration"),
)
def neural_ode(fault):
    """A field of two layers with a cubic brake, by ten steps of Runge and Kutta's fourth order (Chen et al. 2018)."""
    params = [dense(0, 4, 16), dense(1, 16, 4), dense(2, 4, 1)]
    params[0]["w"] *= 60 if fault == "weights x 60" else 1
    dt = np.float32(40.0 if fault == "steps of 40 in time" else 0.1)

    def loss(params, x, y, dt):
        def field(x):
            return apply(params[1], jnp.tanh(apply(params[0], x))) - 0.1 * x**3

        def step(x, _):
            a = field(x)
            b = field(x + dt / 2 * a)
            c = field(x + dt / 2 * b)
            d = field(x + dt * c)
            return x + dt / 6 * (a + 2 * b + 2 * c + d), None

        x, _ = jax.lax.scan(step, x, None, length=10)
        return jnp.mean((apply(params[2], x)[:, 0] - y) ** 2)

    x = draws(3, 32, 4)
    return loss, (params, x, np.sin(2 * x[:, 0]), dt)


@model(
    "jaxnerf",
    Fault("weights x 100", ("exploding",), "sin"),
    Fault("weights / 100", ("vanishing",), "sin"),
)
def sine_network(fault):
    """Sines of frequency 30, fitted to a picture of one dimension (Sitzmann et al. 2020)."""
    rng = np.random.default_rng(0)
    factor = {"weights x 100": 100.0, "weights / 100": 0.01}.get(fault or "", 1.0)
    params = [{"w": rng.uniform(-1, 1, (1, 24)), "b": rng.uniform(-1, 1, 24)}]
    params += [{"w": rng.uniform(-1, 1, (24, 24)) * (6 / 24) ** 0.5 / 30 * factor, "b": np.zeros(24)} for _ in range(3)]
    params += [{"w": rng.uniform(-1, 1, (24, 1)) * 0.3, "b": np.zeros(1)}]
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)

    def loss(params, t, y):
        for p in params[:-1]:
            t = jnp.sin(30 * apply(p, t))
        return jnp.mean((apply(params[-1], t)[:, 0] - y) ** 2)

    t = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    return loss, (params, t, np.sign(np.sin(9 * t[:, 0])))


@model(
    "jaxpi",
    Fault("times of 0 to 2000", ("saturated",), "tanh", "scale them to unit mean square"),
    Fault("weights x 40", ("saturated",), "tanh", "sigma_w = 1"),
)
def oscillator(fault):
    """u'' + u = 0 with u(0) = 1 and u'(0) = 0, by derivatives of a network (Raissi et al. 2019)."""
    params = [dense(0, 1, 16), dense(1, 16, 16), dense(2, 16, 16), dense(3, 16, 1)]
    for p in params[1:3]:
        p["w"] *= 40 if fault == "weights x 40" else 1

    def u(params, t):
        h = t[None]
        for p in params[:-1]:
            h = jnp.tanh(apply(p, h))
        return apply(params[-1], h)[0]

    def loss(params, ts):
        def slope(t):
            return jax.jvp(lambda t: u(params, t), (t,), (jnp.ones_like(t),))

        def equation(t):
            (value, _), (_, second) = jax.jvp(slope, (t,), (jnp.ones_like(t),))
            return second + value

        value, first = slope(jnp.zeros(()))
        return jnp.mean(jax.vmap(equation)(ts) ** 2) + (value - 1.0) ** 2 + first**2

    return loss, (params, np.linspace(0, 2000 if fault == "times of 0 to 2000" else 3, 24, dtype=np.float32))


@model(
    "jaxnerf",
    Fault("density biases at -60", ("saturated", "vanishing"), "softplus"),
    Fault("hidden biases at -30", ("dead",), "biases have mean -30", "Start the biases at 0"),
)
def radiance_field(fault):
    """Colour and density along rays, with frequencies of the positions as inputs (Mildenhall et al. 2020)."""
    params = {"up": dense(0, 18, 24, 1.4), "deep": dense(1, 24, 24, 1.4), "density": dense(2, 24, 1), "colour": dense(3, 24, 3)}  # fmt: skip
    params["density"]["b"] -= 60 if fault == "density biases at -60" else 0
    params["deep"]["b"] -= 30 if fault == "hidden biases at -30" else 0

    def loss(params, points, colours):
        waves = [f(2**k * points) for k in range(3) for f in (jnp.sin, jnp.cos)]
        h = jax.nn.relu(apply(params["up"], jnp.concatenate(waves, axis=-1)))
        h = jax.nn.relu(apply(params["deep"], h))
        density = jax.nn.softplus(apply(params["density"], h)[..., 0])
        colour = jax.nn.sigmoid(apply(params["colour"], h))
        passed = jnp.exp(-jnp.cumsum(density, axis=1) + density)
        weight = passed * (1 - jnp.exp(-density))
        return jnp.mean((jnp.sum(weight[..., None] * colour, axis=1) - colours) ** 2)

    points = draws(4, 16, 8, 3)
    return loss, (params, points, np.random.default_rng(0).uniform(0, 1, (16, 3)).astype(np.float32))


@model(
    "tinygp",
    Fault("two equal inputs and no noise", ("nonfinite",), "cholesky"),
    Fault("a length scale of 1e-4", ("vanishing",), "exactly 0"),
)
def deep_kernel(fault):
    """A Gaussian process on features of a network, by its marginal likelihood (Wilson et al. 2016)."""
    params = {"up": dense(0, 3, 16), "out": dense(1, 16, 2), "log_length": np.zeros((), np.float32)}
    params["log_length"] += np.float32(np.log(1e-4)) if fault == "a length scale of 1e-4" else 0
    x = draws(2, 24, 3)
    noise = np.float32(0.0 if fault == "two equal inputs and no noise" else 0.05)
    x[1] = x[0] if fault == "two equal inputs and no noise" else x[1]

    def loss(params, x, y, noise):
        z = apply(params["out"], jnp.tanh(apply(params["up"], x))) / jnp.exp(params["log_length"])
        distance = jnp.sum((z[:, None] - z[None]) ** 2, axis=-1)
        root = jnp.linalg.cholesky(jnp.exp(-0.5 * distance) + noise * jnp.eye(24))
        white = jax.scipy.linalg.solve_triangular(root, y, lower=True)
        return 0.5 * jnp.sum(white**2) / 24 + jnp.sum(jnp.log(jnp.diagonal(root))) / 24 + 2.0

    return loss, (params, x, np.sin(2 * x[:, 0]), noise)
