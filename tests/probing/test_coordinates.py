"""Exponents in the width beside those that theory gives for the two parametrisations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsat
from jaxsat.probing.coordinates import exponent_of

WIDTHS = (32, 64, 128, 256)
INPUTS, BATCH = 8, 16


@pytest.fixture(autouse=True)
def _as_optax_needs_it():
    """optax.adam raises a float to its integer count of steps."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def scaled_by(rates):
    """An optimiser's updates times a rate for each parameter."""
    return optax.stateless(lambda updates, _: {name: rates[name] * update for name, update in updates.items()})


def mlp(width, maximal, optimizer=optax.adam, rate=1e-3, departing=""):
    """Four layers, tanh. Maximal-update with Adam (Yang et al. 2022, table 8): read-out 1/n, rates 1/n but for the input."""
    draws = np.random.default_rng(width)
    params = {
        "first": draws.normal(size=(INPUTS, width)) / INPUTS**0.5,
        "second": draws.normal(size=(width, width)) / width**0.5,
        "third": draws.normal(size=(width, width)) / width**0.5,
        "out": draws.normal(size=(width, 3)) / (width if maximal else width**0.5),
    }
    data = np.random.default_rng(0)
    x, y = data.normal(size=(BATCH, INPUTS)), data.normal(size=(BATCH, 3))

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        for name in ("second", "third"):
            h = jnp.tanh(h @ params[name])
        return jnp.mean((h @ params["out"] - y) ** 2)

    rates = {name: 32 / width if maximal and name not in ("first", departing) else 1.0 for name in params}
    return loss, params, [(x, y)], optax.chain(optimizer(rate), scaled_by(rates))


# Exponents of (W - W_0) x. Adam moves every entry of W by about the rate, aligned with x: the sum over n inputs is n.
# SGD in the standard parametrisation: dE/dh_hidden ~ n^-1/2 an entry, x.x ~ n.
EXPECTED = {
    "adam": {"first": 0.0, "second": 1.0, "third": 1.0, "out": 1.0},
    "sgd": {"first": -0.5, "second": 0.5, "third": 0.5, "out": 1.0},
}
ROLES = ["input", "hidden", "hidden", "output"]


@pytest.mark.parametrize("name", ["adam", pytest.param("sgd", marks=pytest.mark.slow)])
def test_in_the_standard_parametrisation_updates_grow_as_theory_says(name):
    check = jaxsat.coordinate_check(lambda width: mlp(width, False, getattr(optax, name)), WIDTHS, steps=2)
    assert check.verdict == "standard"
    assert [layer.role for layer in check.layers] == ROLES
    for layer in check.layers:
        # Corrections are of order n^-1/2 of the smallest width: 0.18
        assert layer.update.value == pytest.approx(EXPECTED[name][layer.name], abs=0.2), layer.name
        assert layer.initial_size.value == pytest.approx(0, abs=0.2), layer.name
    if name == "adam":
        assert [layer.name for layer in check.departs] == ["second", "third", "out"]
        assert "Multiply its learning rate by width^-1." in str(check)
        figure = check.plot()
        assert [line.get_label() for line in figure.axes[2].lines] == [layer.name for layer in check.layers]


def test_in_the_maximal_update_parametrisation_they_keep_their_size():
    check = jaxsat.coordinate_check(lambda width: mlp(width, True), WIDTHS, steps=2)
    assert check.verdict == "maximal-update", str(check)
    assert check.departs == ()
    # Logits: 1/n n^1/2 at first
    assert [round(2 * layer.initial_size.value) / 2 for layer in check.layers] == [0, 0, 0, -0.5]
    assert "Maximal-update parametrisation" in str(check)


@pytest.mark.slow
def test_a_layer_with_the_rate_of_the_standard_parametrisation_is_named_alone():
    check = jaxsat.coordinate_check(lambda width: mlp(width, True, departing="second"), WIDTHS, steps=2)
    assert check.verdict == "mixed"
    assert [layer.name for layer in check.departs] == ["second"]  # and not the third, which it moves too
    assert check.departs[0].update.value == pytest.approx(1, abs=0.2)


def test_sizes_changes_and_updates_are_those_of_training_by_hand():
    loss, params, batches, optimizer = mlp(32, True)
    check = jaxsat.coordinate_check(lambda width: mlp(width, True), (32, 64, 128), steps=2)
    now, state = params, optimizer.init(params)

    @jax.jit
    def step(now, state):
        updates, state = optimizer.update(jax.grad(loss)(now, *batches[0]), state, now)
        return optax.apply_updates(now, updates), state

    for _ in range(2):
        now, state = step(now, state)
    params, now = (
        {name: np.asarray(tree[name]) for name in params} for tree in (params, now)
    )  # in the order of layers
    x = np.asarray(batches[0][0])
    hidden = [x, x]
    for name, layer in zip(params, check.layers, strict=True):
        before, after = hidden[0] @ params[name], hidden[1] @ now[name]
        own = hidden[1] @ (now[name] - params[name])
        for got, want in (
            (layer.sizes[0, 2], after),
            (layer.changes[0, 1], after - before),
            (layer.updates[0, 1], own),
        ):
            assert got == pytest.approx(np.sqrt(np.mean(want**2)), rel=1e-9), name  # float64
        hidden = [np.tanh(before), np.tanh(after)]
    assert check.losses[0, 0] == pytest.approx(float(loss(params, *batches[0])), rel=1e-12)


def test_layers_of_a_scan_and_tables_are_layers():
    def make(width):
        draws = np.random.default_rng(width)
        params = {
            "table": draws.normal(size=(5, width)),
            "layers": draws.normal(size=(2, width, width)) / width**0.5,
            "out": draws.normal(size=(width, 1)) / width,
        }

        def loss(params, batch):
            h = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), params["table"][batch], params["layers"])[0]
            return jnp.mean((h @ params["out"] - 1) ** 2)

        return loss, params, [np.array([0, 3, 1])], optax.sgd(0.1)

    check = jaxsat.coordinate_check(make, (8, 16, 32), steps=1)
    assert [(layer.name, layer.role) for layer in check.layers] == [
        ("table", "input"),
        ("layers[0]", "hidden"),
        ("layers[1]", "hidden"),
        ("out", "output"),
    ]


def test_an_interval_covers_the_exponent_of_noisy_sizes():
    draws = np.random.default_rng(0)
    widths, inside = [64, 128, 256, 512, 1024], 0
    for _ in range(400):
        sizes = np.array(widths) ** 0.5 * np.exp(0.1 * draws.normal(size=5))
        inside += exponent_of(widths, sizes[:, None]).low < 0.5 < exponent_of(widths, sizes[:, None]).high
    assert abs(inside / 400 - 0.95) < 4 * (0.95 * 0.05 / 400) ** 0.5  # four standard errors of a share
    assert np.isnan(exponent_of(widths, np.zeros((5, 1))).value)


def test_wrong_arguments_are_refused_in_one_line():
    for widths in ((8, 16), (8, 8, 16)):
        with pytest.raises(ValueError, match="coordinate_check: `widths` must hold at least three different widths"):
            jaxsat.coordinate_check(lambda width: mlp(width, True), widths)
    with pytest.raises(TypeError, match=r"`make` must return \(loss_fn, params, batches, optimizer\); got int"):
        jaxsat.coordinate_check(lambda width: width, (8, 16, 32))
    loss, params, batches, optimizer = mlp(8, True)
    with pytest.raises(ValueError, match="`batches` must hold at least one batch"):
        jaxsat.coordinate_check(lambda width: (loss, params, [], optimizer), (8, 16, 32))
    with pytest.raises(TypeError, match="`loss_fn` must return one floating scalar"):
        jaxsat.coordinate_check(lambda width: (lambda p, x, y: x, params, batches, optimizer), (8, 16, 32))

    def other(width):
        loss, params, batches, _ = mlp(8, True)
        both = {"v": params, "w": params} if width == 16 else {"v": params}
        return lambda p, x, y: sum(loss(one, x, y) for one in p.values()), both, batches, optax.sgd(0.1)

    with pytest.raises(ValueError, match="`make` must make networks with the same layers at all widths"):
        jaxsat.coordinate_check(other, (8, 16, 32), steps=1)


def test_outputs_in_heads_that_grow_in_number_are_hidden_units():
    """A weight (inputs, heads, units of a head): its outputs lie along two axes, and the number of heads is the width's."""

    def make(width):
        draws = np.random.default_rng(width)
        params = {"heads": draws.normal(size=(width, width // 4, 4)), "out": draws.normal(size=(width // 4, 4, 3))}

        def loss(params, x):
            h = jnp.einsum("bi,ihk->bhk", x, params["heads"]) / width**0.5
            return jnp.mean(jnp.einsum("bhk,hko->bo", jnp.tanh(h), params["out"]) ** 2) / width

        return loss, params, [draws.normal(size=(BATCH, width))], optax.sgd(0.1)

    check = jaxsat.coordinate_check(make, [8, 16, 32], steps=1)
    assert [(layer.name, layer.role) for layer in check.layers] == [("heads", "hidden"), ("out", "output")]
