# %% [markdown]
# # From report to cure
#
# A sigmoid network of eight layers does not learn to read digits. We ask for a report, follow its advice, and train again.
# ([My model does not train](../my_model_does_not_train.md) says what each finding means.)

# %%
import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import jaxsat

DEPTH, WIDTH = 8, 64
(x, y), _ = jaxsat.datasets.digits()
x, y = jnp.asarray(x[:512], jnp.float32), jnp.asarray(y[:512])


def network(activation):
    def loss(params, x, y):
        for w, b in params[:-1]:
            x = activation(x @ w + b[None])
        w, b = params[-1]
        return optax.softmax_cross_entropy_with_integer_labels(x @ w + b[None], y).mean()

    return loss


def init(key, kernel_init):
    widths = [64] + [WIDTH] * DEPTH + [10]
    keys = jax.random.split(key, DEPTH + 1)
    return [
        (kernel_init(k, shape, jnp.float32), jnp.zeros(shape[1], jnp.float32))
        for k, shape in zip(keys, itertools.pairwise(widths), strict=True)
    ]


# %% [markdown]
# ## A network that does not learn
#
# `jaxsat.monitor` rides in the optimiser, and keeps ln of the gradient norm of each array of weights, at each step.


# %%
def train(loss, params, steps=300):
    tx = optax.chain(jaxsat.monitor(), optax.sgd(0.1))

    def step(carry, _):
        params, state = carry
        value, gradients = jax.value_and_grad(loss)(params, x, y)
        updates, state = tx.update(gradients, state)
        return (optax.apply_updates(params, updates), state), (value, state[0].log_gradient_norms)

    (params, _), (values, norms) = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, length=steps))(params)
    return params, values, norms


key = jax.random.key(0)
ill = init(key, jax.nn.initializers.glorot_normal())
_, before, norms = train(network(jax.nn.sigmoid), ill)
print(f"loss after 300 steps: {before[-1]:.2f}; a guess has {jnp.log(10.0):.2f}")
print(f"ln of the gradient norm at the first step: {norms[0][0][0]:.1f} first layer, {norms[-1][0][0]:.1f} read-out")

# %% [markdown]
# ## The report
#
# It has a row for each *site*: an activation, a gate or a softmax.

# %%
report = jaxsat.probe(network(jax.nn.sigmoid), ill, x[:256], y[:256])
report

# %% [markdown]
# The finding is `vanishing`: the gradient shrinks at every activation on the way back. The weights are a tenth of the critical
# scale of the sigmoid, 10.1. The advice: take tanh or relu instead. By theory, skip connections would help too. Layer
# normalisation would not.

# %%
figure = report.plot()

# %% [markdown]
# ## The cure
#
# With weights ten times as large the gradient would not shrink, but half of the sigmoid's units would be saturated. So take
# tanh. Its critical scale is 1, and `jaxsat.critical_initializer` draws weights of that scale.

# %%
cured = init(key, jaxsat.critical_initializer("tanh"))
healthy = jaxsat.probe(network(jnp.tanh), cured, x[:256], y[:256])
healthy

# %% [markdown]
# No findings: the gradients have about the same size in all layers. `print(report.compare(healthy))` shows both side by side.

# %%
change = report.compare(healthy)
print("gone:", [finding.code for finding in change.gone], "new:", [finding.code for finding in change.new])

# %% [markdown]
# ## Trained

# %%
_, after, _ = train(network(jnp.tanh), cured)

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(before, color="#D55E00", label="sigmoid, Glorot's initialisation")
ax.plot(after, color="#0072B2", label="tanh, critical initialisation")
ax.set(xlabel="step", ylabel="training loss", title=f"Loss {before[-1]:.2f} before, {after[-1]:.2f} after the cure")
ax.legend(frameon=False)
