"""Shares that a cast would lose, beside really casting each site with ml_dtypes."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jaxsat
from jaxsat.probing.narrow_formats import FORMATS

DRAWS = np.random.default_rng(3)
ELEMENTS = {name: one.element for name, one in FORMATS.items()}


def units(x, name):
    """What each entry is divided by before its cast. In blocks of 32, the largest entry gets the largest exponent."""
    out = np.ones(x.shape)
    if name.startswith("mx"):
        most = np.floor(np.log2(float(ml_dtypes.finfo(ELEMENTS[name]).max)))
        for row in range(x.shape[0]):
            for start in range(0, x.shape[1], 32):
                block = np.abs(x[row, start : start + 32].astype(np.float64))
                if block.any():
                    out[row, start : start + 32] = 2.0 ** (np.floor(np.log2(block.max())) - most)
    return out


def cast(x, name):
    with np.errstate(over="ignore", invalid="ignore"):
        return (x / units(x, name)).astype(np.float32).astype(ELEMENTS[name]).astype(np.float64)


def shares(x, name):
    """Underflow and overflow of a cast. In blocks, what overflows is cut to the largest number."""
    q = cast(x, name)
    return np.mean((x != 0) & (q == 0)), np.mean(np.isfinite(x) & ~np.isfinite(q))


def at_limits(y, limits, name):
    found = 0.0
    with np.errstate(over="ignore"):
        for limit in limits:
            end = (limit / units(y, name)).astype(ELEMENTS[name]).astype(float)
            found += np.mean((cast(y, name) == end) & np.isfinite(end) & (y != limit))
    return found


def layers(ws, x):
    """Two layers and the numbers of both: for the truth."""
    h = x @ ws[0]
    g = jnp.tanh(h) @ ws[1]
    return h, g


@pytest.fixture(scope="module")
def run():
    # Wide spread on purpose: pre-activations beyond 448 and 65504, activations near 1, gradients down to 1e-38.
    spread = (10.0 ** DRAWS.uniform(-7, 6, size=(40, 1))).astype(np.float32)
    ws = [DRAWS.normal(size=(8, 40)).astype(np.float32), DRAWS.normal(size=(40, 40)).astype(np.float32)]
    ws[0] *= (10.0 ** DRAWS.uniform(-7, 1, size=40)).astype(np.float32)[None]  # within a block too
    x = spread * DRAWS.normal(size=(40, 8)).astype(np.float32)
    weigh = (10.0 ** DRAWS.uniform(-30, 6, size=(40, 1))).astype(np.float32)

    def loss(ws, x):
        g = layers(ws, x)[1]
        return jnp.sum(weigh * jax.nn.sigmoid(g))

    report = jaxsat.precision_report(loss, ws, x, dtypes=list(FORMATS))

    def shifted(shifts):
        h = x @ ws[0] + shifts[0]
        return jnp.sum(weigh * jax.nn.sigmoid(jnp.tanh(h) @ ws[1] + shifts[1]))

    gradients = jax.grad(shifted)([np.zeros((40, 40), np.float32)] * 2)
    return report, [np.asarray(h) for h in layers(ws, x)], [np.asarray(g) for g in gradients]


@pytest.mark.parametrize("name", list(FORMATS))
def test_shares_are_those_of_really_casting_each_site(run, name):
    report, inputs, gradients = run
    rows = [row for row in report.sites if row.dtype == name]
    assert [row.kind for row in rows] == ["tanh", "sigmoid"]
    for row, h, g, phi in zip(rows, inputs, gradients, (jnp.tanh, jax.nn.sigmoid), strict=True):
        y = np.asarray(phi(h))
        limits = (-1.0, 1.0) if row.kind == "tanh" else (0.0, 1.0)
        # Half a point: an entry at the border of two numbers may round otherwise in a fused program.
        near = {"abs": 0.005}
        for of, x in (("pre_activation", h), ("activation", y), ("gradient", g)):
            there = getattr(row, f"{of}_underflow"), getattr(row, f"{of}_overflow")
            assert there == pytest.approx(shares(x, name), **near)
        assert row.activation_at_limit == pytest.approx(at_limits(y, limits, name), **near)


def test_the_example_spreads_over_all_that_can_be_lost(run):
    """The comparison above would pass where nothing is lost: here much is."""
    by = {(row.dtype, row.kind): row for row in run[0].sites}
    assert by["float16", "tanh"].pre_activation_overflow > 0.01
    assert by["float8_e4m3fn", "tanh"].pre_activation_underflow > 0.2
    assert by["float16", "sigmoid"].gradient_underflow > 0.4
    assert by["bfloat16", "tanh"].activation_at_limit > 0.005
    assert (
        0.01 < by["mxfp8_e4m3", "tanh"].pre_activation_underflow < by["float8_e4m3fn", "tanh"].pre_activation_underflow
    )
    text = str(run[0])
    assert "float16: pre activation underflow" in text
    assert len(text.splitlines()) == len(FORMATS)
    assert len(run[0].table("dataframe")) == 2 * len(FORMATS)


def test_in_a_scan_each_iteration_has_its_shares_and_the_loss_scale_is_the_largest_that_fits():
    w = 3000 * np.eye(4, dtype=np.float32)

    def loss(x):
        return jnp.sum(jax.lax.scan(lambda h, _: (jax.nn.relu(h @ w), None), x, None, length=3)[0])

    x = np.array([[1.0, 2.0, 3.0, -1.0]], np.float32)
    report = jaxsat.precision_report(loss, x, dtypes=["float16", jnp.bfloat16])
    half = [row for row in report.sites if row.dtype == "float16"]
    # 3000 x, 9e6 x and 2.7e10 x against 65504; the last unit is cut by the first relu
    assert [row.pre_activation_overflow for row in half] == [0.0, 0.75, 0.75]
    assert [row.iteration for row in half] == [(0,), (1,), (2,)]
    assert report.loss_scales["float16"] == 2.0 ** np.floor(np.log2(65504 / 2 / 9e6))
    assert report.dtypes == ("float16", "bfloat16")


def test_wrong_arguments_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"precision_report: `dtypes` .*; got 'float17'. Did you mean 'float16'"):
        jaxsat.precision_report(jnp.sum, np.ones(3), dtypes=["float17"])
    with pytest.raises(ValueError, match="must name at least one number format"):
        jaxsat.precision_report(jnp.sum, np.ones(3), dtypes=[])
    with pytest.raises(ValueError, match="table: `format` must be 'text' or 'dataframe'"):
        jaxsat.precision_report(jnp.sum, np.ones(3)).table("html")
    with pytest.raises(TypeError, match="precision_report: `loss` must take fn's output to one floating scalar"):
        jaxsat.precision_report(jnp.tanh, np.ones(3), loss=lambda y: y)
