"""Gradients are compared along paths: chains by brute force, and small models whose middle, branch or stream is at fault."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.probing import gradient_rules, host_theory
from jaxsat.probing.flow_graph import FlowGraph, Node, among, chains_of
from tests.quick_cases import quick_first

DRAWS = np.random.default_rng(0)
N = 24
WS = DRAWS.normal(size=(40, N, N)) / N**0.5
X = DRAWS.normal(size=(16, N))


def normalised(x):
    return (x - jnp.mean(x, axis=1, keepdims=True)) / jnp.sqrt(jnp.var(x, axis=1, keepdims=True) + 1e-5)


# --- the graph --------------------------------------------------------------------------------------------------------


def random_graph(seed, count=9):
    draws = np.random.default_rng(seed)
    nodes = [Node((i,), ()) for i in range(count)]
    before = {
        node: frozenset(one for one in nodes[:i] if draws.random() < (1.6 / i if i else 0))
        for i, node in enumerate(nodes)
    }
    return FlowGraph(before, frozenset(nodes[-2:]))


def ways(graph):
    """All ways from a node without one before it to a last one."""
    after = {node: [n for n, sources in graph.before.items() if node in sources] for node in graph.before}

    def on(way):
        if way[-1] in graph.last:
            yield way
        for node in after[way[-1]]:
            yield from on([*way, node])

    for node, sources in graph.before.items():
        if not sources:
            yield from on([node])


@pytest.mark.parametrize("seed", range(12))
def test_two_nodes_are_on_one_chain_if_no_way_passes_only_one_of_them(seed):
    graph = random_graph(seed)
    small = among(graph, frozenset(graph.before))
    every = [set(way) for way in ways(small)]
    seen = {node for way in every for node in way}
    assert seen == set(small.before)  # what leads nowhere is left out
    chain_of = {node: i for i, chain in enumerate(chains_of(small)) for node in chain}
    for one, other in itertools.combinations(sorted(seen), 2):
        together = all((one in way) == (other in way) for way in every)
        assert (chain_of[one] == chain_of[other]) == together
    # With nodes left out, the others are on the same chains as before.
    some = frozenset(node for node in seen if node.address[0] % 3)
    left = among(graph, some)
    kept = {node: i for i, chain in enumerate(chains_of(left)) for node in chain}
    for one, other in itertools.combinations(sorted(set(kept)), 2):
        if chain_of[one] == chain_of[other]:
            assert kept[one] == kept[other]


# --- models -----------------------------------------------------------------------------------------------------------


def codes(report):
    return [finding.code for finding in report.findings]


@pytest.mark.parametrize(("layers", "scale", "expected"), [(20, 1.0, ["vanishing"]), (8, 1.0, []), (20, 2**0.5, [])])
def test_a_slow_fall_is_a_finding_where_small_weights_explain_it(layers, scale, expected):
    """Relu layers with weights of scale 1, as many libraries draw them, lose a factor sqrt 2 each: hundreds in 20 layers."""

    def loss(ws, x):
        for w in ws:
            x = jax.nn.relu(x @ w)
        return jnp.sum(x**2)

    report = jaxsat.probe(loss, list(scale * WS[:layers]), X)
    assert [code for code in codes(report) if code in ("vanishing", "exploding")] == expected
    for finding in report.findings:
        if finding.code == "vanishing":
            assert finding.cause == "weights below the critical scale"
            assert "critical_initializer" in finding.advice


def u_net(ws, x, inner):
    """Two levels and their skips; `inner` layers of sigmoids at the bottom."""
    a = jnp.tanh(x @ ws[0])
    b = jnp.tanh(a @ ws[1])
    c = b
    for w in ws[4 : 4 + inner]:
        c = jax.nn.sigmoid(c @ w)
    d = jnp.tanh(jnp.concatenate([c @ ws[2], b], axis=1) @ jnp.concatenate([ws[3], ws[3]], axis=0))
    return jnp.sum(jnp.concatenate([d, a], axis=1) ** 2)


def test_what_vanishes_in_the_middle_is_seen_though_both_ends_are_alive():
    report = jaxsat.probe(lambda ws, x: u_net(ws, x, 8), list(WS[:12]), X)
    (finding,) = report.findings
    assert finding.code == "vanishing"
    sigmoids = [site for site in report.sites if site.kind == "sigmoid"]
    (last,) = (
        point.log_gradient_norm for point in report.flow if point.weight == "args[0][2]"
    )  # the way out of the middle
    assert finding.sites == tuple(s for s in sigmoids if s.log_gradient_norm < last - gradient_rules.GROWTH) != ()
    ends = [site.log_gradient_norm for site in report.sites if site.kind == "tanh"]
    assert max(ends) - min(ends) < 2  # no comparison of the ends shows it
    assert f"exp({sigmoids[0].log_gradient_norm:.1f}) at {sigmoids[0].path}" in finding.message
    assert codes(jaxsat.probe(lambda ws, x: u_net(ws, x, 1), list(WS[:12]), X)) == []


def residual(ws, scale, x):
    for w in ws:
        x = x + scale * jax.nn.relu(normalised(x) @ w)
    return jnp.mean(x**2)


@pytest.mark.slow
def test_small_branches_are_not_vanishing_beside_their_stream():
    for scale in (1.0, 1e-5):
        assert codes(jaxsat.probe(residual, list(WS[:3]), np.asarray(scale), X)) == []


def test_branches_that_start_at_0_are_a_note():
    report = jaxsat.probe(residual, list(WS[:3]), np.zeros(()), X)
    assert codes(report) == []
    assert any("args[1] are all zeros" in note for note in report.notes)


def test_a_stream_that_explodes_is_seen_between_the_activations():
    def loss(ws, scale, x):
        return jnp.mean(jax.lax.scan(lambda x, w: (x + scale * jax.nn.relu(x @ w), None), x, ws)[0] ** 2)

    deep = jaxsat.probe(loss, 1.4 * WS[:24], np.ones(()), X)
    (finding,) = (one for one in deep.findings if one.code == "exploding")
    assert "1 / sqrt(their number)" in finding.advice
    assert "critical" not in finding.message + finding.advice  # critical scales belong to plain networks
    sums = [point.log_gradient_norm for point in deep.flow if point.kind == "stream"]
    assert sums[0] - sums[-1] > math.log(1000)
    # The advice, followed: each branch divided by sqrt(24)
    assert codes(jaxsat.probe(loss, 1.4 * WS[:24], np.asarray(24**-0.5), X)) == []


def test_two_towers_are_not_compared_with_each_other():
    def loss(ws, x):
        actor = jnp.tanh(jnp.tanh(x @ ws[0]) @ ws[1])
        critic = jnp.tanh(jnp.tanh(x @ ws[2]) @ ws[3])
        return 1e-6 * jnp.mean(actor) + jnp.mean(critic**2)

    report = jaxsat.probe(loss, list(WS[:4]), X)
    norms = [site.log_gradient_norm for site in report.sites]
    assert max(norms) - min(norms) > gradient_rules.GROWTH
    assert codes(report) == []


@pytest.mark.parametrize("unrolled", quick_first([False, True]))
def test_a_recurrent_cell_is_followed_over_its_steps(unrolled):
    """No value of a gated cell is passed by every way; its steps are compared all the same."""

    def cell(h, x, ws):
        z = jax.nn.sigmoid(h @ ws[0] + x @ ws[1] - 1.0)
        return z * h + (1 - z) * jnp.tanh(h @ ws[2] + x @ ws[3])

    def loss(ws, xs):
        h = jnp.zeros_like(xs[0])
        if unrolled:
            for x in xs:
                h = cell(h, x, ws)
        else:
            h = jax.lax.scan(lambda h, x: (cell(h, x, ws), None), h, xs)[0]
        return jnp.sum(h**2)

    xs = DRAWS.normal(size=(9, 4, N))
    report = jaxsat.probe(loss, list(0.2 * WS[:4]), xs)
    assert codes(report) == ["vanishing"]  # about a quarter a step
    gone = [site.iteration for site in report.findings[0].sites]
    assert unrolled or (0,) in gone
    assert len(gone) > 0
    if not unrolled:
        assert codes(jaxsat.probe(loss, list(0.2 * WS[:4]), xs[:3])) == []


# --- advice that was tried --------------------------------------------------------------------------------------------


def rates(report):
    """Geometric mean of the change of the gradient per layer on the way back."""
    norms = [site.log_gradient_norm for site in report.sites if site.role == "activation"]
    return math.exp((norms[0] - norms[-1]) / (len(norms) - 1))


def test_the_next_report_shows_what_the_advice_says():
    def network(form):
        def layer(x, w):
            h = x @ w
            return (
                x + jax.nn.sigmoid(h) if form == "skip" else jax.nn.sigmoid(normalised(h) if form == "norm" else h)
            ), None

        return jaxsat.probe(lambda ws, x: jnp.sum(jax.lax.scan(layer, x, ws)[0][:, 0]), WS[:16], X)

    (finding,) = network("plain").findings
    assert finding.code == "vanishing"
    phi = jaxsat.activations.get("sigmoid")
    norm, skip = host_theory.growth_with_layer_norm(phi, 1.0, 0.0), host_theory.growth_with_skip(phi, 1.0, 1.0)
    assert f"Layer normalisation would not help: {norm:.2g}x a layer" in finding.advice
    assert "With skip connections, x + sigmoid(h), theory gives 1.0" in finding.advice
    # Fluctuations of a layer's factor are of order 1 / sqrt(24), of the mean of 15 of them of order 0.05.
    assert rates(network("norm")) == pytest.approx(norm, rel=0.15)
    assert rates(network("skip")) == pytest.approx(skip, rel=0.15)
    assert "vanishing" in codes(network("norm"))
    assert "ormalisation" not in network("norm").findings[0].advice  # there is one already
    assert "vanishing" not in codes(network("skip"))


@pytest.mark.parametrize(
    ("name", "bias"), [("tanh", 0.3), *[pytest.param(n, 0.5, marks=pytest.mark.slow) for n in ("sigmoid", "relu", "gelu")]]
)  # fmt: skip
def test_the_quick_edge_of_chaos_is_that_of_theory(name, bias):
    phi = jaxsat.activations.get(name)
    try:
        known = float(jaxsat.theory.critical_weight_scale(name, bias))
    except ValueError:
        known = math.nan
    assert host_theory.quick_edge(phi, bias) == pytest.approx(known, rel=1e-3, nan_ok=True)  # three digits are shown


def test_quick_factors_are_those_of_theory():
    for name in ("tanh", "relu"):
        phi = jaxsat.activations.get(name)
        chi = float(jaxsat.theory.layer_norm_chi(name, 1.3, 0.2))
        assert host_theory.growth_with_layer_norm(phi, 1.3, 0.2) == pytest.approx(chi**0.5, rel=1e-6)
    # relu and x: E[phi'^2] = 1/2
    assert host_theory.growth_with_skip(jaxsat.activations.get("relu"), 1.0, 3.0) == pytest.approx(1.5**0.5, rel=1e-6)
    assert host_theory.growth_with_skip(jaxsat.activations.get("tanh"), 0.5, 0.0) == pytest.approx(1.25**0.5, rel=1e-6)


def test_the_way_through_one_of_two_weights_is_not_explained_by_the_other():
    """Recurrent weights of scale 0.02 shrink the gradient; those of the input are critical, and are no part of the way."""

    def last(w, u, xs):
        return jnp.sum(jax.lax.scan(lambda h, x: (jnp.tanh(x @ w + h @ u), None), jnp.zeros((8, 16)), xs)[0])

    rng = np.random.default_rng(0)
    w, u = rng.normal(size=(4, 16)) / 2, 0.02 * np.linalg.qr(rng.normal(size=(16, 16)))[0]
    (finding,) = jaxsat.probe(last, w, u, rng.normal(size=(12, 8, 4))).findings
    assert finding.code == "vanishing"
    assert "critical" not in str(finding)
    assert finding.cause == ""
