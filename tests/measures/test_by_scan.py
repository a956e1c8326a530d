"""Any network through its scan: against the fast path of an MLP, and against plain autodiff where that is accurate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses, gradients
from jaxsat.measures import by_scan
from tests.draws import params_of, recurrent_params_of

KEY = addresses.root(11)


def mlp(**form):
    return jaxsat.MLP(depth=6, width=5, weight_scale=1.4, bias_scale=0.3, **form)


@pytest.mark.parametrize(
    "form",
    [
        {"outputs": None},
        pytest.param({"residual_scale": 0.7, "normalization": "layer"}, marks=pytest.mark.slow),
        pytest.param({"activation": "relu", "ensemble": "orthogonal"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_fast_path_of_an_mlp_agrees_with_its_scan(form):
    net = mlp(**form)
    params, x = params_of(net), np.linspace(-1, 1, 5)

    @jax.jit
    def both(params, x):
        fast = jaxsat.log_singular_values(net, params, x, every_depth=True)
        general = by_scan.state_log_singular_values(net, params, x, every_step=True)
        return fast, general, jaxsat.jacobian(net, params, x), by_scan.state_jacobian(net, params, x)

    fast, general, jacobian, through_scan = both(params, x)
    np.testing.assert_allclose(through_scan, jacobian, rtol=1e-12, atol=1e-13)
    lost = np.isneginf(fast) | (fast < fast.max(1, keepdims=True) - 30)  # normalisation and relu lose directions
    np.testing.assert_allclose(np.where(lost, 0, general), np.where(lost, 0, fast), atol=1e-11)


@pytest.mark.parametrize("sizes", [{"inputs": 3, "outputs": 2}, pytest.param({}, marks=pytest.mark.slow)], ids=str)
def test_gradients_of_an_mlp_agree_with_its_scan(sizes):
    """dE/dx_l = W_{l+1}^T dE/dh_{l+1}; the scan's carries are x_l, from x_1 on if the input has another width."""
    net = mlp(**sizes)
    params, x = params_of(net), np.linspace(-1, 1, net.input_width)
    u = np.linspace(1, 2, net.output_width)

    @jax.jit
    def both(params, x):
        return gradients.backpropagated_signal(net, params, x, u), by_scan.state_log_gradient_norms(net, params, x, u)

    signal, norms = both(params, x)
    params, signal = jax.tree.map(np.asarray, (params, signal))
    weights = [*params.hidden] if sizes else [params.first, *params.hidden]
    below = np.array([w.T @ d for w, d in zip(weights, signal.direction[-len(weights) :], strict=True)])
    expected = np.log(1.4 * np.linalg.norm(below, axis=1)) + signal.log_scale[-len(weights) :]
    top = np.linalg.norm(u if params.readout is None else 1.4 * params.readout.T @ u)
    np.testing.assert_allclose(norms, [*expected, np.log(top)], atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", pytest.param("gru", marks=pytest.mark.slow)])
def test_recurrent_networks_against_plain_autodiff(cell):
    net = jaxsat.Recurrent(steps=3, width=2, cell=cell, inputs=2, outputs=2, weight_scale=1.5, gate_bias=0.5)
    params, x = recurrent_params_of(net), np.random.default_rng(1).normal(size=(3, 2))
    u = np.array([1.0, -0.5])

    def parts(state):
        return tuple(jnp.split(state, 2)) if cell == "lstm" else state

    def flat(carry):
        return jnp.concatenate(jax.tree.leaves(carry))

    @jax.jit
    def both(params, x):
        step, first, xs = net.scan(params, x)

        def after(shifts):  # one step after the other, no scan; a shift is added to each state
            carry = jax.tree.map(jnp.add, first, parts(shifts[0]))
            for now, shift in zip(xs, shifts[1:], strict=True):
                carry = jax.tree.map(jnp.add, step(carry, now), parts(shift))
            return carry

        zeros = jnp.zeros((4, flat([first] if cell == "gru" else first).size))
        of_loss = jax.grad(lambda shifts: jnp.sum(u * net.read_out(params, after(shifts))))(zeros)
        slopes = jnp.linalg.norm(of_loss, axis=1)
        dense = jax.jacrev(lambda shifts: flat(after(shifts)))(zeros)[:, 0]
        found = {
            "jacobian": jaxsat.jacobian(net, params, x),
            "norms": jaxsat.log_gradient_norms(net, params, x, u),
            "values": jaxsat.singular_values(net, params, x),
            "logs": jaxsat.log_singular_values(net, params, x),
            "every": jaxsat.log_singular_values(net, params, x, every_depth=True),
        }
        return dense, slopes, found

    dense, slopes, found = both(params, x)
    s = np.linalg.svd(dense, compute_uv=False)
    np.testing.assert_allclose(found["jacobian"], dense, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found["norms"], np.log(slopes), atol=1e-12)
    np.testing.assert_allclose(found["values"], s, rtol=1e-10)  # s[0] / s[-1] is below 1e4
    np.testing.assert_allclose(found["logs"], np.log(s), atol=1e-10)
    np.testing.assert_allclose(found["every"][-1], np.log(s), atol=1e-10)


def test_a_drawn_cotangent_has_unit_norm_at_the_output():
    net = jaxsat.Recurrent(steps=3, width=4, activation="identity", input_scale=0.0)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    params = recurrent_params_of(net)._replace(recurrent=turn[None])
    norms = jax.jit(lambda params: jaxsat.log_gradient_norms(net, params, np.zeros((3, 4)), key=KEY))(params)
    np.testing.assert_allclose(norms, 0, atol=1e-14)  # an orthogonal linear network keeps every norm


def test_what_has_no_general_form_is_refused():
    net = jaxsat.Recurrent(steps=3, width=4, outputs=2)
    params, x = recurrent_params_of(net), np.zeros((3, 4))
    with pytest.raises(ValueError, match="`every_depth` must be False for Recurrent: only an MLP"):
        jaxsat.log_gradient_norms(net, params, x, every_depth=True)
    with pytest.raises(ValueError, match=r"`cotangent` must have the output's shape \(2,\); got \(4,\)"):
        jaxsat.log_gradient_norms(net, params, x, np.ones(4))


def test_a_network_whose_output_is_not_its_last_carry_needs_a_read_out():
    @jaxsat.networks.as_network()
    class Summed:
        width: int

        def init(self, key):
            return jnp.ones((2, self.width))

        def apply(self, params, x):
            return jnp.sum(params @ x)

        def scan(self, params, x):
            return lambda x, w: w * x, x, params

    net = Summed(3)
    with pytest.raises(
        ValueError, match=r"must have read_out\(params, carry\).*got \(\) from apply and \(3,\) of Summed"
    ):
        jaxsat.log_gradient_norms(net, net.init(KEY), jnp.ones(3))


def test_a_second_network_of_the_same_kind_compiles_nothing(compilations):
    def look(scale, seed):
        net = jaxsat.Recurrent(steps=3, width=2, weight_scale=scale)
        params, x = net.init(addresses.root(seed)), np.full((3, 2), scale)
        jaxsat.log_gradient_norms(net, params, x, np.ones(2))
        jaxsat.log_singular_values(net, params, x)
        jaxsat.jacobian(net, params, x)

    look(1.0, 0)
    del compilations[:]
    look(2.0, 1)
    assert compilations == []
