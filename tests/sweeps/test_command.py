"""The command ``jaxsat``, as its user runs it."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import jaxsat
from jaxsat import __main__
from jaxsat.results.store import Store
from jaxsat.sweeps import cost, job_file
from jaxsat.sweeps.plan import Plan
from jaxsat.sweeps.sweep_request import SweepRequest

ROOT = pathlib.Path(__file__).parent.parent.parent
TEXT = """
measure = ["log_gradient_norms", "dead_fraction"]
seeds = 6
root_seed = 3

[network]
depth = 4
width = 8
bias_scale = 0.1

[over]
activation = ["tanh", "relu"]
weight_scale = { from = 0.5, to = 2.0, count = 3, spacing = "log" }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(TEXT)
    return path


def test_run_status_plot(file, tmp_path, capsys):
    store = tmp_path / "s.zarr"
    __main__.main(["run", str(file), "--store", str(store)])
    seen = capsys.readouterr()
    assert seen.out == f"{store}\n"
    assert "36 of 36 networks" in seen.err
    over = {"activation": ["tanh", "relu"], "weight_scale": [0.5, 1.0, 2.0]}
    net = jaxsat.MLP(depth=4, width=8, bias_scale=0.1)
    expected = jaxsat.sweep(net, ["log_gradient_norms", "dead_fraction"], over, seeds=6, root_seed=3, progress=False)
    found = xarray.open_zarr(store, chunks=None)
    xarray.testing.assert_equal(found.log_gradient_norms.load(), expected.log_gradient_norms)

    __main__.main(["run", str(file), "--store", str(store), "--quiet"])
    assert capsys.readouterr().err == ""
    __main__.main(["status", str(store), "--json"])
    status = json.loads(capsys.readouterr().out)
    assert status["networks"] == {"done": 36, "missing": 0}
    assert status["chunks"]["missing"] == status["chunks"]["failed"] == 0
    assert status["nan_networks"] == {"dead_fraction": 0, "log_gradient_norms": 0}
    assert status["networks_per_second"] > 0
    __main__.main(["status", str(store)])
    assert "networks  36 done of 36" in capsys.readouterr().out
    __main__.main(["plot", str(store)])
    assert capsys.readouterr().out == f"{tmp_path / 's.png'}\n"
    assert (tmp_path / "s.png").stat().st_size > 10_000
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["plot", str(store)])
    assert stopped.value.code == 2
    assert "exists. Name another file with --output" in capsys.readouterr().err


def test_status_watches_until_nothing_is_missing(tmp_path, capsys, monkeypatch):
    store, slept = tmp_path / "s.zarr", []
    jaxsat.sweep(
        jaxsat.MLP(depth=2, width=3), "dead_fraction", {"weight_scale": [1.0]}, seeds=3, store=store, progress=False
    )
    monkeypatch.setattr(Store, "done", lambda self: set(self.layout.units()) if len(slept) == 2 else set())
    monkeypatch.setattr(__main__.time, "sleep", slept.append)
    __main__.main(["status", str(store), "--watch", "0.5"])
    out = capsys.readouterr().out
    assert slept == [0.5, 0.5]
    assert [line for line in out.splitlines() if line.startswith("chunks")] == [
        "chunks    0 done, 1 missing, 0 of those failed",
        "chunks    0 done, 1 missing, 0 of those failed",
        "chunks    1 done, 0 missing, 0 of those failed",
    ]
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["status", str(store), "--watch", "-1"])
    assert stopped.value.code == 2


def test_a_dry_run_says_the_cost_and_writes_nothing(file, tmp_path, capsys):
    __main__.main(["run", str(file), "--dry-run"])
    out = capsys.readouterr().out
    for line in ("2 activation x 3 weight_scale x 6 seeds", "networks  36", "MiB a tile", "FLOPs", "of compilation"):
        assert line in out
    assert list(tmp_path.iterdir()) == [file]


def test_costs_are_those_counted_by_hand():
    request = SweepRequest.of(
        jaxsat.MLP(depth=10, width=32), lambda net, key, x: {"y": net.apply(net.init(key), jnp.ones(32))},
        {"weight_scale": [1.0, 2.0], "activation": ["tanh", "relu"]}, seeds=50, root_seed=0, x=None, every_depth=False,
    )  # fmt: skip
    found = cost.estimate(Plan.of(request))
    assert found.networks == 200
    assert found.result_bytes == 200 * 32 * 8
    products = 200 * 10 * 2 * 32 * 32
    assert products < found.flops
    assert found.seconds > 0
    assert found.device_bytes > 0
    assert found.compile_seconds > 0
    scanned = jax.make_jaxpr(lambda a: jax.lax.scan(lambda c, _: (c @ c, None), a, length=7)[0])(np.ones((4, 4)))
    assert cost.flops_of(scanned.jaxpr) == 7 * 2 * 4**3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds = 6", "seed = 6"), "config: 'seed' is not a key. Did you mean 'seeds'?"),
        (("depth = 4", "dept = 4"), "'dept' is not a key of [network]. Did you mean 'depth'?"),
        (("[over]", "[ovre]"), "'ovre' is not a key. Did you mean 'over'?"),
        (("weight_scale =", "weight_scales ="), "'weight_scales' is not a key of [over]. Did you mean 'weight_scale'?"),
        (("seeds = 6", "seeds = 'six'"), "`seeds` must be int; got 'six'"),
        (("seeds = 6", "seeds = 0"), "`seeds` must be an integer of at least 1; got 0"),
        (("width = 8", ""), "`network` must have `width`"),
        (("width = 8", "width = -8"), "`width` must be an integer of at least 1; got -8"),
        (("count = 3", "number = 3"), "'number' is not a key of over.weight_scale"),
        (("count = 3,", ""), "`over.weight_scale` must have `count`"),
        (('"log"', '"cubic"'), "`over.weight_scale.spacing` must be a known name; got 'cubic'. Known: linear, log"),
        (("from = 0.5", "from = 0.0"), "`over.weight_scale.from` must be a finite number and above 0; got 0.0"),
        (("count = 3", "count = 'x'"), "`over.weight_scale.count` must be an integer of at least 1; got 'x'"),
        (("seeds = 6", 'x = "none.npy"'), "is no .npy file that can be read"),
        (("seeds = 6", "seeds = = 6"), "is no TOML"),
        (('"dead_fraction"', '"dead_fractions"'), "Did you mean 'dead_fraction'"),
    ],
)
def test_mistakes_in_a_configuration_are_one_line(change, message, file, tmp_path, capsys):
    file.write_text(TEXT.replace(*change))
    assert file.read_text() != TEXT
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["run", str(file), "--store", str(tmp_path / "s")])
    assert stopped.value.code == 2
    seen = capsys.readouterr().err
    assert message in seen
    assert seen.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.toml", "--store", "s"], "nowhere.toml: No such file"),
        (["status", "nowhere"], "nowhere is something else or unreadable"),
        (["plot", "nowhere"], "nowhere is something else or unreadable"),
        (["run", "FILE"], "--store PATH is needed, or --dry-run"),
        (
            ["run", "FILE", "--store", "s", "--engine", "ray"],
            "`--engine` must be processes:N, dask://HOST:PORT, slurm or mpi; got 'ray'",
        ),
        (
            ["run", "FILE", "--store", "s", "--engine", "mpi"],
            "`--engine` must be mpi under mpiexec, with two ranks or more; got one process alone. Example: mpiexec -n 8",
        ),
        (
            ["run", "FILE", "--store", "s", "--engine", "processes:0"],
            "`--engine` must be an integer of at least 1; got 0",
        ),
        (["rum"], "invalid choice: 'rum'"),
    ],
)
def test_mistakes_on_the_command_line(arguments, message, file, capsys, monkeypatch):
    monkeypatch.chdir(file.parent)
    with pytest.raises(SystemExit) as stopped:
        __main__.main([str(file) if a == "FILE" else a for a in arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_inputs_and_precision_of_a_configuration(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 8)))
    found = job_file.parsed(
        {"network": {"depth": 2, "width": 8}, "measure": "dead_fraction", "x": "x.npy", "x64": True}
    )
    assert found.arguments(tmp_path)["x"].shape == (2, 8)
    assert found.x64


def test_the_example_is_a_sweep():
    given = job_file.read_job(ROOT / "jobs" / "example.toml").arguments(ROOT / "jobs")
    assert len(given["over"]["weight_scale"]) == 6
    SweepRequest.of(**given)


@pytest.mark.slow
def test_an_engine_gives_the_same_numbers(file, tmp_path):
    for store, engine in (("here", []), ("there", ["--engine", "processes:2"])):
        __main__.main(["run", str(file), "--store", str(tmp_path / store), "--quiet", *engine])
    here, there = (xarray.open_zarr(tmp_path / name, chunks=None).load() for name in ("here", "there"))
    xarray.testing.assert_identical(there.drop_attrs(), here.drop_attrs())


@pytest.mark.slow
def test_jobs_through_submitit(file, tmp_path):
    pytest.importorskip("submitit")
    command = [sys.executable, "-W", "ignore", ROOT / "jobs" / "submit.py", file, tmp_path / "s", "--cluster", "local"]
    done = subprocess.run([*map(str, command), "--logs", str(tmp_path / "logs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(xarray.open_zarr(tmp_path / "s", chunks=None).chunk_counts[..., 0].sum()) == 36


@pytest.mark.slow
def test_ranks_of_mpi_give_the_same_numbers(file, tmp_path):
    __main__.main(["run", str(file), "--store", str(tmp_path / "here"), "--quiet"])
    programs = pathlib.Path(sys.executable).parent
    command = [programs / "mpiexec", "-n", "3", ROOT / "jobs" / "mpi.sh", file, tmp_path / "there"]
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "JAX_ENABLE_X64": "1"}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    here, there = (xarray.open_zarr(tmp_path / name, chunks=None).load() for name in ("here", "there"))
    xarray.testing.assert_identical(there.drop_attrs(), here.drop_attrs())


@pytest.mark.slow
def test_hosts_of_a_batch_job_all_end_well(file, tmp_path):
    """Two tasks as SLURM starts them. The first coordinates: the second must not be aborted when the first has ended."""
    job = str(os.getpid() % 4096)  # gives the port
    processes = []
    for task in range(2):
        environment = os.environ | {
            "SLURM_JOB_ID": job, "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_PROCID": str(task),
            "SLURM_LOCALID": str(task), "SLURM_STEP_NUM_NODES": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "jaxsat", "run", str(file), "--store", str(tmp_path / "s"), "--distributed"]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    for process in processes:
        out, _ = process.communicate(timeout=200)
        assert process.returncode == 0, out
        assert "36 of 36 networks" in out
    assert len(Store(tmp_path / "s").done()) == len(list(Store(tmp_path / "s").layout.units()))
