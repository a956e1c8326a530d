"""The noise scale, beside the covariance of gradients that are known example by example."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsat
from jaxsat.probing.noise import NoiseMeter, noise_of_parts, square_norm

DRAWS = np.random.default_rng(0)
X = 1.5 + DRAWS.normal(size=(24, 5))  # the gradient of |w - x|^2 / 2 is w - x
W = np.zeros(5)


@pytest.fixture(autouse=True)
def _as_optax_expects():
    with jax.numpy_dtype_promotion("standard"):
        yield


def loss(w, batch):
    return jnp.mean(jnp.sum(jnp.square(w["w"][None] - batch["x"]), axis=1)) / 2


def textbook(gradients):
    """Trace of the covariance of one row and squared norm of the mean, without bias, from rows of gradients."""
    count, mean = len(gradients), gradients.mean(axis=0)
    trace = ((gradients - mean) ** 2).sum() / (count - 1)
    return trace, (mean**2).sum() - trace / count


def test_parts_of_one_example_give_the_covariance_of_one_example():
    noise, signal = textbook(W - X)
    squares = ((W - X) ** 2).sum(axis=1).mean(), ((W - X).mean(axis=0) ** 2).sum()
    found = noise_of_parts(*map(jnp.asarray, squares), 24)
    assert [float(number) for number in found] == pytest.approx([noise, signal, noise / signal], rel=1e-12)


def test_a_periodic_probe_measures_it_by_parts_of_its_batch():
    watch = jaxsat.PeriodicProbe(loss, every=2, examples=("batch",), parts=6)
    for step in range(3):
        watch(step, {"w": W + step}, batch={"x": X})
    of_parts = ((2 + W) - X).reshape(6, 4, 5).mean(axis=1)
    noise, signal = textbook(of_parts)
    expected = [4 * noise, signal, 4 * noise / signal]  # a part has 4 examples
    assert watch.noise == pytest.approx(expected, rel=1e-12)
    ds = watch.dataset()
    assert ds.step.values.tolist() == [0, 2]
    assert [float(ds[name][1]) for name in ("noise", "signal", "noise_scale")] == pytest.approx(expected, rel=1e-12)


def test_a_monitor_takes_it_from_parts_and_looks_at_every_second_step():
    parts = {"w": jnp.asarray((W - X).reshape(8, 3, 5).mean(axis=1))}
    gradient = jax.tree.map(lambda g: jnp.mean(g, axis=0), parts)
    tx = jaxsat.monitor(optax.sgd(0.1), every=2)
    params = {"w": jnp.asarray(W) + 1}
    first, state = tx.update(gradient, tx.init(params), params, parts=parts)
    noise, signal = textbook(np.asarray(parts["w"]))
    assert state.noise == pytest.approx([noise, signal, noise / signal], rel=1e-12)
    twice = jax.tree.map(lambda g: 2 * g, (gradient, parts))
    second, after = tx.update(twice[0], state, params, parts=twice[1])
    assert int(after.step) == 2
    assert float(second["w"][0]) == 2 * float(first["w"][0])  # the optimiser sees every step
    assert after.noise == state.noise  # the monitor does not
    _, third = tx.update(twice[0], after, params, parts=twice[1])
    assert third.noise == pytest.approx([4 * noise, 4 * signal, noise / signal], rel=1e-12)


def test_without_a_signal_the_noise_scale_is_infinite_and_nan_stays():
    assert float(noise_of_parts(jnp.array(2.0), jnp.array(1.0), 2).noise_scale) == np.inf
    assert np.isnan(float(noise_of_parts(jnp.array(np.nan), jnp.array(1.0), 2).noise_scale))
    assert float(square_norm({"a": jnp.arange(3), "b": jnp.full(2, 3.0)})) == 18


def test_gradients_whose_squares_underflow_are_not_called_pure_noise():
    """Norms of 1e-17: a square of 1e-34 is above the smallest float32, but those of 1e4 entries of 1e-19 are not."""
    small = jnp.full((2, 10_000), 1e-19, jnp.float32)
    found = noise_of_parts(square_norm(small) / 2, square_norm(small[0]), 2)
    assert np.isnan([float(number) for number in found]).all()
    large = noise_of_parts(square_norm(small * 1e6) / 2, square_norm(small[0] * 1e6), 2)
    assert float(large.signal) == pytest.approx(1e-22, rel=1e-5)  # rounding of sums of 10 000 numbers


def test_bad_input():
    with pytest.raises(ValueError, match="PeriodicProbe: `parts` must be an integer of at least 2; got 1"):
        jaxsat.PeriodicProbe(loss, every=1, parts=1)
    with pytest.raises(ValueError, match="`examples` must name arguments of fn; got 'data'"):
        jaxsat.PeriodicProbe(loss, every=1, examples=("data",))(0, {"w": W}, batch={"x": X})
    with pytest.raises(ValueError, match="a multiple of parts=7; got 24"):
        jaxsat.PeriodicProbe(loss, every=1, examples=("batch",), parts=7)(0, {"w": W}, batch={"x": X})
    with pytest.raises(
        TypeError, match="PeriodicProbe: `examples` must be a list of places or names of arguments; got 7"
    ):
        NoiseMeter.__init__.__wrapped__(object.__new__(NoiseMeter), loss, None, 7, 2)  # below the type checker
    tx, gradient = jaxsat.monitor(optax.sgd(0.1)), {"w": jnp.ones(5)}
    for parts in (3, {"v": jnp.ones((2, 5))}, {"w": jnp.ones((2, 4))}, {"w": jnp.ones((1, 5))}, {"w": jnp.ones(5)}):
        with pytest.raises(ValueError, match="monitor: `parts` must have the gradients of at least 2 parts of a batch"):
            tx.update(gradient, tx.init(gradient), gradient, parts=parts)
    with pytest.raises(ValueError, match="monitor: `every` must be an integer of at least 1; got 0"):
        jaxsat.monitor(every=0)
