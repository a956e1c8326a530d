"""Sweeps over networks that are no MLP: recurrent ones, and a user's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import jaxsat
from jaxsat import __main__, addresses, measures
from jaxsat.networks import as_network, gaussian_input

NET = jaxsat.Recurrent(steps=5, width=3, cell="gru", inputs=2)
OVER = {"gate_bias": [-1.0, 2.0], "weight_scale": [0.5, 1.5]}
MEASURES = ["log_gradient_norms", "log_input_gradient_norms", "gate_saturated_fraction", "activation_std"]


@as_network(swept=["scale", "gate"])
class Gated:
    """Blocks x + sigmoid(gate) tanh(W x)."""

    depth: int
    width: int
    activation: str = "tanh"
    scale: float = 1.0
    gate: float = 0.0

    def init(self, key):
        return self.scale * jax.random.normal(key, (self.depth, self.width, self.width)) / self.width**0.5

    def scan(self, params, x):
        phi = jaxsat.activations.get(self.activation)
        return lambda x, w: x + jax.nn.sigmoid(self.gate) * phi(w @ x), x, params


class Pre:
    def __init__(self, pre_activations):
        self.pre_activations = pre_activations


jax.tree_util.register_pytree_node(Pre, lambda t: ((t.pre_activations,), None), lambda _, c: Pre(*c))


@as_network(swept=["scale", "gate"])
class Traced(Gated):
    activation: str = "tanh"

    @property
    def input_shape(self):
        return (self.width,)

    def trace(self, params, x):
        step, x, xs = self.scan(params, x)
        return Pre(jax.lax.scan(lambda x, w: (step(x, w), w @ x), x, xs)[1])


def test_numbers_of_a_recurrent_network_are_those_of_the_functions(compilations):
    ds = jaxsat.sweep(NET, MEASURES, OVER, seeds=2, root_seed=4, progress=False)
    assert ds.log_gradient_norms.dims == ("gate_bias", "weight_scale", "seed", "time")
    assert ds.gate_saturated_fraction.dims[-2:] == ("time", "gate")
    assert ds.gate.values.tolist() == ["keep", "reset"]
    assert ds.time.values.tolist() == [1, 2, 3, 4, 5]
    net = jaxsat.Recurrent(steps=5, width=3, cell="gru", inputs=2, gate_bias=2.0, weight_scale=0.5)
    key = addresses.network(addresses.root(4), 1)
    params, x = net.init(key), gaussian_input(net, key)

    @jax.jit
    def alone(params, x):
        norms = jaxsat.log_gradient_norms(net, params, x, key=key)
        u = jax.random.normal(jax.random.fold_in(key, addresses.COTANGENT), (3,))
        of_x = jax.grad(lambda x: jnp.dot(net.apply(params, x), u / jnp.linalg.norm(u)))(x)
        return norms, net.trace(params, x), jnp.linalg.norm(of_x, axis=1)

    norms, trace, of_x = alone(params, x)
    found = ds.sel(gate_bias=2.0, weight_scale=0.5, seed=1)
    np.testing.assert_allclose(found.log_gradient_norms, norms[1:], atol=1e-12)
    np.testing.assert_allclose(found.log_input_gradient_norms, np.log(of_x), atol=1e-12)
    np.testing.assert_allclose(found.activation_std, np.std(trace.activations, axis=1), rtol=1e-12)
    u = 1 / (1 + np.exp(-np.asarray(trace.gates)))
    np.testing.assert_allclose(found.gate_saturated_fraction, (u * (1 - u) <= 0.05 / 4).mean(2), atol=1e-15)
    del compilations[:]
    other = {"gate_bias": [0.0, 1.0], "weight_scale": [1.0, 3.0]}
    jaxsat.sweep(NET, MEASURES, other, seeds=3, root_seed=5, progress=False)
    assert compilations == []


@pytest.mark.slow
def test_a_job_file_runs_a_recurrent_network_into_a_store(tmp_path, capsys):
    file, store = tmp_path / "job.toml", tmp_path / "s.zarr"
    text = 'measure = "singular_values"\nseeds = 2\n[network]\nkind = "Recurrent"\nsteps = 4\nwidth = 3\n'
    file.write_text(f'{text}cell = "minimal"\n[over]\ngate_bias = [0.0, 2.0]\n')
    __main__.main(["run", str(file), "--dry-run"])
    assert "networks  4" in capsys.readouterr().out
    __main__.main(["run", str(file), "--store", str(store), "--quiet"])
    found = xarray.open_zarr(store, chunks=None).singular_values
    assert found.dims == ("gate_bias", "seed", "index")
    assert found.shape == (2, 2, 3)
    net, over = jaxsat.Recurrent(steps=4, width=3, cell="minimal"), {"gate_bias": [0.0, 2.0]}
    key = addresses.network(addresses.root(0), 1)
    values = jaxsat.singular_values(net, net.init(key), gaussian_input(net, key))
    np.testing.assert_allclose(found.sel(gate_bias=0.0, seed=1), values, rtol=1e-11)
    again = jaxsat.sweep(net, "singular_values", over, seeds=2, store=store, progress=False)
    xarray.testing.assert_equal(again.singular_values, found.load())
    with pytest.raises(ValueError, match=r"holds another sweep \(network.*"):
        jaxsat.sweep(jaxsat.Recurrent(4, 3, cell="gru"), "singular_values", over, store=store)
    file.write_text(text.replace("Recurrent", "Recurent"))
    with pytest.raises(SystemExit):
        __main__.main(["run", str(file), "--dry-run"])
    assert (
        "config: `kind` must be a kind of network; got 'Recurent'. Did you mean 'Recurrent'?" in capsys.readouterr().err
    )
    file.write_text(text.replace("steps = 4\n", ""))
    with pytest.raises(SystemExit):
        __main__.main(["run", str(file), "--dry-run"])
    assert "`network` must have `steps`" in capsys.readouterr().err


def test_axes_have_the_names_of_the_network():
    spectra = measures.get("log_singular_values", every_depth=True, net=NET).variables["log_singular_values"]
    assert spectra.dims == ("lag", "index")
    assert measures.get("log_singular_values", True, Gated(2, 3)).variables["log_singular_values"].dims[0] == "depth"
    assert measures.get("gate_saturated_fraction", net=NET).variables["gate_saturated_fraction"].coordinates == {
        "gate": ["keep", "reset"]
    }


@pytest.mark.slow
def test_a_network_of_ones_own_is_swept_over_any_field():
    over = {"activation": ["tanh", "relu"], "gate": [-20.0, 0.0]}
    ds = jaxsat.sweep(Traced(depth=4, width=3), ["log_gradient_norms", "dead_fraction"], over, seeds=2, progress=False)
    assert ds.log_gradient_norms.dims == ("activation", "gate", "seed", "layer")
    closed = ds.log_gradient_norms.sel(gate=-20.0)  # sigmoid(-20) = 2e-9: the blocks do nothing, the norm stays 1
    np.testing.assert_allclose(closed, 0, atol=4 * 3 * 2.1e-9)
    assert (ds.dead_fraction.sel(activation="tanh") == 0).all()
    key = addresses.network(addresses.root(0), 1)
    net = Traced(depth=4, width=3, activation="relu")
    expected = np.asarray(net.trace(net.init(key), gaussian_input(net, key)).pre_activations) <= 0
    found = ds.dead_fraction.sel(activation="relu", gate=0.0, seed=1)
    np.testing.assert_allclose(found, expected.mean(1), atol=1e-15)
    given = jaxsat.sweep(
        Gated(depth=4, width=3), "log_gradient_norms", {"scale": [1.0]}, x=np.ones(3), seeds=1, progress=False
    )
    assert given.log_gradient_norms.shape == (1, 1, 4)


@pytest.mark.parametrize(
    ("net", "measure", "over", "said"),
    [
        (Gated(2, 3), "log_gradient_norms", {}, "sweep: `x` must be given.*Gated, which has no `input_shape`"),
        (Gated(2, 3), "dead_fraction", {}, r"`measure` must be of a network with trace\(params, x\).*'dead_fraction' for Gated"),
        (NET, "log_weight_gradient_norms", {}, "`measure` must be of an MLP; got 'log_weight_gradient_norms' for Recurrent"),
        (jaxsat.MLP(2, 3), "log_input_gradient_norms", {}, "`measure` must be of a network that is no MLP"),
        (jaxsat.Recurrent(2, 3), "gate_saturated_fraction", {}, "`measure` must be of a network with gates"),
        (jaxsat.MLP(2, 3), "gate_saturated_fraction", {}, "`measure` must be of a network with gates"),
        (NET, "log_gradient_norms", {"depth": [1]}, "`over` must name fields of Recurrent; got 'depth'"),
        (NET, "log_gradient_norms", {"weight_scale": [-1.0]}, "Recurrent: `weight_scale` must be at least 0; got -1.0"),
        (NET, "log_gradient_norms", {"gate_bias": [np.inf]}, "must be a finite number; got inf"),
        (NET, "log_gradient_norms", {"steps": [4, 5]}, r"and .* for steps=5. Sweep them apart\.$"),
        (NET, "log_gradient_norms", {"steps": [0]}, "Recurrent: `steps` must be an integer of at least 1; got 0"),
    ],
)  # fmt: skip
def test_bad_requests(net, measure, over, said):
    with pytest.raises(ValueError, match=said):
        jaxsat.sweep(net, measure, over, seeds=1, progress=False)


def test_a_wrong_shape_of_input_is_named():
    with pytest.raises(ValueError, match=r"`x` must have shape \(5, 2\), or a batch axis before it; got \(5, 3\)"):
        jaxsat.sweep(NET, "log_gradient_norms", {}, x=np.ones((5, 3)), seeds=1)
