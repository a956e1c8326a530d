"""Which nonlinear sites are found, and what they are called."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxsat
from jaxsat import addresses
from jaxsat.probing.survey import survey_of

KEY = addresses.root(2)
W = np.asarray(jax.random.normal(KEY, (8, 8), jnp.float32))
X = np.asarray(jax.random.normal(KEY, (5, 8), jnp.float32))


@pytest.fixture(autouse=True)
def _as_frameworks_expect():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def found(fn, *args):
    leaves = jax.tree.leaves(args)
    survey = survey_of(jax.make_jaxpr(fn)(*args), leaves)
    assert survey.unread == ()
    return [(place.role, place.kind) for place in survey.sites]


def kinds(fn, *args):
    return [kind for _, kind in found(fn, *args)]


BY_HAND = {
    "relu": [jax.nn.relu, lambda z: jnp.maximum(z, 0), lambda z: jnp.where(z > 0, z, 0.0)],
    "silu": [jax.nn.silu, lambda z: z / (1 + jnp.exp(-z)), lambda z: z * jax.nn.sigmoid(z)],
    "sigmoid": [jax.nn.sigmoid, lambda z: 1 / (1 + jnp.exp(-z)), lambda z: 0.5 * (jnp.tanh(z / 2) + 1)],
    "gelu": [lambda z: jax.nn.gelu(z, approximate=False), lambda z: z * jax.scipy.stats.norm.cdf(z)],
    "gelu_tanh": [jax.nn.gelu],
    "lecun_tanh": [lambda z: 1.7159 * jnp.tanh(2 * z / 3)],
    "leaky_relu(0.2)": [lambda z: jax.nn.leaky_relu(z, 0.2), lambda z: jnp.where(z > 0, z, 0.2 * z)],
    "elu": [jax.nn.elu, lambda z: jnp.where(z > 0, z, jnp.exp(jnp.minimum(z, 0)) - 1)],
    "elu(0.5)": [lambda z: jax.nn.elu(z, 0.5)],
    "softplus": [jax.nn.softplus, lambda z: jnp.log(1 + jnp.exp(z))],
    "hard_tanh": [jax.nn.hard_tanh, lambda z: jnp.clip(z, -1, 1)],
    "softsign": [jax.nn.soft_sign, lambda z: z / (1 + jnp.abs(z))],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_an_activation_is_known_however_it_is_written(name):
    for phi in BY_HAND[name]:
        assert found(lambda x, phi=phi: phi(x @ W) @ W, X) == [("activation", name)]


@pytest.mark.parametrize("name", [n for n in jaxsat.activations.names() if n not in ("identity", "celu")])
def test_every_record_of_the_catalogue_is_known_by_its_name(name):
    phi = jaxsat.activations.get(name)
    assert found(lambda x: phi(x @ W) @ W, X) == [("activation", name)]


def test_what_the_catalogue_does_not_know_has_the_name_of_its_function_or_its_primitives():
    @jax.jit
    def wavelet(z):
        return 2 * jnp.sin(3 * z) * jnp.exp(-z * z)

    assert kinds(lambda x: wavelet(x @ W) @ W, X) == ["wavelet"]
    assert kinds(lambda x: (lambda z: z + jnp.sin(z) ** 2)(x @ W) @ W, X) == ["integer_pow+sin"]
    (site,) = jaxsat.probe(lambda x: jnp.sum(wavelet(x @ W) @ W), X).sites
    h = np.asarray(X, np.float64) @ W
    slope = np.exp(-h * h) * (6 * np.cos(3 * h) - 4 * h * np.sin(3 * h))
    assert site.slope_rms == pytest.approx(np.sqrt((slope**2).mean()), rel=1e-5)
    assert site.saturated_fraction == pytest.approx((np.abs(slope) <= 0.05 * 6).mean())  # 6 at 0


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda x: (jnp.tanh(x @ W) ** 2).sum(), ["tanh"]),
        (lambda x: jnp.tanh(jax.nn.relu(x @ W)) @ W, ["relu", "tanh"]),
        (lambda x: jnp.where(jax.random.bernoulli(KEY, 0.9, x.shape), jax.nn.relu(x @ W) / 0.9, 0) @ W, ["relu"]),
        (lambda x: (x @ W + jax.random.normal(KEY, x.shape)) @ W, []),
        (lambda x: jnp.square(x @ W) @ W, ["integer_pow"]),
        (lambda x: jnp.mean(jnp.square(x @ W)), []),
        (lambda x: jnp.mean(jnp.log(1e-3 + jnp.sum(jnp.square(x @ W), axis=1))), []),
        (lambda x: (lambda z: jnp.where(z > 0, z, z * jnp.linspace(0.1, 0.9, 8)))(x @ W) @ W, ["gt+select_n"]),  # PReLU
        (lambda x: jnp.tanh((x @ W)[:, None] + (x @ W)[None]) @ W, ["tanh"]),  # additive attention
        (lambda x: jax.nn.relu((x @ W).reshape(5, 2, 4)).reshape(5, 8) @ W, ["relu"]),
        (lambda x: jax.vmap(lambda w: jnp.tanh(x @ w))(jnp.stack([W, W])), ["tanh"]),
        (lambda x: jax.nn.relu(x @ W) * jax.random.bernoulli(KEY, 0.9, x.shape), ["relu"]),
        (lambda x: jnp.abs(jnp.fft.fft(jnp.tanh(x @ W))), ["tanh"]),
        (lambda x: jnp.tanh(x[:0] @ W) @ W, []),  # nothing to measure
        (lambda x: x @ W / jnp.maximum(jnp.linalg.norm(x @ W, axis=1, keepdims=True), 1e-6), ["normalization"]),
    ],
)  # fmt: skip
def test_losses_noise_dropout_and_guards_are_no_sites(fn, expected):
    assert [k if k != "square" else "integer_pow" for k in kinds(fn, X)] == expected


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda x: (x @ W) * jax.nn.sigmoid(x @ W.T), [("gate", "sigmoid")]),
        (lambda x: jax.nn.silu(x @ W) * (x @ W.T), [("activation", "silu")]),
        (lambda x: jax.nn.softmax(x @ W) @ W, [("softmax", "softmax")]),
        (lambda x: (lambda e: e / e.sum(1, keepdims=True))(jnp.exp(x @ W - (x @ W).max(1, keepdims=True))) @ W, [("softmax", "softmax")]),
        (lambda x: optax.softmax_cross_entropy_with_integer_labels(x @ W, jnp.arange(5)).mean(), [("softmax", "softmax")]),
        (lambda x: jax.nn.dot_product_attention(x[None, :, None], x[None, :, None], x[None, :, None]), [("softmax", "softmax")]),
        (lambda x: jax.nn.standardize(x @ W) @ W, [("normalization", "normalization")]),
    ],
)  # fmt: skip
def test_gates_softmax_and_normalisation_are_named_as_what_they_are(fn, expected):
    assert found(fn, X) == expected


def test_normalisation_layers_of_flax_are_one_site_each_and_no_clamp_of_a_variance_is():
    model = nn.Sequential(
        [
            nn.Dense(8),
            nn.LayerNorm(),
            nn.BatchNorm(use_running_average=False),
            nn.RMSNorm(),
            nn.relu,
            nn.GroupNorm(2),
            nn.Dense(3),
        ]
    )
    params = jax.eval_shape(model.init, KEY, X)
    roles = found(lambda p, x: model.apply(p, x, mutable=["batch_stats"])[0], params, X)
    assert roles == [("normalization", "normalization")] * 3 + [
        ("activation", "relu"),
        ("normalization", "normalization"),
    ]


def test_recurrent_cells_of_haiku_have_their_gates():
    def run(x):
        cell = hk.LSTM(8)
        return hk.dynamic_unroll(cell, x, cell.initial_state(5))[0]

    model = hk.without_apply_rng(hk.transform(run))
    x = jnp.stack([X, X, X])
    params = jax.jit(model.init)(KEY, x)
    found_ = found(model.apply, params, x)
    assert sorted(found_) == [("activation", "tanh")] * 2 + [("gate", "sigmoid")] * 3
    report = jaxsat.probe(lambda p, x: jnp.sum(model.apply(p, x)), params, x)
    assert len(report.sites) == 15
    assert [site.iteration for site in report.sites] == [(i,) for i in range(3) for _ in range(5)]


@pytest.mark.slow
def test_equinox_and_nnx_modules_are_taken_as_they_are_with_dropout_and_batch_norm():
    mlp = eqx.nn.MLP(8, 3, 16, 2, activation=jnp.tanh, key=KEY)
    report = jaxsat.probe(jax.vmap(mlp), X)
    assert [site.kind for site in report.sites] == ["tanh", "tanh"]
    by_argument = jaxsat.probe(lambda m, x: jnp.sum(jax.vmap(m)(x)), mlp, X)
    assert by_argument.sites[1].weight == "args[0].layers[1].weight"

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(8, 16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)
            self.norm, self.drop = nnx.BatchNorm(16, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.b(self.drop(nnx.silu(self.norm(self.a(x)))))

    net = Net(nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.state(net.norm))
    report = jaxsat.probe(lambda m, x: jnp.mean(m(x)), net, X)
    assert [site.kind for site in report.sites] == ["normalization", "silu"]
    assert "a" in report.sites[0].weight
    assert "kernel" in report.sites[0].weight
    assert jax.tree.all(jax.tree.map(np.array_equal, before, jax.tree.map(np.asarray, nnx.state(net.norm))))


def test_a_site_says_where_it_is():
    class Named(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.tanh(nn.Dense(8)(x))

    params = Named().init(KEY, X)
    (site,) = jaxsat.probe(Named().apply, params, X).sites
    assert site.path == "Named/tanh"
    assert site.where.startswith("test_survey.py:")
    assert site.weight == "args[0]['params']['Dense_0']['kernel']"


def kinds_and_roles(fn, *args):
    return [(site.kind, site.role) for site in jaxsat.probe(fn, *args).sites]


def test_normalisations_are_found_after_pooling_and_with_eps_as_an_array():
    draws = np.random.default_rng(0)
    w, images, eps = draws.normal(size=(6, 6)), draws.normal(size=(5, 4, 6)), np.asarray(1e-5)

    def normalised(x, eps):
        mean = jnp.mean(x, axis=-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(jnp.mean((x - mean) ** 2, axis=-1, keepdims=True) + eps)

    def pooled(w, x, eps):
        return jnp.sum(jnp.tanh(normalised(jnp.mean(x, axis=1), eps) @ w))

    wanted = [("normalization", "normalization"), ("tanh", "activation")]
    assert kinds_and_roles(pooled, w, images, eps) == wanted
    assert kinds_and_roles(lambda w, x: pooled(w, x, 1e-5), w, images) == wanted
    assert kinds_and_roles(lambda w, x: jnp.sum(jnp.tanh(normalised(x, eps) @ w)), w, images) == wanted


def test_gates_that_are_broadcast_or_split_are_gates():
    draws = np.random.default_rng(0)
    w, x = draws.normal(size=(6, 6)), draws.normal(size=(5, 4, 6))

    def squeezed(w, x):
        return jnp.sum((x @ w) * jax.nn.sigmoid(jnp.mean(x, axis=1) @ w)[:, None, :])

    def split(w, x):
        one, two = jnp.split(jax.nn.sigmoid(x @ w), 2, axis=-1)
        h = x @ w
        return jnp.sum(one * h[..., :3]) + jnp.sum(two * h[..., 3:])

    for fn in (squeezed, split):
        assert kinds_and_roles(fn, w, x) == [("sigmoid", "gate")]


def test_the_modulus_and_the_identity_are_no_leaky_relu():
    draws = np.random.default_rng(0)
    w, x = draws.normal(size=(6, 6)), draws.normal(size=(5, 6))
    assert kinds_and_roles(lambda w, x: jnp.sum(jnp.abs(x @ w) @ w), w, x) == [("abs", "activation")]
    same = lambda h: jnp.maximum(h, 0.0) + jnp.minimum(h, 0.0)  # noqa: E731
    assert kinds_and_roles(lambda w, x: jnp.sum(same(x @ w) @ w), w, x) == []
    leaky = lambda h: jnp.where(h > 0, h, 0.3 * h)  # noqa: E731
    assert kinds_and_roles(lambda w, x: jnp.sum(leaky(x @ w)), w, x) == [("leaky_relu(0.3)", "activation")]


def test_a_site_outside_of_modules_has_the_name_of_its_weights_module():
    draws = np.random.default_rng(0)
    params = {"layers": [{"dense": {"kernel": draws.normal(size=(6, 6))}}]}
    report = jaxsat.probe(
        lambda p, x: jnp.sum(jnp.tanh(x @ p["layers"][0]["dense"]["kernel"])), params, np.ones((5, 6))
    )
    assert report.sites[0].path == "layers/0/dense/tanh"


def test_of_several_weights_all_are_named_and_the_largest_scale_counts():
    """A site with one weight, with two, with none; the second of the two sums holds a NaN."""

    def sums(a, b, c, x):
        return (
            jnp.sum(jnp.tanh(x @ a))
            + jnp.sum(jnp.tanh(x @ a + x @ b))
            + jnp.sum(jnp.tanh(x @ b + x @ c))
            + jnp.sum(jnp.sin(x))
        )

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(8, 5)), 3 * rng.normal(size=(8, 5))
    none, one, two, broken = jaxsat.probe(sums, a, b, np.full((8, 5), np.nan), np.asarray(X, float)).sites
    assert [site.weight for site in (one, two, none)] == ["args[0]", "args[0] and args[1]", ""]
    scale_of = lambda w: np.sqrt(8 * np.mean(w**2))  # noqa: E731
    assert one.weight_scale == pytest.approx(scale_of(a), rel=1e-12)
    assert two.weight_scale == pytest.approx(scale_of(b), rel=1e-12)
    assert np.isnan(broken.weight_scale)
    assert np.isnan(none.weight_scale)
    assert (one.maps, two.maps, none.maps) == (1, 2, 0)


def test_what_takes_a_residual_stream_has_no_weights_of_its_own():
    """Five branches are summed before the last activation, and before the normalisation, which takes the sums of two."""

    def stream(ws, x):
        for i, w in enumerate(ws):
            x = x + jnp.tanh(x) @ w
            if i == 1:
                y = x * jax.lax.rsqrt(jnp.mean(x * x, axis=1, keepdims=True) + 1e-6)
        return jnp.sum(jnp.tanh(x)) + jnp.sum(y)

    ws = list(np.random.default_rng(0).normal(size=(5, 8, 8)) / 8**0.5)
    sites = jaxsat.probe(stream, ws, np.asarray(X, float)).sites
    assert [(site.kind, site.maps) for site in sites] == [
        ("tanh", 0), ("tanh", 1), ("normalization", 2), ("tanh", 2), ("tanh", 3), ("tanh", 4), ("tanh", 5)
    ]  # fmt: skip
    named = [0, 1, 0, 2, 3, 4, 0]
    assert [site.weight.count("args") for site in sites] == named
    assert [np.isnan(site.weight_scale) for site in sites] == [count == 0 for count in named]


def test_units_of_experts_lie_along_two_axes():
    """A unit is one of one expert: half of those of the second are dead, whatever the first's do with the same index."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(40, 6)), rng.normal(size=(2, 6, 10))
    b = np.where((np.arange(2)[:, None] == 1) & (np.arange(10) < 5), -100.0, 0.0)
    alone = lambda w, b, x: jax.nn.relu(x @ w + b[None])  # noqa: E731
    ways = {
        "batch": lambda w, b, x: jax.vmap(alone, (0, 0, None))(w, b, x),  # (expert, example, unit)
        "free": lambda w, b, x: jax.nn.relu(jnp.einsum("ni,eij->nej", x, w) + b[None]),
        "turned": lambda w, b, x: jax.nn.relu(jnp.einsum("ni,eij->jne", x, w) + b.T[:, None]),
        "both": lambda w, b, x: jax.vmap(alone)(w, b, jnp.stack([x, x])),
    }
    h = np.einsum("ni,eij->nej", x, w) + b
    dead = np.mean(np.all(h <= 0, axis=0))
    assert dead == 0.25
    for way in ways.values():
        (site,) = jaxsat.probe(lambda w, b, x, way=way: jnp.sum(way(w, b, x)), w, b, x).sites
        assert (site.units, site.inputs, site.dead_fraction) == (20, 40, dead)
        features = np.maximum(h, 0).reshape(40, 20)
        values = np.linalg.eigvalsh(np.cov(features, rowvar=False))
        assert site.participation_ratio == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-10)
