"""Textbook definitions of every activation of the catalogue in 50-digit arithmetic, and comparisons with them."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from jaxsat import activations
from jaxsat.activations import Activation
from tests.quick_cases import slow_except

mp = mpmath.MPContext()  # a context of our own: mpmath's global one is left alone
mp.dps = 50


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
# Of what all records do by the same code: bounded, with a kink, gated, of two pieces, scaled.
FEW = ("sigmoid", "relu", "gelu", "elu", "lecun_tanh")
FEW_QUICKLY = slow_except(FEW, CASES)
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


def record_and_truth(name: str) -> tuple[Activation, Truth]:
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


def all_four(record: Activation) -> Callable[..., tuple[jax.Array, ...]]:
    """All of QUANTITIES in one function: one compilation for the four."""
    return lambda x: (record(x), record.slope(x), record.log_abs_slope(x), record.slope_sign(x))


@functools.cache
def _true(name: str, quantity: str, single: bool) -> list:
    truth = record_and_truth(name)[1]
    fn = truth.value if quantity == "value" else truth.slope
    return [fn(mp.mpf(float(x))) for x in (SINGLE if single else WIDE)]


def away_from(points: np.ndarray, centres: tuple[float, ...], distance: float) -> np.ndarray:
    """Where no centre is nearer than `distance` (0: where none is hit)."""
    return np.all(np.abs(points[:, None] - np.array([*centres, np.inf])) > distance, axis=1)


def assert_relative(x, got, true, rtol: float, atol, tiny: float) -> None:
    """|got - true| <= rtol |true| + atol where true is a normal number, and got is no larger than one elsewhere."""
    atol = np.broadcast_to(atol, x.shape)
    wrong = []
    for point, computed, exact, slack in zip(x, np.asarray(got, np.float64), true, atol, strict=True):
        error = abs(mp.mpf(float(computed)) - exact)
        bound = rtol * abs(exact) + slack if abs(exact) >= tiny else mp.mpf(tiny)
        if not error <= bound:
            wrong.append(f"x = {point!r}: {computed!r}, not {mp.nstr(exact, 17)}: {mp.nstr(error / bound, 3)} bounds")
    assert not wrong, f"{len(wrong)} of {len(x)} points: " + "; ".join(wrong[:: max(1, len(wrong) // 6)])


def assert_conforms(name: str, wrap: Callable, points: np.ndarray, rtol: float) -> None:
    record, truth = record_and_truth(name)
    info = np.finfo(points.dtype)
    single = points.dtype == np.float32
    tiny, eps = float(info.tiny), float(info.eps)
    value, slope, log_slope, sign = map(np.asarray, wrap(all_four(record))(jnp.asarray(points)))
    assert {a.dtype for a in (value, slope, log_slope, sign)} == {points.dtype}
    assert_relative(points, value, _true(name, "value", single), rtol, 0.0, tiny)

    smooth = away_from(points, truth.kinks, 0.0)  # the slope at a kink is a convention: see test_slope_at_kinks
    x, slope, log_slope, sign = (a[smooth] for a in (points, slope, log_slope, sign))
    true = [t for t, keep in zip(_true(name, "slope", single), smooth, strict=True) if keep]
    turning = np.where(away_from(x, truth.turns, 0.3), 0.0, 4 * eps)
    assert_relative(x, slope, true, rtol, turning, tiny)

    zero = np.array([t == 0 for t in true])
    assert np.all(log_slope[zero] == -np.inf), x[zero][log_slope[zero] != -np.inf]
    seen = np.array([abs(t) > 8 * eps or a == 0 for t, a in zip(true, turning, strict=True)])  # not *at* a turn
    logs = [mp.log(abs(t)) if t else mp.zero for t in true]
    slack = [a / abs(t) if a else 0 for t, a in zip(true, turning, strict=True)]
    slack = np.array([rtol * max(1, abs(log)) + s for log, s in zip(logs, slack, strict=True)], float)
    keep = seen & ~zero
    logs = [log for log, kept in zip(logs, keep, strict=True) if kept]
    assert_relative(x[keep], log_slope[keep], logs, 0.0, slack[keep], 0.0)
    np.testing.assert_array_equal(sign[seen], np.array([float(mp.sign(t)) for t in true])[seen])
