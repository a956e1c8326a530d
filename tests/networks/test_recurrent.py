"""Recurrent networks against their equations, written out in NumPy step by step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

import jaxsat
from jaxsat import addresses
from jaxsat.networks import gaussian_input
from tests.draws import recurrent_params_of
from tests.quick_cases import quick_first

KEY = addresses.root(5)
ROWS = {
    "tanh": ["candidate"],
    "minimal": ["keep"],
    "gru": ["candidate", "keep", "reset"],
    "lstm": ["candidate", "keep", "input", "output"],
}


def by_hand(net, params, x):
    """States h_t and the output, by the equations of the papers, with one matrix for each gate."""
    p = jax.tree.map(np.asarray, params)
    shift = net.gate_bias if p.keep_bias is None else p.keep_bias
    rows = ROWS[net.cell]
    u = {name: p.weight_scale * p.recurrent[i] for i, name in enumerate(rows)}
    v = {name: p.input_scale * matrix for name, matrix in zip(rows, p.inputs, strict=True)}
    b = {name: p.bias_scale * p.biases[i] for i, name in enumerate(rows)}
    h = c = np.zeros(net.width)
    states = []
    for now in np.asarray(x):
        if net.cell == "minimal":
            z = np.tanh(p.input_scale * p.inputs[0] @ now)
            keep = expit(u["keep"] @ h + p.input_scale * p.embedded @ z + b["keep"] + shift)
            h = keep * h + (1 - keep) * z
        else:
            a = {name: u[name] @ h + v[name] @ now + b[name] for name in rows}
            if net.cell == "tanh":
                h = np.tanh(a["candidate"])
            elif net.cell == "gru":
                reset, keep = expit(a["reset"]), expit(a["keep"] + shift)
                candidate = np.tanh(u["candidate"] @ (reset * h) + v["candidate"] @ now + b["candidate"])
                h = keep * h + (1 - keep) * candidate
            else:
                write = a["input"] - (0 if p.keep_bias is None else p.keep_bias)
                c = expit(a["keep"] + shift) * c + expit(write) * np.tanh(a["candidate"])
                h = expit(a["output"]) * np.tanh(c)
        states.append(h)
    return np.array(states), p.weight_scale * p.readout @ h + p.bias_scale * p.readout_bias


@pytest.mark.parametrize("gate_bias", quick_first([0.7, "chrono"]))
@pytest.mark.parametrize("cell", quick_first(["gru", "lstm", "tanh", "minimal"]))
def test_apply_scan_and_trace_are_the_equations(cell, gate_bias):
    net = jaxsat.Recurrent(
        steps=7, width=4, cell=cell, inputs=3, outputs=2, weight_scale=1.3, bias_scale=0.4, input_scale=0.8,
        gate_bias=gate_bias,
    )  # fmt: skip
    params, x = recurrent_params_of(net), np.random.default_rng(1).normal(size=(7, 3))
    states, out = by_hand(net, params, x)

    @jax.jit
    def all_of(net, params, x):
        step, carry, xs = net.scan(params, x)
        last, _ = jax.lax.scan(lambda carry, x: (step(carry, x), None), carry, xs)
        folded = net.folded(params)
        both = net.apply(folded, x), net.apply_at_last(params, x, 3)
        return net.apply(params, x), last, net.trace(params, x), both

    found, last, trace, (folded, three) = all_of(net, params, x)
    # Sums of at most ten terms of order 1, over 7 steps that contract.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    close(found, out)
    close(folded, out)
    close(three[2], out)
    assert three.shape == (3, 2)
    close(trace.activations, states)
    close(last[0] if cell == "lstm" else last, states[-1])
    gates = 0 if cell == "tanh" else len(ROWS[cell]) - (cell != "minimal")
    assert len(net.gates) == gates
    assert trace.gates is None if cell == "tanh" else trace.gates.shape == (7, gates, 4)
    assert len(jax.tree.leaves(net.folded(params))) == 5 + (cell == "minimal")  # trained: weights, biases, read-out


def test_cells_share_draws_and_long_sequences_begin_as_short_ones():
    nets = {cell: jaxsat.Recurrent(steps=3, width=4, cell=cell, ensemble="orthogonal") for cell in ROWS}
    with jax.disable_jit():  # compiles one operation once for all cells, in place of a program for each cell
        params = {cell: net.init(KEY) for cell, net in nets.items()}
        plain = jaxsat.Recurrent(3, 4, ensemble="identity").init(KEY).recurrent
    short, long = gaussian_input(nets["gru"], KEY), gaussian_input(jaxsat.Recurrent(9, 4), KEY)
    for cell in ("gru", "lstm"):
        np.testing.assert_array_equal(params[cell].recurrent[0], params["tanh"].recurrent[0])
        np.testing.assert_array_equal(params[cell].recurrent[1], params["minimal"].recurrent[0])
        np.testing.assert_array_equal(params[cell].inputs[0], params["minimal"].inputs[0])
    eye = np.eye(4)
    for u in np.asarray(params["lstm"].recurrent):
        np.testing.assert_allclose(u @ u.T, eye, atol=1e-14)
    np.testing.assert_array_equal(plain[0], eye)
    np.testing.assert_array_equal(long[:3], short)
    np.testing.assert_allclose(np.mean(np.square(long), axis=1), 1, rtol=1e-14)


def test_chrono_biases_have_the_law_of_the_paper():
    """exp(b) is uniform on [1, T - 1]: mean T / 2, variance (T - 2)^2 / 12."""
    steps = 100
    keys = [addresses.network(KEY, s) for s in range(40)]
    net = jaxsat.Recurrent(steps, 100, cell="lstm", gate_bias="chrono", inputs=1, ensemble="identity")
    drawn = np.exp(np.asarray(jax.jit(jax.vmap(lambda key: net.init(key).keep_bias))(jnp.stack(keys)))).ravel()
    assert drawn.min() >= 1
    assert drawn.max() <= steps - 1
    sd = (steps - 2) / np.sqrt(12)
    assert abs(drawn.mean() - steps / 2) < 4 * sd / np.sqrt(len(drawn))  # 4 standard errors
    assert abs(drawn.std() / sd - 1) < 4 * np.sqrt(0.8 / (4 * len(drawn)))  # kurtosis 1.8: var of s^2 is 0.8 s^4 / N


def test_entries_have_the_variances_of_the_docstring():
    net = jaxsat.Recurrent(2, 60, cell="gru", inputs=15, weight_scale=3.0)
    recurrent, inputs = jax.jit(lambda key: net.init(key)[:2])(KEY)
    for draw, n_in in ((recurrent, 60), (inputs, 15)):
        entries = np.asarray(draw).ravel() * np.sqrt(n_in)
        assert abs(entries.var() - 1) < 4 * np.sqrt(2 / entries.size)
        assert abs(entries.mean()) < 4 / np.sqrt(entries.size)


def test_scales_are_leaves_and_one_trace_serves_all():
    traces = []

    @jax.jit
    def out(net, key):
        traces.append(net.cell)
        return net.apply(net.init(key), gaussian_input(net, key))

    nets = [jaxsat.Recurrent(3, 4, cell="minimal", weight_scale=w, gate_bias=g) for w, g in ((1.0, 0.0), (2.0, -3.0))]
    first, second = (out(net, KEY) for net in nets)
    assert traces == ["minimal"]
    assert not np.allclose(first, second)
    both = jax.tree.map(lambda *numbers: jnp.array(numbers), *nets)
    batched = jax.vmap(out, (0, None))(both, KEY)
    np.testing.assert_allclose(batched, np.stack([first, second]), rtol=1e-12, atol=1e-15)


def test_slopes_are_right_in_saturation():
    """Where autodiff of jax.nn.sigmoid and jnp.tanh is 0: 1 - u = sigmoid(-60) in a gate, 1 / cosh(30)^2 in tanh."""
    gated = jaxsat.Recurrent(1, 1, cell="minimal", gate_bias=60.0)
    params, zero = recurrent_params_of(gated), jnp.zeros(1)
    params = params._replace(biases=jnp.zeros((1, 1)))
    step, carry, _ = gated.scan(params, np.zeros((1, 1)))
    slope = jax.jit(jax.grad(lambda x: step(carry, x)[0]))(zero)  # h = z = 0: dh'/dx = (1 - u) V
    np.testing.assert_allclose(slope, params.inputs[0, 0] * expit(-60.0), rtol=1e-12)
    plain = jaxsat.Recurrent(1, 1, weight_scale=30.0)
    params = recurrent_params_of(plain)._replace(recurrent=jnp.ones((1, 1, 1)), biases=jnp.zeros((1, 1)))
    step, _, xs = plain.scan(params, np.zeros((1, 1)))
    slope = jax.jit(jax.grad(lambda h: step(h, xs[0])[0]))(jnp.ones(1))
    np.testing.assert_allclose(slope, 30 / np.cosh(30.0) ** 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"steps": 0}, ValueError, "Recurrent: `steps` must be an integer of at least 1; got 0"),
        ({"outputs": 0}, ValueError, "`outputs` must be an integer of at least 1"),
        ({"cell": "ltsm"}, ValueError, "Did you mean 'lstm'"),
        ({"ensemble": "orthogonl"}, ValueError, "Did you mean 'orthogonal'"),
        ({"gate_bias": "crono"}, ValueError, "Did you mean 'chrono'"),
        ({"gate_bias": None}, TypeError, "`gate_bias` must be a number"),
        ({"weight_scale": -1.0}, ValueError, "`weight_scale` must be at least 0; got -1.0"),
        ({"input_scale": float("nan")}, TypeError, "`input_scale` must be a finite number"),
        ({"bias_scale": "he"}, TypeError, "`bias_scale` must be a number"),
        ({"activation": "tanhh"}, ValueError, "Did you mean 'tanh'"),
    ],
)
def test_bad_fields(given, error, said):
    with pytest.raises(error, match=said):
        jaxsat.Recurrent(**({"steps": 3, "width": 4} | given))
