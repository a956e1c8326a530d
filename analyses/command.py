"""What every analysis shares as a command: typed options, an output folder, figure and dataset written side by side."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tyro

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

Options = TypeVar("Options", bound="Output")


@dataclasses.dataclass(frozen=True)
class Output:
    output: pathlib.Path = pathlib.Path("figures")
    """Folder for the figure and its dataset."""
    formats: tuple[Literal["png", "pdf"], ...] = ("png", "pdf")
    """Formats of the figure."""


def run(options: type[Options], main: Callable[[Options], None], description: str | None) -> None:
    """Parse the command line and call `main`; a mistake in the input is one line and exit code 2."""
    chosen = tyro.cli(options, description=description)
    try:
        main(chosen)
    except (ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def check_output(options: Output, name: str) -> None:
    """Raise unless the results of analysis `name` can be written: before any long work."""
    if not options.formats:
        raise ValueError("formats: must name at least one of png, pdf; got none.")
    from jaxsat import storage

    storage.check_folder(options.output, "output:")
    _replaceable(options.output / f"{name}.zarr", name)


def save(options: Output, name: str, figure: Figure, dataset: xarray.Dataset) -> None:
    """Write the dataset and the figure in every format, and say where."""
    from jaxsat import storage

    path = options.output / f"{name}.zarr"
    _replaceable(path, name)
    dataset.attrs["analysis"] = name
    storage.write(dataset, path, mode="w")
    print(path)
    for extension in options.formats:
        path = options.output / f"{name}.{extension}"
        about = {"Title": name, "Software" if extension == "png" else "Creator": f"jaxsat: {shlex.join(sys.argv)}"}
        figure.savefig(path, bbox_inches="tight", metadata=about)
        print(path)


def today() -> str:
    return datetime.date.today().isoformat()


def _replaceable(path: pathlib.Path, name: str) -> None:
    """Only a dataset that this analysis wrote itself may be written over."""
    if not path.exists():
        return
    import zarr

    attributes: dict[str, Any] = {}
    if (path / "zarr.json").exists():
        attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    if attributes.get("analysis") != name:
        raise ValueError(f"output: {path} exists and was not written by this analysis. Choose another --output.")
