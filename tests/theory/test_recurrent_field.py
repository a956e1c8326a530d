"""Mean field of recurrent cells: closed forms, integrals by scipy, and networks of width 1000 in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit

from jaxsat import activations, theory
from jaxsat.theory import cell_state_law
from tests import known
from tests.theory.recurrent_simulation import Settings, simulate


def field(*args, **options):
    found = theory.recurrent_mean_field(*args, **options)
    return {name: float(value) for name, value in found._asdict().items()}


# --- the tanh cell in closed form -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("w", "b", "v", "c"), [(0.5, 0.3, 1.2, 1.0), (0.9, 0.0, 2.0, -0.4), (0.2, 1.0, 0.5, 0.3)])
def test_a_linear_network(w, b, v, c):
    """M = w^2 M + v^2 + b^2 and K = w^2 K + c v^2 + b^2."""
    found = field("tanh", w, b, v, activation="identity", input_correlation=c)
    square = (v**2 + b**2) / (1 - w**2)
    assert [found["square"], found["q"]] == pytest.approx([square] * 2, rel=1e-9)
    assert [found[name] for name in ("chi", "step_square", "chi_c")] == pytest.approx([w**2] * 3, rel=1e-9)
    assert found["c"] == pytest.approx((c * v**2 + b**2) / (v**2 + b**2), abs=1e-9)
    assert found["xi"] == pytest.approx(-1 / (2 * np.log(w)), rel=1e-8)
    assert found["converged"]


@pytest.mark.parametrize(("w", "b", "v", "c"), [(1.5, 0.3, 0.4, 0.2), (4.0, 0.1, 0.7, 1.0)])
def test_an_erf_network(w, b, v, c):
    """Williams' arcsine kernel: M, chi, K and the slope of the map of K in closed form."""
    found = field("tanh", w, b, v, activation="erf", mean_square=2.0, input_correlation=c)
    q, m = found["q"], found["square"]
    assert q == pytest.approx(w**2 * m + 2 * v**2 + b**2, rel=1e-9)
    assert m == pytest.approx(known.arcsine(q, q, 1.0), rel=1e-8)
    assert found["chi"] == pytest.approx(w**2 * known.erf_slope_squared(q), rel=1e-8)
    k = found["c"] * m
    covariance = w**2 * k + 2 * v**2 * c + b**2
    assert k == pytest.approx(known.arcsine(q, q, covariance / q), rel=1e-8)
    sine = 2 * covariance / (1 + 2 * q)
    assert found["chi_c"] == pytest.approx(w**2 * 4 / np.pi / (1 + 2 * q) / np.sqrt(1 - sine**2), rel=1e-7)
    assert found["c"] < 0.99


@pytest.mark.parametrize(
    ("w", "b", "phi"), [(1.5, 0.05, "tanh"), pytest.param(0.8, 0.3, "hard_tanh", marks=pytest.mark.slow)]
)
def test_no_inputs_is_a_deep_network(w, b, phi):
    """Fixed points of a network over time and over depth are the same; `mean_field` finds them in another way."""
    over_time, over_depth = field("tanh", w, b, 0.0, activation=phi), theory.mean_field(phi, w, b)
    for name in ("q", "chi", "chi_c"):
        assert over_time[name] == pytest.approx(float(getattr(over_depth, name)), rel=2e-7), name


def test_fresh_inputs_act_as_biases():
    """On lengths, and on what becomes of a difference."""
    driven = field("tanh", 1.5, 0.3, 0.4)
    assert driven["chi"] == pytest.approx(float(theory.mean_field("tanh", 1.5, 0.5).chi), rel=1e-8)


def test_states_that_vanish_and_states_that_diverge():
    quiet = field("tanh", 0.8, 0.0, 0.0)
    assert (quiet["square"], quiet["c"], quiet["converged"]) == (0.0, 1.0, 1.0)
    assert quiet["chi"] == pytest.approx(0.64, rel=1e-9)
    loud = field("tanh", 1.5, 0.0, 1.0, activation="relu")
    assert (loud["square"], loud["converged"]) == (np.inf, 0.0)
    assert loud["chi"] == pytest.approx(1.125, rel=1e-6)


# --- gated cells: integrals by scipy ------------------------------------------------------------------------------------


def mean_of(f, q, mean=0.0):
    """E[f] over N(mean, q) by adaptive quadrature."""
    found = integrate.quad(lambda z: f(mean + np.sqrt(q) * z) * stats.norm.pdf(z), -9, 9, epsabs=1e-13, limit=400)
    return found[0]


def gate_slope(a):
    return expit(a) * expit(-a)


def test_minimal_cell_by_quadrature():
    """With a phi of mean not 0: softplus."""
    w, b, v, gate_bias = 1.5, 0.3, 0.7, 1.2
    found = field("minimal", w, b, v, gate_bias, activation="softplus")

    def soft(a):
        return np.logaddexp(0.0, a)

    mean, square = mean_of(soft, v**2), mean_of(lambda a: soft(a) ** 2, v**2)
    m, q = found["square"], found["q"]
    assert q == pytest.approx(w**2 * m + v**2 * square + b**2, rel=1e-8)
    kept, taken = mean_of(lambda a: expit(a) ** 2, q, gate_bias), mean_of(lambda a: expit(-a) ** 2, q, gate_bias)
    crossed = mean_of(lambda a: expit(a) * expit(-a), q, gate_bias)
    assert m == pytest.approx(kept * m + 2 * crossed * mean**2 + taken * square, rel=1e-8)
    by_gate = w**2 * mean_of(lambda a: gate_slope(a) ** 2, q, gate_bias) * (m - 2 * mean**2 + square)
    assert found["chi"] == pytest.approx(kept + by_gate, rel=1e-8)


def test_gru_cell_by_quadrature():
    w, b, v, gate_bias = 2.5, 0.3, 0.7, 1.2
    found = field("gru", w, b, v, gate_bias)
    m, q = found["square"], found["q"]
    assert q == pytest.approx(w**2 * m + v**2 + b**2, rel=1e-8)
    reset, reset_slope = mean_of(lambda a: expit(a) ** 2, q), mean_of(lambda a: gate_slope(a) ** 2, q)
    candidate = w**2 * reset * m + v**2 + b**2
    new, slope = mean_of(lambda a: np.tanh(a) ** 2, candidate), mean_of(lambda a: np.cosh(a) ** -4, candidate)
    kept, taken = mean_of(lambda a: expit(a) ** 2, q, gate_bias), mean_of(lambda a: expit(-a) ** 2, q, gate_bias)
    assert m * (1 - kept) == pytest.approx(taken * new, rel=1e-8)
    by_gate = w**2 * mean_of(lambda a: gate_slope(a) ** 2, q, gate_bias) * (m + new)
    by_candidate = w**2 * taken * slope * (reset + w**2 * reset_slope * m)
    assert found["chi"] == pytest.approx(kept + by_gate + by_candidate, rel=1e-8)


def test_the_law_of_an_inner_state():
    """Moments of c' = f c + i g obey closed equations; the rule for its law must give them."""
    q, gate_bias = 2.0, 3.0
    law = cell_state_law.lstm_law(activations.get("tanh"), jnp.array(0.0), jnp.array(q), jnp.array(gate_bias))
    kept = {k: mean_of(lambda a, k=k: expit(a) ** k, q, gate_bias) for k in (2, 4)}
    written = {
        k: mean_of(lambda a, k=k: (expit(a)) ** k, q) * mean_of(lambda a, k=k: np.tanh(a) ** k, q) for k in (2, 4)
    }
    second = written[2] / (1 - kept[2])
    fourth = (6 * kept[2] * second * written[2] + written[4]) / (1 - kept[4])
    c, pi = np.asarray(law.nodes), np.asarray(law.weights)
    assert [pi.sum(), pi @ c, pi @ c**2] == pytest.approx([1, 0, second], rel=1e-7, abs=1e-9)
    assert pi @ c**4 == pytest.approx(fourth, rel=1e-5), "the nodes end at 10 root mean squares"
    assert float(law.inner_square) == pytest.approx(second, rel=1e-9)
    assert float(law.growth) == pytest.approx(kept[2], rel=1e-9), "without weights only f c passes"


def test_an_lstm_that_forgets_at_once():
    """f = 0: c = i g and all is a double integral."""
    w, v = 2.0, 0.6
    found = field("lstm", w, 0.0, v, -60.0)
    q = found["q"]
    x, weights = np.polynomial.hermite_e.hermegauss(100)  # q < 1: tanh is smooth over many nodes
    a, p = np.sqrt(q) * x, weights / weights.sum()
    i, g = expit(a)[:, None], np.tanh(a)[None, :]
    both = p[:, None] * p[None, :]
    show, show_slope = p @ expit(a) ** 2, p @ gate_slope(a) ** 2
    shown = np.sum(both * np.tanh(i * g) ** 2)
    assert found["square"] == pytest.approx(show * shown, rel=1e-6)
    passed = gate_slope(a)[:, None] ** 2 * g**2 + i**2 * (1 - g**2) ** 2
    chi = w**2 * (show * np.sum(both * np.cosh(i * g) ** -4 * passed) + show_slope * shown)
    assert found["chi"] == pytest.approx(chi, rel=1e-6)
    assert found["step_square"] == pytest.approx((w**2 * np.sum(both * passed) + chi) / 2, rel=1e-6)


# --- networks of width 1000 ----------------------------------------------------------------------------------------------

SIMULATED = [
    ("tanh", 1.5, 0.1, 0.5, 0.0, 0.4),
    ("minimal", 3.5, 0.2, 1.0, 1.0, 0.4),
    ("gru", 2.5, 0.2, 0.5, 1.0, 0.4),
    ("lstm", 2.0, 0.2, 0.5, 2.0, 1.0),
    pytest.param("tanh", 3.0, 0.0, 0.0, 0.0, 1.0, marks=pytest.mark.slow),
    pytest.param("minimal", 8.0, 0.0, 1.0, 0.0, -0.5, marks=pytest.mark.slow),
    pytest.param("gru", 5.0, 0.0, 1.0, 0.0, 0.0, marks=pytest.mark.slow),
    pytest.param("lstm", 4.0, 0.0, 0.0, 2.0, 1.0, marks=pytest.mark.slow),
    pytest.param("lstm", 1.0, 0.0, 1.0, 0.0, 1.0, marks=pytest.mark.slow),
]


def within(found, expected, width, bias=5.0):
    """To 4 standard errors of the mean over networks, and a bias of order 1 / width (a mean of ratios)."""
    mean, error = found.mean(), found.std(ddof=1) / np.sqrt(len(found))
    assert abs(mean - expected) < 4 * error + bias / width, f"{mean} +- {error}, theory {expected}"
    assert error < 0.02 * max(abs(expected), 0.3), "or the test would see nothing"


@pytest.mark.parametrize(("cell", "w", "b", "v", "gate_bias", "c"), SIMULATED)
def test_untied_networks(cell, w, b, v, gate_bias, c):
    of = Settings(cell, w, b, v, gate_bias, c)
    seen, burn = simulate(of, 160), 80
    expected = field(cell, w, b, v, gate_bias, input_correlation=c)
    square = seen.square[:, burn:].mean(axis=1)
    within(square / expected["square"], 1.0, of.width)
    within(seen.growth[:, burn:].mean(axis=1), expected["chi"], of.width)
    if cell != "lstm":
        within(seen.correlation[:, burn:].mean(axis=1), expected["c"], of.width)


@pytest.mark.parametrize(
    "cell", ["minimal", pytest.param("tanh", marks=pytest.mark.slow), pytest.param("gru", marks=pytest.mark.slow)]
)
def test_states_of_two_sequences_step_by_step(cell):
    """From independent states of mean square 1, with inputs of correlation 0.6."""
    of = Settings(cell, 2.0, 0.2, 0.8, 1.5, 0.6, replicas=16)
    seen = simulate(of, 12)
    found = theory.recurrent_trajectory(cell, 12, 2.0, 0.2, 0.8, 1.5, input_correlation=0.6)
    for measured, expected in ((seen.square, found.square), (seen.correlation, found.c)):
        error = measured.std(axis=0, ddof=1) / np.sqrt(of.replicas)
        # 12 steps and 16 networks: 5 standard errors of Student's t are rarer than 1 in 500
        assert (abs(measured.mean(axis=0) - np.asarray(expected)) < 5 * error + 2 / of.width).all()
        assert error.max() < 0.016


def test_a_trajectory_comes_to_rest_at_the_fixed_point():
    found, rest = (
        theory.recurrent_trajectory("minimal", 150, 2.0, 0.2, 0.8, 1.5, input_correlation=0.6),
        field("minimal", 2.0, 0.2, 0.8, 1.5, input_correlation=0.6),
    )
    assert (float(found.square[-1]), float(found.c[-1])) == pytest.approx((rest["square"], rest["c"]), rel=1e-8)
    with pytest.raises(ValueError, match="`cell` must be a known name; got 'lstm'"):
        theory.recurrent_trajectory("lstm", 3)


def test_gradients_go_back_as_tangents_go_forward():
    """By back-propagation through matrices that are drawn anew at every step, for the gru."""
    n, steps, w, v, gate_bias, sequences = 200, 24, 2.0, 1.0, 1.0, 24
    rng = np.random.default_rng(1)

    def step(h, drawn):
        matrices, inputs = drawn
        keep, reset = (
            jax.nn.sigmoid(matrices[1] @ h + inputs[1] + gate_bias),
            jax.nn.sigmoid(matrices[2] @ h + inputs[2]),
        )
        return keep * h + (1 - keep) * jnp.tanh(matrices[0] @ (reset * h) + inputs[0]), h

    def back(h, matrices, inputs, cotangent):
        def loss(shifts):
            def shifted(h, drawn):
                return step(h + drawn[1], drawn[0])

            return jax.lax.scan(shifted, h, ((matrices, inputs), shifts))[0] @ cotangent

        return jnp.sum(jax.grad(loss)(jnp.zeros((steps, n))) ** 2, axis=1)

    back = jax.jit(back)
    squares = []
    for _ in range(sequences):
        matrices = rng.standard_normal((steps, 3, n, n)) * w / np.sqrt(n)
        inputs, h = v * rng.standard_normal((steps, 3, n)), 0.2 * rng.standard_normal(n)
        squares.append(back(h, matrices, inputs, rng.standard_normal(n)))
    squares = np.array(squares)
    growth = (squares[:, 8] / squares[:, -1]) ** (1 / (steps - 9))
    # the mean of a power below that of a mean: by half the variance of ln growth, which is below 0.01
    expected = field("gru", w, 0.0, v, gate_bias)["chi"]
    within(growth, expected, n, bias=2.0)


@pytest.mark.parametrize(
    ("cell", "w", "b", "v", "gate_bias", "off"),
    [
        ("tanh", 1.5, 0.0, 0.5, 0.0, 0.0),
        ("minimal", 3.5, 0.2, 1.0, 1.0, 0.02),
        ("gru", 2.5, 0.2, 0.5, 1.0, 0.27),
        pytest.param("lstm", 2.0, 0.2, 0.5, 2.0, 0.17, marks=pytest.mark.slow),
    ],
)
def test_how_far_networks_that_keep_their_weights_are_from_theory(cell, w, b, v, gate_bias, off):
    """The untied approximation is exact for the tanh cell with fresh inputs. In gated cells the state remembers the
    weights: gradients vanish less than theory says. These are measurements, not predictions; the error is theirs."""
    of = Settings(cell, w, b, v, gate_bias, width=200, replicas=6, tied=True)
    growth = simulate(of, 150).growth[:, 60:].mean(axis=1)
    away = growth.mean() - field(cell, w, b, v, gate_bias)["chi"]
    error = growth.std(ddof=1) / np.sqrt(len(growth))
    assert abs(away - off) < 4 * error + 0.01
    assert error < 0.02


# --- transformations and errors ---------------------------------------------------------------------------------------------


def test_batches_under_jit_and_no_derivatives():
    def chi(w, gate_bias):
        return theory.recurrent_mean_field("minimal", w, 0.1, 1.0, gate_bias).chi

    w, gate_bias = jnp.array([0.5, 3.0, 9.0]), jnp.array([-1.0, 0.0, 2.0])
    together = jax.jit(jax.vmap(chi))(w, gate_bias)
    np.testing.assert_allclose(together, [chi(*pair) for pair in zip(w, gate_bias, strict=True)], rtol=1e-10)
    for derivative in (jax.grad, jax.jacfwd):
        with pytest.raises(TypeError, match="have no derivatives"):
            derivative(chi)(1.0, 0.0)


@pytest.mark.parametrize("cell", ["minimal", pytest.param("lstm", marks=pytest.mark.slow)])
def test_nan_gives_nan(cell):
    def numbers(w, gate_bias):
        found = theory.recurrent_mean_field(cell, w, 0.1, 1.0, gate_bias)
        return jnp.stack([found.square, found.chi, found.c, found.xi])

    given = jnp.array([[np.nan, 0.0], [1.0, np.nan], [1.0, 2000.0], [1.0, 0.0]])
    found = np.asarray(jax.jit(jax.vmap(numbers))(given[:, 0], given[:, 1]))
    assert np.isnan(found).all(axis=1).tolist() == [True, True, True, False]
    assert not np.isnan(found[3]).any()


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        (("tanhh",), {}, ValueError, "`cell` must be a known name; got 'tanhh'. Did you mean 'tanh'?"),
        (("tanh", -1.0), {}, ValueError, "`weight_scale` must be a finite number and at least 0; got -1"),
        (("gru", 1.0, np.nan), {}, ValueError, "`bias_scale` must be a finite number and at least 0; got nan"),
        (("gru", 1.0, 0.0, 1.0, np.inf), {}, ValueError, "`gate_bias` must be a finite number; got inf"),
        (("gru", jnp.ones(2)), {}, TypeError, "Batches go through jax.vmap"),
        (("tanh",), {"input_correlation": 1.5}, ValueError, "`input_correlation` must be a correlation"),
        (("tanh",), {"activation": "tanhh"}, ValueError, "activation: must be a name"),
    ],
)
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        theory.recurrent_mean_field(*args, **options)
