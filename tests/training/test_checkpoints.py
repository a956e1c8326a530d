"""A training that is cut off and resumed equals the undisturbed one; files of others are left alone."""

import json
import signal
import subprocess
import sys
import time

import optax
import pytest
import xarray

import jaxsat
from jaxsat import addresses
from jaxsat.training import checkpoints, training_program
from tests.training.by_hand import X, Y, run

CLIPPED = optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(0.01))
NOISY = optax.chain(optax.add_noise(0.1, 0.55, addresses.root(3)), optax.sgd(0.1))  # a random key in its state


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [CLIPPED, NOISY], ids=["clipped", "noisy"])
def test_a_run_can_stop_and_go_on_with_any_optimizer_state(optimizer, tmp_path, monkeypatch):
    """At every file written, in turn, the run is cut off; what it comes to is the same."""
    monkeypatch.setattr(training_program, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    request = {
        "over": {"weight_scale": [0.5, 2.0]},
        "seeds": 2,
        "epochs": 3,
        "record": ["loss", "update_ratio"],
        "optimizer": optimizer,
    }
    expected = run(**request)
    write, left = checkpoints.write_whole, 0

    def cut_off(path, fill):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        write(path, fill)

    monkeypatch.setattr(checkpoints, "write_whole", cut_off)
    cuts, found = 0, None
    while found is None and cuts < 100:
        left = 3  # two are written at the start
        try:
            found = run(**request, store=tmp_path / "run.zarr")
        except KeyboardInterrupt:
            cuts += 1
    assert cuts >= 2
    xarray.testing.assert_equal(found, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


KILLED = """
import jax, optax, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxsat
from jaxsat.training import training_program
training_program.SECONDS_BETWEEN_CHECKPOINTS = 0.0
rng = np.random.default_rng(0)
data = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
net = jaxsat.MLP(depth=3, width=6, inputs=3, outputs=4)
jaxsat.train(net, data, optimizer=optax.adam(0.01), epochs=400, batch_size=10, record_every=10, over={"weight_scale": [0.5, 2.0]},
             record=["loss", "update_ratio"], store="run.zarr", seeds=8, progress=False)
"""


@pytest.mark.slow
def test_killed_for_good_and_resumed_equals_the_undisturbed_run(tmp_path):
    def start():
        return subprocess.Popen([sys.executable, "-c", KILLED], cwd=tmp_path)

    process, partial = start(), tmp_path / "run.zarr.partial"
    for _ in range(600):
        if (partial / "0-0.npz").exists():
            break
        time.sleep(0.05)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was to be killed in the midst"
    assert partial.exists()
    assert not (tmp_path / "run.zarr").exists()
    assert start().wait() == 0
    assert not partial.exists()
    net = jaxsat.MLP(depth=3, width=6, inputs=3, outputs=4)
    expected = run(
        net, (X, Y), optimizer=optax.adam(0.01), epochs=400, over={"weight_scale": [0.5, 2.0]}, seeds=8, record_every=10,
        record=["loss", "update_ratio"],
    )  # fmt: skip
    xarray.testing.assert_equal(xarray.open_zarr(tmp_path / "run.zarr").load(), expected)


def test_a_finished_store_is_read_back_and_only_for_the_same_request(tmp_path):
    store = tmp_path / "run.zarr"
    first = run(store=store, record="loss")
    stamp = (store / "zarr.json").stat().st_mtime_ns
    again = run(store=store, record="loss")
    xarray.testing.assert_identical(first.drop_attrs(), again.drop_attrs())
    assert (store / "zarr.json").stat().st_mtime_ns == stamp
    other = X.copy()
    other[0, 0] += 1e-9
    for changed, message in (
        ({"epochs": 3}, "of another request: epochs is 2 there and 3 here"),
        ({"net": jaxsat.MLP(3, 6, "relu", inputs=3, outputs=4)}, "network is .*tanh.* there and .*relu.* here"),
        ({"data": (other, Y)}, "data is .* there and .* here"),
        ({"optimizer": optax.sgd(0.3)}, "of another optimiser, activation, device or version"),
    ):
        with pytest.raises(ValueError, match=message):
            run(**({"store": store, "record": "loss"} | changed))


def test_what_train_did_not_write_is_left_alone(tmp_path):
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "zarr.json").write_text(json.dumps({"attributes": {"analysis": "another"}}))
    with pytest.raises(ValueError, match=r"mine.zarr exists and was not written by jaxsat.train"):
        run(store=tmp_path / "mine.zarr")
    (tmp_path / "other.zarr.partial").mkdir()
    (tmp_path / "other.zarr.partial" / "notes").write_text("keep me")
    with pytest.raises(ValueError, match=r"other.zarr.partial exists and was not written by jaxsat.train"):
        run(store=tmp_path / "other.zarr")
    assert (tmp_path / "other.zarr.partial" / "notes").read_text() == "keep me"
    with pytest.raises(ValueError, match="must be in a folder that can be written"):
        run(store="/proc/nowhere/run.zarr")


def test_a_store_that_appears_during_the_run_is_not_written_over(tmp_path, monkeypatch):
    store = tmp_path / "run.zarr"
    write = checkpoints.zarr_files.write

    def meanwhile(dataset, path):
        store.mkdir()
        write(dataset, path)

    monkeypatch.setattr(checkpoints.zarr_files, "write", meanwhile)
    with pytest.raises(ValueError, match="appeared during the run; the result is kept in"):
        run(store=store)
    assert list(store.iterdir()) == []
