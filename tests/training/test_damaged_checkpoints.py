"""Files of a training that are damaged, and trainings that run at the same time, on one store."""

import json
import shutil
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from jaxsat import __main__ as command
from jaxsat.training import checkpoints
from jaxsat.training.checkpoints import Folder
from tests.training.by_hand import run

SMALL = {"record": "loss", "epochs": 1, "seeds": 2}


def interrupted(store, monkeypatch):
    """Train to the end, and stop before the store is made."""

    def stop(self, dataset):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            run(store=store, **SMALL)
    return Folder.beside(store)


def test_a_damaged_checkpoint_is_never_taken_for_numbers(tmp_path):
    """One flipped bit in each byte, in turn: the file is refused, with a warning, or nothing has changed."""
    folder = Folder(tmp_path / "run.zarr", {"kind": checkpoints.KIND})
    tree = {"a": jnp.arange(6.0).reshape(2, 3), "key": jax.random.key(3), "n": jnp.arange(4)}
    folder.save("0-0", tree, done=7)
    file = folder.path / "0-0.npz"
    whole, refused = file.read_bytes(), 0
    flipped = [whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :] for i in range(len(whole))]
    for content in [*flipped, whole[: len(whole) // 2], b"", b"{}"]:
        file.write_bytes(content)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = folder.load("0-0", tree)
        assert any("0-0.npz is damaged" in str(one.message) for one in said) == (found is None)
        refused += found is None
        if found is not None:
            assert found[1] == 7
            jax.tree.map(lambda a, b: np.testing.assert_array_equal(bits(a), bits(b)), found[0], tree)
    assert refused > len(whole) / 3  # the rest are dates, lengths of padding and the like


def bits(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_networks_whose_checkpoint_is_damaged_are_trained_again(tmp_path, monkeypatch):
    store = tmp_path / "run.zarr"
    file = interrupted(store, monkeypatch) / "0-0.npz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"0-0.npz is damaged .*; its networks are trained from their start"):
        found = run(store=store, **SMALL)
    xarray.testing.assert_equal(found, run(**SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


def test_metadata_that_is_no_json_is_named(tmp_path, monkeypatch):
    store = tmp_path / "run.zarr"
    (interrupted(store, monkeypatch) / "request.json").write_bytes(b'{"kind"\xff')
    with pytest.raises(
        ValueError, match=r"request.json is damaged .*Move run.zarr.partial away, or choose another path"
    ):
        run(store=store, **SMALL)
    shutil.rmtree(Folder.beside(store))
    run(store=store, **SMALL)
    (store / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match=r"zarr.json is damaged .*Move run.zarr away, or choose another path"):
        run(store=store, **SMALL)
    (store / "zarr.json").write_text("[]")
    with pytest.raises(ValueError, match=r"run.zarr exists and was not written by jaxsat.train"):
        run(store=store, **SMALL)


def test_a_result_with_a_hole_or_a_flipped_bit_is_refused_and_verify_names_it(tmp_path, capsys):
    """Of every array: its chunk deleted, and one bit of it flipped. Arrays of zeros alone have chunks, too."""
    store = tmp_path / "run.zarr"
    first = run(store=store, **SMALL)
    files = [file for file in store.glob("*/c/**/*") if file.is_file()]
    assert {file.relative_to(store).parts[0] for file in files} == set(first.variables)
    for file in files:
        name, content = file.relative_to(store).parts[0], file.read_bytes()
        file.unlink()
        with pytest.raises(ValueError, match=rf"run.zarr is damaged: chunks of {name} are not there. Move it away"):
            run(store=store, **SMALL)
        place = len(content) // 2
        file.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"run.zarr is damaged: .*Move it away"):
            run(store=store, **SMALL)
        with pytest.raises(SystemExit):
            command.main(["verify", str(store)])
        assert "run.zarr is damaged" in capsys.readouterr().err
        file.write_bytes(content)
    command.main(["verify", str(store)])
    assert "is sound" in capsys.readouterr().out


def test_a_run_that_finds_the_folder_made_meanwhile_joins_it(tmp_path, monkeypatch):
    store, note = tmp_path / "run.zarr", Folder._note_machine

    def meanwhile(folder):
        note(folder)
        if not Folder.beside(store).exists():
            shutil.copytree(folder, Folder.beside(store))

    monkeypatch.setattr(Folder, "_note_machine", staticmethod(meanwhile))
    xarray.testing.assert_equal(run(store=store, **SMALL), run(**SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


@pytest.mark.parametrize("moment", ["before it is written", "before it is renamed"])
def test_a_run_that_ends_second_finds_the_store_of_the_first(moment, tmp_path, monkeypatch):
    store, write = tmp_path / "run.zarr", checkpoints.zarr_files.write

    def other_ends(dataset, path):
        if moment == "before it is renamed":
            write(dataset, path)
        write(dataset, store)
        shutil.rmtree(Folder.beside(store))
        if moment == "before it is written":
            write(dataset, path)

    monkeypatch.setattr(checkpoints.zarr_files, "write", other_ends)
    found = run(store=store, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]
    monkeypatch.undo()
    xarray.testing.assert_equal(run(store=store, **SMALL), found)


def test_the_folder_may_vanish_under_a_run_when_another_has_ended(tmp_path):
    folder, store = Folder(tmp_path / "run.zarr", {"kind": checkpoints.KIND}), tmp_path / "run.zarr"
    shutil.rmtree(folder.path)
    with pytest.raises(FileNotFoundError):
        folder.save("0-0", {"a": np.ones(3)}, 1)
    dataset = xarray.Dataset({"a": ("x", np.ones(3))})
    dataset.attrs[checkpoints.KIND] = json.dumps({"kind": checkpoints.KIND})
    checkpoints.zarr_files.write(dataset, store)
    folder.save("0-0", {"a": np.ones(3)}, 1)
    folder.finish(dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


TOGETHER = """
import optax, numpy as np, jaxsat
from jaxsat.training import training_program
training_program.SECONDS_BETWEEN_CHECKPOINTS = 0.0
rng = np.random.default_rng(0)
data = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
net = jaxsat.MLP(depth=3, width=6, inputs=3, outputs=4)
jaxsat.train(net, data, optimizer=optax.adam(0.01), epochs=300, batch_size=10, record_every=10, over={"weight_scale": [0.5, 2.0]},
             record="loss", store="run.zarr", seeds=8, progress=False)
"""


@pytest.mark.slow
def test_four_processes_that_start_one_training_together_all_end_well(tmp_path):
    """Twice, and once one process alone: the same numbers."""
    found = []
    for count in (1, 4, 4):
        started = [subprocess.Popen([sys.executable, "-c", TOGETHER], cwd=tmp_path) for _ in range(count)]
        assert [process.wait() for process in started] == [0] * count
        assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]
        found.append(xarray.open_zarr(tmp_path / "run.zarr").load())
        shutil.rmtree(tmp_path / "run.zarr")
    assert not found[0].loss.isnull().any()
    for together in found[1:]:
        xarray.testing.assert_equal(together, found[0])
