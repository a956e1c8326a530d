"""Ten-line models, each with one fault or with something that only looks like one: the report says which."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.probing import prepare
from jaxsat.probing.monitoring import PeriodicProbe

DRAWS = np.random.default_rng(0)
W = DRAWS.normal(size=(6, 6)) / 6**0.5
X = DRAWS.normal(size=(9, 6))
MASK = np.tril(np.ones((9, 9), bool))


def found(fn, *args, **kwargs):
    return [finding.code for finding in jaxsat.probe(fn, *args, **kwargs).findings]


# --- not finite -----------------------------------------------------------------------------------------------------


def layers(w, x):
    return jnp.sum(jax.nn.relu(jax.nn.relu(x @ w) @ w))


def test_a_nan_in_an_argument_is_named_though_relu_hides_it():
    x = X.copy()
    x[3, 2] = np.nan
    report = jaxsat.probe(layers, W, x)
    (finding,) = report.findings
    assert finding.code == "nonfinite"
    assert finding.message.startswith("Not finite on the way in: args[1].")
    assert np.isnan(report.loss)
    assert [site.nonfinite_fraction for site in report.sites] == pytest.approx([1 / 9, 1 / 9])
    assert found(layers, W, X) == []  # the same program


@pytest.mark.parametrize("units", [6, 100])
def test_a_nan_in_a_weight_of_any_size_is_named(units):
    """On CPUs, XLA's largest entry of 10,000 leaves a NaN out."""
    w = np.full((6, units), 0.1, np.float32)
    wide = np.full((units, units), 0.01, np.float32)
    wide[units // 2, units // 3] = np.nan
    report = jaxsat.probe(lambda w, wide, x: jnp.sum(jax.nn.relu(x @ w @ wide)), w, wide, np.ones((3, 6), np.float32))
    assert report.findings[0].message.startswith("Not finite on the way in: args[1].")
    (site,) = report.sites
    assert np.isnan(site.pre_activation_max)


def test_the_equation_that_makes_the_first_nan_is_named_with_its_line_and_iteration():
    def step(h, w):
        return jnp.tanh(jnp.log(h) @ w), None

    def loss(ws, x):
        return jnp.sum(jax.lax.scan(step, x, ws)[0])

    positive = np.abs(W)[None] * np.array([1.0, 1.0, 1.0])[:, None, None]
    report = jaxsat.probe(loss, positive, np.full((9, 6), 20.0))
    (finding,) = report.findings
    line = step.__code__.co_firstlineno + 1
    h, turn = np.full((9, 6), 20.0), 0
    while (h >= 0).all():  # by hand: the iteration in which log first meets a number below 0
        h, turn = np.tanh(np.log(h) @ np.abs(W)), turn + 1
    assert f"The first NaN comes from log at test_faults.py:{line}" in finding.message
    assert f"iteration [{turn}]" in finding.message
    assert "clip its argument" in finding.advice
    assert "The loss is nan" in finding.message


def test_an_infinity_that_is_only_in_the_gradient_is_traced_to_its_derivative():
    def loss(w, x):
        h = jnp.tanh(x @ w)
        return jnp.sum(jnp.sqrt(jnp.sum(jnp.square(h - h), axis=1))) + jnp.sum(h)

    report = jaxsat.probe(loss, W, X)
    assert np.isfinite(report.loss)
    (finding,) = report.findings
    assert finding.code == "nonfinite"
    assert finding.message.startswith(
        f"The first gradient that is inf comes from sqrt at test_faults.py:{loss.__code__.co_firstlineno + 2}"
    )
    assert "no derivative at 0" in finding.advice
    assert report.findings[0].sites == (report.sites[0],)


# --- gradients of 0 -------------------------------------------------------------------------------------------------


def readout(w, out, x):
    return jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ w) @ out)


def test_a_read_out_of_zeros_is_a_note_and_no_finding():
    report = jaxsat.probe(readout, W, np.zeros((6, 1)), X)
    assert report.findings == ()
    assert any("the weights args[1] are all zeros" in note for note in report.notes)
    assert not jaxsat.probe(readout, W, np.ones((6, 1)), X).notes


def test_a_loss_that_no_gradient_leaves_is_a_finding_with_its_cause():
    for stop in (jax.lax.stop_gradient, jnp.round):
        report = jaxsat.probe(lambda w, x, stop=stop: jnp.sum(stop(jnp.tanh(x @ w))), W, X)
        (finding,) = report.findings
        assert finding.code == "vanishing"
        assert "stop_gradient, or a function without a derivative" in finding.message
    times_0 = jaxsat.probe(lambda w, x: 0.0 * jnp.sum(jnp.tanh(x @ w)), W, X)
    assert times_0.findings[0].message.startswith("Every gradient is exactly 0")


def test_a_stopped_branch_has_the_slopes_of_its_activation_and_is_a_note():
    def loss(w, x):
        h = jax.nn.relu(x @ w)
        return jnp.mean((jnp.tanh(x @ w) - jax.lax.stop_gradient(h)) ** 2)

    report = jaxsat.probe(loss, W, X)
    target = next(site for site in report.sites if site.kind == "relu")
    assert target.slope_mean == pytest.approx((X @ W > 0).mean(), rel=1e-12)
    assert report.findings == ()
    assert any("no gradient reaches" in note and "relu" in note for note in report.notes)


def test_a_straight_through_estimator_is_no_site():
    def loss(w, x):
        h = x @ w
        return jnp.sum(jnp.tanh(h + jax.lax.stop_gradient(jnp.round(h) - h)))

    assert [site.kind for site in jaxsat.probe(loss, W, X).sites] == ["tanh"]


# --- what units are -------------------------------------------------------------------------------------------------


def test_one_number_for_each_example_is_one_unit():
    h = X @ W[0]
    for fn in (
        lambda w, x: jnp.sum(jax.nn.relu(jax.vmap(lambda one: w[0] @ one)(x))),
        lambda w, x: jnp.sum(jax.nn.relu(jnp.squeeze(x @ w[:1].T, 1))),
    ):
        (site,) = jaxsat.probe(fn, W, X).sites
        assert (site.shape, site.inputs, site.dead_fraction) == ((9,), 9, 0.0)
        assert site.saturated_fraction == pytest.approx((h <= 0).mean())


def test_units_are_not_dead_because_all_inputs_are_one_and_are_where_a_part_of_a_layer_is():
    def loss(w, b, x):
        return jnp.sum(jax.nn.relu(x @ w + b[None]))

    wide = DRAWS.normal(size=(6, 64))
    several = DRAWS.normal(size=(40, 6))
    assert found(loss, wide, np.zeros(64), np.tile(several[:1], (40, 1))) == []
    assert found(loss, wide, np.zeros(64), several) == []
    partly = np.where(np.arange(64) < 10, -20.0, 0.0)
    report = jaxsat.probe(loss, wide, partly, several)
    assert [finding.code for finding in report.findings] == ["dead"]
    assert report.sites[0].dead_fraction == pytest.approx((several @ wide + partly <= 0).all(axis=0).mean())
    h = several @ wide + partly
    between = np.median(h.mean(axis=0) ** 2) / 0.4549364
    assert report.sites[0].input_correlation == pytest.approx(between / (between + h.var(axis=0).mean()), rel=1e-12)


# --- attention ------------------------------------------------------------------------------------------------------


def attention(w, x, scale):
    scores = scale * (x @ w) @ (x @ w.T).T
    return jnp.sum(jax.nn.softmax(jnp.where(MASK, scores, -jnp.inf)) @ x)


@pytest.mark.parametrize(("scale", "codes"), [(0.1, []), (200.0, ["collapsed"])])
def test_attention_has_an_entropy_and_scores_without_the_mask(scale, codes):
    report = jaxsat.probe(attention, W, X, np.asarray(scale))
    assert [finding.code for finding in report.findings] == codes
    (site,) = report.sites  # the mask is none
    scores = scale * (X @ W) @ (X @ W.T).T
    assert site.pre_activation_rms == pytest.approx(np.sqrt((scores[MASK] ** 2).mean()), rel=1e-12)
    assert site.pre_activation_max == pytest.approx(scores[MASK].max(), rel=1e-12)
    assert site.pre_activation_min == pytest.approx(scores[MASK].min(), rel=1e-12)
    entropies = []
    for i in range(1, 9):
        p = np.exp(scores[i, : i + 1] - scores[i, : i + 1].max())
        p = p / p.sum()
        entropies.append(-np.sum(p * np.log(np.maximum(p, 1e-300))) / np.log(i + 1))
    assert site.entropy == pytest.approx(np.mean(entropies), rel=1e-9, abs=1e-12)


def test_a_confident_classifier_is_not_collapsed_attention():
    loss = lambda w, x: jnp.sum(jax.nn.softmax(300 * (jnp.tanh(x @ w) @ w)))  # noqa: E731
    report = jaxsat.probe(loss, W, X)
    assert report.sites[1].entropy < 0.05
    assert "collapsed" not in [finding.code for finding in report.findings]


# --- how it is called -----------------------------------------------------------------------------------------------


def test_a_value_that_is_used_twice_in_products_is_one_site():
    def loss(w, x):
        z = jnp.clip(x @ w, -1, 1)
        return jnp.sum(z * z) + jnp.sum(z - z * z)

    (site,) = jaxsat.probe(loss, W, X).sites
    assert site.kind == "hard_tanh"
    assert site.slope_mean == pytest.approx((np.abs(X @ W) < 1).mean())
    assert site.log_gradient_norm == pytest.approx(np.log(np.sqrt((np.abs(X @ W) < 1).sum())), rel=1e-12)


def test_several_scalar_outputs_are_named_and_keywords_are_passed_on():
    fn = lambda w, x: (jnp.sum(jnp.tanh(x @ w)), {"size": jnp.mean(x)})  # noqa: E731
    report = jaxsat.probe(fn, W, x=X)
    assert any(
        "(output[0], output[1]['size'])" in note and "loss=lambda output: output[0]" in note for note in report.notes
    )
    chosen = jaxsat.probe(fn, W, x=X, loss=lambda output: output[0])
    assert chosen.loss == pytest.approx(np.tanh(X @ W).sum(), rel=1e-12)
    assert chosen.sites[0].weight == "args[0]"
    ready = prepare(lambda w, x: jnp.sum(jnp.tanh(x["a"] @ w)), w=W, x={"a": X})
    with pytest.raises(ValueError, match=r"`x\['a'\]` must have the shape .* got float64\[3, 6\]"):
        ready(w=W, x={"a": X[:3]})
    assert ready(w=W, x={"a": X}).sites[0].weight == "w"


def test_inside_jit_the_error_is_one_line_about_tracers():
    message = (
        r"probe: `args\[0\]` must be an array with values; got a tracer of float64\[6, 6\]. Call probe outside jit"
    )
    with pytest.raises(TypeError, match=message) as caught:
        jax.jit(lambda w: jaxsat.probe(layers, w, X))(W)
    assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="an array that fn closes over"):
        jax.jit(lambda w: jaxsat.probe(lambda x: layers(w, x), X))(W)


def test_a_step_counter_may_change(compilations):
    def loss(state, x):
        return jnp.sum(jnp.tanh(x @ state["w"]))

    watch, ready = PeriodicProbe(loss, every=1), prepare(loss, {"w": W, "step": 0}, X)
    first = watch(0, {"w": W, "step": 0}, X)
    del compilations[:]
    second = watch(1, {"w": 2 * W, "step": 1}, X)
    third = ready({"w": 2 * W, "step": 7}, X)
    assert not [event for event in compilations if "compile" in event]
    assert str(second) == str(third) != str(first)
    assert watch.dataset().site.values.tolist() == [first.sites[0].path]
    scaled = prepare(lambda w, times: jnp.sum(jnp.tanh(times * w)), W, 2.0)  # a number that is used
    assert scaled(W, 3.0).sites[0].pre_activation_rms == pytest.approx(3 * np.sqrt((W**2).mean()), rel=1e-12)
    with pytest.raises(ValueError, match="must have the structure that it was prepared for"):
        ready({"w": W, "step": "one"}, X)


# --- what a second bank of models showed ----------------------------------------------------------------------------


def test_infinity_in_an_argument_is_named_where_it_makes_a_nan_and_a_mask_is_not():
    x = X.copy()
    x[3, 2] = np.inf
    (finding,) = jaxsat.probe(lambda w, x: jnp.sum(jnp.tanh(x @ w - x @ w[::-1]) @ w), W, x).findings
    assert finding.message.startswith("Not finite on the way in: args[1].")
    closed = np.where(np.arange(9)[:, None] == 4, -np.inf, np.where(MASK, 0.0, -np.inf))
    attend = lambda w, x, mask: jnp.sum(jax.nn.softmax(x @ w @ x.T + mask) @ x)  # noqa: E731
    (finding,) = jaxsat.probe(attend, W, X, closed).findings
    assert "comes from sub" in finding.message


def test_units_that_biases_shut_are_dead_however_alike_they_make_the_inputs():
    def loss(w, b, x):
        return jnp.sum(jax.nn.relu(x @ w + b[None]) @ w[:2])

    assert "dead" in found(loss, W[:, :2], np.full(2, -20.0), X)
    assert found(loss, W[:, :2], np.zeros(2), X) == []


def test_a_softmax_that_weighs_is_told_when_it_has_one_entry_left():
    def loss(score, out, x):
        return jnp.sum(jnp.einsum("bn,bnd->bd", jax.nn.softmax(x @ score), jnp.sin(x)) @ out)

    points, score = DRAWS.normal(size=(8, 5, 6)), DRAWS.normal(size=6)
    assert found(loss, score, W, points) == []
    (finding,) = jaxsat.probe(loss, 300 * score, W, points).findings
    assert finding.code == "collapsed"
    assert "all weight to one entry" in finding.message


def test_the_flat_side_of_a_logarithmic_loss_is_where_it_ends():
    assert found(lambda w, x: -jnp.mean(jax.nn.log_sigmoid(jnp.sin(x @ w) @ w + 9)), W, X) == []


@pytest.mark.parametrize(("start", "codes"), [(0.0, []), (1.0, ["vanishing"])])
def test_a_search_for_a_fixed_point_forgets_its_start_on_purpose(start, codes):
    """Of a state that begins with the input, what the first iterations see is lost; of one that begins at 0, nothing is."""

    def loss(w, x):
        put = x @ w
        h = jax.lax.scan(lambda h, _: (jnp.tanh(0.3 * h @ w + put), None), start * x, length=30)[0]
        return jnp.sum(h @ w)

    def fixed(w, x):
        put = x @ w
        return jnp.sum(
            jax.lax.scan(lambda h, _: (jnp.tanh(0.3 * h @ w + put), None), jnp.zeros_like(put), length=30)[0] @ w
        )

    assert found(loss if start else fixed, W, X) == codes
