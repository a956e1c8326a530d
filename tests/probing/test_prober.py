"""The probe's numbers beside those of hand-written instrumentation of the same model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.jax_compat import eval_jaxpr
from jaxsat.probing import prepare
from jaxsat.probing.program import probe_program
from jaxsat.probing.survey import survey_of
from tests.probing.instrumented import BATCH, KEY, WIDTH, by_hand, inputs, weights

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("sigmoid", "gelu_tanh", "softplus")]


@pytest.mark.parametrize("name", ["tanh", "relu", *SLOW])
def test_numbers_equal_hand_written_instrumentation(name):
    phi = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "gelu_tanh": jax.nn.gelu}.get(
        name, jax.nn.softplus
    )
    ws = weights(3, 2.5)
    biases = [jnp.linspace(-2, 1, WIDTH) * (i + 1) for i in range(3)]

    def loss(params, x):
        for w, b in params:
            x = phi(x @ w + b[None, :])
        return jnp.sum(x**2) / 7

    report = jaxsat.probe(loss, list(zip(ws, biases, strict=True)), inputs())
    kept, gradients = by_hand(phi, ws, biases, inputs())
    assert [site.kind for site in report.sites] == [name] * 3
    slope = np.vectorize(jax.grad(phi), otypes=[float])
    for site, h, g, w, b in zip(report.sites, kept, gradients, ws, biases, strict=True):
        d = slope(h)
        saturated = np.abs(d) <= 0.05 * jaxsat.activations.get(name).max_slope
        expected = {
            "pre_activation_mean": h.mean(), "pre_activation_rms": np.sqrt((h**2).mean()),
            "pre_activation_min": h.min(), "pre_activation_max": h.max(),
            "activation_rms": np.sqrt((np.asarray(phi(jnp.asarray(h))) ** 2).mean()),
            "slope_mean": d.mean(), "slope_rms": np.sqrt((d**2).mean()), "zero_slope_fraction": (d == 0).mean(),
            "saturated_fraction": saturated.mean(),
            "mostly_saturated_fraction": (saturated.mean(axis=0) > 0.9).mean(),
            "never_saturated_fraction": (~saturated.any(axis=0)).mean(),
            "dead_fraction": (d == 0).all(axis=0).mean() if name == "relu" else 0.0,
            "weight_scale": np.sqrt((np.asarray(w) ** 2).mean() * WIDTH),
            "bias_scale": np.sqrt((np.asarray(b) ** 2).mean()), "bias_mean": np.asarray(b).mean(),
            "log_gradient_norm": np.log(np.linalg.norm(g)), "zero_gradient_fraction": (g == 0).mean(),
            "subnormal_gradient_fraction": 0.0, "underflow_fraction": 0.0,
        }  # fmt: skip
        for field, value in expected.items():
            assert getattr(site, field) == pytest.approx(value, rel=1e-12, abs=1e-14), field
    norms = [site.log_gradient_norm for site in report.sites]
    growth = [site.log_gradient_growth for site in report.sites]
    assert growth[:2] == pytest.approx([norms[0] - norms[1], norms[1] - norms[2]], rel=1e-12)
    assert report.loss == pytest.approx(float(loss(list(zip(ws, biases, strict=True)), inputs())), rel=1e-13)
    if name == "relu":  # the test must see units of all three sorts
        assert 0 < report.sites[2].dead_fraction < 1


def test_a_vmapped_model_is_read_as_its_batched_form_and_units_stay_units():
    """vmap may put the batch axis last; dead units are still counted over the batch."""
    w = jnp.array([[1.0, 2.0], [-1.0, -1.0], [3.0, -2.0]])
    bias = jnp.array([-100.0, 0.0, 0.0])
    x = jax.random.normal(KEY, (50, 2))
    for axis in (0, 1):
        one = lambda w, x: jax.nn.relu(w @ x + bias)  # noqa: E731
        fn = lambda w, x, axis=axis, one=one: jnp.sum(jax.vmap(one, (None, axis))(w, x))  # noqa: E731
        (site,) = jaxsat.probe(fn, w, x if axis == 0 else x.T).sites
        h = np.asarray(w @ x.T) + np.asarray(bias)[:, None]
        assert site.dead_fraction == pytest.approx(1 / 3)
        assert site.inputs == 50
        assert site.saturated_fraction == pytest.approx((h <= 0).mean())
        assert site.weight_scale == pytest.approx(float(jnp.sqrt(jnp.mean(w**2) * 2)), rel=1e-12)


def test_convolutions_have_channels_for_units_and_windows_in_their_fan_in():
    kernel = jax.random.normal(KEY, (5, 2, 3, 3))  # out, in, h, w: channels are axis 1 of the result
    bias = jnp.array([0.0, 0.0, -1e3, 0.0, -1e3])
    x = jax.random.normal(KEY, (6, 2, 8, 8))

    def loss(kernel, bias, x):
        h = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME") + bias[None, :, None, None]
        return jnp.sum(jax.nn.relu(h))

    (site,) = jaxsat.probe(loss, kernel, bias, x).sites
    assert site.dead_fraction == pytest.approx(2 / 5)
    assert site.weight_scale == pytest.approx(float(jnp.sqrt(jnp.mean(kernel**2) * 18)), rel=1e-12)
    assert site.bias_mean == pytest.approx(-400)


def test_slopes_of_custom_derivatives_are_the_custom_ones():
    @jax.custom_vjp
    def straight_through(x):
        return jnp.sign(x)

    straight_through.defvjp(lambda x: (jnp.sign(x), x), lambda x, g: (jnp.where(jnp.abs(x) < 1, 3 * g, 0),))

    @jax.custom_jvp
    def leaning(x):
        return jnp.maximum(x, 0)

    leaning.defjvp(lambda p, t: (leaning(*p), 0.25 * t[0]))
    (w,) = weights(1, 1.0)
    h = inputs() @ w
    for fn, slope in ((straight_through, jnp.where(jnp.abs(h) < 1, 3.0, 0.0)), (leaning, jnp.full_like(h, 0.25))):
        (site,) = jaxsat.probe(lambda w, x, fn=fn: jnp.sum(fn(x @ w) @ w), w, inputs()).sites
        assert site.slope_mean == pytest.approx(float(slope.mean()), rel=1e-12)
        expected = jnp.ones((BATCH, WIDTH)) @ w.T * slope
        assert site.log_gradient_norm == pytest.approx(float(jnp.log(jnp.linalg.norm(expected))), rel=1e-12)


@pytest.mark.slow
def test_evaluated_one_by_one_the_function_is_unchanged_bit_for_bit():
    """Without compilation there is no fusion: the same equations give the same bits."""
    ws = [w.astype(jnp.float32) for w in weights(3, 1.5)]
    x = inputs(jnp.float32)

    def loss(ws, x):
        h = jax.nn.gelu(x @ ws[0])
        h = h + jax.nn.softmax(h @ ws[1], axis=-1)
        h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), h, jnp.stack(ws))
        return jnp.mean((h - h.mean(axis=-1, keepdims=True)) ** 2)

    closed = jax.make_jaxpr(loss)(ws, x)
    made = probe_program(closed, [*ws, x], 0)
    sinks = {p.root: jnp.zeros((*p.lengths, 4), jnp.float32) for p in made.survey.sites}
    assert len(sinks) == 3
    with jax.disable_jit():
        plain, pull = jax.vjp(lambda ws: eval_jaxpr(closed.jaxpr, closed.consts, *ws, x)[0], ws)
        read, pull_read = jax.vjp(lambda ws: made.evaluate(closed.consts, [*ws, x], sinks)[0][0], ws)
    assert np.array_equal(plain, read)
    for a, b in zip(pull(jnp.ones_like(plain))[0], pull_read(jnp.ones_like(plain))[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)  # sums of cotangents may come in another order


def test_underflow_is_told_from_zero_and_its_norm_is_still_known():
    """float16, four sigmoid layers: the plain gradient is 0 below; in float64 it is not."""

    def loss(ws, x):
        for w in ws:
            x = jax.nn.sigmoid(x @ w)
        return jnp.mean(x) * jnp.asarray(2.0**-9, x.dtype)

    ws = weights(4, 1.0)
    half = jaxsat.probe(loss, [w.astype(jnp.float16) for w in ws], inputs(jnp.float16))
    exact = jaxsat.probe(loss, ws, inputs())
    plain = jax.grad(lambda x: loss([w.astype(jnp.float16) for w in ws], x))(inputs(jnp.float16))
    assert float(jnp.max(jnp.abs(plain))) < 1e-6
    first, true = half.sites[0], exact.sites[0]
    assert first.zero_gradient_fraction > 0.1
    assert first.underflow_fraction == pytest.approx(first.zero_gradient_fraction, abs=0.02)
    assert first.log_gradient_norm == pytest.approx(true.log_gradient_norm, abs=0.05)
    assert true.underflow_fraction == 0
    assert [finding.code for finding in half.findings] == ["underflow"]
    dead = jaxsat.probe(lambda x: jnp.sum(jax.nn.relu(x - 100)), inputs(jnp.float16)).sites[0]
    assert dead.zero_gradient_fraction == 1
    assert dead.underflow_fraction == 0
    assert dead.log_gradient_norm == -np.inf


def test_a_stopped_gradient_is_not_a_zero_one():
    def loss(w, x):
        return jnp.sum(jax.lax.stop_gradient(jnp.tanh(x @ w))) + jnp.sum(jax.nn.sigmoid(x @ w))

    stopped, open_ = jaxsat.probe(loss, weights(1, 1.0)[0], inputs()).sites
    assert np.isnan([stopped.log_gradient_norm, stopped.zero_gradient_fraction]).all()
    assert np.isfinite(open_.log_gradient_norm)


def test_the_loss_can_be_named_and_is_found_among_other_outputs():
    (w,) = weights(1, 1.0)
    fn = lambda w, x: {"h": jnp.tanh(x @ w)}  # noqa: E731
    named = jaxsat.probe(fn, w, inputs(), loss=lambda out: jnp.sum(out["h"]))
    found = jaxsat.probe(lambda w, x: (jnp.sum(jnp.tanh(x @ w)), {"steps": jnp.arange(3)}), w, inputs())
    none = jaxsat.probe(fn, w, inputs())
    assert named.sites[0].log_gradient_norm == pytest.approx(found.sites[0].log_gradient_norm, rel=1e-13)
    assert np.isnan(none.sites[0].log_gradient_norm)
    assert any("no scalar output" in note for note in none.notes)


def test_prepared_probes_trace_once_and_take_only_what_they_were_prepared_for():
    traces = []

    def loss(w, x):
        traces.append(1)
        return jnp.sum(jnp.tanh(x @ w))

    (w,) = weights(1, 1.0)
    ready = prepare(loss, w, inputs())
    count = len(traces)
    first, second = ready(w, inputs()), ready(3 * w, inputs())
    assert len(traces) == count
    assert second.sites[0].pre_activation_rms == pytest.approx(3 * first.sites[0].pre_activation_rms)
    with pytest.raises(ValueError, match=r"`args\[1\]` must have the shape .* float64\[9, 12\]; got float64\[3, 12\]"):
        ready(w, inputs()[:3])
    with pytest.raises(ValueError, match="`arguments` must have the structure that it was prepared for"):
        ready(w)


def test_what_cannot_be_seen_is_said_and_the_rest_is_reported():
    def loss(x, w):
        y = jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), jax.lax.stop_gradient(x))
        jax.debug.print("{}", x[0, 0])
        return jnp.sum(jnp.tanh(x @ w)) + jnp.sum(y)

    report = jaxsat.probe(loss, inputs(), weights(1, 1.0)[0])
    assert [site.kind for site in report.sites] == ["tanh"]
    assert any("pure_callback at test_prober.py" in note and "not understood" in note for note in report.notes)
    assert any("not pure" in note and "side effects" in note for note in report.notes)
    none = jaxsat.probe(lambda n: n + 1, jnp.arange(3))
    assert any("no floating-point array" in note for note in none.notes)
    assert not none.sites
    assert any("no nonlinear site" in note for note in jaxsat.probe(lambda x: jnp.sum(2 * x), inputs()).notes)


def test_errors_while_tracing_say_what_a_probe_needs():
    def broken(x):
        raise TypeError("nonsense")

    with pytest.raises(TypeError, match="nonsense") as caught:
        jaxsat.probe(broken, inputs())
    assert any("pure JAX function" in note for note in caught.value.__notes__)
    with pytest.raises(TypeError, match="`loss` must take fn's output to one floating scalar"):
        jaxsat.probe(lambda x: jnp.tanh(x), inputs(), loss=lambda y: y)


def test_sites_come_in_program_order_with_distinct_paths():
    def fn(w, x):
        for _ in range(3):
            x = jnp.tanh(x @ w)
        return jax.nn.relu(x @ w)

    closed = jax.make_jaxpr(fn)(weights(1, 1.0)[0], inputs())
    found = survey_of(closed, [weights(1, 1.0)[0], inputs()]).sites
    assert [place.kind for place in found] == ["tanh", "tanh", "tanh", "relu"]
    assert len({place.path for place in found}) == 4
    assert all("test_prober.py" in place.where for place in found[:3])


def test_a_report_as_table_dataset_scalars_and_figure():
    ws = weights(3, 6.0)
    loss = lambda ws, x: jnp.sum(jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, ws)[0])  # noqa: E731
    report = jaxsat.probe(loss, jnp.stack(ws), inputs())
    text = str(report)
    assert "scan/tanh x 3" in text
    assert "[saturated]" in text
    assert "x the critical scale 1" in text
    assert report.table("markdown").count("\n") == 2
    frame = report.table("dataframe")
    assert frame["saturated_fraction"].tolist() == [site.saturated_fraction for site in report.sites]
    ds = report.dataset()
    assert ds.sizes == {"site": 3}
    assert ds.log_gradient_norm.values.tolist() == [site.log_gradient_norm for site in report.sites]
    assert report.scalars()["scan/tanh[1]/saturated_fraction"] == report.sites[1].saturated_fraction
    upper, lower = report.plot().axes
    assert [bar.get_height() for bar in upper.patches[:3]] == [site.saturated_fraction for site in report.sites]
    assert lower.lines[0].get_ydata().tolist() == [site.log_gradient_norm for site in report.sites]
    with pytest.raises(ValueError, match="`format` must be 'text', 'markdown' or 'dataframe'; got 'html'"):
        report.table("html")
