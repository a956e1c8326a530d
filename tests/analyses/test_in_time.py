"""Analyses of recurrent networks, where the answer is known."""

import jax
import numpy as np
import pytest
import xarray

import jaxsat
from analyses import memory_of_cells
from analyses.gradients_vanish_in_time import captions, figure, measuring
from jaxsat import addresses
from jaxsat.training import datasets


def test_gradients_of_an_orthogonal_linear_network_go_back_as_powers():
    key = addresses.root(1)
    net = jaxsat.Recurrent(steps=12, width=5, activation="identity", ensemble="orthogonal", weight_scale=0.7)

    @jax.jit
    def norms(net):
        return jaxsat.log_gradient_norms_of_scan(*measuring.settled(net, key, 4), measuring.cotangent_of(net, key))

    # 8 steps are left; a cotangent of unit norm loses a factor of 0.7 in each. Rounding: some eps a step.
    np.testing.assert_allclose(norms(net)[::-1], np.arange(9) * np.log(0.7), atol=1e-13)


def test_growth_is_that_of_the_second_half_of_the_lags():
    lags = np.arange(11.0)
    norms = np.where(lags < 5, -3 * lags, -15 - 0.5 * (lags - 5))  # settles, then loses half a nat a step
    dims = ("cell", "weight_scale", "gate_bias", "steps_back", "seed")
    dataset = xarray.Dataset(
        {"log_gradient_norms": (dims, np.tile(norms[None, None, None, :, None], (1, 1, 1, 1, 3)))},
        {"cell": ["gru"], "weight_scale": [1.0], "gate_bias": [2.0], "steps_back": lags},
    )
    assert figure.growth_of(dataset, "gru", 1.0, 2.0).tolist() == [-0.5] * 3
    assert [captions._steps(growth) for growth in (-0.5, -0.025, 0.1)] == ["2.0", "40", "no limit"]


def test_the_largest_lag_is_the_end_of_an_unbroken_row():
    # lags x seeds: the second is learned by two of three, the third by one
    accuracy = np.array([[1.0, 1.0, 1.0], [0.95, 0.92, 0.2], [0.95, 0.6, 0.2], [1.0, 1.0, 1.0]])
    dataset = xarray.Dataset(
        {
            "accuracy": (("lag", "cell", "seed"), accuracy[:, None]),
            "chi": ("cell", [np.exp(-0.1)]),
            "growth": ("cell", [0.02]),
        },
        {"lag": [2, 4, 8, 16], "cell": ["tanh"]},
    )
    assert memory_of_cells.largest_lag(dataset, 0.9).values.tolist() == [4]
    assert memory_of_cells.largest_lag(dataset, 1.01).values.tolist() == [0]
    by_theory, measured = memory_of_cells.time_scales(dataset).values()
    assert by_theory.item() == pytest.approx(10)
    assert measured.item() == np.inf, "gradients that grow are not lost"


def test_blanks_in_front_move_the_symbol_back_to_its_lag():
    (x, y), _ = datasets.copying(3, 1, 4, count=6, test=1)
    longer = memory_of_cells._in_front(x, 9)
    said = longer.argmax(2)
    assert longer.shape == (6, 9, 6)
    assert (said[:, -5] == y[:, 0]).all()
    assert (said[:, -2] == 5).all(), "the sign comes 3 steps after the symbol"
    assert (said[:, :4] == 4).all()
