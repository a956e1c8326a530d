"""Sites of losses, optimisers and solvers beside those of the network. Nothing is compiled: programs are only read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.probing.flow_graph import graph_of
from jaxsat.probing.gradient_paths import with_streams
from jaxsat.probing.survey import survey_of

W, X, Y = np.eye(4) / 2, np.ones((6, 4)), np.zeros(6)


def surveyed(fn, *args):
    return survey_of(jax.make_jaxpr(fn)(*args), jax.tree.leaves(args))


def parts(fn, *args):
    return [(site.kind, site.part) for site in surveyed(fn, *args).sites]


def huber(w, x, y):
    error = jnp.sum(jnp.tanh(x @ w) @ w, axis=1) - y
    small = jnp.minimum(jnp.abs(error), 1.0)
    return jnp.mean(0.5 * small**2 + jnp.abs(error) - small)


def clipped_ratio(w, x, y):
    """The objective of Schulman et al. (2017)."""
    ratio = jnp.exp(jnp.sum(jnp.tanh(x @ w) @ w, axis=1) - y)
    return -jnp.mean(jnp.minimum(ratio * y, jnp.clip(ratio, 0.8, 1.2) * y))


def classes(w, x, y):
    log_p = jax.nn.log_softmax(jax.nn.relu(x @ w) @ w)
    return -jnp.mean(jnp.sum(log_p * y[:, None], axis=1))


def attention(w, x, y):
    p = jax.nn.softmax((x @ w) @ (x @ w).T)
    return jnp.mean(jnp.square(jnp.sum(p @ x @ w, axis=1) - y))


def test_what_follows_the_last_linear_map_is_the_loss_and_what_lies_between_is_the_network():
    assert {part for kind, part in parts(huber, W, X, Y) if kind != "tanh"} == {"loss"}
    assert [part for kind, part in parts(clipped_ratio, W, X, Y) if kind != "tanh"] == ["loss"] * (
        len(parts(clipped_ratio, W, X, Y)) - 1
    )
    assert parts(classes, W, X, Y) == [("relu", "network"), ("softmax", "loss")]
    assert parts(attention, W, X, Y) == [("softmax", "network")]
    assert parts(lambda w, x: jnp.sum(jnp.tanh(x @ w)), W, X) == [("tanh", "network")]  # a last layer is no loss
    assert parts(lambda x: jnp.sum(jax.nn.relu(x)), X) == [("relu", "network")]  # without weights, all is network


def test_what_is_made_from_gradients_is_the_optimisers_and_the_next_pass_is_the_networks():
    def after_a_step(w, x):
        loss = lambda w: jnp.mean(jnp.square(jnp.tanh(x @ w) @ w))  # noqa: E731
        gradient = jnp.clip(jax.grad(loss)(w), -0.1, 0.1)
        return loss(w - gradient)

    found = parts(after_a_step, W, X)
    assert [part for kind, part in found if kind == "tanh"] == ["network", "network"]
    assert [part for kind, part in found if kind != "tanh"] == ["optimizer"]


def test_masks_and_the_numbers_that_steer_a_solver_are_no_sites():
    def steps(w, x, mask):
        def step(carry, _):
            x, dt = carry
            change = jnp.where(x > 0, jnp.tanh(x @ w) @ w, 0) * jnp.asarray(jnp.maximum(mask, 0), float)[:, None]
            error = jnp.sqrt(jnp.mean(jnp.square(change), axis=1))
            return (x + dt * change, jnp.clip(dt * jnp.exp(-jnp.max(error)), 0.1, 2.0)), None

        return jnp.mean(jax.lax.scan(step, (x, 0.5), None, length=3)[0][0])

    assert parts(steps, W, X, np.ones(6, int)) == [("tanh", "network")]


def test_a_table_says_the_part_and_a_saturated_clip_of_the_loss_is_no_finding():
    report = jaxsat.probe(clipped_ratio, W, X, np.full(6, -5.0))  # every ratio is above 100: the clip is flat
    assert report.findings == ()
    assert "(loss)" in str(report.table())
    assert {site.part for site in report.sites} == {"network", "loss"}


@pytest.mark.parametrize(
    ("fn", "streams"),
    [
        (lambda w, x: jnp.sum(x + jnp.tanh(x @ w)), 1),
        (lambda w, x: jnp.sum(3 * x.T + jnp.tanh(jnp.reshape(x, (2, 3, 4)) @ w).reshape(6, 4).T), 1),
        (lambda w, x: jnp.sum(jnp.tanh(x @ w) @ w + jnp.sin(x @ w) @ w), 0),  # two branches of one value
        (lambda w, x: jnp.sum(x + jax.lax.stop_gradient(jnp.round(x @ w) - x)), 0),
        (lambda w, x: jnp.sum(jax.jvp(lambda x: jnp.tanh(jnp.tanh(x @ w) @ w), (x,), (x,))[1]), 0),
    ],
)  # fmt: skip
def test_a_stream_is_a_sum_with_what_the_other_summand_is_made_from(fn, streams):
    x = np.linspace(-1, 1, 24).reshape(6, 4)
    closed = jax.make_jaxpr(lambda w, x: fn(w, jnp.tanh(x)))(W, x)  # data, not an argument
    found = survey_of(closed, [W, x])
    points = {one.address for one in found.places} | {a for one in found.places for s in one.summands for a in s}
    graph = graph_of(closed.jaxpr, points | found.maps, 0)
    kinds = [place.kind for place in with_streams(found.places, graph, found.maps)]
    assert kinds.count("stream") == streams
