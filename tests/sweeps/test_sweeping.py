import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import jaxsat
from jaxsat import addresses
from jaxsat.measures import Measure, Variable, gradients
from jaxsat.sweeps import pipeline
from jaxsat.sweeps.choices import ChoicePrograms
from jaxsat.sweeps.tiles import Tile

NET = jaxsat.MLP(depth=6, width=8, activation="tanh")
SCALES, BIASES = [0.5, 1.0, 3.0], [0.0, 0.5]
SCALED = {"weight_scale": SCALES, "bias_scale": BIASES}  # grids with as many points of each share their programs


def run(measure="log_gradient_norms", over=None, net=NET, **options):
    return jaxsat.sweep(net, measure, SCALED if over is None else over, progress=False, **options)


def test_every_entry_is_the_network_measured_alone():
    ds = run(over={"activation": ["tanh", "relu"]} | SCALED, seeds=3, root_seed=9)
    assert ds.log_gradient_norms.dims == ("activation", "weight_scale", "bias_scale", "seed", "layer")
    alone_of = jax.jit(jaxsat.log_gradient_norms)
    roots = [addresses.network(addresses.root(9), seed) for seed in range(3)]
    inputs = [(jaxsat.networks.gaussian_input(NET, key), gradients.unit_cotangent(NET, key)) for key in roots]
    for activation in ("tanh", "relu"):
        for scale in SCALES:
            for bias in BIASES:
                for seed in range(3):
                    net = jaxsat.MLP(depth=6, width=8, activation=activation, weight_scale=scale, bias_scale=bias)
                    alone = alone_of(net, net.init(roots[seed]), *inputs[seed])
                    got = ds.log_gradient_norms.sel(
                        activation=activation, weight_scale=scale, bias_scale=bias, seed=seed
                    )
                    np.testing.assert_allclose(got, alone, rtol=0, atol=1e-11)


def test_dimensions_follow_the_order_of_over():
    ds = run(over={"weight_scale": SCALES, "activation": ["tanh", "relu"], "bias_scale": BIASES}, seeds=2)
    other = run(over={"activation": ["tanh", "relu"]} | SCALED, seeds=2)
    assert ds.log_gradient_norms.dims == ("weight_scale", "activation", "bias_scale", "seed", "layer")
    xarray.testing.assert_equal(ds.log_gradient_norms, other.log_gradient_norms.transpose("weight_scale", ...))


def test_without_a_grid_the_network_itself_is_swept_over_seeds():
    ds = jaxsat.sweep(NET, lambda net, key, x: {"m": net.init(key).first.mean()}, seeds=3, progress=False)
    assert ds.m.dims == ("seed",)
    alone = [np.mean(NET.init(addresses.network(addresses.root(0), seed)).first) for seed in range(3)]
    np.testing.assert_allclose(ds.m, alone, rtol=0, atol=1e-15)


def test_one_trace_per_static_choice_and_none_per_scale_or_seed():
    traces = []

    def counted(net, key, x):
        traces.append(net.phi.name)
        return {"m": net.init(key).hidden.mean() * net.weight_scale}

    run(counted, {"weight_scale": np.linspace(0.1, 2, 150), "activation": ["tanh", "relu"]}, seeds=300)
    assert sorted(traces) == ["relu", "tanh"]


def test_bits_do_not_depend_on_chunks_or_on_how_many_seeds(monkeypatch):
    chaotic = jaxsat.MLP(depth=40, width=16, activation="tanh", weight_scale=20.0)
    over = {"weight_scale": list(np.linspace(5, 20, 70))}  # more points than a tile holds
    measures = ["log_gradient_norms", "saturated_fraction"]
    monkeypatch.setattr(Tile, "of", lambda *_: Tile(4, (32,)))
    reference = run(measures, over, chaotic, seeds=21)
    for budget, cores in ((2**23, 1), (2**28, 5)):
        monkeypatch.setattr(pipeline, "cores", lambda cores=cores: cores)
        again = run(measures, over, chaotic, seeds=21, memory_budget=budget)
        xarray.testing.assert_identical(again.drop_attrs(), reference.drop_attrs())
    fewer = run(measures, over, chaotic, seeds=6)
    xarray.testing.assert_identical(fewer.drop_attrs(), reference.isel(seed=slice(6)).drop_attrs())


@pytest.mark.parametrize(("measure", "together"), [("saturated_fraction", True), ("singular_values", False)])
def test_a_tile_has_a_thread_of_its_own_unless_it_holds_lapack_calls(measure, together, monkeypatch):
    """Two with LAPACK calls can wait for each other for good (see jaxsat/linalg/lapack.py)."""
    start, threads, here = ChoicePrograms.start, set(), threading.get_ident()

    def noted(self, *arguments):
        threads.add(threading.get_ident())
        return start(self, *arguments)

    monkeypatch.setattr(ChoicePrograms, "start", noted)
    monkeypatch.setattr(pipeline, "cores", lambda: 2)
    monkeypatch.setattr(Tile, "of", lambda *_: Tile(1, ()))
    found = run(measure, {}, seeds=6)
    assert (here not in threads) == together
    with jax.enable_x64(False):  # which a thread does not see by itself
        single = run(measure, {}, seeds=6)
    assert {found[measure].dtype.name, single[measure].dtype.name} == {"float64", "float32"}


def test_tiles_depend_on_shapes_alone():
    assert Tile.of(NET, [3]) == Tile.of(jaxsat.MLP(depth=6, width=8, activation="relu", weight_scale=9.0), [3])
    assert Tile.of(jaxsat.MLP(depth=100, width=512), [500]).seeds == 1
    assert Tile.of(NET, [500]).block == (64,)
    assert Tile.of(NET, [30, 20]).block == (3, 20)
    assert Tile.of(NET, []).points == 1


def test_labels_units_and_provenance():
    ds = run(["log_gradient_norms", "activation_entropy"], seeds=4, root_seed=5)
    assert ds.layer.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert ds.activation_entropy.attrs["units"] == "nat"
    assert all({"long_name", "units"} <= set(v.attrs) for v in [*ds.data_vars.values(), *ds.coords.values()])
    request = json.loads(ds.attrs["request"])
    assert request["root_seed"] == 5
    assert request["network"]["activation"] == "tanh"
    assert json.loads(ds.attrs["versions"])["jax"] == jax.__version__
    assert ds.attrs["created"].endswith("+00:00")
    assert ds.attrs["dtype"] == "float64"


def test_a_batch_of_inputs_is_reduced_as_each_measure_says():
    x = np.random.default_rng(0).normal(size=(5, 8))
    ds = run(["log_gradient_norms", "log_largest_gradients", "dead_fraction"], {"activation": ["relu"]}, seeds=1, x=x)
    net = jaxsat.MLP(depth=6, width=8, activation="relu")
    key = addresses.network(addresses.root(0), 0)
    params, u = net.init(key), gradients.unit_cotangent(net, key)

    @jax.jit
    @jax.vmap
    def alone(x):
        return jaxsat.backpropagated_signal(net, params, x, u), net.trace(params, x).pre_activations

    (direction, log_scale), h = jax.tree.map(np.asarray, alone(x))
    norms = log_scale + np.log(np.linalg.norm(direction, axis=2))
    rms = np.log(np.sqrt(np.mean(np.exp(2 * norms), axis=0)))
    np.testing.assert_allclose(ds.log_gradient_norms[0, 0], rms, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds.log_largest_gradients[0, 0], log_scale.max(axis=0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds.dead_fraction[0, 0], (h <= 0).all(0).mean(-1))


def test_networks_that_overflow_are_nan_in_every_measure_of_gradients():
    """128 networks side by side: on CPUs, XLA's largest entry of some thousands leaves a NaN out."""
    net = jaxsat.MLP(depth=4, width=64, activation="relu")
    names = ["log_gradient_norms", "log_largest_gradients"]
    ds = jaxsat.sweep(net, names, {"weight_scale": [1.0, 1e300]}, seeds=128, progress=False)
    for name in names:
        assert ds[name].attrs["nan_networks"] == 128
        assert not np.isnan(ds[name][0]).any()


def test_every_depth_adds_a_depth_dimension():
    ds = run(seeds=2, every_depth=True)
    assert ds.log_gradient_norms.dims == ("weight_scale", "bias_scale", "seed", "depth", "layer")
    xarray.testing.assert_allclose(
        ds.log_gradient_norms.sel(depth=6, drop=True), run(seeds=2).log_gradient_norms, atol=1e-12
    )


def test_own_measures_plain_and_labelled():
    def plain(net, key, x):
        return {"a": jnp.ones((2, 3)), "b": net.weight_scale}

    ds = run(plain, seeds=2)
    assert ds.a.dims == ("weight_scale", "bias_scale", "seed", "a_axis0", "a_axis1")
    np.testing.assert_array_equal(ds.b, np.tile(np.array(SCALES)[:, None, None], (1, 2, 2)))
    labels = {"a": Variable(("kind", "part"), "a thing", "m", {"kind": ["u", "v"]}), "b": Variable((), "scale")}
    ds = run(["mean_squared_pre_activation", Measure("mine", plain, labels)], seeds=2)
    assert ds.a.sel(kind="v").attrs == {"long_name": "a thing", "units": "m", "nan_networks": 0}


def test_callables_as_activations_are_labelled_by_name():
    ds = run("dead_fraction", over={"activation": [jnp.tanh, "relu"]}, seeds=1)
    assert ds.activation.values.tolist() == ["tanh", "relu"]


def test_nothing_swept_is_allowed():
    assert run("dead_fraction", over={}, seeds=3).dead_fraction.dims == ("seed", "layer")


def branching(net, key, x):
    return {"a": jnp.ones(3 if net.weight_scale > 1 else 2)}


def shaped(net, key, x):
    return {"a": jnp.ones(net.depth)}


def clashing(net, key, x):
    return {"dead_fraction": jnp.ones(())}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"measure": "log_gradient_norm"}, ValueError, "Did you mean 'log_gradient_norms'"),
        ({"measure": lambda net, key, x: jnp.ones(2)}, TypeError, "must return a dict of arrays; got"),
        ({"measure": []}, ValueError, "must be at least one name or function; got none"),
        ({"measure": ["dead_fraction", clashing]}, ValueError, "two measures return .*dead_fraction"),
        ({"measure": branching}, ValueError, "same shapes and take the same path for every scale"),
        (
            {"measure": shaped, "over": {"depth": [2, 3]}},
            ValueError,
            "same shapes and dtypes for every network; got .* depth=2",
        ),
        ({"over": {"weight_scales": [1.0]}}, ValueError, "must name fields of MLP; got 'weight_scales'. Did you mean"),
        ({"over": {"weight_scale": []}}, ValueError, "must have at least one value; got none"),
        ({"over": {"weight_scale": [1.0, float("nan")]}}, ValueError, "must be finite and at least 0"),
        ({"over": {"weight_scale": [1.0, 1.0]}}, ValueError, "must have distinct values"),
        (
            {"over": {"activation": [lambda x: x, lambda x: 2 * x]}},
            ValueError,
            "distinct values; got .'<lambda>', '<lambda>'.. Functions are labelled by their names",
        ),
        ({"over": {"weight_scale": 1.0}}, TypeError, "must be a sequence of values; got 1.0"),
        ({"over": {"activation": "tanh"}}, TypeError, "must be a sequence of values; got 'tanh'"),
        ({"over": {"activation": ["tahn"]}}, ValueError, "Did you mean 'tanh'"),
        ({"over": {"width": [0]}}, ValueError, "`width` must be an integer of at least 1"),
        ({"seeds": 0}, ValueError, "`seeds` must be an integer of at least 1; got 0"),
        (
            {"memory_budget": 10},
            ValueError,
            "`memory_budget` must hold one network; the weights of depth 6 and width 8",
        ),
        ({"memory_budget": 10_000}, ValueError, "`memory_budget` must hold one tile"),
        ({"net": jaxsat.MLP(depth=2, width=10**9)}, ValueError, "`memory_budget` must hold one network; .* 10000"),
        ({"root_seed": -1}, ValueError, "`root_seed` must be an integer from 0 to 4294967295; got -1"),
        ({"x": np.ones(5)}, ValueError, r"`x` must have shape .* n_0 = 8; got \(5,\). Set `inputs`"),
        ({"x": np.full(8, np.nan)}, ValueError, "`x` must be finite; got 8 non-finite"),
        (
            {"measure": "dead_fraction", "every_depth": True},
            ValueError,
            "must have a form for every depth, .* got .dead_fraction",
        ),
        ({"measure": shaped, "every_depth": True}, ValueError, "`every_depth` must be False for a function"),
    ],
)
def test_bad_requests(arguments, error, message):
    with pytest.raises(error, match=message):
        run(**arguments)


def test_progress_goes_to_stderr(capsys):
    jaxsat.sweep(NET, "dead_fraction", SCALED, seeds=4)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "networks/s" in seen.err
    assert "24 of 24 networks" in seen.err


def test_a_nan_marks_its_network_is_counted_and_leaves_the_others():
    def spoiled(net, key, x):
        """Singular values, with a NaN in the weights of the network of the last scale and of some seeds."""
        params = net.init(key)
        bad = (net.weight_scale > 2.5) & (jax.random.bits(key) % 2 == 0)
        params = params._replace(hidden=params.hidden.at[0, 0, 0].set(jnp.where(bad, jnp.nan, params.hidden[0, 0, 0])))
        return {"spectrum": jaxsat.singular_values(net, params, jnp.ones(5)), "bad": bad}

    net = jaxsat.MLP(depth=4, width=5)
    over = {"weight_scale": [1.0, 2.0, 3.0]}
    ds = jaxsat.sweep(net, spoiled, over, seeds=20, progress=False)
    bad = ds.bad.values
    assert 0 < bad.sum() < 20
    assert ds.spectrum.attrs["nan_networks"] == bad.sum()
    np.testing.assert_array_equal(np.isnan(ds.spectrum).all("spectrum_axis0"), bad)
    assert np.isfinite(ds.spectrum.values[~bad]).all()


def test_precision_is_that_of_the_caller():
    """The thread that compiles does not see a caller's ``enable_x64``, only what holds everywhere."""
    jax.config.update("jax_enable_x64", False)
    try:
        single = run("dead_fraction", seeds=2)
        with jax.enable_x64(True):
            double = run("dead_fraction", seeds=2)
    finally:
        jax.config.update("jax_enable_x64", True)
    assert single.dead_fraction.dtype == single.attrs["dtype"] == "float32"
    assert double.dead_fraction.dtype == double.attrs["dtype"] == "float64"


@pytest.mark.parametrize("measure", ["log_gradient_norms", shaped])
def test_a_second_call_neither_traces_nor_compiles(measure, compilations):
    activations = {"activation": ["tanh", "relu"]}
    run(measure, activations | SCALED, seeds=3)
    del compilations[:]
    other = {"weight_scale": [2.0, 9.0, 0.1], "bias_scale": [0.1, 0.2]}
    again = run(measure, activations | other, seeds=40, root_seed=8)
    assert compilations == []
    assert again.sizes["seed"] == 40
    if measure is shaped:  # compiles at once
        run(measure, {"weight_scale": [2.0, 9.0, 1.0, 0.3, 0.7]}, seeds=40)
        assert compilations, "another shape is another program"


@pytest.mark.slow
def test_weights_are_drawn_once_for_all_activations_and_scales(monkeypatch):
    drawn, start = [], ChoicePrograms.start_draw

    def counted(self, seeds, root):
        drawn.append(tuple(seeds))
        return start(self, seeds, root)

    monkeypatch.setattr(ChoicePrograms, "start_draw", counted)
    monkeypatch.setattr(Tile, "of", lambda *_: Tile(4, (3,)))
    over = {"activation": ["tanh", "relu", "gelu"], "weight_scale": [0.5, 1.0, 2.0, 3.0, 4.0]}
    run(over=over, seeds=8)
    assert drawn == [(0,), (4,)]
