"""What captions say of datasets made by hand, whose answer is known."""

import types

import numpy as np
import pytest
import xarray

from analyses import trainability
from analyses.dying_relu import captions as dying_captions
from analyses.dying_relu import figure as dying_figure
from analyses.gradients_vanish_in_time import captions as time_captions
from analyses.saturation_during_training import fates
from analyses.shared import panels
from jaxsat.results.estimates import Interval
from jaxsat.results.student import NORMAL


def test_a_discrepancy_is_counted_to_the_end_of_the_interval_that_faces_theory():
    found = Interval(np.array([1.0, 1.0, 2.0, 2.0, 3.0]), *np.array([[0.5, 0.5, 2.0, 2.0, np.nan], [3.0, 3.0, 2.0, 2.0, np.nan]]), np.ones(5))  # fmt: skip
    z = panels.discrepancy(found, np.array([0.75, 2.0, 2.0, 2.5, 3.0]))
    np.testing.assert_allclose(z, [0.5 * NORMAL, -0.5 * NORMAL, 0.0, -np.inf, np.nan])


def relu_networks(off, diverged_at):
    """`off` (learning rate, seed, layer, unit)."""
    shares = off.mean(("layer", "unit")).where(diverged_at < 0)
    blocked = off.all("unit").any("layer") & (diverged_at < 0)
    return xarray.Dataset({"end": shares, "blocked": blocked, "diverged": diverged_at >= 0})


def test_networks_that_diverged_are_not_counted_among_those_without_a_dead_layer():
    off = np.zeros((3, 4, 2, 5), bool)
    off[1, :2, 0] = True  # a layer all dead in two networks at the second rate
    dims, rates = ("learning_rate", "seed", "layer", "unit"), {"learning_rate": [0.1, 0.2, 0.4]}
    diverged = xarray.DataArray([[-1] * 4, [-1, -1, -1, 7], [3] * 4], dims=dims[:2], coords=rates)
    of = relu_networks(xarray.DataArray(off, dims=dims, coords=rates), diverged)
    blocked, gone = (dying_figure.networks_lost(of, name) for name in ("blocked", "diverged"))
    np.testing.assert_allclose(blocked.estimate, [0, 2 / 3, np.nan])
    assert blocked.count.tolist() == [4, 3, 0]
    np.testing.assert_allclose(gone.estimate, [0, 0.25, 1])
    assert np.isnan([blocked.low[2], blocked.high[2]]).all()


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ([[0.1, 0.1, 0.1], [0.3, 0.31, 0.29]], "More relu units die at larger learning rates: +20.0 percentage"),
        ([[0.3, 0.31, 0.29], [0.1, 0.1, 0.1]], "Fewer relu units die at larger learning rates: -20.0 percentage"),
        ([[0.1, 0.2, 0.3], [0.3, 0.1, 0.2]], "It is not clear whether relu units die more often"),
        ([[0.1, 0.2, 0.3]], "Too few learning rates without divergence"),
    ],
)
def test_the_effect_of_the_learning_rate_is_said_where_its_interval_is_clear_of_0(ends, says):
    sound = xarray.Dataset({"end": (("learning_rate", "seed"), ends)}, {"learning_rate": [0.01, 1.0][: len(ends)]})
    assert dying_captions._effect(sound, "relu").startswith(says)


def separated(low, high):
    return trainability.Separation(*np.zeros((5, 3)), np.array([(low + high) / 2, low, high]))


def test_a_line_is_ahead_of_depth_alone_only_where_the_interval_says_so():
    verdict = trainability._verdict
    assert verdict({"gaussian": separated(0.01, 0.2)}) == "better than depth alone"
    assert verdict({"gaussian": separated(-0.01, 0.2)}) == "about as well as depth alone"
    assert verdict({"gaussian": separated(0.01, 0.2), "orthogonal": separated(-0.3, -0.1)}) == (
        "better than depth alone (gaussian weights) and worse than depth alone (orthogonal weights)"
    )


def test_top_layers_that_saturate_and_recover():
    """Spreads and means (depth, seed, step, layer) of four networks; the rule looks at the top layer alone."""
    std = np.array([[0.2, 0.05, 0.3, 0.3], [0.2, 0.05, 0.05, 0.1], [0.2, 0.15, 0.15, 0.3], [0.2, 0.05, 0.05, 0.3]])
    mean = np.array([[0.5, 0.02, 0.5, 0.5], [0.5, 0.99, 0.99, 0.9], [0.5, 0.02, 0.4, 0.5], [0.5, 0.3, 0.3, 0.4]])
    dims = ("depth", "seed", "sigmoid_step", "sigmoid_layer")
    of = xarray.Dataset(
        {"sigmoid_activation_std": (dims, std[None, ..., None]), "sigmoid_activation_mean": (dims, mean[None, ..., None])},
        {"depth": [1], "sigmoid_layer": [1], "sigmoid_epoch": ("sigmoid_step", [0.0, 1.0, 2.0, 3.0])},
    )  # fmt: skip
    ((sank, left),) = fates.epochs_of_recovery(of)
    np.testing.assert_array_equal(
        sank, [1, 1, np.nan, np.nan]
    )  # the third keeps its spread, the fourth is not saturated
    np.testing.assert_array_equal(left, [2, np.nan, np.nan, np.nan])


def test_layers_that_bend_over_at_the_same_epoch_share_a_place():
    share = np.array([[1.0, 0.2, 0.2], [1.0, 0.2, 0.2], [1.0, 0.9, 0.1], [1.0, 0.9, 0.8]])  # layer x step
    dims = ("activation", "initialisation", "layer", "seed", "step")
    of = xarray.Dataset(
        {"slope_share": (dims, np.repeat(share[None, None, :, None], 2, axis=3))},
        {"activation": ["tanh"], "initialisation": ["standard"], "epoch": ("step", [0.0, 1.0, 2.0])},
    )
    said = fates.order(of, "tanh", "standard")
    assert said == "1 with 2, 3 (not all networks: 4) (tanh; layer 1 is first in 0 of 2 networks)"


@pytest.mark.parametrize(
    ("tanh", "gates", "says"),
    [
        (-0.5, (-0.4, -0.02), "A gate alone does not let gradients last; a gate that is biased"),
        (-0.5, (-0.1, -0.02), "Gates let gradients last, and a bias to keep the state lets them last longer"),
        (-0.5, (-0.4, -0.39), "Neither gates nor their bias let gradients last"),
        (-0.5, (-0.1, -0.09), "Gates let gradients last, and their bias adds little"),
        (0.1, (-0.1, 0.0), "Gradients of the tanh cell do not vanish"),
    ],
)
def test_gates_are_said_to_help_where_they_halve_the_rate(tanh, gates, says):
    back = np.arange(9.0)
    rates = np.array([[tanh, tanh], gates])
    dims = ("cell", "weight_scale", "gate_bias", "steps_back", "seed")
    of = xarray.Dataset(
        {"log_gradient_norms": (dims, np.repeat((rates[:, None, :, None] * back)[..., None], 2, axis=-1))},
        {"cell": ["tanh", "gru"], "weight_scale": [1.0], "gate_bias": [0.0, 4.0], "steps_back": back},
    )
    options = types.SimpleNamespace(gate_biases=(0.0, 4.0), cells=("tanh", "gru"), shown_scale=1.0)
    assert time_captions.finding(options, of).startswith(says)
