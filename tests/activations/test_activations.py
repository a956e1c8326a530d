"""Every activation of the catalogue against its textbook definition in 50-digit arithmetic."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import activations
from tests.activations.truths import (
    CASES,
    FEW_QUICKLY,
    GAPS,
    SINGLE,
    SMOOTH,
    TRUTHS,
    WIDE,
    all_four,
    assert_conforms,
    assert_relative,
    away_from,
    mp,
    record_and_truth,
)


def test_truth_covers_the_catalogue():
    assert set(TRUTHS) == set(activations.names())


@pytest.mark.parametrize("name", CASES)
def test_truth_is_consistent(name):
    """The closed-form slopes of TRUTHS are derivatives of its values: numerically, to 20 digits."""
    truth = record_and_truth(name)[1]
    for x in (-7.3, -2.2, -0.9, -0.3, 0.4, 0.8, 1.7, 2.9, 5.5, 11.0):
        assert abs(mp.diff(truth.value, mp.mpf(x)) - truth.slope(mp.mpf(x))) < mp.mpf("1e-20")
    for turn in truth.turns[:1] + truth.turns[320:322]:
        assert truth.slope(mp.mpf(turn) - 1e-12) * truth.slope(mp.mpf(turn) + 1e-12) < 0
    for gap_of, side in ((n, s) for n, s in GAPS if n == name):
        x = mp.mpf(4 if side == "right" else -4)
        far = truth.value(mp.mpf(10) ** 45 * (1 if side == "right" else -1))
        assert abs(abs(far - truth.value(x)) / GAPS[gap_of, side](x) - 1) < mp.mpf("1e-35")


# --- the conformance test ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap", [pytest.param(lambda fn: fn, id="eager", marks=pytest.mark.slow), pytest.param(jax.jit, id="jit")]
)
@pytest.mark.parametrize("name", CASES)
def test_conformance(name, wrap):
    """Value, slope, ln|slope| and its sign to 1e-12 over [-1000, 1000]: also compiled, where XLA may reassociate."""
    assert_conforms(name, wrap, WIDE, 1e-12)


@pytest.mark.parametrize("name", FEW_QUICKLY)
def test_conformance_float32(name):
    """Over [-80, 80]. Exponentials of large arguments lose |x| eps, so 1e-5 and not a few eps."""
    assert_conforms(name, jax.jit, SINGLE, 1e-5)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("x", [-1e4, -3e3, -300.0, 300.0, 3e3, 1e4])
def test_log_slope_far_out_float32(name, x):
    record, truth = record_and_truth(name)
    true = truth.slope(mp.mpf(x))
    got = float(record.log_abs_slope(jnp.float32(x)))
    if true == 0:
        assert got == -np.inf
    else:
        assert got == pytest.approx(float(mp.log(abs(true))), rel=1e-5, abs=1e-5)


def test_log_slope_where_the_slope_is_zero_in_float64():
    sigmoid, erf, tanh = (activations.get(name) for name in ("sigmoid", "erf", "tanh"))
    assert float(sigmoid.slope(1000.0)) == 0.0
    assert float(sigmoid.log_abs_slope(1000.0)) == pytest.approx(-1000.0, rel=0, abs=1e-12)
    assert float(erf.log_abs_slope(-1000.0)) == pytest.approx(-1e6 + np.log(2 / np.sqrt(np.pi)), rel=1e-15)
    assert float(tanh.log_abs_slope(1e15)) == pytest.approx(-2e15, rel=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_kinks(name):
    assert record_and_truth(name)[0].kinks == record_and_truth(name)[1].kinks


AT_KINKS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "leaky_relu(0.2)": lambda x: jax.nn.leaky_relu(x, 0.2),
    "leaky_relu(-0.5)": lambda x: jax.nn.leaky_relu(x, -0.5),
    "elu": jax.nn.elu,
    "elu(2)": lambda x: jax.nn.elu(x, 2.0),
    "celu": jax.nn.celu,
    "celu(3)": lambda x: jax.nn.celu(x, 3.0),
    "selu": jax.nn.selu,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_silu": jax.nn.hard_silu,
    "sparse_plus": jax.nn.sparse_plus,
    "softsign": jax.nn.soft_sign,
}


@pytest.mark.parametrize("name", AT_KINKS)
def test_slope_at_kinks(name):
    """A convention, and jax.nn's: there the catalogue must not surprise."""
    record, truth = record_and_truth(name)
    gradients = jax.jit(lambda x: (jax.vmap(jax.grad(AT_KINKS[name]))(x), jax.vmap(jax.grad(record))(x)))
    kinks = jnp.array(truth.kinks)
    expected, ours = gradients(kinks)
    _, slope, log_slope, sign = all_four(record)(kinks)
    np.testing.assert_allclose(slope, expected, rtol=1e-15)
    np.testing.assert_array_equal(ours, slope)
    np.testing.assert_allclose(jnp.exp(log_slope), jnp.abs(expected), rtol=1e-14)
    np.testing.assert_array_equal(sign, jnp.sign(expected))


def test_every_kink_has_a_convention():
    assert {name for name in activations.names() if activations.get(name).kinks} <= set(AT_KINKS)


def _golden_max(fn, low, high):
    ratio = (mp.sqrt(5) - 1) / 2
    for _ in range(70):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if fn(a) > fn(b) else (a, high)
    return fn((low + high) / 2)


@pytest.mark.parametrize("name", CASES)
def test_max_slope(name):
    """The supremum of |slope|: attained, or approached (at a kink, or far out), and never exceeded."""
    record, truth = record_and_truth(name)
    beside = [mp.mpf(k) + d for k in truth.kinks for d in (-mp.mpf("1e-30"), mp.mpf("1e-30"))]
    grid = sorted([mp.mpf(x) for x in (*np.linspace(-12, 12, 241), -1e20, 1e20)] + beside)
    slopes = [abs(truth.slope(x)) for x in grid]
    best = max(range(1, len(grid) - 1), key=slopes.__getitem__)
    refined = _golden_max(lambda x: abs(truth.slope(x)), grid[best - 1], grid[best + 1])
    highest = max(*slopes, refined)
    assert abs(highest - mp.mpf(record.max_slope)) <= 1e-12 * highest
    fine = np.concatenate([WIDE, np.linspace(-12, 12, 200_001)])
    assert np.max(np.abs(np.asarray(record.slope(fine)))) <= record.max_slope * (1 + 4e-16)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", CASES)
def test_saturation_class(name, side):
    """Soft: the true slope tends to 0 and is never 0. Hard: it is 0 beyond the outermost kink. None: neither."""
    record, truth = record_and_truth(name)
    sign = -1 if side == "left" else 1
    far = [sign * mp.mpf(10) ** k + j for k in (3, 4, 5) for j in (0, 1, 2)]
    sizes = [abs(truth.slope(x)) for x in far]
    expected = "hard" if max(sizes) == 0 else "soft" if max(sizes[-3:]) < 1e-8 else "none"
    assert getattr(record, side) == expected

    logs = np.asarray(record.log_abs_slope(sign * np.array([10.0, 30.0, 100.0, 300.0, 1000.0])))
    if expected == "hard":
        outermost = truth.kinks[0] if side == "left" else truth.kinks[-1]
        beyond = np.nextafter(outermost + sign * 1e-300, sign * np.inf) + sign * np.array([0.0, 1e-6, 1.0, 1e6, 1e300])
        assert np.all(np.asarray(record.log_abs_slope(beyond)) == -np.inf)
    elif expected == "soft":
        assert np.all(np.isfinite(logs))
        assert np.all(np.diff(logs) < -1.5)  # tenfold further out: a slope of 1 / x^2 falls by ln 10 every factor 3.2
    else:
        assert np.max(logs) > -5  # sin comes and goes


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", CASES)
def test_limits(name, side):
    record, truth = record_and_truth(name)
    with mp.workdps(120):
        far = mp.mpf(10) ** 40 * (-1 if side == "left" else 1)
        here, further = truth.value(far), truth.value(3 * far + 1)
        limit = getattr(record, f"{side}_limit")
        if abs(here - further) > mp.mpf("1e-38"):
            assert limit is None
        else:
            assert isinstance(limit, Fraction)
            # lecun_tanh, selu: the constant of the definition, to its last digit; arctan: pi / 2 to 50 digits
            assert abs(mp.mpf(limit.numerator) / limit.denominator - further) <= mp.mpf("1e-39")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", CASES)
def test_log_gap(name, side):
    record, truth = record_and_truth(name)
    log_gap = getattr(record, f"log_{side}_gap")
    if getattr(record, f"{side}_limit") is None or getattr(record, side) == "hard":
        assert log_gap is None
        return
    x = np.concatenate([np.geomspace(0.05, 1000.0, 90), [20.0, 36.7, 37.5, 100.0, 745.2]])
    x = x if side == "right" else -x
    gap = GAPS.get((name, side), lambda x: abs(truth.value(x)))
    assert (name, side) in GAPS or getattr(record, f"{side}_limit") == 0
    true = [mp.log(gap(mp.mpf(point))) for point in x]
    slack = np.array([1e-12 * max(1, abs(t)) for t in true], float)
    for wrap in (lambda fn: fn, jax.jit):
        assert_relative(x, wrap(log_gap)(jnp.asarray(x)), true, 0.0, slack, 0.0)


# --- derivatives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEW_QUICKLY)
def test_autodiff_gives_the_slope(name):
    """Reverse and forward mode, under jit and vmap, give exactly the record's slope: nothing is lost on the way."""
    record = record_and_truth(name)[0]
    x = jnp.asarray(WIDE)
    slope, plain = record.slope(x), record(x)
    np.testing.assert_array_equal(jax.vmap(jax.grad(record))(x), slope)

    def compiled(x):
        value, tangent = jax.jvp(record, (x,), (jnp.full_like(x, 3.0),))
        rows = jax.vmap(record)(x[:, None])[:, 0]
        return value, tangent, jax.vmap(jax.grad(record))(x), jax.vmap(jax.jacfwd(record))(x), rows

    value, tangent, reverse, forward, rows = jax.jit(compiled)(x)
    at_turn = np.where(
        away_from(np.asarray(x), record_and_truth(name)[1].turns, 0.3), 1e-307, 2e-15
    )  # compiled otherwise
    for got, expected in ((value, plain), (rows, plain), (reverse, slope), (forward, slope), (tangent, 3 * slope)):
        assert np.all(np.abs(got - expected) <= 1e-13 * np.abs(expected) + at_turn)


@pytest.mark.parametrize(
    ("name", "fn", "x"),
    [("sigmoid", jax.nn.sigmoid, 40.0), ("tanh", jnp.tanh, 25.0), ("tanh", jnp.tanh, -25.0)],
)
def test_spurious_zeros_are_jax_nns_and_not_ours(name, fn, x):
    record, truth = record_and_truth(name)
    true = float(truth.slope(mp.mpf(x)))
    assert true > 1e-25
    assert float(jax.grad(fn)(x)) == 0.0
    assert float(jax.grad(record)(x)) == pytest.approx(true, rel=1e-13, abs=0)
    assert float(jax.jit(jax.grad(record))(x)) == pytest.approx(true, rel=1e-13, abs=0)


SECOND = (-60.0, -20.0, -5.0, -1.9, -0.4, 0.0, 0.4, 1.9, 5.0, 20.0, 60.0)


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivative(name):
    """Smooth ones: against the mpmath derivative of the true slope, at 0 too, where exp(-|x|) has a corner."""
    record, truth = record_and_truth(name)
    over = jax.jit(lambda x: (jax.vmap(jax.grad(jax.grad(record)))(x), jax.vmap(jax.jacfwd(jax.grad(record)))(x)))
    with mp.workdps(80):
        true = [mp.diff(truth.slope, mp.mpf(x)) for x in SECOND]
    for computed in over(jnp.array(SECOND)):
        assert_relative(np.array(SECOND), computed, true, 1e-12, [1e-60 if x else 1e-16 for x in SECOND], 0.0)
