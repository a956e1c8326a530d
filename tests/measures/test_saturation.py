import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import activations
from jaxsat.measures import saturation


def normal(count, scale):
    return scale * np.random.default_rng(0).normal(size=count)


def test_saturated_fraction_of_gaussian_pre_activations_is_the_closed_form():
    """tanh saturated at level e: |h| >= arccosh(1/sqrt(e)); gaussian h gives erfc. Sigmoid: logit of the slope."""
    n, scale, level = 200_000, 1.7, 0.05
    h = normal(n, scale)
    for name, threshold in (("tanh", math.acosh(level**-0.5)), ("sigmoid", 2 * math.acosh(level**-0.5))):
        p = math.erfc(threshold / scale / math.sqrt(2))
        got = float(saturation.saturated_fraction(name, jnp.asarray(h), level))
        assert abs(got - p) < 4 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [("relu", 0.0, 0.5), ("relu", 0.5, 0.5), ("hard_tanh", 0.0, 0.5), ("identity", 0.9, 0.0), ("sigmoid", 0.0, 0.0)],
)
def test_saturated_fraction_by_counting(name, level, expected):
    h = jnp.array([-800.0, -2.0, 0.5, 1.0])
    assert float(saturation.saturated_fraction(name, h, level)) == expected


def test_level_is_compared_beyond_underflow():
    h = jnp.array([800.0, 1200.0])  # slopes exp(-800), exp(-1200): both 0 in float64
    assert float(saturation.saturated_fraction("sigmoid", h, 1e-300)) == 1
    assert float(saturation.dead_fraction("sigmoid", h[:, None])) == 0


def test_dead_is_zero_slope_for_every_input():
    h = jnp.array([[-1.0, -1.0, 2.0, -3.0], [-2.0, 3.0, 1.0, -1.0]])
    assert float(saturation.dead_fraction("relu", h)) == 0.5
    assert float(saturation.dead_fraction("leaky_relu", h)) == 0
    assert float(saturation.dead_fraction("relu", h[0])) == 0.75  # one input
    assert float(saturation.always_saturated_fraction("tanh", 3 * h, 0.05)) == 1


def boundary_by_histogram(values, low, high, bins):
    """Rakitianskaia & Engelbrecht's definition, with numpy.histogram and a loop over bins."""
    scaled = 2 * (values - low) / (high - low) - 1
    edges = np.linspace(-1, 1, bins + 1)
    index = np.clip(np.digitize(scaled, edges) - 1, 0, bins - 1)
    total = sum(abs(scaled[index == b].mean()) * (index == b).sum() for b in range(bins) if (index == b).any())
    return total / len(values)


@pytest.mark.parametrize("bins", [1, 5, 10])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "lecun_tanh", "hard_tanh"])
def test_boundary_measure_is_its_definition(name, bins):
    h = normal(5000, 1.5)
    phi = activations.get(name)
    expected = boundary_by_histogram(np.asarray(phi(h)), float(phi.left_limit), float(phi.right_limit), bins)
    assert float(saturation.boundary_measure(name, jnp.asarray(h), bins)) == pytest.approx(expected, rel=1e-12)


def test_boundary_measure_at_its_three_landmarks():
    uniform = np.arctanh(np.linspace(-1, 1, 100_002)[1:-1])
    assert float(saturation.boundary_measure("tanh", uniform)) == pytest.approx(0.5, abs=1e-4)
    assert float(saturation.boundary_measure("tanh", jnp.array([-50.0, 50.0]))) == 1
    assert float(saturation.boundary_measure("sigmoid", jnp.zeros(9))) == 0


def test_entropy_at_its_landmarks():
    uniform = np.arctanh(np.linspace(-1, 1, 100_002)[1:-1])
    assert float(saturation.activation_entropy("tanh", uniform)) == pytest.approx(math.log(10), abs=1e-6)
    assert float(saturation.activation_entropy("tanh", jnp.array([-50.0, 50.0]))) == pytest.approx(math.log(2))
    assert float(saturation.activation_entropy("tanh", jnp.full(5, 0.1))) == 0


def test_percentiles_are_numpys():
    values = normal(1001, 1.0)
    got = saturation.activation_percentiles(jnp.asarray(values), (0, 2, 50, 98, 100))
    np.testing.assert_allclose(got, np.percentile(values, [0, 2, 50, 98, 100]), rtol=1e-12)


@pytest.mark.parametrize(
    "measure",
    [
        lambda h: saturation.saturated_fraction("tanh", h),
        lambda h: saturation.dead_fraction("relu", h),
        lambda h: saturation.always_saturated_fraction("tanh", h),
        lambda h: saturation.boundary_measure("tanh", h),
        lambda h: saturation.activation_entropy("tanh", h),
        lambda h: saturation.activation_histogram("tanh", h, 4),
        lambda h: saturation.activation_percentiles(h),
    ],
)
def test_nan_in_nan_out(measure):
    """A network of NaN had no dead and no saturated units, and all its activations in the lowest bin."""
    assert np.isnan(measure(jnp.array([[0.5, np.nan], [1.0, 2.0]]))).all()


@pytest.mark.parametrize(("measure", "bins"), [(saturation.boundary_measure, 11), (saturation.activation_entropy, 13)])
def test_outside_jit_a_measure_is_a_few_programs_and_not_one_for_each_operation(measure, bins, compilations):
    measure("tanh", np.ones((3, bins)), bins)  # shapes of which nothing is compiled yet
    # the activation of an array, the histogram, what is made of it
    assert compilations.count("backend_compile_duration") <= 4


def test_under_jit_and_vmap():
    h = jnp.asarray(normal(60, 2.0).reshape(3, 4, 5))
    batched = jax.jit(jax.vmap(lambda h: saturation.dead_fraction("relu", h)))(h)
    assert batched.tolist() == [float(saturation.dead_fraction("relu", one)) for one in h]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: saturation.saturated_fraction("tanh", h, 1.0), r"`level` must lie in \[0, 1\).*got 1.0"),
        (lambda h: saturation.saturated_fraction("tnah", h), "Did you mean 'tanh'"),
        (
            lambda h: saturation.boundary_measure("relu", h),
            r"must be bounded for this measure; got .relu.\. It has no finite limit",
        ),
        (lambda h: saturation.activation_entropy("tanh", h, 0), "`bins` must be an integer of at least 1; got 0"),
        (lambda h: saturation.activation_percentiles(h, (98, 102)), r"must lie in \[0, 100\]"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((2, 3)))
