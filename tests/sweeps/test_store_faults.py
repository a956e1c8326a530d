"""Whatever interrupts or damages a stored sweep, what is there is right, and what is missing is made good."""

import errno
import itertools

import jax
import numpy as np
import pytest
import xarray
import zarr

import jaxsat
from jaxsat import __main__ as command
from jaxsat.results.marks import COUNTS
from jaxsat.results.store import Store
from jaxsat.sweeps.choices import ChoicePrograms
from jaxsat.sweeps.pipeline import Pipeline
from jaxsat.sweeps.plan import Plan
from jaxsat.sweeps.sweep_request import SweepRequest
from tests.quick_cases import quick_first
from tests.sweeps.small_sweeps import chunk_files, run, same, writes_fail


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
    full = OSError(28, "No space left on device")
    said = r"can no longer be written \(No space left on device\). What was done"
    with writes_fail(monkeypatch, full, after=7) as seen, pytest.raises(OSError, match=said):
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


def test_a_failure_that_cannot_be_noted_is_told_all_the_same(tmp_path, small, monkeypatch):
    def failing(self, corners, *rest):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    def full(self, unit, error):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ChoicePrograms, "start", failing)
    monkeypatch.setattr(Store, "fail", full)
    with pytest.raises(RuntimeError, match=r"20 of 20 chunks could not be computed; .*RESOURCE_EXHAUSTED"):
        run(store=tmp_path / "s")


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


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "how"),
    quick_first(itertools.product(["layer", "seed", "weight_scale"], ["gone", "flipped"]), several=True),
)
def test_a_damaged_coordinate_is_found_and_written_anew(name, how, tmp_path, capsys):
    """A coordinate whose file is gone reads as zeros, without a word from zarr."""
    expected = run(store=tmp_path / "s").load()
    file = tmp_path / "s" / name / "c" / "0"
    data = bytearray(file.read_bytes())
    for mend in (lambda: command.main(["repair", str(tmp_path / "s")]), lambda: run(store=tmp_path / "s")):
        data[len(data) // 2] ^= 1
        file.unlink() if how == "gone" else file.write_bytes(data)
        with pytest.raises(SystemExit):
            command.main(["verify", str(tmp_path / "s")])
        assert f"coordinate {name}: does not hold" in capsys.readouterr().out
        mend()
        same(run(store=tmp_path / "s"), expected)
        data = bytearray(file.read_bytes())
        capsys.readouterr()


def test_a_million_small_networks_are_several_chunks():
    request = SweepRequest.of(
        jaxsat.MLP(depth=2, width=4), "log_gradient_norms", {}, seeds=10**6, root_seed=0, x=None, every_depth=False
    )
    assert Plan.of(request).layout.counts == (4,)
