"""Mean-field theory against closed forms, iteration of the maps, and wide networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import jaxsat
from jaxsat import activations, addresses, theory
from tests import known


def brute(f, q, count=200_001):
    """E[f(sqrt(q) z)] by the trapezoidal rule on 24 standard deviations."""
    z = np.linspace(-12, 12, count)
    return float(
        np.sum(np.asarray(f(jnp.asarray(np.sqrt(q) * z))) * np.exp(-z * z / 2)) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
    )


@pytest.mark.parametrize(("name", "exact"), known.CRITICAL_WEIGHT_SCALES.items())
def test_critical_scales_in_closed_form(name, exact):
    # softsign's slope has a cusp at 0 and is taken at q = 1e-30: 1e-14 off.
    assert float(theory.critical_weight_scale(name)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bias_scale"), [("tanh", 0.05**0.5), ("sigmoid", 0.0), ("hard_tanh", 0.3), ("elu", 0.2)]
)
def test_critical_scales_by_iterating_and_bisection(name, bias_scale):
    """Independent of tables and Newton steps: iterate the length map by a trapezoidal rule, bisect chi - 1."""
    act = activations.get(name)
    z = np.linspace(-10, 10, 4001)
    weights = np.exp(-z * z / 2) / np.sum(np.exp(-z * z / 2))
    value, slope = jax.jit(act), jax.jit(act.slope)

    def excess(w):
        q = 1.0
        for _ in range(400):
            q = w * w * (weights @ np.asarray(value(jnp.asarray(np.sqrt(q) * z))) ** 2) + bias_scale**2
        return w * w * (weights @ np.asarray(slope(jnp.asarray(np.sqrt(q) * z))) ** 2) - 1

    found = float(theory.critical_weight_scale(name, bias_scale))
    expected = optimize.brentq(excess, found * 0.9, found * 1.1, xtol=1e-12)
    # The trapezoidal rule sees a jump of the slope to within its step times the density there.
    assert found == pytest.approx(expected, rel=2e-3 if act.kinks else 1e-9)


@pytest.mark.slow
def test_no_critical_scale_is_said():
    with pytest.raises(ValueError, match="'gelu' with bias_scale = 0"):
        theory.critical_weight_scale("gelu")
    assert np.isnan(jax.jit(lambda b: theory.critical_weight_scale("gelu", b))(0.0))


@pytest.mark.parametrize("weight_scale", [0.5, 1.2, 1.41])
def test_relu_field(weight_scale):
    q, chi = known.relu_field(weight_scale, 0.3)
    found = theory.mean_field("relu", weight_scale, 0.3)
    np.testing.assert_allclose([found.q, found.chi, found.chi_q], [q, chi, chi], rtol=1e-10)
    np.testing.assert_allclose([found.xi_q, found.xi_c], -1 / np.log(chi), rtol=1e-9)
    assert (found.phase, float(found.c), bool(found.converged)) == ("ordered", 1.0, True)


def test_divergence_and_criticality_of_relu():
    found = theory.mean_field("relu", 1.5)
    assert (found.phase, float(found.q), bool(found.converged)) == ("diverges", np.inf, False)
    assert float(found.chi) == pytest.approx(1.125)
    assert not any(np.isnan(np.asarray(v, float)).any() for v in found)
    critical = theory.mean_field("relu", 2**0.5, mean_square=3.0)
    assert critical.phase == "critical"
    assert float(critical.q) == pytest.approx(6.0)  # every length is stationary: that of the first layer stays
    assert np.isinf(critical.xi_c)


def test_selu_is_at_its_fixed_point():
    found = theory.mean_field("selu", 1.0)  # Klambauer et al. 2017: mean 0, variance 1
    assert float(found.q) == pytest.approx(1.0, abs=1e-9)
    assert float(found.chi) == pytest.approx(1.0716, abs=5e-5)


def test_sigmoid_is_rescued_by_no_scale_that_does_not_saturate_it():
    scale = float(theory.critical_weight_scale("sigmoid"))
    q = float(theory.mean_field("sigmoid", scale).q)
    saturated = brute(lambda x: jnp.abs(x) > 5, q)
    assert 10.1 < scale < 10.2
    assert 0.45 < saturated < 0.5


@pytest.mark.parametrize(("weight_scale", "bias_scale"), [(0.7, 0.2), (1.3, 0.3), (2.5, 0.3), (4.0, 0.3)])
def test_erf_correlation_in_closed_form(weight_scale, bias_scale):
    """Williams' arcsine kernel gives the whole theory of erf networks."""
    w2, b2 = weight_scale**2, bias_scale**2
    q = 1.0
    for _ in range(3000):
        q = w2 * known.arcsine(q, q, 1.0) + b2
    next_c = lambda c: (w2 * known.arcsine(q, q, c) + b2) / q  # noqa: E731
    c = 0.1
    for _ in range(20000):
        c = next_c(c)
    slope = w2 / q * 2 / np.pi / np.sqrt(1 - (2 * q * c / (1 + 2 * q)) ** 2) * 2 * q / (1 + 2 * q)
    found = theory.mean_field("erf", weight_scale, bias_scale)
    np.testing.assert_allclose([found.q, found.c, found.chi_c], [q, c, slope], rtol=1e-9)
    assert float(found.chi) == pytest.approx(w2 * known.erf_slope_squared(q), rel=1e-10)


@pytest.mark.parametrize("name", ["tanh", "hard_tanh", "selu"])
def test_stationary_correlation_satisfies_the_map_by_quadrature(name):
    scale = {"tanh": 1.6, "hard_tanh": 1.6, "selu": 1.2}[name]
    found = theory.mean_field(name, scale, 0.2)
    assert found.phase == "chaotic"
    after = theory.correlation_map(name, found.c, found.q, scale, 0.2)
    tolerance = 1e-9 if name == "tanh" else 1e-5  # as documented: kinks
    assert float(after) == pytest.approx(float(found.c), abs=tolerance)
    step = 1e-4
    rise = theory.correlation_map(name, found.c + step, found.q, scale, 0.2) - theory.correlation_map(
        name, found.c - step, found.q, scale, 0.2
    )
    assert float(rise) / (2 * step) == pytest.approx(float(found.chi_c), rel=1e-4)


def test_fixed_points_all_with_stability():
    found = theory.fixed_points("tanh", 1.5)
    assert int(found.count) == 2
    assert found.stable[:2].tolist() == [False, True]
    assert np.isnan(found.q[2:]).all()
    for q in np.asarray(found.q[:2]):
        assert float(theory.length_map("tanh", q, 1.5)) == pytest.approx(q, rel=1e-12)
    # gelu: 0 attracts, a length further up repels (Roberts, Yaida & Hanin 2022, section 5.3.4)
    gelu = theory.fixed_points("gelu", 1.6)
    assert int(gelu.count) == 2
    assert gelu.stable[:2].tolist() == [True, False]
    low, high = (theory.mean_field("gelu", 1.6, mean_square=float(gelu.q[1]) * f / 1.6**2) for f in (0.9, 1.1))
    assert (float(low.q), low.phase, high.phase) == (0.0, "ordered", "diverges")


def test_length_trajectory_of_wide_networks():
    """Measured q_l of width 400 within 4 standard errors of 100 seeds, and 1.05 times it outside."""
    net = jaxsat.MLP(depth=6, width=400, activation="tanh", weight_scale=1.8, bias_scale=0.3)
    measure = jaxsat.measures.get("mean_squared_pre_activation")
    keys = jax.random.split(addresses.root(1), 100)
    lengths = np.asarray(jax.lax.map(lambda key: measure(net, key, None)["mean_squared_pre_activation"], keys))
    error = lengths.std(0, ddof=1) / np.sqrt(len(keys))
    theory_q = np.asarray(theory.length_trajectory("tanh", 6, 1.8, 0.3))
    bias = 3 * theory_q / 400  # of order 1 / width
    assert (np.abs(lengths.mean(0) - theory_q) < 4 * error + bias).all()
    assert (np.abs(lengths.mean(0) - 1.05 * theory_q) > 4 * error + bias).all()


@pytest.mark.slow
def test_derivatives_are_those_of_finite_differences():
    fields = ("q", "chi", "chi_q", "c", "chi_c", "xi_q", "xi_c")
    stacked = jax.jit(lambda w, b: jnp.stack([getattr(theory.mean_field("tanh", w, b), f) for f in fields]))
    point, step = (1.5, 0.3), 1e-6
    found = jax.jacfwd(stacked, argnums=(0, 1))(*point)
    for i, change in enumerate(np.eye(2) * step):
        numeric = (stacked(*(point + change)) - stacked(*(point - change))) / (2 * step)
        np.testing.assert_allclose(found[i], numeric, rtol=1e-7, atol=1e-8)
    edge = lambda b: theory.critical_weight_scale("tanh", b)  # noqa: E731
    assert float(jax.grad(edge)(0.2)) == pytest.approx(
        float(edge(0.2 + step) - edge(0.2 - step)) / (2 * step), rel=1e-6
    )


def test_single_precision_is_rounded_once_and_one_compilation_serves_all_scales():
    traced = []

    def field(w, b):
        traced.append(1)
        return theory.mean_field("tanh", w, b)

    jitted = jax.jit(field)
    for w in (0.5, 1.5, 3.0):
        found = jitted(w, 0.1)
        np.testing.assert_allclose(np.array(found[:7]), np.array(theory.mean_field("tanh", w, 0.1)[:7]), rtol=1e-12)
    assert len(traced) == 1
    phases = jax.vmap(lambda w: theory.mean_field("tanh", w, 0.1))(jnp.array([0.5, 3.0])).phase
    assert phases.tolist() == ["ordered", "chaotic"]


def test_trajectory_of_correlations_reaches_c():
    c, found = 0.9, theory.mean_field("tanh", 2.5, 0.3)
    step = jax.jit(lambda c: theory.correlation_map("tanh", c, found.q, 2.5, 0.3))
    for _ in range(int(np.ceil(np.log(1e-9) * -float(found.xi_c)))):
        c = step(c)
    assert float(c) == pytest.approx(float(found.c), abs=1e-8)


def test_float32_scales_at_the_edge_are_critical():
    scale = jnp.float32(2**0.5)
    found = theory.mean_field("relu", scale)
    assert found.phase == "critical"
    assert float(found.q) == pytest.approx(2.0, rel=1e-6)


def test_gradients_change_by_chi_per_layer_at_the_stationary_length():
    found = theory.mean_field("tanh", 1.8, 0.3)
    start = (found.q - 0.3**2) / 1.8**2
    norms = np.asarray(theory.log_gradient_norms("tanh", 6, 1.8, 0.3, mean_square=start))
    np.testing.assert_allclose(np.diff(norms), -np.log(found.chi) / 2, rtol=1e-9)
    assert norms[-1] == pytest.approx(float(np.log(found.chi / 1.8**2)) / 2, rel=1e-9)  # E[phi'^2] of the last layer


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: theory.mean_field("tanh", -1.0), ValueError, "`weight_scale` must be finite and at least 0; got -1.0"),
        (lambda: theory.mean_field("tanh", 1.0, np.nan), ValueError, "`bias_scale` must be finite"),
        (lambda: theory.mean_field("tahn", 1.0), ValueError, "Did you mean 'tanh'"),
        (lambda: theory.mean_field("tanh", np.ones(3)), TypeError, "one real number; got ndarray of shape"),
        (lambda: theory.mean_field("tanh", "he"), TypeError, "`weight_scale` must be one real number; got str"),
        (lambda: theory.mean_field(jnp.exp, 1.0), ValueError, "grows too fast"),
        (lambda: theory.correlation_map("tanh", 1.5, 1.0, 1.0), ValueError, "from -1 to 1; got 1.5"),
        (lambda: theory.length_map("tanh", -1.0, 1.0), ValueError, "`q` must be finite and at least 0"),
        (lambda: theory.length_trajectory("tanh", 0, 1.0), ValueError, "`depth` must be at least 1; got 0"),
        (lambda: theory.length_trajectory("tanh", 2.5, 1.0), TypeError, "`depth` must be an integer"),
        (lambda: theory.residual_field("tanh", 2, 1.0, residual_scale=-1.0), ValueError, "`residual_scale`"),
        (lambda: theory.critical_weight_scale("tanh", -0.1), ValueError, "`bias_scale`"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_zero_weights():
    found = theory.mean_field("tanh", 0.0, 0.0)
    assert (float(found.q), float(found.chi), found.phase) == (0.0, 0.0, "ordered")
    assert not any(np.isnan(np.asarray(v, float)).any() for v in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in activations.names() if name != "sin"])  # whose maps are slow to make
def test_fixed_points_of_every_activation_are_fixed(name):
    q = np.asarray(theory.fixed_points(name, 1.3, 0.4).q)
    q = q[~np.isnan(q)]
    after = [float(theory.length_map(name, one, 1.3, 0.4)) for one in q]
    np.testing.assert_allclose(after, q, rtol=1e-10)
