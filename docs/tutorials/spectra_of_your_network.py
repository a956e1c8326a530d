# %% [markdown]
# # Spectra of your own network
#
# The Jacobian of a network says how its output changes with its input. Its singular values say which directions get through.
# Here we train a network, take its weights, and compute every singular value: before and after training, with an estimate of
# the error of each. The network is written in plain JAX; yours may come from any library ([my own
# weights](../weights_you_have.md)).

# %%
import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxsat

DEPTH, WIDTH = 20, 48
(x_train, y_train), (x_test, y_test) = jax.tree.map(jnp.asarray, jaxsat.datasets.digits())
x_train.shape, y_train.shape

# %% [markdown]
# ## A network, trained
#
# Twenty tanh layers and a read-out. Weights have variance 1 / inputs: scale 1, the critical scale of tanh.

# %%
init = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")
widths = [x_train.shape[1], *[WIDTH] * DEPTH, 10]
keys = jax.random.split(jax.random.key(0), DEPTH + 1)
start = [
    {"kernel": init(key, shape, jnp.float32), "bias": jnp.zeros(shape[1], jnp.float32)}
    for key, shape in zip(keys, itertools.pairwise(widths), strict=True)
]


def model(weights, x):
    for layer in weights[:-1]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return x @ weights[-1]["kernel"] + weights[-1]["bias"]


def loss(weights, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model, (None, 0))(weights, x), y).mean()


optimizer = optax.adam(1e-3)


@jax.jit
def train(weights):
    def step(carry, key):
        weights, state = carry
        batch = jax.random.choice(key, len(x_train), (64,))
        gradients = jax.grad(loss)(weights, x_train[batch], y_train[batch])
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(weights, updates), state), None

    return jax.lax.scan(step, (weights, optimizer.init(weights)), jax.random.split(jax.random.key(1), 400))[0][0]


trained = train(start)
accuracy = float(jnp.mean(jax.vmap(model, (None, 0))(trained, x_test).argmax(1) == y_test))
print(f"test accuracy {accuracy:.2f}")

# %% [markdown]
# ## Into jaxsat
#
# Make an `MLP` of the same shape, and give it the weights. `layout` says that a weight acts as `x @ w`. Then compare the outputs:
# they differ if the layout or the activation is wrong.

# %%
net = jaxsat.MLP(depth=DEPTH, width=WIDTH, activation="tanh", inputs=widths[0], outputs=10)


def as_params(weights):
    return net.params([(layer["kernel"], layer["bias"]) for layer in weights], layout="x @ w")


x = jnp.asarray(x_test[0])
before, after = as_params(start), as_params(trained)
print("largest difference of the outputs:", float(jnp.abs(net.apply(after, x) - model(trained, x)).max()))

# %% [markdown]
# ## Every singular value
#
# The derivative of the last hidden layer with respect to the input has 48 of them. We leave out the read-out by making the same
# network without it.

# %%
hidden = jaxsat.MLP(depth=DEPTH, width=WIDTH, activation="tanh", inputs=widths[0])


def spectrum(params):
    return jaxsat.log_singular_values(hidden, params._replace(readout=None, readout_bias=None), x, with_error=True)


(logs_before, errors_before), (logs_after, errors_after) = spectrum(before), spectrum(after)
print(
    f"spread of ln s: {logs_before[0] - logs_before[-1]:.1f} before, {logs_after[0] - logs_after[-1]:.1f} after training"
)
print(f"largest estimated error: {max(errors_before.max(), errors_after.max()):.1e}")

# %% [markdown]
# For comparison: the plain way, a decomposition of the Jacobian in float32. What lies below eps times the largest value is
# rounding noise, and it looks like a floor.

# %%
jacobian = jaxsat.jacobian(hidden, after._replace(readout=None, readout_bias=None), x)
dense = np.log(np.linalg.svd(np.asarray(jacobian), compute_uv=False))

fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
rank = np.arange(1, WIDTH + 1)
ax.plot(rank, logs_before, color="#0072B2", label="before training")
ax.plot(rank, logs_after, color="#009E73", label="after training")
ax.plot(rank, dense, "o", ms=3, color="#D55E00", label="after training, plain decomposition")
ax.set(xlabel="rank", ylabel="ln of the singular value", title="All singular values of a trained network")
ax.legend(frameon=False)

# %% [markdown]
# ## Beside theory
#
# Free probability predicts the distribution of the squared singular values of a wide network with random weights, as at the
# start. It takes one length of the pre-activations for all layers: we give it their mean.

# %%
lengths = jaxsat.theory.length_trajectory("tanh", DEPTH, 1.0, mean_square=float(jnp.mean(x**2)))
moments = jaxsat.theory.spectrum_moments("tanh", DEPTH, 1.0, q=lengths.mean())
measured_mean = float(jax.nn.logsumexp(2 * logs_before) - jnp.log(WIDTH))
print(f"ln of the mean of s^2: theory {float(moments.log_mean):.2f}, this network {measured_mean:.2f}")
print(f"ln of the largest s: theory {float(moments.log_upper) / 2:.2f}, this network {logs_before[0]:.2f}")

# %% [markdown]
# Many networks instead of one: `jaxsat.sweep(net, "log_singular_values", ...)`. Read on: [spectra and
# logarithms](../spectra_and_logarithms.md); [where numbers are wrong](../where_numbers_are_wrong.md).
