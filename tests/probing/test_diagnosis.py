"""The rules, on records of sites made by hand: each fires at its threshold, and advises only what helps."""

import math

import numpy as np
import pytest

import jaxsat
from jaxsat.probing import advice, gradient_rules, precision_rules, sites, unit_rules
from jaxsat.probing.diagnosis import diagnose
from tests.quick_cases import slow_except


def healthy_site(**numbers):
    phi = jaxsat.activations.get("tanh")
    fields = {
        "path": "net/tanh", "kind": "tanh", "role": "activation", "part": "network", "iteration": (), "shape": (32, 64), "dtype": "float32",
        "where": "", "weight": "", "activation": phi, "unit_axes": (-1,), "pre_activation_rms": 1.0, "saturated_fraction": 0.1,
        "mostly_saturated_fraction": 0.0, "dead_fraction": 0.0, "zero_slope_fraction": 0.0, "log_gradient_norm": -1.0,
        "zero_gradient_fraction": 0.0, "subnormal_gradient_fraction": 0.0, "underflow_fraction": 0.0, "nonfinite_fraction": 0.0, "attention": False, "in_while": False,
    }  # fmt: skip
    return sites.Site(**fields | numbers)


def codes(*rows):
    return [finding.code for finding in diagnose(rows)]


def test_rules_fire_at_their_thresholds_and_not_below():
    ok = healthy_site()
    assert codes(ok, ok) == []
    by_chance = 2.0**-32 + 3 * math.sqrt(2.0**-32 / 64)  # 32 inputs, 64 units
    for number, code, threshold in (
        ("saturated_fraction", "saturated", unit_rules.SATURATED),
        ("dead_fraction", "dead", unit_rules.DEAD + 1.001 * by_chance),
        ("underflow_fraction", "underflow", precision_rules.LOST_SHARE),
        ("subnormal_gradient_fraction", "underflow", precision_rules.LOST_SHARE),
        ("zero_slope_fraction", "underflow", precision_rules.LOST_SLOPES),
    ):
        assert codes(ok, healthy_site(**{number: threshold})) == [code]
        assert codes(ok, healthy_site(**{number: 0.99 * threshold})) == []
    for step, code in ((-gradient_rules.GROWTH, "vanishing"), (gradient_rules.GROWTH, "exploding")):
        assert codes(healthy_site(log_gradient_norm=-1 + 1.01 * step), ok) == [code]
        assert codes(healthy_site(log_gradient_norm=-1 + 0.99 * step), ok) == []
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
    # A trained tanh (critical scale 1) may be used at both ends, by weights that are not too large and each unit now and then.
    used = {"saturated_fraction": 0.5, "bias_scale": 0.0, "bias_mean": 0.0}
    assert codes(healthy_site(weight_scale=0.99 * unit_rules.LARGE_WEIGHTS, **used)) == []
    assert codes(healthy_site(weight_scale=1.01 * unit_rules.LARGE_WEIGHTS, **used)) == ["saturated"]
    assert codes(healthy_site(weight_scale=1.0, mostly_saturated_fraction=unit_rules.DEAD, **used)) == ["saturated"]
    # what a finding explains is not found twice
    assert codes(healthy_site(saturated_fraction=0.9, zero_slope_fraction=0.5), ok) == ["saturated"]
    gone = healthy_site(log_gradient_norm=-math.inf, zero_gradient_fraction=1.0)
    assert codes(gone, ok, healthy_site(dead_fraction=1.0, **relu), ok) == ["dead"]
    nothing = {"log_gradient_norm": math.nan, "zero_gradient_fraction": math.nan}
    assert codes(healthy_site(**nothing), healthy_site(**nothing)) == []


def test_the_critical_scale_is_that_of_the_measured_biases():
    rows = [healthy_site(saturated_fraction=0.6, weight_scale=2.6, bias_scale=0.5, bias_mean=0.0)] * 2
    (finding,) = diagnose(rows)
    critical = float(jaxsat.theory.critical_weight_scale("tanh", 0.5))
    assert f"{2.6 / critical:.2g}x the critical scale {critical:.3g}" in finding.message
    assert "jaxsat.critical_initializer('tanh', bias_scale=0.5)" in finding.advice
    rows = [healthy_site(saturated_fraction=0.6, weight_scale=critical, bias_scale=0.5, bias_mean=0.0)]
    assert "critical_initializer" not in diagnose(rows)[0].advice  # weights are not the cause
    silu = jaxsat.activations.get("silu")
    rows = [healthy_site(kind="silu", activation=silu, mostly_saturated_fraction=0.6, weight_scale=2.0, bias_scale=0.0)]
    assert "critical" not in diagnose(rows)[0].message  # silu has no critical scale without biases


@pytest.mark.parametrize("name", slow_except(["tanh"], advice.WITHOUT_BIASES))
def test_critical_scales_without_biases_are_those_of_theory(name):
    known = advice.WITHOUT_BIASES[name]
    if known is None:
        with pytest.raises(ValueError, match="critical_weight_scale"):
            jaxsat.theory.critical_weight_scale(name)
    else:
        assert known == pytest.approx(float(jaxsat.theory.critical_weight_scale(name)), rel=2e-6)  # its float32


@pytest.mark.parametrize(("inputs", "correlation"), [(1, 0.0), (9, 0.0), (9, 0.5), (9, 1.0), (40, 0.9)])
def test_units_dead_by_chance_are_as_many_as_in_drawn_layers(inputs, correlation):
    """4e5 units drawn: the standard error is at most 8e-4, and 5 of them are allowed."""
    draws, units = np.random.default_rng(0), 400_000 if inputs < 10 else 100_000
    h = np.sqrt(correlation) * draws.normal(size=units)[:, None]
    h = h + np.sqrt(1 - correlation) * draws.normal(size=(units, inputs))
    share = (h < 0).all(axis=1).mean()
    expected = unit_rules.dead_by_chance(inputs, correlation)
    assert expected == pytest.approx(share, abs=5 * math.sqrt(0.25 / units))


def test_units_that_similar_inputs_explain_are_not_dead():
    relu = {"kind": "relu", "activation": jaxsat.activations.get("relu"), "shape": (9, 64)}
    assert codes(healthy_site(dead_fraction=0.5, input_correlation=1.0, **relu)) == []  # nine times the same input
    assert codes(healthy_site(dead_fraction=0.5, input_correlation=0.2, **relu)) == ["dead"]
    assert codes(healthy_site(dead_fraction=1.0, input_correlation=1.0, **relu)) == ["dead"]
    assert codes(healthy_site(dead_fraction=0.15, input_correlation=0.0, **relu)) == ["dead"]  # a part of a layer
    assert codes(healthy_site(dead_fraction=1.0, shape=(9,), unit_axes=(), input_correlation=0.0)) == ["dead"]
    assert healthy_site(shape=(9,), unit_axes=()).inputs == 9


def advised(*rows):
    (finding,) = diagnose(rows)
    return finding.advice


def test_advice_does_no_harm():
    sigmoid = {"kind": "sigmoid", "activation": jaxsat.activations.get("sigmoid")}
    softplus = {"kind": "softplus", "activation": jaxsat.activations.get("softplus")}
    plain = {"weight_scale": 0.5, "bias_scale": 0.0, "bias_mean": 0.0}
    # Saturated although the weights are below the critical scale: they are not to be raised.
    assert "Initialise" not in advised(healthy_site(saturated_fraction=0.6, **plain))
    assert "Initialise" in advised(healthy_site(saturated_fraction=0.6, **plain | {"weight_scale": 3.0}))
    # Gates have no critical scale, and may be shut on purpose.
    gate = healthy_site(saturated_fraction=0.9, role="gate", **sigmoid, **plain | {"weight_scale": 30.0})
    assert "Initialise" not in advised(gate)
    assert "critical" not in diagnose([gate])[0].message
    # A step size made by softplus has small values on purpose.
    low = healthy_site(mostly_saturated_fraction=0.9, **softplus, **plain | {"bias_mean": -5.0, "bias_scale": 5.0})
    assert "Start the biases" not in advised(low)
    assert "may be meant" in advised(low)
    # A gradient that vanishes through weights above the critical scale is not helped by smaller ones.
    far = healthy_site(log_gradient_norm=-20.0, **plain | {"weight_scale": 3.0})
    assert "Initialise" not in advised(far, healthy_site(**plain | {"weight_scale": 3.0}))
    # Weights ten times as large would saturate a sigmoid: another activation does.
    small = healthy_site(**sigmoid, log_gradient_norm=-20.0, **plain)
    assert "Take tanh or relu instead of sigmoid" in advised(small, healthy_site(**sigmoid, **plain))
    # At initialisation no learning rate is the cause.
    relu = {"kind": "relu", "activation": jaxsat.activations.get("relu")}
    assert "If they died during training" in advised(healthy_site(dead_fraction=0.5, **relu, **plain))
    # Pre-activations that are far too large are the cause, not the dtype.
    lost = {"zero_slope_fraction": 0.2, "dtype": "bfloat16"}
    assert "wider dtype (cast" in advised(healthy_site(**lost))
    assert "wider dtype (cast" not in advised(healthy_site(pre_activation_rms=8.0, **lost))
    # float16 underflows by its range, float32 and bfloat16 have the same.
    assert "wider range" in advised(healthy_site(underflow_fraction=0.2, dtype="float16"))
    assert "wider range" not in advised(healthy_site(underflow_fraction=0.2, dtype="float32"))


def test_gradients_that_are_exactly_0_are_not_said_to_shrink_by_a_little():
    gone = healthy_site(log_gradient_norm=-math.inf, zero_gradient_fraction=1.0)
    rows = [gone, healthy_site(log_gradient_norm=-1.5), healthy_site(log_gradient_norm=-1.0)]
    (finding,) = diagnose(rows)
    assert finding.code == "vanishing"
    assert finding.sites == (gone,)
    assert "exactly 0" in finding.message
    assert "shrinks" not in finding.message
    (everywhere,) = diagnose([gone, gone])
    assert everywhere.message.startswith("Every gradient is exactly 0")
    assert diagnose([gone, gone], has_zero_weights=True) == ()
    (both,) = diagnose([gone, healthy_site(log_gradient_norm=-12.0), healthy_site(log_gradient_norm=-1.0)])
    assert "shrinks" in both.message
    assert "exactly 0" in both.message


def test_attention_collapses_at_its_threshold_and_other_softmaxes_at_theirs():
    softmax = {"role": "softmax", "kind": "softmax", "activation": None, "pre_activation_max": 70.0}
    row = healthy_site(**softmax, attention=True, entropy=unit_rules.COLLAPSED)
    (finding,) = diagnose([row])
    assert finding.code == "collapsed"
    assert "mean entropy 0.1" in finding.message
    assert "largest score that is not masked 70" in finding.message
    assert codes(healthy_site(**softmax, attention=True, entropy=1.01 * unit_rules.COLLAPSED)) == []
    assert codes(healthy_site(**softmax, attention=False, entropy=unit_rules.ROUTED)) == ["collapsed"]
    assert codes(healthy_site(**softmax, attention=False, entropy=1.01 * unit_rules.ROUTED)) == []
    assert codes(healthy_site(**softmax, attention=False, entropy=0.0, part="loss")) == []
