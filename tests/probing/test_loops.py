"""The probe's numbers in loops and branches: one record for an iteration, and only of what ran."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from tests.probing.instrumented import WIDTH, by_hand, inputs, weights
from tests.quick_cases import quick_first


@pytest.mark.parametrize("form", quick_first(["scan of remat", "scan", "remat", "jit", "reversed scan"]))
def test_one_record_an_iteration_with_the_numbers_of_the_unrolled_network(form):
    ws = jnp.stack(weights(4, 1.5))

    def layer(h, w):
        return jnp.tanh(h @ w), None

    def loss(ws, x):
        if form in ("jit", "remat"):
            one = jax.jit(layer) if form == "jit" else jax.checkpoint(layer)
            for w in ws:
                x, _ = one(x, w)
        elif form == "reversed scan":
            x, _ = jax.lax.scan(layer, x, ws[::-1], reverse=True)
        else:
            x, _ = jax.lax.scan(jax.checkpoint(layer) if "remat" in form else layer, x, ws)
        return jnp.sum(x**2) / 7

    report = jaxsat.probe(loss, ws, inputs())
    kept, gradients = by_hand(jnp.tanh, list(ws), [jnp.zeros(WIDTH)] * 4, inputs())
    assert len(report.sites) == 4
    if "scan" in form:
        order = [3, 2, 1, 0] if "reversed" in form else [0, 1, 2, 3]
        assert [site.iteration for site in report.sites] == [(i,) for i in order]
    for site, h, g, w in zip(report.sites, kept, gradients, ws, strict=True):
        assert site.pre_activation_rms == pytest.approx(np.sqrt((h**2).mean()), rel=1e-12)
        assert site.log_gradient_norm == pytest.approx(np.log(np.linalg.norm(g)), rel=1e-12)
        assert site.weight_scale == pytest.approx(float(jnp.sqrt(jnp.mean(w**2) * WIDTH)), rel=1e-12)


def test_only_the_branch_that_ran_has_numbers():
    def loss(x, w):
        return jnp.sum(jax.lax.cond(x[0, 0] > 0, lambda h: jnp.tanh(h @ w), lambda h: jax.nn.relu(h @ w), x))

    x = inputs()
    for sign, ran, other in ((1, "tanh", "relu"), (-1, "relu", "tanh")):
        at = x.at[0, 0].set(sign)
        sites = {site.kind: site for site in jaxsat.probe(loss, at, weights(1, 1.0)[0]).sites}
        assert sites[ran].pre_activation_rms == pytest.approx(float(jnp.sqrt(jnp.mean((at @ weights(1, 1.0)[0]) ** 2))))
        assert np.isfinite(sites[ran].log_gradient_norm)
        assert np.isnan([sites[other].pre_activation_rms, sites[other].log_gradient_norm]).all()


def test_a_while_loop_shows_its_last_iteration():
    def fn(w, x):
        return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.tanh(c[1] @ w)), (0, x))[1]

    (w,) = weights(1, 1.3)
    report = jaxsat.probe(fn, w, inputs())
    (site,) = report.sites
    h = inputs() @ w
    for _ in range(2):
        h = jnp.tanh(h) @ w
    assert site.pre_activation_rms == pytest.approx(float(jnp.sqrt(jnp.mean(h**2))), rel=1e-12)
    assert any("while loop" in note for note in report.notes)


def test_a_gradient_that_would_go_through_a_while_loop_is_left_out_and_the_rest_reported():
    def loss(w, x):
        h = jax.nn.relu(x @ w)
        return jnp.sum(jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.tanh(c[1] @ w)), (0, h))[1])

    report = jaxsat.probe(loss, weights(1, 1.3)[0], inputs())
    assert [site.kind for site in report.sites] == ["relu", "tanh"]
    assert np.isnan(report.sites[0].log_gradient_norm)
    assert any("would go through a while loop: use scan" in note for note in report.notes)


def test_nested_loops_come_in_the_order_of_execution():
    def inner(h, w):
        return jnp.tanh(h @ w), None

    def outer(h, ws):
        h, _ = jax.lax.scan(inner, h, ws)
        return jax.nn.relu(h), None

    ws = jnp.stack(weights(6, 1.2)).reshape(3, 2, WIDTH, WIDTH)
    report = jaxsat.probe(lambda ws, x: jnp.sum(jax.lax.scan(outer, x, ws)[0]), ws, inputs())
    expected = [row for i in range(3) for row in (("tanh", (i, 0)), ("tanh", (i, 1)), ("relu", (i,)))]
    assert [(site.kind, site.iteration) for site in report.sites] == expected
    h = inputs()
    for i in range(3):
        for j in range(2):
            pre = h @ ws[i, j]
            h = jnp.tanh(pre)
            assert report.sites[3 * i + j].pre_activation_rms == pytest.approx(
                float(jnp.sqrt(jnp.mean(pre**2))), rel=1e-12
            )
        h = jax.nn.relu(h)
