"""Stores of sweeps: read back, extended, resumed, and refused to another request."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import jaxsat
from jaxsat.results.marks import COUNTS
from jaxsat.results.store import Store
from jaxsat.sweeps.tiles import TileProgram
from tests.sweeps.small_sweeps import MEASURES, run, same


def test_a_stored_sweep_is_the_sweep_in_memory(tmp_path, small):
    expected = run()
    found = run(store=tmp_path / "new" / "sweep.zarr")
    same(found, expected)
    opened = xarray.open_zarr(tmp_path / "new" / "sweep.zarr", chunks=None)  # as anyone does
    xarray.testing.assert_equal(opened.log_gradient_norms.load(), expected.log_gradient_norms)
    assert opened.sel(activation="relu").dead_fraction.shape == (3, 20, 6)
    told = json.loads(opened.attrs["request"])
    assert told["root_seed"] == 0
    assert json.loads(opened.attrs["versions"])["jax"] == jax.__version__
    assert {"device", "dtype", "command", "created"} <= set(opened.attrs)
    assert float(found.attrs["seconds"]) > 0
    assert opened.chunk_counts.sel().sum("activation_chunk").shape == (2, 5, 3)
    assert int(opened.chunk_counts[..., 0].sum()) == 2 * 3 * 20


def test_a_finished_sweep_computes_nothing(tmp_path, small, monkeypatch):
    first = run(store=tmp_path / "s").load()
    monkeypatch.setattr(TileProgram, "run", None)
    same(run(store=tmp_path / "s"), first)
    part = run({"activation": ["relu"], "weight_scale": [3.0, 0.5]}, seeds=5, store=tmp_path / "s")
    xarray.testing.assert_equal(part.load(), first.sel(activation=["relu"], weight_scale=[3.0, 0.5], seed=range(5)))


def test_only_what_is_missing_is_computed(tmp_path, small):
    expected = run(store=tmp_path / "s").load()
    opened = Store(tmp_path / "s")
    assert opened.done() == set(opened.layout.units())
    missing = [(0, 1, 2), (1, 0, 4)]
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("s/log_gradient_norms/c/**/*") if p.is_file()}
    for unit in missing:
        for name in (*MEASURES, COUNTS):
            tmp_path.joinpath("s", name, "c", *map(str, unit), "0").unlink()
    assert Store(tmp_path / "s").done() == opened.done() - set(missing)
    same(run(store=tmp_path / "s"), expected)
    changed = {p for p, t in before.items() if p.stat().st_mtime_ns != t}
    assert changed == {tmp_path.joinpath("s", "log_gradient_norms", "c", *map(str, unit), "0") for unit in missing}


def test_seeds_and_values_are_added(tmp_path, small):
    run(seeds=6, store=tmp_path / "s")
    with_seeds = run(seeds=11, store=tmp_path / "s")
    same(with_seeds, run(seeds=11))
    over = {"activation": ["gelu", "tanh", "relu"], "weight_scale": [2.0, 0.5, 1.0, 3.0]}
    wider = run(over, seeds=11, store=tmp_path / "s").load()
    assert wider.weight_scale.values.tolist() == over["weight_scale"]
    assert wider.activation.values.tolist() == over["activation"]
    xarray.testing.assert_allclose(wider, run(over, seeds=11), atol=1e-12)
    whole = xarray.open_zarr(tmp_path / "s", chunks=None)
    assert whole.weight_scale.values.tolist() == [0.5, 1.0, 3.0, 2.0]
    assert whole.activation.values.tolist() == ["tanh", "relu", "gelu"]
    assert whole.seed.values.tolist() == list(range(11))
    same(run(seeds=11, store=tmp_path / "s"), with_seeds.load())


def test_nan_networks_are_counted(tmp_path, small):
    def spoiled(net, key, x):
        norms = jaxsat.log_gradient_norms(net, net.init(key), jnp.ones(8), key=key)
        bad = (net.weight_scale > 2) & (jax.random.bits(key) % 2 == 0)
        return {"norms": jnp.where(bad, jnp.nan, norms), "bad": bad}

    found = run({"weight_scale": [0.5, 1.0, 3.0]}, measure=spoiled, store=tmp_path / "s")
    count = int(found.bad.sum())
    assert 0 < count < 20
    assert found.norms.attrs["nan_networks"] == count
    assert found.bad.attrs["nan_networks"] == 0
    assert found.bad.dtype == bool


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root_seed": 1}, "root_seed: 0 there, 1 asked"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (
                    {"measure": "dead_fraction"},
                    "measure: 'log_gradient_norms, dead_fraction' there, 'dead_fraction' asked",
                ),
                ({"x": np.ones(8)}, r"x: 'gaussian, unit mean square' there, 'given, shape \(8,\), sha256 \w+' asked"),
                ({"over": {"activation": ["tanh"]}}, "over: activation, weight_scale there, activation asked"),
                ({"net": jaxsat.MLP(depth=7, width=8)}, "network: .*'depth': 6.* there, .*'depth': 7"),
            )
        ),
    ],
)
def test_another_request_is_refused_and_the_difference_told(changes, message, tmp_path, small):
    run(seeds=2, store=tmp_path / "s")
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=f"holds another sweep .*{message}"):
        run(**{"seeds": 2} | changes, store=tmp_path / "s")
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


def test_changed_numerics_are_another_request(tmp_path, small):
    def of(factor):
        def mine(net, key, x):
            return {"m": factor * net.init(key).hidden.mean() * net.weight_scale}

        return mine

    run(measure=of(1.0), seeds=2, store=tmp_path / "s")
    run(measure=of(1.0), seeds=3, store=tmp_path / "s")
    with pytest.raises(ValueError, match="the program that computes it has changed for activation=tanh"):
        run(measure=of(1.5), seeds=2, store=tmp_path / "s")


def test_stores_that_are_not_ours_are_left_alone(tmp_path, small):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    xarray.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "other", zarr_format=3, consolidated=False)
    for name in ("file", "folder", "other"):
        with pytest.raises(
            ValueError, match=f"`store` must be a new path or the store of a sweep; .*{name} is something"
        ):
            run(seeds=1, store=tmp_path / name)
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "mine").read_text() == "mine"
    with pytest.raises(ValueError, match="`store` must be in a folder that can be written"):
        run(seeds=1, store="/proc/nowhere/s")
    (tmp_path / "empty").mkdir()
    run(seeds=1, store=tmp_path / "empty")


def test_a_later_format_is_refused(tmp_path, small):
    run(seeds=1, store=tmp_path / "s")
    header = tmp_path / "s" / "zarr.json"
    header.write_text(header.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ValueError, match=r"later version of jaxsat \(format 2; this one knows 1\)"):
        run(seeds=1, store=tmp_path / "s")


def test_the_same_dtypes_are_asked_of_every_network(tmp_path):
    def mixed(net, key, x):
        return {"a": jnp.ones((), jnp.int32 if net.phi.name == "tanh" else jnp.result_type(float))}

    with pytest.raises(ValueError, match="same shapes and dtypes for every network"):
        run(measure=mixed, store=tmp_path / "s")


def test_values_are_not_added_while_others_are_at_work(tmp_path, small):
    run(seeds=4, store=tmp_path / "s")
    with Store(tmp_path / "s").leases() as others:
        others.take("0.0.0")
        with pytest.raises(ValueError, match="must not be at work when values or seeds are added; 1 chunks"):
            run(seeds=9, store=tmp_path / "s")
    run(seeds=9, store=tmp_path / "s")
