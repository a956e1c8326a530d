"""The example models: the report names the planted fault and nothing else, and misses no site."""

import math

import jax
import jax.numpy as jnp
import pytest

import jaxsat
from examples import equinox_transformer, linen_cnn, nnx_mlp, plain_rnn
from jaxsat.probing import findings, sites

EXAMPLES = {one.__name__.removeprefix("examples."): one for one in (nnx_mlp, linen_cnn, equinox_transformer, plain_rnn)}
CASES = [
    pytest.param(
        name, fault, marks=pytest.mark.slow if name in ("linen_cnn", "equinox_transformer") else ()
    )  # compile for long
    for name, one in EXAMPLES.items()
    for fault in (None, *one.FAULTS)
]


@pytest.fixture(autouse=True)
def _as_frameworks_expect():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.enable_x64(False):
        yield


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_the_findings_name_the_planted_fault_and_nothing_else(name, fault):
    example = EXAMPLES[name]
    fn, args = example.build(fault)
    report = jaxsat.probe(fn, *args)
    assert [finding.code for finding in report.findings] == ([] if fault is None else [example.FAULTS[fault]])
    assert len(report.sites) == example.SITES
    assert report.notes == ()
    assert report.loss == pytest.approx(float(fn(*args)), rel=5e-3 if "float16" in (fault or "") else 1e-5)
    for finding in report.findings:
        assert finding.sites
        assert finding.advice
    if fault == "dead bias":
        (finding,) = report.findings
        (site,) = finding.sites  # the one layer whose biases were lowered
        assert site.bias_mean == -8
        assert "biases have mean -8" in finding.message
        assert "Start the biases at 0" in finding.advice
    if fault is not None and "initialiser" in fault and name != "plain_rnn":
        assert "x the critical scale" in report.findings[0].message
        assert "jaxsat.critical_initializer(" in report.findings[0].advice


def healthy_site(**numbers):
    phi = jaxsat.activations.get("tanh")
    fields = {
        "path": "net/tanh", "kind": "tanh", "role": "activation", "iteration": (), "shape": (32, 64), "dtype": "float32",
        "where": "", "weight": "", "activation": phi, "unit_axis": -1, "pre_activation_rms": 1.0, "saturated_fraction": 0.1,
        "mostly_saturated_fraction": 0.0, "dead_fraction": 0.0, "zero_slope_fraction": 0.0, "log_gradient_norm": -1.0,
        "zero_gradient_fraction": 0.0, "subnormal_gradient_fraction": 0.0, "underflow_fraction": 0.0,
    }  # fmt: skip
    return sites.Site(**fields | numbers)


def codes(*rows):
    return [finding.code for finding in findings.findings(rows)]


def test_rules_fire_at_their_thresholds_and_not_below():
    ok = healthy_site()
    assert codes(ok, ok) == []
    for number, code, threshold in (
        ("saturated_fraction", "saturated", findings.SATURATED),
        ("dead_fraction", "dead", findings.DEAD),
        ("underflow_fraction", "underflow", findings.LOST),
        ("subnormal_gradient_fraction", "underflow", findings.LOST),
        ("zero_slope_fraction", "underflow", findings.LOST_SLOPES),
    ):
        assert codes(ok, healthy_site(**{number: threshold})) == [code]
        assert codes(ok, healthy_site(**{number: 0.99 * threshold})) == []
    for step, code in ((-findings.GROWTH, "vanishing"), (findings.GROWTH, "exploding")):
        assert codes(healthy_site(log_gradient_norm=-1 + 1.01 * step), ok) == [code]
        assert codes(healthy_site(log_gradient_norm=-1 + 0.99 * step), ok) == []
    assert codes(healthy_site(log_gradient_norm=math.inf), ok) == ["exploding"]
    assert codes(healthy_site(log_gradient_norm=math.nan), ok) == ["exploding"]
    assert codes(healthy_site(log_gradient_norm=-math.inf, zero_gradient_fraction=1.0), ok, ok) == ["vanishing"]


def test_rules_make_allowances():
    ok = healthy_site()
    gate = {"role": "gate", "kind": "sigmoid", "activation": jaxsat.activations.get("sigmoid")}
    assert codes(healthy_site(saturated_fraction=0.5, **gate)) == []
    assert codes(healthy_site(saturated_fraction=0.7, **gate)) == ["saturated"]
    relu = {"kind": "relu", "activation": jaxsat.activations.get("relu")}
    assert codes(healthy_site(saturated_fraction=0.6, mostly_saturated_fraction=0.5, **relu)) == []
    assert codes(healthy_site(dead_fraction=0.5, shape=(4, 64), **relu)) == []  # a batch of four says little
    gelu = {"kind": "gelu", "activation": jaxsat.activations.get("gelu")}
    assert codes(healthy_site(saturated_fraction=0.4, **gelu)) == []
    assert codes(healthy_site(mostly_saturated_fraction=0.4, **gelu)) == ["saturated"]
    # what a finding explains is not found twice
    assert codes(healthy_site(saturated_fraction=0.9, zero_slope_fraction=0.5), ok) == ["saturated"]
    gone = healthy_site(log_gradient_norm=-math.inf, zero_gradient_fraction=1.0)
    assert codes(gone, ok, healthy_site(dead_fraction=1.0, **relu), ok) == ["dead"]
    nothing = {"log_gradient_norm": math.nan, "zero_gradient_fraction": math.nan}
    assert codes(healthy_site(**nothing), healthy_site(**nothing)) == []


def test_the_critical_scale_is_that_of_the_measured_biases():
    rows = [healthy_site(saturated_fraction=0.6, weight_scale=2.6, bias_scale=0.5, bias_mean=0.0)] * 2
    (finding,) = findings.findings(rows)
    critical = float(jaxsat.theory.critical_weight_scale("tanh", 0.5))
    assert f"{2.6 / critical:.2g}x the critical scale {critical:.3g}" in finding.message
    assert "jaxsat.critical_initializer('tanh', bias_scale=0.5)" in finding.advice
    rows = [healthy_site(saturated_fraction=0.6, weight_scale=critical, bias_scale=0.5, bias_mean=0.0)]
    assert "critical_initializer" not in findings.findings(rows)[0].advice  # weights are not the cause
    silu = jaxsat.activations.get("silu")
    rows = [healthy_site(kind="silu", activation=silu, mostly_saturated_fraction=0.6, weight_scale=2.0, bias_scale=0.0)]
    assert "critical" not in findings.findings(rows)[0].message  # silu has no critical scale without biases


@pytest.mark.slow
def test_jitted_losses_have_the_same_bits():
    for name in ("nnx_mlp", "linen_cnn", "plain_rnn"):
        fn, args = EXAMPLES[name].build()
        assert jnp.array_equal(jaxsat.probe(fn, *args).loss, jax.jit(fn)(*args)), name
