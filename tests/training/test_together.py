import json
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray

import jaxsat
from jaxsat import addresses
from jaxsat.training import checkpoints, recording, steps, training_program

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.integers(0, 4, 40)
TEST = RNG.normal(size=(15, 3)), RNG.integers(0, 4, 15)
NET = jaxsat.MLP(depth=3, width=6, activation="tanh", inputs=3, outputs=4, weight_scale=1.5, bias_scale=0.3)


def run(net: Any = NET, data=(X, Y), **options):
    defaults = {"optimizer": optax.sgd(0.2), "epochs": 2, "batch_size": 10, "record_every": 4, "progress": False}
    return jaxsat.train(net, data, **(defaults | options))


def drawn(net, seed, root_seed=0):
    """Weight matrices, biases of a network as it is drawn: read-out last."""
    params = net.init(addresses.network(addresses.root(root_seed), seed)).scaled()
    weights = [params.first, *params.hidden, params.readout]
    return [np.array(w) for w in weights], [np.array(b) for b in [*params.biases, params.readout_bias]]


def forward(weights, biases, x, phi):
    values, before = [x], []
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        before.append(values[-1] @ w.T + b)
        values.append(phi(before[-1]))
    return values, before, values[-1] @ weights[-1].T + biases[-1]


def cross_entropy(outputs, y):
    shifted = outputs - outputs.max(1, keepdims=True)
    return np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y])


def step_by_hand(weights, biases, x, y, rate, phi, slope):
    """Gradient descent by the chain rule, nothing but NumPy."""
    values, before, outputs = forward(weights, biases, x, phi)
    p = np.exp(outputs - outputs.max(1, keepdims=True))
    delta = (p / p.sum(1, keepdims=True) - np.eye(outputs.shape[1])[y]) / len(y)
    new_weights, new_biases = list(weights), list(biases)
    for layer in range(len(weights) - 1, -1, -1):
        new_weights[layer] = weights[layer] - rate * delta.T @ values[layer]
        new_biases[layer] = biases[layer] - rate * delta.sum(0)
        if layer:
            delta = (delta @ weights[layer]) * slope(before[layer - 1])
    return new_weights, new_biases


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
    traces = []

    def counted(x):
        traces.append(x.shape)
        return jnp.tanh(x)

    def traced(**over):
        before = len(traces)
        run(
            jaxsat.MLP(2, 5, counted, inputs=3, outputs=4),
            over=over,
            optimizer=optax.sgd,
            seeds=len(over["weight_scale"]),
            record="loss",
        )
        return len(traces) - before

    few = traced(weight_scale=[1.0], learning_rate=[0.1])
    jax.clear_caches()
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


@pytest.mark.slow
def test_what_is_recorded_is_what_the_library_says_of_the_network():
    net = jaxsat.MLP(3, 6, "tanh", inputs=3, outputs=4, weight_scale=2.0, bias_scale=0.3)
    names = [n for n in recording.names() if not n.startswith(("test_", "gate_", "log_input_"))]
    ds = run(net, record=names, probe=8, record_every=[0], root_seed=3).isel(seed=0, step=0)
    params = net.init(addresses.network(addresses.root(3), 0))
    weights, biases = drawn(net, 0, root_seed=3)
    values, before, _ = forward(weights, biases, X[:8], np.tanh)
    for layer in range(3):
        at, h, a = ds.sel(layer=layer + 1), before[layer], values[layer + 1]
        flat = 1 - np.tanh(h) ** 2 <= 0.05
        expected = {
            "saturated_fraction": flat.mean(), "always_saturated_fraction": flat.all(0).mean(), "dead_fraction": 0.0,
            "boundary_measure": np.abs(a).mean(), "pre_activation_std": h.std(), "activation_mean": a.mean(),
            "activation_std": a.std(), "pre_activation_percentiles": np.percentile(h, [2, 50, 98]),
            "activation_percentiles": np.percentile(a, [2, 50, 98]),
            "activation_histogram": np.histogram(a, 40, (-1, 1))[0] / a.size, "off_units": (h <= 0).all(0),
        }  # fmt: skip
        for name, value in expected.items():
            np.testing.assert_allclose(at[name], value, atol=1e-12, err_msg=name)

    def loss(shifts, x, y):
        outputs = net.apply(params, x, shifts)
        return jax.nn.logsumexp(outputs) - outputs[y]

    signals = jnp.stack(
        [jax.grad(loss)(jnp.zeros((3, 6)), jnp.asarray(x), y) for x, y in zip(X[:8], Y[:8], strict=True)]
    )
    norms = jnp.sqrt(jnp.mean(jnp.sum(signals**2, axis=2), axis=0))
    np.testing.assert_allclose(ds.gradient_norm, norms, rtol=1e-10)
    np.testing.assert_allclose(ds.log_gradient_norms, jnp.log(norms), atol=1e-10)

    def loss_of_weights(params, x, y):
        outputs = net.apply(params, x)
        return jax.nn.logsumexp(outputs) - outputs[y]

    slopes = [jax.grad(loss_of_weights)(params.scaled(), jnp.asarray(x), y) for x, y in zip(X[:8], Y[:8], strict=True)]
    squares = [[jnp.sum(w**2) for w in (one.first, *one.hidden)] for one in slopes]
    np.testing.assert_allclose(ds.log_weight_gradient_norms, np.log(np.mean(squares, axis=0)) / 2, atol=1e-10)
    jacobians = [jax.jacfwd(lambda x: net.apply(params, x))(jnp.asarray(x)) for x in X[:4]]
    logs = np.mean([np.log(np.linalg.svd(j, compute_uv=False)) for j in jacobians], axis=0)
    np.testing.assert_allclose(ds.log_singular_values, logs, atol=1e-9)


def test_gradients_below_the_smallest_float32_are_recorded():
    net = jaxsat.MLP(90, 4, "sigmoid", inputs=3, outputs=4)
    with jax.enable_x64(False):
        ds = run(net, record=["log_gradient_norms", "gradient_norm"], record_every=[0])
    assert ds.log_gradient_norms.dtype == "float32"
    assert np.isfinite(ds.log_gradient_norms).all()
    assert ds.log_gradient_norms.min() < -110
    assert ds.gradient_norm.min() == 0


def test_dead_units_are_those_with_slope_zero_for_every_probe_example():
    net = jaxsat.MLP(2, 40, "relu", inputs=3, outputs=4, bias_scale=3.0)
    ds = run(net, record="dead_fraction", record_every=[0], probe=3)
    h = forward(*drawn(net, 0), X[:3], lambda h: np.maximum(h, 0))[1]
    share = [(a <= 0).all(0).mean() for a in h]
    assert min(share) > 0
    np.testing.assert_allclose(ds.dead_fraction[0, 0], share, atol=1e-12)


CLIPPED = optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(0.01))
NOISY = optax.chain(optax.add_noise(0.1, 0.55, addresses.root(3)), optax.sgd(0.1))  # a random key in its state


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [CLIPPED, NOISY], ids=["clipped", "noisy"])
def test_a_run_can_stop_and_go_on_with_any_optimizer_state(optimizer, tmp_path, monkeypatch):
    """At every file written, in turn, the run is cut off; what it comes to is the same."""
    monkeypatch.setattr(training_program, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    request = {
        "over": {"weight_scale": [0.5, 2.0]},
        "seeds": 2,
        "epochs": 3,
        "record": ["loss", "update_ratio"],
        "optimizer": optimizer,
    }
    expected = run(**request)
    write, left = checkpoints._write, 0

    def cut_off(path, fill):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        write(path, fill)

    monkeypatch.setattr(checkpoints, "_write", cut_off)
    cuts, found = 0, None
    while found is None and cuts < 100:
        left = 2
        try:
            found = run(**request, store=tmp_path / "run.zarr")
        except KeyboardInterrupt:
            cuts += 1
    assert cuts >= 2
    xarray.testing.assert_equal(found, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


KILLED = """
import jax, optax, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxsat
from jaxsat.training import training_program
training_program.SECONDS_BETWEEN_CHECKPOINTS = 0.0
rng = np.random.default_rng(0)
data = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
net = jaxsat.MLP(depth=3, width=6, inputs=3, outputs=4)
jaxsat.train(net, data, optimizer=optax.adam(0.01), epochs=400, batch_size=10, record_every=10, over={"weight_scale": [0.5, 2.0]},
             record=["loss", "update_ratio"], store="run.zarr", seeds=8, progress=False)
"""


@pytest.mark.slow
def test_killed_for_good_and_resumed_equals_the_undisturbed_run(tmp_path):
    def start():
        return subprocess.Popen([sys.executable, "-c", KILLED], cwd=tmp_path)

    process, partial = start(), tmp_path / "run.zarr.partial"
    for _ in range(600):
        if (partial / "0-0.npz").exists():
            break
        time.sleep(0.05)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was to be killed in the midst"
    assert partial.exists()
    assert not (tmp_path / "run.zarr").exists()
    assert start().wait() == 0
    assert not partial.exists()
    net = jaxsat.MLP(depth=3, width=6, inputs=3, outputs=4)
    expected = run(
        net, (X, Y), optimizer=optax.adam(0.01), epochs=400, over={"weight_scale": [0.5, 2.0]}, seeds=8, record_every=10,
        record=["loss", "update_ratio"],
    )  # fmt: skip
    xarray.testing.assert_equal(xarray.open_zarr(tmp_path / "run.zarr").load(), expected)


def test_a_finished_store_is_read_back_and_only_for_the_same_request(tmp_path):
    store = tmp_path / "run.zarr"
    first = run(store=store, record="loss")
    stamp = (store / "zarr.json").stat().st_mtime_ns
    again = run(store=store, record="loss")
    xarray.testing.assert_identical(first.drop_attrs(), again.drop_attrs())
    assert (store / "zarr.json").stat().st_mtime_ns == stamp
    other = X.copy()
    other[0, 0] += 1e-9
    for changed, message in (
        ({"epochs": 3}, "of another request: epochs is 2 there and 3 here"),
        ({"net": jaxsat.MLP(3, 6, "relu", inputs=3, outputs=4)}, "network is .*tanh.* there and .*relu.* here"),
        ({"data": (other, Y)}, "data is .* there and .* here"),
        ({"optimizer": optax.sgd(0.3)}, "of another optimiser, activation, device or version"),
    ):
        with pytest.raises(ValueError, match=message):
            run(**({"store": store, "record": "loss"} | changed))


def test_what_train_did_not_write_is_left_alone(tmp_path):
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "zarr.json").write_text(json.dumps({"attributes": {"analysis": "another"}}))
    with pytest.raises(ValueError, match=r"mine.zarr exists and was not written by jaxsat.train"):
        run(store=tmp_path / "mine.zarr")
    (tmp_path / "other.zarr.partial").mkdir()
    (tmp_path / "other.zarr.partial" / "notes").write_text("keep me")
    with pytest.raises(ValueError, match=r"other.zarr.partial exists and was not written by jaxsat.train"):
        run(store=tmp_path / "other.zarr")
    assert (tmp_path / "other.zarr.partial" / "notes").read_text() == "keep me"
    with pytest.raises(ValueError, match="must be in a folder that can be written"):
        run(store="/proc/nowhere/run.zarr")


def test_a_store_that_appears_during_the_run_is_not_written_over(tmp_path, monkeypatch):
    store = tmp_path / "run.zarr"
    write = checkpoints.zarr_files.write

    def meanwhile(dataset, path, mode):
        store.mkdir()
        write(dataset, path, mode=mode)

    monkeypatch.setattr(checkpoints.zarr_files, "write", meanwhile)
    with pytest.raises(ValueError, match="appeared during the run; the result is kept in"):
        run(store=store)
    assert list(store.iterdir()) == []


NAN = X.copy()
NAN[3, 1] = np.nan


def looks_at_the_rate(rate):
    return optax.sgd(0.1 if rate > 1 else rate)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"net": jaxsat.MLP(3, 6, inputs=3)}, ValueError, "`net` must have a read-out; got outputs=None"),
        ({"data": (NAN, Y)}, ValueError, "x must be finite; got 1 non-finite"),
        ({"data": (X[:, :2], Y)}, ValueError, r"`data`: x must have shape .* n_0 = 3; got \(40, 2\). Set `inputs`"),
        ({"data": (X.astype(complex), Y)}, TypeError, "x must be real numbers; got complex128"),
        ({"data": (X, Y + 1)}, ValueError, "y must be classes from 0 to 3; got 1 to 4"),
        ({"data": (X, Y - 1)}, ValueError, "y must be classes from 0 to 3; got -1 to 2"),
        ({"data": (X, Y * 1.0)}, ValueError, r"y must have shape \(40, 4\), as real targets .*\(40,\). Use y.astype\(int\)"),
        ({"data": (X, Y * 1j)}, TypeError, "y must be integers, the classes, or real numbers; got complex128"),
        ({"data": (X, np.full((40, 4), np.nan))}, ValueError, "y must be finite; got 160 non-finite"),
        ({"data": (X, np.ones((40, 4))), "record": "accuracy"}, ValueError, "'accuracy' needs classes, integers; got real"),
        ({"test": (TEST[0], np.ones((len(TEST[0]), 4)))}, ValueError, "must have targets of the same kind as `data`"),
        ({"record": "gate_saturated_fraction"}, ValueError, "train: `record` must be of a network with gates"),
        ({"data": (X, np.eye(4, dtype=int)[Y])}, ValueError, r"one class for each .* got shape \(40, 4\). Use argmax"),
        ({"data": (X, Y[:9])}, ValueError, r"one class for each of the 40 examples; got shape \(9,\)"),
        ({"test": (TEST[0], TEST[1] + 4)}, ValueError, "`test`: y must be classes from 0 to 3"),
        ({"batch_size": 41}, ValueError, "`batch_size` must be at most the 40 training examples; got 41"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer of at least 1; got 0"),
        ({"seeds": True}, TypeError, "`seeds` must be an integer of at least 1; got True"),
        ({"probe": 0}, ValueError, "`probe` must be an integer of at least 1; got 0"),
        ({"optimizer": "sgd"}, TypeError, r"must be an optax GradientTransformation, as optax.sgd\(0.1\); got str"),
        ({"optimizer": optax.sgd}, TypeError, "got a function. A function learning_rate -> transformation needs over"),
        ({"over": {"learning_rate": [0.1]}}, TypeError, "must be a function learning_rate -> Grad.* where 'learning_rate'"),
        ({"over": {"learning_rate": [0.1]}, "optimizer": lambda r: r}, TypeError, "must return an optax Gradient"),
        ({"over": {"learning_rate": [0.1]}, "optimizer": looks_at_the_rate}, ValueError, "must take any learning rate"),
        ({"over": {"learning_rates": [0.1]}}, ValueError, "got 'learning_rates'. Did you mean 'learning_rate'"),
        ({"over": {"weight_scale": 1.0}}, TypeError, "must be a sequence of values; got 1.0"),
        ({"over": {"weight_scale": []}}, ValueError, "must have at least one value; got none"),
        ({"over": {"weight_scale": [1.0, np.inf]}}, ValueError, "must be finite and at least 0"),
        ({"over": {"weight_scale": [1.0, 1.0]}}, ValueError, "must have distinct values"),
        ({"over": {"activation": ["tahn"]}}, ValueError, "Did you mean 'tanh'"),
        ({"over": {"depth": [2, 3]}}, ValueError, "`record` must have the same shapes for every network"),
        ({"record": ["losss"]}, ValueError, "must be known names; got 'losss'. Did you mean 'loss'"),
        ({"record": []}, ValueError, "`record` must name at least one of"),
        ({"record": "test_loss"}, ValueError, "'test_loss' needs `test` data; got none"),
        ({"record": "boundary_measure", "over": {"activation": ["relu"]}}, ValueError, "must be bounded for this measure"),
        ({"record_every": 0}, ValueError, "`record_every` must be an integer of at least 1; got 0"),
        ({"record_every": [0, 9]}, ValueError, r"ascending steps from 0 to 8; got \[0, 9\]"),
        ({"record_every": [3, 3]}, ValueError, r"ascending steps from 0 to 8; got \[3, 3\]"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_before_anything_is_compiled(arguments, error, message, monkeypatch):
    def compiled(*_):
        raise AssertionError("it was compiled")

    monkeypatch.setattr(training_program.TrainingProgram, "compile", compiled)
    with pytest.raises(error, match=message) as raised:
        run(**arguments)
    assert "\n" not in str(raised.value)


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
