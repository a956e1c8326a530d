"""Training of recurrent networks and of a user's own, against gradient descent written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.networks import as_network
from jaxsat.networks.protocol import with_swept
from jaxsat.training import datasets, recording

RATE, STEPS = 0.3, 3


@as_network(swept=["scale", "gate"])
class Blocks:
    """Residual blocks whose branch is scaled by a swept number that is no parameter."""

    depth: int
    width: int
    scale: float = 1.0
    gate: float = 0.5

    def init(self, key):
        return self.scale * jax.random.normal(key, (self.depth, self.width, self.width))

    def scan(self, params, x):
        return lambda x, w: x + self.gate * jnp.tanh(w @ x), x, params


def sequences(cell="tanh"):
    (x, y), _ = datasets.copying(lag=1, recalled=2, symbols=3, count=6, test=1)
    return jaxsat.Recurrent(x.shape[1], 4, cell=cell, inputs=5, outputs=3, gate_bias=1.0), x, y


def gated():
    return sequences("gru")


def sums():
    (x, y), _ = datasets.adding(steps=4, count=6, test=1)
    return jaxsat.Recurrent(4, 3, cell="lstm", inputs=2, outputs=1, gate_bias="chrono"), x, y


def own():
    rng = np.random.default_rng(0)
    return Blocks(3, 4, gate=0.7), rng.normal(size=(6, 4)), rng.integers(4, size=6)


def of_one(net, weights, x, y):
    """The loss of one example: a step after the other, no scan."""
    step, carry, xs = net.scan(weights, x)
    count = y.size if y.dtype.kind == "i" else 1
    outputs = []
    for t in range(len(jax.tree.leaves(xs)[0])):
        carry = step(carry, jax.tree.map(lambda a, t=t: a[t], xs))
        outputs.append(net.read_out(weights, carry) if hasattr(net, "read_out") else carry)
    if y.dtype.kind == "f":
        return jnp.mean((outputs[-1] - y) ** 2)
    said = [-jax.nn.log_softmax(output) for output in outputs[-count:]]
    return jnp.mean(jnp.stack([logs[k] for logs, k in zip(said, y.reshape(-1), strict=True)]))


@jax.jit
def one_step(net, weights, x, y):
    def loss(weights):
        return jnp.mean(jax.vmap(lambda x, y: of_one(net, weights, x, y))(x, y))

    value, slope = jax.value_and_grad(loss)(weights)
    return value, jax.tree.map(lambda w, g: w - RATE * g, weights, slope)


def by_hand(net, x, y, seed):
    """Losses before each step of full-batch gradient descent; scales are folded into the weights."""
    weights = net.init(addresses.network(addresses.root(0), seed))
    weights = net.folded(weights) if hasattr(net, "folded") else weights
    losses = []
    for _ in range(STEPS + 1):
        value, weights = one_step(net, weights, x, y)
        losses.append(float(value))
    return losses


@pytest.mark.parametrize(
    "task", [sequences, *(pytest.param(task, marks=pytest.mark.slow) for task in (gated, sums, own))]
)
def test_full_batches_are_gradient_descent_written_by_hand(task, compilations):
    net, x, y = task()
    numbers = {"weight_scale": [0.5, 1.5]} if task is not own else {"gate": [0.7, 0.2]}

    def run(over, **options):
        return jaxsat.train(
            net, (x, y), optimizer=optax.sgd(RATE), epochs=STEPS, batch_size=6, over=over, record_every=1,
            progress=False, record=None if task is own else ["loss", "log_gradient_norms", "update_ratio"], **options,
        )  # fmt: skip

    ds = run(numbers, seeds=2)
    ((name, values),) = numbers.items()
    for value in values:
        expected = by_hand(with_swept(net, {name: value}), x, y, seed=1)
        np.testing.assert_allclose(ds.loss.sel(seed=1, **{name: value}), expected, rtol=1e-10)
    axis = "layer" if task is own else "time"
    assert ds.log_gradient_norms.dims == (name, "seed", "step", axis)
    assert np.isfinite(ds.log_gradient_norms).all()
    assert ds.update_ratio.dims[-1] == "parameter"
    if task is not own:
        assert ds.parameter.values.tolist()[:2] == ["recurrent", "inputs"]
    else:
        assert "accuracy" in ds
        assert "saturated_fraction" not in ds, "the blocks have no trace"
    assert ds.loss.attrs["units"] == ("1" if task is sums else "nat")
    del compilations[:]
    run({name: [0.9, 1.1]}, seeds=2, root_seed=3)
    assert compilations == []


@pytest.mark.slow
def test_recorded_gradients_of_a_sequence_are_those_of_each_examples_loss():
    net, x, y = gated()
    data, record = (x, y[:, -1]), ["log_gradient_norms", "gate_saturated_fraction"]
    ds = jaxsat.train(
        net, data, optimizer=optax.sgd(0.1), epochs=1, batch_size=6, record=record, record_every=[0], progress=False
    ).isel(seed=0, step=0)
    params = net.init(addresses.network(addresses.root(0), 0))

    @jax.jit
    def norms(params):
        def of_one(x, y):
            shifts = jnp.zeros((net.steps, 4))

            def loss(shifts):
                step, h, xs = net.scan(params, x)
                for now, shift in zip(xs, shifts, strict=True):
                    h = step(h, now) + shift
                return -jax.nn.log_softmax(net.read_out(params, h))[y]

            return jnp.sum(jax.grad(loss)(shifts) ** 2, axis=1)

        return jnp.log(jnp.mean(jax.vmap(of_one)(x, y[:, -1]), axis=0)) / 2

    np.testing.assert_allclose(ds.log_gradient_norms, norms(params), atol=1e-10)
    assert ds.gate.values.tolist() == ["keep", "reset"]


def test_cells_with_other_parameters_have_no_common_update_ratio():
    same, other = (jaxsat.Recurrent(3, 2, cell=cell, outputs=2) for cell in ("gru", "minimal"))
    assert "update_ratio" in recording.get(None, False, [same, same])
    assert "update_ratio" not in recording.get(None, False, [same, other])


@pytest.mark.parametrize(
    ("net", "x", "y", "said"),
    [
        (jaxsat.Recurrent(3, 2), np.ones((6, 3, 2)), np.zeros(6, int), "must have a read-out; got outputs=None"),
        (jaxsat.Recurrent(3, 2, outputs=2), np.ones((6, 2)), np.zeros(6, int), r"inputs of shape \(3, 2\); got \(6, 2\)"),
        (jaxsat.Recurrent(3, 2, outputs=2), np.ones((6, 3, 2)), np.zeros((6, 4), int), r"of the last steps .* got shape \(6, 4\)"),
        (jaxsat.Recurrent(3, 2, outputs=2), np.ones((6, 3, 2)), np.full(6, 2), "`outputs` of Recurrent"),
        (Blocks(2, 3), np.ones((6, 3)), np.full(6, 3), "y must be classes from 0 to 2; got 3 to 3"),
    ],
)  # fmt: skip
def test_bad_requests(net, x, y, said):
    with pytest.raises(ValueError, match=said):
        jaxsat.train(net, (x, y), optimizer=optax.sgd(0.1), epochs=1, batch_size=6, progress=False)
