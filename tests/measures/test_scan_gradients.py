"""Gradients through scans, against closed forms far outside of the range of numbers, and against autodiff inside of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.measures.scaled_arrays import ScaledArrays


def arrays_of(scaled):
    """The plain arrays of a ScaledArrays."""
    steps = scaled.log_scale.ndim
    size = np.exp(np.asarray(scaled.log_scale))
    return jax.tree.map(lambda a: np.asarray(a) * size.reshape(size.shape + (1,) * (a.ndim - steps)), scaled.direction)


def cell(params, carry, x):
    """A tanh cell with two kinds of input and a loss that adds up: carries, inputs and parameters are all pytrees."""
    h, total = carry
    h = jnp.tanh(params["w"] @ h + params["b"] + x["u"])
    return h, total + 0.1 * jnp.sum(h**2) * x["k"].astype(h.dtype)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(3, 3)), "b": rng.normal(size=3)}
    xs = {"u": rng.normal(size=(7, 3)), "k": np.arange(7)}
    return params, (rng.normal(size=3), np.zeros(())), xs, (np.array([1.0, -2.0, 0.5]), np.ones(()))


def energy(params, shifts, carry, us, ks, cotangent):
    """E, with a shift added to each carry: its gradient is that with respect to the carry."""

    def body(carry, at):
        shift, u, k = at
        return cell(params, jax.tree.map(jnp.add, carry, shift), {"u": u, "k": k}), None

    last, _ = jax.lax.scan(body, carry, (shifts, us, ks))
    return sum(jnp.sum(a * b) for a, b in zip(last, cotangent, strict=True))


def test_every_gradient_is_that_of_autodiff(case):
    params, carry, xs, cotangent = case
    found = jaxsat.gradients_of_scan(cell, carry, xs, cotangent, params=params)
    shifts = jax.tree.map(lambda a: np.zeros((7, *np.shape(a))), carry)
    true = jax.jit(jax.grad(energy, (0, 1, 3)))(params, shifts, carry, xs["u"], xs["k"], cotangent)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)  # sums of at most 21 products
    jax.tree.map(close, arrays_of(found.params), true[0])
    carries = arrays_of(found.carries)
    jax.tree.map(lambda a, b: close(a[:-1], b), carries, true[1])
    jax.tree.map(lambda a, b: close(a[-1], b), carries, cotangent)
    close(arrays_of(found.inputs)["u"], true[2])
    assert found.inputs.direction["k"] is None  # integers have no gradient
    assert all(np.abs(a).max() <= 1 for a in jax.tree.leaves(found.carries.direction))
    norms = jaxsat.log_gradient_norms_of_scan(functools.partial(cell, params), carry, xs, cotangent)
    squares = sum(np.sum(a**2, axis=tuple(range(1, a.ndim))) for a in carries)
    close(norms, np.log(squares) / 2)
    close(found.carries.log_norms, norms)
    without = jaxsat.gradients_of_scan(functools.partial(cell, params), carry, xs, cotangent)
    assert without.params.direction is None
    assert without.params.log_norms == -np.inf
    assert np.isneginf(without.log_params_norms).all()
    close(without.inputs.log_norms, found.inputs.log_norms)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("w", [1e-3, 1e3])
def test_gradients_far_outside_of_the_range_of_numbers(w, dtype):
    """h_t = w h_(t-1) + x_t, h_0 = 1, x = 0: dE/dh_t = w^(T - t), dE/dw = T w^(T - 1)."""
    steps, w = 500, float(np.asarray(w, dtype))
    found = jaxsat.gradients_of_scan(
        lambda w, h, x: w * h + x,
        jnp.zeros((), dtype),
        jnp.ones(steps, dtype),
        jnp.ones(1, dtype),
        params=jnp.asarray(w, dtype),
    )
    # dE/dw = sum over t of h_(t-1) w^(T - t), with h_(t-1) = (w^(t-1) - 1) / (w - 1)
    t = np.arange(1, steps + 1)
    log_h = (
        np.log1p(-np.exp(-np.abs((t[1:] - 1) * np.log(w))))
        + np.maximum((t[1:] - 1) * np.log(w), 0)
        - np.log(abs(w - 1))
    )
    log_terms = np.append(-np.inf, log_h) + (steps - t) * np.log(w)
    eps = float(jnp.finfo(dtype).eps)
    usable = log_h < np.log(float(jnp.finfo(dtype).max))
    if w < 1:
        largest = log_terms.max()
        true = largest + np.log(np.sum(np.exp(log_terms - largest)))
        # the logarithm rounds by eps times its size; 500 terms by eps each, the last ones far smaller than the first
        np.testing.assert_allclose(found.params.log_norms, true, rtol=10 * eps, atol=500 * eps)
        np.testing.assert_allclose(found.log_params_norms[1:], log_terms[1:], rtol=10 * eps, atol=500 * eps)
    else:
        assert not usable.all()  # the forward pass itself overflows here: inf, and no number made up
        assert not np.isfinite(found.params.log_norms)
    np.testing.assert_allclose(
        found.carries.log_norms, np.arange(steps, -1, -1) * np.log(w), rtol=10 * eps, atol=500 * eps
    )
    np.testing.assert_allclose(found.inputs.log_norms, found.carries.log_norms[1:], rtol=0, atol=0)


def test_saturated_gates_have_their_slopes():
    """A gate at 40: jax.grad gives exactly 0, the truth is exp(-40) a step."""

    def gate(h, x):
        return jax.nn.sigmoid(40.0 + h)

    norms = jaxsat.log_gradient_norms_of_scan(gate, np.zeros(1), None, np.ones(1), length=30)
    # sigmoid'(40 + h) with h = 0, and then h = 1
    slope = lambda x: -x - 2 * np.log1p(np.exp(-x))  # noqa: E731
    np.testing.assert_allclose(norms[0], slope(40.0) + 29 * slope(41.0), rtol=1e-14)
    plain = jax.grad(lambda h: functools.reduce(gate, range(30), h))(0.0)
    assert plain == 0


def test_dead_and_broken_signals():
    def step(h, x):
        return jnp.where(x > 0, h, 0 * h)

    norms = jaxsat.log_gradient_norms_of_scan(step, np.ones(2), np.array([1.0, -1.0, 1.0]), np.ones(2))
    np.testing.assert_array_equal(np.isneginf(norms), [True, True, False, False])
    found = jax.jit(lambda h: jaxsat.gradients_of_scan(lambda h, x: h**2, h, np.ones(3), np.ones(2)))(
        np.array([1, np.nan])
    )
    assert np.isnan(found.carries.log_scale[:-1]).all()
    assert found.inputs.log_scale.tolist() == [-np.inf] * 3  # the step does not use them


def test_the_norm_is_differentiable(case):
    params, carry, xs, cotangent = case

    def first(w, t):
        step = functools.partial(cell, {"w": params["w"] + t * w, "b": params["b"]})
        return jaxsat.log_gradient_norms_of_scan(step, carry, xs, cotangent)[0]

    w = np.random.default_rng(1).normal(size=(3, 3))
    both = jax.jit(jax.value_and_grad(functools.partial(first, w)))
    after, before = both(1e-5)[0], both(-1e-5)[0]
    np.testing.assert_allclose(both(0.0)[1], (after - before) / 2e-5, rtol=1e-6)  # third derivatives times 1e-10


def test_a_cotangent_is_like_the_carry_or_one_vector(case):
    params, carry, xs, cotangent = case
    step = functools.partial(cell, params)
    flat = np.concatenate([np.ravel(a) for a in cotangent])
    norms = [jaxsat.log_gradient_norms_of_scan(step, carry, xs, c) for c in (cotangent, flat)]
    np.testing.assert_array_equal(norms[0], norms[1])
    for wrong, error, match in (
        (
            np.ones(3),
            ValueError,
            r"structure and shapes \[\(3,\), \(\)\], or be a vector of 4 numbers; got shapes \[\(3,\)\]",
        ),
        ((np.ones(3), 1), TypeError, "`cotangent` must be floating-point arrays"),
        (flat * np.nan, ValueError, "`cotangent` must be finite"),
    ):
        with pytest.raises(error, match=match):
            jaxsat.log_gradient_norms_of_scan(step, carry, xs, wrong)
    with pytest.raises(TypeError, match="`params` must be floating-point arrays; got dtype int64"):
        jaxsat.gradients_of_scan(cell, carry, xs, cotangent, params={"w": np.ones((3, 3), int), "b": params["b"]})


def test_scaled_arrays_say_their_norm():
    scaled = ScaledArrays(
        {"a": jnp.array([[1.0, 0.0], [0.6, 0.8]]), "b": jnp.zeros((2, 1))}, jnp.array([-2000.0, 3000.0])
    )
    np.testing.assert_allclose(scaled.log_norms, [-2000, 3000])
