"""Trainings whose store is at an address of objects: the same bits, wherever they are cut off."""

import json

import botocore.exceptions
import numpy as np
import pytest
import xarray

from jaxsat.results import locations, zarr_files
from jaxsat.results.locations import location_of
from jaxsat.training import checkpoints, training_program
from jaxsat.training.checkpoints import Folder
from tests.sweeps.small_sweeps import Unreliable
from tests.training.by_hand import run

SMALL = {"epochs": 2, "seeds": 2, "over": {"weight_scale": [0.5, 2.0]}, "record": ["loss", "update_ratio"]}


@pytest.fixture
def place(address):
    return location_of("test", address)


@pytest.mark.parametrize(
    ("address", "every"),
    [
        ("memory", 4),
        pytest.param("memory", 1, marks=pytest.mark.slow),
        pytest.param("s3", 4, marks=pytest.mark.slow),
    ],
    indirect=["address"],
)
def test_cut_off_at_any_object_it_ends_the_same(address, every, monkeypatch):
    """At every object written or removed, in turn: checkpoints, the arrays of the result, what says that it is there."""
    monkeypatch.setattr(training_program, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(training_program, "tile_size", lambda net: 2)
    expected, put = run(**SMALL), locations.put_whole
    left, cuts = 0, []

    def counted(write):
        def cut_off(path, *arguments):
            nonlocal left
            left -= 1
            if left == 0:
                cuts.append(path.name)
                raise KeyboardInterrupt
            return write(path, *arguments)

        return cut_off

    def in_parts(made, location, last):
        locations.write_whole(location / "loss" / "zarr.json", lambda file: file.write(b"half of a result"))
        return put(made, location, last)

    def is_cut_off(store):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "write_whole", counted(checkpoints.write_whole))
            for name in ("write_new", "write_whole", "remove"):
                patch.setattr(locations, name, counted(getattr(locations, name)))
            patch.setattr(locations, "put_whole", in_parts)
            try:
                run(store=store, **SMALL)
            except KeyboardInterrupt:
                return True
        return False

    for moment in range(1, 100, every):
        left, store = moment, f"{address}-{moment}"
        if not is_cut_off(store):
            break
        xarray.testing.assert_equal(run(store=store, **SMALL), expected)
        xarray.testing.assert_identical(run(store=store, **SMALL).drop_attrs(), expected.drop_attrs())
        place = location_of("test", store)
        assert not locations.files_below(Folder.beside(place))
        opened = xarray.open_zarr(zarr_files.store_of(place), chunks=None)  # as anyone does
        xarray.testing.assert_identical(opened.load().drop_attrs(), expected.drop_attrs())
    if every == 1:
        assert {"request.json", "zarr.json", "0-0.npz", "0-1.npz"} <= set(cuts)
    assert len(cuts) >= 4


def test_an_executor_trains_it_though_workers_die(address, monkeypatch):
    monkeypatch.setattr(training_program, "tile_size", lambda net: 2)
    executor = Unreliable(failures=1)
    xarray.testing.assert_equal(run(store=address, executor=executor, **SMALL), run(**SMALL))
    assert executor.calls == 3


def test_what_train_did_not_write_is_left_alone(address, place):
    locations.write_whole(place / "thesis.txt", lambda file: file.write(b"years of work"))
    with pytest.raises(ValueError, match=r"run\.zarr exists and was not written by jaxsat\.train"):
        run(store=address, **SMALL)
    (place / "thesis.txt").unlink()
    locations.write_whole(Folder.beside(place) / "notes", lambda file: file.write(b"keep me"))
    with pytest.raises(ValueError, match=r"partial exists and was not written by jaxsat\.train"):
        run(store=address, **SMALL)
    assert locations.read_bytes(Folder.beside(place) / "notes") == b"keep me"
    assert not place.exists()


def test_the_objects_may_vanish_under_a_run_when_another_has_ended(place, tmp_path):
    folder = Folder(place, {"kind": checkpoints.KIND})
    folder.save("0-0", {"a": np.ones(3)}, 1)
    folder.remove()
    with pytest.raises(FileNotFoundError):
        folder.save("0-0", {"a": np.ones(3)}, 1)
    dataset = xarray.Dataset({"a": ("x", np.ones(3))})
    dataset.attrs[checkpoints.KIND] = json.dumps({"kind": checkpoints.KIND})
    zarr_files.write(dataset, tmp_path / "made")
    locations.put_whole(tmp_path / "made", place, "zarr.json")
    folder.save("0-0", {"a": np.ones(3)}, 1)
    folder.finish(dataset)
    assert not locations.files_below(Folder.beside(place))


def test_a_network_that_is_lost_is_one_line_and_what_was_done_stays(address, monkeypatch):
    def lost(*_):
        raise botocore.exceptions.EndpointConnectionError(endpoint_url=address)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_whole", lost)
        with pytest.raises(OSError, match=r"train: `store` .* can no longer be reached \(Could not connect"):
            run(store=address, **SMALL)
    xarray.testing.assert_equal(run(store=address, **SMALL), run(**SMALL))
