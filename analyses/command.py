"""What every analysis shares as a command: typed options, an output folder, figure and dataset written side by side."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import io
import json
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
    store: pathlib.Path | None = None
    """Folder in which sweeps are kept chunk by chunk while they run, so that --resume can go on with them."""
    resume: bool = False
    """Go on with what lies in --store."""
    draw_only: bool = False
    """Draw again what --output holds, with the options it was made with; compute nothing."""


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
    from jaxsat.results import zarr_files

    zarr_files.check_folder(options.output, "output:")
    _replaceable(options.output / f"{name}.zarr", name)
    if options.resume and options.store is None:
        raise ValueError("resume: goes with --store, the folder that holds what was done.")
    if options.store is not None and not options.resume and options.store.exists() and any(options.store.iterdir()):
        raise ValueError(f"store: {options.store} holds something already. Add --resume to go on, or choose another.")


def check_positive(options: Output, *names: str) -> None:
    """Raise unless each of the options is above 0: a number, or several, at least one."""
    for name in names:
        given = getattr(options, name)
        values = given if isinstance(given, tuple) else (given,)
        if not values or not min(values) > 0:
            raise ValueError(f"{name}: must be above 0{'' if values else ', at least one'}; got {given}.")


def check_bounded(names: tuple[str, ...]) -> None:
    """Raise unless there are activations, all of them with a limit on either side."""
    from jaxsat import activations

    if not names:
        raise ValueError("activations: must name at least one; got none.")
    for phi in map(activations.get, names):
        if phi.left_limit is None or phi.right_limit is None:
            raise ValueError(f"activations: must be bounded on both sides; got {phi.name}.")


def part(options: Output, name: str, of: str = "sweep") -> pathlib.Path | None:
    """Where a sweep of analysis `name` is kept while it runs; None if nowhere."""
    return None if options.store is None else options.store / f"{name}-{of}.zarr"


def produce(
    options: Options, name: str, measure: Callable[[Options], xarray.Dataset],
    draw: Callable[[Options, xarray.Dataset], Figure],
    tables: Callable[[Options, xarray.Dataset], list[dict[str, Any]]] | None = None,
) -> None:  # fmt: skip
    """Measure, draw and write; or draw again what was written.

    `tables` makes rows from the dataset alone, one dict of strings and numbers each, all with the same columns. They are
    written as NAME.md and NAME.csv and printed; its docstring says by which rule they were made, and stands below them.
    """
    from jaxsat.results import zarr_files

    path = options.output / f"{name}.zarr"
    if tables is not None:
        _replaceable_table(options, name)
    if not options.draw_only:
        dataset = measure(options)
        _replaceable(path, name)
        dataset.attrs |= {"analysis": name, "options": json.dumps(_telling(options))}
        zarr_files.write(dataset.drop_encoding(), path, mode="w")
        print(path)
    # Also the first figure is drawn from what was written, so that drawing again begins with the same.
    dataset = _written(path, name)
    options = dataclasses.replace(options, **_told(dataset.attrs["options"]))
    figure = draw(options, dataset)
    _save(options, name, figure)
    if tables is not None:
        _save_table(options, name, tables(options, dataset), inspect.getdoc(tables))


def _save(options: Output, name: str, figure: Figure) -> None:
    """Write the figure in every format, and say where."""
    for extension in options.formats:
        path = options.output / f"{name}.{extension}"
        about = {"Title": name, "Software" if extension == "png" else "Creator": f"jaxsat: {shlex.join(sys.argv)}"}
        figure.savefig(path, bbox_inches="tight", metadata=about)
        print(path)


def _save_table(options: Output, name: str, rows: list[dict[str, Any]], rule: str | None) -> None:
    """Write rows as Markdown, rounded for reading, and as CSV, in full; print the Markdown, and say where they are."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_cell(row[column]) for column in columns] for row in rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if rule:
        text += f"\n\n{rule}"
    print(f"\n{text}\n")
    full = io.StringIO(newline="")
    writer = csv.DictWriter(full, columns)
    writer.writeheader()
    writer.writerows(rows)
    # The Markdown first: it says whose both are, so that a run killed between the two is no obstacle to the next.
    for extension, content in (("md", f"{text}\n\n{_mark(name)}\n"), ("csv", full.getvalue())):
        path = options.output / f"{name}.{extension}"
        path.write_text(content, encoding="utf-8", newline="")
        print(path)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", r"\|").replace("\n", " ")


def _mark(name: str) -> str:
    """What the last line of a table's Markdown says of its author."""
    return f"<!-- written by analyses.{name}, and replaced by it; {name}.csv has every digit -->"


def _replaceable_table(options: Output, name: str) -> None:
    """Only a table that this analysis wrote itself may be written over: before any long work."""
    markdown, table = (options.output / f"{name}.{extension}" for extension in ("md", "csv"))
    if markdown.is_file() and markdown.read_text(encoding="utf-8", errors="replace").rstrip().endswith(_mark(name)):
        return
    for path in (markdown, table):
        if path.exists():
            raise ValueError(f"output: {path} exists and was not written by this analysis. Choose another --output.")


def _telling(options: Output) -> dict[str, Any]:
    """Options that decide a figure, as JSON."""
    chosen = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: value for name, value in chosen.items() if name not in {f.name for f in dataclasses.fields(Output)}}


def _told(options: str) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in json.loads(options).items()}


def _written(path: pathlib.Path, name: str) -> xarray.Dataset:
    import xarray

    if not path.exists():
        raise ValueError(f"draw_only: {path} is not there. Run the analysis once without --draw-only.")
    dataset = xarray.open_zarr(path, chunks=None).load()
    if dataset.attrs.get("analysis") != name or "options" not in dataset.attrs:
        raise ValueError(f"draw_only: {path} was not written by this version of the analysis. Run it once without.")
    return dataset


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
