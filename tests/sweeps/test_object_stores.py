"""Stores of sweeps at addresses of objects: the bits of a sweep in memory, whatever is damaged, missing or out of reach."""

import pickle
import sys
import time

import botocore.exceptions
import jax.numpy as jnp
import numpy as np
import pytest
import s3fs
import xarray
from upath import UPath

from jaxsat import __main__ as command
from jaxsat.results import locations, zarr_files
from jaxsat.results.leases import Leases
from jaxsat.results.locations import location_of
from jaxsat.results.marks import COUNTS
from jaxsat.results.store import Store
from jaxsat.results.verify import damages, repair
from jaxsat.sweeps.tiles import TileProgram
from tests.sweeps import small_sweeps
from tests.sweeps.small_sweeps import MEASURES, Unreliable, same, writes_fail


def run(*arguments, seeds=6, **options):
    """The sweep of the other tests with few seeds: of a server of objects every look takes milliseconds."""
    return small_sweeps.run(*arguments, seeds=seeds, **options)


@pytest.fixture
def place(address):
    return location_of("test", address)


@pytest.mark.usefixtures("small")
def test_it_is_the_sweep_in_memory(address, place, monkeypatch):
    expected = run()
    same(run(store=address), expected)
    opened = xarray.open_zarr(zarr_files.store_of(place), chunks=None)  # as anyone does
    xarray.testing.assert_equal(opened.log_gradient_norms.load(), expected.log_gradient_norms)
    assert not locations.names_in(place / ".jaxsat" / "leases")
    monkeypatch.setattr(TileProgram, "run", None)
    same(run(store=address), expected)  # what is done is not computed again
    same(run(store=place), expected)


@pytest.mark.usefixtures("small")
def test_seeds_and_values_are_added(address):
    run(seeds=3, store=address)
    same(run(store=address), run())
    over = {"activation": ["gelu", "tanh", "relu"], "weight_scale": [2.0, 0.5, 1.0, 3.0]}
    xarray.testing.assert_allclose(run(over, store=address), run(over), atol=1e-12)


@pytest.mark.usefixtures("small")
def test_an_executor_computes_it_though_workers_die(address):
    expected, executor = run(), Unreliable(failures=2)
    same(run(store=address, executor=executor), expected)
    calls = executor.calls
    same(run(store=address, executor=executor), expected)
    assert calls > 3
    assert executor.calls == calls


@pytest.mark.usefixtures("small")
def test_what_is_damaged_is_found_and_computed_again(address, place, capsys):
    """A flipped bit, an object that is gone, a mark that is garbled, a coordinate that is wrong."""
    expected = run(store=address).load()
    flipped, mark = place / MEASURES[0] / "c" / "0" / "1" / "1" / "0", place / COUNTS / "c" / "1" / "0" / "1" / "0"
    data = bytearray(locations.read_bytes(flipped))
    data[len(data) // 2] ^= 4
    locations.write_whole(flipped, lambda file: file.write(data))
    (place / MEASURES[1] / "c" / "1" / "1" / "0" / "0").unlink()
    locations.write_whole(mark, lambda file: file.write(b"\0" * 16))
    (place / "seed" / "c" / "0").unlink()
    opened = Store(place)
    found = damages(opened)
    assert sorted(damage.unit for damage in found if damage.unit) == [(0, 1, 1), (1, 0, 1), (1, 1, 0)]
    assert [damage.what.split(":")[0] for damage in found if damage.unit is None] == ["coordinate seed"]
    # An object that is gone is a chunk that is not done, at once.
    assert set(opened.layout.units()) - opened.done() == {(1, 1, 0), (1, 0, 1)}
    if address.startswith("memory"):
        with pytest.raises(SystemExit):
            command.main(["verify", address])
        command.main(["repair", address])
        assert "4 damages mended or marked" in capsys.readouterr().out
    else:
        repair(opened, found)
    assert not damages(Store(place))
    same(run(store=address), expected)


@pytest.mark.usefixtures("small")
def test_a_store_that_was_half_made_is_made_anew(address, place, monkeypatch):
    """Killed before the metadata were written; what a first request left there is not of the second."""

    write_new = locations.write_new

    def killed(path, data):
        if path.name == "zarr.json":
            raise KeyboardInterrupt
        return write_new(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(locations, "write_new", killed)
        with pytest.raises(KeyboardInterrupt):
            run({"bias_scale": [0.1, 0.2]}, store=address)
    assert (place / "bias_scale" / "zarr.json").exists()
    same(run(store=address), run())
    assert not (place / "bias_scale" / "zarr.json").exists()


@pytest.mark.usefixtures("small")
@pytest.mark.slow
def test_options_of_a_path_are_kept_and_travel_to_workers(object_server):
    """Keys and server are in the path alone."""
    options = {
        "key": object_server["AWS_ACCESS_KEY_ID"],
        "secret": object_server["AWS_SECRET_ACCESS_KEY"],
        "endpoint_url": object_server["AWS_ENDPOINT_URL"],
    }
    path = UPath("s3://results/with-options.zarr", **options)
    same(run(store=path, executor=Pickling()), run())
    assert Store(location_of("test", path)).path.storage_options.items() >= options.items()


class Pickling(Unreliable):
    """Threads that get their calls as bytes, as processes do."""

    def __init__(self):
        super().__init__(failures=0)

    def submit(self, fn, /, *args):
        return super().submit(fn, *pickle.loads(pickle.dumps(args)))


def test_what_somebody_else_wrote_stays(address, place):
    locations.write_whole(place / "thesis.txt", lambda file: file.write(b"years of work"))
    with pytest.raises(ValueError, match=r"is something else or unreadable\. Choose another name"):
        run(store=address)
    assert locations.files_below(place) == {"thesis.txt"}


def test_leases_on_objects(place, monkeypatch):
    with Leases(place) as mine, Leases(place) as other:
        assert mine.take("a")
        assert not mine.take("a")
        assert not other.take("a")
        assert other.held_by_others() == ["a"]
        mine.give_back("a")
        assert other.take("a")
        monkeypatch.setattr("jaxsat.results.leases.STALE", -1.0)  # nobody has touched it for so long
        assert mine.take("a")
    assert not locations.names_in(place)


def test_the_heartbeat_keeps_a_lease(place, monkeypatch):
    monkeypatch.setattr("jaxsat.results.leases.HEARTBEAT", 0.02)
    with Leases(place) as mine:
        mine.take("a")
        locations.write_whole(place / "a", lambda file: file.write(b"garbled"))
        deadline = time.time() + 10
        while (found := locations.read_bytes(place / "a")) == b"garbled" and time.time() < deadline:
            time.sleep(0.01)
        assert found.startswith(b"{")
        assert abs(locations.age(place / "a")) < 60


def test_out_of_reach_is_one_line_before_work(monkeypatch):

    def refused(*_, **__):
        raise botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    monkeypatch.setattr(s3fs.S3FileSystem, "exists", refused)  # after six seconds, in truth
    with pytest.raises(ValueError, match=r"must be within reach; got nowhere://a \(Unsupported filesystem"):
        run(store="nowhere://a")
    with pytest.raises(ValueError, match=r"must be within reach; got s3://results/run.zarr \(Could not connect"):
        run(store="s3://results/run.zarr")
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(ImportError, match=r"needs a library .*pip install 'jaxsat\[objects\]'"):
        run(store="s3://results/run.zarr")


@pytest.mark.usefixtures("object_server")
@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_one_line_before_work(monkeypatch, object_server):
    for key, value in object_server.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ValueError, match=r"`store` must be in a folder that can be written; s3://nowhere/run"):
        run(store="s3://nowhere/run.zarr")


@pytest.mark.usefixtures("small")
def test_a_network_that_is_lost_leaves_a_store_that_goes_on(address, place, monkeypatch):
    expected = run()
    lost = botocore.exceptions.EndpointConnectionError(endpoint_url=address)
    said = r"can no longer be written \(Could not connect.*What was done before stays"
    with writes_fail(monkeypatch, lost, after=5) as seen, pytest.raises(OSError, match=said):
        run(store=address)
    assert Store(place).done() == set(seen[:5])
    same(run(store=address), expected)
    with monkeypatch.context() as patch:  # anywhere else
        patch.setattr(Store, "counts", lambda self: (_ for _ in ()).throw(lost))
        with pytest.raises(OSError, match=r"sweep: `store` .* can no longer be reached \(Could not connect"):
            run(store=address)


@pytest.mark.usefixtures("small")
def test_the_command_reads_addresses(address, tmp_path, monkeypatch, capsys):
    run(store=address)
    monkeypatch.chdir(tmp_path)
    command.main(["status", address])
    assert "8 done, 0 missing" in capsys.readouterr().out
    command.main(["verify", address])
    command.main(["plot", address])
    command.main(["export", address, "--to", "csv"])
    assert {file.suffix for file in tmp_path.iterdir()} >= {".png", ".csv"}


def test_a_file_address_is_a_folder(tmp_path):
    assert location_of("test", f"file://{tmp_path}/a") == tmp_path / "a"


def test_nan_networks_of_objects_are_counted(address):
    def spoiled(net, key, x):
        return {"norm": jnp.where(net.weight_scale > 2, jnp.nan, 1.0)}

    found = run({"weight_scale": [1.0, 3.0]}, measure=spoiled, seeds=3, store=address)
    assert np.isnan(found.norm.values).tolist() == [[False] * 3, [True] * 3]
    assert found.norm.nan_networks == 3


@pytest.mark.parametrize("store", ["s3://", "memory://", pytest.param("s3://bucket", marks=pytest.mark.slow)])
def test_an_address_without_a_name_is_refused(store, request, monkeypatch):
    of_server = request.getfixturevalue("object_server") if store == "s3://bucket" else {}
    for key, value in of_server.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ValueError, match=f"`store` must name what it is in, and the store; got '{store}'"):
        run(store=store)
