"""Lengths against their own map and wide networks."""

import jax
import numpy as np
import pytest

import jaxsat
from jaxsat import activations, addresses, theory


def test_fixed_points_all_with_stability():
    found = theory.fixed_points("tanh", 1.5)
    assert int(found.count) == 2
    assert found.stable[:2].tolist() == [False, True]
    assert np.isnan(found.q[2:]).all()
    for q in np.asarray(found.q[:2]):
        assert float(theory.length_map("tanh", q, 1.5)) == pytest.approx(q, rel=1e-12)


@pytest.mark.slow
def test_a_length_that_repels():
    # gelu: 0 attracts, a length further up repels (Roberts, Yaida & Hanin 2022, section 5.3.4)
    gelu = theory.fixed_points("gelu", 1.6)
    assert int(gelu.count) == 2
    assert gelu.stable[:2].tolist() == [True, False]
    low, high = (theory.mean_field("gelu", 1.6, mean_square=float(gelu.q[1]) * f / 1.6**2) for f in (0.9, 1.1))
    assert (float(low.q), low.phase, high.phase) == (0.0, "ordered", "diverges")


@pytest.mark.slow
def test_length_trajectory_of_wide_networks():
    """Measured q_l of width 200 within 4 standard errors of 150 seeds, and 1.07 times it outside."""
    net = jaxsat.MLP(depth=6, width=200, activation="tanh", weight_scale=1.8, bias_scale=0.3)
    measure = jaxsat.measures.get("mean_squared_pre_activation")
    keys = jax.random.split(addresses.root(1), 150)
    lengths = np.asarray(jax.lax.map(lambda key: measure(net, key, None)["mean_squared_pre_activation"], keys))
    error = lengths.std(0, ddof=1) / np.sqrt(len(keys))
    theory_q = np.asarray(theory.length_trajectory("tanh", 6, 1.8, 0.3))
    bias = 3 * theory_q / 200  # of order 1 / width
    assert (np.abs(lengths.mean(0) - theory_q) < 4 * error + bias).all()
    assert (np.abs(lengths.mean(0) - 1.07 * theory_q) > 4 * error + bias).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in activations.names() if name != "sin"])  # whose maps are slow to make
def test_fixed_points_of_every_activation_are_fixed(name):
    q = np.asarray(theory.fixed_points(name, 1.3, 0.4).q)
    q = q[~np.isnan(q)]
    after = [float(theory.length_map(name, one, 1.3, 0.4)) for one in q]
    np.testing.assert_allclose(after, q, rtol=1e-10)
