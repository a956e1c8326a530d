import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsat
from jaxsat.probing.monitoring import MonitorState, PeriodicProbe, scalars

PARAMS = {"a": jnp.linspace(-1, 1, 12).reshape(3, 4), "b": jnp.full(4, 2.0)}


@pytest.fixture(autouse=True)
def _as_optax_expects():
    with jax.numpy_dtype_promotion("standard"):
        yield


def loss(params, x):
    return jnp.sum(jnp.tanh(x @ params["a"] + params["b"][None]) ** 2)


X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))


def run(tx, steps=4):
    def step(carry, _):
        params, state = carry
        gradients = jax.grad(loss)(params, X)
        updates, state = tx.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), (gradients, updates, params, state)

    return jax.jit(lambda: jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), None, length=steps))()


def test_updates_and_parameters_are_the_optimisers_own_bit_for_bit():
    for plain, watched in (
        (optax.adam(0.1), jaxsat.monitor(optax.adam(0.1))),
        (optax.adam(0.1), optax.chain(jaxsat.monitor(), optax.adam(0.1), jaxsat.monitor())),
    ):
        (p, _), (_, u, _, _) = run(plain)
        (q, _), (_, v, _, _) = run(watched)
        assert jax.tree.all(jax.tree.map(jnp.array_equal, (p, u), (q, v)))


def test_numbers_at_every_step_of_a_scan_are_those_of_numpy():
    _, (gradients, updates, params, state) = run(jaxsat.monitor(optax.adam(0.1)))
    assert state.step.tolist() == [1, 2, 3, 4]
    for name in PARAMS:
        for i in range(4):
            g, u, w = (np.asarray(tree[name][i]) for tree in (gradients, updates, params))
            assert float(state.log_gradient_norms[name][i]) == pytest.approx(np.log(np.linalg.norm(g)), rel=1e-12)
            ratio = np.log(np.linalg.norm(u) / np.linalg.norm(w))
            assert float(state.log_update_ratios[name][i]) == pytest.approx(ratio, rel=1e-12)
            assert float(state.zero_fractions[name][i]) == (g == 0).mean()


def test_tiny_gradients_do_not_read_zero_and_zeros_do():
    tx = jaxsat.monitor(optax.sgd(1.0))
    tiny = float(jnp.finfo(jnp.float32).tiny)
    params = jax.tree.map(lambda p: jnp.ones(4, jnp.float32), PARAMS)
    gradients = {"a": jnp.array([1e-30, 0, 0, tiny / 2], jnp.float32), "b": jnp.zeros(4, jnp.float32)}
    assert float(optax.tree.norm(gradients)) == 0
    _, state = tx.update(gradients, tx.init(params), params)
    assert float(state.log_gradient_norms["a"]) == pytest.approx(np.log(1e-30), rel=1e-6)
    assert float(state.log_gradient_norms["b"]) == -np.inf
    assert [float(state.zero_fractions[k]) for k in "ab"] == [0.5, 1.0]
    assert [float(state.subnormal_fractions[k]) for k in "ab"] == [0.25, 0.0]


def test_without_parameters_there_is_no_ratio():
    tx = jaxsat.monitor()
    before = tx.init(PARAMS)
    assert isinstance(before, MonitorState)
    assert jnp.isnan(before.log_gradient_norms["a"])
    _, state = tx.update(PARAMS, before)
    assert jnp.isnan(state.log_update_ratios["a"])
    assert jnp.isfinite(state.log_gradient_norms["a"])


def test_loggers_take_the_numbers_of_every_monitor_in_a_chain():
    tx = optax.chain(jaxsat.monitor(), optax.sgd(0.1))
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    found = scalars(state)
    assert len(found) == 8
    assert found["['b']/log_gradient_norm"] == pytest.approx(np.log(4.0))


def test_a_periodic_probe_compiles_once_and_keeps_a_dataset(compilations):
    watch = PeriodicProbe(loss, every=3)
    expected = {}
    for step in range(7):
        params = jax.tree.map(lambda p, step=step: p * (1 + step), PARAMS)
        if step == 3:
            del compilations[:]
        report = watch(step, params, X)
        assert (report is None) == (step % 3 != 0)
        if report is not None:
            expected[step] = report.sites[0].saturated_fraction
    assert not [event for event in compilations if "compile" in event]
    ds = watch.dataset()
    assert ds.step.values.tolist() == list(expected) == [0, 3, 6]
    assert ds.saturated_fraction.values[:, 0].tolist() == list(expected.values())
    h = np.asarray(X) @ (4 * np.asarray(PARAMS["a"])) + 8
    assert expected[3] == (1 - np.tanh(h) ** 2 <= 0.05).mean()
    assert float(ds.loss[1]) == pytest.approx(np.sum(np.tanh(h) ** 2), rel=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="`every` must be an integer of at least 1; got 0"):
        PeriodicProbe(loss, every=0)
    with pytest.raises(ValueError, match="no report was taken yet"):
        PeriodicProbe(loss, every=2).dataset()
