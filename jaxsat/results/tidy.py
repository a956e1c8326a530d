"""Tidy tables of datasets: a row for each combination of coordinates, a column for each coordinate and variable."""

from __future__ import annotations

import csv
import itertools
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxsat import checks
from jaxsat.results import estimates

if TYPE_CHECKING:
    import xarray

Columns = dict[str, np.ndarray]
EXPORT_FORMATS = ("csv", "parquet", "nc")


def write_tables(dataset: xarray.Dataset, path: pathlib.Path, form: str) -> list[pathlib.Path]:
    """Write a dataset in another format, and return the files.

    Args:
        dataset: of a sweep, of training, or of an analysis.
        path: of the file, with its ending. Variables with the same dimensions share a table; where there are several
            tables, each gets the names of its own dimensions in its file name.
        form: "csv", "parquet" (needs pyarrow) or "nc" (NetCDF; NetCDF 3 where neither h5netcdf nor netCDF4 is installed).

    Raises:
        ValueError: another format; a file that exists.
        ImportError: pyarrow is missing.
    """
    checks.one_of("export", "to", form, EXPORT_FORMATS)
    groups = _groups(dataset)
    files = {names: path if len(groups) == 1 or form == "nc" else _named(path, dims) for dims, names in groups.items()}
    for file in files.values():
        if file.exists():
            raise ValueError(checks.refusal("export", "output", "be a new file", str(file), "Choose another name."))
    if form == "nc":
        _write_netcdf(dataset, path)
        return [path]
    for names, file in files.items():
        if form == "csv":
            write_csv(file, (columns_of(part) for part in _slices(dataset[list(names)])))
        else:
            _write_parquet(file, columns_of(dataset[list(names)]))
    return list(files.values())


def _groups(dataset: xarray.Dataset) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return dimensions -> names of the variables that have them."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name, variable in dataset.data_vars.items():
        dims = tuple(map(str, variable.dims))
        found[dims] = (*found.get(dims, ()), str(name))
    return found


def _named(path: pathlib.Path, dims: tuple[str, ...]) -> pathlib.Path:
    return path.with_name(f"{path.stem}-{'-'.join(dims) or 'numbers'}{path.suffix}")


def _slices(dataset: xarray.Dataset) -> Iterator[xarray.Dataset]:
    """Yield parts along the first dimension, so that a large store is not read at once."""
    first = next((dim for variable in dataset.data_vars.values() for dim in variable.dims), None)
    if first is None:
        yield dataset
        return
    for i in range(dataset.sizes[first]):
        yield dataset.isel({first: slice(i, i + 1)})


def columns_of(dataset: xarray.Dataset) -> Columns:
    """Return the columns of variables with the same dimensions: coordinates first, one value for each row.

    >>> import xarray
    >>> ds = xarray.Dataset({"y": (("a", "b"), [[1, 2], [3, 4]])}, {"a": [10, 20], "b": ["u", "v"]})
    >>> {name: column.tolist() for name, column in columns_of(ds).items()}
    {'a': [10, 10, 20, 20], 'b': ['u', 'v', 'u', 'v'], 'y': [1, 2, 3, 4]}
    """
    first = next(iter(dataset.data_vars.values()))
    dims = first.dims
    shape = [dataset.sizes[dim] for dim in dims]
    columns: Columns = {}
    for dim, index in zip(dims, np.indices(shape), strict=True):
        labels = dataset[dim].values if dim in dataset.coords else np.arange(dataset.sizes[dim])
        columns[str(dim)] = labels[index.ravel()]
    for name, coordinate in dataset.coords.items():
        if name not in dims and set(coordinate.dims) <= set(dims):
            columns[str(name)] = (
                coordinate.broadcast_like(dataset[next(iter(dataset.data_vars))]).transpose(*dims).values.ravel()
            )
    for name, variable in dataset.data_vars.items():
        columns[str(name)] = variable.values.ravel()
    return columns


def summary_columns(dataset: xarray.Dataset) -> Iterator[Columns]:
    """Yield the columns of every numeric variable: its name, coordinates, the mean over networks with its 95 % interval.

    `networks` counts those whose value is finite: the mean is over them; that of `diverged_at` is over networks that diverged. Networks lie along the dimensions whose names end in "seed". A variable without networks has a value and no interval.
    """
    for name, variable in dataset.data_vars.items():
        if variable.dtype.kind not in "fiub":
            continue
        seeds = [dim for dim in variable.dims if str(dim).endswith("seed")]
        rest = [dim for dim in variable.dims if dim not in seeds]
        values = variable.transpose(*rest, *seeds).values.astype(float)
        if str(name).endswith("diverged_at"):
            values[values < 0] = np.nan  # of networks that did not
        shape = values.shape[: len(rest)]
        low = high = networks = np.full(shape, np.nan)
        if seeds:
            values, low, high, networks = estimates.mean_interval(values.reshape(*shape, -1))
        own = dataset[[name]].isel(dict.fromkeys(seeds, 0))
        columns = columns_of(own.drop_vars([c for c in own.coords if c not in rest]))
        columns.pop(str(name))
        count = int(np.prod(shape))
        numbers = {"value": values, "low": low, "high": high, "networks": networks}
        yield {"variable": np.full(count, str(name)), **columns} | {
            key: np.ravel(part) for key, part in numbers.items()
        }


def write_csv(path: pathlib.Path, tables: Iterator[Columns], names: tuple[str, ...] = ()) -> None:
    """Write tables below each other, every number with all its digits.

    Args:
        path: of the file.
        tables: columns of each.
        names: of all columns, where tables have different ones; empty means those of the first table.
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for number, table in enumerate(tables):
            names = names or tuple(table)
            if number == 0:
                writer.writerow(names)
            columns = [table[name].tolist() if name in table else itertools.repeat("") for name in names]
            count = len(next(iter(table.values())))
            writer.writerows(itertools.islice(zip(*columns, strict=False), count))


def write_summary(dataset: xarray.Dataset, path: pathlib.Path) -> None:
    """Write the summary of a dataset as one table: a row for each number, empty where a coordinate does not apply."""
    dims: Mapping[str, None] = {
        str(dim): None
        for variable in dataset.data_vars.values()
        if variable.dtype.kind in "fiub"
        for dim in variable.dims
        if not str(dim).endswith("seed")
    }
    write_csv(path, summary_columns(dataset), ("variable", *dims, "value", "low", "high", "networks"))


def _write_netcdf(dataset: xarray.Dataset, path: pathlib.Path) -> None:
    try:
        dataset.to_netcdf(path)
    except ValueError as error:
        if "safely cast" not in str(error):
            raise
        path.unlink(missing_ok=True)
        remedy = "Install h5netcdf: pip install 'jaxsat[export]'"
        raise ImportError(f"export: NetCDF 3 has no whole numbers beyond 2^31. {remedy}") from None


def _write_parquet(path: pathlib.Path, columns: Columns) -> None:
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError("export: parquet needs pyarrow. Install it: pip install 'jaxsat[export]'") from None
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
