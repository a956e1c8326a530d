"""Where dtypes lose an activation: by bisection on the true functions, rounded exactly, in 120-digit arithmetic."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import pytest

from jaxsat import activations
from jaxsat.activations.precision import UnderflowPoints, underflow_points

mp = mpmath.MPContext()  # a context of our own: mpmath's global one is left alone
mp.dps = 120  # float32's least slopes, 2^-150, then stand 75 digits clear of the 1 they are subtracted from
FLOAT64_DIGITS = 400  # and float64's, 2^-1075, 76 digits


class Format(NamedTuple):
    """A binary floating format by its definition, not by a finfo: significand bits, exponent of the least normal."""

    digits: int
    exponent: int

    def tiny(self):
        return mp.ldexp(mp.one, self.exponent)

    def rounded(self, x):
        """x to nearest, ties to even, with gradual underflow: exact."""
        if x == 0:
            return mp.zero
        exponent = max(int(mp.frexp(x)[1]) - 1, self.exponent) - (self.digits - 1)
        scaled = mp.ldexp(x, -exponent)
        low = mp.floor(scaled)
        up = scaled - low > mp.mpf(0.5) or (scaled - low == mp.mpf(0.5) and int(low) % 2)
        return mp.ldexp(low + (1 if up else 0), exponent)


FORMATS = {
    "float64": Format(53, -1022),
    "float32": Format(24, -126),
    "bfloat16": Format(8, -126),
    "float16": Format(11, -14),
    "float8_e4m3fn": Format(4, -6),
    "float8_e5m2": Format(3, -14),
}


class Tail(NamedTuple):
    """The textbook value and slope of one tail, and the exact limit."""

    side: str
    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    limit: Callable[[], Any]


def _logistic(x):
    return 1 / (1 + mp.exp(-x))


def _normal_cdf(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _gelu_slope(x):
    return _normal_cdf(x) + x * mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _selu_limit():
    return -mp.mpf("1.0507009873554804934193349852946") * mp.mpf("1.6732632423543772848170429916717")


def _lecun_tanh_slope(x):
    return mp.mpf("1.7159") * 2 / 3 * mp.sech(2 * x / 3) ** 2


TAILS = {  # soft ones
    "sigmoid right": Tail("right", _logistic, lambda x: _logistic(x) * _logistic(-x), lambda: mp.one),
    "sigmoid left": Tail("left", _logistic, lambda x: _logistic(x) * _logistic(-x), lambda: mp.zero),
    "tanh right": Tail("right", mp.tanh, lambda x: mp.sech(x) ** 2, lambda: mp.one),
    "tanh left": Tail("left", mp.tanh, lambda x: mp.sech(x) ** 2, lambda: -mp.one),
    "erf right": Tail("right", mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x), lambda: mp.one),
    "softsign right": Tail("right", lambda x: x / (1 + x), lambda x: 1 / (1 + x) ** 2, lambda: mp.one),
    "arctan right": Tail("right", mp.atan, lambda x: 1 / (1 + x * x), lambda: mp.pi / 2),
    "arctan left": Tail("left", mp.atan, lambda x: 1 / (1 + x * x), lambda: -mp.pi / 2),
    "lecun_tanh right": Tail(
        "right", lambda x: mp.mpf("1.7159") * mp.tanh(2 * x / 3), _lecun_tanh_slope, lambda: mp.mpf("1.7159")
    ),
    "elu left": Tail("left", mp.expm1, mp.exp, lambda: -mp.one),
    "selu left": Tail(
        "left", lambda x: -_selu_limit() * mp.expm1(x), lambda x: -_selu_limit() * mp.exp(x), _selu_limit
    ),
    "softplus left": Tail("left", lambda x: mp.log1p(mp.exp(x)), _logistic, lambda: mp.zero),
    "log_sigmoid right": Tail("right", lambda x: -mp.log1p(mp.exp(-x)), lambda x: _logistic(-x), lambda: mp.zero),
    "silu left": Tail(
        "left", lambda x: x * _logistic(x), lambda x: _logistic(x) * (1 + x * _logistic(-x)), lambda: mp.zero
    ),
    "gelu left": Tail("left", lambda x: x * _normal_cdf(x), _gelu_slope, lambda: mp.zero),
    "squareplus left": Tail(
        "left", lambda x: (x + mp.sqrt(x * x + 4)) / 2, lambda x: (1 + x / mp.sqrt(x * x + 4)) / 2, lambda: mp.zero
    ),
}


def _last_crossing(beyond: Callable[[Any], bool]):
    """The x > 0 from which on `beyond` holds: outwards in factors of 2, then by bisection, to 1e-12."""
    low, high = mp.mpf(2) ** -4, mp.mpf(2) ** 200
    assert beyond(high)
    while high > low and beyond(high / 2):
        high /= 2
    low = high / 2
    assert not beyond(low)
    while high - low > high * mp.mpf("1e-12"):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high


def _points(tail: Tail, kind: Format) -> dict[str, Callable[[Any], bool]]:
    """For each field of the answer: whether x lies beyond it, from the value or slope there and nothing else."""
    sign = 1 if tail.side == "right" else -1
    limit = tail.limit()
    return {
        "subnormal": lambda x: abs(tail.slope(sign * x)) < kind.tiny(),
        "zero": lambda x: kind.rounded(tail.slope(sign * x)) == 0,
        "rounds_to_limit": lambda x: kind.rounded(tail.value(sign * x)) == kind.rounded(limit),
    }


def _dtype(name: str):
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.mark.parametrize("kind", FORMATS)
def test_formats(kind):
    """The formats of this file round as ml_dtypes and NumPy do, and so do their least numbers."""
    dtype, form = _dtype(kind), FORMATS[kind]
    least = np.ldexp(1.0, form.exponent - form.digits + 1)
    x = np.concatenate([np.geomspace(2.0**-5, 15.0, 401), np.arange(1, 40) * 0.125])
    x = np.concatenate([x, -x, least * np.array([0.4375, 0.5, 0.625, 1.0, 1.5, 2.5, 3.5]), [0.0]])
    expected = [float(form.rounded(mp.mpf(float(v)))) for v in x]
    np.testing.assert_array_equal(x.astype(dtype).astype(np.float64), expected)
    assert float(form.tiny()) == float(ml_dtypes.finfo(dtype).smallest_normal)
    assert least == float(ml_dtypes.finfo(dtype).smallest_subnormal)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("tail", TAILS)
def test_points_separate(tail, kind):
    """All three, of every soft tail in every format, to 1e-12: no logarithms, no distances, only exact rounding."""
    found = underflow_points(tail.split()[0], _dtype(kind), side=TAILS[tail].side)
    assert isinstance(found, UnderflowPoints)
    with mp.workdps(FLOAT64_DIGITS if kind == "float64" else mp.dps):
        for field, beyond in _points(TAILS[tail], FORMATS[kind]).items():
            if (tail, kind, field) == ("squareplus left", "float64", "rounds_to_limit"):
                assert found.rounds_to_limit == np.inf  # 1 / x rounds to 0 from 2^1075 on: no float64 is so large
                continue
            point = mp.mpf(getattr(found, field))
            assert not beyond(point * (1 - mp.mpf("1e-12"))), (field, found)
            for step in ("1e-12", "1e-3", "0.5", "63"):
                assert beyond(point * (1 + mp.mpf(step))), (field, found)


@pytest.mark.parametrize(("tail", "kind"), [(t, k) for t in TAILS for k in ("float32", "float16")])
def test_points_are_the_last_crossings(tail, kind):
    """The same from far outside, knowing no answer: silu and gelu, for example, have slope 0 near 0 too."""
    found = underflow_points(tail.split()[0], _dtype(kind), side=TAILS[tail].side)
    for field, beyond in _points(TAILS[tail], FORMATS[kind]).items():
        assert getattr(found, field) == pytest.approx(float(_last_crossing(beyond)), rel=1e-9), field


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("tail", TAILS)
def test_the_dtype_itself_flips(tail, kind):
    """Rounded by NumPy and ml_dtypes on either side, 1e-4 away: far enough that rounding twice does no harm."""
    side, value, slope, limit = TAILS[tail]
    sign, dtype = (1 if side == "right" else -1), _dtype(kind)
    found = underflow_points(tail.split()[0], dtype, side=side)
    before, after = (
        [np.float64(fn(sign * mp.mpf(point) * (1 + step))).astype(dtype) for fn, point in
         ((slope, found.zero), (value, found.rounds_to_limit))]
        for step in (-1e-4, 1e-4)
    )  # fmt: skip
    assert before[0] != 0
    assert after[0] == 0
    assert before[1] != np.float64(limit()).astype(dtype)
    assert after[1] == np.float64(limit()).astype(dtype)


def test_sigmoid_in_closed_form():
    """ln 2^149 + ln 2 for float32's slope; 1 - 2^-25, where 1 - 2^-24 rounds up, for its value."""
    points = underflow_points("sigmoid", jnp.float32)
    assert points.zero == pytest.approx(150 * np.log(2), rel=1e-12)
    assert points.subnormal == pytest.approx(126 * np.log(2), rel=1e-12)
    assert points.rounds_to_limit == pytest.approx(np.log(2.0**25 - 1), rel=1e-12)


# --- hard saturation: 0 beyond a kink ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_hard(kind):
    """The slope ends at the kink; the value reaches its limit a little earlier, by half a unit in the last place."""
    digits, exponent = FORMATS[kind]
    half_least = 2.0 ** (exponent - digits + 1) / 2
    below_1 = 2.0 ** -(digits + 1)  # half the spacing of numbers just below 1; a tie goes to 1, whose last bit is 0
    below_6 = 2.0 ** (2 - digits)  # and just below 6, in [4, 8)
    expected = {
        ("relu", "left"): (0.0, 0.0, 0.0),
        ("relu", "right"): (np.inf, np.inf, np.inf),
        ("hard_tanh", "right"): (1.0, 1.0, 1 - below_1),
        ("hard_tanh", "left"): (1.0, 1.0, 1 - below_1),
        ("hard_sigmoid", "right"): (3.0, 3.0, 3 - 6 * below_1),
        ("hard_sigmoid", "left"): (3.0, 3.0, 3 - 6 * half_least),
        ("relu6", "left"): (0.0, 0.0, 0.0),
        ("relu6", "right"): (6.0, 6.0, 6 - below_6),
        ("hard_silu", "left"): (3.0, 3.0, float(_hard_silu_reach(mp.mpf(half_least)))),
        ("sparse_plus", "left"): (1 - 2 * 2.0**exponent, 1 - 2 * half_least, 1 - 2 * np.sqrt(half_least)),
    }
    for (name, side), points in expected.items():
        found = underflow_points(name, _dtype(kind), side=side)
        got = (found.subnormal, found.zero, found.rounds_to_limit)
        assert got == pytest.approx(points, rel=1e-12, abs=0), (name, side)


def _hard_silu_reach(gap):
    """t < 3 with t (3 - t) / 6 = gap."""
    return (3 + mp.sqrt(9 - 24 * gap)) / 2


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("name", "side"),
    [
        *((name, "right") for name in ("relu", "softplus", "silu", "gelu", "elu", "sin")),
        *((name, "left") for name in ("identity", "sin", "log_sigmoid")),
    ],
)
def test_never(name, side, kind):
    found = underflow_points(name, _dtype(kind), side=side)
    assert found == UnderflowPoints(np.inf, np.inf, np.inf)


def test_limit_without_reach():
    """A leaky slope below a dtype's least number is lost everywhere on that side, though it never saturates."""
    flat = activations.leaky_relu(1e-9)
    lost = underflow_points(flat, jnp.float16, side="left")
    assert 0 <= lost.subnormal < 1e-300  # its slope at 0 itself is 1, by convention
    assert 0 <= lost.zero < 1e-300
    assert lost.rounds_to_limit == np.inf
    assert underflow_points(flat, jnp.float32, side="left") == UnderflowPoints(np.inf, np.inf, np.inf)


# --- what may be given -------------------------------------------------------------------------------------------


def test_given_by_name_record_or_callable():
    by_name = underflow_points("tanh", jnp.float16)
    assert underflow_points(activations.get("tanh"), jnp.float16) == by_name
    assert underflow_points("tanh", np.float16, side="right") == by_name
    assert underflow_points("tanh", "float16") == by_name
    assert underflow_points("tanh", np.dtype("float16"), side="left") == by_name
    derived = underflow_points(jnp.tanh, jnp.float16)
    assert derived.rounds_to_limit == np.inf  # a derived record states no limit
    assert derived.zero == pytest.approx(by_name.zero, rel=1e-6)
    assert derived.subnormal == pytest.approx(by_name.subnormal, rel=1e-6)


@pytest.mark.parametrize(("x64", "kind"), list(itertools.product((True, False), ("float64", "bfloat16"))))
def test_does_not_depend_on_the_default_float(x64, kind):
    reference = underflow_points("gelu", _dtype(kind), side="left")
    with jax.enable_x64(x64):
        assert underflow_points("gelu", _dtype(kind), side="left") == reference


def test_bad_input():
    points = inspect.unwrap(underflow_points)  # unwrapped: under the import hook the type checker speaks first
    with pytest.raises(ValueError, match=r"underflow_points: `side` must be 'right' or 'left'; got 'up'"):
        points("tanh", jnp.float32, side="up")
    with pytest.raises(ValueError, match=r"must be a name of the catalogue; got 'tanch'\. Did you mean 'tanh'"):
        points("tanch", jnp.float32)


@pytest.mark.parametrize(
    "dtype",
    [jnp.int32, np.int8, bool, "int64", "nonsense", 3, None, jnp.complex64, np.longdouble, ml_dtypes.float8_e8m0fnu],
    ids=str,
)
def test_not_a_floating_dtype(dtype):
    """None is NumPy's name for float64; complex types have a finfo too; e8m0 holds nothing but powers of two."""
    with pytest.raises(TypeError, match=r"underflow_points: `dtype` must be a floating dtype such as float32; got"):
        inspect.unwrap(underflow_points)("tanh", dtype)
