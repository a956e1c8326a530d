"""Datasets as tidy tables: read back by pandas and xarray, and counted by hand."""

import numpy as np
import pandas
import pytest
import xarray

from jaxsat.results import estimates, tidy

VALUES = np.arange(12.0).reshape(2, 3, 2) / 3


def dataset():
    return xarray.Dataset(
        {
            "norm": (("scale", "seed", "layer"), VALUES),
            "dead": (("scale", "seed", "layer"), VALUES > 1),
            "depth_scale": (("scale",), [0.5, np.inf]),
        },
        {"scale": [0.7, 1.4], "layer": [1, 2], "name": ("scale", ["low", "high"])},
    )


def test_csv_has_a_row_for_each_combination_and_every_digit(tmp_path):
    files = tidy.write_tables(dataset(), tmp_path / "a.csv", "csv")
    assert [file.name for file in files] == ["a-scale-seed-layer.csv", "a-scale.csv"]
    table = pandas.read_csv(files[0])
    assert list(table) == ["scale", "seed", "layer", "name", "norm", "dead"]
    assert table["norm"].tolist() == VALUES.ravel().tolist()
    row = table[(table.scale == 1.4) & (table.seed == 2) & (table.layer == 1)]
    assert row[["name", "norm", "dead"]].values.tolist() == [["high", VALUES[1, 2, 0], True]]
    assert pandas.read_csv(files[1])["depth_scale"].tolist() == [0.5, np.inf]


def test_a_dataset_with_one_set_of_dimensions_is_one_file(tmp_path):
    assert tidy.write_tables(dataset()[["norm"]], tmp_path / "a.csv", "csv") == [tmp_path / "a.csv"]


def test_netcdf_is_read_back_by_xarray(tmp_path):
    given = dataset()[["norm", "depth_scale"]].drop_vars("name")
    (file,) = tidy.write_tables(given, tmp_path / "a.nc", "nc")
    with xarray.open_dataset(file) as found:
        xarray.testing.assert_equal(found.load(), given)


def test_netcdf_3_says_what_large_numbers_need(tmp_path):
    large = xarray.Dataset({"count": ("x", np.array([2**40, 1]))})
    try:
        import h5netcdf  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"no whole numbers beyond 2\^31. Install h5netcdf"):
            tidy.write_tables(large, tmp_path / "a.nc", "nc")
        return
    tidy.write_tables(large, tmp_path / "a.nc", "nc")
    with xarray.open_dataset(tmp_path / "a.nc") as found:
        xarray.testing.assert_equal(found.load(), large)


def test_parquet_is_read_back_or_says_what_is_missing(tmp_path):
    try:
        import pyarrow.parquet
    except ImportError:
        with pytest.raises(ImportError, match="parquet needs pyarrow"):
            tidy.write_tables(dataset()[["norm"]], tmp_path / "a.parquet", "parquet")
        return
    (file,) = tidy.write_tables(dataset()[["norm"]], tmp_path / "a.parquet", "parquet")
    assert pyarrow.parquet.read_table(file)["norm"].to_pylist() == VALUES.ravel().tolist()


def test_a_summary_has_the_mean_over_networks_with_its_interval(tmp_path):
    tidy.write_summary(dataset(), tmp_path / "a.csv")
    table = pandas.read_csv(tmp_path / "a.csv")
    assert list(table) == ["variable", "scale", "layer", "value", "low", "high", "networks"]
    norms = table[table.variable == "norm"]
    np.testing.assert_allclose(norms["value"], VALUES.mean(1).ravel())
    expected = estimates.mean_interval(VALUES, axis=1)
    np.testing.assert_allclose(norms[["low", "high"]].T, [expected.low.ravel(), expected.high.ravel()])
    assert (norms.networks == VALUES.shape[1]).all()
    scales = table[table.variable == "depth_scale"]
    assert scales[["layer", "low", "high"]].isna().values.all()
    assert len(table) == 4 + 4 + 2


def test_mistakes(tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(ValueError, match="export: `output` must be a new file"):
        tidy.write_tables(dataset()[["norm"]], tmp_path / "a.csv", "csv")
    with pytest.raises(ValueError, match="Did you mean 'csv'"):
        tidy.write_tables(dataset(), tmp_path / "b.csv", "cvs")
