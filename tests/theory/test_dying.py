"""Probabilities of death and of saturation against enumeration, closed forms and networks."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special

import jaxsat
from jaxsat import addresses, theory

unchecked = inspect.unwrap  # under the import hook the type checker speaks first


def dead_shares(width, depth, seeds, x):
    """Share of ReLU networks dead at or before each layer, for each input alone and for all of them."""
    net = jaxsat.MLP(depth=depth, width=width, activation="relu", weight_scale=1.4, inputs=len(x[0]))

    def dead(seed):
        params = net.init(addresses.root(seed))
        off = jax.vmap(lambda x: (net.trace(params, x).activations == 0).all(axis=-1))(x)
        return jax.lax.cummax(jnp.concatenate([off, off.all(axis=0)[None]]).astype(jnp.int32), axis=1)

    return np.asarray(jax.lax.map(dead, jnp.arange(seeds), batch_size=1000)).mean(axis=0)


def assert_share(found, probability, seeds):
    assert abs(found - probability) < 4 * np.sqrt(probability * (1 - probability) / seeds)


def test_one_input_exactly():
    assert theory.born_dead_probability(1, 1) == pytest.approx(0.5, rel=1e-15)
    assert theory.born_dead_probability(3, [1, 2, 3]) == pytest.approx(1 - 1 / 2 * 3 / 4 * 7 / 8, rel=1e-15)
    assert theory.born_dead_probability(10, 60) == pytest.approx(10 * 2.0**-60, rel=1e-15), (
        "small ones to full accuracy"
    )


def test_narrow_and_deep_networks_are_born_dead():
    """Lu et al. 2020: width 2 and depth 10 kill more than nine in ten, for every input at once."""
    assert theory.born_dead_bounds(10, 2, inputs=1).lower > 0.9


def test_depths_one_and_two_for_every_input():
    assert theory.born_dead_bounds(1, 3) == (0.0, 0.0)
    # Two units; every pair of signs of the first layer is seen: all four weights to the second must be negative.
    assert theory.born_dead_bounds(2, 2).lower == pytest.approx(2.0**-4, rel=1e-15)
    assert theory.born_dead_bounds(2, 2).upper == pytest.approx(2.0**-4, rel=1e-15)
    # One input number: two rays. Both units see the same one with 1/2 (one ray: dies with 1/4), else two: 1/16.
    exact = 1 / 2 * 1 / 4 + 1 / 2 * 1 / 16
    assert theory.born_dead_bounds(2, 2, inputs=1) == pytest.approx((exact, exact), rel=1e-14)


def test_what_can_be_on_by_enumeration():
    """Signs of the weights of width 2, depth 3: 2^8 equally likely cases."""
    dead = 0
    for signs in itertools.product([0, 1], repeat=8):
        on = np.ones(2, bool)
        for matrix in np.reshape(signs, (2, 2, 2)):
            on = (matrix & on).any(axis=1)
        dead += not on.any()
    assert theory.born_dead_bounds(3, 2).lower == pytest.approx(dead / 2**8, rel=1e-13)


@pytest.mark.parametrize("width", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_networks_of_one_input_number(width):
    """Two opposite inputs are all inputs: the share of networks dead for both lies between the bounds."""
    depth, seeds = 12, 40_000
    shares = dead_shares(width, depth, seeds, jnp.array([[1.0], [-1.0]]))
    for at in range(depth):
        assert_share(shares[0, at], theory.born_dead_probability(at + 1, width), seeds)
        lower, upper = theory.born_dead_bounds(at + 1, width, inputs=1)
        error = np.sqrt(max(shares[2, at] * (1 - shares[2, at]), 1 / seeds) / seeds)
        assert lower - 4 * error <= shares[2, at] <= upper + 4 * error
        assert upper - lower < 0.2, "they are of use"
    lower, upper = theory.born_dead_bounds(2, width, inputs=1)
    assert lower == pytest.approx(upper, rel=1e-12)
    assert_share(shares[2, 1], lower, seeds)


def test_networks_of_several_input_numbers():
    """Many directions: dead for all of them is rarer than for one, and not rarer than the lower bound."""
    depth, width, seeds = 8, 3, 20_000
    x = np.random.default_rng(0).normal(size=(40, 2))
    shares = dead_shares(width, depth, seeds, jnp.asarray(x))
    for at in range(depth):
        bounds = theory.born_dead_bounds(at + 1, width, inputs=2)
        error = 4 * np.sqrt(max(shares[-1, at] * (1 - shares[-1, at]), 1 / seeds) / seeds)
        assert bounds.lower - error <= shares[-1, at] <= theory.born_dead_probability(at + 1, width) + error
        assert bounds.lower <= bounds.upper <= theory.born_dead_probability(at + 1, width) * (1 + 1e-12)


# --- saturation of units -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", [1e-3, 0.3, 1.0, 50.0])
def test_saturation_in_closed_form(q):
    """tanh: 1 - tanh^2 <= a beyond atanh sqrt(1 - a); logistic: the same at twice the distance; softsign: (1 + |x|)^-2."""
    a = 0.05
    edge = np.arctanh(np.sqrt(1 - a))
    for name, end in [("tanh", edge), ("sigmoid", 2 * edge), ("softsign", a**-0.5 - 1), ("hard_tanh", 1.0)]:
        with mpmath.workdps(30):
            expected = float(mpmath.erfc(mpmath.mpf(float(end)) / mpmath.sqrt(2 * mpmath.mpf(q))))
        # the end of the interval has an error of some ulp; far tails multiply it by end^2 / q
        assert float(theory.saturated_probability(name, q, a)) == pytest.approx(
            expected, rel=1e-14 * (100 + end**2 / q)
        )


def test_saturation_of_other_shapes():
    assert float(theory.saturated_probability("identity", 3.0)) == 0
    assert float(theory.saturated_probability("relu", 3.0, 0.0)) == 0.5
    # silu's slope passes 0 at -1.278.. and stays within 5 % of its largest around there; and in the far left
    slope = jax.vmap(jax.grad(jax.nn.silu))
    x = jnp.linspace(-40, 40, 2_000_001)
    inside = np.asarray(jnp.abs(slope(x)) <= 0.05 * jnp.abs(slope(x)).max())
    weights = np.exp(-(np.asarray(x) ** 2) / 4) / np.sqrt(4 * np.pi) * 4e-5
    assert float(theory.saturated_probability("silu", 2.0)) == pytest.approx(weights[inside].sum(), abs=2e-5)


def test_saturation_of_networks():
    """The first layer's pre-activations are gaussian given nothing: the share of saturated units is the probability."""
    seeds, width, w = 400, 50, 3.0
    net = jaxsat.MLP(depth=1, width=width, activation="tanh", weight_scale=w)
    found = jaxsat.sweep(net, "saturated_fraction", {"weight_scale": [w]}, seeds=seeds, progress=False)
    values = found.saturated_fraction.values.ravel()
    x_square = 1.0  # inputs of a sweep have mean square 1
    expected = float(theory.saturated_probability("tanh", w * w * x_square))
    assert expected == pytest.approx(special.erfc(np.arctanh(np.sqrt(0.95)) / w / np.sqrt(2)), rel=1e-12)
    assert 4 * values.std() / np.sqrt(len(values)) < 0.05 * expected
    assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values))


def test_zero_variance_jit_grad_and_dtype():
    assert float(theory.saturated_probability("tanh", 0.0)) == 0
    assert float(theory.saturated_probability("relu", 0.0, 0.0)) in (0.0, 1.0)
    qs = jnp.array([0.5, 2.0])
    batched = jax.jit(jax.vmap(lambda q: theory.saturated_probability("tanh", q)))(qs)
    np.testing.assert_allclose(batched, [float(theory.saturated_probability("tanh", float(q))) for q in qs], rtol=1e-14)
    for q in (0.3, 1.0):
        high, low = (float(theory.saturated_probability("tanh", q + step)) for step in (1e-6, -1e-6))
        slope = jax.grad(lambda q: theory.saturated_probability("tanh", q))(q)
        assert float(slope) == pytest.approx((high - low) / 2e-6, rel=1e-7)
    with jax.enable_x64(False):
        assert theory.saturated_probability("tanh", 1.0).dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: theory.born_dead_probability(0, 3), ValueError, "`depth` must be an integer of at least 1; got 0"),
        (
            lambda: unchecked(theory.born_dead_probability)(2, 1.5),
            TypeError,
            "`width` must be an integer of at least 1; got 1.5",
        ),
        (lambda: theory.born_dead_probability(2, [3]), ValueError, "one for each of 2 layers; got 1"),
        (
            lambda: theory.born_dead_bounds(2, 3, inputs=0),
            ValueError,
            "`inputs` must be an integer of at least 1; got 0",
        ),
        (lambda: theory.saturated_probability("tanh", 1.0, 1.0), ValueError, r"`level` must lie in \[0, 1\)"),
        (
            lambda: theory.saturated_probability("tanh", -1.0),
            ValueError,
            "`q` must be a finite number and at least 0; got -1",
        ),
        (lambda: theory.saturated_probability("tanh", np.ones(2)), TypeError, "`q` must be a finite number"),
        (lambda: theory.saturated_probability("tahn", 1.0), ValueError, "Did you mean 'tanh'"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
