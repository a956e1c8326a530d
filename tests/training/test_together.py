"""Networks trained together equal networks trained by hand, and alone."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray

import jaxsat
from jaxsat import addresses
from jaxsat.training import steps
from tests.training.by_hand import NET, TEST, X, Y, cross_entropy, drawn, forward, run, step_by_hand


def test_full_batches_are_gradient_descent_written_by_hand():
    ds = run(test=TEST, epochs=6, batch_size=40, record_every=1, seeds=2)
    for seed in range(2):
        weights, biases = drawn(NET, seed)
        for step in range(7):
            seen = ds.isel(seed=seed, step=step)
            for (x, y), prefix in (((X, Y), ""), (TEST, "test_")):
                outputs = forward(weights, biases, x, np.tanh)[2]
                np.testing.assert_allclose(seen[f"{prefix}loss"], cross_entropy(outputs, y), rtol=1e-12)
                np.testing.assert_allclose(seen[f"{prefix}accuracy"], np.mean(outputs.argmax(1) == y), rtol=1e-12)
            h = forward(weights, biases, X, np.tanh)[1]
            share = [np.mean(1 - np.tanh(a) ** 2 <= 0.05) for a in h]
            np.testing.assert_allclose(seen.saturated_fraction, share, atol=1e-12)
            old = weights
            weights, biases = step_by_hand(weights, biases, X, Y, 0.2, np.tanh, lambda h: 1 - np.tanh(h) ** 2)
            if step < 6:
                moved = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(weights, old, strict=True)]
                np.testing.assert_allclose(ds.update_ratio.isel(seed=seed, step=step + 1), moved[:-1], rtol=1e-9)
    assert np.isnan(ds.update_ratio.isel(step=0)).all()


NETS = {
    "plain": NET,
    "skip": jaxsat.MLP(3, 6, "relu", inputs=3, outputs=4, residual_scale=0.5),
    "normalised": jaxsat.MLP(3, 6, "sigmoid", inputs=3, outputs=4, normalization="layer", ensemble="orthogonal"),
    "one layer": jaxsat.MLP(1, 6, "selu", inputs=3, outputs=4, ensemble="uniform", weight_scale="glorot"),
}


@pytest.mark.parametrize(
    "net", [pytest.param(net, id=name, marks=() if name == "plain" else pytest.mark.slow) for name, net in NETS.items()]
)
def test_minibatches_and_adam_equal_a_loop_over_jax_grad(net):
    def loss(params, x, y):
        outputs = jax.vmap(lambda one: net.apply(params, one))(x)
        return jnp.mean(jax.nn.logsumexp(outputs, axis=1) - outputs[jnp.arange(len(y)), y])

    grad, rate, seed, size = jax.jit(jax.grad(loss)), 0.01, 1, 12
    key = addresses.network(addresses.root(7), seed)
    params = net.init(key).scaled()
    trained = ("first", "hidden", "biases", "readout", "readout_bias")
    first, second = ({n: np.zeros(getattr(params, n).shape) for n in trained} for _ in range(2))
    expected, count = [float(loss(params, jnp.asarray(X), jnp.asarray(Y)))], 0
    for epoch in range(2):
        bits = jax.random.bits(jax.random.fold_in(jax.random.fold_in(key, 2**31 + 2), epoch), (40,), np.uint32)
        for batch in np.argsort(np.asarray(bits), kind="stable")[:36].reshape(3, size):
            g, count = grad(params, jnp.asarray(X[batch]), jnp.asarray(Y[batch])), count + 1
            for name in trained:  # Kingma & Ba 2015, algorithm 1
                slope = np.asarray(getattr(g, name))
                first[name] = 0.9 * first[name] + 0.1 * slope
                second[name] = 0.999 * second[name] + 0.001 * slope**2
                step = first[name] / (1 - 0.9**count) / (np.sqrt(second[name] / (1 - 0.999**count)) + 1e-8)
                params = params._replace(**{name: getattr(params, name) - rate * step})
            expected.append(float(loss(params, jnp.asarray(X), jnp.asarray(Y))))
    ds = run(net, seeds=2, root_seed=7, batch_size=size, record="loss", record_every=1, optimizer=optax.adam(rate))
    np.testing.assert_allclose(ds.loss.sel(seed=1), expected, rtol=1e-8)
    np.testing.assert_allclose(ds.epoch, np.arange(7) / 3)


OVER = {"weight_scale": [0.5, 1.0, 2.0], "learning_rate": [0.02, 0.2, 0.5], "activation": ["tanh", "relu"]}


@pytest.fixture(scope="module")
def many():
    return run(over=OVER, optimizer=optax.sgd, seeds=3, epochs=8)


def test_a_network_beside_others_is_the_network_alone_bit_for_bit(many):
    assert steps.tile_size(NET) > 1, "networks of this size are to share a tile"
    assert many.loss.dims == ("weight_scale", "learning_rate", "activation", "seed", "step")
    alone = run(
        over={"activation": ["relu"], "learning_rate": [0.5]}, seeds=2, epochs=8, optimizer=optax.sgd,
        net=jaxsat.MLP(3, 6, inputs=3, outputs=4, weight_scale=2.0, bias_scale=0.3),
    )  # fmt: skip
    beside = many.sel(weight_scale=[2.0], learning_rate=[0.5], activation=["relu"], seed=[0, 1]).squeeze("weight_scale")
    for name in alone.data_vars:
        np.testing.assert_array_equal(alone[name].transpose(*beside[name].dims), beside[name], err_msg=name)


def test_a_swept_learning_rate_is_the_optimizer_of_that_rate(many):
    alone = run(optimizer=optax.sgd(0.2), net=NET, over={"weight_scale": [1.0]}, seeds=3, epochs=8)
    beside = many.sel(activation="tanh", learning_rate=0.2, weight_scale=[1.0])
    np.testing.assert_allclose(alone.loss, beside.loss, rtol=1e-12)


def test_one_trace_per_static_choice_and_none_per_scale_rate_or_seed():
    def traced(**over):
        traces = []

        def counted(x):  # each time another function, of which nothing is compiled yet
            traces.append(x.shape)
            return jnp.tanh(x)

        run(
            jaxsat.MLP(2, 5, counted, inputs=3, outputs=4),
            over=over,
            optimizer=optax.sgd,
            seeds=len(over["weight_scale"]),
            record="loss",
        )
        return len(traces)

    few = traced(weight_scale=[1.0], learning_rate=[0.1])
    many = traced(weight_scale=list(np.linspace(0.5, 2, 12)), learning_rate=[0.1, 0.2, 0.3])
    assert many <= few


def test_steps_that_are_recorded_do_not_change_what_is_recorded():
    every = run(epochs=4, record_every=1)
    some = run(epochs=4, record_every=[0, 3, 9, 14])
    xarray.testing.assert_equal(every.sel(step=[0, 3, 9, 14]), some)
    assert run(epochs=4, record_every=7).step.values.tolist() == [0, 7, 14, 16]


def test_divergence_stops_that_network_alone_and_is_dated():
    net = jaxsat.MLP(3, 6, "relu", inputs=3, outputs=4)
    wild = run(
        net, over={"learning_rate": [1e30, 0.1]}, optimizer=optax.sgd, seeds=3, epochs=12, batch_size=40, record_every=1
    )
    calm = run(
        net, over={"learning_rate": [0.1]}, optimizer=optax.sgd, seeds=3, epochs=12, batch_size=40, record_every=1
    )
    xarray.testing.assert_equal(wild.sel(learning_rate=[0.1]), calm)
    assert (calm.diverged_at == -1).all()
    dated = []
    for seed in range(3):
        weights, biases = drawn(net, seed)
        when = -1
        with np.errstate(all="ignore"):
            for step in range(12):
                value = cross_entropy(forward(weights, biases, X, lambda h: np.maximum(h, 0))[2], Y)
                weights, biases = step_by_hand(
                    weights, biases, X, Y, 1e30, lambda h: np.maximum(h, 0), lambda h: (h > 0).astype(float)
                )
                if not (np.isfinite(value) and all(np.isfinite(a).all() for a in [*weights, *biases])):
                    when = step + 1
                    break
        dated.append(when)
        late = wild.sel(learning_rate=1e30, seed=seed)
        assert late.diverged_at == when
        if when > 0:
            assert (late.update_ratio.sel(step=slice(when, None)) == 0).all()
            assert (late.saturated_fraction.diff("step").sel(step=slice(when, None)) == 0).all()
    assert max(dated) > 0, dated


def test_labels_units_and_provenance(many):
    assert all({"long_name", "units"} <= set(v.attrs) for v in [*many.data_vars.values(), *many.coords.values()])
    request = json.loads(many.attrs["request"])
    assert request["over"]["learning_rate"] == [0.02, 0.2, 0.5]
    assert request["batch_size"] == 10
    assert many.layer.values.tolist() == [1, 2, 3]


def test_progress_goes_to_stderr(capsys):
    run(seeds=2, progress=True)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "16 of 16 steps" in seen.err


def test_swept_depths_label_their_axis():
    """Not 1, 2, as an axis called depth that a measure brings would be."""
    ds = run(over={"depth": [2, 4]}, record="loss", seeds=1, epochs=1, record_every=[4])
    assert ds.depth.values.tolist() == [2, 4]
