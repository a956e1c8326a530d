"""Stores of sweeps and trainings that another kind of machine continues: refused, or accepted and said."""

import json

import pytest
import xarray

from jaxsat import __main__ as command
from jaxsat.results import machine
from jaxsat.results.store import Store
from tests.sweeps.small_sweeps import NET, Unreliable, run, same
from tests.training import test_elsewhere as trainings

OTHER = r"must be continued on the kind of machine it is from \(instructions: .* there, .*sve2.* here\)"


@pytest.fixture
def elsewhere(monkeypatch):
    """Become another machine: the same arithmetic under another name."""
    here = machine.cpu_features()

    def become(other=True):
        monkeypatch.setattr(machine, "cpu_features", lambda: "aarch64 0x41 asimd sve2" if other else here)

    return become


def machines_of(dataset):
    return [found["instructions"].split()[1] for found in json.loads(dataset.attrs["machines"])]


def test_a_sweep_is_continued_elsewhere_only_where_that_is_accepted(tmp_path, small, elsewhere):
    expected, store = run(), tmp_path / "s"
    first = machines_of(run(seeds=8, store=store))
    elsewhere()
    same(run(seeds=8, store=store), expected.isel(seed=slice(8)))  # what is done is read anywhere
    before = sorted(store.rglob("*"))
    with pytest.raises(ValueError, match=OTHER) as caught:
        run(store=store)
    assert "\n" not in str(caught.value)
    assert sorted(store.rglob("*")) == before
    found = run(store=store, allow_mixed=True)
    same(found, expected)
    assert machines_of(found) == machines_of(xarray.open_zarr(store)) == [*first, "aarch64"]
    assert machines_of(run(store=store)) == [*first, "aarch64"]  # both are known now
    elsewhere(other=False)
    assert machines_of(run(seeds=24, store=store)) == [*first, "aarch64"]


def test_a_store_that_names_no_machine_is_unknown(tmp_path, small):
    run(seeds=4, store=tmp_path / "s")
    file = tmp_path / "s" / "zarr.json"
    kept = json.loads(file.read_text())
    del kept["attributes"]["jaxsat_sweep"]["machines"]
    file.write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="instructions: unknown there"):
        run(seeds=8, store=tmp_path / "s")


@pytest.mark.parametrize("work", [run, pytest.param(trainings.run, marks=pytest.mark.slow)], ids=["sweep", "training"])
def test_a_worker_compares_its_machine_with_that_of_the_request(work, tmp_path, small, elsewhere):
    class Elsewhere(Unreliable):
        def submit(self, fn, /, *args):
            elsewhere()
            errand = super().submit(fn, *args)
            errand.exception()
            elsewhere(other=False)
            return errand

    expected, store = work(), tmp_path / "s"
    with pytest.raises(RuntimeError, match=r"could not be computed by `executor`.*must be continued on the kind"):
        work(store=store, executor=Elsewhere(0))
    assert work is not run or not Store(store).done()
    found = work(store=store, executor=Elsewhere(0), allow_mixed=True)
    same(found, expected)
    assert machines_of(found)[1:] == ["aarch64"]


@pytest.mark.slow
def test_a_training_is_continued_elsewhere_only_where_that_is_accepted(tmp_path, elsewhere):
    store = tmp_path / "t"
    with pytest.raises(RuntimeError, match="the worker is gone"):
        trainings.run(store=store, executor=Unreliable(10**6))
    elsewhere()
    with pytest.raises(ValueError, match=OTHER):
        trainings.run(store=store)
    found = trainings.run(store=store, allow_mixed=True)
    assert machines_of(found)[1:] == ["aarch64"]
    elsewhere(other=False)
    assert trainings.run(store=store).attrs == found.attrs  # a finished training is read anywhere


def test_the_command_line_accepts_another_machine(tmp_path, small, elsewhere, capsys):
    job = tmp_path / "job.toml"
    text = (
        f'measure = "dead_fraction"\nseeds = SEEDS\nx64 = true\n[network]\ndepth = {NET.depth}\nwidth = {NET.width}\n'
    )
    job.write_text(text.replace("SEEDS", "4"))
    command.main(["run", str(job), "--store", str(tmp_path / "s"), "--quiet"])
    elsewhere()
    job.write_text(text.replace("SEEDS", "8"))
    arguments = ["run", str(job), "--store", str(tmp_path / "s"), "--quiet"]
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "accept this one with allow_mixed=True (--allow-mixed)" in capsys.readouterr().err
    command.main([*arguments, "--allow-mixed"])
