"""Stores of sweeps: whatever interrupts them, what is there is right, and what is missing is made good."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
import zarr

import jaxsat
from jaxsat import __main__ as command
from jaxsat.results.leases import Leases
from jaxsat.results.marks import COUNTS
from jaxsat.results.store import Store
from jaxsat.sweeps import plan
from jaxsat.sweeps.choices import ChoicePrograms
from jaxsat.sweeps.pipeline import Pipeline
from jaxsat.sweeps.plan import Plan
from jaxsat.sweeps.tiles import Tile, TileProgram

NET = jaxsat.MLP(depth=6, width=8)
OVER = {"activation": ["tanh", "relu"], "weight_scale": [0.5, 1.0, 3.0]}
MEASURES = ["log_gradient_norms", "dead_fraction"]


def run(over=None, seeds=20, net=NET, measure=MEASURES, **options):
    return jaxsat.sweep(net, measure, OVER if over is None else over, seeds=seeds, progress=False, **options)


def same(found, expected):
    """Bit for bit, and in dtype, labels and units."""
    xarray.testing.assert_identical(found.load().drop_attrs(), expected.drop_attrs())
    for name in expected.variables:
        assert found[name].dtype == expected[name].dtype or expected[name].dtype.kind == "U"
        assert found[name].attrs == expected[name].attrs


@pytest.fixture
def small(monkeypatch):
    """Chunks and tiles of few networks, so that there are many of them: 4 seeds a chunk, 2 x 2 a tile."""
    monkeypatch.setattr(Tile, "of", lambda net, lengths, *_: Tile(2, tuple(min(2, n) for n in lengths)))
    monkeypatch.setattr(
        plan,
        "chunk_lengths",
        lambda request, programs: (
            dict.fromkeys(request.grid.static, 1) | dict.fromkeys(request.grid.traced, 2) | {"seed": 4}
        ),
    )


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

    found = run(measure=spoiled, store=tmp_path / "s")
    count = int(found.bad.sum())
    assert 0 < count < 40
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


def test_an_interrupt_keeps_what_was_done(tmp_path, small, monkeypatch):
    expected = run()
    put, seen = Plan.put, []

    def interrupted(self, *arguments):
        seen.append(put(self, *arguments))
        if len(seen) == 17:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Plan, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(store=tmp_path / "s")
    done = Store(tmp_path / "s").done()
    assert 5 <= len(done) < 20
    assert not list((tmp_path / "s" / ".jaxsat" / "leases").iterdir())
    same(run(store=tmp_path / "s"), expected)


def test_a_full_disk_leaves_a_store_that_goes_on(tmp_path, small, monkeypatch):
    expected = run()
    write, seen = Store.write, []

    def full(self, unit, arrays):
        seen.append(unit)
        if len(seen) > 7:
            raise OSError(28, "No space left on device")
        return write(self, unit, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", full)
        with pytest.raises(OSError, match=r"can no longer be written \(No space left on device\). What was done"):
            run(store=tmp_path / "s")
    assert Store(tmp_path / "s").done() == set(seen[:7])
    same(run(store=tmp_path / "s"), expected)


def test_a_chunk_that_fails_is_recorded_and_the_others_are_done(tmp_path, small, monkeypatch):
    expected = run()
    call = ChoicePrograms.start

    def failing(self, corners, *rest):
        if corners[0].seed == 8:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return call(self, corners, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ChoicePrograms, "start", failing)
        with pytest.raises(RuntimeError, match=r"4 of 20 chunks could not be computed; .*RESOURCE_EXHAUSTED"):
            run(store=tmp_path / "s")
    opened = Store(tmp_path / "s")
    assert (
        set(opened.failures())
        == {(a, w, 2) for a in (0, 1) for w in (0, 1)}
        == set(opened.layout.units()) - opened.done()
    )
    same(run(store=tmp_path / "s"), expected)
    assert not Store(tmp_path / "s").failures()
    with monkeypatch.context() as patch:
        patch.setattr(ChoicePrograms, "start", failing)
        with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
            run()


# --- faults that were silent -----------------------------------------------------------------------------------------


def chunk_files(path, *names):
    return sorted(file for name in names for file in path.glob(f"{name}/c/**/*") if file.is_file())


def test_flipped_bits_are_noticed(tmp_path, small):
    """In data, marks and coordinates: whatever is read afterwards is an error or the truth."""
    expected = run(store=tmp_path / "s").load()
    rng = np.random.default_rng(0)
    files = chunk_files(tmp_path / "s", "log_gradient_norms", COUNTS, "weight_scale", "seed")
    for _ in range(60):
        file = files[rng.integers(len(files))]
        before = file.read_bytes()
        damaged = bytearray(before)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(damaged))
        if COUNTS in str(file):
            assert len(Store(tmp_path / "s").done()) == 19
        else:
            try:
                found = xarray.open_zarr(tmp_path / "s", chunks=None).load()
            except (RuntimeError, ValueError):
                pass
            else:
                xarray.testing.assert_equal(found.drop_vars(COUNTS), expected)
        file.write_bytes(before)


def test_a_chunk_that_was_deleted_is_computed_again(tmp_path, small):
    expected = run(store=tmp_path / "s").load()
    chunk_files(tmp_path / "s", "dead_fraction")[3].unlink()
    assert len(Store(tmp_path / "s").done()) == 19
    same(run(store=tmp_path / "s"), expected)


def test_verify_names_what_is_damaged_and_repair_marks_it(tmp_path, small, capsys):
    expected = run(store=tmp_path / "s").load()
    command.main(["verify", str(tmp_path / "s")])
    assert "is sound" in capsys.readouterr().out
    files = chunk_files(tmp_path / "s", "dead_fraction")
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"x")
    files[5].unlink()
    coordinate = chunk_files(tmp_path / "s", "weight_scale")[0]
    coordinate.write_bytes(coordinate.read_bytes()[:-1] + b"x")
    with pytest.raises(SystemExit):
        command.main(["verify", str(tmp_path / "s")])
    seen = capsys.readouterr()
    assert "dead_fraction cannot be read" in seen.out
    assert "dead_fraction is not there" in seen.out
    assert "coordinate weight_scale" in seen.out
    assert "3 damages" in seen.err
    command.main(["repair", str(tmp_path / "s")])
    assert len(Store(tmp_path / "s").done()) == 18
    same(run(store=tmp_path / "s"), expected)
    command.main(["verify", str(tmp_path / "s")])


def test_a_coordinate_that_was_not_filled_is_filled(tmp_path, small):
    """As after a kill between growing a coordinate and writing its values."""
    run(seeds=4, store=tmp_path / "s")
    zarr.open_group(tmp_path / "s")["weight_scale"].resize((4,))
    found = run({"activation": ["tanh", "relu"], "weight_scale": [0.5, 1.0, 3.0, 7.0]}, seeds=4, store=tmp_path / "s")
    assert found.weight_scale.values.tolist() == [0.5, 1.0, 3.0, 7.0]
    assert np.isfinite(found.log_gradient_norms).all()


def test_a_store_that_is_extended_while_another_process_works_loses_nothing(tmp_path, small, monkeypatch):
    """The other process extends just after this one has looked at the header, and before its first chunk."""
    run(seeds=2, store=tmp_path / "s")
    run_groups, others = Pipeline.run, []

    def after_the_other(self, groups):
        if not others:
            others.append(True)
            run(seeds=7, store=tmp_path / "s")
        return run_groups(self, groups)

    monkeypatch.setattr(Pipeline, "run", after_the_other)
    chunk_files(tmp_path / "s", COUNTS)[0].unlink()
    found = run(seeds=2, store=tmp_path / "s")
    assert found.sizes["seed"] == 2
    assert np.isfinite(found.log_gradient_norms).all()
    monkeypatch.undo()
    opened = Store(tmp_path / "s")
    assert opened.header.seeds == 7
    assert np.isfinite(xarray.open_zarr(tmp_path / "s", chunks=None).log_gradient_norms.sel(activation="tanh")).all()


def test_the_same_dtypes_are_asked_of_every_network(tmp_path):
    def mixed(net, key, x):
        return {"a": jnp.ones((), jnp.int32 if net.phi.name == "tanh" else jnp.result_type(float))}

    with pytest.raises(ValueError, match="same shapes and dtypes for every network"):
        run(measure=mixed, store=tmp_path / "s")


# --- leases -------------------------------------------------------------------------------------------------------


def test_leases_of_the_dead_and_the_silent_are_free(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", f"""
from jaxsat.results.leases import Leases
leases = Leases({str(tmp_path)!r}).__enter__()
print(leases.take("a"), flush=True)
input()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert other.stdout.readline() == "True\n"
    with Leases(tmp_path) as mine:
        assert not mine.take("a")
        assert mine.held_by_others() == ["a"]
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()
        assert mine.held_by_others() == []
        assert mine.take("a")
        (tmp_path / "b").write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": "0"}))
        assert not mine.take("b")
        os.utime(tmp_path / "b", (time.time() - 1000,) * 2)
        assert mine.take("b")
        assert not mine.take("b"), "its own"
    assert not list(tmp_path.iterdir())


def test_the_heartbeat_keeps_a_lease(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxsat.results.leases.HEARTBEAT", 0.02)
    with Leases(tmp_path) as mine:
        mine.take("a")
        os.utime(tmp_path / "a", (0, 0))
        deadline = time.time() + 10
        while (tmp_path / "a").stat().st_mtime == 0 and time.time() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "a").stat().st_mtime > 0


def test_values_are_not_added_while_others_are_at_work(tmp_path, small):
    run(seeds=4, store=tmp_path / "s")
    with Store(tmp_path / "s").leases() as others:
        others.take("0.0.0")
        with pytest.raises(ValueError, match="must not be at work when values or seeds are added; 1 chunks"):
            run(seeds=9, store=tmp_path / "s")
    run(seeds=9, store=tmp_path / "s")


# --- processes ----------------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys
import jax
import jaxsat
from jaxsat.sweeps import plan
from jaxsat.sweeps.tiles import Tile
if len(sys.argv) > 2:
    jax.config.update("jax_enable_recoverability", True)
    jax.distributed.initialize(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    assert jax.process_count() == int(sys.argv[3])
Tile.of = lambda net, lengths, *_: Tile(4, tuple(lengths))
plan.chunk_lengths = lambda request, programs: {"activation": 1, "weight_scale": 2, "seed": 4}
print("at work", flush=True)
ds = jaxsat.sweep(
    jaxsat.MLP(depth=40, width=32, weight_scale=20.0), "log_gradient_norms",
    {"activation": ["tanh", "sin"], "weight_scale": [5.0, 20.0]}, seeds=480, store=sys.argv[1], progress=False,
)
ds.load()
print("done", flush=True)
if len(sys.argv) > 2:
    if sys.argv[4] == "0":
        input()  # the coordinator leaves last
    os._exit(0)  # without waiting for processes that were killed
"""


def start(path, *arguments, devices=1):
    env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_ENABLE_X64": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), *map(str, arguments)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process):
    out = process.communicate("\n", timeout=200)[0]
    assert process.returncode == 0, out


def until(condition, seconds=100.0):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.005)


def marks(path):
    return len(list(pathlib.Path(path).glob("chunk_counts/c/*/*/*/0")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "s"
    finish(start(path))
    return xarray.open_zarr(path, chunks=None).load()


def check(path, undisturbed):
    found = xarray.open_zarr(path, chunks=None).load()
    xarray.testing.assert_identical(found.drop_attrs(), undisturbed.drop_attrs())
    assert int(found.chunk_counts[..., 0].sum()) == 2 * 2 * 480
    assert not list((pathlib.Path(path) / ".jaxsat" / "leases").iterdir())


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_the_same(tmp_path, undisturbed):
    """Five times, each later in the work; between them the store is readable, and what is marked is right."""
    path, before = tmp_path / "s", 0
    for wanted in (1, 20, 60, 110, 170):
        process = start(path)
        until(lambda process=process, wanted=wanted: marks(path) >= wanted or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = xarray.open_zarr(path, chunks=None)
        done = np.asarray(found.chunk_counts[..., 0])
        assert before <= marks(path)
        before = marks(path)
        for a, _, s in np.argwhere(done > 0):
            part = {"activation": slice(a, a + 1), "weight_scale": slice(None), "seed": slice(4 * s, 4 * s + 4)}
            xarray.testing.assert_equal(found.isel(part).log_gradient_norms, undisturbed.isel(part).log_gradient_norms)
    finish(start(path))
    check(path, undisturbed)


@pytest.mark.slow
def test_devices_do_not_matter(tmp_path, undisturbed):
    finish(start(tmp_path / "s", devices=8))
    check(tmp_path / "s", undisturbed)


@pytest.mark.slow
def test_processes_share_a_store(tmp_path, undisturbed):
    """Two that know nothing of each other; one is killed, the other does its part."""
    path = tmp_path / "s"
    first, second = start(path), start(path)
    until(lambda: marks(path) >= 4)
    first.kill()
    first.communicate()
    finish(second)
    check(path, undisturbed)


@pytest.mark.slow
def test_hosts_of_jax_distributed_share_a_store(tmp_path, undisturbed):
    """Three processes; one is killed and started again."""
    path, port = tmp_path / "s", 20_000 + os.getpid() % 10_000
    processes = [start(path, f"localhost:{port}", 3, i) for i in range(3)]
    until(lambda: marks(path) >= 4)
    processes[2].kill()
    processes[2].communicate()
    again = start(path)  # outside: the coordinator need not know it
    for process in (processes[1], again, processes[0]):
        finish(process)
    check(path, undisturbed)
    hosts = {run["host"] for run in Store(path).runs()}
    assert hosts
    # The killed one leaves no record, and the one that takes its place may find everything done.
    assert len(Store(path).runs()) >= 2
    assert re.fullmatch(r"[\w.-]+", hosts.pop())
