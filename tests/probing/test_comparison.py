"""What changed between two reports: numbers side by side, findings that went and came."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat

DRAWS = np.random.default_rng(1)
W, X = DRAWS.normal(size=(3, 6, 6)), DRAWS.normal(size=(9, 6))


def network(phi):
    def loss(ws, x):
        for w in ws:
            x = phi(x @ w)
        return jnp.sum(x)

    return loss


def test_the_same_sites_are_side_by_side_and_the_finding_that_went_is_named():
    before, after = (jaxsat.probe(network(jnp.tanh), list(scale * W), X) for scale in (8.0, 0.4))
    change = before.compare(after)
    assert [(pair.before, pair.after) for pair in change.pairs] == list(zip(before.sites, after.sites, strict=True))
    assert [finding.code for finding in change.gone] == ["saturated"]
    assert (change.new, change.stayed) == ((), ())
    text = str(change)
    first, second = before.sites[0], after.sites[0]
    assert f"saturated {first.saturated_fraction:.1%} -> {second.saturated_fraction:.1%}" in text
    assert f"Loss {before.loss:.3g} -> {after.loss:.3g}." in text
    assert "Gone: saturated." in text
    assert [finding.code for finding in after.compare(before).new] == ["saturated"]
    frame = change.table("dataframe")
    assert frame.log_gradient_norm_after.tolist() == [site.log_gradient_norm for site in after.sites]


def test_another_activation_at_the_same_place_is_the_same_site_and_an_added_one_is_alone():
    before = jaxsat.probe(network(jax.nn.sigmoid), list(W[:2]), X)
    after = jaxsat.probe(network(jnp.tanh), list(W), X)
    pairs = before.compare(after).pairs
    assert [pair.before.kind if pair.before else None for pair in pairs] == ["sigmoid", "sigmoid", None]
    assert [pair.after.kind for pair in pairs] == ["tanh"] * 3
    text = str(before.compare(after))
    assert "(sigmoid -> tanh)" in text
    assert f"Only after: {after.sites[2].path}." in text
    assert f"Only before: {after.sites[2].path}." in str(after.compare(before))


def test_only_reports_are_compared():
    report = jaxsat.probe(network(jnp.tanh), list(W), X)
    with pytest.raises(TypeError, match="compare: `other` must be a Report, as probe returns; got 3"):
        report.compare(3)
    with pytest.raises(ValueError, match="table: `format` must be 'text' or 'dataframe'; got 'html'"):
        report.compare(report).table("html")
