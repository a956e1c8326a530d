"""Every activation of the catalogue against its textbook definition in 50-digit arithmetic."""

import functools
import inspect
import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxsat import activations
from jaxsat.activations import Activation

mp = mpmath.MPContext()  # a context of our own: mpmath's global one is left alone
mp.dps = 50


# --- the truth ---------------------------------------------------------------------------------------------------


class Truth(NamedTuple):
    """A textbook definition: mpf -> mpf. `turns` are the zeros of a slope that changes sign smoothly."""

    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    kinks: tuple[float, ...] = ()
    turns: tuple[float, ...] = ()


def _logistic(x):
    return 1 / (1 + mp.exp(-x))


def _normal_cdf(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _normal_density(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _gelu_tanh_gate(x):  # (1 + tanh(t)) / 2 = 1 / (1 + exp(-2 t))
    return _logistic(2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))


def _gelu_tanh_slope(x):
    t = mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)
    dt = mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf("0.044715") * x**2)
    return _logistic(2 * t) + x * dt * mp.sech(t) ** 2 / 2


def _leaky_relu(a=0.01):
    return Truth(lambda x: x if x >= 0 else mp.mpf(a) * x, lambda x: mp.one if x >= 0 else mp.mpf(a), (0.0,))


def _exponential_left(scale, alpha, width):
    return Truth(
        lambda x: scale * x if x > 0 else scale * alpha * mp.expm1(x / width),
        lambda x: mp.mpf(scale) if x > 0 else scale * alpha / width * mp.exp(x / width),
        (0.0,),
    )


def _elu(alpha=1.0):
    return _exponential_left(mp.one, mp.mpf(alpha), mp.one)


def _celu(alpha=1.0):
    return _exponential_left(mp.one, mp.mpf(alpha), mp.mpf(alpha))


def _indicator(inside):
    return mp.one if inside else mp.zero


TRUTHS = {
    "identity": Truth(lambda x: x, lambda x: mp.one),
    "sigmoid": Truth(_logistic, lambda x: _logistic(x) * _logistic(-x)),
    "tanh": Truth(mp.tanh, lambda x: mp.sech(x) ** 2),
    "hard_sigmoid": Truth(
        lambda x: min(max(x + 3, mp.zero), mp.mpf(6)) / 6, lambda x: _indicator(-3 < x < 3) / 6, (-3.0, 3.0)
    ),
    "hard_tanh": Truth(lambda x: min(max(x, -mp.one), mp.one), lambda x: _indicator(-1 < x < 1), (-1.0, 1.0)),
    "erf": Truth(mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)),
    "arctan": Truth(mp.atan, lambda x: 1 / (1 + x * x)),
    "softsign": Truth(lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2, (0.0,)),
    "lecun_tanh": Truth(
        lambda x: mp.mpf("1.7159") * mp.tanh(2 * x / 3), lambda x: mp.mpf("1.7159") * 2 / 3 * mp.sech(2 * x / 3) ** 2
    ),
    "relu": Truth(lambda x: max(x, mp.zero), lambda x: _indicator(x > 0), (0.0,)),
    "leaky_relu": _leaky_relu(mp.mpf("0.01")),
    "relu6": Truth(lambda x: min(max(x, mp.zero), mp.mpf(6)), lambda x: _indicator(0 < x < 6), (0.0, 6.0)),
    "elu": _elu(),
    "selu": _exponential_left(
        mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717"), mp.one
    ),
    "celu": _celu(),
    "softplus": Truth(lambda x: mp.log1p(mp.exp(x)), _logistic),
    "squareplus": Truth(lambda x: (x + mp.sqrt(x * x + 4)) / 2, lambda x: (1 + x / mp.sqrt(x * x + 4)) / 2),
    "sparse_plus": Truth(
        lambda x: mp.zero if x <= -1 else x if x >= 1 else (x + 1) ** 2 / 4,
        lambda x: mp.zero if x <= -1 else mp.one if x >= 1 else (x + 1) / 2,
        (-1.0, 1.0),
    ),
    "gelu": Truth(
        lambda x: x * _normal_cdf(x),
        lambda x: _normal_cdf(x) + x * _normal_density(x),
        turns=(-0.7517915246935645,),
    ),
    "gelu_tanh": Truth(lambda x: x * _gelu_tanh_gate(x), _gelu_tanh_slope, turns=(-0.7524614220710163,)),
    "silu": Truth(
        lambda x: x * _logistic(x),
        lambda x: _logistic(x) * (1 + x * _logistic(-x)),
        turns=(-1.2784645427610738,),
    ),
    "hard_silu": Truth(
        lambda x: x * min(max(x + 3, mp.zero), mp.mpf(6)) / 6,
        lambda x: mp.zero if x <= -3 else mp.one if x >= 3 else (2 * x + 3) / 6,
        (-3.0, 3.0),
    ),
    "mish": Truth(
        lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
        lambda x: mp.tanh(mp.log1p(mp.exp(x))) + x * mp.sech(mp.log1p(mp.exp(x))) ** 2 * _logistic(x),
        turns=(-1.192431214515495,),
    ),
    "log_sigmoid": Truth(lambda x: -mp.log1p(mp.exp(-x)), lambda x: _logistic(-x)),
    "sin": Truth(mp.sin, mp.cos, turns=tuple((k + 0.5) * np.pi for k in range(-320, 320))),
}
FACTORIES = {
    "leaky_relu(0.2)": (lambda: activations.leaky_relu(0.2), _leaky_relu(0.2)),
    "leaky_relu(0)": (lambda: activations.leaky_relu(0.0), _leaky_relu(0.0)),
    "leaky_relu(-0.5)": (lambda: activations.leaky_relu(-0.5), _leaky_relu(-0.5)),
    "leaky_relu(3)": (lambda: activations.leaky_relu(3.0), _leaky_relu(3.0)),
    "elu(0.3)": (lambda: activations.elu(0.3), _elu(0.3)),
    "elu(2)": (lambda: activations.elu(2.0), _elu(2.0)),
    "celu(0.5)": (lambda: activations.celu(0.5), _celu(0.5)),
    "celu(3)": (lambda: activations.celu(3.0), _celu(3.0)),
}
CASES = (*activations.names(), *FACTORIES)
SMOOTH = tuple(name for name in activations.names() if name in TRUTHS and not TRUTHS[name].kinks)
# Gaps from limits other than 0, by complementary forms; where the limit is 0 the gap is |value|.
GAPS = {
    ("sigmoid", "right"): lambda x: _logistic(-x),
    ("tanh", "left"): lambda x: 2 / (mp.exp(-2 * x) + 1),
    ("tanh", "right"): lambda x: 2 / (mp.exp(2 * x) + 1),
    ("erf", "left"): lambda x: mp.erfc(-x),
    ("erf", "right"): mp.erfc,
    ("arctan", "left"): lambda x: mp.acot(-x),
    ("arctan", "right"): mp.acot,
    ("softsign", "left"): lambda x: 1 / (1 - x),
    ("softsign", "right"): lambda x: 1 / (1 + x),
    ("lecun_tanh", "left"): lambda x: mp.mpf("1.7159") * 2 / (mp.exp(-4 * x / 3) + 1),
    ("lecun_tanh", "right"): lambda x: mp.mpf("1.7159") * 2 / (mp.exp(4 * x / 3) + 1),
    ("elu", "left"): mp.exp,
    ("selu", "left"): lambda x: (
        mp.mpf("1.0507009873554804934193349852946") * mp.mpf("1.6732632423543772848170429916717") * mp.exp(x)
    ),
    ("celu", "left"): mp.exp,
    ("elu(0.3)", "left"): lambda x: mp.mpf(0.3) * mp.exp(x),
    ("elu(2)", "left"): lambda x: 2 * mp.exp(x),
    ("celu(0.5)", "left"): lambda x: mp.exp(2 * x) / 2,
    ("celu(3)", "left"): lambda x: 3 * mp.exp(x / 3),
}


def _case(name: str) -> tuple[Activation, Truth]:
    if name in FACTORIES:
        record, truth = FACTORIES[name]
        return record(), truth
    return activations.get(name), TRUTHS[name]


def _edges(tiny: float) -> set[float]:
    """Every |x| in (1, 1000) at which a true value or slope of the catalogue leaves the normal numbers."""
    edges = set()
    for truth in (*TRUTHS.values(), *(truth for _, truth in FACTORIES.values())):
        for fn, sign in itertools.product((truth.value, truth.slope), (-1, 1)):
            low, high = mp.mpf(2), mp.mpf(1000)
            if not 0 < abs(fn(sign * high)) < tiny < abs(fn(sign * low)):
                continue
            while high - low > 1e-9:
                middle = (low + high) / 2
                low, high = (middle, high) if abs(fn(sign * middle)) >= tiny else (low, middle)
            edges.add(round(float(low), 8))
    return edges


def _spread(edges: set[float]) -> np.ndarray:
    """One grid for all: dense near 0, wide, the extremes, and around every kink, turn and underflow."""
    sizes = np.concatenate([[1e-300, 1e-100, 1e-20, 1e-12], np.geomspace(1e-9, 990.0, 60), np.linspace(690, 750, 11)])
    inside = np.outer(sorted(edges), [1 - 4e-3, 1 - 1e-3, 1 - 3e-4, 1 - 1e-6]).ravel()
    sizes = np.concatenate([sizes, inside])
    special = [k for truth in TRUTHS.values() for k in (*truth.kinks, *truth.turns[:1], *truth.turns[318:324])]
    special += [k * np.pi for k in (-318, -2, -1, 1, 2, 100, 318)]
    offsets = np.array([-1e-2, -1e-5, -1e-9, 0.0, 1e-9, 1e-5, 1e-2])
    near = (np.unique(special)[:, None] + offsets).ravel()
    ulps = [np.nextafter(k, side) for k in (-3.0, -1.0, 1.0, 3.0, 6.0) for side in (-np.inf, np.inf)]
    return np.unique(
        np.concatenate([
            [0.0, -1000.0, 1000.0], sizes, -sizes, near, ulps, np.linspace(-6, 6, 97), np.linspace(-45, 45, 141),
            np.linspace(-999.7, 998.9, 97),
        ])
    )  # fmt: skip


WIDE = _spread(_edges(float(np.finfo(np.float64).tiny)))
SINGLE = _spread(_edges(float(np.finfo(np.float32).tiny))).astype(np.float32)
SINGLE = np.unique(SINGLE[(np.abs(SINGLE) <= 80) & ((np.abs(SINGLE) > 1e-37) | (SINGLE == 0))])
QUANTITIES = ("value", "slope", "log_abs_slope", "slope_sign")


def _four(record: Activation) -> Callable[..., tuple[jax.Array, ...]]:
    """All of QUANTITIES in one function: one compilation for the four."""
    return lambda x: (record(x), record.slope(x), record.log_abs_slope(x), record.slope_sign(x))


@functools.cache
def _true(name: str, quantity: str, single: bool) -> list:
    truth = _case(name)[1]
    fn = truth.value if quantity == "value" else truth.slope
    return [fn(mp.mpf(float(x))) for x in (SINGLE if single else WIDE)]


def _away_from(points: np.ndarray, centres: tuple[float, ...], distance: float) -> np.ndarray:
    """Where no centre is nearer than `distance` (0: where none is hit)."""
    return np.all(np.abs(points[:, None] - np.array([*centres, np.inf])) > distance, axis=1)


def _assert_relative(x, got, true, rtol: float, atol, tiny: float) -> None:
    """|got - true| <= rtol |true| + atol where true is a normal number, and got is no larger than one elsewhere."""
    atol = np.broadcast_to(atol, x.shape)
    wrong = []
    for point, computed, exact, slack in zip(x, np.asarray(got, np.float64), true, atol, strict=True):
        error = abs(mp.mpf(float(computed)) - exact)
        bound = rtol * abs(exact) + slack if abs(exact) >= tiny else mp.mpf(tiny)
        if not error <= bound:
            wrong.append(f"x = {point!r}: {computed!r}, not {mp.nstr(exact, 17)}: {mp.nstr(error / bound, 3)} bounds")
    assert not wrong, f"{len(wrong)} of {len(x)} points: " + "; ".join(wrong[:: max(1, len(wrong) // 6)])


def _assert_conforms(name: str, wrap: Callable, points: np.ndarray, rtol: float) -> None:
    record, truth = _case(name)
    info = np.finfo(points.dtype)
    single = points.dtype == np.float32
    tiny, eps = float(info.tiny), float(info.eps)
    value, slope, log_slope, sign = map(np.asarray, wrap(_four(record))(jnp.asarray(points)))
    assert {a.dtype for a in (value, slope, log_slope, sign)} == {points.dtype}
    _assert_relative(points, value, _true(name, "value", single), rtol, 0.0, tiny)

    smooth = _away_from(points, truth.kinks, 0.0)  # the slope at a kink is a convention: see test_slope_at_kinks
    x, slope, log_slope, sign = (a[smooth] for a in (points, slope, log_slope, sign))
    true = [t for t, keep in zip(_true(name, "slope", single), smooth, strict=True) if keep]
    turning = np.where(_away_from(x, truth.turns, 0.3), 0.0, 4 * eps)
    _assert_relative(x, slope, true, rtol, turning, tiny)

    zero = np.array([t == 0 for t in true])
    assert np.all(log_slope[zero] == -np.inf), x[zero][log_slope[zero] != -np.inf]
    seen = np.array([abs(t) > 8 * eps or a == 0 for t, a in zip(true, turning, strict=True)])  # not *at* a turn
    logs = [mp.log(abs(t)) if t else mp.zero for t in true]
    slack = [a / abs(t) if a else 0 for t, a in zip(true, turning, strict=True)]
    slack = np.array([rtol * max(1, abs(log)) + s for log, s in zip(logs, slack, strict=True)], float)
    keep = seen & ~zero
    logs = [log for log, kept in zip(logs, keep, strict=True) if kept]
    _assert_relative(x[keep], log_slope[keep], logs, 0.0, slack[keep], 0.0)
    np.testing.assert_array_equal(sign[seen], np.array([float(mp.sign(t)) for t in true])[seen])


def test_truth_covers_the_catalogue():
    assert set(TRUTHS) == set(activations.names())


@pytest.mark.parametrize("name", CASES)
def test_truth_is_consistent(name):
    """The closed-form slopes of this file are derivatives of its values: numerically, to 20 digits."""
    truth = _case(name)[1]
    for x in (-7.3, -2.2, -0.9, -0.3, 0.4, 0.8, 1.7, 2.9, 5.5, 11.0):
        assert abs(mp.diff(truth.value, mp.mpf(x)) - truth.slope(mp.mpf(x))) < mp.mpf("1e-20")
    for turn in truth.turns[:1] + truth.turns[320:322]:
        assert truth.slope(mp.mpf(turn) - 1e-12) * truth.slope(mp.mpf(turn) + 1e-12) < 0
    for gap_of, side in ((n, s) for n, s in GAPS if n == name):
        x = mp.mpf(4 if side == "right" else -4)
        far = truth.value(mp.mpf(10) ** 45 * (1 if side == "right" else -1))
        assert abs(abs(far - truth.value(x)) / GAPS[gap_of, side](x) - 1) < mp.mpf("1e-35")


# --- the conformance test ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda fn: fn, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("name", CASES)
def test_conformance(name, wrap):
    """Value, slope, ln|slope| and its sign to 1e-12 over [-1000, 1000]: also compiled, where XLA may reassociate."""
    _assert_conforms(name, wrap, WIDE, 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_conformance_float32(name):
    """Over [-80, 80]. Exponentials of large arguments lose |x| eps, so 1e-5 and not a few eps."""
    _assert_conforms(name, jax.jit, SINGLE, 1e-5)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("x", [-1e4, -3e3, -300.0, 300.0, 3e3, 1e4])
def test_log_slope_far_out_float32(name, x):
    record, truth = _case(name)
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
    assert _case(name)[0].kinks == _case(name)[1].kinks


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
    record, truth = _case(name)
    gradients = jax.jit(lambda x: (jax.vmap(jax.grad(AT_KINKS[name]))(x), jax.vmap(jax.grad(record))(x)))
    kinks = jnp.array(truth.kinks)
    expected, ours = gradients(kinks)
    _, slope, log_slope, sign = _four(record)(kinks)
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
    record, truth = _case(name)
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
    record, truth = _case(name)
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
    record, truth = _case(name)
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
    record, truth = _case(name)
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
        _assert_relative(x, wrap(log_gap)(jnp.asarray(x)), true, 0.0, slack, 0.0)


# --- derivatives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_autodiff_gives_the_slope(name):
    """Reverse and forward mode, under jit and vmap, give exactly the record's slope: nothing is lost on the way."""
    record = _case(name)[0]
    x = jnp.asarray(WIDE)
    slope, plain = record.slope(x), record(x)
    np.testing.assert_array_equal(jax.vmap(jax.grad(record))(x), slope)

    def compiled(x):
        value, tangent = jax.jvp(record, (x,), (jnp.full_like(x, 3.0),))
        rows = jax.vmap(record)(x[:, None])[:, 0]
        return value, tangent, jax.vmap(jax.grad(record))(x), jax.vmap(jax.jacfwd(record))(x), rows

    value, tangent, reverse, forward, rows = jax.jit(compiled)(x)
    at_turn = np.where(_away_from(np.asarray(x), _case(name)[1].turns, 0.3), 1e-307, 2e-15)  # compiled otherwise
    for got, expected in ((value, plain), (rows, plain), (reverse, slope), (forward, slope), (tangent, 3 * slope)):
        assert np.all(np.abs(got - expected) <= 1e-13 * np.abs(expected) + at_turn)


@pytest.mark.parametrize(
    ("name", "fn", "x"),
    [("sigmoid", jax.nn.sigmoid, 40.0), ("tanh", jnp.tanh, 25.0), ("tanh", jnp.tanh, -25.0)],
)
def test_spurious_zeros_are_jax_nns_and_not_ours(name, fn, x):
    record, truth = _case(name)
    true = float(truth.slope(mp.mpf(x)))
    assert true > 1e-25
    assert float(jax.grad(fn)(x)) == 0.0
    assert float(jax.grad(record)(x)) == pytest.approx(true, rel=1e-13, abs=0)
    assert float(jax.jit(jax.grad(record))(x)) == pytest.approx(true, rel=1e-13, abs=0)


SECOND = (-60.0, -20.0, -5.0, -1.9, -0.4, 0.0, 0.4, 1.9, 5.0, 20.0, 60.0)


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivative(name):
    """Smooth ones: against the mpmath derivative of the true slope, at 0 too, where exp(-|x|) has a corner."""
    record, truth = _case(name)
    over = jax.jit(lambda x: (jax.vmap(jax.grad(jax.grad(record)))(x), jax.vmap(jax.jacfwd(jax.grad(record)))(x)))
    with mp.workdps(80):
        true = [mp.diff(truth.slope, mp.mpf(x)) for x in SECOND]
    for computed in over(jnp.array(SECOND)):
        _assert_relative(np.array(SECOND), computed, true, 1e-12, [1e-60 if x else 1e-16 for x in SECOND], 0.0)


# --- dtypes, NaN, shapes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_dtype_is_kept(name):
    record = _case(name)[0]
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64):
        x = jax.ShapeDtypeStruct((2, 3), dtype)
        for got in (*jax.eval_shape(_four(record), x), jax.eval_shape(jax.vmap(jax.vmap(jax.grad(record))), x)):
            assert (got.shape, got.dtype) == (x.shape, dtype)


@pytest.mark.parametrize("name", CASES)
def test_half_precision(name):
    """Right to a few units of the last place: near 0 to five, and exp(-x^2) loses x^2 of them."""
    record, truth = _case(name)
    x = np.array([-6.5, -2.25, -0.25, 0.5, 2.25, 6.5])
    slope = [truth.slope(mp.mpf(v)) for v in x]
    value = [truth.value(mp.mpf(v)) for v in x]
    log_slope = [mp.log(abs(t)) if t else mp.ninf for t in slope]
    expected = np.array([[float(t) for t in true] for true in (value, slope, log_slope, map(mp.sign, slope))])
    both = jnp.asarray(x, jnp.float16), jnp.asarray(x, jnp.bfloat16)
    compiled = jax.jit(lambda both: [(*_four(record)(x), jax.vmap(jax.grad(record))(x)) for x in both])
    for given, (*four, gradient) in zip(both, compiled(both), strict=True):
        eps, tiny = float(jnp.finfo(given.dtype).eps), float(jnp.finfo(given.dtype).tiny)
        for quantity, got, true, slack in zip(QUANTITIES, four, expected, (tiny, tiny, 5 * eps, 0.0), strict=True):
            got, finite = np.asarray(got, np.float64), np.isfinite(true)
            np.testing.assert_array_equal(got[~finite], true[~finite], err_msg=quantity)
            bound = np.array([16, 5, 5, 5, 5, 16]) * eps * np.abs(true) + slack
            assert np.all(np.abs(got[finite] - true[finite]) <= bound[finite]), (given.dtype, quantity, got, true)
        np.testing.assert_array_equal(gradient, four[1])


@pytest.mark.parametrize("name", CASES)
def test_integers_become_floats(name):
    four = _four(_case(name)[0])
    for got, expected in zip(four(jnp.arange(-3, 3)), four(jnp.arange(-3.0, 3.0)), strict=True):
        assert got.dtype == jnp.float64
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_complex_is_refused(quantity):
    tanh = activations.get("tanh")
    # unwrapped: under the import hook the type checker speaks first
    method = inspect.unwrap(Activation.__call__ if quantity == "value" else getattr(Activation, quantity))
    with pytest.raises(TypeError, match=r"activation: `x` must be real; got complex128\. Pass the real and imaginary"):
        method(tanh, jnp.array([1j]))


@pytest.mark.parametrize("name", CASES)
def test_nan_stays_nan(name):
    x = jnp.array([jnp.nan, 1.5, jnp.nan, -0.5, 7.0, -7.0])
    for quantity, got in zip(QUANTITIES, _four(_case(name)[0])(x), strict=True):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(x), err_msg=quantity)


def test_shapes_and_scalars():
    tanh = activations.get("tanh")
    assert tanh(0.5).shape == ()
    assert tanh(np.zeros((2, 0, 3))).shape == (2, 0, 3)
    assert float(tanh(0.5)) == pytest.approx(np.tanh(0.5), rel=1e-15)


# --- get and the factories ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", activations.names())
def test_get_returns_the_same_record(name):
    record = activations.get(name)
    assert record.name == name
    assert activations.get(name) is record
    assert activations.get(record) is record
    assert {record: 1}[activations.get(name)] == 1
    assert not record.derived


@pytest.mark.parametrize(
    ("alias", "name"),
    [("linear", "identity"), ("logistic", "sigmoid"), ("soft_sign", "softsign"), ("swish", "silu"),
     ("hard_swish", "hard_silu")],
)  # fmt: skip
def test_aliases(alias, name):
    assert activations.get(alias) is activations.get(name)
    assert alias not in activations.names()


def test_unknown_names():
    with pytest.raises(ValueError, match=r"must be a name of the catalogue; got 'sigmod'\. Did you mean 'sigmoid'"):
        activations.get("sigmod")
    with pytest.raises(ValueError, match=r"got 'hard_swich'\. Did you mean 'hard_swish'"):
        activations.get("hard_swich")
    with pytest.raises(ValueError, match=r"got 'qqqqqq'\. See jaxsat\.activations\.names\(\)"):
        activations.get("qqqqqq")


@pytest.mark.parametrize("wrong", [3, None, 0.5, ["tanh"]])
def test_wrong_type(wrong):
    with pytest.raises(TypeError, match="must be a name, an Activation or a callable; got " + type(wrong).__name__):
        inspect.unwrap(activations.get)(wrong)


def test_records_are_static_arguments():
    """The same name compiles once: by record, by name, by factory."""
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def apply(record, x):
        traces.append(record.name)
        return record(x)

    for _ in range(3):
        apply(activations.get("tanh"), jnp.ones(3))
        apply(activations.leaky_relu(0.2), jnp.ones(3))
        apply(activations.elu(0.5), jnp.ones(3))
        apply(activations.get(jnp.cos), jnp.ones(3))
    assert traces == ["tanh", "leaky_relu(0.2)", "elu(0.5)", "cos"]


@pytest.mark.parametrize(
    ("factory", "default"),
    [(activations.leaky_relu, 0.01), (activations.elu, 1.0), (activations.celu, 1.0)],
    ids=["leaky_relu", "elu", "celu"],
)
def test_factories_are_cached(factory, default):
    """The same number gives the same record, however it is written: each new record recompiles."""
    keyword = "negative_slope" if factory is activations.leaky_relu else "alpha"
    assert factory(0.25) is factory(0.25)
    assert factory(0.25) is not factory(0.26)
    assert factory(0.25) is factory(**{keyword: 0.25})
    assert factory() is factory(default)
    assert factory() is activations.get(factory.__name__)
    assert factory(0.25).name == f"{factory.__name__}(0.25)"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_factories_check_their_parameter(bad):
    for factory in (activations.elu, activations.celu):
        with pytest.raises(ValueError, match=rf"{factory.__name__}: `alpha` must be finite and positive; got {bad}"):
            factory(bad)
    if not np.isfinite(bad):
        with pytest.raises(ValueError, match=rf"leaky_relu: `negative_slope` must be finite; got {bad}"):
            activations.leaky_relu(bad)


# --- derived records ---------------------------------------------------------------------------------------------

CALLABLES = {
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": jax.nn.hard_tanh,
    "erf": jax.scipy.special.erf,
    "arctan": jnp.arctan,
    "softsign": jax.nn.soft_sign,
    "lecun_tanh": lambda x: 1.7159 * jnp.tanh(2 * x / 3),
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "relu6": jax.nn.relu6,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "softplus": jax.nn.softplus,
    "squareplus": jax.nn.squareplus,
    "sparse_plus": jax.nn.sparse_plus,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": jax.nn.gelu,
    "silu": jax.nn.silu,
    "hard_silu": jax.nn.hard_silu,
    "mish": jax.nn.mish,
    "log_sigmoid": jax.nn.log_sigmoid,
    "sin": jnp.sin,
    "leaky_relu(-0.5)": lambda x: jax.nn.leaky_relu(x, -0.5),
    "elu(2)": lambda x: jax.nn.elu(x, 2.0),
}


ALWAYS = {(name, True) for name in ("sigmoid", "tanh", "hard_tanh", "relu", "leaky_relu", "relu6", "elu", "softplus",
                                   "gelu_tanh", "sparse_plus", "hard_silu", "leaky_relu(-0.5)", "sin")}  # fmt: skip
ALWAYS |= {(name, False) for name in ("tanh", "elu", "hard_silu")}
DERIVED = [
    pytest.param(*case, marks=[] if case in ALWAYS else pytest.mark.slow)  # half a second to two each
    for case in itertools.product(CALLABLES, (True, False))
]


@pytest.mark.parametrize(("name", "x64"), DERIVED)
def test_derived_record(name, x64):
    """Class, limits of the slope and jumps are found by probing, in float64 and in JAX's default float32 alike."""
    known, truth = _case(name)
    fn = CALLABLES[name]
    with jax.enable_x64(x64):
        derived = activations.get(fn if x64 else lambda x: fn(x))
        x = jnp.array([-2.7, -0.6, 0.1, 1.4, 2.2, 4.5])
        *four, gradient = jax.jit(lambda x: (*_four(derived)(x), jax.vmap(jax.grad(derived))(x)))(x)
        for got, expected in zip(four, _four(known)(x), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(gradient, four[1], rtol=4e-7)
    assert derived.derived
    assert (derived.left, derived.right) == (known.left, known.right)
    assert derived.max_slope == pytest.approx(known.max_slope, rel=1e-4)
    step = mp.mpf("1e-9")
    jumps = [k for k in truth.kinks if abs(truth.slope(mp.mpf(k) + step) - truth.slope(mp.mpf(k) - step)) > 1e-3]
    assert list(derived.kinks) == pytest.approx(jumps, abs=2e-6)
    assert activations.get(derived) is derived


def test_derived_record_is_the_same_for_the_same_callable():
    assert activations.get(jnp.tanh) is activations.get(jnp.tanh)
    assert activations.get(jnp.tanh) is not activations.get("tanh")
    assert activations.get(jnp.tanh).name == "tanh"


def test_derive_inside_jit_leaks_nothing():
    def bent(x):
        return jnp.where(x > 1, 1 + (x - 1) / 10, x)

    inside = jax.jit(lambda x: activations.get(bent)(x))(jnp.array([0.5, 2.0]))
    np.testing.assert_allclose(inside, [0.5, 1.1], rtol=1e-15)
    record = activations.get(bent)
    assert isinstance(record.max_slope, float)
    assert record.max_slope == 1.0
    assert record.kinks == pytest.approx((1.0,), abs=2e-6)
    np.testing.assert_allclose(record(jnp.array([3.0])), [1.2], rtol=1e-15)


@pytest.mark.parametrize(
    "fn",
    [
        jax.nn.softmax, jnp.cumsum, lambda x: x - jnp.mean(x), lambda x: x / jnp.std(x), lambda x: x[::-1], jnp.sort,
        jax.lax.cummax, lambda x: x / jnp.max(jnp.abs(x)), lambda x: x + x[0],
    ],
    ids=["softmax", "cumsum", "centre", "scale", "reverse", "sort", "cummax", "max_norm", "first"],
)  # fmt: skip
def test_entries_that_depend_on_each_other(fn):
    with pytest.raises(ValueError, match=r"activation: .* must act elementwise; .*entries depend on each other"):
        activations.get(fn)


@pytest.mark.parametrize("fn", [jnp.sum, jnp.max, lambda x: jnp.stack([x, x]), lambda x: x[:-1]])
def test_shape_changing_callables(fn):
    with pytest.raises(ValueError, match=r"activation: .* must act elementwise; shape \(4001,\) became \("):
        activations.get(fn)


def test_callables_that_fail_are_named():
    def square_matrix_only(x):
        return x.reshape(2, 2)

    with pytest.raises(ValueError, match=r"square_matrix_only must map an array to an array elementwise; it failed on"):
        activations.get(square_matrix_only)
    with pytest.raises(ValueError, match=r"must be made of operations of JAX; got NumPy's tanh. Use jax.numpy.tanh"):
        activations.get(np.tanh)
    with pytest.raises(
        ValueError, match=r"through_numpy must map .*; it failed on shape \(4001,\): The numpy.ndarray conv"
    ):
        activations.get(through_numpy)


def through_numpy(x):
    return np.exp(np.asarray(x))
