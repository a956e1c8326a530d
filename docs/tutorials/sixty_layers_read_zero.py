# %% [markdown]
# # Why a sigmoid network of 60 layers reads zero
#
# Take a network of 60 sigmoid layers, send a gradient back, and look at its first layer. The computer says 0. Is the gradient
# really 0? Why? And what would keep it alive? This takes three small experiments.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxsat

DEPTH, WIDTH = 70, 64
net = jaxsat.MLP(depth=DEPTH, width=WIDTH, activation="sigmoid", weight_scale=1.0)
params = net.init(jax.random.key(0))
x = jax.random.normal(jax.random.key(1), (WIDTH,))
net

# %% [markdown]
# ## What back-propagation says
#
# We write the same network in plain JAX, and add a zero to the pre-activations of each layer. The gradient with respect to
# these zeros is the signal that arrives there.

# %%
cotangent = jax.random.normal(jax.random.key(2), (WIDTH,))
cotangent /= jnp.linalg.norm(cotangent)  # a random error signal of norm 1
first, hidden = params.scaled().first, params.scaled().hidden


def output(zeros):
    def layer(x_l, weights_and_zero):
        w, zero = weights_and_zero
        return jax.nn.sigmoid(w @ x_l + zero), None

    last, _ = jax.lax.scan(layer, jax.nn.sigmoid(first @ x + zeros[0]), (hidden, zeros[1:]))
    return jnp.vdot(cotangent, last)


signal = jax.grad(output)(jnp.zeros((DEPTH, WIDTH), x.dtype))
plain = np.linalg.norm(np.asarray(signal, np.float64), axis=1)
first_alive = int(np.argmax(plain > 0)) + 1
print("the gradient at layer 1:", plain[0])
print("the first layer with a gradient that is not 0:", first_alive)

# %% [markdown]
# ## What is really there
#
# `jaxsat.log_gradient_norms` carries the signal as a direction and the logarithm of its size. It cannot underflow.

# %%
norms = jaxsat.log_gradient_norms(net, params, x, cotangent=cotangent)
print(f"ln of the gradient norm at layer 1: {norms[0]:.1f}")

# %% [markdown]
# So the gradient is not 0. It is about e to the power of that number. The smallest normal number of float32 is e to the power
# of -87.3; what is smaller is rounded to 0. Theory says the same as the measurement, without any network: each layer
# multiplies the mean squared signal by chi.

# %%
theory = jaxsat.theory.log_gradient_norms("sigmoid", DEPTH, 1.0, mean_square=float(jnp.mean(x**2)))
layers = np.arange(1, DEPTH + 1)
seen = np.log(plain, out=np.full(DEPTH, np.nan), where=plain > 0)

fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(layers, norms, color="#0072B2", label="jaxsat")
ax.plot(layers, theory, ":", color="black", label="theory, infinite width")
ax.plot(layers, seen, "o", ms=3, color="#D55E00", label="plain back-propagation")
ax.axhline(np.log(np.finfo(np.float32).tiny), color="0.5", lw=0.8)
ax.text(DEPTH, -86, "smallest normal number of float32", ha="right", fontsize=8, color="0.4")
ax.set(xlabel="layer", ylabel="ln of the gradient norm", title="The gradient is there; float32 cannot hold it")
ax.legend(frameon=False)

# %% [markdown]
# ## Why each layer takes a factor of four
#
# The slope of the sigmoid is at most 1/4. With weights of scale 1, that is the factor: chi is about 1/16 for the square.

# %%
field = jaxsat.theory.mean_field("sigmoid", weight_scale=1.0)
per_layer = float(field.chi) ** 0.5
print(f"chi = {float(field.chi):.4f}: each layer multiplies the signal by {per_layer:.3f}")
field

# %% [markdown]
# ## Larger weights?
#
# There is a scale at which chi is 1. But large weights push the units to where the sigmoid is flat. We measure both, on many
# networks at once.

# %%
critical = float(jaxsat.theory.critical_weight_scale("sigmoid"))
ds = jaxsat.sweep(
    jaxsat.MLP(depth=DEPTH, width=WIDTH),
    ["log_gradient_norms", "saturated_fraction"],
    over={"activation": ["sigmoid", "tanh"], "weight_scale": [1.0, 2.0, 5.0, critical]},
    seeds=4,
    progress=False,
)
table = ds.sel(layer=[1, DEPTH]).mean("seed")
first_layer = table.log_gradient_norms.sel(layer=1).to_pandas().round(1)
saturated = table.saturated_fraction.sel(layer=DEPTH).to_pandas().round(2)
print(f"critical scale of the sigmoid: {critical:.2f}")
print("ln of the gradient norm at layer 1:", first_layer, sep="\n")
print("share of saturated units in the last layer:", saturated, sep="\n")

# %% [markdown]
# At its critical scale the sigmoid keeps the gradient's size, but about half of its units are saturated. The tanh needs no such
# bargain: its critical scale is 1, where hardly any unit is saturated. That is one reason why deep networks are not made of
# sigmoids.
#
# Read on: [the edge of chaos](../edge_of_chaos.md); [spectra of your own network](spectra_of_your_network.md).
